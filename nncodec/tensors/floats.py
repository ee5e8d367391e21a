"""Floats as exponents, mantissas and signs: the readable twin of csrc/tensor_floats.h.

The exponent is coded as its distance to an anchor. Integers only.
"""

from __future__ import annotations

from nncodec.tensors.block_fields import Layout
from nncodec.tensors.nibbles import BitCoder, Stage, hashed
from nncodec.tensors.parts import ESCAPE, ZERO, Around, Cut, Flag, Place, match_context
from nncodec.tensors.signs import SignModel, size_contexts

DICTIONARY_BITS = 18
GUESSED = 8  # tails that are shorter are soon coded bit by bit
NARROW = 13  # mantissa bits that float32 has more than float16
NARROW_MASK = (1 << NARROW) - 1


class FloatModel:
    def __init__(self, coder: BitCoder, signs: SignModel) -> None:
        self.coder, self.signs = coder, signs
        self.symbols = Stage((0, 8, 9, 9, 9, 12, 12, 14, 14, 12, 14, 14, 6, 12, 10))
        self.high = Stage((4, 12, 13, 14, 12, 13, 14, 12, 12, 12, 14, 8, 9, 10, 10))
        self.low = Stage((8, 12, 12, 14, 8, 12, 12, 14, 12, 12, 14, 12, 12, 10, 10))
        self.escapes = Stage((0, 8, 8, 8, 12, 12, 12, 14, 0, 0, 0, 0, 0, 0, 0))
        self.dictionary: dict[int, tuple[int, ...]] = {}  # top of a float -> its last two tails
        self.flags: dict[int, Flag] = {}
        self.tails: dict[tuple[int, bool, int], Flag] = {}
        self.hits = 0

    def begin(self, layout: Layout, anchor: int, role: int) -> None:
        self.layout, self.anchor, self.role = layout, anchor, role
        self.zeros = 0  # elements in a row whose tails were zeros
        self.table_bits = {1: 10, 2: 11, 4: 14}[layout.bytes]
        for stage in (self.symbols, self.high, self.low):
            stage.bound(self.table_bits)

    def cut(self, value: int) -> Cut:
        bits = self.layout
        mantissa = value & ((1 << bits.mantissa) - 1)
        exponent = value >> bits.mantissa & ((1 << bits.exponent) - 1)
        distance = self.anchor - exponent
        symbol = distance if 0 <= distance < ESCAPE else ESCAPE
        if exponent == mantissa == 0:
            symbol = ZERO
        sign = value >> (bits.mantissa + bits.exponent) & 1
        return Cut(value, symbol, sign, exponent, mantissa)

    def magnitude(self, c: Cut) -> int:
        """An element's size as a number that can be summed: 2^24 is the anchor's."""
        if c.exponent == 0:
            return 0
        below = max(-7, min(31, self.anchor - c.exponent))
        shift = self.layout.mantissa - 7
        fraction = c.mantissa >> shift if shift >= 0 else c.mantissa << -shift
        return (128 + fraction << 24) >> (below + 7)

    def code(self, known: Cut, p: Place, a: Around) -> Cut:
        c = Cut()
        self.symbols.select((0, *size_contexts(p, a, self.role, p.expected.symbol)))
        c.symbol = self.symbols.code(self.coder, known.symbol, 4, p.bucket, p.scale >> 1)
        if c.symbol == ESCAPE:
            c.exponent = self.code_escape(known, a.left.exponent)
        elif c.symbol != ZERO:
            c.exponent = max(0, self.anchor - c.symbol)
        same = p.matched and p.expected.exponent == c.exponent
        if c.symbol != ZERO:
            same = self.code_mantissa(c, known, p, a, same)
        c.sign = self.signs.code(self.coder, c, known.sign, p, a, self.role, same)
        c.value = (c.sign << self.layout.exponent | c.exponent) << self.layout.mantissa | c.mantissa
        return c

    def code_escape(self, known: Cut, left: int) -> int:
        role = self.role
        contexts = [0, role, left, *(hashed(left, role, i) for i in range(3, 8)), *[0] * 7]
        self.escapes.select(contexts)
        high = self.escapes.code(self.coder, known.exponent >> 4, 4, 0, 0)
        for i in range(4, 8):
            contexts[i] = hashed(high, 0 if i == 4 else role if i == 5 else left, 99)
        self.escapes.select(contexts)
        low = self.escapes.code(self.coder, known.exponent & 15, 4, 1, 1)
        return (high << 4 | low) & ((1 << self.layout.exponent) - 1)

    def code_mantissa(self, c: Cut, known: Cut, p: Place, a: Around, same: bool) -> bool:
        """Whether it is the one that the match expects is returned."""
        left, left2, up, role, s = a.left, a.left2, a.up, self.role, c.symbol
        # How large the exponent is beside what was expected of this place.
        distance = 8 * s + p.scale & 511
        bits = self.layout.mantissa
        first, second = min(bits, 4), max(0, min(bits - 4, 4))

        def part(mantissa: int, drop: int, keep: int) -> int:
            return mantissa >> drop & ((1 << keep) - 1)

        expected = part(p.expected.mantissa, bits - first, first)
        self.high.select(
            (
                s,
                s << 8 | role,
                distance << 4 | s,
                hashed(p.column, role, s),
                hashed(s, part(left.mantissa, bits - first, first), left.exponent),
                (distance >> 2) << 3 | p.trend,
                hashed(left.value, s),
                hashed(up.value, s),
                hashed(left.value, up.value, s),
                hashed(p.row_scale, s),
                hashed(left.value, left2.value, s),
                match_context(p, expected) if same else 0,
                distance,
                c.exponent,
                hashed(a.left3.value, s),
            )
        )
        bucket = p.bucket if same else 0
        wanted = part(known.mantissa, bits - first, first)
        m = c.mantissa = self.high.code(self.coder, wanted, first, bucket, 16 + s)
        same = same and m == expected
        if second:
            following = part(p.expected.mantissa, bits - first - second, second)
            self.low.select(
                (
                    s << 4 | m,
                    m << 8 | role,
                    hashed(c.exponent, m, role),
                    hashed(p.column, role, s << 4 | m),
                    m,
                    hashed(left.value, m),
                    hashed(distance, m),
                    hashed(left.value, up.value, s << 4 | m),
                    hashed(up.value, m),
                    hashed(left.exponent, s, m),
                    hashed(left.value, left2.value, s << 4 | m),
                    match_context(p, following) if same else 0,
                    hashed(p.row_scale, s, m),
                    role,
                    s,
                )
            )
            bucket = p.bucket if same else 0
            wanted = part(known.mantissa, bits - first - second, second)
            rest = self.low.code(self.coder, wanted, second, bucket, 16 + s)
            c.mantissa = c.mantissa << second | rest
            same = same and rest == following
        if bits > first + second:
            self.code_tail(c, known, p, up, same, bits - first - second)
        return same and c.mantissa == p.expected.mantissa

    def flag(self, number: int) -> Flag:
        return self.flags.setdefault(number, Flag.leaning_to_zero())

    def code_tail(self, c: Cut, known: Cut, p: Place, up: Cut, same: bool, bits: int) -> None:
        """The low bits of a mantissa are noise, but for values that came before and for those that
        were narrower once: guesses first, then bits."""
        mask = (1 << bits) - 1
        top, low = c.mantissa, known.mantissa & mask
        place = hashed(c.exponent, top) >> (32 - DICTIONARY_BITS)
        tails = self.dictionary.get(place, ())
        guesses = [p.expected.mantissa & mask] if same else []
        for tail in tails if bits >= GUESSED else ():
            if tail & mask not in guesses:
                guesses.append(tail & mask)
        for i, guess in enumerate(guesses):
            by_match = same and i == 0
            number = (
                2048 + p.match_length
                if by_match
                else i << 9 | (self.hits & 15) << 4 | (guess == 0) << 8 | (self.zeros > 2)
            )
            hit = self.flag(number).coded(self.coder, int(guess == low), 255)
            if not by_match and i == int(same):
                self.hits = self.hits << 1 | hit
            if hit:
                found = guess
                break
        else:
            found = self.code_noise(low, p, up, bits)
        if tails[:1] != (found,):
            self.dictionary[place] = (found, *tails[:1])
        c.mantissa = top << bits | found
        narrow = bits >= NARROW and c.mantissa & NARROW_MASK == 0
        self.zeros = self.zeros + 1 if narrow else 0

    def code_noise(self, low: int, p: Place, up: Cut, bits: int) -> int:
        noise, zero = bits, 0
        if bits >= NARROW:  # a float16 in a float32
            above = up.mantissa & NARROW_MASK == 0
            number = 3072 + (p.row_start << 4 | min(self.zeros, 7) << 1 | above)
            zero = self.flag(number).coded(self.coder, int(low & NARROW_MASK == 0), 255)
            noise -= NARROW * zero
        found = 0
        for i in range(noise):
            flag = self.tails.setdefault((zero, self.zeros > 2, i), Flag())
            found = found << 1 | flag.coded_noise(self.coder, low >> (bits - 1 - i) & 1, 1023)
        return found << (bits - noise)
