// Tensors to bits and back: what the numbers of a weight file are, predicted from their neighbours, their
// row's and column's size, and equal values before. Integers only, so that every machine computes the
// same. The readable twin is nncodec/tensors/model.py; docs/weights.md has the reasons.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace nncodec {

// How an element's bits are cut. The codes are the format's (nncodec/tensors/dtypes.py).
enum class TensorKind : uint8_t {
  kBytes = 0,  // what is no tensor, between two of them
  kFloat32 = 2,
  kFloat16 = 3,
  kBFloat16 = 4,
  kFloat8E4M3 = 5,
  kFloat8E5M2 = 6,
  kInt8 = 7,
  kUInt8 = 8,
  kInt16 = 9,
  // ggml's blocks; a column is a block
  kQ4_0 = 32,
  kQ4_1 = 33,
  kQ5_0 = 34,
  kQ5_1 = 35,
  kQ8_0 = 36,
  kQ4_K = 37,
  kQ5_K = 38,
  kQ6_K = 39,
};

// A matrix of `rows` times `cols` elements; `role` is the same for tensors of one use (such as the same
// layer's of every block), as far as their names tell.
struct TensorItem {
  TensorKind kind;
  uint8_t role;
  int64_t rows, cols;
};

constexpr int64_t kMaxChunk = int64_t{1} << 24;

// The bytes of an item. Throws std::invalid_argument for a kind that is not known or sizes beyond a
// chunk.
int64_t item_bytes(const TensorItem& item);

// The payload of `chunk`, which holds the items one after the other. Throws std::invalid_argument if
// they do not fill it.
std::vector<uint8_t> encode_tensors(const std::vector<TensorItem>& items, const uint8_t* chunk,
                                    std::size_t size, const std::string& isa);

// Inverse. Throws PayloadError for a damaged payload.
std::vector<uint8_t> decode_tensors(const std::vector<TensorItem>& items, const uint8_t* payload,
                                    std::size_t size, const std::string& isa);

}  // namespace nncodec
