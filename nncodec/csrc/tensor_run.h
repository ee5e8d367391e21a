// A chunk of tensors on its way through the coder, in either direction: where each element stands, how
// large its row and column are, what came before it. The readable twin is nncodec/tensors/model.py.
#pragma once

#include <array>
#include <cstring>
#include <vector>

#include "tensor_floats.h"
#include "tensor_integers.h"
#include "tensor_planes.h"
#include "tensor_zeros.h"
#include "trellis_states.h"
#include "zeroed_table.h"

namespace nncodec {

constexpr int kMatchBits = 18, kColumns = 1 << 16;
constexpr int kMinMatch = 3, kMaxMatch = 31;

template <class Coder>
class TensorRun {
 public:
  // `bytes`: of the whole chunk, which planes may take twice.
  TensorRun(const Kernels& kernels, std::size_t bytes, const uint8_t* payload, std::size_t payload_size)
      : coder_(payload, payload_size),
        floats_(kernels),
        integers_(kernels),
        signs_(kernels),
        zeros_(kernels),
        matches_(std::size_t{1} << kMatchBits) {
    planes_.reserve(2 * bytes);
    for (auto& tree : trees_) {
      for (Flag& flag : tree) flag.lean_to_zero();
    }
    zero_sign_.lean_to_zero();
  }

  // Codes the item's `bytes`: reads them, or writes them.
  void item(const TensorItem& item, uint8_t* bytes) {
    Mode mode = Coder::kKnows ? choose_mode(item, bytes) : Mode{};
    const uint8_t first = tree_byte(0, mode.first()), second = tree_byte(1, mode.group);
    mode = Mode::of(first, second);
    if (!valid_mode(item, mode)) throw PayloadError("payload is damaged: no such mode of a tensor");
    const std::vector<Plane> planes = planes_of(item, mode);
    const std::size_t start = planes_.size();
    std::size_t size = start;
    std::vector<int64_t> begins;
    for (const Plane& plane : planes) {
      begins.push_back(static_cast<int64_t>(size));
      size += static_cast<std::size_t>(plane.size());
    }
    planes_.resize(size);
    data_ = planes_.data();
    if (Coder::kKnows) split_planes(item, mode, bytes, data_ + start);
    role_ = item.role;
    for (std::size_t i = 0; i < planes.size(); ++i) {
      const Plane& p = planes[i];
      units_.clear();
      if (p.unit >= 0) {
        find_units(p, planes, begins);
      }
      begin_ = begins[i];
      code_plane(p);
    }
    if (!Coder::kKnows) join_planes(item, mode, data_ + start, bytes);
  }

  Coder& coder() { return coder_; }

 private:
  uint32_t load(int64_t at) const {
    uint32_t v = 0;  // sizes that are known to the compiler are one instruction each
    if (width_ == 1) return data_[at];
    if (width_ == 2) {
      std::memcpy(&v, data_ + at, 2);
    } else {
      std::memcpy(&v, data_ + at, 4);
    }
    return v;
  }
  void store(int64_t at, uint32_t v) {
    if (width_ == 1) {
      data_[at] = static_cast<uint8_t>(v);
    } else if (width_ == 2) {
      std::memcpy(data_ + at, &v, 2);
    } else {
      std::memcpy(data_ + at, &v, 4);
    }
  }

  // A byte outside of the models, which is often what it was before.
  uint8_t tree_byte(std::size_t tree, uint32_t byte) {
    uint32_t node = 1;
    for (int i = 7; i >= 0; --i) {
      node = node << 1 | static_cast<uint32_t>(trees_[tree][node].code(coder_, byte >> i & 1, 30));
    }
    return static_cast<uint8_t>(node);
  }

  Cut cut(uint32_t v) const { return is_float_ ? floats_.cut(v) : integers_.cut(v); }

  // The exponent that all but a few do not exceed; of unsigned integers the mean; of int16 how many low
  // bits most magnitudes have beyond seven.
  uint32_t choose_anchor(const Plane& plane) const {
    const int64_t n = plane.rows * plane.cols;
    if (plane.form == Form::kInteger && plane.layout.bytes == 2) return choose_shift(n);
    if (plane.form == Form::kInteger && plane.is_signed) return 0;
    if (plane.form != Form::kFloat) {
      uint64_t sum = 0;
      for (int64_t i = 0; i < n; ++i) sum += data_[begin_ + i];
      return static_cast<uint32_t>((sum + static_cast<uint64_t>(n) / 2) / static_cast<uint64_t>(n));
    }
    std::array<int64_t, 256> counts{};
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t v = load(begin_ + i * width_);
      ++counts[v >> plane.layout.mantissa & ((1u << plane.layout.exponent) - 1)];
    }
    int64_t above = 0;
    int anchor = 255;
    while (anchor > 0 && (above += counts[static_cast<std::size_t>(anchor)]) <= n / 1024) --anchor;
    return static_cast<uint32_t>(anchor);
  }

  uint32_t choose_shift(int64_t n) const {
    std::array<int64_t, 17> counts{};  // by bits
    for (int64_t i = 0; i < n; ++i) {
      const int x = static_cast<int16_t>(load(begin_ + i * width_));
      ++counts[static_cast<std::size_t>(32 - std::countl_zero(static_cast<uint32_t>(x < 0 ? -x : x)))];
    }
    int64_t above = 0;
    uint32_t bits = 16;
    while (bits > 7 && (above += counts[bits]) <= n / 256) --bits;
    return bits - 7;
  }

  // What a step of each group's codes is, 2^24 for the largest binade: the scale, a float, of some formats
  // times a byte.
  void find_units(const Plane& plane, const std::vector<Plane>& planes, const std::vector<int64_t>& begins) {
    const Plane& scales = planes[static_cast<std::size_t>(plane.unit)];
    const int64_t groups = plane.rows * (plane.cols / plane.group), n = scales.rows * scales.cols;
    const int drop = scales.layout.mantissa - 10, most = (1 << scales.layout.exponent) - 1;
    width_ = scales.layout.bytes;
    const auto read = [&](int64_t i) {  // as a half-precision number, but for the exponent's bits
      return load(begins[static_cast<std::size_t>(plane.unit)] + i * width_) >> drop;
    };
    const auto exponent = [&](uint32_t v) { return static_cast<int>(v >> 10) & most; };
    int top = 0;
    for (int64_t i = 0; i < n; ++i) top = std::max(top, exponent(read(i)));
    units_.resize(static_cast<std::size_t>(groups));
    for (int64_t g = 0; g < groups; ++g) {
      const uint32_t v = read(g * n / groups);
      uint64_t unit = 0;
      if (exponent(v)) unit = (uint64_t{1024} + (v & 1023)) << 14 >> std::min(top - exponent(v), 63);
      if (plane.subunit >= 0) {
        const auto at = static_cast<std::size_t>(plane.subunit);
        const uint8_t byte = data_[begins[at] + g];
        const int sub = planes[at].is_signed ? std::abs(static_cast<int8_t>(byte)) : byte;
        unit = unit * static_cast<uint64_t>(sub) >> 6;
      }
      units_[static_cast<std::size_t>(g)] = static_cast<uint32_t>(unit);
    }
  }

  void code_plane(const Plane& plane) {
    plane_ = plane;
    width_ = plane.layout.bytes;
    is_float_ = plane.form == Form::kFloat;
    const int anchor = anchor_ = tree_byte(2, Coder::kKnows ? choose_anchor(plane) : 0);
    if (is_float_) {
      floats_.begin(plane.layout, anchor, role_);
    } else {
      integers_.begin(plane, anchor, role_);
    }
    sparse_ = may_be_sparse() && coder_.code(Coder::kKnows && is_sparse(), kProbabilityOne / 2) != 0;
    const std::size_t columns =
        plane.rows > 1 ? static_cast<std::size_t>(std::min<int64_t>(plane.cols, kColumns)) : 1;
    column_sums_.assign(columns, 0);
    column_counts_.assign(columns, 0);
    column_signs_.assign(columns, 0);
    if (sparse_) zeros_.start_item(plane.rows > 1, columns);
    sum_ = count_ = 0;
    around_ = Around{};
    for (int64_t row = 0; row < plane.rows; ++row) code_row(row);
  }

  // Codes of blocks have no zero that stands out, and trellis indices mean zero by their state.
  bool may_be_sparse() const { return plane_.form != Form::kCode && !plane_.trellis; }

  bool is_zero(const Cut& c) const { return is_float_ ? c.symbol == kZero : c.exponent == 0; }

  // Whether zeros are so many that each element is first told from them.
  bool is_sparse() const {
    const int64_t n = plane_.rows * plane_.cols;
    int64_t zeros = 0;
    for (int64_t i = 0; i < n; ++i) zeros += is_zero(cut(load(begin_ + i * width_)));
    return zeros * ZeroCoder::kShare >= n;
  }

  // Whether the element is zero; if so it is done, sign and all.
  bool code_zero(Cut& c, const Place& p) {
    const Around& a = around_;
    const auto around =
        static_cast<uint32_t>(is_zero(a.up) | is_zero(a.up_left) << 1 | is_zero(a.up_right) << 2);
    const uint32_t expected =
        p.matched ? 2 * static_cast<uint32_t>(p.bucket) + static_cast<uint32_t>(is_zero(p.expected)) : 0;
    const ZeroPlace place{role_, p.column, static_cast<uint32_t>(p.scale), static_cast<uint32_t>(p.row_scale),
                          static_cast<uint32_t>(p.column_scale), around, expected, p.bucket};
    if (!zeros_.code(coder_, Coder::kKnows && is_zero(c), place)) return false;
    const auto sign = is_float_ ? static_cast<uint32_t>(zero_sign_.code_noise(coder_, c.sign, 1023)) : 0;
    const Layout& l = plane_.layout;
    c = cut(is_float_ ? sign << (l.mantissa + l.exponent)
                      : plane_.is_signed ? 0 : static_cast<uint32_t>(anchor_));
    return true;
  }

  void code_row(int64_t row) {
    const int64_t cols = plane_.cols;
    uint64_t row_sum = 0, row_count = 0;
    int row_sign = 0;
    uint32_t state = 0;
    uint64_t mean = count_ ? std::max<uint64_t>(1, sum_ / count_) : 1;
    uint64_t local = mean << 4;
    const int64_t base = begin_ + row * cols * width_;
    const int64_t above = row ? base - cols * width_ : -1;
    Around& a = around_;
    a.up = Cut{};
    a.up_right = above >= 0 ? cut(load(above)) : Cut{};
    Group group;
    if (sparse_) zeros_.start_row();
    for (int64_t col = 0; col < cols; ++col) {
      const int64_t at = base + col * width_;
      if ((col & 31) == 0) mean = count_ ? std::max<uint64_t>(1, sum_ / count_) : 1;
      if (plane_.group && col % plane_.group == 0) group = begin_group(row, col);
      const auto column = plane_.rows > 1 ? static_cast<std::size_t>(col & (kColumns - 1)) : 0;
      a.up_left = a.up;
      a.up = a.up_right;
      a.up_right = above >= 0 && col + 1 < cols ? cut(load(above + (col + 1) * width_)) : Cut{};

      Place p{};
      p.column = static_cast<uint32_t>(column);
      p.row_start = col == 0;
      const int overall = log2_eighths(mean), row_scale = scale(row_sum, row_count, mean);
      const int column_scale =
          plane_.rows > 1 ? scale(column_sums_[column], column_counts_[column], mean) : overall;
      // In steps of the group, of which the elements are multiples.
      p.row_scale = std::clamp(row_scale - group.log, 0, 511);
      p.column_scale = std::clamp(column_scale - group.log, 0, 511);
      p.scale = std::clamp(row_scale + column_scale - overall - group.log, 0, 511);
      const int change = log2_eighths(std::max<uint64_t>(1, local >> 4)) - row_scale;
      p.trend = change < -12 ? 0 : change < -6 ? 1 : change < -2 ? 2 : change <= 2 ? 3
                : change <= 6 ? 4 : change <= 12 ? 5 : 6;
      p.row_sign = sign_class(row_sign, 20, 4);
      p.column_sign = sign_class(column_signs_[column], 12, 3);
      find_match(at);
      p.matched = match_length_ > 0;
      p.expected = p.matched ? cut(load(match_)) : Cut{};
      p.match_length = match_length_;
      p.bucket = p.matched ? match_length_ > 15 ? 3 : match_length_ > 6 ? 2 : 1 : 0;
      p.group = plane_.group ? group.context(plane_) : 0;
      p.quantum = plane_.trellis ? 2 | (state & 1) : 0;

      Cut known = Coder::kKnows ? cut(load(at)) : Cut{};
      if (sparse_ && code_zero(known, p)) {
        if (!Coder::kKnows) store(at, known.value);
        group.add(plane_, known);
        end_match(at, known.value);
        next_slot_ = &matches_[hash(known.value, a.left.value, a.left2.value) >> (32 - kMatchBits)];
        continue;  // neighbours and scales are those of elements other than zero
      }
      const Cut c = is_float_ ? floats_.code(coder_, signs_, known, p, a)
                              : integers_.code(coder_, signs_, known, p, a);
      if (!Coder::kKnows) store(at, c.value);

      const uint64_t size = is_float_ ? floats_.magnitude(c)
                                      : uint64_t{IntegerModel::level(c.exponent, p.quantum)} * group.unit >> 8;
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
      if (plane_.trellis) state = next_state(plane_.trellis, state, c.value & 1);
      group.add(plane_, c);
      end_match(at, c.value);
      a.left3 = a.left2;
      a.left2 = a.left;
      a.left = c;
      next_slot_ = &matches_[hash(c.value, a.left2.value, a.left3.value) >> (32 - kMatchBits)];
      __builtin_prefetch(next_slot_);
    }
    if (sparse_) zeros_.end_row();
  }

  // The elements that share a scale: each group holds an extreme one, and the scale tells its size.
  struct Group {
    uint64_t unit = 1 << 24;
    int log = 0;  // of the unit, in eighths
    uint32_t low = 15, high = 0;
    int64_t left = 0;

    void add(const Plane& plane, const Cut& c) {
      const uint32_t v = plane.form == Form::kCode ? c.value >> (plane.bits - 4) & 15 : std::min(c.exponent >> 2, 31u);
      low = std::min(low, v);
      high = std::max(high, v);
      --left;
    }
    uint32_t context(const Plane& plane) const {
      const auto places = static_cast<uint32_t>(std::min(7, 64 - std::countl_zero(static_cast<uint64_t>(left - 1))));
      return (plane.form == Form::kCode ? low << 4 | high : high) << 3 | places;
    }
  };

  Group begin_group(int64_t row, int64_t col) const {
    Group g;
    g.left = std::min(plane_.group, plane_.cols - col);
    if (!units_.empty()) {
      g.unit = units_[static_cast<std::size_t>(row * (plane_.cols / plane_.group) + col / plane_.group)];
      g.log = log2_eighths(std::max<uint64_t>(1, g.unit)) - 192;
    }
    return g;
  }

  // Of the mean of a row or column, of which a little is the mean of all.
  static int scale(uint64_t sum, uint64_t count, uint64_t mean) {
    constexpr uint64_t kPrior = 6;
    return std::min(511, log2_eighths(std::max<uint64_t>(1, (sum + kPrior * mean) / (count + kPrior))));
  }
  static int sign_class(int sum, int much, int some) {
    return sum < -much ? 0 : sum < -some ? 1 : sum <= some ? 2 : sum <= much ? 3 : 4;
  }

  // Before an element: goes on with the match, or looks for one.
  void find_match(int64_t at) {
    slot_ = nullptr;
    if (at - begin_ < kMinMatch * width_) {
      match_length_ = 0;
      return;
    }
    slot_ = next_slot_;
    if (match_length_ > 0 || *slot_ == 0) return;
    const int64_t candidate = *slot_;
    const int64_t most = std::min<int64_t>({candidate, at - begin_, int64_t{kMaxMatch} * width_});
    int length = 0;
    while ((length + 1) * width_ <= most &&
           load(candidate - (length + 1) * width_) == load(at - (length + 1) * width_)) {
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
    match_ += width_;
  }

  Coder coder_;
  FloatModel floats_;
  IntegerModel integers_;
  SignModel signs_;
  ZeroCoder zeros_;
  Flag zero_sign_;
  std::array<std::array<Flag, 256>, 3> trees_;
  ZeroedTable<uint32_t> matches_;  // hash of three elements -> offset of the next; 0: none
  std::vector<uint8_t> planes_;    // of all items so far
  std::vector<uint32_t> units_;    // of the plane's groups

  uint8_t* data_ = nullptr;
  Plane plane_{};
  bool is_float_ = false;
  int width_ = 1;
  int anchor_ = 0;
  bool sparse_ = false;
  uint32_t role_ = 0;
  int64_t begin_ = 0;
  std::vector<uint64_t> column_sums_;
  std::vector<uint32_t> column_counts_;
  std::vector<int> column_signs_;
  uint64_t sum_ = 0, count_ = 0;
  Around around_;
  uint32_t *slot_ = nullptr, *next_slot_ = nullptr;
  int64_t match_ = 0;
  int match_length_ = 0;
};

}  // namespace nncodec
