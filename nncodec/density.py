"""Is there anything to gain? Cheap looks at a block that spare the models hopeless work.

In integers, so that the choice of kind, too, is the same on every machine.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from nncodec.blocks import Bytes
from nncodec.numerics import COUNT_BITS, code_length

SMALL = 1 << 14  # blocks below this are simply tried
ANCHOR, HASH_BITS = 64, 22
COUNTED = 1 << 20  # bytes that are looked at together: numpy makes some times as many of them


class Density(IntEnum):
    """What single byte frequencies, and long repeats, say about a block."""

    PLAIN = 0
    DENSE = 1  # within 1.25 % of 8 bits a byte: compressed, but perhaps not to the end, like JPEG
    REPEATED = 2  # that, or random, but some of it comes twice
    RANDOM = 3  # within 0.1 %, and nothing in it comes twice: xz, ciphertext


def density(data: Bytes) -> Density:
    """Judge (n,) bytes."""
    if len(data) < SMALL:
        return Density.PLAIN
    counts = byte_counts(data)
    rates = np.maximum((counts << COUNT_BITS) // len(data), 1).astype(np.int32)
    cost = int((counts * code_length(rates)).sum())  # of an ideal order-0 code, in bits / 256
    full = 8 * 256 * len(data)
    if cost * 80 < full * 79:
        return Density.PLAIN
    if has_repeats(data):
        return Density.REPEATED
    # Even of noise an order-0 code that is fitted to the block saves 255 / (2 ln 2) = 184 bits.
    if (cost + 184 * 256) * 1000 < full * 999:
        return Density.DENSE
    return Density.RANDOM


def byte_counts(data: Bytes) -> npt.NDArray[np.int64]:
    """(256,) of (n,)."""
    counts = np.zeros(256, dtype=np.int64)
    for begin in range(0, len(data), COUNTED):
        counts += np.bincount(data[begin : begin + COUNTED], minlength=256)
    return counts


def dense_sample(data: Bytes) -> Bytes:
    """Of (n,) bytes the first, middle and last 16 KiB: archives keep their directory at an end."""
    middle = (len(data) - SMALL) // 2
    return np.concatenate((data[:SMALL], data[middle : middle + SMALL], data[-SMALL:]))


def has_repeats(data: Bytes) -> bool:
    """Whether eight bytes at every 64th place come again, anywhere, for 1 % of these places."""
    places = np.frombuffer(data[: len(data) // 8 * 8].tobytes(), dtype="<u8")[:: ANCHOR // 8]
    anchors = np.unique(places)  # a repeat may be a whole number of places away
    shift = np.uint64(64 - HASH_BITS)
    factor = np.uint64(0x9E3779B97F4A7C15)
    marked = np.zeros(1 << HASH_BITS, dtype=bool)
    marked[(anchors * factor) >> shift] = True
    found = 0
    for offset in range(8):
        likely = [np.zeros(0, dtype="<u8")]
        for begin in range(offset, len(data), COUNTED):
            piece = data[begin : begin + COUNTED]
            words = np.frombuffer(piece[: len(piece) // 8 * 8].tobytes(), dtype="<u8")
            likely.append(words[marked[(words * factor) >> shift]])
        found += int(np.isin(np.concatenate(likely), anchors).sum())
    return (found - len(anchors)) * 100 > len(places)
