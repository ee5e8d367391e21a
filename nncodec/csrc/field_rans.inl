// Interleaved range asymmetric numeral systems (Duda 2013; Giesen, "Interleaved entropy coders", 2014;
// lanes with 16-bit words are those of htscodecs' rANS Nx16): symbol i of a group belongs to
// lane i, and a group's words lie in the order of its lanes. Compiled once per instruction set.
#pragma once

#include <algorithm>
#include <cstring>

#include "field_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace nncodec::NNCODEC_NAMESPACE {

namespace {

// One group, or the start of one; every access is checked.
inline bool decode_group(const RansSlots& slots, uint8_t* symbols, std::size_t n, RansReader& r) {
  for (std::size_t i = 0; i < n; ++i) {
    uint32_t x = r.states[i];
    const uint32_t slot = slots.of[x & (kFrequencyTotal - 1)];
    symbols[i] = static_cast<uint8_t>(slot);
    x = (slot >> 8 & 4095) * (x >> kFrequencyBits) + (slot >> 20);
    if (x < kRansLow) {
      if (r.end - r.next < 2) return false;
      x = x << 16 | r.next[0] | static_cast<uint32_t>(r.next[1]) << 8;
      r.next += 2;
    }
    r.states[i] = x;
  }
  return true;
}

inline void encode_group(const RansSymbols& table, const uint8_t* symbols, std::size_t n, RansWriter& w) {
  for (std::size_t i = n; i-- > 0;) {
    uint32_t x = w.states[i];
    const uint64_t entry = table.of[symbols[i]];
    const auto packed = static_cast<uint32_t>(entry), frequency = packed & 4095;
    if (x >= frequency << 19) {
      *--w.next = static_cast<uint16_t>(x);
      x >>= 16;
    }
    const auto high = static_cast<uint32_t>(static_cast<uint64_t>(x) * (entry >> 32) >> 32);
    w.states[i] = x + (packed >> 12 & 8191) + (high >> (packed >> 25)) * (kFrequencyTotal - frequency);
  }
}

#if defined(__AVX2__)

// Table entries by single loads: several processors are slower with gather instructions. The four indices
// of 16 bits come in one load, since loads are what there is too few of.
inline __m128i look_up_4(const uint32_t* table, uint64_t indices) {
  const auto at = [&](int i) { return static_cast<int>(table[indices >> (16 * i) & 65535]); };
  __m128i v = _mm_cvtsi32_si128(at(0));
  v = _mm_insert_epi32(v, at(1), 1);
  v = _mm_insert_epi32(v, at(2), 2);
  return _mm_insert_epi32(v, at(3), 3);
}

inline __m256i look_up_8(const uint32_t* table, const uint64_t* indices, int apart) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(look_up_4(table, indices[0])),
                                 look_up_4(table, indices[apart]), 1);
}

inline __m256i look_up_4_wide(const uint64_t* table, const uint8_t* symbols) {
  uint32_t four;
  std::memcpy(&four, symbols, 4);
  const auto two = [&](int shift) {
    const uint64_t *first = table + (four >> shift & 255), *second = table + (four >> (shift + 8) & 255);
    return _mm_unpacklo_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(first)),
                              _mm_loadl_epi64(reinterpret_cast<const __m128i*>(second)));
  };
  return _mm256_inserti128_si256(_mm256_castsi128_si256(two(0)), two(16), 1);
}

// For each set of lanes: where each lane's word is among the words read (spread), and which lane each
// word comes from, the last word last (gathered); a byte a lane.
struct LaneOrders {
  uint64_t spread[256], gathered[256];
};
constexpr LaneOrders lane_orders() {
  LaneOrders orders{};
  for (int mask = 0; mask < 256; ++mask) {
    int count = 0, put = 7;
    for (int lane = 0; lane < 8; ++lane) {
      orders.spread[mask] |= static_cast<uint64_t>(count) << (8 * lane);
      count += mask >> lane & 1;
    }
    for (int lane = 7; lane >= 0; --lane) {
      if (mask >> lane & 1) orders.gathered[mask] |= static_cast<uint64_t>(lane) << (8 * put--);
    }
  }
  return orders;
}
constexpr LaneOrders kLaneOrders = lane_orders();

// Pairs of lanes 0 1 4 5 2 3 6 7, as a shuffle within halves leaves them, in their order.
inline __m256i in_order(__m256 v) { return _mm256_permute4x64_epi64(_mm256_castps_si256(v), 0xD8); }

inline __m256i order_of(const uint64_t& order) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(&order)));
}

#endif

#if defined(__AVX512F__)

inline __m512i look_up_8_wide(const uint64_t* table, const uint8_t* symbols) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(look_up_4_wide(table, symbols)),
                            look_up_4_wide(table, symbols + 4), 1);
}

template <int kLanes>
inline std::size_t decode_groups(const RansSlots& slots, uint8_t* symbols, std::size_t n, RansReader& r) {
  constexpr int kVectors = kLanes / 16;
  __m512i x[kVectors];
  for (int v = 0; v < kVectors; ++v) x[v] = _mm512_loadu_si512(r.states + 16 * v);
  const __m512i low_slot = _mm512_set1_epi32(kFrequencyTotal - 1), low = _mm512_set1_epi32(kRansLow);
  const uint8_t* next = r.next;
  std::size_t i = 0;
  for (; i + kLanes <= n && r.end - next >= 2 * kLanes; i += kLanes) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      alignas(32) uint64_t indices[4];
      _mm256_store_si256(reinterpret_cast<__m256i*>(indices),
                         _mm512_cvtepi32_epi16(_mm512_and_si512(x[v], low_slot)));
      const __m512i slot =
          _mm512_inserti64x4(_mm512_castsi256_si512(look_up_8(slots.of, indices, 1)),
                             look_up_8(slots.of, indices + 2, 1), 1);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(symbols + i + 16 * static_cast<std::size_t>(v)),
                       _mm512_cvtepi32_epi8(slot));
      const __m512i frequency = _mm512_and_si512(_mm512_srli_epi32(slot, 8), low_slot);
      const __m512i y =
          _mm512_add_epi32(_mm512_mullo_epi32(frequency, _mm512_srli_epi32(x[v], kFrequencyBits)),
                           _mm512_srli_epi32(slot, 20));
      const __mmask16 empty = _mm512_cmplt_epu32_mask(y, low);
      const __m512i words =
          _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(next)));
      x[v] = _mm512_mask_or_epi32(y, empty, _mm512_slli_epi32(y, 16),
                                  _mm512_maskz_expand_epi32(empty, words));
      next += 2 * __builtin_popcount(empty);
    }
  }
  r.next = next;
  for (int v = 0; v < kVectors; ++v) _mm512_storeu_si512(r.states + 16 * v, x[v]);
  return i;
}

template <int kLanes>
inline void encode_groups(const RansSymbols& table, const uint8_t* symbols, std::size_t n, RansWriter& w) {
  constexpr int kVectors = kLanes / 16;
  __m512i x[kVectors];
  for (int v = 0; v < kVectors; ++v) x[v] = _mm512_loadu_si512(w.states + 16 * v);
  const __m512i low12 = _mm512_set1_epi32(4095), low13 = _mm512_set1_epi32(8191);
  const __m512i total = _mm512_set1_epi32(kFrequencyTotal);
  const __m512i evens = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odds = _mm512_add_epi32(evens, _mm512_set1_epi32(1));
  uint16_t* next = w.next;
  for (std::size_t i = n; i != 0;) {
    i -= kLanes;
    for (int v = kVectors - 1; v >= 0; --v) {
      const __m512i first = look_up_8_wide(table.of, symbols + i + 16 * v);
      const __m512i second = look_up_8_wide(table.of, symbols + i + 16 * v + 8);
      const __m512i packed = _mm512_permutex2var_epi32(first, evens, second);
      const __m512i reciprocal = _mm512_permutex2var_epi32(first, odds, second);
      const __m512i frequency = _mm512_and_si512(packed, low12);
      const __mmask16 full = _mm512_cmpge_epu32_mask(x[v], _mm512_slli_epi32(frequency, 19));
      const int count = __builtin_popcount(full);
      next -= count;
      _mm256_mask_storeu_epi16(next, static_cast<__mmask16>((1u << count) - 1),
                               _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(full, x[v])));
      const __m512i y = _mm512_mask_srli_epi32(x[v], full, x[v], 16);
      const __m512i even = _mm512_srli_epi64(_mm512_mul_epu32(y, reciprocal), 32);
      const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(y, 32), _mm512_srli_epi64(reciprocal, 32));
      const __m512i high = _mm512_mask_mov_epi32(even, 0xAAAA, odd);
      const __m512i quotient = _mm512_srlv_epi32(high, _mm512_srli_epi32(packed, 25));
      const __m512i start = _mm512_and_si512(_mm512_srli_epi32(packed, 12), low13);
      x[v] = _mm512_add_epi32(_mm512_add_epi32(y, start),
                              _mm512_mullo_epi32(quotient, _mm512_sub_epi32(total, frequency)));
    }
  }
  w.next = next;
  for (int v = 0; v < kVectors; ++v) _mm512_storeu_si512(w.states + 16 * v, x[v]);
}

#elif defined(__AVX2__)

template <int kLanes>
inline std::size_t decode_groups(const RansSlots& slots, uint8_t* symbols, std::size_t n, RansReader& r) {
  constexpr int kVectors = kLanes / 8;
  __m256i x[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    x[v] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(r.states + 8 * v));
  }
  const __m256i low_slot = _mm256_set1_epi32(kFrequencyTotal - 1), low = _mm256_set1_epi32(kRansLow);
  const __m256i bytes = _mm256_set1_epi32(255);
  const uint8_t* next = r.next;
  std::size_t i = 0;
  for (; i + kLanes <= n && r.end - next >= 2 * kLanes; i += kLanes) {
    __m256i out[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      alignas(32) uint64_t indices[4];  // the second half of either pair is a copy
      const __m256i index = _mm256_and_si256(x[v], low_slot);
      _mm256_store_si256(reinterpret_cast<__m256i*>(indices), _mm256_packus_epi32(index, index));
      const __m256i slot = look_up_8(slots.of, indices, 2);
      out[v] = _mm256_and_si256(slot, bytes);
      const __m256i frequency = _mm256_and_si256(_mm256_srli_epi32(slot, 8), low_slot);
      const __m256i y =
          _mm256_add_epi32(_mm256_mullo_epi32(frequency, _mm256_srli_epi32(x[v], kFrequencyBits)),
                           _mm256_srli_epi32(slot, 20));
      const __m256i empty = _mm256_cmpgt_epi32(low, y);
      const auto mask = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(empty)));
      const __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(next)));
      const __m256i own = _mm256_permutevar8x32_epi32(words, order_of(kLaneOrders.spread[mask]));
      x[v] = _mm256_blendv_epi8(y, _mm256_or_si256(_mm256_slli_epi32(y, 16), own), empty);
      next += 2 * __builtin_popcount(mask);
    }
    for (int v = 0; v < kVectors; v += 4) {
      const __m256i pairs = _mm256_packus_epi16(_mm256_packus_epi32(out[v], out[v + 1]),
                                                _mm256_packus_epi32(out[v + 2], out[v + 3]));
      const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(symbols + i + 8 * static_cast<std::size_t>(v)),
                          _mm256_permutevar8x32_epi32(pairs, order));
    }
  }
  r.next = next;
  for (int v = 0; v < kVectors; ++v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(r.states + 8 * v), x[v]);
  }
  return i;
}

template <int kLanes>
inline void encode_groups(const RansSymbols& table, const uint8_t* symbols, std::size_t n, RansWriter& w) {
  constexpr int kVectors = kLanes / 8;
  __m256i x[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    x[v] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w.states + 8 * v));
  }
  const __m256i low12 = _mm256_set1_epi32(4095), low13 = _mm256_set1_epi32(8191);
  const __m256i total = _mm256_set1_epi32(kFrequencyTotal), word = _mm256_set1_epi32(65535);
  uint16_t* next = w.next;
  for (std::size_t i = n; i != 0;) {
    i -= kLanes;
    for (int v = kVectors - 1; v >= 0; --v) {
      const __m256 first = _mm256_castsi256_ps(look_up_4_wide(table.of, symbols + i + 8 * v));
      const __m256 second = _mm256_castsi256_ps(look_up_4_wide(table.of, symbols + i + 8 * v + 4));
      const __m256i packed = in_order(_mm256_shuffle_ps(first, second, 0x88));
      const __m256i reciprocal = in_order(_mm256_shuffle_ps(first, second, 0xDD));
      const __m256i frequency = _mm256_and_si256(packed, low12);
      const __m256i stays = _mm256_cmpgt_epi32(_mm256_slli_epi32(frequency, 19), x[v]);
      const auto mask = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(stays))) ^ 255u;
      const __m256i gone =
          _mm256_permutevar8x32_epi32(_mm256_and_si256(x[v], word), order_of(kLaneOrders.gathered[mask]));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(next - 8),
                       _mm_packus_epi32(_mm256_castsi256_si128(gone), _mm256_extracti128_si256(gone, 1)));
      next -= __builtin_popcount(mask);
      const __m256i y = _mm256_blendv_epi8(_mm256_srli_epi32(x[v], 16), x[v], stays);
      const __m256i even = _mm256_srli_epi64(_mm256_mul_epu32(y, reciprocal), 32);
      const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(y, 32), _mm256_srli_epi64(reciprocal, 32));
      const __m256i high = _mm256_blend_epi32(even, odd, 0xAA);
      const __m256i quotient = _mm256_srlv_epi32(high, _mm256_srli_epi32(packed, 25));
      const __m256i start = _mm256_and_si256(_mm256_srli_epi32(packed, 12), low13);
      x[v] = _mm256_add_epi32(_mm256_add_epi32(y, start),
                              _mm256_mullo_epi32(quotient, _mm256_sub_epi32(total, frequency)));
    }
  }
  w.next = next;
  for (int v = 0; v < kVectors; ++v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(w.states + 8 * v), x[v]);
  }
}

#else

template <int kLanes>
inline std::size_t decode_groups(const RansSlots& slots, uint8_t* symbols, std::size_t n, RansReader& r) {
  std::size_t i = 0;
  for (; i + kLanes <= n && r.end - r.next >= 2 * kLanes; i += kLanes) {
    decode_group(slots, symbols + i, kLanes, r);
  }
  return i;
}

template <int kLanes>
inline void encode_groups(const RansSymbols& table, const uint8_t* symbols, std::size_t n, RansWriter& w) {
  for (std::size_t i = n; i != 0; i -= kLanes) encode_group(table, symbols + i - kLanes, kLanes, w);
}

#endif

// decode_groups() stops where a group could run out of words, and returns the symbols that are done.
template <int kLanes>
bool decode_run(const RansSlots& slots, uint8_t* symbols, std::size_t n, RansReader& r) {
  for (std::size_t i = decode_groups<kLanes>(slots, symbols, n, r); i < n; i += kLanes) {
    if (!decode_group(slots, symbols + i, std::min<std::size_t>(kLanes, n - i), r)) return false;
  }
  return true;
}

template <int kLanes>
void encode_run(const RansSymbols& table, const uint8_t* symbols, std::size_t n, RansWriter& w) {
  const std::size_t tail = n % kLanes;
  encode_group(table, symbols + (n - tail), tail, w);
  encode_groups<kLanes>(table, symbols, n - tail, w);
}

bool rans_decode(const RansSlots& slots, uint8_t* symbols, std::size_t n, RansReader& r) {
  return r.lanes == kManyLanes ? decode_run<kManyLanes>(slots, symbols, n, r)
                               : decode_run<kFewLanes>(slots, symbols, n, r);
}

void rans_encode(const RansSymbols& table, const uint8_t* symbols, std::size_t n, RansWriter& w) {
  if (w.lanes == kManyLanes) {
    encode_run<kManyLanes>(table, symbols, n, w);
  } else {
    encode_run<kFewLanes>(table, symbols, n, w);
  }
}

}  // namespace

}  // namespace nncodec::NNCODEC_NAMESPACE
