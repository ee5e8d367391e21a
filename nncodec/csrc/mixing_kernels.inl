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

// table[places[i]]; the table has an element more than is looked up.
inline Ints look_up(const int16_t* table, Ints places) {
#if defined(__AVX512F__)
  return (reinterpret_cast<Ints>(_mm512_i32gather_epi32(reinterpret_cast<__m512i>(places), table, 2)) << 16) >> 16;
#else
  Ints v{};
  for (int i = 0; i < kWidth; ++i) v[i] = table[places[i]];
  return v;
#endif
}

inline Ints look_up(const int32_t* table, Ints places) {
#if defined(__AVX512F__)
  return reinterpret_cast<Ints>(_mm512_i32gather_epi32(reinterpret_cast<__m512i>(places), table, 4));
#else
  Ints v{};
  for (int i = 0; i < kWidth; ++i) v[i] = table[places[i]];
  return v;
#endif
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
  for (int i = 0; i < kContexts; i += kWidth) {
    const Ints p = (load<Ints>(learners + i) >> 16) & 0xffff;
    store(x + i, look_up(kLogistic.stretch.data(), stretch_place(p)));
    store(x + kContexts + i, (p - 32768) >> 5);
  }
}

// AdaptiveBit::update() of kWidth learners.
inline Ints updated(Ints value, int bit, int limit) {
  const Ints most = ints((1 << 22) - 1), bits_set = ints(bit ? -1 : 0);
  const Ints count = value & 1023, p = (value >> 10) & most;
  const Ints way = p ^ (most & bits_set);  // most - p, or p
  const Ints step = (way >> 6) * look_up(kReciprocals.of.data(), count) >> 9;
  const Ints next = p + ((step ^ ~bits_set) - ~bits_set);
  return (next << 10) | (count - (count < ints(limit)));
}

void learn_histories(uint32_t* learners, int bit, int limit) {
  for (int i = 0; i < kContexts; i += kWidth) {
    store(learners + i, updated(load<Ints>(learners + i), bit, limit));
  }
}

// The learners of `node` in kWidth lines.
inline Ints gather(uint32_t* const* lines, int node) {
#if defined(__AVX512F__)
  const __m512i eight = _mm512_set1_epi64(4 * node);
  const __m512i low = _mm512_add_epi64(_mm512_loadu_si512(lines), eight);
  const __m512i high = _mm512_add_epi64(_mm512_loadu_si512(lines + 8), eight);
  return reinterpret_cast<Ints>(_mm512_inserti64x4(
      _mm512_castsi256_si512(_mm512_i64gather_epi32(low, nullptr, 1)),
      _mm512_i64gather_epi32(high, nullptr, 1), 1));
#else
  Ints v{};
  for (int i = 0; i < kWidth; ++i) v[i] = static_cast<int32_t>(lines[i][node]);
  return v;
#endif
}

// The same for the nibbles of tensors (tensor_mixer.h): every learner's logit is an input, the last
// input is a constant, and two sets of weights give a logit each. Learners are kept as differences
// from one half.
void read_nibble(uint32_t* const* lines, int node, const int32_t* const* weights, uint32_t* learners,
                 int32_t* x, int32_t* logits) {
  Ints totals[2] = {};
  for (int i = 0; i < kNibbleInputs; i += kWidth) {
    const Ints values = gather(lines + i, node) ^ ints(INT32_MIN);
    store(learners + i, values);
    Ints in = look_up(kLogistic.stretch.data(), stretch_place((values >> 16) & 0xffff));
    if (i + kWidth == kNibbleInputs) in[kWidth - 1] = 256;
    store(x + i, in);
    for (int s = 0; s < 2; ++s) totals[s] += (in * load<Ints>(weights[s] + i)) >> 8;
  }
  for (int s = 0; s < 2; ++s) logits[s] = sum(totals[s]) >> 8;
}

void learn_nibble(uint32_t* const* lines, int node, const uint32_t* learners, const int32_t* x,
                  int32_t* const* weights, const int32_t* errors, int bit, int limit) {
  for (int i = 0; i < kNibbleInputs; i += kWidth) {
    alignas(64) uint32_t next[kWidth];
    store(next, updated(load<Ints>(learners + i), bit, limit) ^ ints(INT32_MIN));
    for (int j = 0; j < kWidth; ++j) lines[i + j][node] = next[j];
    for (int s = 0; s < 2; ++s) train(x + i, weights[s] + i, errors[s]);
  }
}

}  // namespace

}  // namespace nncodec::NNCODEC_NAMESPACE
