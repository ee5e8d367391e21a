// Changes of a matrix, row by row: most of what training does to one is of low rank. The directions that
// rows change along are tracked, and how much of each a row has is found out on its way through it.
//
// Source: PAST, projection approximation subspace tracking (Yang 1995, IEEE Trans. Signal Processing 43),
// with the row's weights by recursive least squares from its elements so far instead of a projection.
// Single IEEE operations in a fixed order, + - * / alone, so that every machine computes the same. The
// readable twin is nncodec/tensors/delta_predictor.py.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nncodec {

class LowRank {
 public:
  static constexpr int kMost = 16;  // directions

  void start(int64_t cols) {
    born_ = 0;
    noise_ = 0;
    directions_.assign(static_cast<std::size_t>(kMost * cols), 0.0);
    row_.assign(static_cast<std::size_t>(cols), 0.0);
    start_row();
  }

  // The change to come in column `col`, in fixed-point units.
  int64_t predict(std::size_t col) {
    guess_ = dot(weights_, &directions_[col * kMost]);
    return static_cast<int64_t>(std::clamp(guess_, -kLargest, kLargest));
  }

  // Called for the column that predict() was called for.
  void learn(std::size_t col, int64_t change, double rounding) {
    const double x = static_cast<double>(change), error = x - guess_;
    row_[col] = x;
    const double* v = &directions_[col * kMost];
    Vector pull{};
    for (int l = 0; l < born_; ++l) {
      for (int k = 0; k < kMost; ++k) pull[k] += doubt_[l][k] * v[l];
    }
    const double noise = noise_ + rounding, spread = std::max(noise, noise + dot(pull, v));
    const double scale = 1.0 / spread;
    for (int l = 0; l < born_; ++l) {
      for (int k = 0; k < kMost; ++k) doubt_[l][k] -= pull[l] * pull[k] * scale;
    }
    const double step = error * scale;
    for (int k = 0; k < kMost; ++k) weights_[k] += pull[k] * step;
    noise_ = std::max(0.0, noise_ + (error * error * (noise * scale) - rounding - noise_) * kNoiseRate);
  }

  void end_row() {
    Vector turn{};
    for (int l = 0; l < born_; ++l) {
      for (int k = 0; k < kMost; ++k) turn[k] += inverse_[l][k] * weights_[l];
    }
    const double scale = 1.0 / (1.0 + dot(turn, weights_.data()));
    for (int l = 0; l < born_; ++l) {
      for (int k = 0; k < kMost; ++k) inverse_[l][k] -= turn[l] * turn[k] * scale;
      power_[l] += weights_[l] * weights_[l];
      rows_[l] += 1.0;
    }
    bool any = false;
    for (std::size_t j = 0; j < row_.size(); ++j) {
      double* v = &directions_[j * kMost];
      const double rest = row_[j] - dot(weights_, v);
      if (born_ < kMost) {
        v[born_] = rest;
        any = any || rest != 0.0;
      } else {
        const double step = rest * scale;
        for (int k = 0; k < kMost; ++k) v[k] += turn[k] * step;
      }
    }
    if (any) {  // the row goes where no direction led so far
      inverse_[born_].fill(0.0);
      inverse_[born_][static_cast<std::size_t>(born_)] = rows_[born_] = 1.0;
      power_[born_] = 0.125;
      ++born_;
    }
    start_row();
  }

 private:
  using Vector = std::array<double, kMost>;
  static constexpr double kLargest = 536870912.0, kNoiseRate = 1.0 / 1024;

  void start_row() {
    weights_.fill(0.0);
    for (int k = 0; k < born_; ++k) {
      doubt_[k].fill(0.0);
      doubt_[k][static_cast<std::size_t>(k)] = power_[k] / rows_[k];
    }
  }

  double dot(const Vector& a, const double* b) const {
    double sum = 0.0;
    for (int k = 0; k < born_; ++k) sum += a[static_cast<std::size_t>(k)] * b[k];
    return sum;
  }

  int born_ = 0;
  std::vector<double> directions_;  // (column, direction)
  std::vector<double> row_;         // changes so far
  Vector weights_{};                // of the directions in this row
  std::array<Vector, kMost> doubt_{};    // covariance of what the weights may be
  std::array<Vector, kMost> inverse_{};  // of the sum of rows' weights, times themselves
  Vector power_{}, rows_{};         // sum of rows' squared weights, and how many
  double noise_ = 0.0, guess_ = 0.0;
};

}  // namespace nncodec
