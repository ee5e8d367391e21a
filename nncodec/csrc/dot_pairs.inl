// Products of 8-bit integers for machines without 8-bit dot products. Bytes are split into their even
// and odd ones, sign-extended to 16 bits, whose products are added by pairs into 32 bits (pmaddwd on
// x86). Nothing saturates: a pair is at most 2 * 255 * 127.
#pragma once

#include "exact_math.inl"

namespace nncodec::NNCODEC_NAMESPACE {

namespace {

typedef int16_t Shorts __attribute__((vector_size(4 * kWidth)));

inline Ints multiply_pairs(Shorts a, Shorts b) {
#if defined(__AVX2__)
  return reinterpret_cast<Ints>(
      _mm256_madd_epi16(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b)));
#elif defined(__SSE2__)
  return reinterpret_cast<Ints>(
      _mm_madd_epi16(reinterpret_cast<__m128i>(a), reinterpret_cast<__m128i>(b)));
#else
  const Ints x = reinterpret_cast<Ints>(a), y = reinterpret_cast<Ints>(b);
  return ((x << 16) >> 16) * ((y << 16) >> 16) + (x >> 16) * (y >> 16);
#endif
}

inline Shorts even_bytes(Ints v) { return (reinterpret_cast<Shorts>(v) << 8) >> 8; }
inline Shorts odd_bytes(Ints v) { return reinterpret_cast<Shorts>(v) >> 8; }

inline Shorts two_shorts(const int16_t* from) {
  int32_t two;
  __builtin_memcpy(&two, from, 4);
  Ints v = ints(two);
  return reinterpret_cast<Shorts>(v);
}

constexpr int kFlip = static_cast<int>(0x80808080u);  // code + 128 -> code, in all four bytes
constexpr int kMaxBlocks = 1;  // of 16 slots or channels at once in the attention
constexpr int kSpan = 16 / kWidth;  // vectors that hold 16 sums
constexpr int kShortsAVector = 2 * kWidth;

// n codes (as code + 128, n a multiple of 64) as shorts: the even ones, then the odd ones.
inline void split_codes(const uint8_t* codes, int n, int16_t* to) {
  for (int i = 0; i < n; i += 4 * kWidth) {
    const Ints v = load<Ints>(codes + i) ^ kFlip;
    store(to + i / 2, even_bytes(v));
    store(to + n / 2 + i / 2, odd_bytes(v));
  }
}

// The `quads` * 64 weights of 16 outputs in the same order.
inline void split_block(const int8_t* w, int quads, int16_t* panel) {
  for (int i = 0; i < quads * kSpan; ++i) {
    const Ints v = load<Ints>(w + static_cast<std::size_t>(i) * 4 * kWidth);
    store(panel + i * kShortsAVector, even_bytes(v));
    store(panel + (quads * kSpan + i) * kShortsAVector, odd_bytes(v));
  }
}

// Adds the products of 2 * `pairs` inputs to the sums of 16 outputs (or begins them).
template <int kRows>
inline void multiply_panel(const int16_t* x, int stride, const int16_t* panel, int pairs, bool begin,
                           int32_t* acc, int acc_stride) {
  Ints sums[kRows][kSpan] = {};
  for (int p = 0; p < pairs; ++p) {
    Shorts w[kSpan];
    for (int i = 0; i < kSpan; ++i) w[i] = load<Shorts>(panel + (p * kSpan + i) * kShortsAVector);
    for (int r = 0; r < kRows; ++r) {
      const Shorts two = two_shorts(x + r * stride + 2 * p);
      for (int i = 0; i < kSpan; ++i) sums[r][i] += multiply_pairs(two, w[i]);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int i = 0; i < kSpan; ++i) {
      int32_t* to = acc + static_cast<std::size_t>(r) * acc_stride + i * kWidth;
      store(to, begin ? sums[r][i] : sums[r][i] + load<Ints>(to));
    }
  }
}

// One row: the weights are split on their way through the registers.
inline void multiply_one(const uint8_t* codes, const Matrix& m, int32_t* acc) {
  const int in = m.padded_in();
  for (int block = 0; block < m.padded_out() / 16; ++block) {
    const int8_t* w = m.packed.data() + static_cast<std::size_t>(block) * in * 16;
    Ints sums[kSpan] = {};
    for (int q = 0; q < in / 4; ++q) {
      int32_t four;
      __builtin_memcpy(&four, codes + 4 * q, 4);
      const Ints code = ints(four ^ kFlip);
      const Shorts even = even_bytes(code), odd = odd_bytes(code);
      for (int i = 0; i < kSpan; ++i) {
        const Ints v = load<Ints>(w + 64 * q + 4 * kWidth * i);
        sums[i] += multiply_pairs(even, even_bytes(v)) + multiply_pairs(odd, odd_bytes(v));
      }
    }
    for (int i = 0; i < kSpan; ++i) store(acc + 16 * block + i * kWidth, sums[i]);
  }
}

// acc[r][o] = sum_i code[r][i] * weight[o][i] for n rows. Inputs go in runs that, for all rows, stay in
// the nearest cache together with the weights of 16 outputs.
inline void multiply(const uint8_t* codes, int stride, const Matrix& m, int32_t* acc, int acc_stride,
                     int n, Scratch& s) {
  constexpr int kRows = kWidth == 8 ? 4 : 2;  // what 16 registers hold
  constexpr int kRun = 256;
  const int in = m.padded_in(), panels = n / kRows * kRows;
  for (int r = panels; r < n; ++r) {
    multiply_one(codes + static_cast<std::size_t>(r) * stride, m,
                 acc + static_cast<std::size_t>(r) * acc_stride);
  }
  int16_t* x = s.shorts.data();
  int16_t* panel = x + kMaxRows * kRun;
  for (int first = 0; panels && first < in; first += kRun) {
    const int run = in - first < kRun ? in - first : kRun;
    for (int r = 0; r < panels; ++r) {
      split_codes(codes + static_cast<std::size_t>(r) * stride + first, run, x + r * run);
    }
    for (int block = 0; block < m.padded_out() / 16; ++block) {
      split_block(m.packed.data() + (static_cast<std::size_t>(block) * in + first) * 16, run / 4, panel);
      for (int r = 0; r < panels; r += kRows) {
        multiply_panel<kRows>(x + r * run, run, panel, run / 2, first == 0,
                              acc + static_cast<std::size_t>(r) * acc_stride + 16 * block, acc_stride);
      }
    }
  }
}

// scores[h][s] = q[h] . k[s] for kHeads heads and 16 slots of a ring, at k; q comes as code + 128.
template <int kHeads, int kBlocks>
inline void score_slots(const uint8_t* queries, int stride, const int8_t* k, const int32_t*,
                        int channels, int32_t* scores, int score_stride) {
  static_assert(kBlocks == 1);
  Ints sums[kHeads][kSpan] = {};
  for (int q = 0; q < channels / 4; ++q) {
    Shorts even[kHeads], odd[kHeads];
    for (int h = 0; h < kHeads; ++h) {
      int32_t four;
      __builtin_memcpy(&four, queries + h * stride + 4 * q, 4);
      const Ints code = ints(four ^ kFlip);
      even[h] = even_bytes(code);
      odd[h] = odd_bytes(code);
    }
    for (int i = 0; i < kSpan; ++i) {
      const Ints quad = load<Ints>(k + 64 * q + 4 * kWidth * i);
      const Shorts k0 = even_bytes(quad), k1 = odd_bytes(quad);
      for (int h = 0; h < kHeads; ++h) {
        sums[h][i] += multiply_pairs(even[h], k0) + multiply_pairs(odd[h], k1);
      }
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    for (int i = 0; i < kSpan; ++i) store(scores + h * score_stride + i * kWidth, sums[h][i]);
  }
}

// mixed[h][c] = sum_s weight[h][s] * v[s][c] for kHeads heads and 16 channels, over all slots.
template <int kHeads, int kBlocks>
inline void mix_channels(const uint8_t* weights, int stride, const int8_t* v, int capacity,
                         int channels, int32_t* mixed, int mixed_stride) {
  static_assert(kBlocks == 1);
  Ints sums[kHeads][kSpan] = {};
  for (int g = 0; g < capacity / 4; ++g) {
    Shorts even[kHeads], odd[kHeads];
    for (int h = 0; h < kHeads; ++h) {
      int32_t four;
      __builtin_memcpy(&four, weights + h * stride + 4 * g, 4);
      Ints low = ints(four & 0x00ff00ff);
      Ints high = ints(static_cast<int32_t>(static_cast<uint32_t>(four) >> 8) & 0x00ff00ff);
      even[h] = reinterpret_cast<Shorts>(low);
      odd[h] = reinterpret_cast<Shorts>(high);
    }
    for (int i = 0; i < kSpan; ++i) {
      const Ints quad = load<Ints>(v + static_cast<std::size_t>(g) * channels * 4 + 4 * kWidth * i);
      const Shorts w0 = even_bytes(quad), w1 = odd_bytes(quad);
      for (int h = 0; h < kHeads; ++h) {
        sums[h][i] += multiply_pairs(even[h], w0) + multiply_pairs(odd[h], w1);
      }
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    for (int i = 0; i < kSpan; ++i) store(mixed + h * mixed_stride + i * kWidth, sums[h][i]);
  }
}

// Operands that differ, and that the compiler must believe to change, or one product could do for all.
inline int64_t bare_products(int64_t rounds) {
  constexpr int kSums = 8;
  Ints sums[kSums] = {}, x = ints(0x00010002), w[kSums];
  for (int i = 0; i < kSums; ++i) w[i] = ints(0x00010001 + i);
  for (int64_t i = 0; i < rounds; ++i) {
    for (int k = 0; k < kSums; ++k) {
      sums[k] += multiply_pairs(reinterpret_cast<Shorts>(x), reinterpret_cast<Shorts>(w[k]));
    }
#if defined(__SSE2__)
    asm volatile("" : "+x"(x));
#else
    asm volatile("" : "+m"(x));
#endif
  }
  for (Ints& sum : sums) asm volatile("" : : "m"(sum));
  return rounds * kSums * 2 * kWidth;
}

}  // namespace

}  // namespace nncodec::NNCODEC_NAMESPACE
