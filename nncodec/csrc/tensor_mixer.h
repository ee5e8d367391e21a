// Prediction of the symbols of tensors, nibble by nibble: adaptive bits in several contexts and two
// gated logistic mixers over them.
//
// A context selects a line of learners, the nodes of a nibble's binary tree, so that a nibble costs one
// line of memory a context at most; symbols of fewer bits have shorter lines. Learners are kept as
// differences from one half, so that untouched ones are zeros. Integers only. The readable twin is nncodec/tensors/nibbles.py.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "logistic.h"
#include "model.h"
#include "zeroed_table.h"

namespace nncodec {

constexpr int kNibbleContexts = kNibbleInputs - 1;  // the last input is a constant
constexpr int kNibbleLimit = 1023, kNibbleRate = 24, kNibbleWarm = 32;
constexpr int kNibbleSetsA = 64, kNibbleSetsB = 256;

// One kind of symbol, such as the exponents of floats: its tables and weights.
class NibbleStage {
 public:
  // `depth`: bits of the symbols, at most. `bits` of each context's table: 2^bits lines.
  NibbleStage(const Kernels& kernels, int depth, const std::array<int, kNibbleContexts>& bits)
      : kernels_(kernels),
        depth_(depth),
        weights_a_(std::size_t{kNibbleSetsA} * 16 * kNibbleInputs, kFirstWeight),
        weights_b_(std::size_t{kNibbleSetsB} * 4 * kNibbleInputs, kFirstWeight),
        seen_(std::size_t{kNibbleSetsA} * 16) {
    lines_[kNibbleContexts] = constant_.data();
    tables_.reserve(kNibbleContexts);
    for (int i = 0; i < kNibbleContexts; ++i) {
      tables_.push_back(std::make_unique<ZeroedTable<uint32_t>>(std::size_t{1} << (bits[i] + depth)));
      masks_[i] = sizes_[i] = (uint32_t{1} << bits[i]) - 1;
    }
  }

  // From now on no more than 2^bits lines of each table: what seldom comes again is not worth a miss of
  // the cache.
  void bound(int bits) {
    for (int i = 0; i < kNibbleContexts; ++i) masks_[i] = std::min(sizes_[i], (uint32_t{1} << bits) - 1);
  }

  // Chooses the line of a context for the nibble to come.
  void select(int context, uint32_t index) {
    lines_[context] = &(*tables_[context])[std::size_t{index & masks_[context]} << depth_];
    __builtin_prefetch(lines_[context]);
  }

  // Codes `bits` (1 to 4) bits, high first; `nibble` is looked at by encoders alone. `set_a` < 64 and
  // `set_b` < 256 choose the mixers' weights.
  template <class Coder>
  int code(Coder& coder, int nibble, int bits, int set_a, int set_b) {
    int node = 1;
    for (int depth = 0; depth < bits; ++depth) {
      alignas(64) uint32_t learners[kNibbleInputs];
      alignas(64) int32_t x[kNibbleInputs];
      const std::size_t a = static_cast<std::size_t>(set_a) * 16 + static_cast<std::size_t>(node);
      const std::size_t b = static_cast<std::size_t>(set_b) * 4 + static_cast<std::size_t>(depth);
      int32_t* const weights[2] = {&weights_a_[a * kNibbleInputs], &weights_b_[b * kNibbleInputs]};
      int32_t logits[2];
      kernels_.read_nibble(lines_.data(), node, weights, learners, x, logits);
      for (int32_t& logit : logits) logit = std::clamp(logit, -kMaxLogit, kMaxLogit);
      const int bit = coder.code(nibble >> (bits - 1 - depth) & 1, squash((logits[0] + logits[1]) >> 1));
      uint16_t& seen = seen_[a];
      const int rate = kNibbleRate + (kNibbleRate * kNibbleWarm * 16 / (16 + seen));
      seen = static_cast<uint16_t>(seen + (seen < 4095));
      const int errors[2] = {((bit << 16) - squash(logits[0])) * rate >> 6,
                             ((bit << 16) - squash(logits[1])) * rate >> 6};
      kernels_.learn_nibble(lines_.data(), node, learners, x, weights, errors, bit, kNibbleLimit);
      node = node * 2 + bit;
    }
    return node - (1 << bits);
  }

 private:
  static constexpr int32_t kFirstWeight = 5000;  // of 65536
  const Kernels& kernels_;
  const int depth_;
  std::vector<std::unique_ptr<ZeroedTable<uint32_t>>> tables_;
  std::array<uint32_t, kNibbleContexts> sizes_{}, masks_{};  // minus 1
  alignas(64) std::array<uint32_t*, kNibbleInputs> lines_{};
  std::array<uint32_t, 16> constant_{};  // the last input's, which is not looked at
  std::vector<int32_t> weights_a_, weights_b_;
  std::vector<uint16_t> seen_;
};

}  // namespace nncodec
