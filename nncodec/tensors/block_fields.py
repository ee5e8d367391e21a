"""Which bits of an element, or of a packed block, mean what: of csrc/tensor_planes.cc.

Source of the quantised formats: ggml-common.h and ggml-quants.c of github.com/ggml-org/ggml.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from nncodec.tensors.dtypes import Dtype


class Layout(NamedTuple):
    """Bytes of an element; bits of exponent and mantissa, 0 of integers."""

    bytes: int
    exponent: int = 0
    mantissa: int = 0


BYTE, HALF, SINGLE = Layout(1), Layout(2, 5, 10), Layout(4, 8, 23)
LAYOUTS = {  # of dtypes without blocks; bytes that are no tensor are BYTE
    Dtype.F32: SINGLE,
    Dtype.F16: HALF,
    Dtype.BF16: Layout(2, 8, 7),
    Dtype.F8_E4M3: Layout(1, 4, 3),
    Dtype.F8_E5M2: Layout(1, 5, 2),
    Dtype.I8: BYTE,
    Dtype.U8: BYTE,
    Dtype.I16: Layout(2),
}


class Field(NamedTuple):
    """``width`` bits of a block's ``byte``, from ``shift`` on: those from ``into`` on of byte
    ``place`` of what the plane has of the block."""

    plane: int
    place: int
    byte: int
    shift: int
    width: int
    into: int


class PlanePart(NamedTuple):
    """What a block has of one plane."""

    bytes: int
    layout: Layout
    signed: bool


@dataclass
class BlockFields:
    """``bits`` a code; ``group`` codes share a scale: of the planes ``unit`` and ``subunit``."""

    bits: int = 0
    group: int = 0
    bytes: int = 0
    unit: int = -1
    subunit: int = -1
    planes: list[PlanePart] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)

    def plane(self, size: int, layout: Layout = BYTE, signed: bool = False) -> int:
        self.planes.append(PlanePart(size, layout, signed))
        return len(self.planes) - 1

    def add(
        self, plane: int, place: int, byte: int, shift: int = 0, width: int = 8, into: int = 0
    ) -> None:
        self.fields.append(Field(plane, place, byte, shift, width, into))

    def whole(self, size: int, byte: int, layout: Layout, signed: bool = False) -> int:
        """A plane of ``size`` bytes as they are, from ``byte`` on."""
        plane = self.plane(size, layout, signed)
        for i in range(size):
            self.add(plane, i, byte + i)
        return plane


def legacy_block(minimum: bool, fifth: bool) -> BlockFields:
    """32 elements: a half-precision scale, maybe a minimum, maybe fifth bits, nibbles of which the
    low ones are the first 16 elements."""
    b = BlockFields(bits=4 + fifth, group=32)
    b.unit = b.whole(2, 0, HALF)
    if minimum:
        b.whole(2, 2, HALF)
    high = 2 + 2 * minimum
    low = high + 4 * fifth
    codes = b.plane(32)
    for e in range(32):
        b.add(codes, e, low + e % 16, 4 * (e // 16), 4)
        if fifth:
            b.add(codes, e, high + e // 8, e % 8, 1, into=4)
    b.bytes = low + 16
    return b


def q8_0_block() -> BlockFields:
    b = BlockFields(bits=8, group=32, bytes=34)
    b.unit = b.whole(2, 0, HALF)
    b.whole(32, 2, BYTE, signed=True)
    return b


def k_block(fifth: bool) -> BlockFields:
    """Q4_K and Q5_K: 256 elements in 8 groups, whose scales and minima have 6 bits each."""
    low = 48 if fifth else 16
    b = BlockFields(bits=4 + fifth, group=32, bytes=low + 128)
    b.unit = b.whole(2, 0, HALF)
    b.whole(2, 2, HALF)
    b.subunit = b.plane(8)
    minima = b.plane(8)
    for j in range(4):
        b.add(b.subunit, j, 4 + j, 0, 6)
        b.add(minima, j, 8 + j, 0, 6)
    for j in range(4, 8):
        b.add(b.subunit, j, 8 + j, 0, 4)
        b.add(b.subunit, j, j, 6, 2, into=4)
        b.add(minima, j, 8 + j, 4, 4)
        b.add(minima, j, 4 + j, 6, 2, into=4)
    codes = b.plane(256)
    for e in range(256):
        b.add(codes, e, low + e // 64 * 32 + e % 32, 4 * (e % 64 // 32), 4)
        if fifth:
            b.add(codes, e, 16 + e % 32, e // 32, 1, into=4)
    return b


def q6_k_block() -> BlockFields:
    """256 elements of 6 bits in 16 groups, whose scales are signed bytes."""
    b = BlockFields(bits=6, group=16, bytes=210)
    b.unit = b.whole(2, 208, HALF)
    b.subunit = b.whole(16, 192, BYTE, signed=True)
    codes = b.plane(256)
    for e in range(256):
        half, quarter, i = e // 128, e % 128 // 32, e % 32
        b.add(codes, e, half * 64 + quarter % 2 * 32 + i, 4 * (quarter // 2), 4)
        b.add(codes, e, 128 + half * 32 + i, 2 * quarter, 2, into=4)
    return b


def packed_block() -> BlockFields:
    """Two codes a byte, the first one in the low bits."""
    b = BlockFields(bits=4, bytes=1)
    codes = b.plane(2)
    b.add(codes, 0, 0, 0, 4)
    b.add(codes, 1, 0, 4, 4)
    return b


PACKED = packed_block()
BLOCKS = {
    Dtype.Q4_0: legacy_block(minimum=False, fifth=False),
    Dtype.Q4_1: legacy_block(minimum=True, fifth=False),
    Dtype.Q5_0: legacy_block(minimum=False, fifth=True),
    Dtype.Q5_1: legacy_block(minimum=True, fifth=True),
    Dtype.Q8_0: q8_0_block(),
    Dtype.Q4_K: k_block(fifth=False),
    Dtype.Q5_K: k_block(fifth=True),
    Dtype.Q6_K: q6_k_block(),
}
