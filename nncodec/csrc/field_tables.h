// Frequencies of symbols: chosen from counts, written with adaptive binary decisions, made into what the
// rANS kernels look up.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstdlib>

#include "field_kernels.h"
#include "range_coder.h"

namespace nncodec {

using Histogram = std::array<uint32_t, 256>;
// They sum to kFrequencyTotal; at least two are not zero, so that each fits 12 bits.
using Frequencies = std::array<uint16_t, 256>;

// log2(x) in units of 2^-16, to within 2^-10; x > 0.
uint32_t log2_fixed(uint32_t x);

// Bits of the symbols by their own frequencies, in units of 2^-16; the table is not counted.
uint64_t entropy(const Histogram& counts);

// What entropy() and the table come to, nearly.
uint64_t coded_cost(const Histogram& counts);

// The frequencies nearest to (not empty) counts: every symbol there is has at least one.
Frequencies normalize(const Histogram& counts);

void fill(const Frequencies& frequencies, RansSlots& slots);
void fill(const Frequencies& frequencies, RansSymbols& symbols);

// A probability of 1 in units of 2^-16 that follows the bits: 1/16 of the way each time.
class FollowingBit {
 public:
  template <class Coder>
  int code(Coder& coder, int bit) {
    bit = coder.code(bit, p_);
    p_ += bit ? (65536 - p_) >> 4 : -(p_ >> 4);
    return bit;
  }

 private:
  int p_ = 32768;
};

// The two directions of a range coder behind one interface; a decoder ignores the bit it is given.
struct BitWriter {
  static constexpr bool kKnows = true;
  RangeEncoder coder;
  int code(int bit, int p16) {
    coder.encode_bit(static_cast<uint32_t>(p16) << 8, bit);
    return bit;
  }
};

struct BitReader {
  static constexpr bool kKnows = false;
  RangeDecoder coder;
  BitReader(const uint8_t* data, std::size_t size) : coder(data, size) {}
  int code(int, int p16) { return coder.decode_bit(static_cast<uint32_t>(p16) << 8); }
};

// `count` bits of even odds, high bit first.
template <class Coder>
uint32_t code_plain(Coder& coder, uint32_t value, int count) {
  uint32_t out = 0;
  for (int i = count; i-- > 0;) {
    out = out << 1 | static_cast<uint32_t>(coder.code(static_cast<int>(value >> i & 1), 32768));
  }
  return out;
}

// A value below 2^bits as a path down a binary tree with 2^bits nodes.
template <class Coder>
int code_tree(Coder& coder, FollowingBit* nodes, int bits, int value) {
  int node = 1;
  for (int i = bits; i-- > 0;) node = node * 2 + nodes[node].code(coder, value >> i & 1);
  return node - (1 << bits);
}

// Numbers of any size: the bit length of value + 1 in unary, then the bits below the first.
class NumberCode {
 public:
  // value < limit < 2^31; what is read may be any such value. Throws PayloadError for others.
  template <class Coder>
  uint32_t code(Coder& coder, uint32_t value, uint32_t limit) {
    const int length = std::bit_width(value + 1) - 1;
    int bits = 0;
    while (bits < 31 && lengths_[bits].code(coder, bits < length)) ++bits;
    const uint32_t out = (1u << bits | code_plain(coder, value + 1, bits)) - 1;
    if (out >= limit) throw PayloadError("a number in the plan is too large");
    return out;
  }

 private:
  FollowingBit lengths_[31];
};

// Frequencies of one table after the other. The bit length of each is coded in the context of what the
// symbols before it promise: the one below, and the one of opposite sign.
class TableCode {
 public:
  template <class Coder>
  void code(Coder& coder, Frequencies& f) {
    const int complement = two_.code(coder, Coder::kKnows ? is_complement(f) : 0);
    uint32_t total = 0;
    int before = 0, before2 = 0;
    for (int s = 0; s < 256; ++s) {
      const int mirror = s < 128 ? -1 : complement ? (256 - s) & 127 : s & 127;
      const int across = mirror < 0 ? 14 : std::bit_width(unsigned{f[static_cast<std::size_t>(mirror)]});
      const int length = code_tree(coder, lengths_[across][before][before2 > before], 4,
                                   std::bit_width(unsigned{f[static_cast<std::size_t>(s)]}));
      if (length > kFrequencyBits) throw PayloadError("a frequency is too large");
      uint32_t value = 0;
      if (length > 0) {
        value = 1;
        for (int i = length - 1; i-- > 0;) {
          const int bit = f[static_cast<std::size_t>(s)] >> i & 1;
          value =
              value * 2 + static_cast<uint32_t>(i == length - 2 ? second_[across][length].code(coder, bit)
                                                                : coder.code(bit, 32768));
        }
      }
      total += value;
      f[static_cast<std::size_t>(s)] = static_cast<uint16_t>(value);
      before2 = before;
      before = length;
    }
    if (total != kFrequencyTotal) throw PayloadError("frequencies have another sum");
  }

 private:
  // Whether bytes s and 256 - s are more alike than s and s + 128, so that symbols are two's complements.
  static bool is_complement(const Frequencies& f) {
    int apart = 0, across = 0;
    for (std::size_t s = 1; s < 128; ++s) {
      apart += std::abs(f[s] - f[s + 128]);
      across += std::abs(f[s] - f[256 - s]);
    }
    return across < apart;
  }

  FollowingBit two_, lengths_[15][13][2][16], second_[15][13];
};

}  // namespace nncodec
