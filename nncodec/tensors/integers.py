"""Integers and small codes: the readable twin of csrc/tensor_integers.h.

Integers are cut into magnitude and sign, codes into their bits. Integers only.
"""

from __future__ import annotations

from collections import defaultdict

from nncodec.tensors.nibbles import BitCoder, Stage, hashed
from nncodec.tensors.parts import Around, Cut, Flag, Place, magnitude_class, match_context
from nncodec.tensors.planes import Form, Plane
from nncodec.tensors.signs import SignModel, size_contexts

ESCAPED = 127  # the magnitude that stands for this and all above


class IntegerModel:
    def __init__(self, coder: BitCoder, signs: SignModel) -> None:
        self.coder, self.signs = coder, signs
        self.high = Stage((14, 9, 10, 10, 10, 12, 12, 14, 14, 12, 14, 14, 6, 12, 10))
        self.low = Stage((14, 12, 14, 14, 12, 14, 12, 14, 14, 12, 14, 14, 14, 14, 14))
        self.codes = Stage((12, 8, 9, 9, 9, 14, 8, 12, 14, 12, 14, 14, 6, 12, 14))
        self.fifth = Stage((4, 12, 13, 12, 12, 12, 12, 12, 12, 12, 12, 8, 12, 12, 12))
        self.lengths = [Flag() for _ in range(15)]
        self.tails: defaultdict[tuple[bool, int, int], Flag] = defaultdict(Flag)
        self.excess = [[Flag() for _ in range(16)] for _ in range(16)]

    def begin(self, plane: Plane, anchor: int, role: int) -> None:
        self.plane, self.anchor, self.role = plane, anchor, role
        self.wide = plane.layout.bytes == 2
        self.shift = min(anchor, 9) if self.wide else 0
        self.table_bits = 12 if plane.form == Form.CODE or self.wide else 10
        for stage in (self.high, self.low, self.codes):
            stage.bound(self.table_bits)

    def cut(self, value: int) -> Cut:
        """What stands for zero is subtracted; bytes wrap around."""
        if self.plane.form == Form.CODE:
            x = value - self.anchor
        elif self.wide:
            x = as_signed(value, 16)
        else:
            x = as_signed(value if self.plane.signed else value - self.anchor, 8)
        symbol = magnitude_class(2 * abs(x) if self.plane.trellis else abs(x))
        return Cut(value, symbol, int(x < 0), abs(x))

    def code(self, known: Cut, p: Place, a: Around) -> Cut:
        code = self.code_small if self.plane.form == Form.CODE else self.code_integer
        return code(known, p, a)

    def code_small(self, known: Cut, p: Place, a: Around) -> Cut:
        """The upper four bits of a code, and the fifth if it has one."""
        drop, role, s = self.plane.bits - 4, self.role, p.scale
        left, up = a.left.value, a.up.value
        expected = p.expected.value >> drop & 15
        self.codes.select(
            (
                p.group,
                role,
                s,
                p.row_scale,
                p.column_scale,
                hashed(s >> 1, p.group),
                (left >> drop << 4 | a.left2.value >> drop) & 255,
                hashed(p.column, role),
                hashed(left, a.left2.value, a.left3.value),
                (s >> 1) * 8 + p.trend,
                (p.row_scale >> 2) * 128 + (p.column_scale >> 2),
                hashed(p.sign_means, s >> 2),
                match_context(p, expected),
                hashed(up >> drop, a.up_left.value >> drop, left >> drop),
                hashed(p.group, p.row_scale >> 1),
            )
        )
        value = self.codes.code(self.coder, known.value >> drop & 15, 4, p.bucket, s >> 1)
        if drop:
            value = value << 1 | self.code_fifth(
                value, known, p, a, p.matched and expected == value
            )
        return self.cut(value)

    def code_fifth(self, h: int, known: Cut, p: Place, a: Around, same: bool) -> int:
        left, up, s = a.left.value, a.up.value, p.scale
        self.fifth.select(
            (
                h,
                h << 8 | self.role,
                s << 4 | h,
                hashed(p.column, self.role, h),
                hashed(left, h),
                hashed(p.group, h),
                hashed(up, h),
                hashed(p.row_scale, h),
                hashed(p.column_scale, h),
                hashed(left, up, h),
                hashed(left, a.left2.value, h),
                match_context(p, p.expected.value & 1) if same else 0,
                hashed(p.group, s >> 2, h),
                hashed(s >> 1, p.trend, h),
                hashed(p.sign_means, h),
            )
        )
        return self.fifth.code(
            self.coder, known.value & 1, 1, 16 + (p.bucket if same else 0), h * 16
        )

    def code_integer(self, known: Cut, p: Place, a: Around) -> Cut:
        """The magnitude's upper three bits, its lower four, the sign; -128 is minus zero.

        Magnitudes of int16 are first shifted by the anchor, and their low bits follow; one that has
        more than seven bits still is the last of the upper ones, and what it has more follows.
        """
        q, s, role = p.quantum, p.scale, self.role
        seen, expected = self.seven_bits(known.exponent), self.seven_bits(p.expected.exponent)
        sizes = size_contexts(p, a, role << 1 | (q & 1), expected >> 4)
        self.high.select((hashed(p.group, q), *sizes))
        high = self.high.code(self.coder, seen >> 4, 3, p.bucket + 4 * q, s >> 1)
        same = p.matched and expected >> 4 == high
        h, left, up = high << 2 | q, a.left, a.up
        self.low.select(
            (
                hashed(p.group, h),
                h << 8 | role,
                s << 5 | min(h, 31),
                hashed(p.column, role, h),
                left.symbol << 5 | h,
                hashed(p.row_scale, h),
                hashed(p.column_scale, h),
                hashed(left.value, up.value, h),
                hashed(left.value, h),
                hashed(up.value, h),
                hashed(left.value, a.left2.value, h),
                match_context(p, expected & 15) if same else 0,
                hashed(s, left.symbol, h),
                hashed(s >> 1, p.trend, h),
                hashed(up.symbol, left.symbol, h),
            )
        )
        set_a = (p.bucket if same else 0) + 4 * min(high, 3) + 16 * q
        low = self.low.code(self.coder, seen & 15, 4, set_a, s >> 1)
        c = Cut(exponent=high << 4 | low)
        same = same and expected & 15 == low
        if self.wide and c.exponent == ESCAPED:
            c.exponent += self.code_excess((known.exponent >> self.shift) - ESCAPED)
        for i in reversed(range(self.shift)):
            guess = p.expected.exponent >> i & 1 if same else 0
            flag = self.tails[same, min(c.exponent, 7), i]
            bit = guess ^ flag.coded_noise(self.coder, guess ^ known.exponent >> i & 1, 1023)
            same = same and bit == guess
            c.exponent = c.exponent << 1 | bit
        c.symbol = magnitude_class(level(c.exponent, q))
        x = c.exponent
        has_sign = x > 0 or not self.wide
        if has_sign and self.signs.code(self.coder, c, known.sign, p, a, role, same):
            x = -x or -128  # whose own sign bit is set
        value = x & 0xFFFF if self.wide else x + self.anchor * (not self.plane.signed) & 0xFF
        c = self.cut(value)
        c.symbol = magnitude_class(level(c.exponent, q))
        return c

    def seven_bits(self, magnitude: int) -> int:
        return min(magnitude >> self.shift, ESCAPED) if self.wide else magnitude & 127

    def code_excess(self, excess: int) -> int:
        """0 to 2^15 - 127: how many bits it has, in ones, then the bits."""
        known = max(1, excess + 1)  # decoders know nothing
        bits = 0
        while bits < 15:
            more = known.bit_length() - 1 > bits
            if not self.lengths[bits].coded(self.coder, int(more), 255):
                break
            bits += 1
        value = 1
        for i in reversed(range(bits)):
            value = value << 1 | self.excess[bits][i].coded(self.coder, known >> i & 1, 255)
        return value - 1


def level(magnitude: int, quantum: int) -> int:
    """How many steps an index of that magnitude stands for, by the quantiser that made it."""
    if not quantum:
        return magnitude
    return 2 * magnitude - (quantum & 1 if magnitude else 0)


def as_signed(value: int, bits: int) -> int:
    """The lower bits as two's complement."""
    half = 1 << (bits - 1)
    return ((value + half) & (2 * half - 1)) - half
