// Loops over elements, for the compiler to turn into vectors; compiled once per instruction set.
#pragma once

#include <bit>
#include <cstring>

#include "field_kernels.h"
#include "field_rans.inl"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "elements lie little-endian in memory");

namespace nncodec::NNCODEC_NAMESPACE {

namespace {

template <class T>
inline T load_at(const uint8_t* from, std::size_t i) {
  T value;
  std::memcpy(&value, from + i * sizeof(T), sizeof(T));
  return value;
}

template <class T>
inline void store_at(uint8_t* to, std::size_t i, T value) {
  std::memcpy(to + i * sizeof(T), &value, sizeof(T));
}

constexpr std::size_t kPiece = 512;  // elements whose halves fit the first cache

// Sign, slot and three bits of mantissa of a bfloat16.
inline uint8_t symbol_of(uint16_t value, int16_t shift, int16_t lowest) {
  const auto exponent = static_cast<int16_t>(value >> 7 & 255);
  auto slot = static_cast<int16_t>(exponent + shift);
  slot = slot < lowest || slot > 15 ? int16_t{1} : slot;
  slot = exponent == 0 ? int16_t{0} : slot;
  return static_cast<uint8_t>((value >> 15) << 7 | slot << 3 | (value >> 4 & 7));
}

void split_bfloat16(const uint8_t* __restrict from, std::size_t n, Window window,
                    uint8_t* __restrict symbols, uint8_t* __restrict nibbles) {
  const auto shift = static_cast<int16_t>(15 - window.top);
  const auto lowest = static_cast<int16_t>(window.lowest);
  for (std::size_t i = 0; i < n; ++i) {
    symbols[i] = symbol_of(load_at<uint16_t>(from, i), shift, lowest);
  }
  for (std::size_t i = 0; i < n / 2; ++i) {
    const auto pair = load_at<uint32_t>(from, i);
    nibbles[i] = static_cast<uint8_t>((pair & 15) | (pair >> 12 & 0xF0));
  }
  if (n % 2) nibbles[n / 2] = from[2 * (n - 1)] & 15;
}

uint32_t split_float32(const uint8_t* __restrict from, std::size_t n, Window window,
                       uint8_t* __restrict symbols, uint8_t* __restrict nibbles, uint8_t* __restrict middle,
                       uint8_t* __restrict low) {
  uint8_t upper[2 * kPiece];
  uint32_t any = 0;
  for (std::size_t at = 0; at < n; at += kPiece) {
    const std::size_t m = n - at < kPiece ? n - at : kPiece;
    const uint8_t* piece = from + 4 * at;
    for (std::size_t i = 0; i < m; ++i) {
      const auto value = load_at<uint32_t>(piece, i);
      store_at(upper, i, static_cast<uint16_t>(value >> 16));
      middle[at + i] = static_cast<uint8_t>(value >> 8);
      low[at + i] = static_cast<uint8_t>(value);
      any |= value;
    }
    split_bfloat16(upper, m, window, symbols + at, nibbles + at / 2);
  }
  return any & 0xFFFF;
}

void split_float16(const uint8_t* __restrict from, std::size_t n, uint8_t* __restrict symbols,
                   uint8_t* __restrict low) {
  for (std::size_t i = 0; i < n; ++i) {
    const auto value = load_at<uint16_t>(from, i);
    symbols[i] = static_cast<uint8_t>(value >> 8);
    low[i] = static_cast<uint8_t>(value);
  }
}

// Up to kPiece elements.
inline void join_upper(const uint8_t* __restrict symbols, const uint8_t* __restrict nibbles, std::size_t n,
                       int top, uint8_t* __restrict to) {
  uint8_t wide[kPiece];
  for (std::size_t i = 0; i < (n + 1) / 2; ++i) {
    const uint16_t pair = nibbles[i];
    store_at(wide, i, static_cast<uint16_t>((pair | pair << 4) & 0x0F0F));
  }
  const auto shift = static_cast<uint16_t>(top - 15);
  for (std::size_t i = 0; i < n; ++i) {
    const uint16_t symbol = symbols[i], slot = symbol >> 3 & 15;
    const auto exponent =
        static_cast<uint16_t>(slot < 2 ? uint16_t{0} : static_cast<uint16_t>(slot + shift));
    store_at(
        to, i,
        static_cast<uint16_t>((symbol & 128) << 8 | (exponent & 255) << 7 | (symbol & 7) << 4 | wide[i]));
  }
}

void join_bfloat16(const uint8_t* symbols, const uint8_t* nibbles, std::size_t n, int top, uint8_t* to) {
  for (std::size_t at = 0; at < n; at += kPiece) {
    join_upper(symbols + at, nibbles + at / 2, n - at < kPiece ? n - at : kPiece, top, to + 2 * at);
  }
}

void join_float32(const uint8_t* __restrict symbols, const uint8_t* __restrict nibbles,
                  const uint8_t* __restrict middle, const uint8_t* __restrict low, std::size_t n, int top,
                  uint8_t* __restrict to) {
  uint8_t upper[2 * kPiece];
  for (std::size_t at = 0; at < n; at += kPiece) {
    const std::size_t m = n - at < kPiece ? n - at : kPiece;
    join_upper(symbols + at, nibbles + at / 2, m, top, upper);
    for (std::size_t i = 0; i < m; ++i) {
      store_at(to + 4 * at, i,
               static_cast<uint32_t>(load_at<uint16_t>(upper, i)) << 16 |
                   static_cast<uint32_t>(middle[at + i]) << 8 | low[at + i]);
    }
  }
}

void join_float16(const uint8_t* __restrict symbols, const uint8_t* __restrict low, std::size_t n,
                  uint8_t* __restrict to) {
  for (std::size_t i = 0; i < n; ++i) store_at(to, i, static_cast<uint16_t>(symbols[i] << 8 | low[i]));
}

// Which of 64 symbols have the slot 1.
inline uint64_t escapes_of(const uint8_t* symbols) {
#if defined(__AVX512BW__)
  const __m512i slots = _mm512_and_si512(_mm512_loadu_si512(symbols), _mm512_set1_epi8(0x78));
  return _mm512_cmpeq_epi8_mask(slots, _mm512_set1_epi8(0x08));
#elif defined(__AVX2__)
  uint64_t found = 0;
  for (int half = 0; half < 2; ++half) {
    const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(symbols + 32 * half));
    const __m256i slots = _mm256_and_si256(all, _mm256_set1_epi8(0x78));
    const int mask = _mm256_movemask_epi8(_mm256_cmpeq_epi8(slots, _mm256_set1_epi8(0x08)));
    found |= static_cast<uint64_t>(static_cast<uint32_t>(mask)) << (32 * half);
  }
  return found;
#else
  constexpr uint64_t kOnes = 0x0101010101010101;
  uint64_t found = 0;
  for (std::size_t k = 0; k < 8; ++k) {
    const uint64_t slots = (load_at<uint64_t>(symbols, k) & 0x78 * kOnes) ^ 0x08 * kOnes;
    const uint64_t zero = ~(slots + 0x7F * kOnes) & 0x80 * kOnes;  // slots have no top bit: no carry
    found |= (zero >> 7) * 0x0102040810204080 >> 56 << (8 * k);
  }
  return found;
#endif
}

std::size_t find_escapes(const uint8_t* symbols, std::size_t n, uint16_t* places) {
  std::size_t count = 0, i = 0;
  for (; i + 64 <= n; i += 64) {
    for (uint64_t found = escapes_of(symbols + i); found != 0; found &= found - 1) {
      places[count++] = static_cast<uint16_t>(i + static_cast<std::size_t>(std::countr_zero(found)));
    }
  }
  for (; i < n; ++i) {
    if ((symbols[i] & 0x78) == 0x08) places[count++] = static_cast<uint16_t>(i);
  }
  return count;
}

// In pieces, whose sums fit 32 bits.
template <class Size>
inline uint64_t sum_of(const uint8_t* symbols, std::size_t n, Size size) {
  uint64_t total = 0;
  for (std::size_t at = 0; at < n; at += kPiece) {
    const std::size_t m = n - at < kPiece ? n - at : kPiece;
    uint32_t sum = 0;
    for (std::size_t i = 0; i < m; ++i) sum += size(symbols[at + i]);
    total += sum;
  }
  return total;
}

uint64_t sum_magnitudes(const uint8_t* symbols, std::size_t n) {
  return sum_of(symbols, n, [](uint8_t s) { return static_cast<uint32_t>(s & 127); });
}

uint64_t sum_distances(const uint8_t* symbols, std::size_t n) {
  return sum_of(symbols, n, [](uint8_t s) { return static_cast<uint32_t>(s < 128 ? s : 256 - s); });
}

#define NNCODEC_TEXT(name) #name
#define NNCODEC_NAME(name) NNCODEC_TEXT(name)

}  // namespace

extern const FieldKernels field_kernels;
const FieldKernels field_kernels = {NNCODEC_NAME(NNCODEC_NAMESPACE),
                                    rans_decode,
                                    rans_encode,
                                    split_bfloat16,
                                    split_float32,
                                    split_float16,
                                    join_bfloat16,
                                    join_float32,
                                    join_float16,
                                    find_escapes,
                                    sum_magnitudes,
                                    sum_distances};

}  // namespace nncodec::NNCODEC_NAMESPACE
