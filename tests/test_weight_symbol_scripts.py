"""The scripts of the Transformer over weights: a network trained on a file, and measured on it."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

pytest.importorskip("torch", reason="needs the train extra")
SCRIPTS = Path(__file__).parent.parent / "scripts"


def run(script: str, *arguments: str | Path) -> None:
    command = [sys.executable, SCRIPTS / f"{script}.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("dtype", ["bf16", "int8"])
def test_train_and_measure(tmp_path: Path, dtype: str) -> None:
    values = np.random.default_rng(1).normal(size=(96, 64)).astype(np.float32)
    save_file({"layer.weight": values, "bias": values[0]}, tmp_path / "w.safetensors")
    file = f"{tmp_path / 'w.safetensors'}@{dtype}"
    plan = ("--megabytes", "0.002", "--windows", "1", "--no-compile")
    run("train_weight_symbols", file, "-o", tmp_path / "run", *plan)
    table = tmp_path / "out.csv"
    measured = ("--rows", "8", "--check", "2", "--csv", table)
    run("measure_weight_transformer", tmp_path / "run" / "model", file, *measured)
    with table.open(newline="") as lines:
        (row,) = csv.DictReader(lines)
    assert row["tensors"] == "1"
    assert row["weights"] == str(8 * 64)
    assert row["decoded_weights"] == str(2 * 64)
    assert 5 < float(row["all_both"]) < 16
