"""Model folders are checked before they are believed, and the id covers all that decides bits."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from helpers import TINY
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch_file

from nncodec.config import ModelConfig
from nncodec.engine_weights import MAX_SCALE, MIN_SCALE, WEIGHTS_FILE, EngineModel, expected_shapes
from nncodec.errors import InvalidModelError

Tensors = dict[str, npt.NDArray[np.generic]]


@pytest.fixture
def folder(tiny_model: EngineModel, tmp_path: Path) -> Path:
    """A good model folder of the test's own."""
    path = tmp_path / "some model"
    tiny_model.save(path)
    tiny_model.config.save(path)
    return path


def test_save_and_load(folder: Path, tiny_model: EngineModel) -> None:
    loaded = EngineModel.load(folder)
    assert loaded.config == tiny_model.config
    assert loaded.model_id == tiny_model.model_id
    assert loaded.parameters == tiny_model.parameters
    for name, value in tiny_model.tensors.items():
        assert (loaded.tensors[name] == value).all()
        assert loaded.tensors[name].dtype == value.dtype
    mask = os.umask(0)
    os.umask(mask)
    for path in folder.iterdir():  # as readable as any file one makes
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask, path


def set_item(name: str, index: Any, value: float) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[name] = tensors[name].copy()
        tensors[name][index] = value

    return change


def replace_tensor(name: str, make: Callable[[Any], Any]) -> Callable[[Tensors], None]:
    return lambda tensors: tensors.update({name: make(tensors[name])})


CHANGES = {
    "a tensor lacks": lambda tensors: tensors.pop("blocks.1.up.scale"),
    "a tensor too many": lambda tensors: tensors.update(extra=np.zeros(1, np.float32)),
    "a layer too many": lambda tensors: tensors.update({"blocks.2.gain": np.ones(2, np.float32)}),
    "another shape": replace_tensor("embed.weight", lambda v: v[:256]),
    "transposed": replace_tensor("blocks.0.up.weight", lambda v: np.ascontiguousarray(v.T)),
    "flat": replace_tensor("head.weight", lambda v: v.reshape(-1)),
    "a scale a row too many": replace_tensor("head.scale", lambda v: np.append(v, v[:1])),
    "float weights": replace_tensor("head.weight", lambda v: v.astype(np.float32)),
    "wide weights": replace_tensor("head.weight", lambda v: v.astype(np.int16)),
    "unsigned weights": replace_tensor("head.weight", lambda v: v.view(np.uint8)),
    "half scales": replace_tensor("head.scale", lambda v: v.astype(np.float16)),
    "double scales": replace_tensor("head.scale", lambda v: v.astype(np.float64)),
    "NaN": set_item("head.scale", 3, np.nan),
    "infinity": set_item("blocks.0.qkv.scale", 0, np.inf),
    "minus infinity": set_item("blocks.0.qkv.scale", -1, -np.inf),
    "zero": set_item("embed.scale", 7, 0.0),
    "denormal": set_item("blocks.1.gain", 0, 1e-40),
    "a scale too small": set_item("blocks.1.down.scale", 0, MIN_SCALE / 2),
    "a scale too large": set_item("blocks.1.out.scale", 0, MAX_SCALE * 1.01),
    "a negative scale too large": set_item("blocks.1.out.scale", 0, -MAX_SCALE * 1.01),
    "-128": set_item("blocks.1.out.weight", (0, 0), -128),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_bad_tensors_are_rejected(folder: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    change(tensors)
    save_file(tensors, folder / WEIGHTS_FILE)
    with pytest.raises(InvalidModelError, match="some model") as caught:
        EngineModel.load(folder)
    assert "\n" not in str(caught.value)


def test_extreme_scales_are_accepted(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    tensors["head.scale"][:3] = MIN_SCALE, MAX_SCALE, -MAX_SCALE
    save_file(tensors, folder / WEIGHTS_FILE)
    EngineModel.load(folder)


def test_types_that_numpy_lacks_are_rejected(folder: Path) -> None:
    tensors = {k: torch.from_numpy(v) for k, v in load_file(folder / WEIGHTS_FILE).items()}
    tensors["head.scale"] = tensors["head.scale"].bfloat16()
    save_torch_file(tensors, folder / WEIGHTS_FILE)
    with pytest.raises(InvalidModelError, match="some model"):
        EngineModel.load(folder)


FILES = {
    "no weights": lambda folder: (folder / WEIGHTS_FILE).unlink(),
    "no config": lambda folder: (folder / "config.json").unlink(),
    "no folder": shutil.rmtree,
    "weights are a folder": lambda folder: (
        (folder / WEIGHTS_FILE).unlink(),
        (folder / WEIGHTS_FILE).mkdir(),
    ),
    "empty weights": lambda folder: (folder / WEIGHTS_FILE).write_bytes(b""),
    "weights cut short": lambda folder: (folder / WEIGHTS_FILE).write_bytes(
        (folder / WEIGHTS_FILE).read_bytes()[:-1]
    ),
    "weights are a pickle": lambda folder: torch.save({"a": 1}, folder / WEIGHTS_FILE),
    "absurd header length": lambda folder: (folder / WEIGHTS_FILE).write_bytes(b"\xff" * 64),
    "config is no JSON": lambda folder: (folder / "config.json").write_text("{"),
    "config is a list": lambda folder: (folder / "config.json").write_text("[]"),
    "config is no UTF-8": lambda folder: (folder / "config.json").write_bytes(b'"\xff"'),
    "config nests without end": lambda folder: (folder / "config.json").write_text("[" * 100_000),
}


@pytest.mark.parametrize("damage", FILES.values(), ids=FILES)
def test_bad_files_are_rejected(folder: Path, damage: Callable[[Path], object]) -> None:
    damage(folder)
    with pytest.raises(InvalidModelError, match="some model"):
        EngineModel.load(folder)


FIELDS: list[tuple[str, Any]] = [
    ("model_type", "llama"),
    ("model_type", None),
    ("vocab_size", 256),
    ("d_model", 0),
    ("d_model", -32),
    ("d_model", 32.0),
    ("d_model", "32"),
    ("d_model", True),
    ("d_model", None),
    ("d_model", 10**30),
    ("d_model", [32]),
    ("d_ff", 0),
    ("n_heads", 0),
    ("n_heads", 257),
    ("n_kv_heads", 0),
    ("n_kv_heads", 3),
    ("head_dim", 0),
    ("head_dim", 15),
    ("head_dim", 258),
    ("windows", []),
    ("windows", [4, 0]),
    ("windows", [4, 4097]),
    ("windows", [1] * 129),
    ("windows", 4),
    ("windows", "44"),
    ("windows", [[4], [4]]),
    ("windows", None),
    ("rope_period", 0),
    ("rope_period", 4094),
    ("rope_period", 1 << 21),
    ("rope_multipliers", [1] * 7),
    ("rope_multipliers", [4096] * 8),
    ("rope_multipliers", [-1] * 8),
    ("rope_multipliers", None),
]
GRAMS = {"ngram_orders": [2, 3], "ngram_bits": 4, "ngram_width": 8}
BAD_GRAMS: list[tuple[str, Any]] = [
    ("ngram_orders", [0]),
    ("ngram_orders", [9]),
    ("ngram_orders", [2, 2]),
    ("ngram_orders", []),
    ("ngram_orders", 2),
    ("ngram_bits", 0),
    ("ngram_bits", 25),
    ("ngram_width", 0),
    ("ngram_width", 1025),
]


@pytest.mark.parametrize(("field", "value"), FIELDS, ids=str)
def test_bad_config_fields_are_rejected(folder: Path, field: str, value: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    config[field] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidModelError, match="some model"):
        EngineModel.load(folder)


@pytest.mark.parametrize(("field", "value"), BAD_GRAMS, ids=str)
def test_bad_ngram_tables_are_rejected(field: str, value: Any) -> None:
    values = {**ModelConfig().to_dict(), **GRAMS, field: value}
    with pytest.raises(InvalidModelError, match=r"ngram|wrong type"):
        ModelConfig.from_dict(values)


def test_ngram_tables_have_a_bound() -> None:
    with pytest.raises(InvalidModelError, match="bytes"):
        ModelConfig(ngram_orders=(1, 2, 3), ngram_bits=20, ngram_width=128)


@pytest.mark.parametrize("field", GRAMS)
def test_ngram_fields_come_together_or_not_at_all(field: str) -> None:
    values = {**ModelConfig().to_dict(), **GRAMS}
    assert ModelConfig.from_dict(values).to_dict() == values
    del values[field]
    with pytest.raises(InvalidModelError, match=field):
        ModelConfig.from_dict(values)


def test_a_model_without_tables_says_nothing_of_them() -> None:
    """Its canonical config, and so its hash, is the one it had before there were any."""
    assert "ngram" not in ModelConfig().canonical_json()
    assert "ngram" not in json.dumps(ModelConfig().to_dict())


@pytest.mark.parametrize("field", sorted(ModelConfig().to_dict().keys() - {"architectures"}))
def test_lacking_config_fields_are_rejected(folder: Path, field: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config[field]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidModelError, match=field):
        EngineModel.load(folder)


def test_a_config_cannot_ask_for_a_table_without_limit(folder: Path) -> None:
    """Frequencies left out are filled in: from a head size that was checked first."""
    config = json.loads((folder / "config.json").read_text())
    config |= {"rope_multipliers": [], "head_dim": 400_000}
    (folder / "config.json").write_text(json.dumps(config))
    tracemalloc.start()
    try:
        with pytest.raises(InvalidModelError):
            EngineModel.load(folder)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_keys_of_other_tools_are_ignored(folder: Path, tiny_model: EngineModel) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"transformers_version": "5.0", "torch_dtype": "float32", "bos_token_id": 256}
    (folder / "config.json").write_text(json.dumps(config, indent=7))
    assert EngineModel.load(folder).model_id == tiny_model.model_id


def test_id_does_not_depend_on_file_metadata(folder: Path, tiny_model: EngineModel) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    lies = {"model_id": "00" * 16, "comment": "repacked"}
    save_file(dict(reversed(tensors.items())), folder / WEIGHTS_FILE, metadata=lies)
    assert EngineModel.load(folder).model_id == tiny_model.model_id


def test_id_changes_with_any_tensor(tiny_model: EngineModel) -> None:
    ids = {tiny_model.model_id}
    for name, value in tiny_model.tensors.items():
        for index in (0, -1):
            changed = value.copy()
            flat = changed.reshape(-1)
            flat[index] = np.nextafter(flat[index], 1) if value.dtype == np.float32 else (
                flat[index] - 1 if flat[index] > 0 else flat[index] + 1
            )  # fmt: skip
            ids.add(EngineModel(TINY, {**tiny_model.tensors, name: changed}).model_id)
    assert len(ids) == 1 + 2 * len(tiny_model.tensors)


def test_id_changes_with_any_config_field(tiny_model: EngineModel) -> None:
    """Fields that leave every shape as it is decide bits all the same."""
    values = {"windows": (4, 17), "rope_period": 2048, "rope_multipliers": (5,) * 8}
    ids = {tiny_model.model_id}
    for field, value in values.items():
        config = ModelConfig(**{**TINY.__dict__, field: value})
        ids.add(EngineModel(config, tiny_model.tensors).model_id)
    assert len(ids) == 1 + len(values)


def test_id_changes_with_the_arithmetic(
    tiny_model: EngineModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nncodec.engine_weights.NUMERIC_VERSION", 1)
    again = EngineModel(tiny_model.config, tiny_model.tensors)
    assert again.model_id != tiny_model.model_id


def test_id_is_what_it_always_was() -> None:
    """Archives name models by it: a change here orphans every archive."""
    config = ModelConfig(d_model=4, n_heads=1, head_dim=4, d_ff=4, windows=(2,), rope_period=8)
    tensors = {}
    for i, (name, (dtype, shape)) in enumerate(sorted(expected_shapes(config).items())):
        ramp = np.arange(np.prod(shape)).reshape(shape) + i
        tensors[name] = (ramp % 127 if dtype is np.int8 else (ramp % 15 + 1) / 16).astype(dtype)
    assert EngineModel(config, tensors).model_id.hex() == "76749a4532a9d4dc4ad035f6cf1dc08d"
    assert len(tensors) == 13


def test_a_folder_cannot_ask_for_endless_caches() -> None:
    """Few weights, but 256 heads of 256 over the largest windows: refused before any allocation."""
    with pytest.raises(InvalidModelError, match="keys and values would take"):
        ModelConfig(d_model=1, d_ff=1, n_heads=256, n_kv_heads=256, head_dim=256, windows=(4096,))
