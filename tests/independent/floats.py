"""Elements of float planes (FORMAT-tensors.md, "Floats")."""

from .elements import Here, Signs
from .planes import ESCAPE, ZERO, Parts, Plane
from .range_decoder import RangeDecoder
from .stages import LEANING, Flags, Stage, clamp, hashed


class Floats:
    """What a block has learned of floats."""

    def __init__(self, coder: RangeDecoder, signs: Signs) -> None:
        self.coder, self.signs = coder, signs
        self.symbols = Stage(0, 8, 9, 9, 9, 12, 12, 14, 14, 12, 14, 14, 6, 12, 10)
        self.high = Stage(4, 12, 13, 14, 12, 13, 14, 12, 12, 12, 14, 8, 9, 10, 10)
        self.low = Stage(8, 12, 12, 14, 8, 12, 12, 14, 12, 12, 14, 12, 12, 10, 10)
        self.escapes = Stage(0, 8, 8, 8, 12, 12, 12, 14, 0, 0, 0, 0, 0, 0, 0)
        self.pairs: dict[int, tuple[int, ...]] = {}
        self.guess_flags = Flags(4096, LEANING)
        self.tails = Flags(2 * 2 * 32)
        self.hits = self.zeros = 0

    def start_plane(self, plane: Plane) -> None:
        self.plane = plane
        self.zeros = 0
        for stage in (self.symbols, self.high, self.low):
            stage.bind({1: 10, 2: 11, 4: 14}[plane.width])

    def code(self, t: Here) -> Parts:
        """An element."""
        plane = self.plane
        contexts = (0, *t.sizes(t.role, t.e.symbol))
        s = self.symbols.code(self.coder, contexts, 4, t.bucket, t.S >> 1)
        exponent = mantissa = 0
        if s == ESCAPE:
            exponent = self.escape(t)
        elif s != ZERO:
            exponent = max(0, plane.anchor - s)
        same = int(t.length > 0 and t.e.exponent == exponent)
        if s != ZERO:
            mantissa, same = self.mantissa(t, s, exponent, same)
        c = Parts(0, s, 0, exponent, mantissa)
        sign = self.signs.code(self.coder, t, c, same)
        value = (sign << plane.exponent_bits | exponent) << plane.mantissa_bits | mantissa
        return Parts(value, s, sign, exponent, mantissa)

    def escape(self, t: Here) -> int:
        x, role = t.left.exponent, t.role
        nothing = (0,) * 7
        contexts = (0, role, x, *(hashed(x, role, k) for k in range(3, 8)), *nothing)
        h = self.escapes.code(self.coder, contexts, 4, 0, 0)
        of_h = (hashed(h, 0, 99), hashed(h, role, 99), hashed(h, x, 99), hashed(h, x, 99))
        contexts = (0, role, x, hashed(x, role, 3), *of_h, *nothing)
        low = self.escapes.code(self.coder, contexts, 4, 1, 1)
        return (16 * h + low) & (1 << self.plane.exponent_bits) - 1

    def mantissa(self, t: Here, s: int, exponent: int, same: int) -> tuple[int, int]:
        """The mantissa, and whether it is the expected one."""
        bits = self.plane.mantissa_bits
        left, u, e, role, column = t.left, t.u, t.e, t.role, t.column
        d = (8 * s + t.S) & 511
        f = min(bits, 4)
        k = clamp(bits - 4, 0, 4)
        x = e.mantissa >> bits - f
        contexts: tuple[int, ...] = (
            s, s << 8 | role, d << 4 | s, hashed(column, role, s),
            hashed(s, left.mantissa >> bits - f, left.exponent), (d >> 2) << 3 | t.trend,
            hashed(left.value, s), hashed(u.value, s), hashed(left.value, u.value, s),
            hashed(t.R, s), hashed(left.value, t.left2.value, s),
            t.matched(x) if same else 0, d, exponent, hashed(t.left3.value, s),
        )  # fmt: skip
        m = self.high.code(self.coder, contexts, f, t.bucket if same else 0, 16 + s)
        same = int(same and m == x)
        top = m
        if k > 0:
            x = e.mantissa >> bits - f - k & (1 << k) - 1
            contexts = (
                s << 4 | m, m << 8 | role, hashed(exponent, m, role),
                hashed(column, role, s << 4 | m), m, hashed(left.value, m), hashed(d, m),
                hashed(left.value, u.value, s << 4 | m), hashed(u.value, m),
                hashed(left.exponent, s, m), hashed(left.value, t.left2.value, s << 4 | m),
                t.matched(x) if same else 0, hashed(t.R, s, m), role, s,
            )  # fmt: skip
            n = self.low.code(self.coder, contexts, k, t.bucket if same else 0, 16 + s)
            top = top << k | n
            same = int(same and n == x)
        rest = bits - f - k
        mantissa = self.tail(t, exponent, top, same, rest) if rest > 0 else top
        return mantissa, int(same and mantissa == e.mantissa)

    def tail(self, t: Here, exponent: int, top: int, same: int, size: int) -> int:
        """The last `size` (T) bits behind `top` (t); gives the mantissa."""
        place = hashed(exponent, top) >> 14
        most = (1 << size) - 1
        guesses = [t.e.mantissa & most] if same else []
        if size >= 8:
            for v in self.pairs.get(place, ()):
                if v & most not in guesses:
                    guesses.append(v & most)
        for i, v in enumerate(guesses):
            number = i << 9 | (v == 0) << 8 | (self.hits & 15) << 4 | (self.zeros > 2)
            if same and i == 0:
                number = 2048 + t.length
            hit = self.guess_flags.flag(self.coder, number, 255)
            if i == same:
                self.hits = (2 * self.hits + hit) & 15
            if hit:
                r = v
                break
        else:
            r = self.plain_tail(t, size)
        pair = self.pairs.get(place, ())
        if not pair or pair[0] != r:
            self.pairs[place] = (r, *pair[:1])
        mantissa = top << size | r
        self.zeros = self.zeros + 1 if size >= 13 and mantissa % 2**13 == 0 else 0
        return mantissa

    def plain_tail(self, t: Here, size: int) -> int:
        """A tail that no guess hit."""
        n, zero = size, 0
        if size >= 13:
            above = t.u.mantissa % 2**13 == 0
            number = 3072 + (16 * (t.col == 0) | 2 * min(self.zeros, 7) | above)
            zero = self.guess_flags.flag(self.coder, number, 255)
            n -= 13 * zero
        r = 0
        for i in range(n):
            index = (2 * zero + (self.zeros > 2)) * 32 + i
            r = 2 * r + self.tails.noise_flag(self.coder, index, 1023)
        return r << size - n
