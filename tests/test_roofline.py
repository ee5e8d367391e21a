"""The engine's roofline, and the scripts that measure: what they report, never how fast it was."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import TEXT

from nncodec._core import PayloadError
from nncodec.blocks import Geometry, lane_geometry
from nncodec.engine import roofline
from nncodec.engine.native import NativeEngine, available_isas
from nncodec.engine_weights import EngineModel
from nncodec.errors import NNCodecError
from nncodec.lanes import Progress, no_progress

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
STAGES = {"products", "attention", "norms", "counts", "coding"}
DATA = np.frombuffer(TEXT * 50, dtype=np.uint8)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "SECONDS", 0.001)


@pytest.fixture
def native(tiny_model: EngineModel) -> NativeEngine:
    return NativeEngine(tiny_model, threads=2)


def test_roofline(native: NativeEngine, tiny_model: EngineModel) -> None:
    done: list[int] = []
    report = roofline.measure(native, tiny_model.config, DATA, 2, done.append)
    assert (report.isa, report.threads) == (native.isa, 2)
    assert (report.bytes, report.lanes) == (len(DATA), lane_geometry(len(DATA)).lanes)
    assert report.lanes > 1
    assert sum(done) == 2 * 3 * len(DATA)  # two runs and one by stage, both ways
    shapes = {k.name: (k.out_features, k.in_features) for k in report.kernels}
    assert shapes == {
        "qkv": (64, 32), "out": (32, 32), "up": (64, 32), "down": (32, 64), "head": (256, 32)
    }  # fmt: skip
    assert report.bare_gmacs > 0
    for kernel in report.kernels:
        assert set(kernel.gmacs) == {1, 8, 16, 32}
        assert min(kernel.gmacs.values()) > 0
    for coding in (report.encode, report.decode):
        assert coding.kB_s > 0
        assert set(coding.thread_us_per_byte) == STAGES
        assert min(coding.thread_us_per_byte.values()) > 0


def test_stopwatches_are_off_afterwards(native: NativeEngine) -> None:
    def work() -> bytes:
        return native.encode(DATA[:500], Geometry(), no_progress)

    payload, _ = roofline.measure_coding(native, 500, 1, work)
    before = native.core.stage_seconds()
    assert work() == payload
    assert native.core.stage_seconds() == before


@pytest.mark.parametrize("isa", available_isas())
def test_every_instruction_set_has_kernels_to_measure(isa: str, tiny_model: EngineModel) -> None:
    bare, kernels = roofline.measure_kernels(isa, tiny_model.config)
    assert bare > 0
    assert len(kernels) == 5


class Forgetful(NativeEngine):
    def decode(self, payload: bytes, size: int, geometry: Geometry, progress: Progress) -> bytes:
        return bytes(size)


class Confused(NativeEngine):
    def decode(self, payload: bytes, size: int, geometry: Geometry, progress: Progress) -> bytes:
        raise PayloadError("made up")


@pytest.mark.parametrize("kind", [Forgetful, Confused])
def test_a_failed_round_trip_is_an_error(kind: type[NativeEngine], tiny_model: EngineModel) -> None:
    with pytest.raises(NNCodecError, match="does not come back"):
        roofline.measure(kind(tiny_model, 1), tiny_model.config, DATA[:100], 1, no_progress)


def test_sample_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the source tree; made-up words, always the same, where there is none."""
    names = []
    for path in (roofline.SAMPLE, tmp_path / "missing"):
        monkeypatch.setattr(roofline, "SAMPLE", path)
        name, text = roofline.sample_text(60_000)
        names.append(name)
        assert len(text) == 60_000
        assert roofline.sample_text(10) == (name, text[:10])
    assert names[-1] == "generated text"
    assert roofline.generated_text() == roofline.generated_text()
    assert len(set(roofline.generated_text().split())) > 100


def run_script(name: str, *args: str | Path) -> list[dict[str, str]]:
    """The rows that a script writes to the file after ``--csv``."""
    subprocess.run([sys.executable, SCRIPTS / name, *args], check=True, capture_output=True)
    with Path(args[args.index("--csv") + 1]).open() as table:
        return list(csv.DictReader(table))


def test_measure_speed(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT)
    options = ["-m", "tiny", "--stand-in", "5M", "--stand-in", "25M", "--bytes", "40",
               "--runs", "1", "--isa", available_isas()[0]]  # fmt: skip
    out = tmp_path / "speed.csv"
    rows = run_script("measure_speed.py", *options, "--csv", out, tmp_path / "text")
    models = ["tiny"] * 2 + ["stand-in 5M"] * 2 + ["stand-in 25M"] * 2
    assert [(row["model"], row["threads"]) for row in rows] == list(
        zip(models, ["1", "2"] * 3, strict=True)
    )
    for row in rows:
        assert (row["file"], row["bytes"], row["isa"]) == ("text", "40", available_isas()[0])
        assert float(row["encode_kB_s"]) >= 0
        assert float(row["decode_kB_s"]) >= 0


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="this system has no wait4")
def test_measure_start(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT * 4)
    out = tmp_path / "start.csv"
    rows = run_script(
        "measure_start.py", "-m", "tiny", "--runs", "2", "--csv", out, tmp_path / "text"
    )
    assert [(row["process"], row["bytes"], row["runs"]) for row in rows] == [
        ("import numpy, typer", "0", "2"),
        ("compress", "1024", "2"),
        ("decompress", "1024", "2"),
        ("compress", str(4 * len(TEXT)), "1"),
        ("decompress", str(4 * len(TEXT)), "1"),
    ]
    for row in rows:
        assert float(row["seconds"]) > 0
        assert float(row["peak_MB"]) > 1
