// Floats that were integers once: every group of elements is a scale times small integers, rounded to the
// dtype. The readable twin is nncodec/tensors/grid.py.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "tensor_coder.h"

namespace nncodec {

struct Grid {
  int64_t group;               // elements that share a scale; it divides the columns
  std::vector<uint32_t> scales;  // float32, of each group
  std::vector<int16_t> codes;    // of each element, at most 255 in size
};

// The grid that gives exactly the elements of `item` (float32, float16 or bfloat16), if there is one.
std::optional<Grid> find_grid(const TensorItem& item, const uint8_t* bytes);

// The bits of `code` times `scale` in a float dtype: one product, rounded to float32, then to the dtype.
uint32_t grid_value(TensorKind kind, int code, uint32_t scale);

}  // namespace nncodec
