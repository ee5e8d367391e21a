// Changes of a matrix, row by row: most of what training does to one is of low rank. The strongest
// directions of the rows so far are tracked, and how much of each a row has is found out on its way.
//
// Source: PASTd, projection approximation subspace tracking with deflation (Yang 1995, IEEE Trans.
// Signal Processing 43). Integers only. The readable twin is nncodec/tensors/delta_predictor.py.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace nncodec {

constexpr int kDirections = 12;
constexpr int kWeightBits = 12;  // weights of directions are in units of 2^-12
constexpr int64_t kMostChange = 1 << 20, kMostWeight = 1 << 17;

class LowRank {
 public:
  void start(int64_t cols) {
    cols_ = cols;
    born_ = 0;
    rows_ = 0;
    energy_ = 0;
    count_ = 0;
    directions_.assign(static_cast<std::size_t>(kDirections * cols), 0);
    row_.assign(static_cast<std::size_t>(cols), 0);
    weight_energy_.fill(0);
    start_row();
  }

  // The change to come in column `col`.
  int64_t predict(int64_t col) {
    int64_t sum = 0;
    const int32_t* v = &directions_[static_cast<std::size_t>(col * kDirections)];
    for (int k = 0; k < born_; ++k) sum += weights_[k] * v[k];
    return sum >> kWeightBits;
  }

  void learn(int64_t col, int64_t change, int64_t error) {
    change = std::clamp(change, -kMostChange, kMostChange);
    error = std::clamp(error, -kMostChange, kMostChange);
    energy_ += static_cast<uint64_t>(error * error) >> 8;
    ++count_;
    row_[static_cast<std::size_t>(col)] = static_cast<int32_t>(change);
    const int32_t* v = &directions_[static_cast<std::size_t>(col * kDirections)];
    int64_t rest = change;
    const bool weigh = col < 32 || (col & 7) == 7;
    for (int k = 0; k < born_; ++k) {
      dots_[k] += rest * v[k];
      squares_[k] += int64_t{v[k]} * v[k];
      if (weigh) weights_[k] = weight(k);
      rest -= weights_[k] * v[k] >> kWeightBits;
      rest = std::clamp(rest, -kMostChange, kMostChange);
    }
  }

  void end_row() {
    for (int k = 0; k < born_; ++k) take_out(k);
    if (born_ < kDirections && std::any_of(row_.begin(), row_.end(), [](int32_t x) { return x != 0; })) {
      for (int64_t j = 0; j < cols_; ++j) {
        directions_[static_cast<std::size_t>(j * kDirections + born_)] = row_[static_cast<std::size_t>(j)];
      }
      power_[born_] = weight_energy_[born_] = int64_t{1} << (2 * kWeightBits);
      weight_rows_[born_] = 1;
      ++born_;
    }
    ++rows_;
    start_row();
  }

 private:
  void start_row() {
    dots_.fill(0);
    squares_.fill(0);
    weights_.fill(0);
    const int64_t noise = static_cast<int64_t>(count_ ? energy_ / count_ : 0) << 8;  // at most 2^40
    for (int k = 0; k < born_; ++k) {
      const int64_t usual = weight_energy_[k] / weight_rows_[k];  // of a weight's square
      prior_[k] = (noise << 12) / ((usual >> 12) + 1);
    }
  }

  // The least squares weight of a direction in the row so far, drawn to zero as far as noise is larger
  // than what weights were before.
  int64_t weight(int k) const {
    const int64_t whole = ((squares_[k] + prior_[k]) >> kWeightBits) + 1;
    return std::clamp(dots_[k] / whole, -kMostWeight, kMostWeight);
  }

  // Weighs direction k in the whole row, turns it towards the row, and leaves the rest of the row.
  void take_out(int k) {
    int64_t dot = 0, square = 0;
    for (int64_t j = 0; j < cols_; ++j) {
      const int64_t v = directions_[static_cast<std::size_t>(j * kDirections + k)];
      dot += row_[static_cast<std::size_t>(j)] * v;
      square += v * v;
    }
    dots_[k] = dot;
    squares_[k] = square;
    const int64_t w = weight(k);
    power_[k] += w * w;
    weight_energy_[k] += w * w;
    ++weight_rows_[k];
    const int64_t gain = (w << (2 * kWeightBits)) / power_[k];
    for (int64_t j = 0; j < cols_; ++j) {
      int32_t& v = directions_[static_cast<std::size_t>(j * kDirections + k)];
      int32_t& x = row_[static_cast<std::size_t>(j)];
      const int64_t rest = std::clamp(x - (w * v >> kWeightBits), -kMostChange, kMostChange);
      v = static_cast<int32_t>(std::clamp(v + (rest * gain >> kWeightBits), -kMostChange, kMostChange));
      x = static_cast<int32_t>(rest);
    }
  }

  int64_t cols_ = 0, rows_ = 0;
  int born_ = 0;
  std::vector<int32_t> directions_;  // (column, direction)
  std::vector<int32_t> row_;
  std::array<int64_t, kDirections> dots_{}, squares_{}, weights_{}, prior_{};
  std::array<int64_t, kDirections> power_{}, weight_energy_{}, weight_rows_{};
  uint64_t energy_ = 0, count_ = 0;
};

}  // namespace nncodec
