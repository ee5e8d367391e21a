// An item as planes: matrices of one simple form each. A block format's scales and codes are planes of
// their own, packed nibbles become one byte each, floats that were integers once become those. The
// readable twin is nncodec/tensors/planes.py; docs/weights.md has the reasons.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor_coder.h"

namespace nncodec {

enum class Form : uint8_t {
  kFloat,
  kInteger,  // two's complement, or unsigned around a mean
  kCode,     // 4 or 5 bits in a byte
};

struct Layout {
  int bytes, exponent, mantissa;  // bits of floats
};

struct Plane {
  Form form;
  Layout layout;
  bool is_signed;
  int bits;  // of codes
  int64_t rows, cols;
  int64_t group;      // elements that share a scale; 0: none known
  int unit, subunit;  // the planes of this item that hold those scales, or -1: a group's is their product
  int trellis;        // log2 of the states of trellis-coded integers, or 0
  int64_t size() const { return rows * cols * layout.bytes; }
};

// How the encoder chose to see an item's elements.
struct Mode {
  // kSmall: bytes of 4-bit values; kPacked: two of them a byte, low first; kGrid: floats that are scales
  // times integers.
  enum : uint8_t { kPlain, kSmall, kPacked, kGrid };
  uint8_t form = kPlain;
  bool twos = false;  // 4-bit values are two's complement; integers of a grid have 16 bits
  uint8_t trellis = 0;
  static constexpr uint8_t kWholeRow = 15;
  uint8_t group = 0;  // log2, or kWholeRow

  uint8_t first() const { return static_cast<uint8_t>(form | twos << 2 | trellis << 3); }
  static Mode of(uint8_t first, uint8_t second) {
    return {static_cast<uint8_t>(first & 3), (first >> 2 & 1) != 0, static_cast<uint8_t>(first >> 3),
            second};
  }
};

// Throws std::invalid_argument for a kind that is not known.
Layout layout_of(TensorKind kind);

// The best mode for an item's bytes.
Mode choose_mode(const TensorItem& item, const uint8_t* bytes);

// Whether a decoder may use `mode`.
bool valid_mode(const TensorItem& item, const Mode& mode);

std::vector<Plane> planes_of(const TensorItem& item, const Mode& mode);

// From an item's bytes to its planes, one after the other, and back.
void split_planes(const TensorItem& item, const Mode& mode, const uint8_t* bytes, uint8_t* planes);
void join_planes(const TensorItem& item, const Mode& mode, const uint8_t* planes, uint8_t* bytes);

}  // namespace nncodec
