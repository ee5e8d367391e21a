#include "tensor_coder.h"

#include <bit>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "isa.h"
#include "range_coder.h"
#include "tensor_mixer.h"

namespace nncodec {

namespace {

struct Encode {
  static constexpr bool kKnows = true;
  RangeEncoder coder;
  Encode(const uint8_t*, std::size_t) {}
  int code(int bit, int p16) {
    coder.encode_bit(static_cast<uint32_t>(p16) << 8, bit);
    return bit;
  }
};

struct Decode {
  static constexpr bool kKnows = false;
  RangeDecoder coder;
  Decode(const uint8_t* payload, std::size_t size) : coder(payload, size) {}
  int code(int, int p16) { return coder.decode_bit(static_cast<uint32_t>(p16) << 8); }
};

// A single adaptive decision, outside of the mixers.
class Flag {
 public:
  template <class Coder>
  int code(Coder& coder, int bit, int limit) {
    const int p = std::clamp(static_cast<int>(value_ >> 16), 1, kProbabilityOne - 1);
    bit = coder.code(bit, p);
    const int n = static_cast<int>(value_ & 1023), was = static_cast<int>(value_ >> 10);
    const int way = bit ? (1 << 22) - 1 - was : was;
    const int step = (way >> 6) * kReciprocals.of[n] >> 9;
    value_ = static_cast<uint32_t>(bit ? was + step : was - step) << 10 |
             static_cast<uint32_t>(n < limit ? n + 1 : n);
    return bit;
  }
  void lean_to_zero() { value_ = (1u << 28) | 4; }

 private:
  uint32_t value_ = 1u << 31;
};

struct Layout {
  int bytes, exponent, mantissa;  // floats; bits
};

Layout layout_of(TensorKind kind) {
  switch (kind) {
    case TensorKind::kFloat32: return {4, 8, 23};
    case TensorKind::kFloat16: return {2, 5, 10};
    case TensorKind::kBFloat16: return {2, 8, 7};
    case TensorKind::kFloat8E4M3: return {1, 4, 3};
    case TensorKind::kFloat8E5M2: return {1, 5, 2};
    case TensorKind::kBytes:
    case TensorKind::kInt8:
    case TensorKind::kUInt8: return {1, 0, 0};
  }
  throw std::invalid_argument("no such kind of tensor");
}

uint32_t hash(uint32_t a, uint32_t b) {
  uint32_t h = a * 0x9E3779B1u ^ (b + 0x7F4A7C15u) * 0x85EBCA6Bu;
  h ^= h >> 15;
  h *= 0x2C1B3C6Du;
  return h ^ h >> 13;
}
uint32_t hash(uint32_t a, uint32_t b, uint32_t c) { return hash(hash(a, b), c); }

// log2 in eighths; x > 0.
int log2_eighths(uint64_t x) {
  const int k = 63 - std::countl_zero(x);
  const auto fraction = static_cast<int>((k >= 3 ? x >> (k - 3) : x << (3 - k)) & 7);
  return 8 * k + fraction;
}

// 0 to 3, then half octaves.
int magnitude_class(uint32_t x) {
  return x < 4 ? static_cast<int>(x) : std::min(15, log2_eighths(x) / 4);
}

// What an element is cut into. `symbol` stands for its size: floats have the distance of the exponent
// to the anchor, kEscape or kZero; integers their magnitude's logarithm.
struct Cut {
  uint32_t value = 0;  // the bits as they lie in memory
  int symbol = 0, sign = 0;
  uint32_t exponent = 0, mantissa = 0;  // of integers: the magnitude, and nothing
};

constexpr int kEscape = 14, kZero = 15;
constexpr int kMatchBits = 18, kDictionaryBits = 18, kColumns = 1 << 16;
constexpr int kMinMatch = 3, kMaxMatch = 31;

template <class Coder>
class TensorRun {
 public:
  TensorRun(const Kernels& kernels, uint8_t* data, const uint8_t* payload, std::size_t payload_size)
      : coder_(payload, payload_size),
        data_(data),
        symbols_(kernels, {0, 8, 9, 9, 9, 12, 12, 14, 14, 12, 14, 14, 6, 12, 10}),
        high_(kernels, {4, 12, 13, 14, 12, 13, 14, 12, 12, 12, 14, 8, 9, 10, 10}),
        low_(kernels, {8, 12, 12, 14, 8, 12, 12, 14, 12, 12, 14, 12, 12, 10, 10}),
        signs_(kernels, {0, 8, 6, 12, 14, 12, 12, 14, 6, 10, 12, 12, 12, 12, 10}),
        escapes_(kernels, {0, 8, 8, 8, 12, 12, 12, 14, 0, 0, 0, 0, 0, 0, 0}),
        matches_(std::size_t{1} << kMatchBits),
        dictionary_(std::size_t{2} << kDictionaryBits) {
    for (Flag& flag : flags_) flag.lean_to_zero();
  }

  void item(const TensorItem& item) {
    kind_ = item.kind;
    layout_ = layout_of(kind_);
    role_ = item.role;
    rows_ = item.rows;
    cols_ = item.cols;
    begin_ = done_;
    anchor_ = static_cast<int>(raw_byte(Coder::kKnows ? choose_anchor() : 0));
    const std::size_t columns = rows_ > 1 ? static_cast<std::size_t>(std::min<int64_t>(cols_, kColumns)) : 1;
    column_sums_.assign(columns, 0);
    column_counts_.assign(columns, 0);
    column_signs_.assign(columns, 0);
    sum_ = count_ = 0;
    zeros_ = 0;
    left_ = left2_ = left3_ = Cut{};
    for (int64_t row = 0; row < rows_; ++row) code_row(row);
  }

  Coder& coder() { return coder_; }

 private:
  uint32_t load(int64_t at) const {
    uint32_t v = 0;  // sizes that are known to the compiler are one instruction each
    if (layout_.bytes == 1) return data_[at];
    if (layout_.bytes == 2) {
      std::memcpy(&v, data_ + at, 2);
    } else {
      std::memcpy(&v, data_ + at, 4);
    }
    return v;
  }
  void store(int64_t at, uint32_t v) {
    if (layout_.bytes == 1) {
      data_[at] = static_cast<uint8_t>(v);
    } else if (layout_.bytes == 2) {
      std::memcpy(data_ + at, &v, 2);
    } else {
      std::memcpy(data_ + at, &v, 4);
    }
  }

  bool is_float() const { return layout_.exponent > 0; }

  Cut cut(uint32_t v) const {
    Cut c;
    c.value = v;
    if (is_float()) {
      c.mantissa = v & ((1u << layout_.mantissa) - 1);
      c.exponent = v >> layout_.mantissa & ((1u << layout_.exponent) - 1);
      c.sign = static_cast<int>(v >> (layout_.mantissa + layout_.exponent) & 1);
      const int distance = anchor_ - static_cast<int>(c.exponent);
      c.symbol = c.exponent == 0 && c.mantissa == 0 ? kZero
                 : distance < 0 || distance >= kEscape ? kEscape
                                                       : distance;
    } else {
      const int x = kind_ == TensorKind::kInt8 ? static_cast<int8_t>(v) : static_cast<int>(v) - anchor_;
      c.sign = x < 0;
      c.exponent = static_cast<uint32_t>(x < 0 ? -x : x);
      c.symbol = magnitude_class(c.exponent);
    }
    return c;
  }

  // The exponent that all but a few do not exceed; of unsigned integers what stands for zero.
  uint32_t choose_anchor() const {
    const int64_t n = rows_ * cols_;
    if (kind_ == TensorKind::kUInt8) {
      uint64_t sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += data_[begin_ + i];
      return static_cast<uint32_t>((sum + static_cast<uint64_t>(n) / 2) / static_cast<uint64_t>(n));
    }
    if (!is_float()) return 0;
    std::array<int64_t, 256> counts{};
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t v = load(begin_ + i * layout_.bytes);
      ++counts[v >> layout_.mantissa & ((1u << layout_.exponent) - 1)];
    }
    int64_t above = 0;
    int anchor = 255;
    while (anchor > 0 && (above += counts[static_cast<std::size_t>(anchor)]) <= n / 1024) --anchor;
    return static_cast<uint32_t>(anchor);
  }

  uint32_t raw_byte(uint32_t byte) {
    uint32_t coded = 0;
    for (int i = 7; i >= 0; --i) {
      coded = coded << 1 | static_cast<uint32_t>(coder_.code(byte >> i & 1, kProbabilityOne / 2));
    }
    return coded;
  }

  // An element's size as a number that can be summed: 2^24 is the anchor's.
  uint64_t magnitude(const Cut& c) const {
    if (!is_float()) return uint64_t{c.exponent} << 16;
    if (c.exponent == 0) return 0;
    const int below = std::clamp(anchor_ - static_cast<int>(c.exponent), -7, 31);
    const uint32_t fraction = layout_.mantissa >= 7 ? c.mantissa >> (layout_.mantissa - 7)
                                                    : c.mantissa << (7 - layout_.mantissa);
    return (uint64_t{128 + fraction} << 24) >> (below + 7);
  }

  void code_row(int64_t row) {
    uint64_t row_sum = 0, row_count = 0;
    int row_sign = 0;
    uint64_t mean = count_ ? std::max<uint64_t>(1, sum_ / count_) : 1;
    uint64_t local = mean << 4;
    const int64_t base = begin_ + row * cols_ * layout_.bytes;
    const int64_t above = row ? base - cols_ * layout_.bytes : -1;
    Cut up, up_left, up_right = above >= 0 ? cut(load(above)) : Cut{};
    for (int64_t col = 0; col < cols_; ++col) {
      const int64_t at = base + col * layout_.bytes;
      if ((col & 31) == 0) mean = count_ ? std::max<uint64_t>(1, sum_ / count_) : 1;
      const auto column = rows_ > 1 ? static_cast<std::size_t>(col & (kColumns - 1)) : 0;
      up_left = up;
      up = up_right;
      up_right = above >= 0 && col + 1 < cols_ ? cut(load(above + (col + 1) * layout_.bytes)) : Cut{};

      Place p{};
      p.column = static_cast<uint32_t>(column);
      p.row_start = col == 0;
      const int overall = log2_eighths(mean);
      p.row_scale = scale(row_sum, row_count, mean);
      p.column_scale = rows_ > 1 ? scale(column_sums_[column], column_counts_[column], mean) : overall;
      p.scale = std::clamp(p.row_scale + p.column_scale - overall, 0, 511);
      const int change = log2_eighths(std::max<uint64_t>(1, local >> 4)) - p.row_scale;
      p.trend = change < -12 ? 0 : change < -6 ? 1 : change < -2 ? 2 : change <= 2 ? 3
                : change <= 6 ? 4 : change <= 12 ? 5 : 6;
      p.row_sign = sign_class(row_sign, 20, 4);
      p.column_sign = sign_class(column_signs_[column], 12, 3);
      find_match(at);
      p.matched = match_length_ > 0;
      p.expected = p.matched ? cut(load(match_)) : Cut{};
      p.bucket = p.matched ? match_length_ > 15 ? 3 : match_length_ > 6 ? 2 : 1 : 0;

      Cut c = Coder::kKnows ? cut(load(at)) : Cut{};
      c = is_float() ? code_float(c, p, up, up_left, up_right) : code_integer(c, p, up, up_left, up_right);
      if (!Coder::kKnows) store(at, c.value);

      const uint64_t size = magnitude(c);
      row_sum += size;
      ++row_count;
      column_sums_[column] += size;
      ++column_counts_[column];
      sum_ += size;
      ++count_;
      local += size - (local >> 4);
      const int step = c.sign ? -1 : 1;
      row_sign += step - row_sign / 64;
      column_signs_[column] += step;
      end_match(at, c.value);
      left3_ = left2_;
      left2_ = left_;
      left_ = c;
      next_slot_ = &matches_[hash(c.value, left2_.value, left3_.value) >> (32 - kMatchBits)];
      __builtin_prefetch(next_slot_);
      done_ = at + layout_.bytes;
    }
  }

  // What is known of an element before it is coded.
  struct Place {
    uint32_t column;
    bool row_start;
    int row_scale, column_scale, scale;  // log2 in eighths
    int trend, row_sign, column_sign;
    bool matched;
    Cut expected;
    int bucket;
  };

  // Of the mean of a row or column, of which a little is the mean of all.
  static int scale(uint64_t sum, uint64_t count, uint64_t mean) {
    constexpr uint64_t kPrior = 6;
    return std::min(511, log2_eighths(std::max<uint64_t>(1, (sum + kPrior * mean) / (count + kPrior))));
  }
  static int sign_class(int sum, int much, int some) {
    return sum < -much ? 0 : sum < -some ? 1 : sum <= some ? 2 : sum <= much ? 3 : 4;
  }

  uint32_t match_context(const Place& p, uint32_t symbol) const {
    return p.matched ? 16 + (static_cast<uint32_t>(p.bucket) - 1) * 16 + symbol : 0;
  }

  void select_symbol(NibbleStage& stage, const Place& p, const Cut& up, const Cut& up_left,
                     const Cut& up_right, uint32_t expected) {
    const auto s = static_cast<uint32_t>(p.scale), l = static_cast<uint32_t>(left_.symbol),
               l2 = static_cast<uint32_t>(left2_.symbol), u = static_cast<uint32_t>(up.symbol);
    stage.select(0, 0);
    stage.select(1, role_);
    stage.select(2, s);
    stage.select(3, static_cast<uint32_t>(p.row_scale));
    stage.select(4, static_cast<uint32_t>(p.column_scale));
    stage.select(5, (s >> 1) * 16 + l);
    stage.select(6, (l * 16 + u) * 16 + l2);
    stage.select(7, hash(p.column, role_));
    stage.select(8, hash(left_.value, left2_.value));
    stage.select(9, (s >> 1) * 8 + static_cast<uint32_t>(p.trend));
    stage.select(10, static_cast<uint32_t>((p.row_scale >> 2) * 128 + (p.column_scale >> 2)));
    stage.select(11, hash(left_.value, up.value));
    stage.select(12, match_context(p, expected));
    stage.select(13, (u * 16 + static_cast<uint32_t>(up_left.symbol)) * 16 +
                         static_cast<uint32_t>(up_right.symbol));
    stage.select(14, (s >> 3) * 16 + (l + l2 + static_cast<uint32_t>(left3_.symbol)) / 3);
  }

  Cut code_float(const Cut& known, const Place& p, const Cut& up, const Cut& up_left,
                 const Cut& up_right) {
    Cut c;
    select_symbol(symbols_, p, up, up_left, up_right, static_cast<uint32_t>(p.expected.symbol));
    c.symbol = symbols_.code(coder_, known.symbol, 4, p.bucket, p.scale >> 1);
    if (c.symbol == kZero) {
      c.exponent = c.mantissa = 0;
    } else if (c.symbol == kEscape) {
      code_escape(c, known);
    } else {
      c.exponent = static_cast<uint32_t>(std::max(0, anchor_ - c.symbol));
    }
    const bool same = p.matched && p.expected.exponent == c.exponent;
    bool whole = same;
    select_sign(c, p, up);
    if (c.symbol != kZero) whole = code_mantissa(c, known, p, up, same);
    code_sign(c, known, p, whole);
    c.value = static_cast<uint32_t>(c.sign) << (layout_.mantissa + layout_.exponent) |
              c.exponent << layout_.mantissa | c.mantissa;
    return c;
  }

  void code_escape(Cut& c, const Cut& known) {
    const auto left = left_.exponent;
    for (int i = 8; i < kNibbleContexts; ++i) escapes_.select(i, 0);
    escapes_.select(0, 0);
    escapes_.select(1, role_);
    escapes_.select(2, left);
    for (uint32_t i = 3; i < 8; ++i) escapes_.select(static_cast<int>(i), hash(left, role_, i));
    const int high = escapes_.code(coder_, static_cast<int>(known.exponent >> 4), 4, 0, 0);
    const auto h = static_cast<uint32_t>(high);
    escapes_.select(4, hash(h, 0, 99));
    escapes_.select(5, hash(h, role_, 99));
    for (int i = 6; i < 8; ++i) escapes_.select(i, hash(h, left, 99));
    c.exponent = static_cast<uint32_t>(high) << 4 |
                 static_cast<uint32_t>(escapes_.code(coder_, static_cast<int>(known.exponent & 15), 4, 1, 1));
    c.exponent &= (1u << layout_.exponent) - 1;
  }

  // The sign's contexts but two, before the mantissa is coded, so that their lines are there in time.
  void select_sign(const Cut& c, const Place& p, const Cut& up) {
    const auto means = sign_means(p), s = static_cast<uint32_t>(c.symbol);
    const auto signs = static_cast<uint32_t>(left_.sign | up.sign << 1 | left2_.sign << 2 | left3_.sign << 3);
    signs_.select(0, 0);
    signs_.select(1, role_);
    signs_.select(2, means);
    signs_.select(3, means << 4 | s);
    signs_.select(4, hash(p.column, role_));
    signs_.select(5, signs << 4 | s);
    signs_.select(6, signs << 5 | means);
    signs_.select(7, hash(left_.value, up.value, s));
    signs_.select(9, static_cast<uint32_t>(role_) * 32 + means);
    signs_.select(10, s << 8 | role_);
    signs_.select(12, hash(left_.value, s));
    signs_.select(13, hash(up.value, s));
    signs_.select(14, static_cast<uint32_t>(p.scale));
  }

  void code_sign(Cut& c, const Cut& known, const Place& p, bool same) {
    signs_.select(8, same ? 2 + static_cast<uint32_t>(p.bucket * 2 + p.expected.sign) : 0);
    signs_.select(11, hash(c.exponent, c.mantissa, role_));
    c.sign = signs_.code(coder_, known.sign, 1, same ? p.bucket : 0, static_cast<int>(sign_means(p)));
  }
  static uint32_t sign_means(const Place& p) {
    return static_cast<uint32_t>(p.row_sign * 5 + p.column_sign);
  }

  // Whether it is the one that the match expects is returned.
  bool code_mantissa(Cut& c, const Cut& known, const Place& p, const Cut& up, bool same) {
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
    high_.select(4, hash(s, part(left_.mantissa, bits - first, first), left_.exponent));
    high_.select(5, (distance >> 2) << 3 | static_cast<uint32_t>(p.trend));
    high_.select(6, hash(left_.value, s));
    high_.select(7, hash(up.value, s));
    high_.select(8, hash(left_.value, up.value, s));
    high_.select(9, hash(static_cast<uint32_t>(p.row_scale), s));
    high_.select(10, hash(left_.value, left2_.value, s));
    high_.select(11, same ? match_context(p, expected) : 0);
    high_.select(12, distance);
    high_.select(13, c.exponent);
    high_.select(14, hash(left3_.value, s));
    int value = high_.code(coder_, static_cast<int>(part(known.mantissa, bits - first, first)), first,
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
      low_.select(5, hash(left_.value, m));
      low_.select(6, hash(distance, m));
      low_.select(7, hash(left_.value, up.value, s << 4 | m));
      low_.select(8, hash(up.value, m));
      low_.select(9, hash(left_.exponent, s, m));
      low_.select(10, hash(left_.value, left2_.value, s << 4 | m));
      low_.select(11, same ? match_context(p, next) : 0);
      low_.select(12, hash(static_cast<uint32_t>(p.row_scale), s, m));
      low_.select(13, role_);
      low_.select(14, s);
      const int rest = low_.code(coder_, static_cast<int>(part(known.mantissa, bits - first - second, second)),
                                 second, same ? p.bucket : 0, 16 + static_cast<int>(s));
      c.mantissa = c.mantissa << second | static_cast<uint32_t>(rest);
      same = same && static_cast<uint32_t>(rest) == next;
    }
    if (const int rest = bits - first - second; rest > 0) code_tail(c, known, p, up, same, rest);
    return same && c.mantissa == p.expected.mantissa;
  }

  // The low bits of a mantissa are noise, but for values that came before and for those that were
  // narrower once: guesses first, then bits.
  void code_tail(Cut& c, const Cut& known, const Place& p, const Cut& up, bool same, int bits) {
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
      const uint32_t context = by_match ? 2048u + static_cast<uint32_t>(match_length_)
                                        : static_cast<uint32_t>(i) << 9 | (hits_ & 15) << 4 |
                                              static_cast<uint32_t>(guesses[i] == 0) << 8 |
                                              static_cast<uint32_t>(zeros_ > 2);
      hit = flags_[context].code(coder_, Coder::kKnows && guesses[i] == low, 255) != 0;
      if (!by_match && i == first) hits_ = hits_ << 1 | static_cast<uint32_t>(hit);
      found = guesses[i];
    }
    if (!hit) {
      found = 0;
      int noise = bits, zero = 0;
      if (bits >= kNarrow) {  // a float16 in a float32
        const bool up_zero = (up.mantissa & kNarrowMask) == 0;
        Flag& flag = flags_[3072 + (p.row_start << 4 | std::min(zeros_, 7) << 1 | up_zero)];
        zero = flag.code(coder_, (low & kNarrowMask) == 0, 255);
        if (zero) noise = bits - kNarrow;
      }
      for (int i = 0; i < noise; ++i) {
        Flag& flag = tail_[zero][zeros_ > 2][i];
        found = found << 1 | static_cast<uint32_t>(flag.code(coder_, low >> (bits - 1 - i) & 1, 1023));
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

  Cut code_integer(const Cut& known, const Place& p, const Cut& up, const Cut& up_left,
                   const Cut& up_right) {
    Cut c;
    select_symbol(symbols_, p, up, up_left, up_right, p.expected.exponent >> 4);
    const int high = symbols_.code(coder_, static_cast<int>(known.exponent >> 4), 4, 16 + p.bucket,
                                   p.scale >> 1);
    const bool same = p.matched && p.expected.exponent >> 4 == static_cast<uint32_t>(high);
    const auto h = static_cast<uint32_t>(high);
    const auto s = static_cast<uint32_t>(p.scale);
    low_.select(0, h);
    low_.select(1, h << 8 | role_);
    low_.select(2, s << 3 | std::min(h, 7u));
    low_.select(3, hash(p.column, role_, h));
    low_.select(4, static_cast<uint32_t>(left_.symbol) << 4 | h);
    low_.select(5, hash(static_cast<uint32_t>(p.row_scale), h));
    low_.select(6, hash(static_cast<uint32_t>(p.column_scale), h));
    low_.select(7, hash(left_.value, up.value, h));
    low_.select(8, hash(left_.value, h));
    low_.select(9, hash(up.value, h));
    low_.select(10, hash(left_.value, left2_.value, h));
    low_.select(11, same ? match_context(p, p.expected.exponent & 15) : 0);
    low_.select(12, hash(s, static_cast<uint32_t>(left_.symbol), h));
    low_.select(13, hash(s >> 1, static_cast<uint32_t>(p.trend), h));
    low_.select(14, hash(static_cast<uint32_t>(up.symbol), static_cast<uint32_t>(left_.symbol), h));
    const int rest = low_.code(coder_, static_cast<int>(known.exponent & 15), 4,
                               32 + (same ? p.bucket : 0) + 4 * std::min(high, 3), p.scale >> 1);
    c.exponent = h << 4 | static_cast<uint32_t>(rest);
    c.symbol = magnitude_class(c.exponent);
    c.sign = 0;
    if (c.exponent) {
      select_sign(c, p, up);
      code_sign(c, known, p, same && p.expected.exponent == c.exponent);
    }
    const int x = c.sign ? -static_cast<int>(c.exponent) : static_cast<int>(c.exponent);
    c.value = static_cast<uint32_t>(kind_ == TensorKind::kInt8 ? x : x + anchor_) & 255;
    return c;
  }

  // Before an element: goes on with the match, or looks for one.
  void find_match(int64_t at) {
    const int w = layout_.bytes;
    slot_ = nullptr;
    if (at - begin_ < kMinMatch * w) {
      match_length_ = 0;
      return;
    }
    slot_ = next_slot_;
    if (match_length_ > 0 || *slot_ == 0) return;
    const int64_t candidate = *slot_;
    const int64_t most = std::min<int64_t>({candidate, at - begin_, int64_t{kMaxMatch} * w});
    int length = 0;
    while ((length + 1) * w <= most &&
           load(candidate - (length + 1) * w) == load(at - (length + 1) * w)) {
      ++length;
    }
    if (length < kMinMatch) return;
    match_ = candidate;
    match_length_ = length;
  }

  void end_match(int64_t at, uint32_t value) {
    if (slot_) *slot_ = static_cast<uint32_t>(at);
    if (match_length_ == 0) return;
    const bool hit = load(match_) == value;
    match_length_ = hit ? std::min(match_length_ + 1, kMaxMatch) : 0;
    match_ += layout_.bytes;
  }

  static constexpr int kGuessed = 8;  // tails that are shorter are soon coded bit by bit
  static constexpr int kNarrow = 13;  // mantissa bits that float32 has more than float16
  static constexpr uint32_t kNarrowMask = (1u << kNarrow) - 1;

  Coder coder_;
  uint8_t* const data_;
  NibbleStage symbols_, high_, low_, signs_, escapes_;
  ZeroedTable<uint32_t> matches_;     // hash of three elements -> offset of the next; 0: none
  ZeroedTable<uint32_t> dictionary_;  // top of a float -> its last two tails, plus 1
  std::array<Flag, 4096> flags_;
  Flag tail_[2][2][32];

  TensorKind kind_ = TensorKind::kBytes;
  Layout layout_{};
  uint8_t role_ = 0;
  int anchor_ = 0;
  int64_t rows_ = 0, cols_ = 0, begin_ = 0, done_ = 0;
  std::vector<uint64_t> column_sums_;
  std::vector<uint32_t> column_counts_;
  std::vector<int> column_signs_;
  uint64_t sum_ = 0, count_ = 0;
  int zeros_ = 0;  // elements in a row whose tails were zeros
  uint32_t hits_ = 0;
  Cut left_, left2_, left3_;
  uint32_t *slot_ = nullptr, *next_slot_ = nullptr;
  int64_t match_ = 0;
  int match_length_ = 0;
};

}  // namespace

int64_t item_bytes(const TensorItem& item) {
  const int bytes = layout_of(item.kind).bytes;
  if (item.rows < 1 || item.cols < 1 || item.rows > kMaxChunk || item.cols > kMaxChunk ||
      item.rows * item.cols > kMaxChunk / bytes) {
    throw std::invalid_argument("a tensor does not fit a chunk");
  }
  return item.rows * item.cols * bytes;
}

namespace {
std::size_t total_bytes(const std::vector<TensorItem>& items) {
  int64_t total = 0;
  for (const TensorItem& item : items) {
    total += item_bytes(item);
    if (total > kMaxChunk) throw std::invalid_argument("the tensors do not fit a chunk");
  }
  return static_cast<std::size_t>(total);
}
}  // namespace

std::vector<uint8_t> encode_tensors(const std::vector<TensorItem>& items, const uint8_t* chunk,
                                    std::size_t size, const std::string& isa) {
  if (total_bytes(items) != size) throw std::invalid_argument("the tensors do not fill the chunk");
  std::vector<uint8_t> data(chunk, chunk + size);
  TensorRun<Encode> run(choose_kernels(isa), data.data(), nullptr, 0);
  for (const TensorItem& item : items) run.item(item);
  return run.coder().coder.finish();
}

std::vector<uint8_t> decode_tensors(const std::vector<TensorItem>& items, const uint8_t* payload,
                                    std::size_t size, const std::string& isa) {
  std::vector<uint8_t> data(total_bytes(items));
  TensorRun<Decode> run(choose_kernels(isa), data.data(), payload, size);
  for (const TensorItem& item : items) run.item(item);
  run.coder().coder.finish();
  return data;
}

}  // namespace nncodec
