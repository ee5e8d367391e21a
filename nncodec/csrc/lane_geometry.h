// Where the lanes of a block lie, and in what order their bytes are coded.
#pragma once

#include <algorithm>
#include <cstdint>

namespace nncodec {

constexpr int64_t kMaxBlock = int64_t{1} << 30;  // positions fit 32 bits

// A block of `size` bytes is a prefix coded in one lane, then `lanes` contiguous runs that step
// together; the first ones are a byte longer where the division leaves a rest.
struct Geometry {
  int64_t size = 0;
  int lanes = 1;
  int64_t prefix = 0;

  bool makes_sense() const {
    return size >= 0 && size <= kMaxBlock && prefix >= 0 && prefix <= size && lanes >= 1 &&
           lanes <= std::max<int64_t>(1, size - prefix);
  }
};

// One of a block's two parts: the prefix, or its lanes.
struct LanePart {
  int64_t begin = 0, size = 0;
  int lanes = 1;

  int64_t steps() const { return (size + lanes - 1) / lanes; }
  int active(int64_t step) const {  // lanes that still have a byte at this step: the first ones
    if (step < size / lanes) return lanes;
    return step == size / lanes ? static_cast<int>(size % lanes) : 0;
  }
  int64_t at(int lane, int64_t step) const {
    return begin + lane * (size / lanes) + std::min<int64_t>(lane, size % lanes) + step;
  }
  int lane_of(int64_t at) const {
    const int64_t offset = at - begin, shorter = size / lanes, longer = size % lanes;
    if (offset < longer * (shorter + 1)) return static_cast<int>(offset / (shorter + 1));
    return static_cast<int>(longer + (offset - longer * (shorter + 1)) / shorter);
  }
  // Whether the byte at a position of the block is coded before that of (lane, step).
  bool known(int64_t position, int lane, int64_t step) const {
    if (position < begin) return true;
    if (position >= begin + size) return false;
    const int other = lane_of(position);
    const int64_t other_step = position - at(other, 0);
    return other_step < step || (other_step == step && other < lane);
  }
};

}  // namespace nncodec
