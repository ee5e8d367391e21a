"""Chunks of tensors to payloads and back: the readable twin of csrc/tensor_run.h.

Every item becomes planes (``planes``), and every plane's elements are coded row by row, as floats
(``floats``) or integers (``integers``). What predicts them best is the size that the elements of
the row and of the column have had so far; beside it the neighbours, equal runs before, and what
the other elements of the same scale were. Integers only. docs/weights.md has the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from nncodec._core import PayloadError
from nncodec.mixing import ONE
from nncodec.tensors.floats import FloatModel
from nncodec.tensors.groups import Group, clamped, mean_log, sign_class, units_of
from nncodec.tensors.integers import IntegerModel, as_signed, level
from nncodec.tensors.items import Item
from nncodec.tensors.matches import Matches
from nncodec.tensors.modes import choose_mode
from nncodec.tensors.nibbles import BitCoder
from nncodec.tensors.parts import (
    ZERO,
    Around,
    Cut,
    Decoding,
    Encoding,
    Flag,
    Place,
    log2_eighths,
)
from nncodec.tensors.planes import Form, Mode, Plane, join, planes_of, split, valid_mode
from nncodec.tensors.signs import SignModel
from nncodec.tensors.trellis_states import next_state
from nncodec.tensors.zeros import SHARE, ZeroCoder, ZeroPlace

COLUMNS = 1 << 16


def encode(items: Sequence[Item], chunk: bytes, new_run: NewRun | None = None) -> bytes:
    """The payload of ``chunk``, which holds the items one after the other.

    ``new_run`` makes another model than ``TensorRun``; decoding needs the same.
    """
    if sum(item.size for item in items) != len(chunk):
        raise ValueError("the tensors do not fill the chunk")
    coder = Encoding()
    run, begin = (new_run or TensorRun)(coder), 0
    for item in items:
        run.item(item, chunk[begin : begin + item.size])
        begin += item.size
    return coder.coder.finish()


def decode(items: Sequence[Item], payload: bytes, new_run: NewRun | None = None) -> bytes:
    """Inverse of ``encode``. Raises PayloadError if the payload is found damaged."""
    coder = Decoding(payload)
    run = (new_run or TensorRun)(coder)
    chunk = b"".join([run.item(item, b"") for item in items])
    coder.coder.finish()
    return chunk


def divided(a: int, b: int) -> int:
    """As C++ divides: towards zero."""
    return -(-a // b) if a < 0 else a // b


class TensorRun:
    """One chunk on its way through the coder, in either direction."""

    def __init__(self, coder: BitCoder) -> None:
        self.coder = coder
        signs = SignModel()
        self.floats, self.integers = FloatModel(coder, signs), IntegerModel(coder, signs)
        self.zeros, self.zero_sign = ZeroCoder(), Flag.leaning_to_zero()
        self.trees = [[Flag.leaning_to_zero() for _ in range(256)] for _ in range(3)]
        self.data = bytearray()  # the planes of all items so far
        self.matches = Matches(self.data)

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

    def store(self, at: int, c: Cut) -> None:
        """Of the value what there is room for: damaged payloads can give too many bits."""
        value = c.value & ((1 << 8 * self.width) - 1)
        self.data[at : at + self.width] = value.to_bytes(self.width, "little")

    def choose_shift(self, n: int) -> int:
        counts = [0] * 17  # by bits
        for i in range(n):
            value = self.matches.load(self.begin + 2 * i)
            counts[abs(as_signed(value, 16)).bit_length()] += 1
        above, bits = 0, 16
        while bits > 7:
            above += counts[bits]
            if above > n // 256:
                break
            bits -= 1
        return bits - 7

    def choose_anchor(self, plane: Plane) -> int:
        """The exponent that all but a few do not exceed; of unsigned integers the mean.

        Of int16 how many low bits most magnitudes have beyond seven.
        """
        if plane.form == Form.INTEGER and plane.layout.bytes == 2:
            return self.choose_shift(plane.rows * plane.cols)
        if plane.form == Form.INTEGER and plane.signed:
            return 0
        n = plane.rows * plane.cols
        if plane.form != Form.FLOAT:
            return (sum(self.data[self.begin : self.begin + n]) + n // 2) // n
        counts = [0] * 256
        for i in range(n):
            value = self.matches.load(self.begin + i * self.width)
            counts[value >> plane.layout.mantissa & ((1 << plane.layout.exponent) - 1)] += 1
        above, anchor = 0, 255
        while anchor > 0:
            above += counts[anchor]
            if above > n // 1024:
                break
            anchor -= 1
        return anchor

    def find_units(self, plane: Plane) -> list[int]:
        """What a step of each group's codes is, as far as scales say it."""
        if plane.unit < 0:
            return []
        scales, factors = self.integers_of(plane.unit), list[int]()
        if plane.subunit >= 0:
            factors = [abs(v) for v in self.integers_of(plane.subunit)]
        groups = plane.rows * (plane.cols // plane.group)
        return units_of(scales, self.planes[plane.unit].layout, factors, groups)

    def integers_of(self, index: int) -> list[int]:
        """The elements of one of the item's planes."""
        plane, begin = self.planes[index], self.begins[index]
        raw = bytes(self.data[begin : begin + plane.size])
        sign = "i" if plane.signed else "u"
        return [int(v) for v in np.frombuffer(raw, f"<{sign}{plane.layout.bytes}")]

    def code_plane(self, plane: Plane, begin: int) -> None:
        self.units = self.find_units(plane)
        self.plane, self.begin, self.width = plane, begin, plane.layout.bytes
        self.matches.begin(begin, self.width)
        self.anchor = self.tree_byte(2, self.choose_anchor(plane) if self.coder.knows else 0)
        self.is_float = plane.form == Form.FLOAT
        if self.is_float:
            self.floats.begin(plane.layout, self.anchor, self.role)
        else:
            self.integers.begin(plane, self.anchor, self.role)
        # Codes of blocks have no zero that stands out; trellis indices are zero by state.
        self.sparse = False
        if plane.form != Form.CODE and not plane.trellis:
            sparse = int(self.coder.knows and self.is_sparse())
            self.sparse = bool(self.coder.code(sparse, ONE // 2))
        columns = min(plane.cols, COLUMNS) if plane.rows > 1 else 1
        self.zeros.start_item(plane.rows > 1, columns)
        self.column_sums, self.column_counts = [0] * columns, [0] * columns
        self.column_signs = [0] * columns
        self.total = self.count = 0
        self.around = Around()
        for row in range(plane.rows):
            self.code_row(row)

    def cut(self, value: int) -> Cut:
        return self.floats.cut(value) if self.is_float else self.integers.cut(value)

    def is_zero(self, c: Cut) -> bool:
        return c.symbol == ZERO if self.is_float else c.exponent == 0

    def is_sparse(self) -> bool:
        """Whether zeros are so many that each element is first told from them."""
        n = self.plane.rows * self.plane.cols
        offsets = range(self.begin, self.begin + n * self.width, self.width)
        return sum(self.is_zero(self.cut(self.matches.load(at))) for at in offsets) * SHARE >= n

    def code_zero(self, known: Cut, p: Place) -> Cut | None:
        """The element, sign and all, if it is zero."""
        a = self.around
        around = [self.is_zero(c) for c in (a.up, a.up_left, a.up_right)]
        place = ZeroPlace(
            self.role,
            p.column,
            p.scale,
            p.row_scale,
            p.column_scale,
            around[0] | around[1] << 1 | around[2] << 2,
            2 * p.bucket + self.is_zero(p.expected) if p.matched else 0,
            p.bucket,
        )
        if not self.zeros.code(self.coder, self.is_zero(known), place):
            return None
        if not self.is_float:
            return self.cut(0 if self.plane.signed else self.anchor)
        sign = self.zero_sign.coded_noise(self.coder, known.sign, 1023)
        return self.cut(sign << (self.plane.layout.mantissa + self.plane.layout.exponent))

    def code_element(self, known: Cut, p: Place) -> Cut:
        return (self.floats if self.is_float else self.integers).code(known, p, self.around)

    def begin_group(self, row: int, col: int) -> Group:
        plane = self.plane
        group = Group(plane, min(plane.group, plane.cols - col))
        if self.units:
            group.unit = self.units[row * (plane.cols // plane.group) + col // plane.group]
        return group

    def code_row(self, row: int) -> None:
        plane, a = self.plane, self.around
        rows, cols = plane.rows, plane.cols
        row_sum = row_count = row_sign = state = 0
        mean = max(1, self.total // self.count) if self.count else 1
        local = mean << 4
        base = self.begin + row * cols * self.width
        above = base - cols * self.width
        a.up = Cut()
        a.up_right = self.cut(self.matches.load(above)) if row else Cut()
        group = Group(plane)
        self.zeros.start_row()
        for col in range(cols):
            at = base + col * self.width
            if col & 31 == 0:
                mean = max(1, self.total // self.count) if self.count else 1
            if plane.group and col % plane.group == 0:
                group = self.begin_group(row, col)
            column = col & (COLUMNS - 1) if rows > 1 else 0
            a.up_left, a.up = a.up, a.up_right
            has_right = row and col + 1 < cols
            a.up_right = (
                self.cut(self.matches.load(above + (col + 1) * self.width)) if has_right else Cut()
            )
            overall = log2_eighths(mean)
            row_scale = mean_log(row_sum, row_count, mean)
            column_scale = (
                mean_log(self.column_sums[column], self.column_counts[column], mean)
                if rows > 1
                else overall
            )
            change = log2_eighths(max(1, local >> 4)) - row_scale
            self.matches.find(at)
            length, bucket = self.matches.length, self.matches.bucket
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
                expected=self.cut(self.matches.load(self.matches.at)) if length else Cut(),
                match_length=length,
                bucket=bucket,
                group=group.context(),
                quantum=2 | (state & 1) if plane.trellis else 0,
            )
            known = self.cut(self.matches.load(at)) if self.coder.knows else Cut()
            if self.sparse and (zero := self.code_zero(known, p)):
                self.store(at, zero)
                group.add(zero)
                self.matches.end(at, (zero, a.left, a.left2))
                continue  # neighbours and scales are those of elements other than zero
            c = self.code_element(known, p)
            self.store(at, c)
            if self.is_float:
                size = self.floats.magnitude(c)
            else:
                size = level(c.exponent, p.quantum) * group.unit >> 8
            row_sum += size
            row_count += 1
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
            a.left3, a.left2, a.left = a.left2, a.left, c
            self.matches.end(at, (a.left, a.left2, a.left3))
        self.zeros.end_row()


NewRun = Callable[[BitCoder], TensorRun]
