// What the models of tensors share: an element in its parts, what is known of its place, small tools.
// Integers only. The readable twin is nncodec/tensors/parts.py.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "logistic.h"
#include "range_coder.h"

namespace nncodec {

struct Encode {
  static constexpr bool kKnows = true;
  RangeEncoder coder;
  Encode(const uint8_t*, std::size_t) {}
  int code(int bit, int p16) {
    coder.encode_bit(static_cast<uint32_t>(p16) << 8, bit);
    return bit;
  }
};

struct Decode {
  static constexpr bool kKnows = false;
  RangeDecoder coder;
  Decode(const uint8_t* payload, std::size_t size) : coder(payload, size) {}
  int code(int, int p16) { return coder.decode_bit(static_cast<uint32_t>(p16) << 8); }
};

// A single adaptive decision, outside of the mixers.
class Flag {
 public:
  template <class Coder>
  int code(Coder& coder, int bit, int limit) {
    return code_as(coder, bit, limit, static_cast<int>(value_ >> 16));
  }
  // Of what is most likely noise: an estimate that is near one half by chance would cost, not gain.
  template <class Coder>
  int code_noise(Coder& coder, int bit, int limit) {
    const int p = static_cast<int>(value_ >> 16), half = kProbabilityOne / 2;
    return code_as(coder, bit, limit, p > half - kNoise && p < half + kNoise ? half : p);
  }
  void lean_to_zero() { value_ = (1u << 28) | 4; }

 private:
  template <class Coder>
  int code_as(Coder& coder, int bit, int limit, int p) {
    bit = coder.code(bit, std::clamp(p, 1, kProbabilityOne - 1));
    const int n = static_cast<int>(value_ & 1023), was = static_cast<int>(value_ >> 10);
    const int way = bit ? (1 << 22) - 1 - was : was;
    const int step = (way >> 6) * kReciprocals.of[n] >> 9;
    value_ = static_cast<uint32_t>(bit ? was + step : was - step) << 10 |
             static_cast<uint32_t>(n < limit ? n + 1 : n);
    return bit;
  }

  static constexpr int kNoise = kProbabilityOne / 32;
  uint32_t value_ = 1u << 31;
};

inline uint32_t hash(uint32_t a, uint32_t b) {
  uint32_t h = a * 0x9E3779B1u ^ (b + 0x7F4A7C15u) * 0x85EBCA6Bu;
  h ^= h >> 15;
  h *= 0x2C1B3C6Du;
  return h ^ h >> 13;
}
inline uint32_t hash(uint32_t a, uint32_t b, uint32_t c) { return hash(hash(a, b), c); }

// log2 in eighths; x > 0.
inline int log2_eighths(uint64_t x) {
  const int k = 63 - std::countl_zero(x);
  const auto fraction = static_cast<int>((k >= 3 ? x >> (k - 3) : x << (3 - k)) & 7);
  return 8 * k + fraction;
}

// 0 to 3, then half octaves.
inline int magnitude_class(uint32_t x) {
  return x < 4 ? static_cast<int>(x) : std::min(15, log2_eighths(x) / 4);
}

// What an element is cut into. `symbol` stands for its size: floats have the distance of the exponent
// to the anchor, kEscape or kZero; integers their magnitude's logarithm.
struct Cut {
  uint32_t value = 0;  // the bits as they lie in memory
  int symbol = 0, sign = 0;
  uint32_t exponent = 0, mantissa = 0;  // of integers: the magnitude, and nothing
};

constexpr int kEscape = 14, kZero = 15;

struct Around {
  Cut left, left2, left3, up, up_left, up_right;
};

// What is known of an element before it is coded.
struct Place {
  uint32_t column;
  bool row_start;
  int row_scale, column_scale, scale;  // log2 in eighths
  int trend, row_sign, column_sign;
  bool matched;
  Cut expected;
  int match_length, bucket;  // elements, and 0 to 3 by them
  uint32_t group;    // what the elements with the same scale were so far, below 2^12
  uint32_t quantum;  // of trellis-coded integers: 2 or 3, the quantiser; else 0
};

inline uint32_t match_context(const Place& p, uint32_t symbol) {
  return p.matched ? 16 + (static_cast<uint32_t>(p.bucket) - 1) * 16 + symbol : 0;
}

}  // namespace nncodec
