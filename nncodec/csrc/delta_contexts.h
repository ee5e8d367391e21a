// What predicts how far a number moved from its base, and the contexts made of it. The readable twin is
// nncodec/tensors/delta_contexts.py.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>

#include "delta_numbers.h"
#include "tensor_mixer.h"
#include "tensor_parts.h"

namespace nncodec {

constexpr int kPairs = 16;             // of classes, the bit lengths of differences
constexpr int kFar = 14, kSmall = 15;  // pairs that are none
constexpr int kFarClass = 2 * kFar;    // classes from here on are far

// Running mean of sizes, in units of 2^-8.
struct Mean {
  static constexpr uint64_t kPrior = 6;  // sizes that the mean of all counts for
  uint64_t sum = 0, count = 0;
  void add(uint64_t size) {
    sum += size << 8;
    ++count;
  }
  uint64_t value() const { return count ? std::max<uint64_t>(1, sum / count) : 1; }
  // log2 in eighths, of it and a little of the mean of all.
  int log(uint64_t mean) const {
    return log2_eighths(std::max<uint64_t>(1, (sum + kPrior * mean) / (count + kPrior)));
  }
};

// How an element moved.
struct Move {
  int64_t change = 0;  // in fixed-point units
  int64_t error = 0;   // of that, what the prediction left over
  int step = 0;        // the coded difference of ordinals, within -31 to 31
  bool same = true;    // as the base
};

// What is known of an element before it is coded. Scales are log2 of changes, in eighths, beside the
// spacing of numbers there.
struct DeltaPlace {
  uint32_t role, column, base;
  int64_t expected;   // ordinal
  uint32_t fraction;  // what that was rounded by, in eighths: 0 to 7
  int64_t predicted;  // change
  uint32_t scale, row_scale, column_scale, move_scale, local;
  uint32_t drift;   // the predicted change beside the scale, and its sign: 0 to 15
  uint32_t edge;    // the expected number's sign and place in its binade: 0 to 16
  uint32_t size;    // exponent of the base and top bits of its mantissa
  uint32_t sizes;   // of the neighbours' errors, beside the spacing
  uint32_t steps;   // of the neighbours
  uint32_t recent;  // which neighbours are as in the base
  uint32_t means;   // signs of the row and of the column so far: 0 to 24
  uint32_t errors, moves;  // signs of the neighbours'
};

inline uint32_t beside(int log, int spacing) {
  return static_cast<uint32_t>(std::clamp(log + 32 - 8 * spacing, 0, 511));
}
inline uint32_t octaves(int64_t error, int spacing) {
  if (error == 0) return 0;
  const int log = std::bit_width(static_cast<uint64_t>(std::abs(error)));
  return static_cast<uint32_t>(std::clamp(log - spacing + 8, 1, 31));
}
inline int delta_sign_class(int sum, int much, int some) {
  return sum < -much ? 0 : sum < -some ? 1 : sum <= some ? 2 : sum <= much ? 3 : 4;
}
inline uint32_t sign_of(int64_t x) { return x < 0 ? 1 : x > 0 ? 2 : 0; }
inline uint32_t drift_of(int64_t predicted, int scale) {
  const int ahead = log2_eighths((static_cast<uint64_t>(std::abs(predicted)) << 8) + 1) - scale;
  return ahead < -24 ? 0 : static_cast<uint32_t>(std::clamp((ahead >> 3) + 4, 1, 7) << 1 | (predicted < 0));
}
inline uint32_t edge_of(const Numbers& numbers, int64_t expected) {
  if (expected == 0) return 16;
  const int64_t m = std::abs(expected);
  return static_cast<uint32_t>((m >> std::max(0, numbers.mantissa() - 3) & 7) << 1 | (expected < 0));
}
inline uint32_t size_of(const Numbers& numbers, uint32_t base) {
  return numbers.is_float() ? numbers.magnitude(base) >> std::max(0, numbers.mantissa() - 3) : base;
}
inline void look_around(DeltaPlace& p, const Move& left, const Move& left2, const Move& above,
                        const Move& above_right, int spacing) {
  p.sizes = octaves(left.error, spacing) << 5 | octaves(above.error, spacing);
  p.steps = static_cast<uint32_t>(left.step + 31) << 6 | static_cast<uint32_t>(above.step + 31);
  p.errors = sign_of(left.error) * 9 + sign_of(above.error) * 3 + sign_of(left2.error);
  p.moves = sign_of(left.change) * 9 + sign_of(above.change) * 3 + sign_of(above_right.change);
  p.recent = p.recent << 2 | static_cast<uint32_t>(above.same) << 1 | above_right.same;
}

inline void select_class(NibbleStage& stage, const DeltaPlace& p) {
  stage.select(0, p.scale >> 1 << 3 | p.fraction);
  stage.select(1, p.scale);
  stage.select(2, p.row_scale);
  stage.select(3, p.column_scale);
  stage.select(4, p.move_scale >> 1 << 2 | p.fraction >> 1);
  stage.select(5, hash(p.scale >> 2, p.sizes));
  stage.select(6, p.local);
  stage.select(7, p.local >> 2 << 7 | p.scale >> 2);
  stage.select(8, hash(p.scale >> 2, p.role));
  stage.select(9, p.scale >> 1 << 5 | p.edge);
  stage.select(10, hash(p.size >> 3, p.role, p.row_scale >> 3));
  stage.select(11, hash(p.steps, p.scale >> 3));
  stage.select(12, hash(p.recent, p.scale >> 3, p.fraction));
  stage.select(13, hash(p.base, p.role));
  stage.select(14, p.scale >> 1 << 4 | p.drift);
}

// Whether the sign is the one of the predicted change.
inline uint32_t with_drift(const DeltaPlace& p, uint32_t negative) {
  return p.drift ? 1 + (negative == (p.drift & 1)) : 0;
}

inline void select_low(NibbleStage& stage, const DeltaPlace& p, uint32_t pair, uint32_t negative) {
  const uint32_t key = pair << 2 | negative;
  stage.select(0, pair);
  stage.select(1, hash(p.scale, key));
  stage.select(2, hash(p.row_scale, key));
  stage.select(3, hash(p.column_scale, key));
  stage.select(4, hash(p.scale >> 1, key, p.fraction));
  stage.select(5, hash(p.sizes, key));
  stage.select(6, hash(p.local, key));
  stage.select(7, hash(p.move_scale, key, p.fraction));
  stage.select(8, hash(p.scale >> 2, key, p.role));
  stage.select(9, hash(p.scale >> 2, key, p.edge));
  stage.select(10, hash(p.size >> 3, key, p.edge));
  stage.select(11, hash(p.steps, key, p.scale >> 4));
  stage.select(12, hash(p.recent, key, p.scale >> 3));
  stage.select(13, hash(p.base, key));
  stage.select(14, hash(p.scale >> 1, key, p.drift >> 1 << 2 | with_drift(p, negative)));
}

inline void select_sign(NibbleStage& stage, const DeltaPlace& p, uint32_t key) {
  stage.select(0, key << 3 | p.fraction);
  stage.select(1, hash(p.scale >> 1, p.fraction));
  stage.select(2, hash(key, p.edge, p.scale >> 3));
  stage.select(3, key << 5 | p.means);
  stage.select(4, key << 5 | p.errors);
  stage.select(5, hash(p.drift, key, p.fraction));
  stage.select(6, hash(p.drift, p.scale >> 2, key));
  stage.select(7, hash(p.means, p.errors));
  stage.select(8, hash(p.role, p.edge & 1, key));
  stage.select(9, hash(p.column, p.role));
  stage.select(10, hash(p.size >> 3, key, p.edge & 1));
  stage.select(11, hash(p.moves, key));
  stage.select(12, hash(p.local >> 2, p.fraction, key));
  stage.select(13, hash(p.base, key));
  stage.select(14, p.edge << 5 | p.means);
}

}  // namespace nncodec
