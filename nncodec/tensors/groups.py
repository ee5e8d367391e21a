"""Elements that share a scale, and running scales of rows and columns: of csrc/tensor_run.h."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nncodec.tensors.block_fields import Layout
from nncodec.tensors.parts import Cut, log2_eighths
from nncodec.tensors.planes import Form, Plane

PRIOR = 6  # elements that the mean of all counts for in a row's or column's
MOST_SCALE = 511


@dataclass
class Group:
    """Each group holds an extreme element, and the scale tells its size.

    ``left`` elements are to come; ``low`` and ``high`` are the extremes so far.
    """

    plane: Plane
    left: int = 0
    unit: int = 1 << 24
    low: int = 15
    high: int = 0

    @property
    def log(self) -> int:
        """Of the unit, in eighths."""
        return log2_eighths(max(1, self.unit)) - 192

    def add(self, c: Cut) -> None:
        if self.plane.form == Form.CODE:
            size = c.value >> (self.plane.bits - 4) & 15
        else:
            size = min(c.exponent >> 2, 31)
        self.low, self.high = min(self.low, size), max(self.high, size)
        self.left -= 1

    def context(self) -> int:
        """Below 2^12; 0 where no scales are shared."""
        if not self.plane.group:
            return 0
        places = min(7, (self.left - 1).bit_length())
        extremes = self.low << 4 if self.plane.form == Form.CODE else 0
        return (extremes | self.high) << 3 | places


def units_of(
    scales: Sequence[int], layout: Layout, factors: Sequence[int], groups: int
) -> list[int]:
    """What a step of each group's codes is, 2^24 for the largest binade.

    ``scales`` are the bits of floats, of which several groups may share one; ``factors``, if there
    are any, one integer for each group.
    """
    halves = [v >> (layout.mantissa - 10) for v in scales]  # but for the exponent's bits
    full = (1 << layout.exponent) - 1
    top = max(v >> 10 & full for v in halves)
    units = []
    for g in range(groups):
        v = halves[g * len(halves) // groups]
        exponent = v >> 10 & full
        unit = (1024 + (v & 1023)) << 14 >> (top - exponent) if exponent else 0
        units.append(unit * factors[g] >> 6 if factors else unit)
    return units


def mean_log(total: int, count: int, mean: int) -> int:
    """log2, in eighths, of a row's or column's mean, of which a little is the mean of all."""
    return min(MOST_SCALE, log2_eighths(max(1, (total + PRIOR * mean) // (count + PRIOR))))


def clamped(log: int) -> int:
    return max(0, min(MOST_SCALE, log))


def sign_class(total: int, much: int, some: int) -> int:
    """0 to 4: how far signs lean to minus or plus."""
    bounds = (-much, -some, some + 1, much + 1)
    return sum(total >= bound for bound in bounds)
