// Signs of a tensor's elements. The readable twin is nncodec/tensors/signs.py.
#pragma once

#include "tensor_mixer.h"
#include "tensor_parts.h"

namespace nncodec {

class SignModel {
 public:
  explicit SignModel(const Kernels& kernels)
      : stage_(kernels, 1, {0, 8, 6, 12, 14, 12, 12, 14, 6, 10, 12, 12, 12, 12, 10}) {}

  // The contexts but two, before the mantissa is coded, so that their lines are there in time.
  void select(const Cut& c, const Place& p, const Around& a, uint32_t role) {
    const uint32_t means = sign_means(p), s = static_cast<uint32_t>(c.symbol);
    const auto signs = static_cast<uint32_t>(a.left.sign | a.up.sign << 1 | a.left2.sign << 2 |
                                             a.left3.sign << 3);
    stage_.select(0, 0);
    stage_.select(1, role);
    stage_.select(2, means);
    stage_.select(3, means << 4 | s);
    stage_.select(4, hash(p.column, role));
    stage_.select(5, signs << 4 | s);
    stage_.select(6, signs << 5 | means);
    stage_.select(7, hash(a.left.value, a.up.value, s));
    stage_.select(9, role * 32 + means);
    stage_.select(10, s << 8 | role);
    stage_.select(12, hash(a.left.value, s));
    stage_.select(13, hash(a.up.value, s));
    stage_.select(14, static_cast<uint32_t>(p.scale));
  }

  // `same`: everything else is as the match expects.
  template <class Coder>
  int code(Coder& coder, const Cut& c, int known, const Place& p, uint32_t role, bool same) {
    stage_.select(8, same ? 2 + static_cast<uint32_t>(p.bucket * 2 + p.expected.sign) : 0);
    stage_.select(11, hash(c.exponent, c.mantissa, role));
    return stage_.code(coder, known, 1, same ? p.bucket : 0, static_cast<int>(sign_means(p)));
  }

 private:
  static uint32_t sign_means(const Place& p) {
    return static_cast<uint32_t>(p.row_sign * 5 + p.column_sign);
  }
  NibbleStage stage_;
};

// The contexts of an element's size that floats and integers have in common.
inline void select_size(NibbleStage& stage, const Place& p, const Around& a, uint32_t role,
                        uint32_t expected) {
  const auto s = static_cast<uint32_t>(p.scale), l = static_cast<uint32_t>(a.left.symbol),
             l2 = static_cast<uint32_t>(a.left2.symbol), u = static_cast<uint32_t>(a.up.symbol);
  stage.select(1, role);
  stage.select(2, s);
  stage.select(3, static_cast<uint32_t>(p.row_scale));
  stage.select(4, static_cast<uint32_t>(p.column_scale));
  stage.select(5, (s >> 1) * 16 + l);
  stage.select(6, (l * 16 + u) * 16 + l2);
  stage.select(7, hash(p.column, role));
  stage.select(8, hash(a.left.value, a.left2.value));
  stage.select(9, (s >> 1) * 8 + static_cast<uint32_t>(p.trend));
  stage.select(10, static_cast<uint32_t>((p.row_scale >> 2) * 128 + (p.column_scale >> 2)));
  stage.select(11, hash(a.left.value, a.up.value));
  stage.select(12, match_context(p, expected));
  stage.select(13, (u * 16 + static_cast<uint32_t>(a.up_left.symbol)) * 16 +
                       static_cast<uint32_t>(a.up_right.symbol));
  stage.select(14, (s >> 3) * 16 + (l + l2 + static_cast<uint32_t>(a.left3.symbol)) / 3);
}

}  // namespace nncodec
