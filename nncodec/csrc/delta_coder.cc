#include "delta_coder.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include "delta_contexts.h"
#include "delta_numbers.h"
#include "delta_predictor.h"
#include "isa.h"
#include "tensor_mixer.h"
#include "tensor_parts.h"

namespace nncodec {

namespace {

constexpr int kColumns = 1 << 16;  // rows that are longer have no directions
constexpr int kWideBits = 34;      // of a far difference
constexpr int64_t kMostMove = int64_t{1} << 30;

template <class Coder>
class DeltaRun {
 public:
  DeltaRun(const Kernels& kernels, const uint8_t* base, uint8_t* data, const uint8_t* payload,
           std::size_t payload_size)
      : coder_(payload, payload_size),
        base_(base),
        data_(data),
        classes_(kernels, 4, {11, 9, 9, 9, 10, 14, 9, 14, 14, 13, 14, 14, 14, 16, 12}),
        lows_(kernels, 4, {5, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 16, 14}),
        signs_(kernels, 1, {8, 12, 14, 12, 12, 14, 14, 14, 14, 14, 14, 14, 14, 16, 12}) {}

  void item(const DeltaItem& item) {
    const TensorItem& t = item.tensor;
    bytes_ = number_layout(t.kind).bytes;
    const int64_t size = t.rows * t.cols * bytes_;
    begin_ = done_;
    done_ += size;
    if (item.mode == DeltaMode::kEqual) {
      if (Coder::kKnows && std::memcmp(data_ + begin_, base_ + begin_, static_cast<std::size_t>(size)) != 0) {
        throw std::invalid_argument("a tensor is not equal to its base");
      }
      std::memcpy(data_ + begin_, base_ + begin_, static_cast<std::size_t>(size));
      return;
    }
    role_ = t.role;
    rows_ = t.rows;
    cols_ = t.cols;
    read_scale(t.kind, rows_ * cols_);
    columns_ = rows_ > 1 ? std::min<int64_t>(cols_, kColumns) : 1;
    directed_ = item.mode == DeltaMode::kMoved && rows_ > 1 && cols_ > 1 && cols_ <= kColumns;
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
    return load_number(from + begin_ + i * bytes_, bytes_);
  }

  uint32_t raw(uint32_t value, int bits) {
    uint32_t coded = 0;
    for (int i = bits - 1; i >= 0; --i) {
      coded = coded << 1 | static_cast<uint32_t>(coder_.code(value >> i & 1, kProbabilityOne / 2));
    }
    return coded;
  }

  void read_scale(TensorKind kind, int64_t n) {
    Scale scale{0, 0};
    if (Coder::kKnows) scale = choose_scale(kind, data_ + begin_, base_ + begin_, n);
    scale.unit = static_cast<int>(raw(static_cast<uint32_t>(scale.unit + 256), 10)) - 256;
    scale.floor = static_cast<int>(raw(static_cast<uint32_t>(scale.floor), 8));
    numbers_ = Numbers(kind, scale);
  }

  void code_row(int64_t row) {
    Mean row_errors, row_moves;
    int row_sign = 0;
    uint64_t local = errors_.value() << 4;
    uint32_t same = 0xf;
    for (int64_t col = 0; col < cols_; ++col) {
      const int64_t i = row * cols_ + col;
      const auto column = static_cast<std::size_t>(rows_ > 1 ? col % kColumns : 0);
      DeltaPlace p{};
      p.role = role_;
      p.column = static_cast<uint32_t>(column);
      p.base = load(base_, i);
      p.predicted = directed_ ? directions_.predict(column) : 0;
      const int64_t at = numbers_.fixed(p.base);
      int64_t fine = numbers_.ordinal(p.base) * 8;
      if (p.predicted) fine += numbers_.fine(at + p.predicted) - numbers_.fine(at);
      p.expected = (fine + 4) >> kFine;
      p.fraction = static_cast<uint32_t>(fine + 4 - p.expected * 8);
      const int spacing = numbers_.spacing(p.expected);

      const uint64_t mean = errors_.value(), mean_move = moves_.value();
      const int overall = log2_eighths(mean), by_row = row_errors.log(mean);
      int by_column = overall, moved = row_moves.log(mean_move);
      if (rows_ > 1) {
        by_column = column_errors_[column].log(mean);
        moved += column_moves_[column].log(mean_move) - log2_eighths(mean_move);
      }
      const int by_both = std::max(0, by_row + by_column - overall);
      p.scale = beside(by_both, spacing);
      p.row_scale = beside(by_row, spacing);
      p.column_scale = beside(by_column, spacing);
      p.move_scale = beside(moved, spacing);
      p.local = beside(log2_eighths(std::max<uint64_t>(1, local >> 4)), spacing);
      p.drift = drift_of(p.predicted, by_both);
      p.edge = edge_of(numbers_, p.expected);
      p.size = size_of(numbers_, p.base);
      p.means = static_cast<uint32_t>(5 * delta_sign_class(row_sign, 20, 4) +
                                      delta_sign_class(column_signs_[column], 12, 3));
      p.recent = same & 15;
      const bool right = row && col + 1 < cols_;
      look_around(p, left_, left2_, row ? above_[column] : Move{},
                  right ? above_[static_cast<std::size_t>((col + 1) % kColumns)] : Move{}, spacing);

      Move m;
      const uint32_t value = code(Coder::kKnows ? load(data_, i) : 0, p, m);
      if (!Coder::kKnows) std::memcpy(data_ + begin_ + i * bytes_, &value, static_cast<std::size_t>(bytes_));

      m.same = value == p.base;
      m.change = std::clamp(numbers_.fixed(value) - at, -kMostMove, kMostMove);
      m.error = std::clamp(m.change - p.predicted, -kMostMove, kMostMove);
      if (directed_) directions_.learn(column, m.change, spacing);
      const auto size = static_cast<uint64_t>(std::abs(m.error));
      for (Mean* of : {&row_errors, &column_errors_[column], &errors_}) of->add(size);
      for (Mean* of : {&row_moves, &column_moves_[column], &moves_}) {
        of->add(static_cast<uint64_t>(std::abs(m.change)));
      }
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

  uint32_t code(uint32_t known, const DeltaPlace& p, Move& m) {
    const bool small = Coder::kKnows && numbers_.small(known);
    const int64_t n = Coder::kKnows && !small ? numbers_.ordinal(known) - p.expected : 0;
    const auto size = static_cast<uint64_t>(std::abs(n));
    const int width = std::bit_width(size);
    select_class(classes_, p);
    const int wanted = small ? kSmall : std::min(kFar, width >> 1);
    const int pair = classes_.code(coder_, wanted, 4, static_cast<int>(p.drift), static_cast<int>(p.scale >> 1));
    if (pair == kSmall) return code_small(known, p);
    int64_t coded = 0;
    bool negative = false;
    if (pair == 0) {
      select_low(lows_, p, 0, 2);
      coded = lows_.code(coder_, static_cast<int>(size), 1, static_cast<int>(p.drift), 0);
      if (coded) negative = code_sign(n < 0, p, 0, 1);
    } else {
      negative = code_sign(n < 0, p, pair, 0);
      coded = pair == kFar ? code_far(size) : code_size(size, p, pair, negative);
    }
    const int64_t difference = negative ? -coded : coded;
    m.step = static_cast<int>(std::clamp<int64_t>(difference, -31, 31));
    return numbers_.at(p.expected + difference);
  }

  int64_t code_far(uint64_t size) {
    int64_t coded = 0;
    for (int i = kWideBits - 1; i >= 0; --i) {
      coded = coded << 1 | coder_.code(static_cast<int>(size >> i & 1), kProbabilityOne / 2);
    }
    return coded;
  }

  // Which of the pair's two classes, and three bits below the leading one, by contexts; then bits.
  int64_t code_size(uint64_t size, const DeltaPlace& p, int pair, bool negative) {
    const int width = std::bit_width(size);
    const int top = width ? static_cast<int>(size << 3 >> (width - 1) & 7) : 0;
    select_low(lows_, p, static_cast<uint32_t>(pair), negative);
    const int low = lows_.code(coder_, (width & 1) << 3 | top, 4, 16 + static_cast<int>(with_drift(p, negative)),
                               16 * pair + static_cast<int>(p.edge >> 1));
    const int wide = 2 * pair + (low >> 3), rest = std::max(0, wide - 4);
    int64_t coded = int64_t{8 + (low & 7)} << (wide - 1) >> (3 + rest);
    for (int i = rest - 1; i >= 0; --i) {
      Flag& flag = rest_[wide][rest - 1 - i];
      coded = coded << 1 | flag.code(coder_, static_cast<int>(size >> i & 1), 1023);
    }
    return coded;
  }

  // A number that is small on the ordered scale, most often zero.
  uint32_t code_small(uint32_t known, const DeltaPlace& p) {
    const bool from_small = numbers_.small(p.base);
    if (from_small && same_[p.recent].code(coder_, Coder::kKnows && known == p.base, 255)) return p.base;
    const uint32_t magnitude = numbers_.magnitude(known);
    uint32_t coded = 0;
    if (!zero_[from_small].code(coder_, Coder::kKnows && magnitude == 0, 255)) {
      for (int i = numbers_.bits() - 1; i >= 0; --i) {
        coded = coded << 1 | static_cast<uint32_t>(tiny_[i].code(coder_, magnitude >> i & 1, 255));
      }
    }
    const bool negative = code_sign(numbers_.negative(known), p, kSmall, numbers_.negative(p.base));
    return coded | static_cast<uint32_t>(negative) << numbers_.bits();
  }

  bool code_sign(bool known, const DeltaPlace& p, int pair, bool detail) {
    select_sign(signs_, p, static_cast<uint32_t>(pair << 1 | detail));
    return signs_.code(coder_, known, 1, static_cast<int>(p.drift) + 16 * (pair == kSmall),
                       static_cast<int>(p.means)) != 0;
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
    if (item.mode > DeltaMode::kGiven) throw std::invalid_argument("no such mode of a delta");
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

std::vector<std::size_t> measure_deltas(const std::vector<DeltaItem>& items, const uint8_t* base,
                                        const uint8_t* chunk, std::size_t size, const std::string& isa) {
  if (total_bytes(items) != size) throw std::invalid_argument("the tensors do not fill the chunk");
  std::vector<uint8_t> data(chunk, chunk + size);
  DeltaRun<Encode> run(choose_kernels(isa), base, data.data(), nullptr, 0);
  std::vector<std::size_t> sizes;
  for (const DeltaItem& item : items) {
    const std::size_t before = run.coder().coder.size();
    run.item(item);
    sizes.push_back(run.coder().coder.size() - before);
  }
  return sizes;
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
