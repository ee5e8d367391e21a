#include "delta_coder.h"

#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "delta_numbers.h"
#include "delta_predictor.h"
#include "isa.h"
#include "tensor_mixer.h"
#include "tensor_parts.h"

namespace nncodec {

namespace {

constexpr int kColumns = 1 << 16;     // rows that are longer have no directions
constexpr int kFar = 14, kSmall = 15;  // pairs of classes that are none
constexpr int kFarClass = 2 * kFar;    // classes from here on are far
constexpr int kWideBits = 34;          // of a far difference
constexpr int kPrior = 6;              // elements that the mean of all counts for in a row's or column's
constexpr int64_t kMostMove = int64_t{1} << 30;

// Running mean of sizes, as a logarithm in eighths; sizes are kept in units of 2^-8.
struct Mean {
  uint64_t sum = 0, count = 0;
  void add(uint64_t size) {
    sum += size << 8;
    ++count;
  }
  uint64_t value() const { return count ? std::max<uint64_t>(1, sum / count) : 1; }
  int log(uint64_t mean) const {
    return log2_eighths(std::max<uint64_t>(1, (sum + kPrior * mean) / (count + kPrior)));
  }
};

// How an element moved.
struct Move {
  int64_t change = 0;  // in fixed-point units
  int64_t error = 0;   // of that, what the prediction left over
  int step = 0;        // the coded difference of ordinals, within -31..31
  bool same = true;    // as the base
};

int sign_of(int64_t x) { return x < 0 ? 1 : x > 0 ? 2 : 0; }

template <class Coder>
class DeltaRun {
 public:
  DeltaRun(const Kernels& kernels, const uint8_t* base, uint8_t* data, const uint8_t* payload,
           std::size_t payload_size)
      : coder_(payload, payload_size),
        base_(base),
        data_(data),
        classes_(kernels, {11, 9, 9, 9, 10, 14, 9, 12, 14, 13, 14, 14, 14, 16, 13}),
        lows_(kernels, {5, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 16, 14}),
        signs_(kernels, {8, 12, 14, 12, 12, 14, 14, 14, 14, 14, 14, 14, 14, 16, 12}) {}

  void item(const DeltaItem& item) {
    const TensorItem& t = item.tensor;
    bytes_ = number_layout(t.kind).bytes;
    const int64_t size = t.rows * t.cols * bytes_;
    begin_ = done_;
    done_ += size;
    if (item.equal) {
      if (Coder::kKnows && std::memcmp(data_ + begin_, base_ + begin_, static_cast<std::size_t>(size)) != 0) {
        throw std::invalid_argument("a tensor is not equal to its base");
      }
      std::memcpy(data_ + begin_, base_ + begin_, static_cast<std::size_t>(size));
      return;
    }
    role_ = t.role;
    rows_ = t.rows;
    cols_ = t.cols;
    choose_scale(t.kind);
    columns_ = rows_ > 1 ? std::min<int64_t>(cols_, kColumns) : 1;
    directed_ = rows_ > 1 && cols_ > 1 && cols_ <= kColumns;
    if (directed_) directions_.start(cols_);
    errors_ = moves_ = Mean{};
    const auto columns = static_cast<std::size_t>(columns_);
    column_errors_.assign(columns, {});
    column_moves_.assign(columns, {});
    column_signs_.assign(columns, 0);
    above_.assign(columns, {});
    left_ = left2_ = Move{};
    for (int64_t row = 0; row < rows_; ++row) code_row(row);
  }

  Coder& coder() { return coder_; }

 private:
  uint32_t load(const uint8_t* from, int64_t i) const {
    uint32_t v = 0;
    std::memcpy(&v, from + begin_ + i * bytes_, static_cast<std::size_t>(bytes_));
    return v;
  }

  uint32_t raw(uint32_t value, int bits) {
    uint32_t coded = 0;
    for (int i = bits - 1; i >= 0; --i) {
      coded = coded << 1 | static_cast<uint32_t>(coder_.code(value >> i & 1, kProbabilityOne / 2));
    }
    return coded;
  }

  // The unit of fixed-point numbers, 2^-16 of what seven eighths of the changes do not exceed, and the
  // exponent that all but a thousandth of the floats reach.
  void choose_scale(TensorKind kind) {
    int unit = 0, floor = 0;
    if (Coder::kKnows) {
      const int64_t n = rows_ * cols_;
      std::array<int64_t, 1024> levels{};
      std::array<int64_t, 256> exponents{};
      int64_t changed = 0, zeros = 0;
      for (int64_t i = 0; i < n; ++i) {
        const uint32_t x = load(data_, i), b = load(base_, i);
        const Numbers plain(kind, 0, 0);
        if (plain.is_float()) {
          plain.magnitude(x) ? ++exponents[static_cast<std::size_t>(plain.exponent(x))] : ++zeros;
        }
        if (x == b) continue;
        const int at = plain.is_float() ? std::max({1, plain.exponent(x) - 30, plain.exponent(b) - 30}) : 0;
        const int finest = plain.is_float() ? std::max(at, std::min(plain.exponent(x), plain.exponent(b))) : 0;
        const Numbers scaled(kind, finest, 0);
        const auto move = static_cast<uint64_t>(std::abs(scaled.fixed(x) - scaled.fixed(b)));
        ++levels[static_cast<std::size_t>(finest + std::bit_width(move))];
        ++changed;
      }
      int level = 1023;
      for (int64_t above = 0; level > 0 && (above += levels[static_cast<std::size_t>(level)]) <= changed / 8;) --level;
      unit = level - 16;
      const int most = (1 << number_layout(kind).exponent) - 1;
      for (int64_t below = 0; floor < most && (below += exponents[static_cast<std::size_t>(floor)]) <= (n - zeros) / 1024;) ++floor;
      if (!Numbers(kind, 0, 0).is_float()) unit = std::clamp(unit, -24, 0);
    }
    unit = static_cast<int>(raw(static_cast<uint32_t>(unit + 256), 10)) - 256;
    floor = static_cast<int>(raw(static_cast<uint32_t>(floor), 8));
    if (number_layout(kind).exponent == 0) unit = std::clamp(unit, -24, 0);
    floor = std::min(floor, (1 << number_layout(kind).exponent) - 1);
    numbers_ = Numbers(kind, unit, floor);
  }

  // What is known of an element before it is coded. Scales are of changes, in eighths of an octave,
  // beside the distance between neighbouring numbers.
  struct Place {
    uint32_t base;
    int64_t expected;    // ordinal
    uint32_t fraction;   // what it was rounded by, in eighths, 0 to 7
    int64_t predicted;   // change
    uint32_t scale, row_scale, column_scale, move_scale, local;
    uint32_t drift;      // the predicted change beside the scale: 0 to 15
    uint32_t edge;       // where the expected number lies in its binade, and its sign
    uint32_t size;       // exponent of the base and top bits of its mantissa
    uint32_t left, up;   // sizes of the neighbours' errors, beside the distance
    uint32_t recent;     // which neighbours are as in the base
    int row_sign, column_sign;
    uint32_t column;
    Move above, above_right;
  };

  static uint32_t beside(int log, int spacing) {
    return static_cast<uint32_t>(std::clamp(log - 64 - 8 * spacing + 96, 0, 511));
  }
  static uint32_t octaves(int64_t error, int spacing) {
    if (error == 0) return 0;
    const int log = static_cast<int>(std::bit_width(static_cast<uint64_t>(std::abs(error))));
    return static_cast<uint32_t>(std::clamp(log - spacing + 8, 1, 31));
  }
  static int sign_class(int sum, int much, int some) {
    return sum < -much ? 0 : sum < -some ? 1 : sum <= some ? 2 : sum <= much ? 3 : 4;
  }

  static double rounding(int spacing) {
    const auto ulp = static_cast<double>(int64_t{1} << std::clamp(spacing, 0, 30));
    return ulp * ulp * 0.125;
  }

  void code_row(int64_t row) {
    Mean row_errors, row_moves;
    int row_sign = 0;
    uint64_t local = errors_.value() << 4;
    uint32_t same = 0xff;
    for (int64_t col = 0; col < cols_; ++col) {
      const int64_t i = row * cols_ + col;
      const auto column = static_cast<std::size_t>(rows_ > 1 ? col % kColumns : 0);
      Place p;
      p.base = load(base_, i);
      p.predicted = directed_ ? directions_.predict(column) : 0;
      const int64_t from = numbers_.ordinal(p.base), at = numbers_.fixed(p.base);
      const int64_t fine = (from << kFine) + (p.predicted ? numbers_.fine(at + p.predicted) - numbers_.fine(at) : 0);
      p.expected = (fine + 4) >> kFine;
      p.fraction = static_cast<uint32_t>(fine - (p.expected << kFine) + 4);
      const int spacing = numbers_.spacing(p.expected);
      const uint64_t mean = errors_.value(), move_mean = moves_.value();
      const int overall = log2_eighths(mean), move_overall = log2_eighths(move_mean);
      const int by_row = row_errors.log(mean);
      const int by_column = rows_ > 1 ? column_errors_[column].log(mean) : overall;
      const int by_both = std::max(0, by_row + by_column - overall);
      const int moved = row_moves.log(move_mean) + (rows_ > 1 ? column_moves_[column].log(move_mean) - move_overall : 0);
      p.scale = beside(by_both, spacing);
      p.row_scale = beside(by_row, spacing);
      p.column_scale = beside(by_column, spacing);
      p.move_scale = beside(moved, spacing);
      p.local = beside(log2_eighths(std::max<uint64_t>(1, local >> 4)), spacing);
      const int ahead = log2_eighths((static_cast<uint64_t>(std::abs(p.predicted)) << 8) + 1) - by_both;
      p.drift = ahead < -24 ? 0 : static_cast<uint32_t>(2 * (std::clamp(ahead / 8 + 4, 1, 7)) + (p.predicted < 0));
      const uint32_t magnitude = static_cast<uint32_t>(std::min<int64_t>(std::abs(p.expected), 1 << 30));
      const int mantissa = numbers_.mantissa();
      p.edge = (mantissa >= 3 ? magnitude >> (mantissa - 3) & 7 : magnitude & 7) << 1 | (p.expected < 0);
      p.edge = p.expected == 0 ? 16 : p.edge;
      p.size = numbers_.is_float() ? numbers_.magnitude(p.base) >> std::max(0, mantissa - 3) : p.base;
      p.column = static_cast<uint32_t>(column);
      p.above = row ? above_[column] : Move{};
      p.above_right = row && col + 1 < cols_ && rows_ > 1 ? above_[static_cast<std::size_t>((col + 1) % kColumns)] : Move{};
      p.left = octaves(left_.error, spacing);
      p.up = octaves(p.above.error, spacing);
      p.recent = (same & 15) << 2 | static_cast<uint32_t>(p.above.same) << 1 | p.above_right.same;
      p.row_sign = sign_class(row_sign, 20, 4);
      p.column_sign = sign_class(column_signs_[column], 12, 3);

      const uint32_t known = Coder::kKnows ? load(data_, i) : 0;
      Move m;
      const uint32_t value = code(known, p, m);
      if (!Coder::kKnows) std::memcpy(data_ + begin_ + i * bytes_, &value, static_cast<std::size_t>(bytes_));

      m.same = value == p.base;
      m.change = std::clamp(numbers_.fixed(value) - at, -kMostMove, kMostMove);
      m.error = std::clamp(m.change - p.predicted, -kMostMove, kMostMove);
      if (directed_) directions_.learn(column, m.change, rounding(spacing));
      const auto size = static_cast<uint64_t>(std::abs(m.error)), move = static_cast<uint64_t>(std::abs(m.change));
      row_errors.add(size);
      row_moves.add(move);
      column_errors_[column].add(size);
      column_moves_[column].add(move);
      errors_.add(size);
      moves_.add(move);
      local += (size << 8) - (local >> 4);
      const int step = m.error < 0 ? -1 : m.error > 0;
      row_sign += step - row_sign / 64;
      column_signs_[column] += step;
      same = same << 1 | m.same;
      above_[column] = m;
      left2_ = left_;
      left_ = m;
    }
    if (directed_) directions_.end_row();
  }


  uint32_t code(uint32_t known, const Place& p, Move& m) {
    const bool small = Coder::kKnows && numbers_.small(known);
    const int64_t n = Coder::kKnows && !small ? numbers_.ordinal(known) - p.expected : 0;
    const auto size = static_cast<uint64_t>(std::abs(n));
    const int width = static_cast<int>(std::bit_width(size));
    select_class(p);
    const int pair = classes_.code(coder_, small ? kSmall : width >= kFarClass ? kFar : width >> 1, 4,
                                   static_cast<int>(p.drift), static_cast<int>(p.scale >> 1));
    if (pair == kSmall) return code_small(known, p);
    uint64_t coded = 0;
    bool negative = n < 0;
    if (pair == kFar) {
      for (int i = kWideBits - 1; i >= 0; --i) {
        coded = coded << 1 | static_cast<uint64_t>(coder_.code(size >> i & 1, kProbabilityOne / 2));
      }
      negative = code_sign(negative, p, pair, 0) != 0;
    } else if (pair == 0) {
      select_low(p, 0, 2);
      coded = static_cast<uint64_t>(lows_.code(coder_, static_cast<int>(size), 1, static_cast<int>(p.drift), 0));
      if (coded) negative = code_sign(negative, p, 0, 1) != 0;
    } else {
      negative = code_sign(negative, p, pair, 0) != 0;
      select_low(p, static_cast<uint32_t>(pair), negative);
      const int top = width ? static_cast<int>(size << 3 >> (width - 1) & 7) : 0;
      const int low = lows_.code(coder_, (width & 1) << 3 | top, 4, 16 + (p.drift ? 1 + (negative == (p.drift & 1)) : 0),
                                 16 * pair + static_cast<int>(p.edge >> 1 & 15) % 16);
      const int wide = 2 * pair + (low >> 3), rest = std::max(0, wide - 4);
      coded = static_cast<uint64_t>(8 + (low & 7)) << (wide - 1) >> 3 >> rest;
      for (int i = rest - 1; i >= 0; --i) {
        Flag& flag = rest_[wide][rest - 1 - i];
        coded = coded << 1 | static_cast<uint64_t>(flag.code(coder_, static_cast<int>(size >> i & 1), 1023));
      }
    }
    const auto move = static_cast<int64_t>(coded);
    m.step = static_cast<int>(std::clamp<int64_t>(negative ? -move : move, -31, 31));
    return numbers_.at(p.expected + (negative ? -move : move));
  }

  // A number that is small on the ordered scale, most often zero.
  uint32_t code_small(uint32_t known, const Place& p) {
    const bool from_small = numbers_.small(p.base);
    if (from_small && same_[p.recent].code(coder_, Coder::kKnows && known == p.base, 255)) return p.base;
    const uint32_t magnitude = numbers_.magnitude(known);
    uint32_t coded = 0;
    if (!zero_[from_small].code(coder_, Coder::kKnows && magnitude == 0, 255)) {
      for (int i = numbers_.bits() - 1; i >= 0; --i) {
        coded = coded << 1 | static_cast<uint32_t>(tiny_[i].code(coder_, magnitude >> i & 1, 255));
      }
    }
    const int negative = code_sign(numbers_.negative(known), p, kSmall, static_cast<int>(numbers_.negative(p.base)));
    return coded | static_cast<uint32_t>(negative) << numbers_.bits();
  }

  void select_class(const Place& p) {
    const uint32_t s = p.scale >> 1, steps = static_cast<uint32_t>(left_.step + 31) << 6 | static_cast<uint32_t>(p.above.step + 31);
    classes_.select(0, p.scale >> 1 << 3 | p.fraction);
    classes_.select(1, p.scale);
    classes_.select(2, p.row_scale);
    classes_.select(3, p.column_scale);
    classes_.select(4, p.move_scale >> 1 << 3 | p.fraction >> 1 );
    classes_.select(5, hash(p.scale >> 2, p.left, p.up));
    classes_.select(6, p.local);
    classes_.select(7, (p.local >> 2 << 7 | p.scale >> 2) & 0x3fff);
    classes_.select(8, hash(p.scale >> 2, role_));
    classes_.select(9, s << 5 | p.edge);
    classes_.select(10, hash(p.size >> 3, role_, p.row_scale >> 3));
    classes_.select(11, hash(steps, p.scale >> 3));
    classes_.select(12, hash(p.recent, p.scale >> 3, p.fraction));
    classes_.select(13, hash(p.size, p.scale >> 3, p.base));
    classes_.select(14, s << 4 | p.drift);
  }

  void select_low(const Place& p, uint32_t pair, uint32_t negative) {
    const uint32_t key = pair << 2 | negative, towards = p.drift ? 1 + (negative == (p.drift & 1)) : 0;
    const uint32_t steps = static_cast<uint32_t>(left_.step + 31) << 6 | static_cast<uint32_t>(p.above.step + 31);
    lows_.select(0, pair);
    lows_.select(1, hash(p.scale, key));
    lows_.select(2, hash(p.row_scale, key));
    lows_.select(3, hash(p.column_scale, key));
    lows_.select(4, hash(p.scale >> 1, key, p.fraction));
    lows_.select(5, hash(p.left, p.up, key));
    lows_.select(6, hash(p.local, key));
    lows_.select(7, hash(p.move_scale, key, p.fraction));
    lows_.select(8, hash(p.scale >> 2, key, role_));
    lows_.select(9, hash(p.scale >> 2, key, p.edge));
    lows_.select(10, hash(p.size >> 3, key, p.edge));
    lows_.select(11, hash(steps, key, p.scale >> 4));
    lows_.select(12, hash(p.recent, key, p.scale >> 3));
    lows_.select(13, hash(p.base, key));
    lows_.select(14, hash(p.scale >> 1, key, p.drift >> 1 << 2 | towards));
  }

  int code_sign(bool known, const Place& p, int pair, int detail) {
    const auto key = static_cast<uint32_t>(pair << 1 | detail);
    const auto means = static_cast<uint32_t>(p.row_sign * 5 + p.column_sign);
    const auto near = static_cast<uint32_t>(sign_of(left_.error) * 9 + sign_of(p.above.error) * 3 + sign_of(left2_.error));
    const auto moves = static_cast<uint32_t>(sign_of(left_.change) * 9 + sign_of(p.above.change) * 3 + sign_of(p.above_right.change));
    signs_.select(0, key << 3 | p.fraction);
    signs_.select(1, hash(p.scale >> 1, p.fraction));
    signs_.select(2, hash(key, p.edge, p.scale >> 3));
    signs_.select(3, key << 5 | means);
    signs_.select(4, key << 5 | near);
    signs_.select(5, hash(p.drift, key, p.fraction));
    signs_.select(6, hash(p.drift, p.scale >> 2, key));
    signs_.select(7, hash(means, near));
    signs_.select(8, hash(role_, p.edge & 1, key));
    signs_.select(9, hash(p.column, role_));
    signs_.select(10, hash(p.size >> 3, key, p.edge & 1));
    signs_.select(11, hash(moves, key));
    signs_.select(12, hash(p.local >> 2, p.fraction, key));
    signs_.select(13, hash(p.base, key));
    signs_.select(14, p.edge << 5 | means);
    return signs_.code(coder_, known, 1, static_cast<int>(p.drift) + 16 * (pair == kSmall), static_cast<int>(means));
  }

  Coder coder_;
  const uint8_t* const base_;
  uint8_t* const data_;
  NibbleStage classes_, lows_, signs_;
  Flag rest_[kFarClass][kFarClass];  // by class, and how many bits came before
  Flag same_[64], zero_[2], tiny_[32];

  Numbers numbers_;
  LowRank directions_;
  int bytes_ = 1;
  uint8_t role_ = 0;
  int64_t rows_ = 0, cols_ = 0, columns_ = 0, begin_ = 0, done_ = 0;
  bool directed_ = false;
  Mean errors_, moves_;
  std::vector<Mean> column_errors_, column_moves_;
  std::vector<int> column_signs_;
  std::vector<Move> above_;
  Move left_, left2_;
};

std::size_t total_bytes(const std::vector<DeltaItem>& items) {
  int64_t total = 0;
  for (const DeltaItem& item : items) {
    number_layout(item.tensor.kind);
    total += item_bytes(item.tensor);
    if (total > kMaxChunk) throw std::invalid_argument("the tensors do not fit a chunk");
  }
  return static_cast<std::size_t>(total);
}

}  // namespace

std::vector<uint8_t> encode_deltas(const std::vector<DeltaItem>& items, const uint8_t* base,
                                   const uint8_t* chunk, std::size_t size, const std::string& isa) {
  if (total_bytes(items) != size) throw std::invalid_argument("the tensors do not fill the chunk");
  std::vector<uint8_t> data(chunk, chunk + size);
  DeltaRun<Encode> run(choose_kernels(isa), base, data.data(), nullptr, 0);
  for (const DeltaItem& item : items) run.item(item);
  return run.coder().coder.finish();
}

std::vector<uint8_t> decode_deltas(const std::vector<DeltaItem>& items, const uint8_t* base,
                                   std::size_t base_size, const uint8_t* payload, std::size_t size,
                                   const std::string& isa) {
  const std::size_t total = total_bytes(items);
  if (base_size != total) throw std::invalid_argument("the base does not fill the chunk");
  std::vector<uint8_t> data(total);
  DeltaRun<Decode> run(choose_kernels(isa), base, data.data(), payload, size);
  for (const DeltaItem& item : items) run.item(item);
  run.coder().coder.finish();
  return data;
}

}  // namespace nncodec
