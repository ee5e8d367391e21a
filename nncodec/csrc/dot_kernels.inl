// Products of 8-bit integers, compiled once per instruction set (see forward.inl). Whatever the path,
// the sums are integers, so all give the same.
#include <cstddef>
#include <cstdint>

#include "model.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace nncodec::NNCODEC_NAMESPACE {

namespace {

#if defined(__AVX2__) && !defined(__AVX512VNNI__)
// Adds 4-element dot products of 8 x 4 bytes: |a| <= 127 and |b| <= 127, or the pairwise sums that
// maddubs makes would saturate 16 bits (2 * 127 * 127 fits). `size` is |a|.
inline __m256i dot4(__m256i sum, __m256i a, __m256i size, __m256i b) {
  const __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(b, a));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

inline __m256i load32(const void* p) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(p));
}

inline void store32(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

// Four codes (stored as code + 128) in every 32-bit element, signed.
inline __m256i signed_quad(const uint8_t* codes) {
  uint32_t four;
  __builtin_memcpy(&four, codes, 4);
  return _mm256_set1_epi32(static_cast<int32_t>(four ^ 0x80808080u));
}
#endif

// acc[r][o] = sum_i codes[r][i] * weight[o][i], codes signed. One block of 16 outputs at a time.
template <int kRows>
void multiply_rows(const uint8_t* codes, int stride, const Matrix& m, int32_t* acc, int acc_stride) {
  const int quads = m.padded_in() / 4;
  const int blocks = m.padded_out() / 16;
#if defined(__AVX512VNNI__)
  for (int block = 0; block < blocks; block += 2) {
    const int pair = blocks - block > 1 ? 1 : 0;
    const int8_t* w0 = m.packed.data() + static_cast<std::size_t>(block) * quads * 64;
    const int8_t* w1 = w0 + static_cast<std::size_t>(pair) * quads * 64;
    __m512i sum0[kRows], sum1[kRows];
    for (int r = 0; r < kRows; ++r) sum0[r] = sum1[r] = _mm512_setzero_si512();
    for (int q = 0; q < quads; ++q) {
      const __m512i a = _mm512_loadu_si512(w0 + static_cast<std::size_t>(q) * 64);
      const __m512i b = _mm512_loadu_si512(w1 + static_cast<std::size_t>(q) * 64);
      for (int r = 0; r < kRows; ++r) {
        int32_t four;
        __builtin_memcpy(&four, codes + static_cast<std::size_t>(r) * stride + 4 * q, 4);
        const __m512i x = _mm512_set1_epi32(four);
        sum0[r] = _mm512_dpbusd_epi32(sum0[r], x, a);
        sum1[r] = _mm512_dpbusd_epi32(sum1[r], x, b);
      }
    }
    for (int half = 0; half <= pair; ++half) {
      const int32_t* sums = m.sums.data() + 16 * (block + half);
      const __m512i bias = _mm512_slli_epi32(_mm512_loadu_si512(sums), 7);
      for (int r = 0; r < kRows; ++r) {
        _mm512_storeu_si512(acc + static_cast<std::size_t>(r) * acc_stride + 16 * (block + half),
                            _mm512_sub_epi32(half ? sum1[r] : sum0[r], bias));
      }
    }
  }
#elif defined(__AVX2__)
  constexpr int kGroup = kRows < 4 ? kRows : 4;  // 8 sums and 4 operands fill the 16 registers
  for (int block = 0; block < blocks; ++block) {
    const int8_t* w = m.packed.data() + static_cast<std::size_t>(block) * quads * 64;
    for (int first = 0; first < kRows; first += kGroup) {
      __m256i low[kGroup], high[kGroup];
      for (int r = 0; r < kGroup; ++r) low[r] = high[r] = _mm256_setzero_si256();
      for (int q = 0; q < quads; ++q) {
        const __m256i a = load32(w + static_cast<std::size_t>(q) * 64);
        const __m256i b = load32(w + static_cast<std::size_t>(q) * 64 + 32);
        for (int r = 0; r < kGroup; ++r) {
          const __m256i x =
              signed_quad(codes + static_cast<std::size_t>(first + r) * stride + 4 * q);
          const __m256i size = _mm256_abs_epi8(x);
          low[r] = dot4(low[r], x, size, a);
          high[r] = dot4(high[r], x, size, b);
        }
      }
      for (int r = 0; r < kGroup; ++r) {
        int32_t* to = acc + static_cast<std::size_t>(first + r) * acc_stride + 16 * block;
        store32(to, low[r]);
        store32(to + 8, high[r]);
      }
    }
  }
#else
  for (int block = 0; block < blocks; ++block) {
    const int8_t* w = m.packed.data() + static_cast<std::size_t>(block) * quads * 64;
    for (int r = 0; r < kRows; ++r) {
      int32_t sum[16];
      for (int o = 0; o < 16; ++o) sum[o] = -128 * m.sums[16 * block + o];
      for (int q = 0; q < quads; ++q) {
        const uint8_t* x = codes + static_cast<std::size_t>(r) * stride + 4 * q;
        const int8_t* p = w + static_cast<std::size_t>(q) * 64;
        for (int o = 0; o < 16; ++o) {
          sum[o] += x[0] * p[4 * o] + x[1] * p[4 * o + 1] + x[2] * p[4 * o + 2] + x[3] * p[4 * o + 3];
        }
      }
      for (int o = 0; o < 16; ++o) acc[static_cast<std::size_t>(r) * acc_stride + 16 * block + o] = sum[o];
    }
  }
#endif
}

void multiply(const uint8_t* codes, int stride, const Matrix& m, int32_t* acc, int acc_stride, int n) {
  int r = 0;
  for (; n - r >= 8; r += 8) {
    multiply_rows<8>(codes + static_cast<std::size_t>(r) * stride, stride, m,
                     acc + static_cast<std::size_t>(r) * acc_stride, acc_stride);
  }
  for (; r < n; ++r) {
    multiply_rows<1>(codes + static_cast<std::size_t>(r) * stride, stride, m,
                     acc + static_cast<std::size_t>(r) * acc_stride, acc_stride);
  }
}

// scores[s] = q . k[s] for every slot of a ring, both signed; q comes as code + 128.
void score_keys(const uint8_t* query, const int8_t* keys, const int32_t* key_sums, int capacity,
                int channels, int32_t* scores) {
  const int quads = channels / 4;
  for (int block = 0; block < capacity / 16; ++block) {
    const int8_t* k = keys + static_cast<std::size_t>(block) * quads * 64;
#if defined(__AVX512VNNI__)
    __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0;
    for (int q = 0; q < quads; q += 2) {
      int32_t four[2];
      __builtin_memcpy(four, query + 4 * q, 8);
      sum0 = _mm512_dpbusd_epi32(sum0, _mm512_set1_epi32(four[0]), _mm512_loadu_si512(k + 64 * q));
      sum1 =
          _mm512_dpbusd_epi32(sum1, _mm512_set1_epi32(four[1]), _mm512_loadu_si512(k + 64 * q + 64));
    }
    const __m512i bias = _mm512_slli_epi32(_mm512_loadu_si512(key_sums + 16 * block), 7);
    _mm512_storeu_si512(scores + 16 * block, _mm512_sub_epi32(_mm512_add_epi32(sum0, sum1), bias));
#elif defined(__AVX2__)
    (void)key_sums;  // needed only where codes enter the product as code + 128
    __m256i low = _mm256_setzero_si256(), high = low;
    for (int q = 0; q < quads; ++q) {
      const __m256i x = signed_quad(query + 4 * q);
      const __m256i size = _mm256_abs_epi8(x);
      low = dot4(low, x, size, load32(k + 64 * q));
      high = dot4(high, x, size, load32(k + 64 * q + 32));
    }
    store32(scores + 16 * block, low);
    store32(scores + 16 * block + 8, high);
#else
    int32_t sum[16];
    for (int s = 0; s < 16; ++s) sum[s] = -128 * key_sums[16 * block + s];
    for (int q = 0; q < quads; ++q) {
      const uint8_t* x = query + 4 * q;
      const int8_t* p = k + 64 * q;
      for (int s = 0; s < 16; ++s) {
        sum[s] += x[0] * p[4 * s] + x[1] * p[4 * s + 1] + x[2] * p[4 * s + 2] + x[3] * p[4 * s + 3];
      }
    }
    for (int s = 0; s < 16; ++s) scores[16 * block + s] = sum[s];
#endif
  }
}

// mixed[c] = sum_s weights[s] * v[s][c] over every slot of a ring.
void mix_values(const uint8_t* weights, const int8_t* values, int capacity, int channels,
                int32_t* mixed) {
  for (int block = 0; block < channels / 16; ++block) {
    const int8_t* v = values + 64 * block;
#if defined(__AVX512VNNI__)
    __m512i sum0 = _mm512_setzero_si512(), sum1 = sum0;
    for (int g = 0; g < capacity / 4; g += 2) {
      int32_t four[2];
      __builtin_memcpy(four, weights + 4 * g, 8);
      sum0 = _mm512_dpbusd_epi32(sum0, _mm512_set1_epi32(four[0]),
                                 _mm512_loadu_si512(v + static_cast<std::size_t>(g) * channels * 4));
      sum1 = _mm512_dpbusd_epi32(
          sum1, _mm512_set1_epi32(four[1]),
          _mm512_loadu_si512(v + static_cast<std::size_t>(g + 1) * channels * 4));
    }
    _mm512_storeu_si512(mixed + 16 * block, _mm512_add_epi32(sum0, sum1));
#elif defined(__AVX2__)
    // Weights reach 255, too much for maddubs: halve them, w = 2 * (w >> 1) + (w & 1).
    __m256i half[2], odd[2];
    half[0] = half[1] = odd[0] = odd[1] = _mm256_setzero_si256();
    for (int g = 0; g < capacity / 4; ++g) {
      uint32_t four;
      __builtin_memcpy(&four, weights + 4 * g, 4);
      if (four == 0) continue;
      const __m256i w = _mm256_set1_epi32(static_cast<int32_t>(four >> 1 & 0x7f7f7f7fu));
      const __m256i one = _mm256_set1_epi32(static_cast<int32_t>(four & 0x01010101u));
      for (int i = 0; i < 2; ++i) {
        const __m256i x = load32(v + static_cast<std::size_t>(g) * channels * 4 + 32 * i);
        const __m256i ones = _mm256_set1_epi16(1);
        half[i] = _mm256_add_epi32(half[i],
                                   _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), ones));
        odd[i] = _mm256_add_epi32(odd[i],
                                  _mm256_madd_epi16(_mm256_maddubs_epi16(one, x), ones));
      }
    }
    for (int i = 0; i < 2; ++i) {
      store32(mixed + 16 * block + 8 * i,
              _mm256_add_epi32(_mm256_slli_epi32(half[i], 1), odd[i]));
    }
#else
    int32_t sum[16] = {};
    for (int g = 0; g < capacity / 4; ++g) {
      const uint8_t* x = weights + 4 * g;
      const int8_t* p = v + static_cast<std::size_t>(g) * channels * 4;
      for (int c = 0; c < 16; ++c) {
        sum[c] += x[0] * p[4 * c] + x[1] * p[4 * c + 1] + x[2] * p[4 * c + 2] + x[3] * p[4 * c + 3];
      }
    }
    for (int c = 0; c < 16; ++c) mixed[16 * block + c] = sum[c];
#endif
  }
}

}  // namespace

}  // namespace nncodec::NNCODEC_NAMESPACE
