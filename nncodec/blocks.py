"""Bytes to blocks and lanes: geometry only, no model and no coder.

A block is an independent run of the input. A coded block of n bytes is a common prefix, coded in
one lane, and then ``lanes`` contiguous runs that step together; the first ones are a byte longer
where the division leaves a rest. Lane count and prefix are written in the archive, so the rules
below may change without a new format.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nncodec.errors import NNCodecError

BLOCK_SIZE = 1 << 24  # 16 MiB, the most that a block may hold, and the default
LEAST_BLOCK_SIZE = 1 << 10  # that anyone can ask for
MAX_LANES = 256
LANE_BYTES = 8192  # shorter lanes step faster together and lose more at their starts: docs/lanes.md
DEFAULT_LANES = 64  # more buys little speed, and keys and values leave the caches
PREFIX_BYTES = 1024
MIN_TABLE_BITS, DEFAULT_TABLE_BITS, MAX_TABLE_BITS = 10, 21, 22  # 64 KiB, 128 MiB, 256 MiB

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a coded block is cut, and the size of the context mixer's table.

    The table has ``2**table_bits`` lines of 64 bytes; 0 bits: no mixer.
    """

    lanes: int = 1
    prefix: int = 0
    table_bits: int = 0


def check_block_size(size: int | None) -> None:
    """Raises NNCodecError for bytes that nobody can ask blocks to have; None is the default."""
    if size is not None and not LEAST_BLOCK_SIZE <= size <= BLOCK_SIZE:
        raise NNCodecError(
            f"block size {size} is not one of {LEAST_BLOCK_SIZE} to {BLOCK_SIZE} bytes"
        )


def lane_geometry(
    size: int,
    max_lanes: int = DEFAULT_LANES,
    max_table_bits: int = 0,
    lane_bytes: int = LANE_BYTES,
) -> Geometry:
    """The geometry of a block: a pure function of its length and the level's bounds."""
    lanes = 1
    while lanes < max_lanes and lanes * 2 * lane_bytes <= size:
        lanes *= 2
    bits = min(max_table_bits, needed_table_bits(size)) if max_table_bits else 0
    return Geometry(lanes, PREFIX_BYTES if lanes > 1 else 0, bits)


def needed_table_bits(size: int) -> int:
    """Bits of a table that a block of ``size`` bytes does not overfill: 96 bytes of it a byte."""
    return max(MIN_TABLE_BITS, (size * 3 // 2 - 1).bit_length())


def lane_lengths(size: int, lanes: int) -> list[int]:
    """Lengths of ``lanes`` contiguous runs of ``size`` bytes, longer ones first."""
    short, longer = divmod(size, lanes)
    return [short + (i < longer) for i in range(lanes)]


def to_lanes(body: Bytes, lanes: int) -> Bytes:
    """Cut (n,) bytes into (lanes, longest); shorter lanes end in a zero that is never coded."""
    grid = np.zeros((lanes, -(-len(body) // lanes)), dtype=np.uint8)
    start = 0
    for row, length in zip(grid, lane_lengths(len(body), lanes), strict=True):
        row[:length] = body[start : start + length]
        start += length
    return grid


def from_lanes(grid: Bytes, size: int) -> Bytes:
    """Inverse of ``to_lanes``: (lanes, longest) -> (size,)."""
    lengths = lane_lengths(size, len(grid))
    return np.concatenate([row[:length] for row, length in zip(grid, lengths, strict=True)])


def active_lanes(size: int, lanes: int, step: int) -> int:
    """How many lanes still have a byte at this step; they are the first ones."""
    return lanes if step < size // lanes else size % lanes
