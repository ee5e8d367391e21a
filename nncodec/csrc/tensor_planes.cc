#include "tensor_planes.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include "tensor_grid.h"
#include "trellis_states.h"

namespace nncodec {

namespace {

constexpr Layout kByte{1, 0, 0}, kHalf{2, 5, 10};
constexpr uint8_t kWholeRow = 15;

// `width` bits of a block's byte, from `shift` on, are those of a plane's byte from `into` on.
struct Field {
  int plane, index, byte, shift, width, into;
};

// A block of a quantised format: which planes it has, how many bytes of each, which bits lie where.
struct Block {
  int bytes = 0, bits = 0, group = 0, unit = -1, subunit = -1;
  std::vector<int> plane_bytes;
  std::vector<Layout> layouts;
  std::vector<bool> is_signed;
  std::vector<Field> fields;

  int plane(int size, Layout layout, bool sign = false) {
    plane_bytes.push_back(size);
    layouts.push_back(layout);
    is_signed.push_back(sign);
    return static_cast<int>(plane_bytes.size()) - 1;
  }
  void add(int plane, int index, int byte, int shift, int width, int into = 0) {
    fields.push_back({plane, index, byte, shift, width, into});
  }
  // `size` bytes as they are.
  int whole(int size, int byte, Layout layout, bool sign = false) {
    const int p = plane(size, layout, sign);
    for (int i = 0; i < size; ++i) add(p, i, byte + i, 0, 8);
    return p;
  }
};

// ggml's blocks of 32 elements: a half-precision scale, maybe a minimum, maybe fifth bits, nibbles of
// which the low ones are the first 16 elements (ggml-common.h).
Block legacy_block(bool minimum, bool fifth) {
  Block b;
  b.unit = b.whole(2, 0, kHalf);
  int at = 2;
  if (minimum) {
    b.whole(2, at, kHalf);
    at += 2;
  }
  const int high = at, codes = b.plane(32, kByte);
  if (fifth) at += 4;
  for (int e = 0; e < 32; ++e) {
    b.add(codes, e, at + e % 16, e < 16 ? 0 : 4, 4);
    if (fifth) b.add(codes, e, high + e / 8, e % 8, 1, 4);
  }
  b.bytes = at + 16;
  b.bits = fifth ? 5 : 4;
  b.group = 32;
  return b;
}

// Q4_K and Q5_K: 256 elements in 8 groups, whose scales and minima have 6 bits each.
Block k_block(bool fifth) {
  Block b;
  b.unit = b.whole(2, 0, kHalf);
  b.whole(2, 2, kHalf);
  b.subunit = b.plane(8, kByte);
  const int minima = b.plane(8, kByte);
  for (int j = 0; j < 8; ++j) {
    if (j < 4) {
      b.add(b.subunit, j, 4 + j, 0, 6);
      b.add(minima, j, 8 + j, 0, 6);
    } else {
      b.add(b.subunit, j, 8 + j, 0, 4);
      b.add(b.subunit, j, j, 6, 2, 4);
      b.add(minima, j, 8 + j, 4, 4);
      b.add(minima, j, 4 + j, 6, 2, 4);
    }
  }
  const int codes = b.plane(256, kByte), low = fifth ? 48 : 16;
  for (int e = 0; e < 256; ++e) {
    b.add(codes, e, low + e / 64 * 32 + e % 32, e % 64 < 32 ? 0 : 4, 4);
    if (fifth) b.add(codes, e, 16 + e % 32, e / 32, 1, 4);
  }
  b.bytes = low + 128;
  b.bits = fifth ? 5 : 4;
  b.group = 32;
  return b;
}

// Q6_K: 256 elements of 6 bits in 16 groups, whose scales are signed bytes.
Block q6_k_block() {
  Block b;
  b.unit = b.whole(2, 208, kHalf);
  b.subunit = b.whole(16, 192, kByte, true);
  const int codes = b.plane(256, kByte);
  for (int e = 0; e < 256; ++e) {
    const int half = e / 128, quarter = e % 128 / 32, l = e % 32;
    b.add(codes, e, half * 64 + (quarter & 1) * 32 + l, quarter < 2 ? 0 : 4, 4);
    b.add(codes, e, 128 + half * 32 + l, 2 * quarter, 2, 4);
  }
  b.bytes = 210;
  b.bits = 6;
  b.group = 16;
  return b;
}

Block q8_0_block() {
  Block b;
  b.unit = b.whole(2, 0, kHalf);
  b.whole(32, 2, kByte, true);
  b.bytes = 34;
  b.bits = 8;
  b.group = 32;
  return b;
}

// Two codes a byte, the first one in the low bits.
Block packed_block() {
  Block b;
  const int codes = b.plane(2, kByte);
  b.add(codes, 0, 0, 0, 4);
  b.add(codes, 1, 0, 4, 4);
  b.bytes = 1;
  b.bits = 4;
  return b;
}

const Block* block_of(TensorKind kind) {
  static const Block q4_0 = legacy_block(false, false), q4_1 = legacy_block(true, false),
                     q5_0 = legacy_block(false, true), q5_1 = legacy_block(true, true),
                     q8_0 = q8_0_block(), q4_k = k_block(false), q5_k = k_block(true),
                     q6_k = q6_k_block();
  switch (kind) {
    case TensorKind::kQ4_0: return &q4_0;
    case TensorKind::kQ4_1: return &q4_1;
    case TensorKind::kQ5_0: return &q5_0;
    case TensorKind::kQ5_1: return &q5_1;
    case TensorKind::kQ8_0: return &q8_0;
    case TensorKind::kQ4_K: return &q4_k;
    case TensorKind::kQ5_K: return &q5_k;
    case TensorKind::kQ6_K: return &q6_k;
    default: return nullptr;
  }
}

const Block* block_of(const TensorItem& item, const Mode& mode) {
  static const Block packed = packed_block();
  return mode.form == Mode::kPacked ? &packed : block_of(item.kind);
}

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
  const auto [least, most] = std::minmax_element(codes.begin(), codes.end());
  for (uint8_t log = 4; log <= 8; ++log) {
    const int64_t group = int64_t{1} << log;
    if (cols % group) break;
    int64_t extreme = 0;
    for (std::size_t g = 0; g < codes.size(); g += static_cast<std::size_t>(group)) {
      const auto begin = codes.begin() + static_cast<std::ptrdiff_t>(g);
      extreme += std::any_of(begin, begin + group, [&](uint8_t v) { return v == *least || v == *most; });
    }
    if (extreme * group * 64 >= rows * cols * 63) return log;
  }
  return 0;
}

}  // namespace

Layout layout_of(TensorKind kind) {
  switch (kind) {
    case TensorKind::kFloat32: return {4, 8, 23};
    case TensorKind::kFloat16: return kHalf;
    case TensorKind::kBFloat16: return {2, 8, 7};
    case TensorKind::kFloat8E4M3: return {1, 4, 3};
    case TensorKind::kFloat8E5M2: return {1, 5, 2};
    case TensorKind::kInt16: return {2, 0, 0};
    case TensorKind::kBytes:
    case TensorKind::kInt8:
    case TensorKind::kUInt8: return kByte;
    default: break;
  }
  if (const Block* block = block_of(kind)) return {block->bytes, 0, 0};
  throw std::invalid_argument("no such kind of tensor");
}

Mode choose_mode(const TensorItem& item, const uint8_t* bytes) {
  Mode mode;
  const bool is_signed = item.kind == TensorKind::kInt8;
  if (item.kind == TensorKind::kInt16) mode.trellis = choose_trellis(item, bytes);
  if (const auto grid = find_grid(item, bytes)) {
    mode.form = Mode::kGrid;
    mode.twos = std::any_of(grid->codes.begin(), grid->codes.end(), [](int16_t v) { return v > 127 || v < -128; });
    mode.group = grid->group == item.cols ? kWholeRow : static_cast<uint8_t>(std::countr_zero(static_cast<uint64_t>(grid->group)));
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

namespace {

int64_t group_of(const Mode& mode, int64_t cols) {
  return mode.group == kWholeRow ? cols : int64_t{1} << mode.group;
}

}  // namespace

bool valid_mode(const TensorItem& item, const Mode& mode) {
  const bool bytes = item.kind == TensorKind::kInt8 || item.kind == TensorKind::kUInt8;
  if (mode.trellis == 1 || mode.trellis > kMaxTrellis || mode.group > kWholeRow) return false;
  if (mode.form == Mode::kPlain) {
    const bool indices = item.kind == TensorKind::kInt8 || item.kind == TensorKind::kInt16;
    return !mode.twos && !mode.group && (indices || !mode.trellis);
  }
  if (mode.trellis) return false;
  if (mode.form != Mode::kGrid) return bytes;
  const bool floats = item.kind == TensorKind::kFloat32 || item.kind == TensorKind::kFloat16 ||
                      item.kind == TensorKind::kBFloat16;
  return floats && mode.group >= 5 && item.cols % group_of(mode, item.cols) == 0;
}

std::vector<Plane> planes_of(const TensorItem& item, const Mode& mode) {
  const Block* block = block_of(item, mode);
  if (mode.form == Mode::kGrid) {
    const int64_t group = group_of(mode, item.cols);
    const Layout codes{mode.twos ? 2 : 1, 0, 0};
    return {{Form::kFloat, layout_of(TensorKind::kFloat32), false, 32, item.rows, item.cols / group, 0, -1, -1, 0},
            {Form::kInteger, codes, true, 8 * codes.bytes, item.rows, item.cols, group, 0, -1, 0}};
  }
  if (!block) {
    const Layout layout = layout_of(item.kind);
    Plane plane{Form::kFloat, layout, item.kind == TensorKind::kInt8 || item.kind == TensorKind::kInt16,
                8 * layout.bytes, item.rows, item.cols, 0, -1, -1, mode.trellis};
    if (!layout.exponent) plane.form = mode.form == Mode::kSmall ? Form::kCode : Form::kInteger;
    if (plane.form == Form::kCode) plane.bits = 4;
    if (mode.group) plane.group = group_of(mode, item.cols);
    return {plane};
  }
  std::vector<Plane> planes;
  for (std::size_t i = 0; i < block->plane_bytes.size(); ++i) {
    const Layout layout = block->layouts[i];
    const int64_t cols = item.cols * (block->plane_bytes[i] / layout.bytes);
    planes.push_back({layout.exponent ? Form::kFloat : Form::kInteger, layout, block->is_signed[i], 8,
                      item.rows, cols, 0, -1, -1, 0});
  }
  Plane& codes = planes.back();
  codes.bits = block->bits;
  if (block->bits <= 5) codes.form = Form::kCode;
  codes.group = block->group;
  if (mode.group) codes.group = group_of(mode, codes.cols);
  codes.unit = block->unit;
  codes.subunit = block->subunit;
  return planes;
}

namespace {

// Where each plane begins.
std::vector<int64_t> begins(const Block& block, int64_t blocks) {
  std::vector<int64_t> at;
  int64_t sum = 0;
  for (const int bytes : block.plane_bytes) {
    at.push_back(sum);
    sum += bytes * blocks;
  }
  return at;
}

}  // namespace

void split_planes(const TensorItem& item, const Mode& mode, const uint8_t* bytes, uint8_t* planes) {
  const int64_t n = item.rows * item.cols;
  const Block* block = block_of(item, mode);
  const uint8_t flip = mode.twos ? 8 : 0;
  if (mode.form == Mode::kGrid) {
    const Grid grid = find_grid(item, bytes).value();
    const std::size_t scales = 4 * grid.scales.size();
    std::memcpy(planes, grid.scales.data(), scales);
    for (int64_t i = 0; i < n; ++i) {
      const int16_t code = grid.codes[static_cast<std::size_t>(i)];
      if (mode.twos) {
        std::memcpy(planes + scales + 2 * i, &code, 2);
      } else {
        planes[static_cast<int64_t>(scales) + i] = static_cast<uint8_t>(code);
      }
    }
    return;
  }
  if (!block) {
    const int64_t size = n * layout_of(item.kind).bytes;
    if (mode.form == Mode::kSmall) {
      for (int64_t i = 0; i < size; ++i) planes[i] = static_cast<uint8_t>(bytes[i] + flip);
    } else {
      std::memcpy(planes, bytes, static_cast<std::size_t>(size));
    }
    return;
  }
  const std::vector<int64_t> at = begins(*block, n);
  for (int64_t b = 0; b < n; ++b) {
    const uint8_t* const from = bytes + b * block->bytes;
    for (const Field& f : block->fields) {
      const auto plane = static_cast<std::size_t>(f.plane);
      uint8_t& to = planes[at[plane] + b * block->plane_bytes[plane] + f.index];
      const auto part = static_cast<uint8_t>((from[f.byte] >> f.shift & ((1 << f.width) - 1)) << f.into);
      to = static_cast<uint8_t>(f.into ? to | part : part ^ flip);
    }
  }
}

void join_planes(const TensorItem& item, const Mode& mode, const uint8_t* planes, uint8_t* bytes) {
  const int64_t n = item.rows * item.cols;
  const Block* block = block_of(item, mode);
  const uint8_t flip = mode.twos ? 8 : 0;
  if (mode.form == Mode::kGrid) {
    const int64_t group = group_of(mode, item.cols), width = layout_of(item.kind).bytes;
    const uint8_t* const codes = planes + 4 * (n / group);
    for (int64_t i = 0; i < n; ++i) {
      uint32_t scale;
      std::memcpy(&scale, planes + 4 * (i / group), 4);
      int16_t code = 0;
      if (mode.twos) {
        std::memcpy(&code, codes + 2 * i, 2);
      } else {
        code = static_cast<int8_t>(codes[i]);
      }
      const uint32_t v = grid_value(item.kind, code, scale);
      std::memcpy(bytes + i * width, &v, static_cast<std::size_t>(width));
    }
    return;
  }
  if (!block) {
    const int64_t size = n * layout_of(item.kind).bytes;
    if (mode.form == Mode::kSmall) {
      for (int64_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(planes[i] - flip);
    } else {
      std::memcpy(bytes, planes, static_cast<std::size_t>(size));
    }
    return;
  }
  const std::vector<int64_t> at = begins(*block, n);
  std::memset(bytes, 0, static_cast<std::size_t>(n * block->bytes));
  for (int64_t b = 0; b < n; ++b) {
    uint8_t* const to = bytes + b * block->bytes;
    for (const Field& f : block->fields) {
      const auto plane = static_cast<std::size_t>(f.plane);
      const int from = planes[at[plane] + b * block->plane_bytes[plane] + f.index] ^ flip;
      to[f.byte] = static_cast<uint8_t>(to[f.byte] | (from >> f.into & ((1 << f.width) - 1)) << f.shift);
    }
  }
}

}  // namespace nncodec
