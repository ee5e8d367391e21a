// Whether an element is zero, decided first where zeros are many: pruned weights, dead channels.
//
// Zeros come by rows and columns. So rows and columns are told by how often they were something else
// where they could be: a dead row says nothing of a column. The readable twin is
// nncodec/tensors/zeros.py.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tensor_mixer.h"
#include "tensor_parts.h"

namespace nncodec {

// What is known of an element before the decision. Scales are those of elements other than zero.
struct ZeroPlace {
  uint32_t role, column, scale, row_scale, column_scale;
  uint32_t around;    // whether the elements above, above left and above right are zero: bits 0, 1, 2
  uint32_t expected;  // by the match: 0 without one, else 2 * its bucket + whether that one is zero
  int bucket;
};

class ZeroCoder {
 public:
  static constexpr int64_t kShare = 8;  // of a tensor's elements one is zero at least, or it has none

  explicit ZeroCoder(const Kernels& kernels)
      : stage_(kernels, 1, {0, 8, 9, 9, 9, 9, 12, 12, 12, 12, 12, 12, 5, 12, 12}) {}

  void start_item(bool several_rows, std::size_t columns) {
    several_rows_ = several_rows;
    live_rows_ = 0;
    live_.assign(columns, 0);
    past_.assign(columns, 0);
  }

  void start_row() {
    row_live_ = row_of_ = 0;
    row_past_ = ~0u;
  }

  void end_row() { live_rows_ += row_live_ > 0; }

  // `zero` is looked at by encoders alone.
  template <class Coder>
  bool code(Coder& coder, bool zero, const ZeroPlace& p) {
    const uint32_t row = share(row_live_, row_of_), column = share(live_[p.column], live_rows_);
    const uint32_t fine = fine_share(row_live_, row_of_) << 6 | fine_share(live_[p.column], live_rows_);
    const uint32_t above = past_[p.column] & 63, left = row_past_ & 63;
    stage_.select(0, 0);
    stage_.select(1, p.role);
    stage_.select(2, p.scale);
    stage_.select(3, p.row_scale);
    stage_.select(4, p.column_scale);
    stage_.select(5, (left & 15) << 3 | p.around);
    stage_.select(6, row << 6 | column);
    stage_.select(7, left << 6 | above);
    stage_.select(8, hash(p.column, p.role));
    stage_.select(9, column << 6 | left);
    stage_.select(10, fine);
    stage_.select(11, row << 6 | above);
    stage_.select(12, p.expected);
    stage_.select(13, hash(p.scale, row, column));
    stage_.select(14, hash(row_past_ & 0xFFF, p.around));
    zero = stage_.code(coder, zero, 1, p.bucket, static_cast<int>(row)) != 0;
    row_of_ += live_[p.column] > 0;
    row_live_ += !zero;
    live_[p.column] += several_rows_ && !zero;
    row_past_ = row_past_ << 1 | static_cast<uint32_t>(zero);
    past_[p.column] = past_[p.column] << 1 | static_cast<uint32_t>(zero);
    return zero;
  }

 private:
  // How large a part of those that may be other than zero was so, 0 to 4, and how many there were.
  static uint32_t share(uint32_t live, uint32_t of) {
    const uint32_t part = live == 0 ? 0 : live >= of ? 4 : 1 + live * 3 / of;
    const uint32_t many = of < 3 ? of : of < 6 ? 3 : of < 12 ? 4 : of < 32 ? 5 : of < 128 ? 6 : 7;
    return part * 8 + many;
  }
  static uint32_t fine_share(uint32_t live, uint32_t of) {
    return std::min(live, of) * 60 / std::max(1u, of) + (of > 16);
  }

  NibbleStage stage_;
  bool several_rows_ = false;
  uint32_t live_rows_ = 0, row_live_ = 0, row_of_ = 0, row_past_ = 0;
  std::vector<uint32_t> live_, past_;
};

}  // namespace nncodec
