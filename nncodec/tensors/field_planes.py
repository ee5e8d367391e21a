"""The planes of an item: from its elements, back to them, and as runs in the order of the payload.

The readable twin of csrc/field_streams.cc and of the loops in csrc/field_kernels.inl.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from nncodec._core import PayloadError
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.field_plan import UNSIGNED, WINDOWED, ItemPlan, Narrow, Plane, Shape

ESCAPE = 1  # the slot of exponents that are written elsewhere; 0 is that of the exponent 0
Planes = dict[tuple[str, int], bytes]  # by name and unit; what an item has but once, at unit 0


@dataclass
class Run:
    """Units of a plane, each with its bytes, that are coded with one table, or 0 for none."""

    table: int
    plane: str
    units: list[tuple[int, int]]

    @property
    def size(self) -> int:
        return sum(size for _, size in self.units)


def unit_begins(shapes: Sequence[Shape]) -> list[int]:
    """The first byte of every unit of a chunk."""
    return [s.begin + at * s.bytes for s in shapes for at in range(0, s.elements, s.unit)]


def runs_of(shape: Shape, item: ItemPlan) -> list[Run]:
    """All of an item, in the order of the payload; with equal tables also that of coding."""
    if not item.coded:
        return [Run(0, "raw", [(0, shape.elements * shape.bytes)])]
    lengths = shape.lengths
    own = [u for u in range(len(lengths)) if not item.copied(u)]
    wide = [u for u in own if item.narrow_of(u) == Narrow.WIDE]
    runs: list[Run] = []

    def plane(name: str, tables: list[tuple[int, int]]) -> None:
        """Units that follow each other and have the same table are one run."""
        before = None
        for unit, table in tables:
            size = (lengths[unit] + 1) // 2 if name == "nibbles" else lengths[unit]
            if before != (unit - 1, table):
                runs.append(Run(table, name, []))
            runs[-1].units.append((unit, size))
            before = unit, table

    def whole(name: str, size: int, which: Plane) -> None:
        if size:
            runs.append(Run(item.planes.get(which, 0), name, [(0, size)]))

    plane("symbols", [(u, item.classes[u]) for u in own])
    flips = sum(-(-n // 8) for n, flip in zip(lengths, item.flipped, strict=False) if flip)
    whole("flips", flips, Plane.FLIPS)
    if shape.dtype in WINDOWED:
        whole("escapes", item.escapes, Plane.ESCAPES)
        plane("nibbles", [(u, item.planes[Plane.NIBBLES]) for u in own])
    if shape.dtype == Dtype.F32:
        middle = {Narrow.WIDE: Plane.MIDDLE, Narrow.THREE_BITS: Plane.NARROW_MIDDLE}
        kept = [(u, middle.get(Narrow(item.narrow_of(u)))) for u in own]
        plane("middle", [(u, item.planes[which]) for u, which in kept if which is not None])
    if shape.dtype in (Dtype.F32, Dtype.F16):
        plane("low", [(u, item.planes[Plane.LOW]) for u in wide])
    return runs


def numbers(shape: Shape, data: bytes) -> list[int]:
    """The elements as unsigned integers."""
    return list(struct.unpack(f"<{len(data) // shape.bytes}{' BH I'[shape.bytes]}", data))


def cut(shape: Shape, item: ItemPlan, chunk: bytes, begins: Sequence[int]) -> Planes:
    """The item's planes, by the decisions of its plan. Raises ValueError if it does not fit."""
    if not item.coded:
        return {("raw", 0): chunk[shape.begin : shape.begin + shape.elements * shape.bytes]}
    planes: Planes = {}
    escapes, flips = bytearray(), bytearray()
    lowest = lowest_slot(shape, item, chunk, begins)
    for u, n in enumerate(shape.lengths):
        begin = begins[shape.first_unit + u]
        values = numbers(shape, chunk[begin : begin + n * shape.bytes])
        if item.copied(u):
            source = begins[shape.first_unit + u - item.copies[u]]
            equal = numbers(shape, chunk[source : source + n * shape.bytes])
            if item.flipped[u]:
                pairs = enumerate(zip(values, equal, strict=True))
                bits = sum((a != b) << i for i, (a, b) in pairs)
                flips += bits.to_bytes(-(-n // 8), "little")
            continue
        if shape.dtype == Dtype.F16:
            planes["symbols", u] = bytes(v >> 8 for v in values)
            planes["low", u] = bytes(v & 255 for v in values)
        elif shape.dtype in WINDOWED:
            upper = values
            if shape.dtype == Dtype.F32:
                upper = [v >> 16 for v in values]
                planes["middle", u] = bytes(v >> 8 & 255 for v in values)
                planes["low", u] = bytes(v & 255 for v in values)
            symbols = bytes(symbol(v, item.top, lowest) for v in upper)
            escapes += bytes(
                v >> 7 & 255 for v, s in zip(upper, symbols, strict=True) if s >> 3 & 15 == ESCAPE
            )
            planes["symbols", u] = symbols
            nibbles = [v & 15 for v in upper] + [0]
            planes["nibbles", u] = bytes(nibbles[i] | nibbles[i + 1] << 4 for i in range(0, n, 2))
        else:
            planes["symbols", u] = bytes(values)
    planes["escapes", 0], planes["flips", 0] = bytes(escapes), bytes(flips)
    return planes


def lowest_slot(shape: Shape, item: ItemPlan, chunk: bytes, begins: Sequence[int]) -> int:
    """The slot below which the plan's encoder escaped exponents: its count of escapes tells."""
    if shape.dtype not in WINDOWED:
        return 0
    slots = []
    for u, n in enumerate(shape.lengths):
        if not item.copied(u):
            begin = begins[shape.first_unit + u]
            values = numbers(shape, chunk[begin : begin + n * shape.bytes])
            exponents = (v >> 8 * shape.bytes - 9 & 255 for v in values)
            slots += [e + 15 - item.top for e in exponents if e]
    for lowest in range(2, 17):
        if sum(not lowest <= slot <= 15 for slot in slots) == item.escapes:
            return lowest
    raise ValueError("the plan is for other tensors")


def symbol(upper: int, top: int, lowest: int) -> int:
    """Sign, slot and three bits of mantissa of a bfloat16, such as float32's upper half is."""
    exponent = upper >> 7 & 255
    slot = exponent + 15 - top
    if exponent == 0:
        slot = 0
    elif not lowest <= slot <= 15:
        slot = ESCAPE
    return upper >> 15 << 7 | slot << 3 | upper >> 4 & 7


def join(
    shape: Shape, item: ItemPlan, planes: Planes, chunk: bytearray, begins: Sequence[int]
) -> None:
    """Append the item to the ``chunk``, which holds all before it. Raises PayloadError."""
    if not item.coded:
        chunk += planes["raw", 0]
        return
    escapes = iter(planes.get(("escapes", 0), b""))
    flips = planes.get(("flips", 0), b"")
    for u, n in enumerate(shape.lengths):
        if item.copied(u):
            source = begins[shape.first_unit + u - item.copies[u]]
            values = chunk[source : source + n * shape.bytes]
            if len(values) < n * shape.bytes:
                raise PayloadError("a unit is a copy of a shorter one")
            if item.flipped[u] and shape.dtype not in UNSIGNED:
                for i in range(n):
                    bit = flips[i // 8] >> i % 8 & 1
                    values[(i + 1) * shape.bytes - 1] ^= bit << 7
                flips = flips[-(-n // 8) :]
            chunk += values
            continue
        symbols = planes["symbols", u]
        if shape.dtype == Dtype.F16:
            for pair in zip(planes["low", u], symbols, strict=True):
                chunk += bytes(pair)
        elif shape.dtype in WINDOWED:
            nibbles = [b >> shift & 15 for b in planes["nibbles", u] for shift in (0, 4)]
            zeros = bytes(n)
            middle = planes.get(("middle", u), zeros)
            low = planes.get(("low", u), zeros)
            for i, s in enumerate(symbols):
                slot = s >> 3 & 15
                exponent = 0 if slot == 0 else item.top + slot - 15 & 255
                if slot == ESCAPE:
                    escaped = next(escapes, None)
                    if escaped is None:
                        raise PayloadError("exponents are missing")
                    exponent = escaped
                upper = s >> 7 << 15 | exponent << 7 | (s & 7) << 4 | nibbles[i]
                if shape.dtype == Dtype.F32:
                    chunk += bytes((low[i], middle[i]))
                chunk += upper.to_bytes(2, "little")
        else:
            chunk += symbols
    if next(escapes, None) is not None:
        raise PayloadError("exponents are left over")
