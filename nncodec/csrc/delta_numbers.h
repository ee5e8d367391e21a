// The numbers of a tensor on two scales: in order, so that neighbours differ by one, and at equal
// distances, so that changes can be added up and averaged. Integers only. The readable twin is
// nncodec/tensors/delta_numbers.py.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "tensor_coder.h"

namespace nncodec {

struct NumberLayout {
  int bytes, exponent, mantissa;  // bits of floats; integers have no exponent
};

inline NumberLayout number_layout(TensorKind kind) {
  switch (kind) {
    case TensorKind::kFloat32: return {4, 8, 23};
    case TensorKind::kFloat16: return {2, 5, 10};
    case TensorKind::kBFloat16: return {2, 8, 7};
    case TensorKind::kFloat8E4M3: return {1, 4, 3};
    case TensorKind::kFloat8E5M2: return {1, 5, 2};
    case TensorKind::kBytes:
    case TensorKind::kInt8:
    case TensorKind::kUInt8: return {1, 0, 0};
    default: throw std::invalid_argument("no delta of this kind of tensor");
  }
}

constexpr int kFine = 3;        // bits of ordinals below one
constexpr int kMostFixed = 60;  // bits of fixed-point numbers, without the sign

inline int64_t shifted(int64_t x, int by) {  // x >= 0, which does not overflow
  return by >= 0 ? x << std::min(by, 63) : by > -64 ? x >> -by : 0;
}

inline uint32_t load_number(const uint8_t* from, int bytes) {
  uint32_t v = 0;
  std::memcpy(&v, from, static_cast<std::size_t>(bytes));
  return v;
}

// `unit`: fixed-point numbers count the spacing of floats with this exponent, or of integers 2^unit.
// `floor`: floats with a smaller exponent are *small*, the same on the ordered scale.
struct Scale {
  int unit, floor;
};

// The numbers of one tensor. Any scale is taken, those of integers within bounds.
class Numbers {
 public:
  Numbers() = default;
  Numbers(TensorKind kind, Scale scale) : kind_(kind), layout_(number_layout(kind)), unit_(scale.unit) {
    if (!layout_.exponent) {
      unit_ = std::clamp(unit_, -24, 0);
      return;
    }
    magnitude_ = (1u << bits()) - 1;
    const int floor = std::min(scale.floor, (1 << layout_.exponent) - 1);
    if (floor) small_ = (int64_t{floor} << layout_.mantissa) - 1;
  }

  bool is_float() const { return layout_.exponent > 0; }
  int mantissa() const { return layout_.mantissa; }
  int bits() const { return layout_.exponent + layout_.mantissa; }
  uint32_t magnitude(uint32_t x) const { return x & magnitude_; }
  bool negative(uint32_t x) const { return is_float() && (x & (magnitude_ + 1)) != 0; }
  bool small(uint32_t x) const { return is_float() && magnitude(x) <= small_; }
  int exponent(uint32_t x) const { return static_cast<int>(magnitude(x) >> layout_.mantissa); }

  // On the ordered scale; small numbers are 0.
  int64_t ordinal(uint32_t x) const {
    if (!is_float()) return kind_ == TensorKind::kInt8 ? static_cast<int8_t>(x) : static_cast<int>(x) - 128;
    const int64_t m = std::max<int64_t>(0, magnitude(x) - small_);
    return negative(x) ? -m : m;
  }
  // Inverse for what is not small; any other ordinal gives some number.
  uint32_t at(int64_t ordinal) const {
    if (!is_float()) return static_cast<uint32_t>(kind_ == TensorKind::kInt8 ? ordinal : ordinal + 128) & 255;
    const int64_t m = ordinal < 0 ? -ordinal : ordinal;
    return (static_cast<uint32_t>(m + small_) & magnitude_) | (ordinal < 0 ? magnitude_ + 1 : 0);
  }

  // At equal distances, cut off towards zero; huge numbers all are 2^60.
  int64_t fixed(uint32_t x) const {
    if (!is_float()) return ordinal(x) << -unit_;
    const int e = std::max(1, exponent(x));
    const int64_t whole = (magnitude(x) & ((1u << layout_.mantissa) - 1)) |
                          (exponent(x) ? 1u << layout_.mantissa : 0);
    const bool huge = whole && e - unit_ > kMostFixed - 1 - layout_.mantissa;
    const int64_t v = huge ? int64_t{1} << kMostFixed : shifted(whole, e - unit_);
    return negative(x) ? -v : v;
  }
  // The ordinal of a fixed-point number, in eighths.
  int64_t fine(int64_t v) const {
    const int64_t a = v < 0 ? -v : v;
    int64_t m;
    if (!is_float()) {
      m = shifted(a, unit_ + kFine);
    } else {
      const int e = std::max(1, static_cast<int>(std::bit_width(static_cast<uint64_t>(a))) - 1 -
                                    layout_.mantissa + unit_);
      m = (int64_t{e - 1} << (layout_.mantissa + kFine)) + shifted(a, unit_ - e + kFine);
      m = std::max<int64_t>(0, m - (small_ << kFine));
    }
    return v < 0 ? -m : m;
  }
  // log2 of the distance between neighbours of an ordinal, in fixed-point units.
  int spacing(int64_t ordinal) const {
    if (!is_float()) return -unit_;
    const int64_t m = (ordinal < 0 ? -ordinal : ordinal) + small_;
    return std::max(1, static_cast<int>(std::min<int64_t>(m, magnitude_) >> layout_.mantissa)) - unit_;
  }

 private:
  TensorKind kind_ = TensorKind::kBytes;
  NumberLayout layout_{};
  int unit_ = 0;
  uint32_t magnitude_ = 0;
  int64_t small_ = 0;  // the largest magnitude that is
};

// For `n` numbers and their base: the unit is 2^-16 of what seven eighths of the changes do not exceed, the
// floor an exponent that all but a thousandth of the floats reach that are not zero.
inline Scale choose_scale(TensorKind kind, const uint8_t* data, const uint8_t* base, int64_t n) {
  const int bytes = number_layout(kind).bytes;
  const Numbers plain(kind, {0, 0});
  std::array<int64_t, 512> levels{};  // logarithms of changes
  std::array<int64_t, 256> exponents{};
  int64_t changed = 0, floats = 0;
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t x = load_number(data + i * bytes, bytes), b = load_number(base + i * bytes, bytes);
    int finest = 0;
    if (plain.is_float()) {
      const int ex = plain.exponent(x), eb = plain.exponent(b);
      if (plain.magnitude(x)) {
        ++exponents[static_cast<std::size_t>(ex)];
        ++floats;
      }
      finest = std::max({1, std::min(ex, eb), std::max(ex, eb) - 30});
    }
    if (x == b) continue;
    const Numbers scaled(kind, {finest, 0});
    const auto change = static_cast<uint64_t>(std::abs(scaled.fixed(x) - scaled.fixed(b)));
    ++levels[static_cast<std::size_t>(finest + std::bit_width(change))];
    ++changed;
  }
  int level = 511, floor = 0;
  for (int64_t above = 0; level > 0; --level) {
    if ((above += levels[static_cast<std::size_t>(level)]) > changed / 8) break;
  }
  if (plain.is_float()) {
    const int most = (1 << number_layout(kind).exponent) - 1;
    for (int64_t below = 0; floor < most; ++floor) {
      if ((below += exponents[static_cast<std::size_t>(floor)]) > floats / 1024) break;
    }
  }
  return {level - 16, floor};
}

}  // namespace nncodec
