"""Chunks of tensors to payloads and back: the readable twin of csrc/tensor_coder.cc.

An element is cut into what carries information: of floats the exponent, as its distance to an
anchor, the mantissa and the sign; of integers the magnitude and the sign. What predicts them best
is the size that the elements of the row and of the column have had so far; beside it the
neighbours, equal runs before, and of the tails of wide floats equal values before. Integers only.
docs/weights.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nncodec.coder import PythonRangeDecoder, PythonRangeEncoder
from nncodec.mixing import ONE, AdaptiveBit
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import Item
from nncodec.tensors.nibbles import BitCoder, Stage, hashed

ESCAPE, ZERO = 14, 15
MATCH_BITS = DICTIONARY_BITS = 18
COLUMNS = 1 << 16
MIN_MATCH, MAX_MATCH = 3, 31
NARROW = 13  # mantissa bits that float32 has more than float16
GUESSED = 8  # tails that are shorter are soon coded bit by bit
NARROW_MASK = (1 << NARROW) - 1
PRIOR = 6  # elements that the mean of all counts for in a row's or column's
FLOATS = {  # bits of exponent and mantissa
    Dtype.F32: (8, 23),
    Dtype.F16: (5, 10),
    Dtype.BF16: (8, 7),
    Dtype.F8_E4M3: (4, 3),
    Dtype.F8_E5M2: (5, 2),
}


class Encoding:
    knows = True

    def __init__(self) -> None:
        self.coder = PythonRangeEncoder()

    def code(self, bit: int, p16: int) -> int:
        self.coder.encode_bit(p16 << 8, bit)
        return bit


class Decoding:
    knows = False

    def __init__(self, payload: bytes) -> None:
        self.coder = PythonRangeDecoder(payload)

    def code(self, bit: int, p16: int) -> int:
        del bit
        return self.coder.decode_bit(p16 << 8)


def encode(items: Sequence[Item], chunk: bytes, begin: Begin | None = None) -> bytes:
    """The payload of ``chunk``, which holds the items one after the other.

    ``begin`` makes another model than ``TensorRun``; decoding needs the same.
    """
    if sum(item.size for item in items) != len(chunk):
        raise ValueError("the tensors do not fill the chunk")
    coder = Encoding()
    run = (begin or TensorRun)(coder, bytearray(chunk))
    for item in items:
        run.item(item)
    return coder.coder.finish()


def decode(items: Sequence[Item], payload: bytes, begin: Begin | None = None) -> bytes:
    """Inverse of ``encode``. Raises PayloadError if the payload is found damaged."""
    coder = Decoding(payload)
    run = (begin or TensorRun)(coder, bytearray(sum(item.size for item in items)))
    for item in items:
        run.item(item)
    coder.coder.finish()
    return bytes(run.data)


def log2_eighths(x: int) -> int:
    """log2 in eighths; x > 0."""
    k = x.bit_length() - 1
    return 8 * k + ((x >> (k - 3) if k >= 3 else x << (3 - k)) & 7)


def magnitude_class(x: int) -> int:
    """0 to 3, then half octaves."""
    return x if x < 4 else min(15, log2_eighths(x) // 4)


def sign_class(total: int, much: int, some: int) -> int:
    bounds = (-much, -some, some + 1, much + 1)
    return sum(total >= bound for bound in bounds)


def scale(total: int, count: int, mean: int) -> int:
    """Of the mean of a row or column, of which a little is the mean of all."""
    return min(511, log2_eighths(max(1, (total + PRIOR * mean) // (count + PRIOR))))


def divided(a: int, b: int) -> int:
    """As C++ divides: towards zero."""
    return -(-a // b) if a < 0 else a // b


class Flag(AdaptiveBit):
    """A decision outside of the mixers."""

    def coded(self, coder: BitCoder, bit: int, limit: int) -> int:
        bit = coder.code(bit, max(1, min(ONE - 1, self.p16())))
        self.update(bit, limit)
        return bit

    @classmethod
    def leaning_to_zero(cls) -> Flag:
        flag = cls(1 << 12)
        flag.n = 4
        return flag


@dataclass
class Cut:
    """An element in its parts. ``symbol`` stands for its size."""

    value: int = 0
    symbol: int = 0
    sign: int = 0
    exponent: int = 0  # of integers: the magnitude
    mantissa: int = 0


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
    bucket: int


class TensorRun:
    """One chunk on its way through the coder, in either direction."""

    def __init__(self, coder: BitCoder, data: bytearray) -> None:
        self.coder, self.data = coder, data
        self.symbols = Stage((0, 8, 9, 9, 9, 12, 12, 14, 14, 12, 14, 14, 6, 12, 10))
        self.high = Stage((4, 12, 13, 14, 12, 13, 14, 12, 12, 12, 14, 8, 9, 10, 10))
        self.low = Stage((8, 12, 12, 14, 8, 12, 12, 14, 12, 12, 14, 12, 12, 10, 10))
        self.signs = Stage((0, 8, 6, 12, 14, 12, 12, 14, 6, 10, 12, 12, 12, 12, 10))
        self.escapes = Stage((0, 8, 8, 8, 12, 12, 12, 14, 0, 0, 0, 0, 0, 0, 0))
        self.matches: dict[int, int] = {}  # hash of three elements -> offset of the next
        self.dictionary: dict[int, tuple[int, ...]] = {}  # top of a float -> its last two tails
        self.flags: dict[int, Flag] = {}
        self.tails: dict[tuple[int, bool, int], Flag] = {}
        self.done = self.hits = self.match = self.match_length = 0

    def set_item(self, item: Item) -> None:
        self.dtype, self.role, self.width = item.dtype, item.role, item.element_bytes
        self.exponent_bits, self.mantissa_bits = (
            FLOATS.get(item.dtype, (0, 0)) if item.dtype else (0, 0)
        )
        self.begin = self.done

    def item(self, item: Item) -> None:
        self.set_item(item)
        rows, cols = item.rows, item.cols
        self.anchor = self.raw_byte(self.choose_anchor(rows * cols) if self.coder.knows else 0)
        columns = min(cols, COLUMNS) if rows > 1 else 1
        self.column_sums, self.column_counts = [0] * columns, [0] * columns
        self.column_signs = [0] * columns
        self.total = self.count = self.zeros = 0
        self.left = self.left2 = self.left3 = Cut()
        for row in range(rows):
            self.code_row(row, rows, cols)

    def load(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + self.width], "little")

    def cut(self, value: int) -> Cut:
        if self.exponent_bits:
            mantissa = value & ((1 << self.mantissa_bits) - 1)
            exponent = value >> self.mantissa_bits & ((1 << self.exponent_bits) - 1)
            distance = self.anchor - exponent
            symbol = (
                ZERO
                if exponent == mantissa == 0
                else distance
                if 0 <= distance < ESCAPE
                else ESCAPE
            )
            sign = value >> (self.mantissa_bits + self.exponent_bits) & 1
            return Cut(value, symbol, sign, exponent, mantissa)
        x = (value ^ 128) - 128 if self.dtype == Dtype.I8 else value - self.anchor
        return Cut(value, magnitude_class(abs(x)), int(x < 0), abs(x))

    def choose_anchor(self, n: int) -> int:
        """The exponent that all but a few do not exceed; of unsigned integers the mean."""
        if self.dtype == Dtype.U8:
            total = sum(self.data[self.begin : self.begin + n])
            return (total + n // 2) // n
        if not self.exponent_bits:
            return 0
        counts = [0] * 256
        for i in range(n):
            value = self.load(self.begin + i * self.width)
            counts[value >> self.mantissa_bits & ((1 << self.exponent_bits) - 1)] += 1
        above, anchor = 0, 255
        while anchor > 0:
            above += counts[anchor]
            if above > n // 1024:
                break
            anchor -= 1
        return anchor

    def raw_byte(self, byte: int) -> int:
        coded = 0
        for i in reversed(range(8)):
            coded = coded << 1 | self.coder.code(byte >> i & 1, ONE // 2)
        return coded

    def magnitude(self, c: Cut) -> int:
        """An element's size as a number that can be summed: 2^24 is the anchor's."""
        if not self.exponent_bits:
            return c.exponent << 16
        if c.exponent == 0:
            return 0
        below = max(-7, min(31, self.anchor - c.exponent))
        shift = self.mantissa_bits - 7
        fraction = c.mantissa >> shift if shift >= 0 else c.mantissa << -shift
        return (128 + fraction << 24) >> (below + 7)

    def code_row(self, row: int, rows: int, cols: int) -> None:
        row_sum = row_sign = 0
        mean = max(1, self.total // self.count) if self.count else 1
        local = mean << 4
        base = self.begin + row * cols * self.width
        above = base - cols * self.width
        up = Cut()
        up_right = self.cut(self.load(above)) if row else Cut()
        for col in range(cols):
            at = base + col * self.width
            if col & 31 == 0:
                mean = max(1, self.total // self.count) if self.count else 1
            column = col & (COLUMNS - 1) if rows > 1 else 0
            up_left, up = up, up_right
            has_right = row and col + 1 < cols
            up_right = self.cut(self.load(above + (col + 1) * self.width)) if has_right else Cut()
            overall = log2_eighths(mean)
            row_scale = scale(row_sum, col, mean)
            column_scale = (
                scale(self.column_sums[column], self.column_counts[column], mean)
                if rows > 1
                else overall
            )
            change = log2_eighths(max(1, local >> 4)) - row_scale
            self.find_match(at)
            matched = self.match_length > 0
            p = Place(
                column,
                col == 0,
                row_scale,
                column_scale,
                max(0, min(511, row_scale + column_scale - overall)),
                sum(change >= bound for bound in (-12, -6, -2, 3, 7, 13)),
                sign_class(row_sign, 20, 4),
                sign_class(self.column_signs[column], 12, 3),
                matched,
                self.cut(self.load(self.match)) if matched else Cut(),
                1 + (self.match_length > 6) + (self.match_length > 15) if matched else 0,
            )
            known = self.cut(self.load(at)) if self.coder.knows else Cut()
            code = self.code_float if self.exponent_bits else self.code_integer
            c = code(known, p, up, up_left, up_right)
            self.data[at : at + self.width] = c.value.to_bytes(self.width, "little")
            size = self.magnitude(c)
            row_sum += size
            self.column_sums[column] += size
            self.column_counts[column] += 1
            self.total += size
            self.count += 1
            local += size - (local >> 4)
            step = -1 if c.sign else 1
            row_sign += step - divided(row_sign, 64)
            self.column_signs[column] += step
            self.end_match(at, c.value)
            self.left3, self.left2, self.left = self.left2, self.left, c
            self.done = at + self.width

    def match_context(self, p: Place, symbol: int) -> int:
        return 16 + (p.bucket - 1) * 16 + symbol if p.matched else 0

    def symbol_contexts(
        self, p: Place, up: Cut, up_left: Cut, up_right: Cut, expected: int
    ) -> tuple[int, ...]:
        left, left2, s = self.left, self.left2, p.scale
        a, b, u = left.symbol, left2.symbol, up.symbol
        return (
            0,
            self.role,
            s,
            p.row_scale,
            p.column_scale,
            (s >> 1) * 16 + a,
            (a * 16 + u) * 16 + b,
            hashed(p.column, self.role),
            hashed(left.value, left2.value),
            (s >> 1) * 8 + p.trend,
            (p.row_scale >> 2) * 128 + (p.column_scale >> 2),
            hashed(left.value, up.value),
            self.match_context(p, expected),
            (u * 16 + up_left.symbol) * 16 + up_right.symbol,
            (s >> 3) * 16 + (a + b + self.left3.symbol) // 3,
        )

    def code_float(self, known: Cut, p: Place, up: Cut, up_left: Cut, up_right: Cut) -> Cut:
        c = Cut()
        self.symbols.select(self.symbol_contexts(p, up, up_left, up_right, p.expected.symbol))
        c.symbol = self.symbols.code(self.coder, known.symbol, 4, p.bucket, p.scale >> 1)
        if c.symbol == ESCAPE:
            c.exponent = self.code_escape(known)
        elif c.symbol != ZERO:
            c.exponent = max(0, self.anchor - c.symbol)
        same = p.matched and p.expected.exponent == c.exponent
        if c.symbol != ZERO:
            same = self.code_mantissa(c, known, p, up, same)
        c.sign = self.code_sign(c, known, p, up, same)
        value = (c.sign << self.exponent_bits | c.exponent) << self.mantissa_bits | c.mantissa
        c.value = value & ((1 << 8 * self.width) - 1)
        return c

    def code_escape(self, known: Cut) -> int:
        left, role = self.left.exponent, self.role
        contexts = [0, role, left, *(hashed(left, role, i) for i in range(3, 8)), *[0] * 7]
        self.escapes.select(contexts)
        high = self.escapes.code(self.coder, known.exponent >> 4, 4, 0, 0)
        for i in range(4, 8):
            contexts[i] = hashed(high, 0 if i == 4 else role if i == 5 else left, 99)
        self.escapes.select(contexts)
        low = self.escapes.code(self.coder, known.exponent & 15, 4, 1, 1)
        return (high << 4 | low) & ((1 << self.exponent_bits) - 1)

    def code_sign(self, c: Cut, known: Cut, p: Place, up: Cut, same: bool) -> int:
        left, left2, role, s = self.left, self.left2, self.role, c.symbol
        means = p.row_sign * 5 + p.column_sign
        signs = left.sign | up.sign << 1 | left2.sign << 2 | self.left3.sign << 3
        self.signs.select(
            (
                0,
                role,
                means,
                means << 4 | s,
                hashed(p.column, role),
                signs << 4 | s,
                signs << 5 | means,
                hashed(left.value, up.value, s),
                2 + p.bucket * 2 + p.expected.sign if same else 0,
                role * 32 + means,
                s << 8 | role,
                hashed(c.exponent, c.mantissa, role),
                hashed(left.value, s),
                hashed(up.value, s),
                p.scale,
            )
        )
        return self.signs.code(self.coder, known.sign, 1, p.bucket if same else 0, means)

    def code_mantissa(self, c: Cut, known: Cut, p: Place, up: Cut, same: bool) -> bool:
        """Whether it is the one that the match expects is returned."""
        left, left2, role, s = self.left, self.left2, self.role, c.symbol
        distance = 8 * s + p.scale & 511
        bits = self.mantissa_bits
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
                self.match_context(p, expected) if same else 0,
                distance,
                c.exponent,
                hashed(self.left3.value, s),
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
                    self.match_context(p, following) if same else 0,
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
                2048 + self.match_length
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
            found = found << 1 | flag.coded(self.coder, low >> (bits - 1 - i) & 1, 1023)
        return found << (bits - noise)

    def code_integer(self, known: Cut, p: Place, up: Cut, up_left: Cut, up_right: Cut) -> Cut:
        left, left2, role, s = self.left, self.left2, self.role, p.scale
        contexts = self.symbol_contexts(p, up, up_left, up_right, p.expected.exponent >> 4)
        self.symbols.select(contexts)
        h = self.symbols.code(self.coder, known.exponent >> 4, 4, 16 + p.bucket, s >> 1)
        same = p.matched and p.expected.exponent >> 4 == h
        self.low.select(
            (
                h,
                h << 8 | role,
                s << 3 | min(h, 7),
                hashed(p.column, role, h),
                left.symbol << 4 | h,
                hashed(p.row_scale, h),
                hashed(p.column_scale, h),
                hashed(left.value, up.value, h),
                hashed(left.value, h),
                hashed(up.value, h),
                hashed(left.value, left2.value, h),
                self.match_context(p, p.expected.exponent & 15) if same else 0,
                hashed(s, left.symbol, h),
                hashed(s >> 1, p.trend, h),
                hashed(up.symbol, left.symbol, h),
            )
        )
        set_a = 32 + (p.bucket if same else 0) + 4 * min(h, 3)
        rest = self.low.code(self.coder, known.exponent & 15, 4, set_a, s >> 1)
        c = Cut(exponent=h << 4 | rest)
        c.symbol = magnitude_class(c.exponent)
        if c.exponent:
            c.sign = self.code_sign(c, known, p, up, same and p.expected.exponent == c.exponent)
        x = -c.exponent if c.sign else c.exponent
        c.value = (x if self.dtype == Dtype.I8 else x + self.anchor) & 255
        return c

    def match_hash(self, at: int) -> int:
        w = self.width
        last = (self.load(at - w), self.load(at - 2 * w), self.load(at - 3 * w))
        return hashed(*last) >> (32 - MATCH_BITS)

    def find_match(self, at: int) -> None:
        """Before an element: go on with the match, or look for one."""
        w = self.width
        self.slot = -1
        if at - self.begin < MIN_MATCH * w:
            self.match_length = 0
            return
        self.slot = self.match_hash(at)
        candidate = self.matches.get(self.slot, 0)
        if self.match_length > 0 or candidate == 0:
            return
        most = min(candidate, at - self.begin, MAX_MATCH * w) // w
        length = 0
        while length < most and (
            self.load(candidate - (length + 1) * w) == self.load(at - (length + 1) * w)
        ):
            length += 1
        if length >= MIN_MATCH:
            self.match, self.match_length = candidate, length

    def end_match(self, at: int, value: int) -> None:
        if self.slot >= 0:
            self.matches[self.slot] = at
        if self.match_length == 0:
            return
        hit = self.load(self.match) == value
        self.match_length = min(self.match_length + 1, MAX_MATCH) if hit else 0
        self.match += self.width


Begin = Callable[[BitCoder, bytearray], TensorRun]
