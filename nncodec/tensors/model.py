"""Chunks of tensors to payloads and back: the readable twin of csrc/tensor_run.h.

Every item becomes planes (``planes``), and every plane's elements are coded row by row, as floats
(``floats``) or integers (``integers``). What predicts them best is the size that the elements of
the row and of the column have had so far; beside it the neighbours, equal runs before, and what
the other elements of the same scale were. Integers only. docs/weights.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nncodec._core import PayloadError
from nncodec.tensors.floats import FloatModel
from nncodec.tensors.integers import IntegerModel, level
from nncodec.tensors.items import Item
from nncodec.tensors.modes import choose_mode
from nncodec.tensors.nibbles import BitCoder, hashed
from nncodec.tensors.parts import Around, Cut, Decoding, Encoding, Flag, Place, log2_eighths
from nncodec.tensors.planes import Form, Mode, Plane, join, planes_of, split, valid_mode
from nncodec.tensors.signs import SignModel
from nncodec.tensors.trellis_states import next_state

MATCH_BITS = 18
COLUMNS = 1 << 16
MIN_MATCH, MAX_MATCH = 3, 31
PRIOR = 6  # elements that the mean of all counts for in a row's or column's


def encode(items: Sequence[Item], chunk: bytes) -> bytes:
    """The payload of ``chunk``, which holds the items one after the other."""
    if sum(item.size for item in items) != len(chunk):
        raise ValueError("the tensors do not fill the chunk")
    coder = Encoding()
    run, begin = TensorRun(coder), 0
    for item in items:
        run.item(item, chunk[begin : begin + item.size])
        begin += item.size
    return coder.coder.finish()


def decode(items: Sequence[Item], payload: bytes) -> bytes:
    """Inverse of ``encode``. Raises PayloadError if the payload is found damaged."""
    coder = Decoding(payload)
    run = TensorRun(coder)
    chunk = b"".join([run.item(item, b"") for item in items])
    coder.coder.finish()
    return chunk


def sign_class(total: int, much: int, some: int) -> int:
    bounds = (-much, -some, some + 1, much + 1)
    return sum(total >= bound for bound in bounds)


def scale(total: int, count: int, mean: int) -> int:
    """Of the mean of a row or column, of which a little is the mean of all."""
    return min(511, log2_eighths(max(1, (total + PRIOR * mean) // (count + PRIOR))))


def divided(a: int, b: int) -> int:
    """As C++ divides: towards zero."""
    return -(-a // b) if a < 0 else a // b


@dataclass
class Group:
    """The elements that share a scale: each group holds an extreme one, and the scale tells its
    size."""

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
        places = min(7, (self.left - 1).bit_length())
        extremes = self.low << 4 if self.plane.form == Form.CODE else 0
        return (extremes | self.high) << 3 | places


class TensorRun:
    """One chunk on its way through the coder, in either direction."""

    def __init__(self, coder: BitCoder) -> None:
        self.coder = coder
        signs = SignModel()
        self.floats, self.integers = FloatModel(coder, signs), IntegerModel(coder, signs)
        self.trees = [[Flag.leaning_to_zero() for _ in range(256)] for _ in range(3)]
        self.matches: dict[int, int] = {}  # hash of three elements -> offset of the next
        self.data = bytearray()  # the planes of all items so far
        self.match = self.match_length = 0

    def item(self, item: Item, data: bytes) -> bytes:
        """Code the item, whose (size,) bytes encoders know; returns them."""
        known, flat = self.coder.knows, np.frombuffer(data, np.uint8)
        mode = choose_mode(item, flat) if known else Mode()
        first = self.tree_byte(0, mode.first)
        mode = Mode.of(first, self.tree_byte(1, mode.group))
        if not valid_mode(item, mode):
            raise PayloadError("payload is damaged: no such mode of a tensor")
        self.planes, self.begins, self.role = planes_of(item, mode), list[int](), item.role
        start = len(self.data)
        for plane in self.planes:
            self.begins.append(len(self.data))
            self.data += bytes(plane.size)
        if known:
            self.data[start:] = b"".join([p.tobytes() for p in split(item, mode, flat)])
        for plane, begin in zip(self.planes, self.begins, strict=True):
            self.code_plane(plane, begin)
        ends = [*self.begins[1:], len(self.data)]
        pairs = zip(self.begins, ends, strict=True)
        return join(
            item, mode, [np.frombuffer(bytes(self.data[a:b]), np.uint8) for a, b in pairs]
        ).tobytes()

    def tree_byte(self, tree: int, byte: int) -> int:
        """A byte outside of the models, which is often what it was before."""
        node = 1
        for i in reversed(range(8)):
            node = node << 1 | self.trees[tree][node].coded(self.coder, byte >> i & 1, 30)
        return node & 255

    def load(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + self.width], "little")

    def choose_anchor(self, plane: Plane) -> int:
        """The exponent that all but a few do not exceed; of unsigned integers the mean."""
        if plane.form == Form.INTEGER and plane.signed:
            return 0
        n = plane.rows * plane.cols
        if plane.form != Form.FLOAT:
            return (sum(self.data[self.begin : self.begin + n]) + n // 2) // n
        counts = [0] * 256
        for i in range(n):
            value = self.load(self.begin + i * self.width)
            counts[value >> plane.layout.mantissa & ((1 << plane.layout.exponent) - 1)] += 1
        above, anchor = 0, 255
        while anchor > 0:
            above += counts[anchor]
            if above > n // 1024:
                break
            anchor -= 1
        return anchor

    def find_units(self, plane: Plane) -> list[int]:
        """What a step of each group's codes is, 2^24 for the largest binade: the scale, a float, of
        some formats times a byte."""
        if plane.unit < 0:
            return []
        layout = self.planes[plane.unit].layout
        begin, self.width = self.begins[plane.unit], layout.bytes
        offsets = range(begin, begin + self.planes[plane.unit].size, self.width)
        # As half-precision numbers, but for the exponent's bits.
        halves = [self.load(at) >> (layout.mantissa - 10) for at in offsets]
        full = (1 << layout.exponent) - 1
        top = max(v >> 10 & full for v in halves)
        groups = plane.rows * (plane.cols // plane.group)
        units = []
        for g in range(groups):
            v = halves[g * len(halves) // groups]
            exponent = v >> 10 & full
            unit = (1024 + (v & 1023)) << 14 >> (top - exponent) if exponent else 0
            if plane.subunit >= 0:
                byte = self.data[self.begins[plane.subunit] + g]
                signed = self.planes[plane.subunit].signed
                unit = unit * (abs((byte ^ 128) - 128) if signed else byte) >> 6
            units.append(unit)
        return units

    def code_plane(self, plane: Plane, begin: int) -> None:
        self.units = self.find_units(plane)
        self.plane, self.begin, self.width = plane, begin, plane.layout.bytes
        anchor = self.tree_byte(2, self.choose_anchor(plane) if self.coder.knows else 0)
        self.is_float = plane.form == Form.FLOAT
        if self.is_float:
            self.floats.begin(plane.layout, anchor, self.role)
        else:
            self.integers.begin(plane, anchor, self.role)
        columns = min(plane.cols, COLUMNS) if plane.rows > 1 else 1
        self.column_sums, self.column_counts = [0] * columns, [0] * columns
        self.column_signs = [0] * columns
        self.total = self.count = 0
        self.around = Around()
        for row in range(plane.rows):
            self.code_row(row)

    def cut(self, value: int) -> Cut:
        return self.floats.cut(value) if self.is_float else self.integers.cut(value)

    def begin_group(self, row: int, col: int) -> Group:
        plane = self.plane
        group = Group(plane, min(plane.group, plane.cols - col))
        if self.units:
            group.unit = self.units[row * (plane.cols // plane.group) + col // plane.group]
        return group

    def code_row(self, row: int) -> None:
        plane, a = self.plane, self.around
        rows, cols = plane.rows, plane.cols
        row_sum = row_sign = state = 0
        mean = max(1, self.total // self.count) if self.count else 1
        local = mean << 4
        base = self.begin + row * cols * self.width
        above = base - cols * self.width
        a.up = Cut()
        a.up_right = self.cut(self.load(above)) if row else Cut()
        group = Group(plane)
        for col in range(cols):
            at = base + col * self.width
            if col & 31 == 0:
                mean = max(1, self.total // self.count) if self.count else 1
            if plane.group and col % plane.group == 0:
                group = self.begin_group(row, col)
            column = col & (COLUMNS - 1) if rows > 1 else 0
            a.up_left, a.up = a.up, a.up_right
            has_right = row and col + 1 < cols
            a.up_right = self.cut(self.load(above + (col + 1) * self.width)) if has_right else Cut()
            overall = log2_eighths(mean)
            row_scale = scale(row_sum, col, mean)
            column_scale = (
                scale(self.column_sums[column], self.column_counts[column], mean)
                if rows > 1
                else overall
            )
            change = log2_eighths(max(1, local >> 4)) - row_scale
            self.find_match(at)
            length = self.match_length
            p = Place(
                column=column,
                row_start=col == 0,
                # In steps of the group, of which the elements are multiples.
                row_scale=clamped(row_scale - group.log),
                column_scale=clamped(column_scale - group.log),
                scale=clamped(row_scale + column_scale - overall - group.log),
                trend=sum(change >= bound for bound in (-12, -6, -2, 3, 7, 13)),
                row_sign=sign_class(row_sign, 20, 4),
                column_sign=sign_class(self.column_signs[column], 12, 3),
                matched=length > 0,
                expected=self.cut(self.load(self.match)) if length else Cut(),
                match_length=length,
                bucket=1 + (length > 6) + (length > 15) if length else 0,
                group=group.context() if plane.group else 0,
                quantum=2 | (state & 1) if plane.trellis else 0,
            )
            known = self.cut(self.load(at)) if self.coder.knows else Cut()
            c = (self.floats if self.is_float else self.integers).code(known, p, a)
            # Damaged payloads can give values of too many bits.
            value = c.value & ((1 << 8 * self.width) - 1)
            self.data[at : at + self.width] = value.to_bytes(self.width, "little")
            if self.is_float:
                size = self.floats.magnitude(c)
            else:
                size = level(c.exponent, p.quantum) * group.unit >> 8
            row_sum += size
            self.column_sums[column] += size
            self.column_counts[column] += 1
            self.total += size
            self.count += 1
            local += size - (local >> 4)
            step = -1 if c.sign else 1
            row_sign += step - divided(row_sign, 64)
            self.column_signs[column] += step
            if plane.trellis:
                state = next_state(plane.trellis, state, c.value)
            group.add(c)
            self.end_match(at, c.value)
            a.left3, a.left2, a.left = a.left2, a.left, c

    def find_match(self, at: int) -> None:
        """Before an element: go on with the match, or look for one."""
        w, a = self.width, self.around
        self.slot = -1
        if at - self.begin < MIN_MATCH * w:
            self.match_length = 0
            return
        self.slot = hashed(a.left.value, a.left2.value, a.left3.value) >> (32 - MATCH_BITS)
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


def clamped(log: int) -> int:
    return max(0, min(511, log))
