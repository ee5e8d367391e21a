// Tensors given those of a base, to bits and back: how far each number moved, predicted from how far its
// row, its column and its neighbours did, and in which direction. Integers only. The readable twin is
// nncodec/tensors/delta_model.py; docs/weights-delta.md has the reasons.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tensor_coder.h"

namespace nncodec {

// How a tensor is coded. The codes are the format's.
enum class DeltaMode : uint8_t {
  kEqual = 0,  // to its base: nothing is coded
  kMoved = 1,  // along directions that its rows share
  kGiven = 2,  // each number on its own, given the base's
};

struct DeltaItem {
  TensorItem tensor;
  DeltaMode mode;
};

// The payload of `chunk`, which holds the items one after the other, as `base` does. Both have `size`
// bytes. Throws std::invalid_argument if the items do not fill it, or one is not equal that should be.
std::vector<uint8_t> encode_deltas(const std::vector<DeltaItem>& items, const uint8_t* base,
                                   const uint8_t* chunk, std::size_t size, const std::string& isa);

// How many bytes the payload grows by with each item, more or less.
std::vector<std::size_t> measure_deltas(const std::vector<DeltaItem>& items, const uint8_t* base,
                                        const uint8_t* chunk, std::size_t size, const std::string& isa);

// Inverse of encode_deltas; `base_size` bytes of base are the chunk's. Throws PayloadError for a damaged payload.
std::vector<uint8_t> decode_deltas(const std::vector<DeltaItem>& items, const uint8_t* base,
                                   std::size_t base_size, const uint8_t* payload, std::size_t size,
                                   const std::string& isa);

}  // namespace nncodec
