// Scalar and vector functions of docs/FORMAT-network.md: each float operation is one binary32 rounding.
#pragma once

#include "vectors.inl"

namespace nncodec::NNCODEC_NAMESPACE {

namespace {

constexpr float kScaleFloor = 0x1p-40f;
constexpr float kExponentFloor = -24.0f;
constexpr float kAttentionOne = 255.0f;
constexpr float kMassOne = 0x1p23f;
constexpr int64_t kTotal = int64_t{1} << 24;
constexpr float kInfinity = __builtin_inff();

// Round half to even for |x| < 2^22: the addition itself rounds, at the last integer digit.
inline Floats round_even(Floats x) { return (x + 0x1.8p23f) - 0x1.8p23f; }
inline float round_even(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

inline Floats exp2_exact(Floats x, float floor = kExponentFloor) {
  x = larger(x, floats(floor));
  const Floats whole = round_even(x);
  const Floats f = x - whole;
  Floats y = f * 0x1.c3f754p-5f;
  y = y + 0x1.f0de1ap-3f;
  y = y * f;
  y = y + 0x1.62f31ap-1f;
  y = y * f;
  y = y + 0x1.fff692p-1f;
  return y * from_bits((to_ints(whole) + 127) << 23);
}

// Codes over n values by their absmax, stored as code + 128 and padded to `padded` with code 0.
// `x` is followed by zeros up to a multiple of 16. Returns the absmax; `squares` (if asked for) is
// the sum of the squared codes, at least 1.
NNCODEC_STAGE static float quantize(const float* x, int n, int padded, uint8_t* codes, int32_t* squares) {
  Ints top_bits = bits(floats(kScaleFloor));  // magnitudes order like their bits
  const int whole = round_up(n, 16);
  for (int i = 0; i < whole; i += kWidth) {
    top_bits = larger(top_bits, load<Ints>(x + i) & 0x7fffffff);
  }
  const int32_t top_bit = largest(top_bits);
  float top;
  __builtin_memcpy(&top, &top_bit, 4);
  const float inverse = 127.0f / top;
  Ints total{};
  for (int i = 0; i < whole; i += kWidth) {
    const Ints code = to_ints(round_even(load<Floats>(x + i) * inverse));
    store_bytes(codes + i, code + 128);
    if (squares) total += code * code;
  }
  for (int i = whole; i < padded; ++i) codes[i] = 128;
  if (squares) {
    const int32_t all = sum(total);
    *squares = all > 0 ? all : 1;
  }
  return top;
}

// RMSNorm and quantisation in one; returns the scale of the codes.
NNCODEC_STAGE static float normalize(const float* x, int n, int padded, uint8_t* codes) {
  int32_t squares;
  quantize(x, n, padded, codes, &squares);
  return __builtin_sqrtf(static_cast<float>(n) / static_cast<float>(squares));
}

// Base-2 logits -> counts: each >= 1, sum 2^24, the rest to the most probable symbol.
inline void counts_from_logits(const float* z, int32_t* counts) {
  Floats tops = floats(-kInfinity);
  for (int i = 0; i < 256; i += kWidth) tops = larger(tops, load<Floats>(z + i));
  const float top = largest(tops);
  int32_t mass[256];
  int64_t total = 0;
  for (int i = 0; i < 256; i += kWidth) {
    // Masses reach 2^23, too large for round_even; they are not negative, so 2^23 does the same.
    const Floats m = exp2_exact(load<Floats>(z + i) - top) * kMassOne;
    store(mass + i, to_ints((m + 0x1p23f) - 0x1p23f));
  }
  for (int i = 0; i < 256; ++i) total += mass[i];
  const int64_t share = ((kTotal - 256) << 32) / total;
  int64_t sum = 0;
  for (int i = 0; i < 256; ++i) {
    const int64_t count = 1 + ((mass[i] * share) >> 32);
    counts[i] = static_cast<int32_t>(count);
    sum += count;
  }
  int32_t most = 0;
  for (int i = 0; i < 256; ++i) most = mass[i] > most ? mass[i] : most;
  int best = 0;
  while (mass[best] != most) ++best;
  counts[best] += static_cast<int32_t>(kTotal - sum);
}

}  // namespace

}  // namespace nncodec::NNCODEC_NAMESPACE
