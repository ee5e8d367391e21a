// XXH64 (Collet, xxHash specification 0.1.1, section XXH64): the checksum of blocks and headers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nncodec {

namespace xxh64_detail {

constexpr uint64_t kP1 = 0x9E3779B185EBCA87u, kP2 = 0xC2B2AE3D27D4EB4Fu, kP3 = 0x165667B19E3779F9u,
                   kP4 = 0x85EBCA77C2B2AE63u, kP5 = 0x27D4EB2F165667C5u;

constexpr uint64_t rotl(uint64_t x, int r) { return x << r | x >> (64 - r); }

// Little-endian read of any alignment on any host.
template <int kBytes>
uint64_t read(const uint8_t* p) {
  uint64_t x = 0;
  for (int i = 0; i < kBytes; ++i) x |= uint64_t{p[i]} << (8 * i);
  return x;
}

constexpr uint64_t round(uint64_t acc, uint64_t lane) { return rotl(acc + lane * kP2, 31) * kP1; }

}  // namespace xxh64_detail

inline uint64_t xxh64(const uint8_t* p, std::size_t size, uint64_t seed = 0) {
  using namespace xxh64_detail;
  const uint8_t* const end = p + size;
  uint64_t h;
  if (size >= 32) {
    uint64_t acc[4] = {seed + kP1 + kP2, seed + kP2, seed, seed - kP1};
    for (; end - p >= 32; p += 32) {
      for (int i = 0; i < 4; ++i) acc[i] = round(acc[i], read<8>(p + 8 * i));
    }
    h = rotl(acc[0], 1) + rotl(acc[1], 7) + rotl(acc[2], 12) + rotl(acc[3], 18);
    for (uint64_t a : acc) h = (h ^ round(0, a)) * kP1 + kP4;
  } else {
    h = seed + kP5;
  }
  h += size;
  for (; end - p >= 8; p += 8) h = rotl(h ^ round(0, read<8>(p)), 27) * kP1 + kP4;
  for (; end - p >= 4; p += 4) h = rotl(h ^ read<4>(p) * kP1, 23) * kP2 + kP3;
  for (; p < end; ++p) h = rotl(h ^ *p * kP5, 11) * kP1;
  h = (h ^ h >> 33) * kP2;
  h = (h ^ h >> 29) * kP3;
  return h ^ h >> 32;
}

}  // namespace nncodec
