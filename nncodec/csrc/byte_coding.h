// One byte, coded bit by bit with a context mixer, in both directions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "context_mixer.h"
#include "range_coder.h"

namespace nncodec {

// Both coders as one function from a symbol to that symbol: the decoder fills it in.
struct Encode {
  static constexpr bool kKnowsSymbols = true;
  RangeEncoder coder;
  Encode(const uint8_t*, std::size_t) {}
  void code(const int32_t* counts, uint8_t& symbol) { coder.encode(counts, symbol); }
  int code_bit(uint32_t ones, int bit) {
    coder.encode_bit(ones, bit);
    return bit;
  }
};

struct Decode {
  static constexpr bool kKnowsSymbols = false;
  RangeDecoder coder;
  Decode(const uint8_t* payload, std::size_t size) : coder(payload, size) {}
  void code(const int32_t* counts, uint8_t& symbol) { symbol = coder.decode(counts); }
  int code_bit(uint32_t ones, int) { return coder.decode_bit(ones); }
};

// The network's counts of 256 symbols as a binary tree: node 1 is all, node n's children are 2n, whose
// next bit is 0, and 2n + 1.
class BitTree {
 public:
  void set(const int32_t* counts) {
    std::copy_n(counts, 256, sums_ + 256);
    for (int node = 255; node > 0; --node) sums_[node] = sums_[2 * node] + sums_[2 * node + 1];
  }
  // The probability, of 65536, that the bit after the bits so far (with a leading 1) is 1.
  int one(int node) const {
    return static_cast<int>((static_cast<int64_t>(sums_[2 * node + 1]) << 16) / sums_[node]);
  }

 private:
  int32_t sums_[512];
};

// Codes the byte at (lane, step) bit by bit; `tree` is null where there is no network.
template <class Coder, class Watcher>
void code_mixed(Coder& coder, ContextMixer& mixer, uint8_t* symbols, const LanePart& part, int lane,
                int64_t step, LaneHistory& history, const BitTree* tree, Watcher watcher) {
  uint8_t& symbol = symbols[part.at(lane, step)];
  const int known = Coder::kKnowsSymbols ? symbol : 0;
  mixer.begin(symbols, part, lane, step, history);
  watcher.begin(history);
  int node = 1;
  for (int shift = 7; shift >= 0; --shift) {
    const int p = mixer.predict(tree ? tree->one(node) : 0);
    constexpr int kToCounts = kCountBits - 16;
    const int bit = coder.code_bit(static_cast<uint32_t>(p) << kToCounts, known >> shift & 1);
    watcher.bit(p, bit);
    mixer.update(bit);
    node = 2 * node + bit;
  }
  symbol = static_cast<uint8_t>(node);
  watcher.end();
  mixer.end(symbols, part, lane, step, history);
}

}  // namespace nncodec
