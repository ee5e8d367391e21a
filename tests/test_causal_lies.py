"""Folders of models that lie: one line that names what is wrong, never an archive of noise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TEXT
from test_cli import assert_one_error, cli, names

pytest.importorskip("transformers")
from causal_models import byte_fallback, byte_level, save_model, save_tokenizer
from safetensors.numpy import load_file, save_file

from nncodec.causal.environment import Environment
from nncodec.errors import CorruptDataError

KEY = "model.layers.1.self_attn.k_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tmp_path / "lm", "llama", byte_fallback())


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_bytes(TEXT)
    return path


def tensors(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "model.safetensors"
    values = load_file(path)
    change(values)
    save_file(values, path, metadata={"format": "pt"})


def config(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def drop(values: dict[str, Any]) -> None:
    del values[KEY]


def spoil(value: float) -> Callable[[dict[str, Any]], None]:
    def change(values: dict[str, Any]) -> None:
        values[KEY] = values[KEY].copy()
        values[KEY][0, 0] = value

    return change


LIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a tensor is missing": (lambda f: tensors(f, drop), f"lack {KEY}"),
    "layers are missing": (
        lambda f: config(f, num_hidden_layers=4),
        r"lack model\.layers\.2\.input_layernorm\.weight \(and 17 more\)",
    ),
    "another shape": (lambda f: config(f, intermediate_size=80), "has another shape than config"),
    "NaN": (lambda f: tensors(f, spoil(np.nan)), f"{KEY} holds NaN or infinity"),
    "infinity": (lambda f: tensors(f, spoil(np.inf)), f"{KEY} holds NaN or infinity"),
    "a billion layers": (
        lambda f: config(f, num_hidden_layers=10**9),
        r"says 1000000000 layers, its weights are \d+ tensors",
    ),
    "a thousand times as wide": (
        lambda f: config(f, intermediate_size=10**7),
        r"makes a model of \d+ numbers, its weights are \d+ bytes",
    ),
    "a billion tokens": (lambda f: config(f, vocab_size=10**9), "vocab_size is 1000000000"),
    "a type with power over a terminal": (
        lambda f: config(f, model_type="\x1b[31m" + "x" * 9999),
        r"\[31mx{9}",
    ),
    "a config without end": (lambda f: os.truncate(f / "config.json", 8 << 30), "at most"),
    "a tokenizer without end": (lambda f: os.truncate(f / "tokenizer.json", 8 << 30), "at most"),
    "a pipe for weights": (
        lambda f: ((f / "model.safetensors").unlink(), os.mkfifo(f / "model.safetensors")),
        "has no weights",
    ),
    "a hole for weights": (lambda f: os.truncate(f / "model.safetensors", 40 << 30), ""),
    "no heads": (lambda f: config(f, num_attention_heads=0), "transformers cannot load it"),
    "heads of another type": (
        lambda f: config(f, num_attention_heads="x"),
        "transformers cannot load it",
    ),
    "half a file": (
        lambda f: (f / "model.safetensors").write_bytes(
            (f / "model.safetensors").read_bytes()[:9000]
        ),
        "",
    ),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), r"config\.json"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), r"tokenizer\.json"),
    "a pickle": (
        lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
        "a pickle is not read",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_folder_that_lies(lie: str, folder: Path, text: Path, tmp_path: Path) -> None:
    """Neither codes nor is converted, and nothing is left."""
    tell, message = LIES[lie]
    tell(folder)
    coded = cli("compress", "-T", "1", "-m", folder, text)
    assert_one_error(coded, text, message)
    result = cli("models", "convert", folder, "-o", tmp_path / "exact")
    assert_one_error(result, folder, message)
    for error in coded.errors + result.errors:
        assert "\x1b" not in error
        assert len(error) < 1500
    assert names(tmp_path) == ["lm", "text"]


def test_what_the_engine_does_not_compute(tmp_path: Path) -> None:
    """By its name, before its weights are looked at."""
    folder = save_tokenizer(tmp_path / "gpt2", byte_level(), {"model_type": "gpt2"})
    result = cli("models", "convert", folder, "-o", tmp_path / "exact")
    assert_one_error(result, folder, "no exact mode for this model: its type 'gpt2' is none of")
    assert names(tmp_path) == ["gpt2"]


def test_another_process_decodes(folder: Path, text: Path, tmp_path: Path) -> None:
    """What is checked in the process that coded may still be its own alone."""
    archive = tmp_path / "text.nnc"
    assert cli("compress", "-T", "1", "-m", folder, text, "-o", archive).rc == 0
    command = [sys.executable, "-m", "nncodec", "decompress", "-c", "-m", folder, archive]
    result = subprocess.run(command, capture_output=True, check=True)
    assert (result.stdout, result.stderr) == (TEXT, b"")


def test_another_model_is_said_to_be_one(folder: Path, tmp_path: Path) -> None:
    """The folder that was given is named as what it is."""
    fitted = save_model(tmp_path / "fitted", "llama", byte_fallback(), 80)
    source = tmp_path / "short"
    source.write_bytes(TEXT[:150])
    assert cli("compress", "-T", "1", "-m", fitted, source).rc == 0
    archive = tmp_path / "short.nnc"
    result = cli("decompress", "-c", "-m", folder, archive)
    assert_one_error(result, archive, f"{folder} is model [0-9a-f]{{32}}; made with model")


@pytest.mark.parametrize("torch", ["\x1b[31mEVIL", "a\nnncodec: OK", "x" * 300, "\u202e"])
def test_environments_have_no_power_over_a_terminal(torch: str) -> None:
    fields = [torch, "5", "cpu", "cpu", "avx", "float32", 1, 64, 1]
    with pytest.raises(CorruptDataError, match="numeric environment with torch"):
        Environment.parse(json.dumps(fields).encode())
