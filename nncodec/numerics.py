"""Numeric constants and tables of the exact engine (docs/FORMAT-network.md): they all decide bits.

A change of any value here, or of any rounding in an engine, is a new ``NUMERIC_VERSION``; the
version enters every model's hash, so an archive never meets arithmetic other than its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from nncodec.errors import InvalidModelError

NUMERIC_VERSION = 0

T = TypeVar("T", bound=Any)  # an array of numpy or torch

COUNT_BITS = 24  # the 256 counts of a distribution sum to 2^24; each is at least 1
COUNT_TOTAL = 1 << COUNT_BITS

ATTENTION_ONE = 255  # attention weights are integers in [0, 255]; the strongest key gets 255
MASS_BITS = 23  # unnormalised probabilities are integers in [0, 2^23] before they become counts
EXPONENT_FLOOR = -24.0  # differences of logits below this (in bits) count as this
SCALE_FLOOR = 2.0**-40  # absmax never falls below: no denormals, no division by zero

# Models over tokens (nncodec/causal/exact), of many symbols and long contexts, need finer integers.
WIDE_COUNT_BITS = 32
WIDE_COUNT_TOTAL = 1 << WIDE_COUNT_BITS
WIDE_MASS_BITS = 30
WIDE_EXPONENT_FLOOR = -32.0  # below half of a mass of 1
WIDE_SHARE_BITS = 28  # a mass times the truncated reciprocal of the sum, shifted by this
SQUARES_ONE = 32767  # codes of 16 bits, whose squares tell a vector's size
ACTIVATION_LIMIT = 2.0**20  # inner activations are clamped: no product can overflow
LOG2_E = float.fromhex("0x1.715476p+0")  # binary32

# 2^f for f in [-1/2, 1/2], lowest power first: minimax in relative error (7.5e-5), which costs
# below 1e-8 bits a byte. Every coefficient is exact in binary32.
EXP2_COEFFICIENTS = tuple(
    float.fromhex(c) for c in ("0x1.fff692p-1", "0x1.62f31ap-1", "0x1.f0de1ap-3", "0x1.c3f754p-5")
)

ROPE_BITS = 14

NGRAM_MULTIPLIER = 0x2F0B4C47  # odd and below 2^30, as the next one: products stay below 2^63
NGRAM_MIXER = 0x2C1B3C6D


# 256 * log2(1 + i / 256), rounded: no entry is near a rounding boundary (tested).
LOG2_TABLE = np.array([round(256 * math.log2(1 + i / 256)) for i in range(256)])


def code_length(counts: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Cost of symbols with these counts of 2^24, in 256ths of a bit, to about half of one."""
    mantissa, exponent = np.frexp(counts.astype(np.float64))  # exact: counts = m 2^e, m in [.5, 1)
    fraction = LOG2_TABLE[(mantissa * 512).astype(np.int64) - 256]
    length: npt.NDArray[np.int64] = 256 * (COUNT_BITS + 1 - exponent.astype(np.int64)) - fraction
    return length


def attention_one(context: int) -> int:
    """The attention weight of the strongest key, of 16 bits: as large as exact sums allow.

    All weights of a context together stay below 2^24, so that their sum is a binary32 number and
    weighted values fit into 32 bits.
    """
    return min(65535, (1 << 24) // context - 1)


def ngram_row(tokens: Sequence[T], bits: int) -> T:
    """Which row of a table of ``2**bits`` an n-gram has: ``tokens`` are its n, the oldest first.

    Each is an array of int64 (numpy or torch, any one shape) in [0, 256]. All integers on the way
    are below 2^63.
    """
    h = tokens[0] * 0 + len(tokens)
    for token in tokens:
        h = (h * NGRAM_MULTIPLIER + token + 1) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * NGRAM_MIXER) & 0xFFFFFFFF
    row: T = h >> (32 - bits)
    return row


def rope_table(period: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """cos and sin of ``2 pi j / period`` for j in [0, period), as multiples of 2^-14 in float32.

    Rounding to 14 bits makes the table independent of the math library: cosines come from float64
    (error near 1e-16), and a period with an entry within 1e-9 of a rounding boundary is refused:
    InvalidModelError. Multiples of 2^-14 up to 1 are exact in binary32.
    """
    quarter = period // 4
    scale = 1 << ROPE_BITS
    exact = [scale * math.cos(2 * math.pi * j / period) for j in range(quarter)]
    wave = [round(x) for x in exact]
    if any(abs(x - code) > 0.5 - 1e-9 for x, code in zip(exact, wave, strict=True)):
        raise InvalidModelError(f"rope_period {period} has an entry too close to a rounding tie")
    half_turn = np.array([*wave, 0, *(-x for x in wave[:0:-1])], dtype=np.int32)
    cos = np.concatenate((half_turn, -half_turn)).astype(np.float32) / np.float32(scale)
    return cos, np.roll(cos, quarter)
