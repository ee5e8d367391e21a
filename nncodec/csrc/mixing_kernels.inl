// The two loops over a mixer's inputs, compiled once per instruction set. Integers: no order matters.
#pragma once

#include "vectors.inl"

namespace nncodec::NNCODEC_NAMESPACE {

namespace {

// logits[s] = sum_i x[i] * weights[s][i], weights in units of 2^-16; each product cut to 2^-8 first.
void mix_dot(const int32_t* x, const int32_t* const* weights, int sets, int32_t* logits) {
  for (int s = 0; s < sets; ++s) {
    Ints total{};
    for (int i = 0; i < kMixInputs; i += kWidth) {
      total += (load<Ints>(x + i) * load<Ints>(weights[s] + i)) >> 8;
    }
    logits[s] = sum(total) >> 8;
  }
}

// weights[s][i] += x[i] * errors[s], rounded to 2^-16 and kept within kMixWeightMax.
void mix_train(const int32_t* x, int32_t* const* weights, int sets, const int32_t* errors) {
  const Ints most = ints(kMixWeightMax), least = ints(-kMixWeightMax);
  for (int s = 0; s < sets; ++s) {
    const int32_t error = errors[s];
    for (int i = 0; i < kMixInputs; i += kWidth) {
      const Ints step = (load<Ints>(x + i) * error + (1 << 15)) >> 16;
      Ints w = larger(load<Ints>(weights[s] + i) + step, least);
      w = w < most ? w : most;
      store(weights[s] + i, w);
    }
  }
}

}  // namespace

}  // namespace nncodec::NNCODEC_NAMESPACE
