// Vectors of the widest registers of the instruction set that includes this file, in the GNU vector
// extension of gcc and clang: every operation is one IEEE operation an element, in the order written.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

// A function of its own: with all inlined into one, gcc keeps the vectors of its loops on the stack.
#define NNCODEC_STAGE __attribute__((noinline))

namespace nncodec::NNCODEC_NAMESPACE {

namespace {

static_assert(__FLT_EVAL_METHOD__ == 0, "every float operation must round to binary32");

#if defined(__AVX512F__)
constexpr int kWidth = 16;
#elif defined(__AVX2__)
constexpr int kWidth = 8;
#else
constexpr int kWidth = 4;
#endif

typedef float Floats __attribute__((vector_size(4 * kWidth)));
typedef int32_t Ints __attribute__((vector_size(4 * kWidth)));
typedef uint8_t Codes __attribute__((vector_size(kWidth)));

template <class Vector>
inline Vector load(const void* from) {
  Vector v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

template <class Vector>
inline void store(void* to, Vector v) {
  __builtin_memcpy(to, &v, sizeof v);
}

inline Floats floats(float x) { return x - Floats{}; }
inline Ints ints(int32_t x) { return x - Ints{}; }
inline Floats to_floats(Ints v) { return __builtin_convertvector(v, Floats); }
inline Ints to_ints(Floats v) { return __builtin_convertvector(v, Ints); }
inline Ints bits(Floats v) { return reinterpret_cast<Ints>(v); }
inline Floats from_bits(Ints v) { return reinterpret_cast<Floats>(v); }
inline Floats select(Ints mask, Floats yes, Floats no) {
  return from_bits((mask & bits(yes)) | (~mask & bits(no)));
}

#if defined(__AVX512F__)
inline Floats larger(Floats a, Floats b) {
  return reinterpret_cast<Floats>(_mm512_max_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
}
inline Ints larger(Ints a, Ints b) {
  return reinterpret_cast<Ints>(
      _mm512_max_epi32(reinterpret_cast<__m512i>(a), reinterpret_cast<__m512i>(b)));
}
inline float largest(Floats v) { return _mm512_reduce_max_ps(reinterpret_cast<__m512>(v)); }
inline int32_t largest(Ints v) { return _mm512_reduce_max_epi32(reinterpret_cast<__m512i>(v)); }
inline int32_t sum(Ints v) { return _mm512_reduce_add_epi32(reinterpret_cast<__m512i>(v)); }
#else
#if defined(__AVX2__)
// The halves of a vector against each other, then quarters, then neighbours.
template <class Half, class Combine>
inline Half fold(Half low, Half high, Combine combine) {
  Half v = combine(low, high);
  v = combine(v, __builtin_shufflevector(v, v, 2, 3, 0, 1));
  return combine(v, __builtin_shufflevector(v, v, 1, 0, 3, 2));
}
typedef float HalfFloats __attribute__((vector_size(16)));
typedef int32_t HalfInts __attribute__((vector_size(16)));

inline float largest(Floats v) {
  const __m256 in = reinterpret_cast<__m256>(v);
  return fold(reinterpret_cast<HalfFloats>(_mm256_castps256_ps128(in)),
              reinterpret_cast<HalfFloats>(_mm256_extractf128_ps(in, 1)),
              [](HalfFloats a, HalfFloats b) {
                return reinterpret_cast<HalfFloats>(
                    _mm_max_ps(reinterpret_cast<__m128>(a), reinterpret_cast<__m128>(b)));
              })[0];
}

template <class Combine>
inline int32_t fold_ints(Ints v, Combine combine) {
  const __m256i in = reinterpret_cast<__m256i>(v);
  return fold(reinterpret_cast<HalfInts>(_mm256_castsi256_si128(in)),
              reinterpret_cast<HalfInts>(_mm256_extracti128_si256(in, 1)), combine)[0];
}

inline int32_t largest(Ints v) {
  return fold_ints(v, [](HalfInts a, HalfInts b) {
    return reinterpret_cast<HalfInts>(
        _mm_max_epi32(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
  });
}

inline int32_t sum(Ints v) {
  return fold_ints(v, [](HalfInts a, HalfInts b) { return a + b; });
}

inline Floats larger(Floats a, Floats b) {
  return reinterpret_cast<Floats>(_mm256_max_ps(reinterpret_cast<__m256>(a), reinterpret_cast<__m256>(b)));
}
inline Ints larger(Ints a, Ints b) {
  return reinterpret_cast<Ints>(
      _mm256_max_epi32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
}
#else
inline Floats larger(Floats a, Floats b) { return a > b ? a : b; }
inline Ints larger(Ints a, Ints b) { return a > b ? a : b; }

template <class Vector>
inline auto largest(Vector v) {
  auto top = v[0];
  for (int i = 1; i < kWidth; ++i) top = v[i] > top ? v[i] : top;
  return top;
}

inline int32_t sum(Ints v) {
  int32_t total = 0;
  for (int i = 0; i < kWidth; ++i) total += v[i];
  return total;
}
#endif
#endif

// Elements in 0..255 as bytes.
inline void store_bytes(uint8_t* to, Ints v) {
#if defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(reinterpret_cast<__m512i>(v)));
#elif defined(__AVX2__)
  const __m256i in = reinterpret_cast<__m256i>(v);
  const __m128i pairs = _mm_packs_epi32(_mm256_castsi256_si128(in), _mm256_extracti128_si256(in, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(pairs, pairs));
#elif defined(__SSE2__)
  const __m128i in = reinterpret_cast<__m128i>(v), pairs = _mm_packs_epi32(in, in);
  const int four = _mm_cvtsi128_si32(_mm_packus_epi16(pairs, pairs));
  __builtin_memcpy(to, &four, 4);
#else
  store(to, __builtin_convertvector(v, Codes));
#endif
}

}  // namespace

}  // namespace nncodec::NNCODEC_NAMESPACE
