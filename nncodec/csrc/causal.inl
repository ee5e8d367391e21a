// What the forward pass of models over tokens (RMSNorm with epsilon, balanced channels, biases, SwiGLU,
// counts of many symbols) has of its own. Mirrors nncodec/causal/exact/reference.py and arithmetic.py.
#pragma once

#include "exact_math.inl"

namespace nncodec::NNCODEC_NAMESPACE {

namespace {

constexpr float kWideExponentFloor = -32.0f;
constexpr float kWideMassOne = 0x1p30f;
constexpr int kShareBits = 28;
constexpr int64_t kWideTotal = int64_t{1} << 32;
constexpr float kSquaresOne = 32767.0f;
constexpr float kActivationLimit = 0x1p20f;
constexpr float kLog2E = 0x1.715476p+0f;

// 1 / sqrt(mean square + epsilon) of n values, followed by zeros up to a multiple of 16; `eps` is n times
// epsilon. The squares of codes of 16 bits are added by halves: their sums fit into 32 bits.
NNCODEC_STAGE static float inverse_rms(const float* x, int n, float eps) {
  const int whole = round_up(n, 16);
  Ints top_bits = bits(floats(kScaleFloor));
  for (int i = 0; i < whole; i += kWidth) {
    top_bits = larger(top_bits, load<Ints>(x + i) & 0x7fffffff);
  }
  const int32_t top_bit = largest(top_bits);
  float top;
  __builtin_memcpy(&top, &top_bit, 4);
  const float inverse = kSquaresOne / top;
  Ints low{}, high{};
  for (int i = 0; i < whole; i += kWidth) {
    const Ints code = to_ints(round_even(load<Floats>(x + i) * inverse));
    const Ints square = code * code;  // below 2^30
    low += square & 0xffff;
    high += square >> 16;
  }
  const auto squares = static_cast<float>(int64_t{sum(high)} * 65536 + sum(low));
  const float step = top / kSquaresOne;
  float total = squares * step;
  total = total * step;
  total = total + eps;
  return __builtin_sqrtf(static_cast<float>(n) / total);
}

// x / (1 + e^-x).
inline Floats silu(Floats x) {
  const Floats scaled = x * kLog2E;
  const Floats e = exp2_exact(from_bits(bits(scaled) | ints(INT32_MIN)));  // of -|scaled|
  const Floats y = select(x < 0.0f, x * e, x);
  return y / (e + 1.0f);
}

inline Floats clamp_activation(Floats x) {
  x = larger(x, floats(-kActivationLimit));
  return select(x < kActivationLimit, x, floats(kActivationLimit));
}

// Base-2 logits z -> counts of n symbols: each >= 1, sum 2^32. `z` has room for a multiple of 16; `mass`
// too, and may be what z came from.
NNCODEC_STAGE static void wide_counts(float* z, int n, int32_t* mass, uint32_t* counts) {
  const int whole = round_up(n, 16);
  for (int i = n; i < whole; ++i) z[i] = -kInfinity;
  Floats tops = floats(-kInfinity);
  for (int i = 0; i < whole; i += kWidth) tops = larger(tops, load<Floats>(z + i));
  const float top = largest(tops);
  for (int i = 0; i < whole; i += kWidth) {
    const Floats m = exp2_exact(load<Floats>(z + i) - top, kWideExponentFloor) * kWideMassOne;
    // From 2^23 on, every binary32 number is an integer.
    store(mass + i, to_ints(select(m < 0x1p23f, (m + 0x1p23f) - 0x1p23f, m)));
  }
  int64_t total = 0;
  for (int i = 0; i < n; ++i) total += mass[i];
  const auto share = static_cast<uint32_t>(((kWideTotal - n) << kShareBits) / total);  // <= 2^30
  int64_t sum = 0;
  for (int i = 0; i < n; ++i) {
    const uint64_t product = static_cast<uint64_t>(static_cast<uint32_t>(mass[i])) * share;
    counts[i] = 1 + static_cast<uint32_t>(product >> kShareBits);
    sum += counts[i];
  }
  int32_t most = 0;
  for (int i = 0; i < n; ++i) most = mass[i] > most ? mass[i] : most;
  int best = 0;
  while (mass[best] != most) ++best;
  counts[best] += static_cast<uint32_t>(kWideTotal - sum);
}

}  // namespace

}  // namespace nncodec::NNCODEC_NAMESPACE
