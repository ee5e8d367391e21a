// Floats: the distance of the exponent to an anchor, the mantissa, the sign. The readable twin is
// nncodec/tensors/floats.py.
#pragma once

#include <array>

#include "tensor_mixer.h"
#include "tensor_parts.h"
#include "tensor_planes.h"
#include "tensor_signs.h"
#include "zeroed_table.h"

namespace nncodec {

class FloatModel {
 public:
  explicit FloatModel(const Kernels& kernels)
      : symbols_(kernels, 4, {0, 8, 9, 9, 9, 12, 12, 14, 14, 12, 14, 14, 6, 12, 10}),
        high_(kernels, 4, {4, 12, 13, 14, 12, 13, 14, 12, 12, 12, 14, 8, 9, 10, 10}),
        low_(kernels, 4, {8, 12, 12, 14, 8, 12, 12, 14, 12, 12, 14, 12, 12, 10, 10}),
        escapes_(kernels, 4, {0, 8, 8, 8, 12, 12, 12, 14, 0, 0, 0, 0, 0, 0, 0}),
        dictionary_(std::size_t{2} << kDictionaryBits) {
    for (Flag& flag : flags_) flag.lean_to_zero();
  }

  void begin(const Layout& layout, int anchor, uint32_t role) {
    layout_ = layout;
    anchor_ = anchor;
    role_ = role;
    zeros_ = 0;
    const int bits = layout.bytes == 1 ? 10 : layout.bytes == 2 ? 11 : 14;
    symbols_.bound(bits);
    high_.bound(bits);
    low_.bound(bits);
  }

  Cut cut(uint32_t v) const {
    Cut c;
    c.value = v;
    c.mantissa = v & ((1u << layout_.mantissa) - 1);
    c.exponent = v >> layout_.mantissa & ((1u << layout_.exponent) - 1);
    c.sign = static_cast<int>(v >> (layout_.mantissa + layout_.exponent) & 1);
    const int distance = anchor_ - static_cast<int>(c.exponent);
    c.symbol = c.exponent == 0 && c.mantissa == 0 ? kZero
               : distance < 0 || distance >= kEscape ? kEscape
                                                     : distance;
    return c;
  }

  // An element's size as a number that can be summed: 2^24 is the anchor's.
  uint64_t magnitude(const Cut& c) const {
    if (c.exponent == 0) return 0;
    const int below = std::clamp(anchor_ - static_cast<int>(c.exponent), -7, 31);
    const uint32_t fraction = layout_.mantissa >= 7 ? c.mantissa >> (layout_.mantissa - 7)
                                                    : c.mantissa << (7 - layout_.mantissa);
    return (uint64_t{128 + fraction} << 24) >> (below + 7);
  }

  template <class Coder>
  Cut code(Coder& coder, SignModel& signs, const Cut& known, const Place& p, const Around& a) {
    Cut c;
    symbols_.select(0, 0);
    select_size(symbols_, p, a, role_, static_cast<uint32_t>(p.expected.symbol));
    c.symbol = symbols_.code(coder, known.symbol, 4, p.bucket, p.scale >> 1);
    if (c.symbol == kZero) {
      c.exponent = c.mantissa = 0;
    } else if (c.symbol == kEscape) {
      code_escape(coder, c, known, a);
    } else {
      c.exponent = static_cast<uint32_t>(std::max(0, anchor_ - c.symbol));
    }
    const bool same = p.matched && p.expected.exponent == c.exponent;
    bool whole = same;
    signs.select(c, p, a, role_);
    if (c.symbol != kZero) whole = code_mantissa(coder, c, known, p, a, same);
    c.sign = signs.code(coder, c, known.sign, p, role_, whole);
    c.value = static_cast<uint32_t>(c.sign) << (layout_.mantissa + layout_.exponent) |
              c.exponent << layout_.mantissa | c.mantissa;
    return c;
  }

 private:
  template <class Coder>
  void code_escape(Coder& coder, Cut& c, const Cut& known, const Around& a) {
    const auto left = a.left.exponent;
    for (int i = 8; i < kNibbleContexts; ++i) escapes_.select(i, 0);
    escapes_.select(0, 0);
    escapes_.select(1, role_);
    escapes_.select(2, left);
    for (uint32_t i = 3; i < 8; ++i) escapes_.select(static_cast<int>(i), hash(left, role_, i));
    const int high = escapes_.code(coder, static_cast<int>(known.exponent >> 4), 4, 0, 0);
    const auto h = static_cast<uint32_t>(high);
    escapes_.select(4, hash(h, 0, 99));
    escapes_.select(5, hash(h, role_, 99));
    for (int i = 6; i < 8; ++i) escapes_.select(i, hash(h, left, 99));
    c.exponent = static_cast<uint32_t>(high) << 4 |
                 static_cast<uint32_t>(escapes_.code(coder, static_cast<int>(known.exponent & 15), 4, 1, 1));
    c.exponent &= (1u << layout_.exponent) - 1;
  }

  // Whether it is the one that the match expects is returned.
  template <class Coder>
  bool code_mantissa(Coder& coder, Cut& c, const Cut& known, const Place& p, const Around& a,
                     bool same) {
    // How large the exponent is beside what was expected of this place.
    const auto distance = static_cast<uint32_t>(8 * c.symbol + p.scale) & 511;
    const auto s = static_cast<uint32_t>(c.symbol);
    const int bits = layout_.mantissa, first = std::min(bits, 4), second = std::clamp(bits - 4, 0, 4);
    const auto part = [](uint32_t mantissa, int drop, int keep) {
      return static_cast<uint32_t>(mantissa >> drop & ((1u << keep) - 1));
    };
    const uint32_t expected = part(p.expected.mantissa, bits - first, first);
    high_.select(0, s);
    high_.select(1, s << 8 | role_);
    high_.select(2, distance << 4 | s);
    high_.select(3, hash(p.column, role_, s));
    high_.select(4, hash(s, part(a.left.mantissa, bits - first, first), a.left.exponent));
    high_.select(5, (distance >> 2) << 3 | static_cast<uint32_t>(p.trend));
    high_.select(6, hash(a.left.value, s));
    high_.select(7, hash(a.up.value, s));
    high_.select(8, hash(a.left.value, a.up.value, s));
    high_.select(9, hash(static_cast<uint32_t>(p.row_scale), s));
    high_.select(10, hash(a.left.value, a.left2.value, s));
    high_.select(11, same ? match_context(p, expected) : 0);
    high_.select(12, distance);
    high_.select(13, c.exponent);
    high_.select(14, hash(a.left3.value, s));
    int value = high_.code(coder, static_cast<int>(part(known.mantissa, bits - first, first)), first,
                           same ? p.bucket : 0, 16 + static_cast<int>(s));
    c.mantissa = static_cast<uint32_t>(value);
    same = same && c.mantissa == expected;
    if (second) {
      const auto m = static_cast<uint32_t>(value);
      const uint32_t next = part(p.expected.mantissa, bits - first - second, second);
      low_.select(0, s << 4 | m);
      low_.select(1, m << 8 | role_);
      low_.select(2, hash(c.exponent, m, role_));
      low_.select(3, hash(p.column, role_, s << 4 | m));
      low_.select(4, m);
      low_.select(5, hash(a.left.value, m));
      low_.select(6, hash(distance, m));
      low_.select(7, hash(a.left.value, a.up.value, s << 4 | m));
      low_.select(8, hash(a.up.value, m));
      low_.select(9, hash(a.left.exponent, s, m));
      low_.select(10, hash(a.left.value, a.left2.value, s << 4 | m));
      low_.select(11, same ? match_context(p, next) : 0);
      low_.select(12, hash(static_cast<uint32_t>(p.row_scale), s, m));
      low_.select(13, role_);
      low_.select(14, s);
      const int rest = low_.code(coder, static_cast<int>(part(known.mantissa, bits - first - second, second)),
                                 second, same ? p.bucket : 0, 16 + static_cast<int>(s));
      c.mantissa = c.mantissa << second | static_cast<uint32_t>(rest);
      same = same && static_cast<uint32_t>(rest) == next;
    }
    if (const int rest = bits - first - second; rest > 0) code_tail(coder, c, known, p, a.up, same, rest);
    return same && c.mantissa == p.expected.mantissa;
  }

  // The low bits of a mantissa are noise, but for values that came before and for those that were
  // narrower once: guesses first, then bits.
  template <class Coder>
  void code_tail(Coder& coder, Cut& c, const Cut& known, const Place& p, const Cut& up, bool same, int bits) {
    const uint32_t mask = (1u << bits) - 1, top = c.mantissa, low = known.mantissa & mask;
    uint32_t* const entry = &dictionary_[std::size_t{hash(c.exponent, top) >> (32 - kDictionaryBits)} * 2];
    uint32_t guesses[3];
    int count = 0;
    if (same) guesses[count++] = p.expected.mantissa & mask;
    const int first = count;
    for (int i = 0; i < 2 && bits >= kGuessed; ++i) {
      const uint32_t guess = (entry[i] - 1) & mask;
      bool fresh = entry[i] != 0;
      for (int j = 0; j < count; ++j) fresh = fresh && guesses[j] != guess;
      if (fresh) guesses[count++] = guess;
    }
    uint32_t found = 0;
    bool hit = false;
    for (int i = 0; i < count && !hit; ++i) {
      const bool by_match = same && i == 0;
      const uint32_t context = by_match ? 2048u + static_cast<uint32_t>(p.match_length)
                                        : static_cast<uint32_t>(i) << 9 | (hits_ & 15) << 4 |
                                              static_cast<uint32_t>(guesses[i] == 0) << 8 |
                                              static_cast<uint32_t>(zeros_ > 2);
      hit = flags_[context].code(coder, Coder::kKnows && guesses[i] == low, 255) != 0;
      if (!by_match && i == first) hits_ = hits_ << 1 | static_cast<uint32_t>(hit);
      found = guesses[i];
    }
    if (!hit) {
      found = 0;
      int noise = bits, zero = 0;
      if (bits >= kNarrow) {  // a float16 in a float32
        const bool up_zero = (up.mantissa & kNarrowMask) == 0;
        Flag& flag = flags_[3072 + (p.row_start << 4 | std::min(zeros_, 7) << 1 | up_zero)];
        zero = flag.code(coder, (low & kNarrowMask) == 0, 255);
        if (zero) noise = bits - kNarrow;
      }
      for (int i = 0; i < noise; ++i) {
        Flag& flag = tail_[zero][zeros_ > 2][i];
        found = found << 1 | static_cast<uint32_t>(flag.code_noise(coder, low >> (bits - 1 - i) & 1, 1023));
      }
      found <<= bits - noise;
    }
    if (entry[0] != found + 1) {
      entry[1] = entry[0];
      entry[0] = found + 1;
    }
    c.mantissa = top << bits | found;
    zeros_ = (c.mantissa & kNarrowMask) == 0 && bits >= kNarrow ? zeros_ + 1 : 0;
  }

  static constexpr int kDictionaryBits = 18;
  static constexpr int kGuessed = 8;  // tails that are shorter are soon coded bit by bit
  static constexpr int kNarrow = 13;  // mantissa bits that float32 has more than float16
  static constexpr uint32_t kNarrowMask = (1u << kNarrow) - 1;

  NibbleStage symbols_, high_, low_, escapes_;
  ZeroedTable<uint32_t> dictionary_;  // top of a float -> its last two tails, plus 1
  std::array<Flag, 4096> flags_;
  Flag tail_[2][2][32];
  Layout layout_{};
  int anchor_ = 0;
  uint32_t role_ = 0;
  int zeros_ = 0;  // elements in a row whose tails were zeros
  uint32_t hits_ = 0;
};

}  // namespace nncodec
