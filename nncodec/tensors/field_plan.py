"""The plan ahead of a fields payload: frequency tables, and how each unit of each item is coded.

The readable twin of csrc/field_plan.cc and of the codes in csrc/field_tables.h. One function walks
the plan in both directions: a writer is told every number, a reader finds them out. All decisions
are binary, with probabilities that follow what came before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from nncodec._core import PayloadError
from nncodec.coder import PythonRangeDecoder, PythonRangeEncoder
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import Item

FREQUENCY_BITS = 12
TOTAL = 1 << FREQUENCY_BITS
LEAST_UNIT, MOST_UNIT, UNIT_OF_LONG_ROWS = 128, 4096, 1024
HALF = 1 << 15
WINDOWED = (Dtype.F32, Dtype.BF16)
UNSIGNED = (None, Dtype.I8, Dtype.U8)  # whose top bit is not a sign of its own


class Plane(IntEnum):
    """What lies beside the symbols; each has one table, or none, for the whole item."""

    ESCAPES = 0
    FLIPS = 1
    NIBBLES = 2
    MIDDLE = 3
    NARROW_MIDDLE = 4
    LOW = 5


class Narrow(IntEnum):
    """How much of float32's low half a unit keeps."""

    WIDE = 0
    THREE_BITS = 1  # the others are zeros: the unit was float16 once
    NOTHING = 2  # and bfloat16 here


@dataclass(frozen=True)
class Shape:
    """An item in units: rows, where they are of a handy length.

    ``begin`` (in bytes) and ``first_unit`` count from the chunk's begin.
    """

    dtype: Dtype | None
    bytes: int
    elements: int
    unit: int
    begin: int
    first_unit: int

    @property
    def lengths(self) -> list[int]:
        """Elements of each unit; the last may be shorter."""
        return [min(self.unit, self.elements - at) for at in range(0, self.elements, self.unit)]


@dataclass
class ItemPlan:
    """Tables count from 1; 0 means bytes as they are. Of copied units only the copy counts."""

    coded: bool = False
    top: int = 0  # of the window of exponents
    escapes: int = 0  # exponents outside of it
    classes: list[int] = field(default_factory=list)  # each unit's table
    copies: list[int] = field(default_factory=list)  # how many units back its equal lies; or empty
    flipped: list[int] = field(default_factory=list)  # whether the copy differs in signs
    narrow: list[int] = field(default_factory=list)  # each unit's Narrow; or empty
    planes: dict[Plane, int] = field(default_factory=dict)

    def copied(self, unit: int) -> bool:
        return bool(self.copies) and self.copies[unit] > 0

    def narrow_of(self, unit: int) -> int:
        return self.narrow[unit] if self.narrow else Narrow.WIDE


@dataclass
class Plan:
    tables: list[list[int]]  # 256 frequencies each, which sum to TOTAL
    items: list[ItemPlan]


def shapes_of(items: Sequence[Item]) -> list[Shape]:
    shapes = []
    begin = units = 0
    for item in items:
        cols = item.cols
        unit = UNIT_OF_LONG_ROWS if cols > MOST_UNIT else cols * -(-LEAST_UNIT // cols)
        elements = item.rows * cols
        shapes.append(
            Shape(
                item.dtype,
                item.dtype.block_bytes if item.dtype else 1,
                elements,
                unit,
                begin,
                units,
            )
        )
        begin += item.size
        units += -(-elements // unit)
    return shapes


class Bits:
    """Binary decisions by context; a reader ignores what it is told."""

    def __init__(self, payload: bytes | None = None) -> None:
        self.writer = PythonRangeEncoder()
        self.reader = None if payload is None else PythonRangeDecoder(payload)
        self.odds: defaultdict[Hashable, int] = defaultdict(lambda: HALF)

    def even(self, bit: int, p16: int = HALF) -> int:
        """A bit that is 1 with the probability ``p16`` / 65536."""
        if self.reader:
            return self.reader.decode_bit(p16 << 8)
        self.writer.encode_bit(p16 << 8, bit)
        return bit

    def flag(self, context: Hashable, bit: int) -> int:
        p = self.odds[context]
        bit = self.even(bit, p)
        self.odds[context] = p + (65536 - p >> 4) if bit else p - (p >> 4)
        return bit

    def plain(self, value: int, count: int) -> int:
        out = 0
        for i in reversed(range(count)):
            out = out << 1 | self.even(value >> i & 1)
        return out

    def tree(self, context: Hashable, bits: int, value: int) -> int:
        node = 1
        for i in reversed(range(bits)):
            node = node << 1 | self.flag((context, node), value >> i & 1)
        return node - (1 << bits)

    def number(self, context: Hashable, value: int, limit: int) -> int:
        """Below ``limit``: the bit length of value + 1 in unary, then the bits below the first."""
        bits = 0
        while bits < 31 and self.flag((context, bits), bits < (value + 1).bit_length() - 1):
            bits += 1
        out = (1 << bits | self.plain((value + 1) & (1 << bits) - 1, bits)) - 1
        if out >= limit:
            raise PayloadError("a number in the plan is too large")
        return out


def code_table(bits: Bits, told: Sequence[int]) -> list[int]:
    """Frequencies, each in the context of the one below and the one of the opposite sign."""
    apart = sum(abs(told[s] - told[s + 128]) for s in range(1, 128))
    across = sum(abs(told[s] - told[256 - s]) for s in range(1, 128))
    complement = bits.flag("complement", across < apart)
    out: list[int] = []
    before = before2 = 0
    for s in range(256):
        mirror = 14
        if s >= 128:
            mirror = out[(256 - s if complement else s) & 127].bit_length()
        context = (mirror, before, before2 > before)
        length = bits.tree(("length", context), 4, told[s].bit_length())
        if length > FREQUENCY_BITS:
            raise PayloadError("a frequency is too large")
        value = min(length, 1)
        for i in reversed(range(length - 1)):
            bit = told[s] >> i & 1
            second = i == length - 2
            value = value << 1 | (
                bits.flag(("second", mirror, length), bit) if second else bits.even(bit)
            )
        out.append(value)
        before2, before = before, length
    if sum(out) != TOTAL:
        raise PayloadError("frequencies have another sum")
    return out


class _Walk:
    """A plan from its start to its end."""

    def __init__(self, bits: Bits, told: Plan) -> None:
        self.bits = bits
        self.tables: list[list[int]] = []
        count = bits.plain(len(told.tables), 6)
        blank = [[0] * 256] * count
        for table in told.tables or blank:
            self.tables.append(code_table(bits, table))

    def table(self, context: Hashable, value: int) -> int:
        got = self.bits.tree(context, len(self.tables).bit_length(), value)
        if got > len(self.tables):
            raise PayloadError("the plan names a table that it has not")
        return got

    def plane(self, item: ItemPlan, told: ItemPlan, which: Plane) -> None:
        item.planes[which] = self.table(which, told.planes.get(which, 0))

    def item(self, shape: Shape, told: ItemPlan) -> ItemPlan:
        item = ItemPlan(bool(self.bits.flag("coded", told.coded)))
        if not item.coded:
            return item
        units = len(shape.lengths)
        self.copies(shape, item, told)
        item.classes = [0] * units
        classes = told.classes or [0] * units
        own = [u for u in range(units) if not item.copied(u)]
        uniform = self.bits.flag("uniform", len({classes[u] for u in own}) < 2)
        before = 0
        for u in own:
            if not uniform or u == own[0]:
                before = self.table(("class", before), classes[u])
            item.classes[u] = before
        if shape.dtype in WINDOWED:
            item.top = self.bits.plain(told.top, 8)
            item.escapes = self.bits.number("escapes", told.escapes, shape.elements + 1)
            if item.escapes:
                self.plane(item, told, Plane.ESCAPES)
            self.plane(item, told, Plane.NIBBLES)
        if shape.dtype == Dtype.F32:
            self.narrow(own, units, item, told)
        if shape.dtype in (Dtype.F16, Dtype.F32):
            self.plane(item, told, Plane.LOW)
        return item

    def copies(self, shape: Shape, item: ItemPlan, told: ItemPlan) -> None:
        if not self.bits.flag("copies", bool(told.copies)):
            return
        units = len(shape.lengths)
        item.copies, item.flipped = [0] * units, [0] * units
        back, flipped = told.copies or [0] * units, told.flipped or [0] * units
        for u in range(units):
            if not self.bits.flag(("copied", u > 0 and item.copies[u - 1] > 0), back[u] > 0):
                continue
            distance = max(0, back[u] - 1)
            item.copies[u] = self.bits.number("distance", distance, shape.first_unit + u) + 1
            if shape.dtype not in UNSIGNED:
                context = ("flipped", u > 0 and item.flipped[u - 1] > 0)
                item.flipped[u] = self.bits.flag(context, flipped[u])
        if any(item.flipped):
            self.plane(item, told, Plane.FLIPS)

    def narrow(self, own: list[int], units: int, item: ItemPlan, told: ItemPlan) -> None:
        if self.bits.flag("narrows", bool(told.narrow)):
            item.narrow = [0] * units
            narrow = told.narrow or item.narrow
            before = 0
            for u in own:
                before = self.bits.tree(("narrow", before), 2, narrow[u])
                if before > Narrow.NOTHING:
                    raise PayloadError("no such narrowness")
                item.narrow[u] = before
        kept = {item.narrow_of(u) for u in own}
        if Narrow.WIDE in kept:
            self.plane(item, told, Plane.MIDDLE)
        if Narrow.THREE_BITS in kept:
            self.plane(item, told, Plane.NARROW_MIDDLE)


def write_plan(shapes: Sequence[Shape], plan: Plan) -> bytes:
    bits = Bits()
    walk = _Walk(bits, plan)
    for shape, told in zip(shapes, plan.items, strict=True):
        walk.item(shape, told)
    return bits.writer.finish()


def read_plan(shapes: Sequence[Shape], payload: bytes) -> Plan:
    """Raises PayloadError for what no encoder writes."""
    bits = Bits(payload)
    walk = _Walk(bits, Plan([], []))
    items = [walk.item(shape, ItemPlan()) for shape in shapes]
    assert bits.reader
    bits.reader.finish()
    return Plan(walk.tables, items)
