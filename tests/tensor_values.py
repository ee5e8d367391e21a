"""Tensors as models have them, made up: values, quantised blocks, packed codes, trellis indices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nncodec._core import available_isas
from nncodec.tensors import model
from nncodec.tensors.coder import decode_tensors, encode_tensors
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import Item
from nncodec.tensors.parts import Decoding
from nncodec.tensors.planes import Form, Mode, join, planes_of
from nncodec.tensors.trellis_states import next_state

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


def normal(rows: int, cols: int, seed: int = 1) -> Floats:
    """Weights as they are: every row and column has a size of its own."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(size=(rows, 1))) * np.exp(rng.normal(size=(1, cols)))
    return (rng.normal(size=(rows, cols)) * sizes * 0.05).astype(np.float32)


def as_dtype(values: Floats, dtype: Dtype) -> bytes:
    """The nearest thing to ``values`` that a dtype has; of the small floats any bits."""
    if dtype == Dtype.F32:
        return values.tobytes()
    if dtype == Dtype.F16:
        return values.astype(np.float16).tobytes()
    if dtype == Dtype.BF16:
        return (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    if dtype == Dtype.I16:
        return np.clip(np.round(values * 4000), -32768, 32767).astype(np.int16).tobytes()
    if dtype in (Dtype.I8, Dtype.U8):
        grid = np.clip(np.round(values * 200), -128, 127).astype(np.int16)
        return (grid + 128 * (dtype == Dtype.U8)).astype(np.uint8).tobytes()
    return (values.view(np.uint32) >> 21).astype(np.uint8).tobytes()


def absmax_codes(rows: int, cols: int, group: int, bits: int, seed: int = 1) -> Bytes:
    """(rows * cols,) codes around 2^(bits - 1): of every group one is the least."""
    half = 1 << (bits - 1)
    values = np.random.default_rng(seed).normal(size=(rows * cols // group, group))
    at = np.abs(values).argmax(axis=1)[:, None]
    codes = np.round(values / np.take_along_axis(values, at, axis=1) * -half) + half
    return np.clip(codes, 0, 2 * half - 1).astype(np.uint8).reshape(-1)


def blocks(dtype: Dtype, rows: int, cols: int) -> Bytes:
    """``rows`` times ``cols`` blocks of one of ggml's formats: normal values, scales by the row."""
    item = Item(dtype, 0, rows, cols)
    scales = np.exp(np.random.default_rng(2).normal(size=rows)) * 0.01
    planes = []
    for i, plane in enumerate(planes_of(item, Mode())):
        if plane.form == Form.FLOAT:
            values = np.repeat(scales, plane.cols) * (1 + np.arange(plane.rows * plane.cols) % 3)
            planes.append(values.astype(np.float16).view(np.uint8))
        elif plane.group:
            codes = absmax_codes(rows, plane.cols, plane.group, plane.bits, i)
            planes.append(codes - np.uint8(128) if plane.signed else codes)
        else:
            spread = np.random.default_rng(i).normal(size=plane.rows * plane.cols)
            planes.append(np.clip(40 + 6 * spread, 0, 63).astype(np.uint8))
    return join(item, Mode(), planes)


def trellis_indices(rows: int, cols: int, log_states: int) -> npt.NDArray[np.int16]:
    """Normal values by the nearest level of the quantiser that the state names, greedily."""
    values = np.random.default_rng(3).normal(size=(rows, cols))
    state = np.zeros(rows, dtype=np.int64)
    indices = np.zeros((rows, cols), dtype=np.int64)
    for col in range(cols):
        x = np.abs(values[:, col])
        # Levels in steps: even ones are 2k, odd ones 2k - 1 and zero.
        odd = np.maximum(0, np.round((x + 1) / 2)) * (x >= 0.5)
        k = np.where(state & 1, odd, np.round(x / 2)) * np.sign(values[:, col])
        indices[:, col] = k
        state = next_state(log_states, state, indices[:, col])
    return indices.astype(np.int16)


def both_ways(items: Sequence[Item], data: bytes) -> bytes:
    """The payload, made and read by the twin and by the C++ of every instruction set."""
    payload = model.encode(items, data)
    chunk = np.frombuffer(data, dtype=np.uint8)
    for isa in available_isas():
        assert encode_tensors(items, chunk, isa) == payload, isa
        assert decode_tensors(items, payload, isa) == data, isa
    assert model.decode(items, payload) == data
    return payload


def coded(item: Item, data: Bytes) -> bytes:
    """The payload of one item, by C++."""
    return encode_tensors([item], data, "")


def mode_of(payload: bytes) -> Mode:
    """The mode of a payload's first item."""
    run = model.TensorRun(Decoding(payload))
    return Mode.of(run.tree_byte(0, 0), run.tree_byte(1, 0))
