// Relative targets in x86 code to absolute ones and back: docs/transforms.md.
//
// Callers of one function, and readers of one variable, then hold the same four bytes. Encoding goes
// backwards and decoding forwards, so that both see the same opcodes: each step maps 25-bit targets
// onto 25-bit targets and leaves the bytes that it decides by, so any bytes come back. The readable
// twin is in tests/test_transforms.py.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nncodec {

namespace x86_detail {

// Whether four bytes at p[at] are relative to their end: behind E8 and E9 (call, jmp), 0F 80..8F
// (conditional jumps) and, in 64-bit code, REX.W and an opcode with a ModRM byte for [rip + ...]. The
// last byte is the sign's: 00 or FF in code below 16 MiB.
inline bool is_target(const uint8_t* p, std::size_t at) {
  if (p[at + 3] != 0x00 && p[at + 3] != 0xFF) return false;
  const uint8_t last = p[at - 1];
  if ((last & 0xFE) == 0xE8) return true;
  if ((last & 0xF0) == 0x80) return at >= 2 && p[at - 2] == 0x0F;
  return (last & 0xC7) == 0x05 && at >= 3 && (p[at - 3] & 0xF8) == 0x48;
}

inline void put_sign(uint8_t* target, uint32_t value) {
  target[3] = (value >> 24 & 1) != 0 ? 0xFF : 0x00;
}

}  // namespace x86_detail

// In place: `size` bytes at p, the first of which lies at position 0.
inline void x86_encode(uint8_t* p, std::size_t size) {
  for (std::size_t at = size < 5 ? 0 : size - 4; at >= 1; --at) {
    if (!x86_detail::is_target(p, at)) continue;
    uint8_t* t = p + at;
    const uint32_t little = t[0] | t[1] << 8 | t[2] << 16 | (t[3] & 1u) << 24;
    const uint32_t value = little + static_cast<uint32_t>(at + 4);
    // High byte first: targets that differ then begin alike.
    t[0] = static_cast<uint8_t>(value >> 16);
    t[1] = static_cast<uint8_t>(value >> 8);
    t[2] = static_cast<uint8_t>(value);
    x86_detail::put_sign(t, value);
  }
}

inline void x86_decode(uint8_t* p, std::size_t size) {
  for (std::size_t at = 1; at + 4 <= size; ++at) {
    if (!x86_detail::is_target(p, at)) continue;
    uint8_t* t = p + at;
    const uint32_t big = t[0] << 16 | t[1] << 8 | t[2] | (t[3] & 1u) << 24;
    const uint32_t value = big - static_cast<uint32_t>(at + 4);
    t[0] = static_cast<uint8_t>(value);
    t[1] = static_cast<uint8_t>(value >> 8);
    t[2] = static_cast<uint8_t>(value >> 16);
    x86_detail::put_sign(t, value);
  }
}

}  // namespace nncodec
