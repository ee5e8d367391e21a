"""Indices back to floats, by their records. Products of float32, so equal on every machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from nncodec.lossy import spec, tables, trellis
from nncodec.lossy.spec import Record, broken
from nncodec.lossy.store import Checkpoint, Tensor, from_floats, from_numpy

Matrix = npt.NDArray[np.float32]
Number = TypeVar("Number", bound=np.generic)


def as_rows(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """As a matrix whose columns are the last axis."""
    cols = values.shape[-1] if values.shape else 1
    return values.reshape(math.prod(values.shape[:-1]), cols)


def is_quantized(metadata: Mapping[str, str]) -> bool:
    """Whether a file's metadata says that it holds quantised tensors."""
    return spec.KEY in metadata


def dequantize(
    tensors: Mapping[str, Tensor | npt.NDArray[np.generic]], metadata: Mapping[str, str]
) -> dict[str, Tensor]:
    """All tensors with floats of the original dtypes for indices, without scales and codebooks.

    What is not quantised stays as it is. ``Tensor.data`` is a numpy array; of bfloat16 it has the
    bits. Raises ContainerFormatError if metadata and tensors contradict each other.
    """
    records = spec.unpack(metadata)
    whole = {n: t if isinstance(t, Tensor) else from_numpy(t) for n, t in tensors.items()}
    helpers = {name for record in records.values() for name in record.helpers}
    for name in sorted(records.keys() | helpers):
        if name not in whole:
            raise broken(f"there is no tensor {name!r}")
    if both := records.keys() & helpers:
        raise broken(f"{min(both)!r} is both indices and scales")
    return {
        name: restore(records[name], tensor, whole) if name in records else tensor
        for name, tensor in whole.items()
        if name not in helpers
    }


def plain(checkpoint: Checkpoint) -> Checkpoint:
    """The same without quantisation, in tensors and in metadata."""
    metadata = {key: value for key, value in checkpoint.metadata.items() if key != spec.KEY}
    return Checkpoint(dequantize(checkpoint.tensors, checkpoint.metadata), metadata)


def restore(record: Record, tensor: Tensor, others: Mapping[str, Tensor]) -> Tensor:
    """One tensor in its original dtype."""
    return from_floats(values(record, tensor, others), record.dtype)


def values(record: Record, tensor: Tensor, others: Mapping[str, Tensor]) -> Matrix:
    """Float32 in the original's shape. Raises ContainerFormatError if the parts do not fit."""
    shape = record.shape or tensor.shape
    codes = codes_of(record, tensor)
    if record.format in ("uniform", "trellis"):
        out = _moved(record, codes) * _scales(record, codes, others)
    elif record.format == "int8":
        out = codes.astype(np.float32) * _scales(record, codes, others)
    elif record.format == "quantile":
        book = _helper(record.codebook, others).ravel()
        out = book[_inside(codes, -(len(book) // 2), len(book))]
    else:
        numbers = codes.astype(np.float32)
        if record.format == "nf4":
            numbers = tables.NF4[_inside(codes, -tables.NF4_ZERO, len(tables.NF4))]
        rows, cols = codes.shape
        scales = _helper(record.scales, others)
        if scales.shape != (rows, -(-cols // record.group)):
            raise broken(f"{record.scales!r} has the shape {scales.shape} for {codes.shape}")
        out = numbers * tables.spread(scales, record.group, cols)
    return np.ascontiguousarray(out, dtype=np.float32).reshape(shape)


def codes_of(record: Record, tensor: Tensor) -> npt.NDArray[np.integer]:
    """(rows, cols): a tensor's indices, unpacked. Raises ContainerFormatError."""
    packed = bool(record.shape)
    allowed = ("U8",) if packed else ("I8", "I16") if not record.codebook else ("I8",)
    if tensor.dtype not in allowed or not tensor.shape:
        raise broken(f"indices are {tensor.dtype} of {len(tensor.shape)} axes, not {allowed[0]}")
    matrix = as_rows(tensor.data)
    if not packed:
        return matrix
    cols = record.shape[-1]
    if tensor.shape != (*record.shape[:-1], (cols + 1) // 2):
        raise broken(f"{tensor.shape} bytes are not nibbles of {record.shape}")
    return tables.unpack_nibbles(np.ascontiguousarray(matrix, np.uint8), cols)


def _moved(record: Record, codes: npt.NDArray[np.integer]) -> Matrix:
    """Levels in steps: multiples, and the points next to zero moved."""
    wide = codes.astype(np.int32)
    if record.format == "uniform":
        shift = np.array([0, *record.points, 0], dtype=np.float32)
        levels, moves = wide, shift[np.minimum(np.abs(wide), len(shift) - 1)]
    else:
        quantisers = trellis.quantisers(wide, record.states)
        levels = trellis.level(wide, quantisers)
        shifts = np.zeros((2, 4), dtype=np.float32)
        shifts[:, 1:3] = np.reshape(record.points or (0,) * 4, (2, 2))
        moves = shifts[quantisers, np.minimum(np.abs(wide), 3)]
    return levels.astype(np.float32) + np.sign(wide).astype(np.float32) * moves


def _scales(record: Record, codes: npt.NDArray[np.integer], others: Mapping[str, Tensor]) -> Matrix:
    if not record.scales:
        return np.full((1, 1), record.step, dtype=np.float32)
    scales = _helper(record.scales, others)
    if scales.shape != (len(codes), 1):
        raise broken(f"{record.scales!r} has the shape {scales.shape} for {len(codes)} rows")
    return scales


def _helper(name: str, others: Mapping[str, Tensor]) -> Matrix:
    tensor = others[name]
    if not tensor.is_float or tensor.data.size == 0 or not tensor.shape:
        raise broken(f"{name!r} holds no floats")
    return tensor.floats()


def _inside(codes: npt.NDArray[np.integer], least: int, count: int) -> npt.NDArray[np.int64]:
    """Places in a table of ``count`` whose first code is ``least``."""
    places = codes.astype(np.int64) - least
    if places.size and not (places.min() >= 0 and places.max() < count):
        raise broken(f"indices reach beyond a table of {count}")
    return places
