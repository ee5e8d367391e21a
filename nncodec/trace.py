"""What coding each byte of a block cost, and what was expected of it: the twin of ``csrc/trace.h``.

Costs are made of the integer probabilities that the range coder is given, in integers, so that
they are the same on every machine. A block's costs sum to its payload's bits but for the few that
end the stream, and less than a bit in a million that the coder wastes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt

from nncodec.numerics import COUNT_BITS

COST_BITS = 24  # costs are in units of 2^-24 bits
COST_ONE = 1 << COST_BITS
CANDIDATES = 5  # of the network, a byte

Integers = npt.NDArray[np.integer]


def log2_fixed(x: int) -> int:
    """log2 of ``x`` >= 1 in units of 2^-24, rounded down.

    Each squaring of the mantissa gives a bit (Majithia and Levan, "A note on base-2 logarithm
    computations", 1973); it keeps 31 bits, and what is cut off makes the result too small by less
    than 2^-24 in all.
    """
    whole = x.bit_length() - 1
    mantissa = x >> whole - 31 if whole > 31 else x << 31 - whole  # in [2^31, 2^32)
    result = whole
    for _ in range(COST_BITS):
        mantissa = mantissa * mantissa >> 31
        bit = mantissa >> 32
        mantissa >>= bit
        result = result << 1 | bit
    return result


@dataclass(frozen=True)
class Trace:
    """One entry a byte of an n-byte block, at its position; (0,) of what there was not."""

    cost: Integers  # (n,) uint32: of the payload, in units of 2^-24 bits
    network: Integers  # (n,) uint32: what it would have been by the network's counts alone
    top: Integers  # (n, 5) uint8: the network's likeliest bytes, the likeliest first, then by value
    top_p: Integers  # (n, 5) uint16: their probabilities of 65536, rounded down
    rank: Integers  # (n,) uint8: how many bytes the network had put before this one
    expected: Integers  # (n,) int16: the byte that the match model expected, or -1
    match_length: Integers  # (n,) uint16: bytes since the match's last miss, at most 65535

    @classmethod
    def empty(cls, size: int, network: bool, mixer: bool) -> Trace:
        n, m = size if network else 0, size if mixer else 0
        return cls(
            cost=np.zeros(size, np.uint32),
            network=np.zeros(n, np.uint32),
            top=np.zeros((n, CANDIDATES), np.uint8),
            top_p=np.zeros((n, CANDIDATES), np.uint16),
            rank=np.zeros(n, np.uint8),
            expected=np.full(m, -1, np.int16),
            match_length=np.zeros(m, np.uint16),
        )

    def cut(self, begin: int, end: int) -> Trace:
        """That of the bytes ``begin`` to ``end``."""
        return replace(self, **{f.name: getattr(self, f.name)[begin:end] for f in fields(self)})

    # What follows fills it byte by byte, in the readable twins of the coders.

    def add_network(self, at: int, counts: Sequence[int], symbol: int) -> None:
        """What the network's 256 ``counts`` say of the byte at a position."""
        self.network[at] = (COUNT_BITS << COST_BITS) - log2_fixed(counts[symbol])
        order = sorted(range(len(counts)), key=lambda s: (-counts[s], s))
        self.rank[at] = order.index(symbol)
        for i, candidate in enumerate(order[:CANDIDATES]):
            self.top[at, i] = candidate
            self.top_p[at, i] = min(counts[candidate] >> COUNT_BITS - 16, 65535)

    def add_match(self, at: int, expected: int, length: int) -> None:
        """What the match model expects, unless that is -1."""
        if expected >= 0:
            self.expected[at], self.match_length[at] = expected, length

    def add_cost(self, at: int, probabilities: Sequence[int]) -> None:
        """The eight probabilities, of 65536, of the bits that came."""
        self.cost[at] = byte_cost(probabilities)


def byte_cost(probabilities: Sequence[int]) -> int:
    """What a byte cost whose eight bits had these probabilities, of 65536; four fill 64 bits."""
    cost = 8 * 16 << COST_BITS
    for half in (probabilities[:4], probabilities[4:]):
        cost -= log2_fixed(math.prod(half))
    return cost
