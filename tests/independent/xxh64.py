"""XXH64 with seed 0 (FORMAT.md, "XXH64")."""

import struct

P1 = 0x9E3779B185EBCA87
P2 = 0xC2B2AE3D27D4EB4F
P3 = 0x165667B19E3779F9
P4 = 0x85EBCA77C2B2AE63
P5 = 0x27D4EB2F165667C5
MASK = 2**64 - 1


def rotl(x: int, r: int) -> int:
    return (x << r | x >> (64 - r)) & MASK


def mix(a: int, v: int) -> int:
    """`round` of the specification."""
    return rotl((a + v * P2) & MASK, 31) * P1 & MASK


def xxh64(data: bytes) -> int:
    size = len(data)
    at = 0
    if size >= 32:
        a = [P1 + P2 & MASK, P2, 0, -P1 & MASK]
        for words in struct.iter_unpack("<4Q", data[: size - size % 32]):
            a = [mix(lane, word) for lane, word in zip(a, words, strict=True)]
        at = size - size % 32
        h = rotl(a[0], 1) + rotl(a[1], 7) + rotl(a[2], 12) + rotl(a[3], 18)
        for lane in a:
            h = ((h ^ mix(0, lane)) * P1 + P4) & MASK
    else:
        h = P5
    h = (h + size) & MASK
    while size - at >= 8:
        h = (rotl(h ^ mix(0, int.from_bytes(data[at : at + 8], "little")), 27) * P1 + P4) & MASK
        at += 8
    if size - at >= 4:
        word = int.from_bytes(data[at : at + 4], "little")
        h = (rotl(h ^ (word * P1 & MASK), 23) * P2 + P3) & MASK
        at += 4
    for byte in data[at:]:
        h = rotl(h ^ (byte * P5 & MASK), 11) * P1 & MASK
    h = (h ^ h >> 33) * P2 & MASK
    h = (h ^ h >> 29) * P3 & MASK
    return h ^ h >> 32
