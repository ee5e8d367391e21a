"""The pipeline's script, on a tiny model: every point once, a cache, a table and a figure."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import JSON, TEXT

pytest.importorskip("transformers", reason="the pipeline needs transformers")
pytest.importorskip("matplotlib", reason="the figure needs matplotlib")

SCRIPT = Path(__file__).parents[1] / "scripts" / "measure_pipeline_weights.py"


def corpus(folder: Path) -> Path:
    folder.mkdir()
    for split in ("train", "valid"):
        name = "mine" if split == "train" else "mine.valid"
        data = b"".join(text + b"\0" for text in (TEXT, JSON))
        (folder / f"{name}.bin").write_bytes(data)
        offsets = np.array([0, len(TEXT) + 1, len(data)], dtype="<u8")
        offsets.tofile(folder / f"{name}.idx")
    return folder


def test_every_point_is_measured_once(model_home: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT)
    model, table = model_home / "tiny", tmp_path / "table.csv"

    def run(*more: str) -> list[dict[str, str]]:
        command = [sys.executable, str(SCRIPT), str(model), "--name", "tiny", "--csv", str(table)]
        command += ["--work", str(tmp_path / "work"), "--text", str(tmp_path / "text")]
        command += ["--corpus", str(tmp_path / "corpus"), "--bits", "16,3", "--tuned", "3"]
        command += ["--steps", "2", "--prune-steps", "2", *more]
        paths = {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=300, env={**os.environ, **paths}
        )
        assert done.returncode == 0, done.stderr.decode()
        with table.open(newline="") as file:
            return list(csv.DictReader(file))

    corpus(tmp_path / "corpus")
    rows = run()
    assert [(r["bits"], r["pruned"], r["trellis"], r["tuned"]) for r in rows] == [
        ("16", "0", "0", "0"),
        ("16", "1", "0", "0"),
        *(("3", p, t, u) for p in "01" for t in "01" for u in "01"),
    ]
    for row in rows:
        pruned, file = row["pruned"] == "1", f"{int(row['bits']):02}"
        assert float(row["zeros"]) >= (0.45 if pruned else 0)
        assert float(row["snr_db"]) > 0
        marks = [name for name in ("pruned", "trellis", "tuned") if row[name] == "1"]
        path = tmp_path / "work" / "tiny" / ("-".join([file, *marks]) + ".safetensors")
        assert 0 < int(row["archive_bytes"]) < path.stat().st_size + 64
        assert float(row["bits_per_byte_before"]) > 0
    assert (tmp_path / "figures" / "weights-pareto-tiny.svg").is_file()
    assert (tmp_path / "figures" / "weights-pareto-tiny.png").is_file()

    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.safetensors")}
    assert run("--repack") == rows
    assert made == {path: path.stat().st_mtime_ns for path in made}, "nothing is tuned again"
