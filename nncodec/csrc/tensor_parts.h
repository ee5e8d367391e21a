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
    const int p = std::clamp(static_cast<int>(value_ >> 16), 1, kProbabilityOne - 1);
    bit = coder.code(bit, p);
    const int n = static_cast<int>(value_ & 1023), was = static_cast<int>(value_ >> 10);
    const int way = bit ? (1 << 22) - 1 - was : was;
    const int step = (way >> 6) * kReciprocals.of[n] >> 9;
    value_ = static_cast<uint32_t>(bit ? was + step : was - step) << 10 |
             static_cast<uint32_t>(n < limit ? n + 1 : n);
    return bit;
  }
  void lean_to_zero() { value_ = (1u << 28) | 4; }

 private:
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

}  // namespace nncodec
