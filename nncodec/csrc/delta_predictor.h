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
    start_row(Vector{});
  }

  // The change to come in column `col`, in fixed-point units.
  int64_t predict(std::size_t col) {
    guess_ = dot(weights_, &directions_[col * kMost]);
    if (!(guess_ > -kLargest && guess_ < kLargest)) guess_ = 0.0;
    return static_cast<int64_t>(guess_);
  }

  // Called for the column that predict() was called for. `spacing`: log2 of that of numbers there.
  void learn(std::size_t col, int64_t change, int spacing) {
    const auto x = static_cast<double>(change);
    const auto unit = static_cast<double>(int64_t{1} << std::clamp(spacing, 0, 30));
    const double error = x - guess_, rounding = unit * unit * 0.125, noise = noise_ + rounding;
    row_[col] = x;
    const double* v = &directions_[col * kMost];
    Vector pull{};
    for (int l = 0; l < born_; ++l) {
      for (int k = 0; k < kMost; ++k) pull[k] += doubt_[l][k] * v[l];
    }
    const double reach = dot(pull, v);
    if (!(reach >= 0.0)) return start_row(weights_);  // rounding has spoilt the covariance
    const double scale = 1.0 / (noise + reach), step = error * scale;
    for (int l = 0; l < born_; ++l) {
      for (int k = 0; k < kMost; ++k) doubt_[l][k] -= pull[l] * pull[k] * scale;
    }
    for (int k = 0; k < kMost; ++k) weights_[k] += pull[k] * step;
    const double own = error * error * (noise * scale) - rounding;
    noise_ = std::max(0.0, noise_ + (own - noise_) * kNoiseRate);
  }

  void end_row() {
    Vector turn{};
    for (int l = 0; l < born_; ++l) {
      for (int k = 0; k < kMost; ++k) turn[k] += inverse_[l][k] * weights_[l];
    }
    const double reach = dot(turn, weights_.data());
    const bool sound = reach >= 0.0 && reach < kSound;
    const double scale = 1.0 / (1.0 + reach);
    for (int l = 0; l < born_ && sound; ++l) {
      for (int k = 0; k < kMost; ++k) inverse_[l][k] -= turn[l] * turn[k] * scale;
      power_[l] += weights_[l] * weights_[l];
      rows_[l] += 1.0;
    }
    if (sound) turn_directions(turn, scale);
    start_row(Vector{});
  }

 private:
  using Vector = std::array<double, kMost>;
  static constexpr double kLargest = 536870912.0, kNoiseRate = 1.0 / 1024, kSound = 1e9,
                          kFirstPower = 0.125;

  // Towards what the row has beside them; the first rows become directions themselves.
  void turn_directions(const Vector& turn, double scale) {
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
    if (!any) return;
    inverse_[born_].fill(0.0);
    inverse_[born_][static_cast<std::size_t>(born_)] = rows_[born_] = 1.0;
    power_[born_] = kFirstPower;
    ++born_;
  }

  void start_row(const Vector& weights) {
    weights_ = weights;
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
