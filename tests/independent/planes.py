"""Planes and the parts of their elements (FORMAT-tensors.md, "Planes", "Elements in parts")."""

from dataclasses import dataclass, field
from typing import NamedTuple

from .container import Item
from .errors import Rejected
from .stages import clamp, log8

FLOAT, INTEGER, CODE = "float", "integer", "code"
FLOATS = {2: (4, 8, 23), 3: (2, 5, 10), 4: (2, 8, 7), 5: (1, 4, 3), 6: (1, 5, 2)}
INT8, UINT8, INT16 = 7, 8, 9
ZERO, ESCAPE = 15, 14


class Parts(NamedTuple):
    """An element in parts."""

    value: int
    symbol: int
    sign: int
    exponent: int
    mantissa: int


NONE = Parts(0, 0, 0, 0, 0)


class Mode(NamedTuple):
    """An item's mode ("Items and modes")."""

    view: int = 0
    twos: int = 0
    trellis: int = 0
    group: int = 0

    def group_of(self, columns: int) -> int:
        return 0 if self.group == 0 else columns if self.group == 15 else 2**self.group

    def check(self, item: Item) -> None:
        """The table of views."""
        view, twos, trellis, group = self
        if view == 0:
            trellises = (0, 2, 3, 4, 5, 6) if item.dtype in (INT8, INT16) else (0,)
            fine = twos == 0 and trellis in trellises and group == 0
        elif view < 3:
            fine = item.dtype in (INT8, UINT8) and trellis == 0 and group <= 15
        else:
            fine = item.dtype in (2, 3, 4) and trellis == 0 and 5 <= group <= 15
            fine = fine and item.columns % self.group_of(item.columns) == 0
        if not fine:
            raise Rejected("a mode that the dtype does not have")


@dataclass
class Plane:
    """A plane; `anchor` and `values` (the bits as they lie in memory) come from coding."""

    form: str
    rows: int
    columns: int
    width: int = 1
    exponent_bits: int = 0
    mantissa_bits: int = 0
    signed: bool = False
    code_bits: int = 0
    group: int = 0
    scales: "Plane | None" = None
    factors: "Plane | None" = None
    trellis: int = 0
    anchor: int = 0
    values: list[int] = field(default_factory=list)

    @property
    def sparse_allowed(self) -> bool:
        return self.form == FLOAT or (self.form == INTEGER and self.trellis == 0)

    def number(self, value: int) -> int:
        """The bits of an integer as two's complement, if it is signed."""
        half = 2 ** (8 * self.width - 1)
        return (value + half) % (2 * half) - half if self.signed else value

    def cut(self, value: int) -> Parts:
        if self.form == FLOAT:
            mantissa = value % 2**self.mantissa_bits
            exponent = (value >> self.mantissa_bits) % 2**self.exponent_bits
            sign = value >> (self.mantissa_bits + self.exponent_bits) & 1
            distance = self.anchor - exponent
            symbol = distance if 0 <= distance < 14 else ESCAPE
            if exponent == 0 and mantissa == 0:
                symbol = ZERO
            return Parts(value, symbol, sign, exponent, mantissa)
        if self.form == CODE:
            x = value - self.anchor
        else:
            x = self.number(value) if self.signed else (value - self.anchor + 128) % 256 - 128
        size = abs(x)
        return Parts(value, class_of(2 * size if self.trellis else size), int(x < 0), size, 0)

    def is_zero(self, c: Parts) -> bool:
        return c.symbol == ZERO if self.form == FLOAT else c.exponent == 0

    def size(self, c: Parts, g: int, q: int) -> int:
        """What is added up of an element."""
        if self.form != FLOAT:
            return level(c.exponent, q) * g >> 8
        if c.exponent == 0:
            return 0
        m = self.mantissa_bits
        below = clamp(self.anchor - c.exponent, -7, 31)
        f = c.mantissa >> m - 7 if m >= 7 else c.mantissa << 7 - m
        return (128 + f) * 2**24 >> below + 7


def class_of(x: int) -> int:
    return x if x < 4 else min(15, log8(x) // 4)


def level(m: int, q: int) -> int:
    if q == 0:
        return m
    return 0 if m == 0 else 2 * m - (q & 1)


def planes_of(item: Item, mode: Mode) -> list[Plane]:
    """The planes of an item, in order."""
    rows, columns, dtype = item.rows, item.columns, item.dtype

    def floats(dtype: int, columns: int) -> Plane:
        return Plane(FLOAT, rows, columns, *FLOATS[dtype])

    if dtype >= 32:
        return block_planes(item)
    if mode.view in (1, 2):
        columns *= mode.view
        return [Plane(CODE, rows, columns, code_bits=4, group=mode.group_of(columns))]
    if mode.view == 3:
        group = mode.group_of(columns)
        scales = floats(2, columns // group)
        width = 2 if mode.twos else 1
        integers = Plane(INTEGER, rows, columns, width, signed=True, group=group, scales=scales)
        return [scales, integers]
    if dtype in FLOATS:
        return [floats(dtype, columns)]
    width = 2 if dtype == INT16 else 1
    signed = dtype in (INT8, INT16)
    return [Plane(INTEGER, rows, columns, width, signed=signed, trellis=mode.trellis)]


def block_planes(item: Item) -> list[Plane]:
    """The planes of ggml's blocks."""
    rows, columns, dtype = item.rows, item.columns, item.dtype
    d, m = (Plane(FLOAT, rows, columns, *FLOATS[3]) for _ in range(2))
    s, t = (Plane(INTEGER, rows, 8 * columns) for _ in range(2))
    if dtype in (32, 34):  # Q4_0, Q5_0
        bits = 4 if dtype == 32 else 5
        return [d, Plane(CODE, rows, 32 * columns, code_bits=bits, group=32, scales=d)]
    if dtype in (33, 35):  # Q4_1, Q5_1
        bits = 4 if dtype == 33 else 5
        return [d, m, Plane(CODE, rows, 32 * columns, code_bits=bits, group=32, scales=d)]
    if dtype == 36:  # Q8_0
        return [d, Plane(INTEGER, rows, 32 * columns, signed=True, group=32, scales=d)]
    if dtype == 39:  # Q6_K
        s = Plane(INTEGER, rows, 16 * columns, signed=True)
        return [d, s, Plane(INTEGER, rows, 256 * columns, group=16, scales=d, factors=s)]
    bits = 4 if dtype == 37 else 5  # Q4_K, Q5_K
    last = Plane(CODE, rows, 256 * columns, code_bits=bits, group=32, scales=d, factors=s)
    return [d, m, s, t, last]
