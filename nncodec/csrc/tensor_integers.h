// Integers and small codes: magnitude and sign, or a code's bits. The readable twin is
// nncodec/tensors/integers.py.
#pragma once

#include <array>

#include "tensor_mixer.h"
#include "tensor_parts.h"
#include "tensor_planes.h"
#include "tensor_signs.h"

namespace nncodec {

class IntegerModel {
 public:
  explicit IntegerModel(const Kernels& kernels)
      : high_(kernels, 3, {14, 9, 10, 10, 10, 12, 12, 14, 14, 12, 14, 14, 6, 12, 10}),
        low_(kernels, 4, {14, 12, 14, 14, 12, 14, 12, 14, 14, 12, 14, 14, 14, 14, 14}),
        codes_(kernels, 4, {12, 8, 9, 9, 9, 14, 8, 12, 14, 12, 14, 14, 6, 12, 14}),
        fifth_(kernels, 1, {4, 12, 13, 12, 12, 12, 12, 12, 12, 12, 12, 8, 12, 12, 12}) {}

  void begin(const Plane& plane, int anchor, uint32_t role) {
    plane_ = plane;
    anchor_ = anchor;
    role_ = role;
    const int bits = plane.form == Form::kCode || plane.layout.bytes > 1 ? 12 : 10;
    high_.bound(bits);
    low_.bound(bits);
    codes_.bound(bits);
  }

  // What stands for zero is subtracted; bytes wrap around.
  Cut cut(uint32_t v) const {
    Cut c;
    c.value = v;
    int x;
    if (plane_.form == Form::kCode) {
      x = static_cast<int>(v) - anchor_;
    } else if (plane_.layout.bytes == 2) {
      x = static_cast<int16_t>(v);
    } else {
      x = static_cast<int8_t>(plane_.is_signed ? v : v - static_cast<uint32_t>(anchor_));
    }
    c.sign = x < 0;
    c.exponent = static_cast<uint32_t>(x < 0 ? -x : x);
    c.symbol = magnitude_class(plane_.trellis ? 2 * c.exponent : c.exponent);
    return c;
  }

  // How many steps an index of magnitude `m` stands for, by the quantiser that made it.
  static uint32_t level(uint32_t m, uint32_t quantum) {
    return quantum ? 2 * m - (m ? quantum & 1 : 0) : m;
  }

  template <class Coder>
  Cut code(Coder& coder, SignModel& signs, const Cut& known, const Place& p, const Around& a) {
    return plane_.form == Form::kCode ? code_small(coder, known, p, a)
                                      : code_integer(coder, signs, known, p, a);
  }

 private:
  // Bits of a code of four or five, high ones first.
  template <class Coder>
  Cut code_small(Coder& coder, const Cut& known, const Place& p, const Around& a) {
    const int drop = plane_.bits - 4;
    const auto s = static_cast<uint32_t>(p.scale);
    const uint32_t l = a.left.value >> drop, l2 = a.left2.value >> drop, u = a.up.value >> drop;
    const uint32_t expected = p.expected.value >> drop & 15;
    codes_.select(0, p.group);
    codes_.select(1, role_);
    codes_.select(2, s);
    codes_.select(3, static_cast<uint32_t>(p.row_scale));
    codes_.select(4, static_cast<uint32_t>(p.column_scale));
    codes_.select(5, hash(s >> 1, p.group));
    codes_.select(6, (l << 4 | l2) & 255);
    codes_.select(7, hash(p.column, role_));
    codes_.select(8, hash(a.left.value, a.left2.value, a.left3.value));
    codes_.select(9, (s >> 1) * 8 + static_cast<uint32_t>(p.trend));
    codes_.select(10, static_cast<uint32_t>((p.row_scale >> 2) * 128 + (p.column_scale >> 2)));
    codes_.select(11, hash(static_cast<uint32_t>(p.row_sign * 5 + p.column_sign), s >> 2));
    codes_.select(12, match_context(p, expected));
    codes_.select(13, hash(u, a.up_left.value >> drop, l));
    codes_.select(14, hash(p.group, static_cast<uint32_t>(p.row_scale) >> 1));
    int value = codes_.code(coder, static_cast<int>(known.value >> drop & 15), 4, p.bucket, p.scale >> 1);
    const auto h = static_cast<uint32_t>(value);
    if (drop) {
      const bool same = p.matched && expected == h;
      fifth_.select(0, h);
      fifth_.select(1, h << 8 | role_);
      fifth_.select(2, s << 4 | h);
      fifth_.select(3, hash(p.column, role_, h));
      fifth_.select(4, hash(a.left.value, h));
      fifth_.select(5, hash(p.group, h));
      fifth_.select(6, hash(a.up.value, h));
      fifth_.select(7, hash(static_cast<uint32_t>(p.row_scale), h));
      fifth_.select(8, hash(static_cast<uint32_t>(p.column_scale), h));
      fifth_.select(9, hash(a.left.value, a.up.value, h));
      fifth_.select(10, hash(a.left.value, a.left2.value, h));
      fifth_.select(11, same ? match_context(p, p.expected.value & 1) : 0);
      fifth_.select(12, hash(p.group, s >> 2, h));
      fifth_.select(13, hash(s >> 1, static_cast<uint32_t>(p.trend), h));
      fifth_.select(14, hash(static_cast<uint32_t>(p.row_sign * 5 + p.column_sign), h));
      value = value << 1 | fifth_.code(coder, static_cast<int>(known.value & 1), 1,
                                       16 + (same ? p.bucket : 0), value * 16);
    }
    return cut(static_cast<uint32_t>(value));
  }

  // The magnitude's upper three bits, its lower four, the sign. -128 is minus zero. Magnitudes of int16
  // are first shifted by the anchor, and their low bits follow; one that has more than seven bits still
  // is the last of the upper ones, and what it has more follows.
  template <class Coder>
  Cut code_integer(Coder& coder, SignModel& signs, const Cut& known, const Place& p, const Around& a) {
    const bool wide = plane_.layout.bytes == 2;
    const uint32_t q = p.quantum;
    const int shift = wide ? std::min(anchor_, kMostShift) : 0;
    const auto split = [wide, shift](uint32_t m) { return wide ? std::min(m >> shift, kEscaped) : m & 127; };
    const uint32_t seen = split(known.exponent), expected = split(p.expected.exponent);
    const auto s = static_cast<uint32_t>(p.scale);
    high_.select(0, hash(p.group, q));
    select_size(high_, p, a, role_ << 1 | (q & 1), expected >> 4);
    const int high = high_.code(coder, static_cast<int>(seen >> 4), 3, p.bucket + 4 * static_cast<int>(q),
                                p.scale >> 1);
    bool same = p.matched && expected >> 4 == static_cast<uint32_t>(high);
    const auto h = static_cast<uint32_t>(high) << 2 | q, left = static_cast<uint32_t>(a.left.symbol);
    low_.select(0, hash(p.group, h));
    low_.select(1, h << 8 | role_);
    low_.select(2, s << 5 | std::min(h, 31u));
    low_.select(3, hash(p.column, role_, h));
    low_.select(4, left << 5 | h);
    low_.select(5, hash(static_cast<uint32_t>(p.row_scale), h));
    low_.select(6, hash(static_cast<uint32_t>(p.column_scale), h));
    low_.select(7, hash(a.left.value, a.up.value, h));
    low_.select(8, hash(a.left.value, h));
    low_.select(9, hash(a.up.value, h));
    low_.select(10, hash(a.left.value, a.left2.value, h));
    low_.select(11, same ? match_context(p, expected & 15) : 0);
    low_.select(12, hash(s, left, h));
    low_.select(13, hash(s >> 1, static_cast<uint32_t>(p.trend), h));
    low_.select(14, hash(static_cast<uint32_t>(a.up.symbol), left, h));
    const int low = low_.code(coder, static_cast<int>(seen & 15), 4,
                              (same ? p.bucket : 0) + 4 * std::min(high, 3) + 16 * static_cast<int>(q),
                              p.scale >> 1);
    Cut c;
    c.exponent = static_cast<uint32_t>(high << 4 | low);
    same = same && (expected & 15) == static_cast<uint32_t>(low);
    if (wide && c.exponent == kEscaped) c.exponent += code_excess(coder, (known.exponent >> shift) - kEscaped);
    for (int i = shift - 1; i >= 0; --i) {
      const auto guess = same ? static_cast<int>(p.expected.exponent >> i & 1) : 0;
      Flag& flag = tail_[same][std::min(c.exponent, 7u)][static_cast<std::size_t>(i)];
      const int bit = guess ^ flag.code_noise(coder, guess ^ static_cast<int>(known.exponent >> i & 1), 1023);
      same = same && bit == guess;
      c.exponent = c.exponent << 1 | static_cast<uint32_t>(bit);
    }
    c.symbol = magnitude_class(level(c.exponent, q));
    int x = static_cast<int>(c.exponent);
    if (x || !wide) {
      signs.select(c, p, a, role_);
      // Minus zero stands for -128, whose own sign bit is set.
      if (signs.code(coder, c, known.sign, p, role_, same)) x = x ? -x : -128;
    }
    c = cut(wide ? static_cast<uint32_t>(x) & 0xFFFF
                 : static_cast<uint32_t>(plane_.is_signed ? x : x + anchor_) & 255);
    c.symbol = magnitude_class(level(c.exponent, q));
    return c;
  }

  // 0 to 2^15 - 127: how many bits it has, in ones, then the bits.
  template <class Coder>
  uint32_t code_excess(Coder& coder, uint32_t excess) {
    const int known = Coder::kKnows ? 32 - std::countl_zero(excess + 1) - 1 : 0;
    int bits = 0;
    while (bits < 15 && lengths_[static_cast<std::size_t>(bits)].code(coder, known > bits, 255)) ++bits;
    uint32_t value = 1;
    for (int i = bits - 1; i >= 0; --i) {
      Flag& flag = excess_[static_cast<std::size_t>(bits)][static_cast<std::size_t>(i)];
      value = value << 1 | static_cast<uint32_t>(flag.code(coder, (excess + 1) >> i & 1, 255));
    }
    return value - 1;
  }

  static constexpr uint32_t kEscaped = 127;
  static constexpr int kMostShift = 9;  // 16 bits less 7

  NibbleStage high_, low_, codes_, fifth_;
  std::array<Flag, 15> lengths_;
  std::array<std::array<Flag, 16>, 16> excess_;
  Flag tail_[2][8][16];
  Plane plane_{};
  int anchor_ = 0;
  uint32_t role_ = 0;
};

}  // namespace nncodec
