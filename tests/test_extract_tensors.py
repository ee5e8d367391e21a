"""The script that takes tensors out of their container."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import safetensors.numpy
from container_files import LiteTensor, tflite

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "extract_tensors.py"


def extract(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_tensors_of_a_dtype(tmp_path: Path) -> None:
    source, target = tmp_path / "m.tflite", tmp_path / "m.safetensors"
    tensors = [LiteTensor("w", 9, (2, 3), 0), LiteTensor("b", 2, (2,), 1)]
    source.write_bytes(tflite([tensors], [b"abcdef", bytes(range(8))]))
    assert extract(source, target, "--dtype", "I8").returncode == 0
    found = safetensors.numpy.load_file(target)
    assert {n: a.tolist() for n, a in found.items()} == {"w": [[97, 98, 99], [100, 101, 102]]}
    assert extract(source, target).returncode == 0
    found = safetensors.numpy.load_file(target)
    assert found["b"].dtype == np.int32
    assert found["b"].tobytes() == bytes(range(8))
    assert found.keys() == {"w", "b"}


def test_nothing_to_take_is_an_error(tmp_path: Path) -> None:
    source, target = tmp_path / "m.tflite", tmp_path / "m.safetensors"
    source.write_bytes(tflite([[]], []))
    result = extract(source, target, "--dtype", "F32")
    assert result.returncode == 2
    assert "has no tensors of F32" in result.stderr
    assert not target.exists()
