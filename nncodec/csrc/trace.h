// What coding each byte of a block cost, and what the network had expected: for `nncodec explain`.
//
// Costs are made of the integer probabilities that the range coder is given, in integers, so that they
// are the same on every machine. The readable twin is nncodec/trace.py.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "context_mixer.h"
#include "range_coder.h"

namespace nncodec {

constexpr int kCostBits = 24;    // costs are in units of 2^-24 bits
constexpr int kCandidates = 5;   // of the network, a byte

// log2(x) in units of 2^-24, rounded down, for x >= 1: a bit for each squaring of the mantissa (Majithia
// and Levan, "A note on base-2 logarithm computations", 1973). The mantissa has 31 bits below the point;
// what is cut off makes the result too small by less than 2^-24 in all.
inline uint32_t log2_fixed(uint64_t x) {
  const int whole = 63 - __builtin_clzll(x);
  uint64_t m = whole > 31 ? x >> (whole - 31) : x << (31 - whole);  // in [2^31, 2^32)
  auto result = static_cast<uint32_t>(whole);
  for (int i = 0; i < kCostBits; ++i) {
    m = m * m >> 31;
    const auto bit = static_cast<uint32_t>(m >> 32);
    m >>= bit;
    result = result << 1 | bit;
  }
  return result;
}

// One entry a byte of the block, at its position.
struct Trace {
  std::vector<uint32_t> cost, network;  // in units of 2^-24 bits: as coded; by the network's counts
  std::vector<uint8_t> top;       // the network's likeliest bytes, kCandidates each, the likeliest first;
  std::vector<uint16_t> top_p;    // equals by value; their probabilities of 65536, rounded down
  std::vector<uint8_t> rank;      // how many bytes the network had put before this one
  std::vector<int16_t> expected;  // the byte that the match model expected, or -1
  std::vector<uint16_t> match_length;  // bytes since the match's last miss, at most 65535

  Trace(std::size_t size, bool has_network, bool has_mixer) : cost(size) {
    if (has_network) {
      network.resize(size);
      top.resize(size * kCandidates);
      top_p.resize(size * kCandidates);
      rank.resize(size);
    }
    if (has_mixer) {
      expected.assign(size, -1);
      match_length.resize(size);
    }
  }

  void add_network(std::size_t at, const int32_t* counts, uint8_t symbol) {
    network[at] = (uint32_t{kCountBits} << kCostBits) - log2_fixed(static_cast<uint32_t>(counts[symbol]));
    std::array<int, kCandidates> best{};
    int found = 0, before = 0;
    for (int s = 0; s < kSymbols; ++s) {
      before += counts[s] > counts[symbol] || (counts[s] == counts[symbol] && s < symbol);
      if (found == kCandidates && counts[s] <= counts[best[kCandidates - 1]]) continue;
      int i = found < kCandidates ? found++ : kCandidates - 1;
      for (; i > 0 && counts[best[i - 1]] < counts[s]; --i) best[i] = best[i - 1];
      best[i] = s;
    }
    rank[at] = static_cast<uint8_t>(before);
    for (int i = 0; i < kCandidates; ++i) {
      top[at * kCandidates + i] = static_cast<uint8_t>(best[i]);
      top_p[at * kCandidates + i] =
          static_cast<uint16_t>(std::min(counts[best[i]] >> (kCountBits - 16), 65535));
    }
  }
};

// Watches the coding of one byte by the mixer, and says what it cost.
class CostOfByte {
 public:
  explicit CostOfByte(uint32_t& cost) : cost_(cost) {}

  void begin(const LaneHistory&) {}
  void bit(int one, int bit) {
    products_[bits_++ / 4] *= static_cast<uint64_t>(bit ? one : kProbabilityOne - one);
  }
  void end() {
    cost_ = (uint32_t{128} << kCostBits) - log2_fixed(products_[0]) - log2_fixed(products_[1]);
  }

 private:
  uint32_t& cost_;
  std::array<uint64_t, 2> products_{1, 1};  // of the probabilities of four bits each
  int bits_ = 0;
};

// The same, and what was expected of it.
class TracedByte {
 public:
  TracedByte(Trace& trace, const uint8_t* symbols, std::size_t at)
      : trace_(trace), symbols_(symbols), at_(at), cost_(trace.cost[at]) {}

  void begin(const LaneHistory& history) {
    if (history.match < 0) return;
    trace_.expected[at_] = symbols_[history.match];
    trace_.match_length[at_] = static_cast<uint16_t>(history.match_length);
  }
  void bit(int one, int bit) { cost_.bit(one, bit); }
  void end() { cost_.end(); }

 private:
  Trace& trace_;
  const uint8_t* symbols_;
  const std::size_t at_;
  CostOfByte cost_;
};

// Watches nothing.
struct UntracedByte {
  void begin(const LaneHistory&) {}
  void bit(int, int) {}
  void end() {}
};

}  // namespace nncodec
