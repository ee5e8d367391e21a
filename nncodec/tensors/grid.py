"""Floats that were integers once: the readable twin of csrc/tensor_grid.h.

Every group of elements is a scale times small integers, rounded to the dtype. Only double additions
and products in a fixed order and powers of two, so that every machine finds the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nncodec.tensors.block_fields import LAYOUTS, Layout
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import Item

GRIDS = (Dtype.F32, Dtype.F16, Dtype.BF16)
TINY = 2.0**-90  # smaller ones could make denormal products, which some hardware flushes
LEAST = 256  # elements; fewer are hardly worth a scale
LEAST_GROUP, MOST_GROUP = 32, 1 << 16
Bytes = npt.NDArray[np.uint8]
Bits = npt.NDArray[np.uint32]
Codes = npt.NDArray[np.int16]
Scaled = tuple[int, list[int]]  # a scale's float32 bits, and the codes of its group


@dataclass(frozen=True)
class Grid:
    group: int  # elements that share a scale; it divides the columns
    scales: Bits  # (groups,), float32
    codes: Codes  # (groups * group,), at most 255 in size


def most_code(dtype: Dtype) -> int:
    """bfloat16 has eight bits itself: with codes as wide every number would be on some grid."""
    return 127 if dtype == Dtype.BF16 else 255


def grid_values(dtype: Dtype, codes: Codes, scales: Bits) -> Bits:
    """The bits, in a float dtype, of (n,) codes times (n,) scales, rounded twice: to float32, then
    to the dtype."""
    with np.errstate(all="ignore"):  # damaged payloads have scales of any size
        product = codes.astype(np.float32) * scales.view(np.float32)
        bits = product.view(np.uint32)
        if dtype == Dtype.F32:
            return bits
        if dtype == Dtype.BF16:  # to the nearest, ties to even
            half = (0x7FFF + (bits >> 16 & 1)).astype(np.uint32)
            return bits + half >> np.uint32(16)
        no_nan = np.where(np.isnan(product), np.copysign(np.float32(np.inf), product), product)
        return no_nan.astype(np.float16).view(np.uint16).astype(np.uint32)


def to_bits(dtype: Dtype, data: Bytes) -> Bits:
    return data.view("<u4" if dtype == Dtype.F32 else "<u2").astype(np.uint32)


def to_doubles(dtype: Dtype, bits: Bits) -> list[float]:
    if dtype == Dtype.F16:
        return [float(x) for x in bits.astype(np.uint16).view(np.float16)]
    wide = bits if dtype == Dtype.F32 else bits << np.uint32(16)
    return [float(x) for x in wide.view(np.float32)]


def find_grid(item: Item, data: Bytes) -> Grid | None:
    """The grid that gives exactly the elements of ``item``, if there is one."""
    dtype, cols = item.dtype, item.cols
    n = item.rows * cols
    if dtype not in GRIDS or n < LEAST:
        return None
    bits = to_bits(dtype, data)
    for group in (cols, 256, 128, 64, 32):
        if group < LEAST_GROUP or cols % group or (group == cols and group > MOST_GROUP):
            continue
        found: list[Scaled] = []
        for part in bits.reshape(-1, group):
            if (scaled := find_group(dtype, part)) is None:
                break
            found.append(scaled)
        else:
            scales, codes = zip(*found, strict=True)
            flat = np.array(codes, dtype=np.int16).reshape(-1)
            return Grid(group, np.array(scales, dtype=np.uint32), flat)
    return None


def find_group(dtype: Dtype, bits: Bits) -> Scaled | None:
    """The coarsest grid of one group of (n,) elements."""
    layout = LAYOUTS[dtype]
    full = (1 << layout.exponent) - 1
    if (bits >> layout.mantissa & full == full).any():  # infinities, NaN
        return None
    values = to_doubles(dtype, bits)
    sizes = [abs(x) for x in values]
    top = max(sizes)
    if top == 0:
        return None if bits.any() else (0, [0] * len(bits))
    least = min(x for x in sizes if x)
    if least < TINY or top / least > most_code(dtype) + 1:
        return None
    order = sorted(range(len(values)), key=sizes.__getitem__)
    for most in range(max(1, int(top / least)), most_code(dtype) + 1):
        codes = codes_of(layout, values, order, most)
        if codes and (scale := scale_of(dtype, bits, codes[0], codes[1:])) is not None:
            return scale, codes[0]
    return None


def codes_of(
    layout: Layout, values: Sequence[float], order: Sequence[int], most: int
) -> tuple[list[int], float, float] | None:
    """Codes of a group whose largest element is ``most`` steps from zero, and the least and the
    greatest scale that give them; None if that is no grid.

    ``order`` has small elements first: how many steps those are is never in doubt, and what they
    tell of the scale decides the large ones.
    """
    codes = [0] * len(values)
    top = abs(values[order[-1]])
    low, high = (top - below(layout, top)) / most, (top + above(layout, top)) / most
    for i in order:
        size = abs(values[i])
        code = int(size / ((low + high) / 2) + 0.5)
        codes[i] = -code if values[i] < 0 else code
        if code == 0:
            if size:
                return None
            continue
        low = max(low, (size - below(layout, size)) / code)
        high = min(high, (size + above(layout, size)) / code)
        if low > high:
            return None
    return codes, low, high


def scale_of(
    dtype: Dtype, bits: Bits, codes: Sequence[int], bounds: tuple[float, float]
) -> int | None:
    """The bits of the float32 within ``bounds`` that gives all of a group, among those tried."""
    middle = float32_bits(sum(bounds) / 2)
    wide = np.array(codes, dtype=np.int16)
    for scale in (simplest(*bounds), middle, middle - 1, middle + 1):
        scales = np.full(len(codes), scale, dtype=np.uint32)
        if np.array_equal(grid_values(dtype, wide, scales), bits):
            return scale
    return None


def above(layout: Layout, size: float) -> float:
    """How far an element may lie above what was rounded to it: half a unit in the last place."""
    least = 2 - (1 << (layout.exponent - 1))
    return math.ldexp(1.0, max(ilogb(size), least) - layout.mantissa - 1)


def below(layout: Layout, size: float) -> float:
    """As ``above``, but towards zero from a power of two half of that."""
    halved = math.ldexp(1.0, ilogb(size)) == size
    return above(layout, size) / 2 if halved else above(layout, size)


def ilogb(size: float) -> int:
    return math.frexp(size)[1] - 1


def float32_bits(x: float) -> int:
    return int(np.float32(x).view(np.uint32))


def simplest(low: float, high: float) -> int:
    """The bits of the float32 within [low, high] that has the fewest mantissa bits."""
    bits = float32_bits((low + high) / 2)
    for drop in range(22, 0, -1):
        rounded = (bits + (1 << (drop - 1))) & ~((1 << drop) - 1)
        if low <= float(np.uint32(rounded).view(np.float32)) <= high:
            return rounded
    return bits
