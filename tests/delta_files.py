"""Weights and what training makes of them, for the tests of deltas."""

from __future__ import annotations

import json

import numpy as np
from tensor_values import Floats, as_dtype

from nncodec.tensors.dtypes import Dtype


def tuned(base: Floats, by: float, seed: int = 3) -> Floats:
    """Moved along one direction, and a little at random; some rows not at all."""
    rng = np.random.default_rng(seed)
    move = np.outer(rng.normal(size=len(base)), rng.normal(size=base.shape[1]))
    move += rng.normal(size=base.shape) * 0.2
    move[::5] = 0
    return (base + by * move).astype(np.float32)


def bf16_file(values: Floats) -> bytes:
    """A safetensors file of one tensor, ``w``, which numpy has no dtype for."""
    data = as_dtype(values, Dtype.BF16)
    shape = list(values.shape)
    header = json.dumps({"w": {"dtype": "BF16", "shape": shape, "data_offsets": [0, len(data)]}})
    return len(header).to_bytes(8, "little") + header.encode() + data
