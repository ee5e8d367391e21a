// Products of 8-bit integers with AVX-512 VNNI: 64 of them an instruction, unsigned times signed.
#pragma once

#include "exact_math.inl"

namespace nncodec::NNCODEC_NAMESPACE {

namespace {

constexpr int kMaxBlocks = 4;  // of 16 slots or channels: what the 32 registers hold

inline __m512i four_bytes(const uint8_t* from) {
  int32_t four;
  __builtin_memcpy(&four, from, 4);
  return _mm512_set1_epi32(four);
}

// acc[r][o] = sum_i code[r][i] * weight[o][i] for kRows rows; two blocks of 16 outputs at a time.
template <int kRows>
void multiply_rows(const uint8_t* codes, int stride, const Matrix& m, int32_t* acc, int acc_stride) {
  const int quads = m.padded_in() / 4, blocks = m.padded_out() / 16;
  for (int block = 0; block < blocks; block += 2) {
    const int pair = blocks - block > 1 ? 1 : 0;
    const int8_t* w0 = m.packed.data() + static_cast<std::size_t>(block) * quads * 64;
    const int8_t* w1 = w0 + static_cast<std::size_t>(pair) * quads * 64;
    __m512i sum0[kRows], sum1[kRows];
    const __m512i bias0 = _mm512_loadu_si512(m.bias.data() + 16 * block);
    const __m512i bias1 = _mm512_loadu_si512(m.bias.data() + 16 * (block + pair));
    for (int r = 0; r < kRows; ++r) {
      sum0[r] = bias0;
      sum1[r] = bias1;
    }
    for (int q = 0; q < quads; ++q) {
      const __m512i a = _mm512_loadu_si512(w0 + static_cast<std::size_t>(q) * 64);
      const __m512i b = _mm512_loadu_si512(w1 + static_cast<std::size_t>(q) * 64);
      for (int r = 0; r < kRows; ++r) {
        const __m512i x = four_bytes(codes + static_cast<std::size_t>(r) * stride + 4 * q);
        sum0[r] = _mm512_dpbusd_epi32(sum0[r], x, a);
        sum1[r] = _mm512_dpbusd_epi32(sum1[r], x, b);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      int32_t* to = acc + static_cast<std::size_t>(r) * acc_stride + 16 * block;
      _mm512_storeu_si512(to, sum0[r]);
      if (pair) _mm512_storeu_si512(to + 16, sum1[r]);
    }
  }
}

inline void multiply_few(const uint8_t* codes, int stride, const Matrix& m, int32_t* acc,
                         int acc_stride, int n) {
  switch (n) {
    case 1: return multiply_rows<1>(codes, stride, m, acc, acc_stride);
    case 2: return multiply_rows<2>(codes, stride, m, acc, acc_stride);
    case 3: return multiply_rows<3>(codes, stride, m, acc, acc_stride);
    case 4: return multiply_rows<4>(codes, stride, m, acc, acc_stride);
    case 5: return multiply_rows<5>(codes, stride, m, acc, acc_stride);
    case 6: return multiply_rows<6>(codes, stride, m, acc, acc_stride);
    case 7: return multiply_rows<7>(codes, stride, m, acc, acc_stride);
    default: return multiply_rows<8>(codes, stride, m, acc, acc_stride);
  }
}

#if !defined(NNCODEC_TILES)
inline void multiply(const uint8_t* codes, int stride, const Matrix& m, int32_t* acc, int acc_stride,
                     int n, Scratch&) {
  for (int r = 0; r < n; r += 8) {
    multiply_few(codes + static_cast<std::size_t>(r) * stride, stride, m,
                 acc + static_cast<std::size_t>(r) * acc_stride, acc_stride, n - r < 8 ? n - r : 8);
  }
}

inline int64_t bare_products(int64_t rounds) {
  constexpr int kSums = 16;
  __m512i sums[kSums], x = _mm512_set1_epi32(0x01020304), w = _mm512_set1_epi32(0x01010101);
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  for (int64_t i = 0; i < rounds; ++i) {
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, x, w);
    asm volatile("" : "+v"(x), "+v"(w));  // or the loop could be computed once
  }
  for (__m512i& sum : sums) asm volatile("" : : "v"(sum));
  return rounds * kSums * 64;
}
#endif

// scores[h][s] = q[h] . k[s] for kHeads heads and 16 * kBlocks slots of a ring, at k; q comes as
// code + 128.
template <int kHeads, int kBlocks>
inline void score_slots(const uint8_t* queries, int stride, const int8_t* k, const int32_t* bias,
                        int channels, int32_t* scores, int score_stride) {
  __m512i sums[kHeads][kBlocks];
  for (int h = 0; h < kHeads; ++h) {
    for (int b = 0; b < kBlocks; ++b) sums[h][b] = _mm512_loadu_si512(bias + 16 * b);
  }
  for (int q = 0; q < channels / 4; ++q) {
    __m512i x[kHeads];
    for (int h = 0; h < kHeads; ++h) x[h] = four_bytes(queries + h * stride + 4 * q);
    for (int b = 0; b < kBlocks; ++b) {
      const __m512i key = _mm512_loadu_si512(k + static_cast<std::size_t>(b) * 16 * channels + 64 * q);
      for (int h = 0; h < kHeads; ++h) sums[h][b] = _mm512_dpbusd_epi32(sums[h][b], x[h], key);
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    for (int b = 0; b < kBlocks; ++b) {
      _mm512_storeu_si512(scores + h * score_stride + 16 * b, sums[h][b]);
    }
  }
}

// mixed[h][c] = sum_s weight[h][s] * v[s][c] for kHeads heads and 16 * kBlocks channels, over all slots.
template <int kHeads, int kBlocks>
inline void mix_channels(const uint8_t* weights, int stride, const int8_t* v, int capacity,
                         int channels, int32_t* mixed, int mixed_stride) {
  __m512i sums[kHeads][kBlocks];
  for (auto& head : sums) {
    for (__m512i& sum : head) sum = _mm512_setzero_si512();
  }
  for (int g = 0; g < capacity / 4; ++g) {
    __m512i w[kHeads];
    for (int h = 0; h < kHeads; ++h) w[h] = four_bytes(weights + h * stride + 4 * g);
    for (int b = 0; b < kBlocks; ++b) {
      const __m512i value =
          _mm512_loadu_si512(v + static_cast<std::size_t>(g) * channels * 4 + 64 * b);
      for (int h = 0; h < kHeads; ++h) sums[h][b] = _mm512_dpbusd_epi32(sums[h][b], w[h], value);
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    for (int b = 0; b < kBlocks; ++b) {
      _mm512_storeu_si512(mixed + h * mixed_stride + 16 * b, sums[h][b]);
    }
  }
}

}  // namespace

}  // namespace nncodec::NNCODEC_NAMESPACE
