"""Tensors given those of a base, to payloads and back: the readable twin of csrc/delta_coder.cc.

A number is coded as how far it lies, on the scale of ordered numbers, from the one that is
expected: its base, moved along the directions that the rows before changed in. Contexts are mostly
how large changes were, of the row, the column and the neighbours, beside the spacing of floats at
this place. docs/weights-delta.md has the reasons.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from nncodec.mixing import ONE
from nncodec.tensors import delta_contexts as contexts
from nncodec.tensors.delta_contexts import FAR, FAR_CLASS, SMALL, Mean, Move, Place
from nncodec.tensors.delta_items import DeltaItem, Mode
from nncodec.tensors.delta_numbers import FINE, Numbers, Scale, choose_scale
from nncodec.tensors.delta_predictor import LowRank
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.model import divided
from nncodec.tensors.nibbles import BitCoder, Stage
from nncodec.tensors.parts import Decoding, Encoding, Flag, log2_eighths

COLUMNS = 1 << 16  # rows that are longer have no directions
WIDE_BITS = 34  # of a far difference
MOST_MOVE = 1 << 30


def encode(items: Sequence[DeltaItem], base: bytes, chunk: bytes) -> bytes:
    """The payload of ``chunk``, which holds the items one after the other, as ``base`` does."""
    if not sum(item.size for item in items) == len(chunk) == len(base):
        raise ValueError("the tensors do not fill the chunk")
    coder = Encoding()
    run = DeltaRun(coder, base, bytearray(chunk))
    for item in items:
        run.item(item)
    return coder.coder.finish()


def decode(items: Sequence[DeltaItem], base: bytes, payload: bytes) -> bytes:
    """Inverse of ``encode``. Raises PayloadError if the payload is found damaged."""
    coder = Decoding(payload)
    run = DeltaRun(coder, base, bytearray(len(base)))
    for item in items:
        run.item(item)
    coder.coder.finish()
    return bytes(run.data)


def clipped(x: int) -> int:
    return max(-MOST_MOVE, min(MOST_MOVE, x))


class DeltaRun:
    """One chunk on its way through the coder, in either direction."""

    def __init__(self, coder: BitCoder, base: bytes, data: bytearray) -> None:
        self.coder, self.base, self.data = coder, base, data
        self.classes = Stage((11, 9, 9, 9, 10, 14, 9, 14, 14, 13, 14, 14, 14, 16, 12))
        self.lows = Stage((5, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 14, 16, 14))
        self.signs = Stage((8, 12, 14, 12, 12, 14, 14, 14, 14, 14, 14, 14, 14, 16, 12))
        self.rest: defaultdict[tuple[int, int], Flag] = defaultdict(Flag)
        self.same: defaultdict[int, Flag] = defaultdict(Flag)
        self.zero: defaultdict[bool, Flag] = defaultdict(Flag)
        self.tiny: defaultdict[int, Flag] = defaultdict(Flag)
        self.done = 0

    def item(self, item: DeltaItem) -> None:
        self.begin, self.width = (
            self.done,
            item.tensor.dtype.block_bytes if item.tensor.dtype else 1,
        )
        self.done += item.size
        if item.mode == Mode.EQUAL:
            same = self.base[self.begin : self.done]
            if self.coder.knows and self.data[self.begin : self.done] != same:
                raise ValueError("a tensor is not equal to its base")
            self.data[self.begin : self.done] = same
            return
        self.role, self.rows, self.cols = item.tensor.role, item.tensor.rows, item.tensor.cols
        self.numbers = Numbers(item.tensor.dtype, self.read_scale(item.tensor.dtype))
        directed = item.mode == Mode.MOVED and self.rows > 1 and 1 < self.cols <= COLUMNS
        self.directions = LowRank(self.cols) if directed else None
        columns = min(self.cols, COLUMNS) if self.rows > 1 else 1
        self.errors, self.moves = Mean(), Mean()
        self.column_errors = [Mean() for _ in range(columns)]
        self.column_moves = [Mean() for _ in range(columns)]
        self.column_signs = [0] * columns
        self.above = [Move() for _ in range(columns)]
        self.left = self.left2 = Move()
        for row in range(self.rows):
            self.code_row(row)

    def load(self, data: bytes | bytearray, i: int) -> int:
        at = self.begin + i * self.width
        return int.from_bytes(data[at : at + self.width], "little")

    def raw(self, value: int, bits: int) -> int:
        coded = 0
        for i in reversed(range(bits)):
            coded = coded << 1 | self.coder.code(value >> i & 1, ONE // 2)
        return coded

    def read_scale(self, dtype: Dtype | None) -> Scale:
        scale = Scale(0, 0)
        if self.coder.knows:
            numbers = range(self.rows * self.cols)
            data, base = ([self.load(d, i) for i in numbers] for d in (self.data, self.base))
            scale = choose_scale(dtype, data, base)
        return Scale(self.raw(scale.unit + 256, 10) - 256, self.raw(scale.floor, 8))

    def code_row(self, row: int) -> None:
        row_errors, row_moves = Mean(), Mean()
        row_sign, same = 0, 0xF
        local = self.errors.value() << 4
        numbers = self.numbers
        for col in range(self.cols):
            i = row * self.cols + col
            column = col % COLUMNS if self.rows > 1 else 0
            base = self.load(self.base, i)
            predicted = self.directions.predict(column) if self.directions else 0
            at = numbers.fixed(base)
            fine = numbers.ordinal(base) << FINE
            if predicted:
                fine += numbers.fine(at + predicted) - numbers.fine(at)
            expected = fine + 4 >> FINE
            spacing = numbers.spacing(expected)

            mean, mean_move = self.errors.value(), self.moves.value()
            overall, by_row = log2_eighths(mean), row_errors.log(mean)
            by_column, moved = overall, row_moves.log(mean_move)
            if self.rows > 1:
                by_column = self.column_errors[column].log(mean)
                moved += self.column_moves[column].log(mean_move) - log2_eighths(mean_move)
            by_both = max(0, by_row + by_column - overall)
            above = self.above[column] if row else Move()
            has_right = row and col + 1 < self.cols
            right = self.above[(col + 1) % COLUMNS] if has_right else Move()
            p = Place(
                role=self.role,
                column=column,
                base=base,
                expected=expected,
                fraction=fine + 4 - (expected << FINE),
                predicted=predicted,
                scale=contexts.beside(by_both, spacing),
                row_scale=contexts.beside(by_row, spacing),
                column_scale=contexts.beside(by_column, spacing),
                move_scale=contexts.beside(moved, spacing),
                local=contexts.beside(log2_eighths(max(1, local >> 4)), spacing),
                drift=contexts.drift_of(predicted, by_both),
                edge=contexts.edge_of(numbers, expected),
                size=contexts.size_of(numbers, base),
                recent=(same & 15) << 2 | above.same << 1 | right.same,
                means=contexts.means_of(row_sign, self.column_signs[column]),
                **contexts.around(self.left, self.left2, above, right, spacing),
            )
            m = Move()
            value = self.code(self.load(self.data, i) if self.coder.knows else 0, p, m)
            start = self.begin + i * self.width
            self.data[start : start + self.width] = value.to_bytes(self.width, "little")

            m.same = value == base
            m.change = clipped(numbers.fixed(value) - at)
            m.error = clipped(m.change - predicted)
            if self.directions:
                self.directions.learn(column, m.change, spacing)
            for mean_error in (row_errors, self.column_errors[column], self.errors):
                mean_error.add(abs(m.error))
            for mean_change in (row_moves, self.column_moves[column], self.moves):
                mean_change.add(abs(m.change))
            local += (abs(m.error) << 8) - (local >> 4)
            step = (m.error > 0) - (m.error < 0)
            row_sign += step - divided(row_sign, 64)
            self.column_signs[column] += step
            same = same << 1 | m.same
            self.above[column] = m
            self.left2, self.left = self.left, m
        if self.directions:
            self.directions.end_row()

    def code(self, known: int, p: Place, m: Move) -> int:
        small = self.coder.knows and self.numbers.small(known)
        n = self.numbers.ordinal(known) - p.expected if self.coder.knows and not small else 0
        size = abs(n)
        self.classes.select(contexts.class_contexts(p))
        wanted = SMALL if small else min(FAR, size.bit_length() >> 1)
        pair = self.classes.code(self.coder, wanted, 4, p.drift, p.scale >> 1)
        if pair == SMALL:
            return self.code_small(known, p)
        negative = 0
        if pair == 0:
            self.lows.select(contexts.low_contexts(p, 0, 2))
            coded = self.lows.code(self.coder, size, 1, p.drift, 0)
            if coded:
                negative = self.code_sign(n < 0, p, 0, 1)
        else:
            negative = self.code_sign(n < 0, p, pair, 0)
            far = pair == FAR
            coded = self.raw(size, WIDE_BITS) if far else self.code_size(size, p, pair, negative)
        difference = -coded if negative else coded
        m.step = max(-31, min(31, difference))
        return self.numbers.at(p.expected + difference)

    def code_size(self, size: int, p: Place, pair: int, negative: int) -> int:
        """Which of the pair's two classes, and three bits below the leading one, by contexts; then
        bits."""
        width = size.bit_length()
        top = size << 3 >> (width - 1) & 7 if width else 0
        self.lows.select(contexts.low_contexts(p, pair, negative))
        set_a, set_b = 16 + p.with_drift(negative), 16 * pair + (p.edge >> 1)
        low = self.lows.code(self.coder, (width & 1) << 3 | top, 4, set_a, set_b)
        wide = 2 * pair + (low >> 3)
        assert wide < FAR_CLASS
        rest = max(0, wide - 4)
        coded = 8 + (low & 7) << (wide - 1) >> (3 + rest)
        for i in reversed(range(rest)):
            flag = self.rest[wide, rest - 1 - i]
            coded = coded << 1 | flag.coded(self.coder, size >> i & 1, 1023)
        return coded

    def code_small(self, known: int, p: Place) -> int:
        """A number that is small on the ordered scale, most often zero."""
        numbers, knows = self.numbers, self.coder.knows
        from_small = numbers.small(p.base)
        if from_small:
            same = self.same[p.recent].coded(self.coder, int(knows and known == p.base), 255)
            if same:
                return p.base
        magnitude, coded = numbers.magnitude(known), 0
        if not self.zero[from_small].coded(self.coder, int(knows and magnitude == 0), 255):
            for i in reversed(range(numbers.bits)):
                coded = coded << 1 | self.tiny[i].coded(self.coder, magnitude >> i & 1, 255)
        negative = self.code_sign(numbers.negative(known), p, SMALL, int(numbers.negative(p.base)))
        return coded | negative << numbers.bits

    def code_sign(self, known: bool, p: Place, pair: int, detail: int) -> int:
        self.signs.select(contexts.sign_contexts(p, pair << 1 | detail))
        set_a = p.drift + 16 * (pair == SMALL)
        return self.signs.code(self.coder, int(known), 1, set_a, p.means)
