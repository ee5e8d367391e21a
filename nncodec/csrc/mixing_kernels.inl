// The loops over a mixer's inputs, compiled once per instruction set. Integers: no order matters.
#pragma once

#include "logistic.h"
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

// weights[i] += x[i] * error, rounded to 2^-16 and kept within kMixWeightMax; kWidth of them.
inline void train(const int32_t* x, int32_t* weights, int32_t error) {
  const Ints most = ints(kMixWeightMax), least = ints(-kMixWeightMax);
  const Ints step = (load<Ints>(x) * error + (1 << 15)) >> 16;
  Ints w = larger(load<Ints>(weights) + step, least);
  w = w < most ? w : most;
  store(weights, w);
}

void mix_train(const int32_t* x, int32_t* const* weights, int sets, const int32_t* errors) {
  for (int s = 0; s < sets; ++s) {
    for (int i = 0; i < kMixInputs; i += kWidth) train(x + i, weights[s] + i, errors[s]);
  }
}

// Where stretch() looks p up.
inline Ints stretch_place(Ints p) {
  const Ints top = ints(kProbabilityOne - 1024);
  Ints place = (p >> 4) + 1024;
  place = p < ints(1024) ? p : place;
  return p > top ? p - top + (1024 + 4096) : place;
}

// The contexts' inputs: the logit of each learner's probability in x[i], how far it is from one half
// in x[kContexts + i]. A learner is an AdaptiveBit.
void read_histories(const uint32_t* learners, int32_t* x) {
  alignas(64) int32_t places[kContexts];
  for (int i = 0; i < kContexts; i += kWidth) {
    const Ints p = (load<Ints>(reinterpret_cast<const int32_t*>(learners) + i) >> 16) & 0xffff;
    store(x + kContexts + i, (p - 32768) >> 5);
    store(places + i, stretch_place(p));
  }
  for (int i = 0; i < kContexts; ++i) x[i] = kLogistic.stretch[places[i]];
}

// AdaptiveBit::update() of n learners.
template <int n>
inline void learn(uint32_t* learners, int bit, int limit) {
  auto* values = reinterpret_cast<int32_t*>(learners);
  alignas(64) int32_t reciprocals[n];
  for (int i = 0; i < n; ++i) reciprocals[i] = kReciprocals.of[learners[i] & 1023];
  const Ints most = ints((1 << 22) - 1), bits_set = ints(bit ? -1 : 0);
  for (int i = 0; i < n; i += kWidth) {
    const Ints value = load<Ints>(values + i);
    const Ints count = value & 1023, p = (value >> 10) & most;
    const Ints way = p ^ (most & bits_set);  // most - p, or p
    const Ints step = (way >> 6) * load<Ints>(reciprocals + i) >> 9;
    const Ints next = p + ((step ^ ~bits_set) - ~bits_set);
    store(values + i, (next << 10) | (count - (count < ints(limit))));
  }
}

void learn_histories(uint32_t* learners, int bit, int limit) { learn<kContexts>(learners, bit, limit); }

// The same for the nibbles of tensors (tensor_mixer.h): every learner's logit is an input, the last
// input is a constant, and two sets of weights give a logit each.
void read_nibble(const uint32_t* learners, const int32_t* const* weights, int32_t* x, int32_t* logits) {
  alignas(64) int32_t places[kNibbleInputs];
  for (int i = 0; i < kNibbleInputs; i += kWidth) {
    const Ints p = (load<Ints>(reinterpret_cast<const int32_t*>(learners) + i) >> 16) & 0xffff;
    store(places + i, stretch_place(p));
  }
  for (int i = 0; i < kNibbleInputs - 1; ++i) x[i] = kLogistic.stretch[places[i]];
  x[kNibbleInputs - 1] = 256;
  for (int s = 0; s < 2; ++s) {
    Ints total{};
    for (int i = 0; i < kNibbleInputs; i += kWidth) {
      total += (load<Ints>(x + i) * load<Ints>(weights[s] + i)) >> 8;
    }
    logits[s] = sum(total) >> 8;
  }
}

void learn_nibble(uint32_t* learners, const int32_t* x, int32_t* const* weights, const int32_t* errors,
                  int bit, int limit) {
  learn<kNibbleInputs>(learners, bit, limit);
  for (int s = 0; s < 2; ++s) {
    for (int i = 0; i < kNibbleInputs; i += kWidth) {
      train(x + i, weights[s] + i, errors[s]);
    }
  }
}

}  // namespace

}  // namespace nncodec::NNCODEC_NAMESPACE
