"""Twins of safetensors' functions, and what is missing where packages are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from helpers import python_fails, run_python
from test_weights_containers import of_every_dtype, same
from test_weights_open import normal

import nncodec
from nncodec.errors import (
    MissingPackageError,
    NNCodecError,
)

SAVE: list[Callable[[dict[str, Any]], Any]] = [
    lambda tensors: safetensors.torch.save(tensors),
    lambda tensors: nncodec.weights.torch.save(tensors, level=1),
]


def test_twins_of_torch(tmp_path: Path) -> None:
    twin = nncodec.weights.torch
    tensors, notes = of_every_dtype(), {"made by": "a test"}
    plain, packed = tmp_path / "plain", tmp_path / "m.nnc"
    safetensors.torch.save_file(tensors, plain, notes)
    twin.save_file(tensors, packed, notes, level=1)
    assert packed.read_bytes() == nncodec.compress(plain.read_bytes(), 1)
    assert nncodec.decompress(packed.read_bytes()) == plain.read_bytes()
    assert twin.save(tensors, notes, level=1) == packed.read_bytes()
    for got in (twin.load_file(packed), twin.load(packed.read_bytes())):
        assert list(got) == sorted(tensors)
        assert all(same(got[name], tensors[name]) for name in tensors)
    assert twin.load_file(str(packed), device="meta")["float32"].device.type == "meta"
    assert {p.name for p in tmp_path.iterdir()} == {"plain", "m.nnc"}
    twin.save_file({}, packed, level=1)
    assert twin.load_file(packed) == {}


def test_twins_refuse_what_safetensors_refuses(tmp_path: Path) -> None:
    base = torch.zeros(4, 4)
    shared: dict[str, Any] = {"first": base, "second": base}
    for save in (
        SAVE[0],
        SAVE[1],
        lambda t: nncodec.weights.torch.save_file(t, tmp_path / "m.nnc", level=1),
    ):
        with pytest.raises(RuntimeError, match=r"first.*second|second.*first"):
            save(shared)
        with pytest.raises(ValueError, match="non contiguous"):
            save({"turned": torch.zeros(2, 3).T})
    with pytest.raises(NNCodecError, match="no level 10"):
        nncodec.weights.torch.save_file({}, tmp_path / "m.nnc", level=10)
    assert list(tmp_path.iterdir()) == []


def test_twins_of_numpy(tmp_path: Path) -> None:
    twin = nncodec.weights.numpy
    tensors = {"w": normal(30, 20), "steps": np.arange(5), "none": np.zeros((0, 2), np.float16)}
    packed = tmp_path / "m.nnc"
    twin.save_file(tensors, packed, {"a": "b"}, level=1)
    assert nncodec.decompress(packed.read_bytes()) == safetensors.numpy.save(tensors, {"a": "b"})
    assert twin.save(tensors, {"a": "b"}, level=1) == packed.read_bytes()
    for got in (twin.load_file(packed), twin.load(packed.read_bytes())):
        assert got.keys() == tensors.keys()
        for name, a in tensors.items():
            assert got[name].dtype == a.dtype
            assert np.array_equal(got[name], a)


def test_without_torch(tmp_path: Path) -> None:
    nncodec.weights.numpy.save_file({"w": normal(30, 20)}, tmp_path / "m.nnc", level=1)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import nncodec\n"
        "assert 'nncodec.weights' not in sys.modules\n"
        "print(nncodec.weights.open('m.nnc')['w'].shape)\n"
        "print(len(nncodec.weights.numpy.load_file('m.nnc')))\n"
        "for use in (lambda: nncodec.weights.open('m.nnc', 'pt'), lambda: nncodec.weights.torch,\n"
        "            lambda: nncodec.weights.from_packed('.')):\n"
        "    try: use()\n"
        "    except ImportError as error: print(type(error).__name__, error)\n"
    )
    result = run_python(code, cwd=tmp_path)
    lines = result.stdout.decode().splitlines()
    assert lines[:2] == ["(30, 20)", "1"], python_fails(result)
    assert len(lines) == 5
    for line in lines[2:]:
        assert line.startswith(f"{MissingPackageError.__name__} needs torch: install it with")
    light = run_python(
        "import sys, nncodec; nncodec.weights.open('m.nnc')['w']\n"
        "print([m for m in ('torch', 'transformers', 'rich') if m in sys.modules])",
        cwd=tmp_path,
    )
    assert light.stdout == b"[]\n", python_fails(light)
