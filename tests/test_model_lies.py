"""Folders of our own models that lie: one line that names what is wrong, soon, without memory.

``test_causal_lies`` has folders of others' models; ``fuzz/fuzz_models.py`` makes up lies.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from nncodec import modelstore
from nncodec.config import CONFIG_FILE
from nncodec.engine_weights import WEIGHTS_FILE
from nncodec.errors import InvalidModelError, ModelNotFoundError

MOST = 32 << 20  # bytes that a lie may cost
LINUX = sys.platform == "linux"


@pytest.fixture(scope="module", params=["bytes", "tokens"])
def model(request: pytest.FixtureRequest) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).resolve().parent / "fuzz"))
        models = import_module("fuzz_model")
        yield models.byte_model() if request.param == "bytes" else models.token_model()


@pytest.fixture
def folder(model: Any, tmp_path: Path) -> Path:
    path = tmp_path / "model"
    model.save(path)
    model.config.save(path)
    assert modelstore.load(path).model_id == model.model_id
    return path


def refused(folder: Path) -> str:
    """The error's message; what loading takes on the way is bounded."""
    tracemalloc.start()
    try:
        with pytest.raises(InvalidModelError) as caught:
            modelstore.load(folder)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < 1000
    return message


def config(folder: Path, **fields: object) -> None:
    path = folder / CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def tensors(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    values = load_file(folder / WEIGHTS_FILE)
    change(values)
    save_file(values, folder / WEIGHTS_FILE)


def put(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def act(values: dict[str, Any]) -> None:
        values[name] = change(values[name].copy())

    return lambda folder: tensors(folder, act)


def spoil(name: str, value: float) -> Callable[[Path], None]:
    def change(array: Any) -> Any:
        array.reshape(-1)[1] = value
        return array

    return put(name, change)


def raw_weights(folder: Path, header: object, hole: int = 0) -> None:
    """A file of this header, and behind it a hole of so many bytes, which takes no disk."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / WEIGHTS_FILE).write_bytes(struct.pack("<Q", len(raw)) + raw)
    os.truncate(folder / WEIGHTS_FILE, 8 + len(raw) + hole)


def entry(dtype: str, shape: list[int], end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}


FIELDS = "must hold non-negative integers"
CONFIGS: dict[str, tuple[dict[str, object], str]] = {
    "2^60 wide": ({"d_model": 1 << 60}, "d_model"),
    "2^100 wide": ({"d_model": 1 << 100}, FIELDS),
    "as wide as is allowed": ({"d_model": 8192}, "the config needs"),
    "negative": ({"n_heads": -2}, FIELDS),
    "a fraction": ({"d_ff": 64.0}, FIELDS),
    "text": ({"d_ff": "64"}, FIELDS),
    "endless text": ({"d_ff": "\x1b[31m" * 100_000}, FIELDS),
    "yes": ({"n_kv_heads": True}, FIELDS),
    "no heads": ({"n_heads": 0}, "n_heads 0"),
    "a list where none is": ({"head_dim": [16]}, "config"),
    "lists in lists": ({"rope_multipliers": [[1]] * 8}, FIELDS),
    "a million frequencies": ({"rope_multipliers": [1] * 1_000_000}, "rope_multipliers"),
    "another kind": ({"model_type": "\x1b[31m" * 1000}, "model_type"),
}
ONLY_BYTES: dict[str, tuple[dict[str, object], str]] = {
    "a million layers": ({"windows": [4] * 1_000_000}, "1000000 layers"),
    "windows that see all": ({"windows": [4097, 4]}, "windows"),
    "windows beyond memory": ({"windows": [4096] * 128, "head_dim": 256}, "keys and values"),
    "tables beyond memory": (
        {"ngram_orders": [1, 2], "ngram_bits": 24, "ngram_width": 1024},
        "n-gram tables",
    ),
    "2^60 rows": ({"ngram_orders": [1], "ngram_bits": 1 << 60, "ngram_width": 1}, "ngram_bits"),
}
ONLY_TOKENS: dict[str, tuple[dict[str, object], str]] = {
    "a million layers": ({"n_layers": 1_000_000}, "n_layers"),
    "contexts beyond memory": (
        {"context": 4096, "n_layers": 128, "n_kv_heads": 256, "n_heads": 256, "head_dim": 256},
        "keys and values",
    ),
    "more symbols than tokens": ({"n_symbols": 301}, "n_symbols"),
    "2^18 tokens": ({"vocab_size": 1 << 18, "n_symbols": 1 << 18}, "tokens.lengths"),
    "a bias and a half": ({"qkv_bias": 2}, "qkv_bias"),
}


def test_configs_that_lie(model: Any, folder: Path) -> None:
    text = (folder / CONFIG_FILE).read_text()
    own = ONLY_TOKENS if hasattr(model.config, "n_symbols") else ONLY_BYTES
    for name, (fields, message) in (CONFIGS | own).items():
        config(folder, **fields)
        assert message in refused(folder), name
        (folder / CONFIG_FILE).write_text(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("[]", "not a JSON object"),
        ("{" * 100_000, "Expecting property name"),
        ('{"a":' * 100_000, "recursion"),
        ("[" * 100_000, "recursion"),
        ('{"model_type": ' + "9" * 100_000 + "}", "4300"),
        ("\ud800", "codec can't decode"),
        (" " * (5 << 20), "at most"),
    ],
)
def test_configs_that_are_none(folder: Path, text: str, message: str) -> None:
    (folder / CONFIG_FILE).write_bytes(text.encode("utf-8", "surrogatepass"))
    assert message in refused(folder)


MATRIX, SCALE = "blocks.0.qkv.weight", "blocks.0.qkv.scale"
TENSORS: dict[str, tuple[Callable[[Path], None], str]] = {
    "missing": (lambda f: tensors(f, lambda t: t.pop(MATRIX)), MATRIX),
    "one too many": (lambda f: tensors(f, lambda t: t.update(x=t[MATRIX])), "'x'"),
    "float64": (put(SCALE, lambda a: a.astype(np.float64)), "F64"),
    "floats for int8": (put(MATRIX, lambda a: a.astype(np.float64)), "F64"),
    "unsigned": (put(MATRIX, lambda a: a.view(np.uint8)), "U8"),
    "turned": (put(MATRIX, lambda a: np.ascontiguousarray(a.T)), "the config needs"),
    "flat": (put(MATRIX, lambda a: a.reshape(-1)), "the config needs"),
    "nothing": (put(MATRIX, lambda a: a[:0]), "the config needs"),
    "-128": (spoil(MATRIX, -128), "holds -128"),
    "NaN": (spoil(SCALE, np.nan), "or NaN"),
    "infinity": (spoil(SCALE, np.inf), "a scale outside"),
    "denormal": (spoil(SCALE, 1e-40), "a scale outside"),
    "zero": (spoil(SCALE, 0), "a scale outside"),
    "too large": (spoil(SCALE, 17), "a scale outside"),
    "negative": (spoil("blocks.0.gain", -20), "a scale outside"),
}


@pytest.mark.parametrize("lie", TENSORS)
def test_tensors_that_lie(lie: str, folder: Path) -> None:
    tell, message = TENSORS[lie]
    tell(folder)
    assert message in refused(folder)


HEADERS: dict[str, tuple[object, int, str]] = {
    "2^60 numbers": ({"x": entry("I8", [1 << 60], 1 << 60)}, 0, "cannot be read"),
    "a product beyond 64 bits": ({"x": entry("I8", [1 << 40, 1 << 40], 8)}, 8, "cannot be read"),
    "negative": ({"x": entry("I8", [-1], 1)}, 1, "cannot be read"),
    "nested": (b'{"a":' * 100_000, 0, "cannot be read"),
    "twice": ((b'{"x":{"dtype":"I8","shape":[0],"data_offsets":[0,0]},'
              b'"x":{"dtype":"I8","shape":[0],"data_offsets":[0,0]}}'), 0, "lack or exceed"),
    "a hole of 40 GB": ({"x": entry("F32", [10 << 30], 40 << 30)}, 40 << 30, "lack or exceed"),
    "a long header": (b"{" + b" " * (5 << 20) + b"}", 0, "at most"),
}  # fmt: skip


@pytest.mark.parametrize("lie", HEADERS)
def test_headers_that_lie(lie: str, folder: Path) -> None:
    header, hole, message = HEADERS[lie]
    raw_weights(folder, header, hole)
    assert message in refused(folder)


@pytest.mark.skipif(not LINUX, reason="files with holes")
def test_a_tensor_of_40_gb_that_should_be_small(model: Any, folder: Path) -> None:
    """Every name is right; what is claimed of one is seen before any is read."""
    header, at = {}, 0
    for name, value in load_file(folder / WEIGHTS_FILE).items():
        size = 40 << 30 if name == MATRIX else value.nbytes
        dtype = {"int8": "I8", "float32": "F32", "uint8": "U8", "int32": "I32"}[str(value.dtype)]
        shape = [size] if name == MATRIX else list(value.shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    raw_weights(folder, header, at)
    assert MATRIX in refused(folder) or "tokens.lengths" in refused(folder)


def test_lengths_of_headers(folder: Path) -> None:
    whole = (folder / WEIGHTS_FILE).read_bytes()
    for length in (0, 1, len(whole), 1 << 31, 1 << 32, 1 << 62, 1 << 63, (1 << 64) - 1):
        (folder / WEIGHTS_FILE).write_bytes(struct.pack("<Q", length) + whole[8:])
        refused(folder)
    for size in (*range(12), 100, len(whole) // 2, len(whole) - 1):
        (folder / WEIGHTS_FILE).write_bytes(whole[:size])
        refused(folder)


@pytest.mark.parametrize("name", [CONFIG_FILE, WEIGHTS_FILE])
def test_what_is_no_file(folder: Path, name: str) -> None:
    """A folder, a link to nowhere, to itself, to what never ends; a pipe that nobody writes to."""
    path = folder / name
    path.unlink()
    refused(folder)
    path.mkdir()
    refused(folder)
    path.rmdir()
    for target in ("nowhere", name, "/dev/zero"):
        path.symlink_to(target)
        refused(folder)
        path.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        refused(folder)


def test_a_link_to_a_good_file_is_good(model: Any, folder: Path, tmp_path: Path) -> None:
    (folder / WEIGHTS_FILE).rename(tmp_path / "weights")
    (folder / WEIGHTS_FILE).symlink_to(tmp_path / "weights")
    assert modelstore.load(folder).model_id == model.model_id


def test_broken_folders_are_passed_over_by_id(model: Any, folder: Path, home: Path) -> None:
    folder.rename(home / "z")
    for name, text in (("a", "{"), ("b", "[" * 100_000)):
        (home / name).mkdir()
        (home / name / CONFIG_FILE).write_text(text)
        (home / name / WEIGHTS_FILE).write_bytes(struct.pack("<Q", 1 << 63))
    assert modelstore.find_by_id(model.model_id).model_id == model.model_id
    with pytest.raises(ModelNotFoundError):
        modelstore.find_by_id(bytes(16))
