"""Content-defined chunks: where a file is cut depends on the bytes near the cut alone.

So what two files share falls into the same chunks in both, wherever it lies in them. The rolling
hash is Gear, cut points are normalised as FastCDC does (Xia et al., USENIX ATC 2016): a mask that
is harder to meet before the average size than behind it keeps sizes near the average.

Gear of a position is a sum over the 32 bytes up to it, ``sum(GEAR[b[i - k]] << k)`` modulo 2^32.
Sums of 1, 2, 4, ... terms follow from each other (doubling), so five passes of numpy replace a loop
over the bytes. Its top bits depend on all 32 of them; the masks test those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from nncodec.blocks import Bytes

LEAST, AVERAGE, MOST = 1 << 14, 1 << 16, 1 << 18  # bytes of a chunk; the last one may be shorter
WINDOW = 32  # bytes that the hash of a position depends on; far fewer than LEAST
HARD = np.uint32(0xFFFFC000)  # 18 bits: met by one position in 262,144
EASY = np.uint32(0xFFFC0000)  # 14 bits of those: by one in 16,384
READ_BYTES = 1 << 22  # of a file at once
CACHED = 1 << 16  # bytes whose hashes are computed at once


def make_gear() -> npt.NDArray[np.uint32]:
    """256 numbers without a pattern: SHA-256 of each byte value."""
    digests = b"".join(hashlib.sha256(bytes((value,))).digest()[:4] for value in range(256))
    return np.frombuffer(digests, dtype="<u4").astype(np.uint32)


GEAR = make_gear()


def gear(data: Bytes) -> npt.NDArray[np.uint32]:
    """(n,) bytes -> (n,) hashes of the up to ``WINDOW`` bytes that end at each."""
    sums, width = GEAR[data], 1
    while width < WINDOW:
        sums[width:] += sums[:-width] << np.uint32(width)  # numpy copies where they overlap
        width *= 2
    return sums


def ends_of(data: Bytes, last: bool) -> list[int]:
    """Where the chunks of (n,) ``data`` end, which begins where one does.

    Unless it is the ``last`` of a file, only those that no more bytes could change; the others
    begin the next call's.
    """
    size = len(data)
    if size <= LEAST:
        return [size] if last and size else []
    found, firm = candidates(data)
    ends, begin = [], 0
    while size - begin > LEAST:
        strict = first_in(firm, begin + LEAST, begin + AVERAGE)
        loose = first_in(found, begin + AVERAGE, begin + MOST)
        if strict is not None:
            end = strict + 1
        elif loose is not None:
            end = loose + 1
        elif size - begin >= MOST:
            end = begin + MOST
        else:
            break
        ends.append(end)
        begin = end
    if last and begin < size:
        ends.append(size)
    return ends


def candidates(data: Bytes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where a chunk of (n,) ``data`` may end behind, and those of them that meet the hard mask.

    Hashed in pieces whose sums stay in the cache of a core; each begins with the bytes before it.
    """
    easy, hard = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for begin in range(0, len(data), CACHED):
        before = min(begin, WINDOW - 1)
        hashes = gear(data[begin - before : begin + CACHED])[before:]
        found = np.flatnonzero((hashes & EASY) == 0)
        easy.append(found + begin)
        hard.append(found[(hashes[found] & HARD) == 0] + begin)
    return np.concatenate(easy), np.concatenate(hard)


def first_in(places: npt.NDArray[np.int64], begin: int, end: int) -> int | None:
    """The first of sorted ``places`` in that range, less one byte so that sizes stay below it."""
    at = int(np.searchsorted(places, begin))
    return int(places[at]) if at < len(places) and places[at] < end - 1 else None


def read_chunks(source: BinaryIO) -> Iterator[memoryview]:
    """The chunks of a file, in order; nothing for an empty one."""
    held = np.zeros(0, dtype=np.uint8)
    while True:
        piece = source.read(READ_BYTES)
        last = len(piece) < READ_BYTES
        fresh = np.frombuffer(piece, dtype=np.uint8)
        data = np.concatenate((held, fresh)) if len(held) else fresh
        begin = 0
        for end in ends_of(data, last):
            yield data[begin:end].data
            begin = end
        if last:
            return
        held = data[begin:]
