// Range coder over integer counts (Martin 1979), carry resolved in the output buffer.
//
// State: the interval [low, low + range) of 64-bit numbers, of which the words already written are
// the digits above. Invariant: range >= 2^48 before every symbol. It buys two things: a symbol of
// probability 2^-24 still gets an interval of at least 2^24, so nothing is ever lost; and cutting
// the range into 2^24 parts wastes at most one part in 2^24. Tokens, of which there are many, have
// counts of 2^32 in all: an interval of at least 2^16, and a waste of at most one part in 2^16.
//
// Encoder and decoder share narrow() and differ only in where the symbol comes from, so they cannot
// drift apart. The readable twin is nncodec/coder.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

namespace nncodec {

constexpr int kCountBits = 24;
constexpr uint32_t kCountTotal = 1u << kCountBits;
constexpr int kWideCountBits = 32;  // of tokens
constexpr uint64_t kMinRange = uint64_t{1} << 48;
constexpr int kWordBits = 16;
constexpr int kSymbols = 256;

// The payload does not match the counts it is decoded with: it is damaged or too short.
struct PayloadError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A row of counts that the coder can trust: all positive, sum exactly 2^24.
inline void check_counts(const int32_t* counts) {
  int64_t sum = 0;
  bool positive = true;
  for (int i = 0; i < kSymbols; ++i) {
    positive &= counts[i] > 0;
    sum += counts[i];
  }
  if (!positive || sum != kCountTotal) {
    throw std::invalid_argument("counts must be positive and sum to 2^24");
  }
}

// The same of n counts, for a sum of 2^32.
inline void check_counts(const uint32_t* counts, std::size_t n) {
  uint64_t sum = 0;
  bool positive = true;
  for (std::size_t i = 0; i < n; ++i) {
    positive &= counts[i] > 0;
    sum += counts[i];
  }
  if (!positive || sum != uint64_t{1} << kWideCountBits) {
    throw std::invalid_argument("counts must be positive and sum to 2^32");
  }
}

// Shrinks range to the part [begin, begin + count) of 2^bits; returns where that part starts. The last
// part takes what the division left over.
inline uint64_t narrow(uint64_t& range, uint32_t begin, uint32_t count, int bits = kCountBits) {
  const uint64_t part = range >> bits;
  const uint64_t start = part * begin;
  range = uint64_t{begin} + count == uint64_t{1} << bits ? range - start : part * count;
  return start;
}

class RangeEncoder {
 public:
  void encode(const int32_t* counts, uint8_t symbol) {
    check_counts(counts);
    uint32_t begin = 0;
    for (int i = 0; i < symbol; ++i) begin += static_cast<uint32_t>(counts[i]);
    encode_part(begin, static_cast<uint32_t>(counts[symbol]));
  }

  // One of n symbols, with counts that sum to 2^32.
  void encode_wide(const uint32_t* counts, std::size_t n, std::size_t symbol) {
    check_counts(counts, n);
    uint32_t begin = 0;
    for (std::size_t i = 0; i < symbol; ++i) begin += counts[i];
    encode_part(begin, counts[symbol], kWideCountBits);
  }

  // A bit that is 1 with probability `ones` / 2^24, 0 < ones < 2^24; ones come first.
  void encode_bit(uint32_t ones, int bit) {
    encode_part(bit ? 0 : ones, bit ? ones : kCountTotal - ones);
  }

  std::size_t size() const { return bytes_.size(); }  // so far

  // Ends the stream with as few bytes as name a number inside the interval when zeros follow.
  std::vector<uint8_t> finish() {
    for (int kept = 1; kept <= 8; ++kept) {
      const uint64_t mask = kept == 8 ? 0 : ~uint64_t{0} >> (8 * kept);
      const uint64_t gap = (0 - low_) & mask;  // up to the next number whose low bytes are zero
      if (gap < range_) {
        add(gap);
        for (int i = 0; i < kept; ++i) bytes_.push_back(static_cast<uint8_t>(low_ >> (56 - 8 * i)));
        break;
      }
    }
    return std::move(bytes_);
  }

 private:
  void encode_part(uint32_t begin, uint32_t count, int bits = kCountBits) {
    add(narrow(range_, begin, count, bits));
    while (range_ < kMinRange) {  // at most twice: range_ >= 2^16 here
      bytes_.push_back(static_cast<uint8_t>(low_ >> 56));
      bytes_.push_back(static_cast<uint8_t>(low_ >> 48));
      low_ <<= kWordBits;
      range_ <<= kWordBits;
    }
  }

  void add(uint64_t amount) {
    low_ += amount;
    if (low_ < amount) {  // carry into the words already written; it cannot leave the first one
      for (std::size_t i = bytes_.size(); i-- > 0 && ++bytes_[i] == 0;) {
      }
    }
  }

  uint64_t low_ = 0;
  uint64_t range_ = ~uint64_t{0};
  std::vector<uint8_t> bytes_;
};

class RangeDecoder {
 public:
  RangeDecoder(const uint8_t* data, std::size_t size) : bytes_(data, data + size) {
    for (int i = 0; i < 64 / kWordBits; ++i) shift();
  }

  uint8_t decode(const int32_t* counts) {
    check_counts(counts);
    const uint64_t part = range_ >> kCountBits;
    uint64_t target = offset_ / part;
    if (target >= kCountTotal) target = kCountTotal - 1;  // the leftover of the last part
    int symbol = 0;
    uint32_t begin = 0;
    while (begin + static_cast<uint32_t>(counts[symbol]) <= target) {
      begin += static_cast<uint32_t>(counts[symbol++]);
    }
    decode_part(begin, static_cast<uint32_t>(counts[symbol]));
    return static_cast<uint8_t>(symbol);
  }

  // Inverse of encode_wide.
  std::size_t decode_wide(const uint32_t* counts, std::size_t n) {
    check_counts(counts, n);
    const uint64_t part = range_ >> kWideCountBits;
    const uint64_t target = offset_ / part;
    std::size_t symbol = 0;
    uint64_t begin = 0;
    while (symbol + 1 < n && begin + counts[symbol] <= target) begin += counts[symbol++];
    decode_part(static_cast<uint32_t>(begin), counts[symbol], kWideCountBits);
    return symbol;
  }

  // Inverse of encode_bit.
  int decode_bit(uint32_t ones) {
    const int bit = offset_ < (range_ >> kCountBits) * ones;
    decode_part(bit ? 0 : ones, bit ? ones : kCountTotal - ones);
    return bit;
  }

  // Every byte must have been needed: the encoder ends at most 8 bytes after its last word, and
  // the decoder reads exactly 8 bytes ahead.
  void finish() const {
    if (position_ < bytes_.size()) throw PayloadError("payload has bytes left over");
  }

 private:
  void decode_part(uint32_t begin, uint32_t count, int bits = kCountBits) {
    offset_ -= narrow(range_, begin, count, bits);
    if (offset_ >= range_) throw PayloadError("payload is damaged");
    while (range_ < kMinRange) {
      shift();
      range_ <<= kWordBits;
    }
  }

  void shift() {
    // The encoder leaves out at most 7 bytes, all of them zeros.
    if (position_ + 2 > bytes_.size() + 7) throw PayloadError("payload ends too early");
    for (int i = 0; i < kWordBits / 8; ++i, ++position_) {
      offset_ = offset_ << 8 | (position_ < bytes_.size() ? bytes_[position_] : 0);
    }
  }

  std::vector<uint8_t> bytes_;
  std::size_t position_ = 0;
  uint64_t offset_ = 0;  // the coded number minus low
  uint64_t range_ = ~uint64_t{0};
};

}  // namespace nncodec
