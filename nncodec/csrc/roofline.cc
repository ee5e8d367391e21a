#include "roofline.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "isa.h"
#include "model.h"

namespace nncodec {

namespace {

constexpr int kTries = 5;

// Runs work(rounds), which returns the products it made, with rounds enough to be timed well.
template <class Work>
double best_rate(Work work, double seconds) {
  const auto time = [&](int64_t rounds, int64_t& products) {
    const int64_t begun = now_ns();
    products = work(rounds);
    return std::max<int64_t>(1, now_ns() - begun);
  };
  int64_t rounds = 1, products = 0;
  while (time(rounds, products) < static_cast<int64_t>(seconds * 1e9 / (2 * kTries))) rounds *= 2;
  double best = 0;
  for (int i = 0; i < kTries; ++i) {
    const int64_t ns = time(rounds, products);
    best = std::max(best, static_cast<double>(products) * 1e9 / static_cast<double>(ns));
  }
  return best;
}

}  // namespace

double measure_multiply(const std::string& isa, int out, int in, int rows, double seconds) {
  if (out < 1 || in < 1 || out > 65536 || in > 65536 || rows < 1 || rows > kMaxRows) {
    throw std::invalid_argument("out and in must lie in 1..65536, rows in 1..32");
  }
  const Kernels& kernels = choose_kernels(isa);
  std::vector<int8_t> weights(static_cast<std::size_t>(out) * in, 3);
  const std::vector<float> scales(out, 1.0f);
  const Matrix m(weights.data(), scales.data(), out, in);
  Model shape;
  shape.d_model = in;
  shape.d_ff = out;
  shape.n_heads = shape.n_kv_heads = 1;
  shape.head_dim = 16;
  Scratch s(shape);
  return best_rate(
      [&](int64_t rounds) {
        for (int64_t i = 0; i < rounds; ++i) {
          kernels.multiply(s.codes.data(), s.wide, m, s.acc.data(), s.wide, rows, s);
        }
        return rounds * out * in * rows;
      },
      seconds);
}

double measure_bare(const std::string& isa, double seconds) {
  return best_rate(choose_kernels(isa).bare_products, seconds);
}

}  // namespace nncodec
