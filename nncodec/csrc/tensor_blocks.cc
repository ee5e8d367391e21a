#include "tensor_blocks.h"

namespace nncodec {

namespace {

// ggml's blocks of 32 elements: a half-precision scale, maybe a minimum, maybe fifth bits, nibbles of
// which the low ones are the first 16 elements (ggml-common.h).
Block legacy_block(bool minimum, bool fifth) {
  Block b;
  b.unit = b.whole(2, 0, kHalf);
  int at = 2;
  if (minimum) {
    b.whole(2, at, kHalf);
    at += 2;
  }
  const int high = at, codes = b.plane(32, kByte);
  if (fifth) at += 4;
  for (int e = 0; e < 32; ++e) {
    b.add(codes, e, at + e % 16, e < 16 ? 0 : 4, 4);
    if (fifth) b.add(codes, e, high + e / 8, e % 8, 1, 4);
  }
  b.bytes = at + 16;
  b.bits = fifth ? 5 : 4;
  b.group = 32;
  return b;
}

// Q4_K and Q5_K: 256 elements in 8 groups, whose scales and minima have 6 bits each.
Block k_block(bool fifth) {
  Block b;
  b.unit = b.whole(2, 0, kHalf);
  b.whole(2, 2, kHalf);
  b.subunit = b.plane(8, kByte);
  const int minima = b.plane(8, kByte);
  for (int j = 0; j < 8; ++j) {
    if (j < 4) {
      b.add(b.subunit, j, 4 + j, 0, 6);
      b.add(minima, j, 8 + j, 0, 6);
    } else {
      b.add(b.subunit, j, 8 + j, 0, 4);
      b.add(b.subunit, j, j, 6, 2, 4);
      b.add(minima, j, 8 + j, 4, 4);
      b.add(minima, j, 4 + j, 6, 2, 4);
    }
  }
  const int codes = b.plane(256, kByte), low = fifth ? 48 : 16;
  for (int e = 0; e < 256; ++e) {
    b.add(codes, e, low + e / 64 * 32 + e % 32, e % 64 < 32 ? 0 : 4, 4);
    if (fifth) b.add(codes, e, 16 + e % 32, e / 32, 1, 4);
  }
  b.bytes = low + 128;
  b.bits = fifth ? 5 : 4;
  b.group = 32;
  return b;
}

// Q6_K: 256 elements of 6 bits in 16 groups, whose scales are signed bytes.
Block q6_k_block() {
  Block b;
  b.unit = b.whole(2, 208, kHalf);
  b.subunit = b.whole(16, 192, kByte, true);
  const int codes = b.plane(256, kByte);
  for (int e = 0; e < 256; ++e) {
    const int half = e / 128, quarter = e % 128 / 32, l = e % 32;
    b.add(codes, e, half * 64 + (quarter & 1) * 32 + l, quarter < 2 ? 0 : 4, 4);
    b.add(codes, e, 128 + half * 32 + l, 2 * quarter, 2, 4);
  }
  b.bytes = 210;
  b.bits = 6;
  b.group = 16;
  return b;
}

Block q8_0_block() {
  Block b;
  b.unit = b.whole(2, 0, kHalf);
  b.whole(32, 2, kByte, true);
  b.bytes = 34;
  b.bits = 8;
  b.group = 32;
  return b;
}

// Two codes a byte, the first one in the low bits.
Block packed_block() {
  Block b;
  const int codes = b.plane(2, kByte);
  b.add(codes, 0, 0, 0, 4);
  b.add(codes, 1, 0, 4, 4);
  b.bytes = 1;
  b.bits = 4;
  return b;
}

}  // namespace

const Block* block_of(TensorKind kind) {
  static const Block q4_0 = legacy_block(false, false), q4_1 = legacy_block(true, false),
                     q5_0 = legacy_block(false, true), q5_1 = legacy_block(true, true),
                     q8_0 = q8_0_block(), q4_k = k_block(false), q5_k = k_block(true),
                     q6_k = q6_k_block();
  switch (kind) {
    case TensorKind::kQ4_0: return &q4_0;
    case TensorKind::kQ4_1: return &q4_1;
    case TensorKind::kQ5_0: return &q5_0;
    case TensorKind::kQ5_1: return &q5_1;
    case TensorKind::kQ8_0: return &q8_0;
    case TensorKind::kQ4_K: return &q4_k;
    case TensorKind::kQ5_K: return &q5_k;
    case TensorKind::kQ6_K: return &q6_k;
    default: return nullptr;
  }
}

const Block* block_of(const TensorItem& item, const Mode& mode) {
  static const Block packed = packed_block();
  return mode.form == Mode::kPacked ? &packed : block_of(item.kind);
}

}  // namespace nncodec
