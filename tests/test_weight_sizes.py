"""Sizes of made-up weights by every coder of tensors: a change of ratio or of format is seen here.

Values are drawn as integers and scaled exactly, so they are the same on every machine. Run
``python tests/test_weight_sizes.py`` for the table after a change that is meant.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nncodec.tensors.coder import encode_fields, encode_tensors
from nncodec.tensors.delta_coder import encode_deltas
from nncodec.tensors.delta_items import DeltaItem, Mode
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import Item

ROWS, COLS = 96, 128
SIZES = {
    "F32 max": 31249,
    "F32 fast": 31515,
    "F32 delta": 27010,
    "F16 max": 20859,
    "F16 fast": 21052,
    "BF16 max": 16249,
    "BF16 fast": 16581,
    "F8_E4M3 max": 8544,
    "F8_E4M3 fast": 8741,
    "I16 max": 17703,
    "I8 max": 8335,
    "I8 fast": 8517,
    "U8 max": 8485,
    "U8 fast": 8932,
    "Q8_0 max": 5462,
    "Q4_0 max": 5448,
    "pruned max": 16933,
}


def numbers(seed: int = 1) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """(96, 128) float32, bell-shaped: sums of twelve uniform integers, rows of unequal size."""
    rng = np.random.default_rng(seed)
    sums = rng.integers(0, 1 << 16, (12, ROWS, COLS)).sum(0) - 6 * (1 << 16)
    return (sums * (1 + np.arange(ROWS)[:, None] % 5)).astype(np.float32) * np.float32(2**-20)


def cases() -> Iterator[tuple[str, int]]:
    values = numbers()
    floats = {
        Dtype.F32: values,
        Dtype.F16: values.astype(np.float16),
        Dtype.BF16: (values.view(np.uint32) >> 16).astype(np.uint16),
        Dtype.F8_E4M3: (values.view(np.uint32) >> 20).astype(np.uint8),
        Dtype.I16: (values * 4096).astype(np.int16),
        Dtype.I8: (values * 64).clip(-128, 127).astype(np.int8),
        Dtype.U8: ((values * 64).clip(-128, 127) + 128).astype(np.uint8),
    }
    for dtype, array in floats.items():
        items, data = [Item(dtype, 0, ROWS, COLS)], array.reshape(-1).view(np.uint8)
        yield f"{dtype.name} max", len(encode_tensors(items, data, ""))
        if dtype == Dtype.I16:
            continue
        yield f"{dtype.name} fast", len(encode_fields(items, data, ""))
        moved = (values + numbers(2) * np.float32(2**-9)).astype(np.float32)
        if dtype == Dtype.F32:
            new = moved.reshape(-1).view(np.uint8)
            deltas = [DeltaItem(items[0], Mode.MOVED)]
            yield f"{dtype.name} delta", len(encode_deltas(deltas, data, new, ""))
    groups = (values * 32).clip(-7, 7).astype(np.int8).reshape(-1, 32)
    scales = (0x2400 + np.arange(len(groups)) % 64).astype("<u2").view(np.uint8).reshape(-1, 2)
    codes = (groups + 8).astype(np.uint8)
    packed = codes[:, :16] | codes[:, 16:] << 4
    for dtype, block in ((Dtype.Q8_0, groups.view(np.uint8)), (Dtype.Q4_0, packed)):
        data = np.concatenate([scales, block], axis=1).reshape(-1)
        yield f"{dtype.name} max", len(encode_tensors([Item(dtype, 0, ROWS, COLS // 32)], data, ""))
    pruned = np.where(np.abs(values) < np.float32(0.1), np.float32(0), values)
    data = pruned.reshape(-1).view(np.uint8)
    yield "pruned max", len(encode_tensors([Item(Dtype.F32, 0, ROWS, COLS)], data, ""))


def test_sizes() -> None:
    assert dict(cases()) == SIZES


if __name__ == "__main__":
    for name, size in cases():
        print(f'    "{name}": {size},')
