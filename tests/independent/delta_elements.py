"""Elements of a delta block (FORMAT-tensors.md, "Delta (kind 7)", "An element")."""

from dataclasses import dataclass

from .numbers import Numbers
from .range_decoder import RangeDecoder
from .stages import Flags, Stage, clamp, hashed, plain


@dataclass
class Around:
    """What is known where an element is coded, by the names of "Contexts"."""

    numbers: Numbers
    b: int
    expected: int
    role: int
    column: int
    S: int
    R: int
    C: int
    V: int
    L: int
    fraction: int
    drift: int
    edge: int
    size: int
    means: int
    recent: int
    sizes: int
    steps: int
    errs: int
    movs: int

    def with_drift(self, n: int) -> int:
        return 0 if self.drift == 0 else 1 + (n == (self.drift & 1))


class Elements:
    """What a block has learned: it goes on from item to item."""

    def __init__(self, coder: RangeDecoder) -> None:
        self.coder = coder
        self.classes = Stage(11, 9, 9, 9, 10, 14, 9, 14, 14, 13, 14, 14, 14, 16, 12)
        self.lows = Stage(5, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 16, 14)
        self.signs = Stage(8, 12, 14, 12, 12, 14, 14, 14, 14, 14, 14, 14, 14, 16, 12)
        self.rest, self.same, self.zero, self.tiny = (Flags(n) for n in (28 * 28, 64, 2, 32))

    def code(self, t: Around) -> tuple[int, int]:
        """An element: its bits, and `step`."""
        S, R, L, fraction = t.S, t.R, t.L, t.fraction
        contexts = (
            (S >> 1) << 3 | fraction, S, R, t.C, (t.V >> 1) << 2 | fraction >> 1,
            hashed(S >> 2, t.sizes), L, (L >> 2) << 7 | S >> 2, hashed(S >> 2, t.role),
            (S >> 1) << 5 | t.edge, hashed(t.size >> 3, t.role, R >> 3), hashed(t.steps, S >> 3),
            hashed(t.recent, S >> 3, fraction), hashed(t.b, t.role), (S >> 1) << 4 | t.drift,
        )  # fmt: skip
        pair = self.classes.code(self.coder, contexts, 4, t.drift, S >> 1)
        if pair == 15:
            return self.small_number(t), 0
        if pair == 0:
            y = self.low(t, 0, 2, 1, t.drift, 0)
            n = self.sign(t, 0, 1) if y else 0
        else:
            n = self.sign(t, pair, 0)
            y = plain(self.coder, 34) if pair == 14 else self.large(t, pair, n)
        d = -y if n else y
        return t.numbers.at(t.expected + d), clamp(d, -31, 31)

    def large(self, t: Around, pair: int, n: int) -> int:
        low = self.low(t, pair, n, 4, 16 + t.with_drift(n), 16 * pair + (t.edge >> 1))
        w = 2 * pair + (low >> 3)
        r = max(0, w - 4)
        y = (8 + (low & 7) << w - 1) >> 3 + r
        for i in range(r):
            y = 2 * y + self.rest.flag(self.coder, 28 * w + i, 1023)
        return y

    def low(self, t: Around, pair: int, n: int, bits: int, a: int, b: int) -> int:
        key = pair << 2 | n
        S, fraction = t.S, t.fraction
        contexts = (
            pair, hashed(S, key), hashed(t.R, key), hashed(t.C, key),
            hashed(S >> 1, key, fraction),
            hashed(t.sizes, key), hashed(t.L, key), hashed(t.V, key, fraction),
            hashed(S >> 2, key, t.role),
            hashed(S >> 2, key, t.edge), hashed(t.size >> 3, key, t.edge),
            hashed(t.steps, key, S >> 4), hashed(t.recent, key, S >> 3), hashed(t.b, key),
            hashed(S >> 1, key, (t.drift >> 1) << 2 | t.with_drift(n)),
        )  # fmt: skip
        return self.lows.code(self.coder, contexts, bits, a, b)

    def sign(self, t: Around, pair: int, detail: int) -> int:
        key = pair << 1 | detail
        S, edge, means, fraction = t.S, t.edge, t.means, t.fraction
        contexts = (
            key << 3 | fraction, hashed(S >> 1, fraction), hashed(key, edge, S >> 3),
            key << 5 | means, key << 5 | t.errs, hashed(t.drift, key, fraction),
            hashed(t.drift, S >> 2, key),
            hashed(means, t.errs), hashed(t.role, edge & 1, key), hashed(t.column, t.role),
            hashed(t.size >> 3, key, edge & 1), hashed(t.movs, key),
            hashed(t.L >> 2, fraction, key), hashed(t.b, key), edge << 5 | means,
        )  # fmt: skip
        return self.signs.code(self.coder, contexts, 1, t.drift + 16 * (pair == 15), means)

    def small_number(self, t: Around) -> int:
        numbers = t.numbers
        small = numbers.small(t.b)
        if small and self.same.flag(self.coder, t.recent, 255):
            return t.b
        m = 0
        if not self.zero.flag(self.coder, small, 255):
            for i in reversed(range(numbers.B)):
                m = 2 * m + self.tiny.flag(self.coder, i, 255)
        return m + (self.sign(t, 15, numbers.negative(t.b)) << numbers.B)
