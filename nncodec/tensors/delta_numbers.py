"""The numbers of a tensor on two scales: in order, so that neighbours differ by one, and at equal
distances, so that changes can be added up. The readable twin of csrc/delta_numbers.h.
"""

from __future__ import annotations

from dataclasses import dataclass

from nncodec.tensors.block_fields import BYTE, LAYOUTS
from nncodec.tensors.dtypes import Dtype

FINE = 3  # bits of ordinals below one
MOST_FIXED = 60  # bits of fixed-point numbers, without the sign


def shifted(x: int, by: int) -> int:
    return x << by if by >= 0 else x >> -by


@dataclass(frozen=True)
class Scale:
    """``unit``: fixed-point numbers count the spacing of floats with this exponent, or of integers
    2^unit. ``floor``: floats with a smaller exponent are *small*, the same on the ordered scale."""

    unit: int
    floor: int


class Numbers:
    """The numbers of one tensor, as their bits. Any scale is taken."""

    def __init__(self, dtype: Dtype | None, scale: Scale) -> None:
        self.dtype, self.unit, self.largest, self.smallest = dtype, scale.unit, 0, 0
        layout = LAYOUTS.get(dtype, BYTE) if dtype else BYTE
        self.exponent_bits, self.mantissa = layout.exponent, layout.mantissa
        self.is_float = self.exponent_bits > 0
        self.bits = self.exponent_bits + self.mantissa
        if not self.is_float:
            self.unit = max(-24, min(0, scale.unit))
            return
        self.largest = (1 << self.bits) - 1
        floor = min(scale.floor, (1 << self.exponent_bits) - 1)
        self.smallest = (floor << self.mantissa) - 1 if floor else 0

    def magnitude(self, x: int) -> int:
        return x & self.largest

    def negative(self, x: int) -> bool:
        return self.is_float and x > self.largest

    def small(self, x: int) -> bool:
        return self.is_float and self.magnitude(x) <= self.smallest

    def exponent(self, x: int) -> int:
        return self.magnitude(x) >> self.mantissa

    def ordinal(self, x: int) -> int:
        """On the ordered scale; small numbers are 0."""
        if not self.is_float:
            return (x ^ 128) - 128 if self.dtype == Dtype.I8 else x - 128
        m = max(0, self.magnitude(x) - self.smallest)
        return -m if self.negative(x) else m

    def at(self, ordinal: int) -> int:
        """Inverse for what is not small; any other ordinal gives some number."""
        if not self.is_float:
            return (ordinal if self.dtype == Dtype.I8 else ordinal + 128) & 255
        m = abs(ordinal) + self.smallest & self.largest
        return m | self.largest + 1 if ordinal < 0 else m

    def fixed(self, x: int) -> int:
        """At equal distances, cut off towards zero; huge numbers all are 2^60."""
        if not self.is_float:
            return self.ordinal(x) << -self.unit
        e = max(1, self.exponent(x))
        whole = self.magnitude(x) & ((1 << self.mantissa) - 1)
        whole |= (self.exponent(x) > 0) << self.mantissa
        huge = whole and e - self.unit > MOST_FIXED - 1 - self.mantissa
        v = 1 << MOST_FIXED if huge else shifted(whole, e - self.unit) if whole else 0
        return -v if self.negative(x) else v

    def fine(self, v: int) -> int:
        """The ordinal of a fixed-point number, in eighths."""
        a = abs(v)
        if not self.is_float:
            m = shifted(a, self.unit + FINE)
        else:
            e = max(1, a.bit_length() - 1 - self.mantissa + self.unit)
            m = (e - 1 << self.mantissa + FINE) + shifted(a, self.unit - e + FINE)
            m = max(0, m - (self.smallest << FINE))
        return -m if v < 0 else m

    def spacing(self, ordinal: int) -> int:
        """log2 of the distance between neighbours of an ordinal, in fixed-point units."""
        if not self.is_float:
            return -self.unit
        m = min(abs(ordinal) + self.smallest, self.largest)
        return max(1, m >> self.mantissa) - self.unit


def choose_scale(dtype: Dtype | None, data: list[int], base: list[int]) -> Scale:
    """The unit is 2^-16 of what seven eighths of the changes do not exceed, the floor an exponent
    that all but a thousandth of the floats reach that are not zero."""
    plain = Numbers(dtype, Scale(0, 0))
    levels, exponents = [0] * 512, [0] * 256
    for x, b in zip(data, base, strict=True):
        ends = sorted((plain.exponent(x), plain.exponent(b))) if plain.is_float else (0, 0)
        finest = max(1, ends[0], ends[1] - 30) if plain.is_float else 0
        if plain.is_float and plain.magnitude(x):
            exponents[plain.exponent(x)] += 1
        if x != b:
            scaled = Numbers(dtype, Scale(finest, 0))
            levels[finest + abs(scaled.fixed(x) - scaled.fixed(b)).bit_length()] += 1
    changed, floats = sum(levels), sum(exponents)
    level, above = 511, levels[511]
    while level > 0 and above <= changed // 8:
        level -= 1
        above += levels[level]
    floor = 0
    if plain.is_float:
        below = exponents[0]
        while floor < (1 << plain.exponent_bits) - 1 and below <= floats // 1024:
            floor += 1
            below += exponents[floor]
    return Scale(level - 16, floor)
