"""Folders of models: config.json and engine.safetensors that lie give an error of one line, soon.

A folder that is taken is run: a model that loads must code and decode.
"""

from __future__ import annotations

import json
import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
from fields import Fields, attempt, damaged
from fuzz_model import byte_model, token_model
from safetensors.numpy import save

from nncodec import modelstore
from nncodec.blocks import Geometry
from nncodec.causal.exact.coding import ExactCoder
from nncodec.causal.exact.native import NativeEngine as TokenEngine
from nncodec.causal.exact.weights import ExactModel
from nncodec.config import CONFIG_FILE
from nncodec.engine.native import NativeEngine
from nncodec.engine_weights import WEIGHTS_FILE, EngineModel
from nncodec.lanes import no_progress

NUMBERS = (0, -1, 1, 2, 3, 255, 257, 4096, 8192, 8193, 1 << 20, 1 << 31, 1 << 60, 1 << 64)
VALUES = (*NUMBERS, 0.5, "64", None, True, [], [1], [[1]], {}, [1 << 60] * 3, "x" * 400)
FLOATS = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, 1e-13, 16.5, 1e30, -1.0)
DTYPES = (np.float64, np.float16, np.int8, np.int16, np.uint8, np.int64, np.float32, np.bool_)


@lru_cache
def whole() -> list[tuple[dict[str, object], dict[str, np.ndarray]]]:
    byte, token = byte_model(), token_model()
    token_config = {"model_type": "nncodec-exact", **json.loads(token.config.canonical_json())}
    return [(byte.config.to_dict(), dict(byte.tensors)), (token_config, dict(token.tensors))]


def lie_in_config(config: dict[str, object], fields: Fields) -> None:
    name = fields.pick(sorted(config))
    way = fields.byte()
    if way < 30:
        del config[name]
    elif way < 200:
        config[name] = fields.pick(VALUES)
    elif isinstance(value := config[name], list) and value:
        config[name] = [*value[: fields.byte() % len(value)], fields.pick(VALUES)]
    else:
        config[name] = fields.number(2)


def lie_in_tensors(tensors: dict[str, np.ndarray], fields: Fields) -> None:
    name = fields.pick(sorted(tensors))
    value, way = tensors[name].copy(), fields.byte() % 8
    if way == 0:
        del tensors[name]
        return
    if way == 1:
        tensors[name + "x"] = value
    elif way == 2:
        value = value.astype(fields.pick(DTYPES))
    elif way == 3:
        value = value.reshape(-1)[: fields.number(2)]
    elif way == 4:
        value = value.reshape(*value.shape, 1)
    elif way == 5 and value.size and value.dtype == np.float32:
        value.reshape(-1)[fields.number(2) % value.size] = fields.pick(FLOATS)
    elif way == 6 and value.size:
        raw = value.reshape(-1).view(np.uint8)
        raw[fields.number(2) % len(raw)] = fields.byte()
    elif way == 7:
        value = np.ascontiguousarray(value.T)
    tensors[name] = value


def TestOneInput(data: bytes) -> None:
    fields = Fields(data)
    config, tensors = (dict(part) for part in fields.pick(whole()))
    for _ in range(fields.byte() % 3):
        lie_in_config(config, fields)
    for _ in range(fields.byte() % 3):
        if tensors:
            lie_in_tensors(tensors, fields)
    text, weights = json.dumps(config).encode(), save(tensors)
    way = fields.byte() % 8
    if way == 1:
        text = damaged(text, fields)
    elif way == 2:
        size = 8 + int.from_bytes(weights[:8], "little")
        weights = damaged(weights[:size], fields) + weights[size:]
    elif way == 3:
        weights = damaged(weights, fields)
    elif way == 4:
        text = fields.rest()
    elif way == 5:
        weights = fields.rest()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / CONFIG_FILE).write_bytes(text)
        (folder / WEIGHTS_FILE).write_bytes(weights)
        model = attempt(lambda: modelstore.load(folder))
    if model is not None:
        run(model)


def run(model: EngineModel | ExactModel) -> None:
    """What was taken for a model codes and decodes."""
    if isinstance(model, EngineModel):
        engine = attempt(lambda: NativeEngine(model, 1))
        data = np.frombuffer(b"any text will do", np.uint8)
        if engine is not None:
            payload = engine.encode(data, Geometry(2, 3, 0), no_progress)
            assert engine.decode(payload, 16, Geometry(2, 3, 0), no_progress) == data.tobytes()
        return
    coder = attempt(lambda: ExactCoder(model, TokenEngine(model, 1)))
    if coder is not None:
        ids = model.tensors["tokens.ids"][:8]
        assert (coder.decode(coder.encode(ids, Geometry(2)), len(ids), Geometry(2)) == ids).all()


def seeds() -> list[bytes]:
    plain = [bytes((i, 0, 0, way, 0)) for i in (0, 1) for way in range(6)]
    lies = [
        bytes((i, 1, name, 60, value)) for i in (0, 1) for name in range(14) for value in range(24)
    ]
    shapes = [
        bytes((i, 0, 1, name, way, 3, 3)) for i in (0, 1) for name in range(12) for way in range(8)
    ]
    return plain + lies[::7] + shapes[::5]
