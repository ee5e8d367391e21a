"""What the models of tensors share: the readable twin of csrc/tensor_parts.h.

An element in its parts, what is known of its place, small tools. Integers only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nncodec.coder import PythonRangeDecoder, PythonRangeEncoder
from nncodec.mixing import ONE, AdaptiveBit
from nncodec.tensors.nibbles import BitCoder

ESCAPE, ZERO = 14, 15  # symbols of floats, beside the distances to the anchor
NOISE = ONE // 32


class Encoding:
    """A ``BitCoder`` that is told the decisions."""

    knows = True

    def __init__(self) -> None:
        self.coder = PythonRangeEncoder()

    def code(self, bit: int, p16: int) -> int:
        self.coder.encode_bit(p16 << 8, bit)
        return bit


class Decoding:
    """A ``BitCoder`` that finds them in a payload."""

    knows = False

    def __init__(self, payload: bytes) -> None:
        self.coder = PythonRangeDecoder(payload)

    def code(self, bit: int, p16: int) -> int:
        del bit
        return self.coder.decode_bit(p16 << 8)


class Flag(AdaptiveBit):
    """A single adaptive decision, outside of the mixers."""

    def coded(self, coder: BitCoder, bit: int, limit: int) -> int:
        return self.coded_as(coder, bit, limit, self.p16())

    def coded_noise(self, coder: BitCoder, bit: int, limit: int) -> int:
        """Of what is most likely noise: an estimate that is near one half by chance would cost,
        not gain."""
        p = self.p16()
        return self.coded_as(coder, bit, limit, ONE // 2 if abs(p - ONE // 2) < NOISE else p)

    def coded_as(self, coder: BitCoder, bit: int, limit: int, p16: int) -> int:
        bit = coder.code(bit, max(1, min(ONE - 1, p16)))
        self.update(bit, limit)
        return bit

    @classmethod
    def leaning_to_zero(cls) -> Flag:
        flag = cls(1 << 12)
        flag.n = 4
        return flag


def log2_eighths(x: int) -> int:
    """log2 in eighths; x > 0."""
    k = x.bit_length() - 1
    return 8 * k + ((x >> (k - 3) if k >= 3 else x << (3 - k)) & 7)


def magnitude_class(x: int) -> int:
    """0 to 3, then half octaves."""
    return x if x < 4 else min(15, log2_eighths(x) // 4)


@dataclass
class Cut:
    """An element in its parts. ``value``: its bits as they lie in memory. ``symbol``: its size.

    Symbols of floats are the distance of the exponent to the anchor, ``ESCAPE`` or ``ZERO``; of
    integers the magnitude's logarithm.
    """

    value: int = 0
    symbol: int = 0
    sign: int = 0
    exponent: int = 0  # of integers the magnitude
    mantissa: int = 0


@dataclass
class Around:
    """The neighbours of an element that come before it."""

    left: Cut = field(default_factory=Cut)
    left2: Cut = field(default_factory=Cut)
    left3: Cut = field(default_factory=Cut)
    up: Cut = field(default_factory=Cut)
    up_left: Cut = field(default_factory=Cut)
    up_right: Cut = field(default_factory=Cut)


@dataclass
class Place:
    """What is known of an element before it is coded. Scales are log2 in eighths."""

    column: int
    row_start: bool
    row_scale: int
    column_scale: int
    scale: int
    trend: int
    row_sign: int
    column_sign: int
    matched: bool
    expected: Cut
    match_length: int  # elements
    bucket: int  # 0 to 3 by them
    group: int  # what the elements with the same scale were so far, below 2^12
    quantum: int  # of trellis-coded integers 2 or 3, the quantiser; else 0

    @property
    def sign_means(self) -> int:
        return self.row_sign * 5 + self.column_sign


def match_context(p: Place, symbol: int) -> int:
    return 16 + (p.bucket - 1) * 16 + symbol if p.matched else 0
