"""Weights and what training makes of them, for the tests of deltas."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt

from nncodec.tensors.dtypes import Dtype

Floats = npt.NDArray[np.float32]


def normal(rows: int, cols: int, seed: int = 1) -> Floats:
    """Weights as they are: every row and column has a size of its own."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(size=(rows, 1))) * np.exp(rng.normal(size=(1, cols)))
    return (rng.normal(size=(rows, cols)) * sizes * 0.05).astype(np.float32)


def tuned(base: Floats, by: float, seed: int = 3) -> Floats:
    """Moved along one direction, and a little at random; some rows not at all."""
    rng = np.random.default_rng(seed)
    move = np.outer(rng.normal(size=len(base)), rng.normal(size=base.shape[1]))
    move += rng.normal(size=base.shape) * 0.2
    move[::5] = 0
    return (base + by * move).astype(np.float32)


def as_bytes(values: Floats, dtype: Dtype) -> bytes:
    """The nearest thing to ``values`` that a dtype has; of the small floats any bits."""
    if dtype == Dtype.F32:
        return values.tobytes()
    if dtype == Dtype.F16:
        return values.astype(np.float16).tobytes()
    if dtype == Dtype.BF16:
        return (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    if dtype in (Dtype.I8, Dtype.U8):
        grid = np.clip(np.round(values * 200), -128, 127).astype(np.int16)
        return (grid + 128 * (dtype == Dtype.U8)).astype(np.uint8).tobytes()
    return (values.view(np.uint32) >> 21).astype(np.uint8).tobytes()


def bf16_file(values: Floats) -> bytes:
    """A safetensors file of one tensor, ``w``, which numpy has no dtype for."""
    data = as_bytes(values, Dtype.BF16)
    shape = list(values.shape)
    header = json.dumps({"w": {"dtype": "BF16", "shape": shape, "data_offsets": [0, len(data)]}})
    return len(header).to_bytes(8, "little") + header.encode() + data
