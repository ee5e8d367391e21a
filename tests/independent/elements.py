"""What is known where an element is coded, and contexts of it (FORMAT-tensors.md)."""

from dataclasses import dataclass

from .planes import Parts
from .range_decoder import RangeDecoder
from .stages import Stage, hashed


@dataclass
class Here:
    """The names of "A plane"; `up` is `u`, and so on. G is the group's context."""

    role: int
    col: int
    column: int
    R: int
    C: int
    S: int
    trend: int
    means: int
    length: int
    bucket: int
    e: Parts
    u: Parts
    ul: Parts
    ur: Parts
    left: Parts
    left2: Parts
    left3: Parts
    G: int
    q: int

    def matched(self, x: int) -> int:
        return 16 + 16 * (self.bucket - 1) + x if self.length else 0

    def sizes(self, r: int, x: int) -> tuple[int, ...]:
        """The fourteen contexts of "Sizes and signs"."""
        left, left2, u = self.left, self.left2, self.u
        return (
            r,
            self.S,
            self.R,
            self.C,
            (self.S >> 1) * 16 + left.symbol,
            (left.symbol * 16 + u.symbol) * 16 + left2.symbol,
            hashed(self.column, r),
            hashed(left.value, left2.value),
            (self.S >> 1) * 8 + self.trend,
            (self.R >> 2) * 128 + (self.C >> 2),
            hashed(left.value, u.value),
            self.matched(x),
            (u.symbol * 16 + self.ul.symbol) * 16 + self.ur.symbol,
            (self.S >> 3) * 16 + (left.symbol + left2.symbol + self.left3.symbol) // 3,
        )


class Signs:
    """The stage `signs`."""

    def __init__(self) -> None:
        self.stage = Stage(0, 8, 6, 12, 14, 12, 12, 14, 6, 10, 12, 12, 12, 12, 10)

    def code(self, coder: RangeDecoder, t: Here, c: Parts, same: int) -> int:
        left, role, means = t.left, t.role, t.means
        n = left.sign | t.u.sign << 1 | t.left2.sign << 2 | t.left3.sign << 3
        contexts = (
            0, role, means, means << 4 | c.symbol, hashed(t.column, role),
            n << 4 | c.symbol, n << 5 | means, hashed(left.value, t.u.value, c.symbol),
            2 + 2 * t.bucket + t.e.sign if same else 0,
            32 * role + means, c.symbol << 8 | role,
            hashed(c.exponent, c.mantissa, role),
            hashed(left.value, c.symbol), hashed(t.u.value, c.symbol), t.S,
        )  # fmt: skip
        return self.stage.code(coder, contexts, 1, t.bucket if same else 0, means)
