"""Elements of integer planes and of codes (FORMAT-tensors.md, "Integers", "Codes")."""

from .elements import Here, Signs
from .planes import Parts, Plane, class_of, level
from .range_decoder import RangeDecoder
from .stages import Flags, Stage, hashed


class Integers:
    """What a block has learned of integers."""

    def __init__(self, coder: RangeDecoder, signs: Signs) -> None:
        self.coder, self.signs = coder, signs
        self.upper = Stage(14, 9, 10, 10, 10, 12, 12, 14, 14, 12, 14, 14, 6, 12, 10)
        self.lower = Stage(14, 12, 14, 14, 12, 14, 12, 14, 14, 12, 14, 14, 14, 14, 14)
        self.lengths, self.excess, self.rests = Flags(15), Flags(16 * 16), Flags(2 * 8 * 16)

    def start_plane(self, plane: Plane) -> None:
        self.plane = plane
        self.wide = plane.width == 2
        self.shift = min(plane.anchor, 9) if self.wide else 0
        for stage in (self.upper, self.lower):
            stage.bind(12 if self.wide else 10)

    def code(self, t: Here) -> Parts:
        """An element."""
        plane, coder = self.plane, self.coder
        left, u, q, role, S = t.left, t.u, t.q, t.role, t.S
        x = min(t.e.exponent >> self.shift, 127) if self.wide else t.e.exponent & 127
        contexts = (hashed(t.G, q), *t.sizes(2 * role | (q & 1), x >> 4))
        h = self.upper.code(coder, contexts, 3, t.bucket + 4 * q, S >> 1)
        same = int(t.length > 0 and x >> 4 == h)
        k = 4 * h | q
        contexts = (
            hashed(t.G, k), k << 8 | role, S << 5 | min(k, 31), hashed(t.column, role, k),
            left.symbol << 5 | k,
            hashed(t.R, k), hashed(t.C, k), hashed(left.value, u.value, k), hashed(left.value, k),
            hashed(u.value, k), hashed(left.value, t.left2.value, k),
            t.matched(x & 15) if same else 0, hashed(S, left.symbol, k),
            hashed(S >> 1, t.trend, k), hashed(u.symbol, left.symbol, k),
        )  # fmt: skip
        a = (t.bucket if same else 0) + 4 * min(h, 3) + 16 * q
        low = self.lower.code(coder, contexts, 4, a, S >> 1)
        m = 16 * h + low
        same = int(same and x & 15 == low)
        if self.wide and m == 127:
            m += self.more()
        for i in reversed(range(self.shift)):
            guess = t.e.exponent >> i & 1 if same else 0
            index = (8 * same + min(m, 7)) * 16 + i
            bit = guess ^ self.rests.noise_flag(coder, index, 1023)
            same = int(same and bit == guess)
            m = 2 * m + bit
        c = Parts(0, class_of(level(m, q)), 0, m, 0)
        negative = self.signs.code(coder, t, c, same) if m > 0 or not self.wide else 0
        v = m
        if negative:
            v = -m if m > 0 else -128
        if not self.wide and not plane.signed:
            v += plane.anchor
        c = plane.cut(v % (65536 if self.wide else 256))
        return c._replace(symbol=class_of(level(c.exponent, q)))

    def more(self) -> int:
        """What a size of 127 (and more) exceeds 127 by."""
        n = 0
        while n < 15 and self.lengths.flag(self.coder, n, 255):
            n += 1
        y = 1
        for i in reversed(range(n)):
            y = 2 * y + self.excess.flag(self.coder, 16 * n + i, 255)
        return y - 1


class Codes:
    """What a block has learned of codes."""

    def __init__(self, coder: RangeDecoder) -> None:
        self.coder = coder
        self.codes = Stage(12, 8, 9, 9, 9, 14, 8, 12, 14, 12, 14, 14, 6, 12, 14)
        self.fifth = Stage(4, 12, 13, 12, 12, 12, 12, 12, 12, 12, 12, 8, 12, 12, 12)
        self.codes.bind(12)

    def start_plane(self, plane: Plane) -> None:
        self.plane = plane

    def code(self, t: Here) -> Parts:
        """An element."""
        left, left2, u, e, role = t.left, t.left2, t.u, t.e, t.role
        R, C, S = t.R, t.C, t.S
        d = self.plane.code_bits - 4
        x = e.value >> d & 15
        contexts: tuple[int, ...] = (
            t.G, role, S, R, C, hashed(S >> 1, t.G),
            (left.value >> d) << 4 | left2.value >> d,
            hashed(t.column, role), hashed(left.value, left2.value, t.left3.value),
            (S >> 1) * 8 + t.trend, (R >> 2) * 128 + (C >> 2), hashed(t.means, S >> 2),
            t.matched(x), hashed(u.value >> d, t.ul.value >> d, left.value >> d),
            hashed(t.G, R >> 1),
        )  # fmt: skip
        h = v = self.codes.code(self.coder, contexts, 4, t.bucket, S >> 1)
        if d == 1:
            same = t.length > 0 and x == h
            contexts = (
                h, h << 8 | role, S << 4 | h, hashed(t.column, role, h), hashed(left.value, h),
                hashed(t.G, h), hashed(u.value, h), hashed(R, h), hashed(C, h),
                hashed(left.value, u.value, h), hashed(left.value, left2.value, h),
                t.matched(e.value & 1) if same else 0, hashed(t.G, S >> 2, h),
                hashed(S >> 1, t.trend, h), hashed(t.means, h),
            )  # fmt: skip
            a = 16 + (t.bucket if same else 0)
            v = 2 * h + self.fifth.code(self.coder, contexts, 1, a, 16 * h)
        return self.plane.cut(v)
