"""What a tensor's numbers are, where its dtype does not say so: packed codes of four bits.

Quantised models keep two codes a byte, and these in bytes or, as GPTQ's and compressed-tensors'
files do, in 32-bit integers. The coder takes packed codes as bytes and unpacks them itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import model_of
from nncodec.tensors.layout import Span
from nncodec.tensors.modes import SAMPLE, looks_packed
from nncodec.tensors.planes import Bytes

WORD = 4  # bytes


class Matrix(NamedTuple):
    """Rows and columns of an item's elements, or blocks; the dtype is one of ``MODELLED``."""

    dtype: Dtype
    rows: int
    cols: int


def matrix_of(span: Span, data: Bytes) -> Matrix | None:
    """How a tensor in the file ``data`` is coded; None: as bytes like any others."""
    dtype, rows, cols = span.dtype, span.rows, span.cols
    if dtype == Dtype.I4 and cols % 2 == 0:
        return Matrix(Dtype.U8, rows, cols // 2)
    sample = slice(span.begin, min(span.end, span.begin + WORD * SAMPLE))  # no more is fetched
    if dtype in (Dtype.I32, Dtype.U32) and words_are_packed(data[sample]):
        return Matrix(Dtype.U8, rows, cols * WORD)
    model = model_of(dtype)
    if model is None or cols % model.block_elements:
        return None
    return Matrix(model, rows, cols // model.block_elements)


def words_are_packed(words: Bytes) -> bool:
    """Whether (n,) bytes, n a multiple of four, are words of eight codes each.

    Each byte of the words looks packed then; of plain integers the upper ones are nearly constant.
    """
    sample = words[: WORD * SAMPLE].reshape(-1, WORD)
    return all(looks_packed(np.ascontiguousarray(sample[:, i])) for i in range(WORD))
