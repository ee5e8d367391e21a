"""Weights as a stream of bytes, one a weight: what a byte Transformer reads and predicts.

A byte has the size class of a weight in its high three bits, and in the low five what is known of
the next weight's size before that is coded: the running scale of its row and column, which is
``Place.scale`` of ``model.py``. A row begins with a mark. So a model that sees a few hundred bytes
sees the neighbours' sizes, the scales, and the place in the row. docs/weights-transformer.md has
the reasons.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import Item
from nncodec.tensors.model import COLUMNS, FLOATS, PRIOR, Cut, Encoding, TensorRun

Integers = npt.NDArray[np.int64]

CLASS_BITS, SCALE_BITS = 3, 5
CLASSES, SCALES = 1 << CLASS_BITS, 1 << SCALE_BITS
LAST_CLASS = CLASSES - 1  # of floats: all that lies this far below the anchor, zeros and escapes
ROW_MARK = 255  # would be the last class before a very small weight, which is then SCALES - 2
FLOAT_TOP, INTEGER_TOP = 190, 182  # scales that are large; the steps are eighths of an octave


def is_float(dtype: Dtype | None) -> bool:
    return dtype in FLOATS


def first_symbol(c: Cut, floating: bool) -> int:
    """What ``TensorRun`` codes first of a weight: 0 to 15."""
    return c.symbol if floating else c.exponent >> 4


def scale_class(scale: int, floating: bool) -> int:
    """Of a scale in eighths of an octave: 0 (large weights) to 31."""
    return max(0, min(SCALES - 1, (FLOAT_TOP if floating else INTEGER_TOP) - scale))


def symbol_byte(symbol: int, scale: int) -> int:
    """A weight's first symbol and the class of the next one's scale; never ``ROW_MARK``."""
    return min(ROW_MARK - 1, min(LAST_CLASS, symbol) << SCALE_BITS | scale)


def leaves(counts: npt.NDArray[np.integer], floating: bool) -> Integers:
    """(..., 256) counts of the next byte -> (..., 16) of the next symbol, each at least 1.

    Of floats that are far below the anchor every binade has half of what the one above has, as it
    is with any density that is smooth around zero; integers of 8 bits end with class 7.
    """
    sums = counts.reshape(*counts.shape[:-1], CLASSES, SCALES).sum(-1, dtype=np.int64)
    result = np.zeros((*counts.shape[:-1], 16), dtype=np.int64)
    result[..., :LAST_CLASS] = sums[..., :LAST_CLASS]
    rest = sums[..., LAST_CLASS] - counts[..., ROW_MARK]
    for symbol in range(LAST_CLASS, 15) if floating else ():
        rest, result[..., symbol] = rest - (rest >> 1), rest >> 1
    result[..., 15 if floating else LAST_CLASS] = rest
    return np.maximum(1, result)


def log2_eighths(x: Integers) -> Integers:
    """``model.log2_eighths`` of each; 0 < x < 2^53."""
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


def cut_all(item: Item, data: bytes) -> tuple[Integers, Integers]:
    """Of an item's elements, each (rows, cols): the symbol that ``TensorRun`` codes first, 0 to 15,
    and the size, as its ``magnitude`` has it."""
    run = TensorRun(Encoding(), bytearray(data))
    run.set_item(item)
    run.anchor = run.choose_anchor(item.rows * item.cols)
    width = item.element_bytes
    values = np.frombuffer(data, dtype=f"<u{width}").reshape(item.rows, item.cols)
    unique, places = np.unique(values, return_inverse=True)
    cuts = [run.cut(value) for value in unique.tolist()]
    symbols = np.array([first_symbol(c, is_float(item.dtype)) for c in cuts], dtype=np.int64)
    sizes = np.array([run.magnitude(c) for c in cuts], dtype=np.int64)
    return symbols[places].reshape(values.shape), sizes[places].reshape(values.shape)


def symbol_stream(item: Item, data: bytes) -> bytes:
    """What a Transformer has read, after the mark of the block, when the item's end is reached.

    Every row is a mark and a byte a weight; the last weight of all has nothing after it, and none.
    """
    symbols, sizes = cut_all(item, data)
    top = FLOAT_TOP if is_float(item.dtype) else INTEGER_TOP
    scales = np.clip(top - running_scales(sizes), 0, SCALES - 1)
    classes = np.minimum(LAST_CLASS, symbols)
    following = np.append(scales.ravel()[1:], 0).reshape(scales.shape)
    stream = np.full((item.rows, item.cols + 1), ROW_MARK, dtype=np.uint8)
    stream[:, 1:] = np.minimum(ROW_MARK - 1, classes << SCALE_BITS | following)
    return stream.tobytes()[:-1]
