// How an item is best seen, by its statistics. The readable twin is nncodec/tensors/modes.py.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "tensor_grid.h"
#include "tensor_planes.h"
#include "trellis_states.h"

namespace nncodec {

namespace {

// Sums of n log2 n, in units of 2^-16 bits: choices are made on every machine alike.
uint64_t n_log_n(uint64_t n) {
  if (n < 2) return 0;
  const int k = 63 - std::countl_zero(n);
  // log2 of 1 + f by its chord and a parabola: within 0.008.
  const uint64_t f = (n << (62 - k) >> 46) & 0xFFFF;
  const uint64_t log = (static_cast<uint64_t>(k) << 16) + f + (f * (65536 - f) * 22500 >> 32);
  return n * log;
}

// Bits times 2^16 that the counts' entropy makes of all that was counted.
template <std::size_t n>
uint64_t cost(const std::array<uint32_t, n>& counts) {
  uint64_t total = 0, parts = 0;
  for (const uint32_t count : counts) {
    total += count;
    parts += n_log_n(count);
  }
  return n_log_n(total) - parts;
}

constexpr int64_t kSample = 1 << 18;

int element(const TensorItem& item, const uint8_t* bytes, int64_t i) {
  if (item.kind == TensorKind::kInt16) {
    int16_t v;
    std::memcpy(&v, bytes + 2 * i, 2);
    return v;
  }
  return item.kind == TensorKind::kInt8 ? static_cast<int8_t>(bytes[i]) : bytes[i];
}

// log2 of the states that make the elements most predictable, or 0. Runs of zeros make every state
// machine gain; a trellis is the one that gains alone.
uint8_t choose_trellis(const TensorItem& item, const uint8_t* bytes) {
  if (item.kind == TensorKind::kUInt8 || item.cols < 2) return 0;
  const int64_t rows = std::max<int64_t>(1, std::min(item.rows, kSample / item.cols));
  const int64_t cols = std::min(item.cols, kSample);
  if (rows * cols < 4096) return 0;
  std::array<uint64_t, kMaxTrellis + 1> bits{};
  for (uint8_t log = 0; log <= kMaxTrellis; ++log) {
    if (log == 1) continue;
    std::array<uint32_t, 256> counts[2] = {};
    for (int64_t r = 0; r < rows; ++r) {
      uint32_t state = 0;
      for (int64_t c = 0; c < cols; ++c) {
        const int k = element(item, bytes, r * item.cols + c);
        ++counts[log ? state & 1 : 0][static_cast<std::size_t>(std::clamp(k + 128, 0, 255))];
        if (log) state = next_state(log, state, static_cast<uint32_t>(k) & 1);
      }
    }
    bits[log] = std::min(cost(counts[0]) + cost(counts[1]), bits[0] ? bits[0] : ~uint64_t{0});
  }
  const auto best = std::min_element(bits.begin() + 2, bits.end());
  const uint64_t gain = bits[0] - *best;
  uint64_t second = 0;
  for (auto other = bits.begin() + 2; other != bits.end(); ++other) {
    if (other != best) second = std::max(second, bits[0] - *other);
  }
  return gain * 100 > bits[0] && second * 2 < gain ? static_cast<uint8_t>(best - bits.begin()) : 0;
}

// Whether bytes hold two codes each: both halves are distributed alike, and tell little of each other.
bool looks_packed(const uint8_t* bytes, int64_t n) {
  std::array<uint32_t, 256> counts{};
  std::array<uint32_t, 16> low{}, high{};
  n = std::min(n, kSample);
  if (n < 4096) return false;
  for (int64_t i = 0; i < n; ++i) {
    ++counts[bytes[i]];
    ++low[bytes[i] & 15];
    ++high[bytes[i] >> 4];
  }
  int64_t apart = 0;
  for (std::size_t i = 0; i < 16; ++i) apart += std::abs(int64_t{low[i]} - int64_t{high[i]});
  const uint64_t halves = cost(low) + cost(high), whole = cost(counts);
  return apart * 4 < n && halves * 64 < (static_cast<uint64_t>(n) * 8 << 16) * 63 &&
         halves < whole + whole / 8;  // neighbours are of one size
}

// log2 of how many codes share a scale, if nearly all groups of that many hold an extreme code.
uint8_t choose_group(const std::vector<uint8_t>& codes, int64_t rows, int64_t cols) {
  const auto extremes = std::minmax_element(codes.begin(), codes.end());
  const uint8_t least = *extremes.first, most = *extremes.second;
  for (uint8_t log = 4; log <= 8; ++log) {
    const int64_t group = int64_t{1} << log;
    if (cols % group) break;
    int64_t extreme = 0;
    for (std::size_t g = 0; g < codes.size(); g += static_cast<std::size_t>(group)) {
      const auto begin = codes.begin() + static_cast<std::ptrdiff_t>(g);
      extreme += std::any_of(begin, begin + group, [&](uint8_t v) { return v == least || v == most; });
    }
    if (extreme * group * 64 >= rows * cols * 63) return log;
  }
  return 0;
}

}  // namespace

Mode choose_mode(const TensorItem& item, const uint8_t* bytes) {
  Mode mode;
  const bool is_signed = item.kind == TensorKind::kInt8;
  if (item.kind == TensorKind::kInt16) mode.trellis = choose_trellis(item, bytes);
  if (const auto grid = find_grid(item, bytes)) {
    mode.form = Mode::kGrid;
    mode.twos = std::any_of(grid->codes.begin(), grid->codes.end(), [](int16_t v) { return v > 127 || v < -128; });
    mode.group = grid->group == item.cols ? Mode::kWholeRow : static_cast<uint8_t>(std::countr_zero(static_cast<uint64_t>(grid->group)));
    return mode;
  }
  if (!is_signed && item.kind != TensorKind::kUInt8) return mode;
  if ((mode.trellis = choose_trellis(item, bytes))) return mode;
  const int64_t n = item.rows * item.cols;
  const bool small = std::all_of(bytes, bytes + n, [&](uint8_t v) {
    return is_signed ? static_cast<uint8_t>(v + 8) < 16 : v < 16;
  });
  if (small) {
    mode.form = Mode::kSmall;
    mode.twos = is_signed;
  } else if (looks_packed(bytes, n)) {
    mode.form = Mode::kPacked;
    std::array<int64_t, 16> counts{};
    for (int64_t i = 0; i < n; ++i) ++counts[bytes[i] & 15];
    // Weights crowd around zero: 8 of codes with an offset, 0 of two's complement.
    mode.twos = counts[15] + counts[0] + counts[1] > counts[7] + counts[8] + counts[9];
  } else {
    return mode;
  }
  const Plane plane = planes_of(item, mode).back();
  std::vector<uint8_t> codes(static_cast<std::size_t>(plane.size()));
  split_planes(item, mode, bytes, codes.data());
  mode.group = choose_group(codes, plane.rows, plane.cols);
  return mode;
}

}  // namespace nncodec
