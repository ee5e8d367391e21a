"""What predicts how far a number moved from its base, and the contexts made of it: the readable
twin of csrc/delta_contexts.h.
"""

from __future__ import annotations

from dataclasses import dataclass

from nncodec.tensors.delta_numbers import Numbers
from nncodec.tensors.groups import sign_class
from nncodec.tensors.nibbles import hashed
from nncodec.tensors.parts import log2_eighths

FAR, SMALL = 14, 15  # pairs of classes that are none
FAR_CLASS = 2 * FAR
PRIOR = 6  # sizes that the mean of all counts for in another mean


class Mean:
    """Running mean of sizes, in units of 2^-8."""

    def __init__(self) -> None:
        self.sum = self.count = 0

    def add(self, size: int) -> None:
        self.sum += size << 8
        self.count += 1

    def value(self) -> int:
        return max(1, self.sum // self.count) if self.count else 1

    def log(self, mean: int) -> int:
        """log2 in eighths, of it and a little of the mean of all."""
        return log2_eighths(max(1, (self.sum + PRIOR * mean) // (self.count + PRIOR)))


@dataclass
class Move:
    """How an element moved."""

    change: int = 0  # in fixed-point units
    error: int = 0  # of that, what the prediction left over
    step: int = 0  # the coded difference of ordinals, within -31 to 31
    same: bool = True  # as the base


@dataclass
class Place:
    """What is known of an element before it is coded.

    Scales are log2 of changes, in eighths, beside the spacing of numbers there.
    """

    role: int
    column: int
    base: int
    expected: int  # ordinal
    fraction: int  # what that was rounded by, in eighths: 0 to 7
    predicted: int  # change
    scale: int
    row_scale: int
    column_scale: int
    move_scale: int
    local: int
    drift: int  # the predicted change beside the scale, and its sign: 0 to 15
    edge: int  # the expected number's sign and place in its binade: 0 to 16
    size: int  # exponent of the base and top bits of its mantissa
    sizes: int  # of the neighbours' errors, beside the spacing
    steps: int  # of the neighbours
    recent: int  # which neighbours are as in the base
    means: int  # signs of the row and of the column so far: 0 to 24
    errors: int  # signs of the neighbours'
    moves: int

    def with_drift(self, negative: int) -> int:
        """Whether the sign is the one of the predicted change."""
        return 1 + (negative == self.drift & 1) if self.drift else 0


def beside(log: int, spacing: int) -> int:
    return max(0, min(511, log + 32 - 8 * spacing))


def octaves(error: int, spacing: int) -> int:
    return max(1, min(31, abs(error).bit_length() - spacing + 8)) if error else 0


def sign_of(x: int) -> int:
    return 1 if x < 0 else 2 if x > 0 else 0


def drift_of(predicted: int, scale: int) -> int:
    ahead = log2_eighths((abs(predicted) << 8) + 1) - scale
    return 0 if ahead < -24 else max(1, min(7, (ahead >> 3) + 4)) << 1 | (predicted < 0)


def edge_of(numbers: Numbers, expected: int) -> int:
    if expected == 0:
        return 16
    return (abs(expected) >> max(0, numbers.mantissa - 3) & 7) << 1 | (expected < 0)


def size_of(numbers: Numbers, base: int) -> int:
    return numbers.magnitude(base) >> max(0, numbers.mantissa - 3) if numbers.is_float else base


def means_of(row_sign: int, column_sign: int) -> int:
    return 5 * sign_class(row_sign, 20, 4) + sign_class(column_sign, 12, 3)


def around(left: Move, left2: Move, above: Move, right: Move, spacing: int) -> dict[str, int]:
    """What the neighbours say: before, before that, above and above to the right."""
    return {
        "sizes": octaves(left.error, spacing) << 5 | octaves(above.error, spacing),
        "steps": left.step + 31 << 6 | above.step + 31,
        "errors": sign_of(left.error) * 9 + sign_of(above.error) * 3 + sign_of(left2.error),
        "moves": sign_of(left.change) * 9 + sign_of(above.change) * 3 + sign_of(right.change),
    }


def class_contexts(p: Place) -> tuple[int, ...]:
    return (
        p.scale >> 1 << 3 | p.fraction,
        p.scale,
        p.row_scale,
        p.column_scale,
        p.move_scale >> 1 << 2 | p.fraction >> 1,
        hashed(p.scale >> 2, p.sizes),
        p.local,
        p.local >> 2 << 7 | p.scale >> 2,
        hashed(p.scale >> 2, p.role),
        p.scale >> 1 << 5 | p.edge,
        hashed(p.size >> 3, p.role, p.row_scale >> 3),
        hashed(p.steps, p.scale >> 3),
        hashed(p.recent, p.scale >> 3, p.fraction),
        hashed(p.base, p.role),
        p.scale >> 1 << 4 | p.drift,
    )


def low_contexts(p: Place, pair: int, negative: int) -> tuple[int, ...]:
    key = pair << 2 | negative
    return (
        pair,
        hashed(p.scale, key),
        hashed(p.row_scale, key),
        hashed(p.column_scale, key),
        hashed(p.scale >> 1, key, p.fraction),
        hashed(p.sizes, key),
        hashed(p.local, key),
        hashed(p.move_scale, key, p.fraction),
        hashed(p.scale >> 2, key, p.role),
        hashed(p.scale >> 2, key, p.edge),
        hashed(p.size >> 3, key, p.edge),
        hashed(p.steps, key, p.scale >> 4),
        hashed(p.recent, key, p.scale >> 3),
        hashed(p.base, key),
        hashed(p.scale >> 1, key, p.drift >> 1 << 2 | p.with_drift(negative)),
    )


def sign_contexts(p: Place, key: int) -> tuple[int, ...]:
    return (
        key << 3 | p.fraction,
        hashed(p.scale >> 1, p.fraction),
        hashed(key, p.edge, p.scale >> 3),
        key << 5 | p.means,
        key << 5 | p.errors,
        hashed(p.drift, key, p.fraction),
        hashed(p.drift, p.scale >> 2, key),
        hashed(p.means, p.errors),
        hashed(p.role, p.edge & 1, key),
        hashed(p.column, p.role),
        hashed(p.size >> 3, key, p.edge & 1),
        hashed(p.moves, key),
        hashed(p.local >> 2, p.fraction, key),
        hashed(p.base, key),
        p.edge << 5 | p.means,
    )
