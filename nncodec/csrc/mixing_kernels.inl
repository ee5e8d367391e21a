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

// The contexts' inputs: the logit of each learner's probability in x[i], how far it is from one half
// in x[kContexts + i]. A learner is an AdaptiveBit.
void read_histories(const uint32_t* learners, int32_t* x) {
  alignas(64) int32_t places[kContexts];
  for (int i = 0; i < kContexts; i += kWidth) {
    const Ints p = (load<Ints>(reinterpret_cast<const int32_t*>(learners) + i) >> 16) & 0xffff;
    store(x + kContexts + i, (p - 32768) >> 5);
    // As stretch() does.
    const Ints top = ints(kProbabilityOne - 1024);
    Ints place = (p >> 4) + 1024;
    place = p < ints(1024) ? p : place;
    place = p > top ? p - top + (1024 + 4096) : place;
    store(places + i, place);
  }
  for (int i = 0; i < kContexts; ++i) x[i] = kLogistic.stretch[places[i]];
}

// AdaptiveBit::update() of all contexts' learners.
void learn_histories(uint32_t* learners, int bit, int limit) {
  auto* values = reinterpret_cast<int32_t*>(learners);
  alignas(64) int32_t reciprocals[kContexts];
  for (int i = 0; i < kContexts; ++i) reciprocals[i] = kReciprocals.of[learners[i] & 1023];
  const Ints most = ints((1 << 22) - 1), bits_set = ints(bit ? -1 : 0);
  for (int i = 0; i < kContexts; i += kWidth) {
    const Ints value = load<Ints>(values + i);
    const Ints n = value & 1023, p = (value >> 10) & most;
    const Ints way = p ^ (most & bits_set);  // most - p, or p
    const Ints step = (way >> 6) * load<Ints>(reciprocals + i) >> 9;
    const Ints next = p + ((step ^ ~bits_set) - ~bits_set);
    store(values + i, (next << 10) | (n - (n < ints(limit))));
  }
}

}  // namespace

}  // namespace nncodec::NNCODEC_NAMESPACE
