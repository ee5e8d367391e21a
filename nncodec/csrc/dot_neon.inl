// Products of 8-bit integers with the Armv8.2 dot product (asimddp): 16 of them an instruction, signed.
#pragma once

#include "exact_math.inl"

namespace nncodec::NNCODEC_NAMESPACE {

namespace {

constexpr int kMaxBlocks = 1;  // of 16 slots or channels at once in the attention

inline int8x16_t signed_codes(const uint8_t* codes) {
  return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(codes), vdupq_n_u8(128)));
}

// One quad (four bytes of an element of `x`) against 16 outputs, at w.
#define NNCODEC_DOT_QUAD(sums, x, lane, w)                       \
  do {                                                           \
    for (int i_ = 0; i_ < 4; ++i_) {                             \
      (sums)[i_] = vdotq_laneq_s32((sums)[i_], vld1q_s8((w) + 16 * i_), (x), (lane)); \
    }                                                            \
  } while (0)

template <int kRows>
inline void multiply_rows(const uint8_t* codes, int stride, const Matrix& m, int32_t* acc,
                          int acc_stride) {
  const int in = m.padded_in();
  for (int block = 0; block < m.padded_out() / 16; ++block) {
    const int8_t* w = m.packed.data() + static_cast<std::size_t>(block) * in * 16;
    int32x4_t sums[kRows][4];
    for (auto& row : sums) row[0] = row[1] = row[2] = row[3] = vdupq_n_s32(0);
    for (int i = 0; i < in; i += 16, w += 256) {
      int8x16_t x[kRows];
      for (int r = 0; r < kRows; ++r) {
        x[r] = signed_codes(codes + static_cast<std::size_t>(r) * stride + i);
      }
      for (int r = 0; r < kRows; ++r) {
        NNCODEC_DOT_QUAD(sums[r], x[r], 0, w);
        NNCODEC_DOT_QUAD(sums[r], x[r], 1, w + 64);
        NNCODEC_DOT_QUAD(sums[r], x[r], 2, w + 128);
        NNCODEC_DOT_QUAD(sums[r], x[r], 3, w + 192);
      }
    }
    for (int r = 0; r < kRows; ++r) {
      for (int i = 0; i < 4; ++i) {
        vst1q_s32(acc + static_cast<std::size_t>(r) * acc_stride + 16 * block + 4 * i, sums[r][i]);
      }
    }
  }
}

// acc[r][o] = sum_i code[r][i] * weight[o][i] for n rows; 4 rows fill half of the 32 registers.
inline void multiply(const uint8_t* codes, int stride, const Matrix& m, int32_t* acc, int acc_stride,
                     int n, Scratch&) {
  int r = 0;
  for (; n - r >= 4; r += 4) {
    multiply_rows<4>(codes + static_cast<std::size_t>(r) * stride, stride, m,
                     acc + static_cast<std::size_t>(r) * acc_stride, acc_stride);
  }
  for (; r < n; ++r) {
    multiply_rows<1>(codes + static_cast<std::size_t>(r) * stride, stride, m,
                     acc + static_cast<std::size_t>(r) * acc_stride, acc_stride);
  }
}

// scores[h][s] = q[h] . k[s] for kHeads heads and 16 slots of a ring, at k; q comes as code + 128.
template <int kHeads, int kBlocks>
inline void score_slots(const uint8_t* queries, int stride, const int8_t* k, const int32_t*,
                        int channels, int32_t* scores, int score_stride) {
  static_assert(kBlocks == 1);
  int32x4_t sums[kHeads][4];
  for (auto& row : sums) row[0] = row[1] = row[2] = row[3] = vdupq_n_s32(0);
  for (int c = 0; c < channels; c += 16, k += 256) {
    for (int h = 0; h < kHeads; ++h) {
      const int8x16_t x = signed_codes(queries + h * stride + c);
      NNCODEC_DOT_QUAD(sums[h], x, 0, k);
      NNCODEC_DOT_QUAD(sums[h], x, 1, k + 64);
      NNCODEC_DOT_QUAD(sums[h], x, 2, k + 128);
      NNCODEC_DOT_QUAD(sums[h], x, 3, k + 192);
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    for (int i = 0; i < 4; ++i) vst1q_s32(scores + h * score_stride + 4 * i, sums[h][i]);
  }
}

// mixed[h][c] = sum_s weight[h][s] * v[s][c] for kHeads heads and 16 channels, over all slots.
// Weights reach 255, too much for signed bytes: w = (w - 128) + 128, and 128 * sum(v) is added.
template <int kHeads, int kBlocks>
inline void mix_channels(const uint8_t* weights, int stride, const int8_t* v, int capacity,
                         int channels, int32_t* mixed, int mixed_stride) {
  static_assert(kBlocks == 1);
  int32x4_t sums[kHeads][4], plain[4];
  for (auto& row : sums) row[0] = row[1] = row[2] = row[3] = vdupq_n_s32(0);
  plain[0] = plain[1] = plain[2] = plain[3] = vdupq_n_s32(0);
  const int8x16_t ones = vdupq_n_s8(1);
  const std::size_t next = static_cast<std::size_t>(channels) * 4;
  for (int g = 0; g < capacity / 4; g += 4, v += 4 * next) {
    NNCODEC_DOT_QUAD(plain, ones, 0, v);
    NNCODEC_DOT_QUAD(plain, ones, 1, v + next);
    NNCODEC_DOT_QUAD(plain, ones, 2, v + 2 * next);
    NNCODEC_DOT_QUAD(plain, ones, 3, v + 3 * next);
    for (int h = 0; h < kHeads; ++h) {
      const int8x16_t w = signed_codes(weights + h * stride + 4 * g);
      NNCODEC_DOT_QUAD(sums[h], w, 0, v);
      NNCODEC_DOT_QUAD(sums[h], w, 1, v + next);
      NNCODEC_DOT_QUAD(sums[h], w, 2, v + 2 * next);
      NNCODEC_DOT_QUAD(sums[h], w, 3, v + 3 * next);
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    for (int i = 0; i < 4; ++i) {
      vst1q_s32(mixed + h * mixed_stride + 4 * i, vaddq_s32(sums[h][i], vshlq_n_s32(plain[i], 7)));
    }
  }
}

#undef NNCODEC_DOT_QUAD

inline int64_t bare_products(int64_t rounds) {
  constexpr int kSums = 16;
  int32x4_t sums[kSums];
  for (int32x4_t& sum : sums) sum = vdupq_n_s32(0);
  int8x16_t x = vdupq_n_s8(1), w = vdupq_n_s8(2);
  for (int64_t i = 0; i < rounds; ++i) {
    for (int32x4_t& sum : sums) sum = vdotq_s32(sum, x, w);
    asm volatile("" : "+w"(x), "+w"(w));  // or the loop could be computed once
  }
  for (int32x4_t& sum : sums) asm volatile("" : : "w"(sum));
  return rounds * kSums * 16;
}

}  // namespace

}  // namespace nncodec::NNCODEC_NAMESPACE
