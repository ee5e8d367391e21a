// Blocks of quantised formats: which planes they have, and which bits of a block are whose. The readable
// twin is nncodec/tensors/block_fields.py.
#pragma once

#include <vector>

#include "tensor_planes.h"

namespace nncodec {

constexpr Layout kByte{1, 0, 0}, kHalf{2, 5, 10};

// `width` bits of a block's byte, from `shift` on, are those of a plane's byte from `into` on.
struct Field {
  int plane, index, byte, shift, width, into;
};

// A block of a quantised format: which planes it has, how many bytes of each, which bits lie where.
struct Block {
  int bytes = 0, bits = 0, group = 0, unit = -1, subunit = -1;
  std::vector<int> plane_bytes;
  std::vector<Layout> layouts;
  std::vector<bool> is_signed;
  std::vector<Field> fields;

  int plane(int size, Layout layout, bool sign = false) {
    plane_bytes.push_back(size);
    layouts.push_back(layout);
    is_signed.push_back(sign);
    return static_cast<int>(plane_bytes.size()) - 1;
  }
  void add(int plane, int index, int byte, int shift, int width, int into = 0) {
    fields.push_back({plane, index, byte, shift, width, into});
  }
  // `size` bytes as they are.
  int whole(int size, int byte, Layout layout, bool sign = false) {
    const int p = plane(size, layout, sign);
    for (int i = 0; i < size; ++i) add(p, i, byte + i, 0, 8);
    return p;
  }
};

// Null for a kind that has no blocks.
const Block* block_of(TensorKind kind);

// Of an item that is seen that way: packed bytes are blocks of two codes.
const Block* block_of(const TensorItem& item, const Mode& mode);

}  // namespace nncodec
