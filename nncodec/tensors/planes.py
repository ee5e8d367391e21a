"""An item as planes, matrices of one simple form each: the readable twin of csrc/tensor_planes.h.

A block format's scales and codes are planes of their own, and packed nibbles become one byte each.
``modes`` is how an encoder chooses among the ways to see an item. docs/weights.md has the reasons.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, IntEnum, auto

import numpy as np
import numpy.typing as npt

from nncodec.tensors.block_fields import BLOCKS, BYTE, LAYOUTS, PACKED, SINGLE, BlockFields, Layout
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.grid import GRIDS, LEAST_GROUP, find_grid, grid_values
from nncodec.tensors.items import Item
from nncodec.tensors.trellis_states import MAX_TRELLIS

WHOLE_ROW = 15  # a mode's group
Bytes = npt.NDArray[np.uint8]


class Form(Enum):
    FLOAT = auto()
    INTEGER = auto()  # two's complement, or unsigned around a mean
    CODE = auto()  # 4 or 5 bits in a byte


class View(IntEnum):
    """What an item's elements are taken for."""

    PLAIN = 0
    SMALL = 1  # bytes of 4-bit values
    PACKED = 2  # two of them a byte, low first
    GRID = 3  # floats that are scales times integers


@dataclass(frozen=True)
class Mode:
    """How the encoder chose to see an item: two bytes before its planes."""

    view: View = View.PLAIN
    twos: bool = False  # 4-bit values are two's complement; integers of a grid have 16 bits
    trellis: int = 0  # log2 of the states of trellis-coded integers, or 0
    group: int = 0  # log2 of how many values share a scale; 0: none known; 15: a row

    @property
    def first(self) -> int:
        return self.view | self.twos << 2 | self.trellis << 3

    @classmethod
    def of(cls, first: int, second: int) -> Mode:
        return cls(View(first & 3), bool(first & 4), first >> 3, second)


@dataclass(frozen=True)
class Plane:
    form: Form
    layout: Layout
    signed: bool
    bits: int  # of codes
    rows: int
    cols: int
    group: int = 0  # elements that share a scale; 0: none known
    unit: int = -1  # the planes of this item that hold those scales, or -1:
    subunit: int = -1  # a group's is their product
    trellis: int = 0

    @property
    def size(self) -> int:
        """In bytes."""
        return self.rows * self.cols * self.layout.bytes


def valid_mode(item: Item, mode: Mode) -> bool:
    """Whether a decoder may use ``mode``."""
    if mode.trellis == 1 or mode.trellis > MAX_TRELLIS or mode.group > WHOLE_ROW:
        return False
    if mode.view == View.PLAIN:
        indices = item.dtype in (Dtype.I8, Dtype.I16)
        return not mode.twos and not mode.group and (indices or not mode.trellis)
    if mode.trellis:
        return False
    if mode.view == View.GRID:
        group = group_of(mode, item.cols)
        wide = mode.group >= LEAST_GROUP.bit_length() - 1
        return item.dtype in GRIDS and wide and item.cols % group == 0
    return item.dtype in (Dtype.I8, Dtype.U8)


def block_of(item: Item, mode: Mode) -> BlockFields | None:
    if mode.view == View.PACKED:
        return PACKED
    return BLOCKS.get(item.dtype) if item.dtype else None


def planes_of(item: Item, mode: Mode) -> list[Plane]:
    if mode.view == View.GRID:
        group = group_of(mode, item.cols)
        codes = Layout(2 if mode.twos else 1)
        return [
            Plane(Form.FLOAT, SINGLE, False, 32, item.rows, item.cols // group),
            Plane(Form.INTEGER, codes, True, 8 * codes.bytes, item.rows, item.cols, group, unit=0),
        ]
    block = block_of(item, mode)
    if block is None:
        layout = LAYOUTS.get(item.dtype, BYTE) if item.dtype else BYTE
        small = mode.view == View.SMALL
        form = Form.FLOAT if layout.exponent else Form.CODE if small else Form.INTEGER
        signed = item.dtype in (Dtype.I8, Dtype.I16)
        bits = 4 if small else 8 * layout.bytes
        group = group_of(mode, item.cols)
        return [
            Plane(form, layout, signed, bits, item.rows, item.cols, group, trellis=mode.trellis)
        ]
    planes = [
        Plane(
            Form.FLOAT if part.layout.exponent else Form.INTEGER,
            part.layout,
            part.signed,
            8,
            item.rows,
            item.cols * (part.bytes // part.layout.bytes),
        )
        for part in block.planes
    ]
    last = planes.pop()
    last = replace(
        last,
        form=Form.CODE if block.bits <= 5 else last.form,
        bits=block.bits,
        group=group_of(mode, last.cols) or block.group,
        unit=block.unit,
        subunit=block.subunit,
    )
    return [*planes, last]


def group_of(mode: Mode, cols: int) -> int:
    """Elements; 0 for none."""
    return 0 if mode.group == 0 else cols if mode.group == WHOLE_ROW else 1 << mode.group


def split(item: Item, mode: Mode, data: Bytes) -> list[Bytes]:
    """The planes of an item's (size,) bytes, flat, in the order of ``planes_of``."""
    if mode.view == View.GRID:
        grid = find_grid(item, data)
        assert grid is not None  # or the mode were another one
        codes = grid.codes.astype("<i2" if mode.twos else "i1")
        return [grid.scales.astype("<u4").view(np.uint8), codes.view(np.uint8)]
    block = block_of(item, mode)
    flip = 8 if mode.twos else 0
    if block is None:
        return [data + np.uint8(flip) if mode.view == View.SMALL else data]
    blocks = data.reshape(-1, block.bytes)
    planes = [np.zeros((len(blocks), part.bytes), dtype=np.uint8) for part in block.planes]
    for f in block.fields:
        part = (blocks[:, f.byte] >> f.shift & ((1 << f.width) - 1)) << f.into
        planes[f.plane][:, f.place] |= part if f.into else part ^ flip
    return [plane.reshape(-1) for plane in planes]


def join(item: Item, mode: Mode, planes: list[Bytes]) -> Bytes:
    """Inverse of ``split``."""
    if mode.view == View.GRID:
        assert item.dtype is not None  # by ``valid_mode``
        codes = planes[1].view("<i2" if mode.twos else "i1").astype(np.int16)
        scales = planes[0].view("<u4").astype(np.uint32).repeat(group_of(mode, item.cols))
        bits = grid_values(item.dtype, codes, scales)
        return bits.astype("<u4" if item.dtype == Dtype.F32 else "<u2").view(np.uint8)
    block = block_of(item, mode)
    flip = 8 if mode.twos else 0
    if block is None:
        return planes[0] - np.uint8(flip) if mode.view == View.SMALL else planes[0]
    parts = [
        plane.reshape(-1, part.bytes) for plane, part in zip(planes, block.planes, strict=True)
    ]
    blocks = np.zeros((len(parts[0]), block.bytes), dtype=np.uint8)
    for f in block.fields:
        part = (parts[f.plane][:, f.place] ^ flip) >> f.into & ((1 << f.width) - 1)
        blocks[:, f.byte] |= part << f.shift
    return blocks.reshape(-1)
