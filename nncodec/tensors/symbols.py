"""Weights as a stream of bytes, one a weight: what a byte Transformer reads and predicts.

A byte has the size class of a weight in its high three bits, and in the low five what is known of
the next weight's size before that is coded: the running scale of its row and column, which is
``Place.scale`` of ``parts.py``. A row begins with a mark. So a model that sees a few hundred bytes
sees the neighbours' sizes, the scales, and the place in the row. docs/weights-transformer.md has
the reasons.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nncodec.errors import UnreadTensorError
from nncodec.tensors.block_fields import BYTE, LAYOUTS
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.groups import PRIOR
from nncodec.tensors.items import Item
from nncodec.tensors.model import COLUMNS, TensorRun
from nncodec.tensors.parts import Cut, Encoding
from nncodec.tensors.planes import Form

Integers = npt.NDArray[np.int64]

CLASS_BITS, SCALE_BITS = 3, 5
CLASSES, SCALES = 1 << CLASS_BITS, 1 << SCALE_BITS
LAST_CLASS = CLASSES - 1  # of floats: all that lies this far below the anchor, zeros and escapes
ROW_MARK = 255  # would be the last class before a very small weight, which is then SCALES - 2
FLOAT_TOP, INTEGER_TOP = 190, 182  # scales that are large; the steps are eighths of an octave


def is_float(dtype: Dtype) -> bool:
    return LAYOUTS.get(dtype, BYTE).exponent > 0


def is_read(run: TensorRun) -> bool:
    """Whether the network reads the plane that ``run`` has begun: the whole of a tensor of floats
    or 8-bit integers in the plain mode, zeros not told first.

    Not grids, blocks, 4-bit codes, trellis indices, 16-bit integers and pruned tensors.
    """
    plane = run.plane
    weights = plane.form == Form.FLOAT or (plane.form == Form.INTEGER and run.width == 1)
    return weights and len(run.planes) == 1 and not plane.trellis and not run.sparse


def first_symbol(c: Cut, floating: bool) -> int:
    """What ``TensorRun`` codes first of a weight: 0 to 15, of integers to 7."""
    return c.symbol if floating else c.exponent >> 4 & 7  # -128 is minus zero


def scale_class(scale: int, floating: bool) -> int:
    """Of a scale in eighths of an octave: 0 (large weights) to 31."""
    return max(0, min(SCALES - 1, (FLOAT_TOP if floating else INTEGER_TOP) - scale))


def symbol_byte(symbol: int, scale: int) -> int:
    """A weight's first symbol and the class of the next one's scale; never ``ROW_MARK``."""
    return min(ROW_MARK - 1, min(LAST_CLASS, symbol) << SCALE_BITS | scale)


def leaves(counts: npt.NDArray[np.integer], floating: bool) -> Integers:
    """(..., 256) counts of the next byte -> (..., 16) of the next symbol, of integers (..., 8).

    Each is at least 1. Of floats that are far below the anchor every binade has half of what the
    one above has, as it is with any density that is smooth around zero.
    """
    sums = counts.reshape(*counts.shape[:-1], CLASSES, SCALES).sum(-1, dtype=np.int64)
    result = np.zeros((*counts.shape[:-1], 16 if floating else CLASSES), dtype=np.int64)
    result[..., :LAST_CLASS] = sums[..., :LAST_CLASS]
    rest = sums[..., LAST_CLASS] - counts[..., ROW_MARK]
    for symbol in range(LAST_CLASS, 15) if floating else ():
        rest, result[..., symbol] = rest - (rest >> 1), rest >> 1
    result[..., -1] = rest
    return np.maximum(1, result)


def log2_eighths(x: Integers) -> Integers:
    """``parts.log2_eighths`` of each; 0 < x < 2^53."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    fraction = ((2 * mantissa - 1) * 8).astype(np.int64)
    return 8 * (exponent.astype(np.int64) - 1) + fraction


def running_scales(magnitudes: Integers) -> Integers:
    """``Place.scale`` of every element of a matrix of sizes, both (rows, cols).

    Raises ValueError for rows that are longer than the columns that are told apart.
    """
    rows, cols = magnitudes.shape
    if cols > COLUMNS:
        raise ValueError(f"rows of {cols} weights; cut them into {COLUMNS} at most")
    result = np.empty_like(magnitudes)
    column_sums = np.zeros(cols, dtype=np.int64)
    places = np.arange(cols)
    starts = places[::32]
    total = 0
    for row, sizes in enumerate(magnitudes):
        before = np.cumsum(sizes) - sizes
        counts = np.maximum(1, row * cols + starts)
        mean = np.repeat(np.maximum(1, (total + before[starts]) // counts), 32)[:cols]

        def scale(sums: Integers, counts: Integers | int, mean: Integers = mean) -> Integers:
            scales = log2_eighths(np.maximum(1, (sums + PRIOR * mean) // (counts + PRIOR)))
            return np.minimum(511, scales)

        overall = log2_eighths(mean)
        by_column = scale(column_sums, row) if rows > 1 else overall
        result[row] = np.clip(scale(before, places) + by_column - overall, 0, 511)
        column_sums += sizes
        total += int(sizes.sum())
    return result


class Opened(TensorRun):
    """Begins planes, and leaves their rows alone."""

    def code_row(self, row: int) -> None:
        pass


def cut_all(item: Item, data: bytes) -> tuple[Integers, Integers]:
    """Of an item's elements, each (rows, cols): the symbol that ``TensorRun`` codes first, 0 to 15,
    and the size that its running scales sum.

    Raises UnreadTensorError for an item that the network does not read.
    """
    run = Opened(Encoding())
    run.item(item, data)
    if not is_read(run):
        kind = item.dtype.name if item.dtype else "bytes"
        raise UnreadTensorError(
            f"a tensor of {kind}, {item.rows} x {item.cols}, is not coded in the plain mode, or "
            "has many zeros: the network reads dense floats and 8-bit integers; leave it out"
        )
    values = np.frombuffer(data, dtype=f"<u{run.width}").reshape(item.rows, item.cols)
    unique, places = np.unique(values, return_inverse=True)
    cuts = [run.cut(value) for value in unique.tolist()]
    symbols = np.array([first_symbol(c, run.is_float) for c in cuts], dtype=np.int64)
    magnitude = run.floats.magnitude if run.is_float else integer_magnitude
    sizes = np.array([magnitude(c) for c in cuts], dtype=np.int64)
    return symbols[places].reshape(values.shape), sizes[places].reshape(values.shape)


def integer_magnitude(c: Cut) -> int:
    return c.exponent << 16


def symbol_stream(item: Item, data: bytes) -> bytes:
    """What a Transformer has read, after the mark of the block, when the item's end is reached.

    Every row is a mark and a byte a weight; the last weight of all has nothing after it, and none.
    Raises UnreadTensorError for an item that the network does not read.
    """
    symbols, sizes = cut_all(item, data)
    top = FLOAT_TOP if item.dtype and is_float(item.dtype) else INTEGER_TOP
    scales = np.clip(top - running_scales(sizes), 0, SCALES - 1)
    classes = np.minimum(LAST_CLASS, symbols)
    following = np.append(scales.ravel()[1:], 0).reshape(scales.shape)
    stream = np.full((item.rows, item.cols + 1), ROW_MARK, dtype=np.uint8)
    stream[:, 1:] = np.minimum(ROW_MARK - 1, classes << SCALE_BITS | following)
    return stream.tobytes()[:-1]
