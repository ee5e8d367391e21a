"""Training on a rented machine, rehearsed on this one: pack, carry, train, bring back, join, go on.

The other machine is a subprocess that cannot import the compiled extension.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import JSON, TINY, tiny_float_model, write_corpus, write_domain
from safetensors.torch import load_file, save_file

from nncodec.config import ModelConfig
from nncodec.lm.data import Domain, load_domains
from nncodec.lm.flops import matrix_parameters, training_flops
from nncodec.lm.model import ByteTransformer
from nncodec.lm.plan import Budget, TrainConfig
from nncodec.lm.run import export_folder
from nncodec.lm.runfiles import Checkpoint
from nncodec.lm.start import starting_model
from nncodec.lm.train import train

STEPS = 120
SEEN = STEPS * 4 * 32 / 1e6
SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
NO_PROC = "the driver finds its process in /proc, which only Linux has"
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason=NO_PROC)


WITHOUT_EXTENSION = """
import sys
class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name == "nncodec._core":
            raise ImportError("the compiled extension was imported")
sys.meta_path.insert(0, Refusal())
"""


class Desk:
    """Both ends: the folders that travel, and the machine they travel to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        away = folder / "site"
        away.mkdir()
        (away / "sitecustomize.py").write_text(WITHOUT_EXTENSION)
        # The rented machine has the scripts as files, but no package of ours.
        self.away = {k: v for k, v in os.environ.items() if k != "OUT"} | {"PYTHONPATH": str(away)}

    def script(
        self, name: str, *args: object, away: bool = False
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, SCRIPTS / f"{name}.py", *map(str, args)]
        env = self.away if away else None
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=900, env=env
        )

    def pack(self, *args: object) -> subprocess.CompletedProcess[str]:
        return self.script("gpu_pack", self.folder / "corpus", "-o", self.folder / "parts", *args)

    def drive(self, *args: object) -> subprocess.CompletedProcess[str]:
        return self.script("gpu_drive", "--work", self.folder / "work", *args, away=True)

    def join(self, *args: object) -> subprocess.CompletedProcess[str]:
        return self.script("gpu_join", *args)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    corpus = write_corpus(tmp_path / "corpus")
    noise = np.random.default_rng(0).integers(0, 256, 60_000, dtype=np.uint8).tobytes()
    write_domain(corpus, "binary", [noise[i : i + 500] for i in range(0, len(noise), 500)])
    write_domain(corpus, "code.valid", [JSON])
    return Desk(tmp_path)


def said(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def refusal(result: subprocess.CompletedProcess[str]) -> str:
    """The one line of an error."""
    assert result.returncode == 1, result.stdout
    (line,) = result.stderr.splitlines()
    return line


def documents_of(domain: Domain) -> list[bytes]:
    bounds = pairwise(domain.offsets.tolist())
    return [bytes(domain.data[start : end - 1]) for start, end in bounds]


def widen(run: Path) -> None:
    """Blow the checkpoint up to several calls' worth of pieces, as larger models' are."""
    checkpoint = Checkpoint(run)
    tensors, state = load_file(checkpoint.path), checkpoint.state()
    tensors["optimizer.9.0.ballast"] = torch.arange(16 << 20, dtype=torch.int32)
    save_file(tensors, checkpoint.path, metadata={"state": json.dumps(state)})


def test_the_whole_way(desk: Desk) -> None:
    folder = desk.folder
    shape = folder / "shape"
    shape.mkdir()
    TINY.save(shape)
    assert "parts" in said(desk.pack("--megabytes", 0.05, "--shape", shape, "--part-mib", 0.02))
    parts = sorted((folder / "parts").iterdir())
    assert len(parts) >= 3
    assert max(sum(f.stat().st_size for f in part.glob("*.bin")) for part in parts) <= 0.02 * 2**20

    # Carrying: parts alone, in any order after the first, which has the index.
    assert "travels with part-000" in refusal(desk.drive("collect", parts[1]))
    assert "missing: part-001" in said(desk.drive("collect", parts[0]))
    said(desk.drive("collect", *parts[2:]))
    assert "part-001.bin of" in refusal(desk.drive("start", "--minutes", 1))
    assert not (folder / "work" / "payload").exists()
    whole = parts[1] / "part-001.bin"
    good = whole.read_bytes()
    whole.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    assert "part-001.bin is damaged" in refusal(desk.drive("collect", parts[1]))
    whole.write_bytes(good)
    assert "all parts are here" in said(desk.drive("collect", parts[1]))
    assert "no checkpoint yet" in refusal(desk.drive("bring", "--out", folder / "out"))
    assert "nothing was started" in refusal(desk.drive("status"))

    # Training, counted from the first call.
    (folder / "work" / "begun").write_text(f"{(folder / 'work' / 'begun').stat().st_mtime - 3600}")
    assert "are over" in refusal(desk.drive("start", "--minutes", 50))
    (folder / "work" / "begun").unlink()
    options = ["--batch", 4, "--length", 32, "--no-compile", "--mix", "code=1,en_books=2"]
    said(desk.drive("start", "--minutes", 30, "--megabytes", SEEN, "--device", "cpu", *options))
    assert "training is running" in refusal(desk.drive("start", "--minutes", 1))
    report = said(desk.drive("status", "--wait", 600, "--lines", 999))
    for words in ("parameters on cpu", "bpb", "TFLOP/s (cpu: peak not known)", "ended; bring"):
        assert words in report
    run = folder / "work" / "payload" / "run"
    state = Checkpoint(run).state()
    assert state is not None
    assert state["step"] == STEPS
    last = (run / "metrics.csv").read_text().splitlines()[-1].split(",")
    assert 0 < float(last[4]) < 0.5  # the rate goes down to zero

    # Bringing, in several calls of a few pieces each.
    weights = load_file(run / "model.safetensors")
    widen(run)
    brought, cursor = [], 0
    while True:
        brought.append(folder / f"out{len(brought)}")
        report = said(desk.drive("bring", "--cursor", cursor, "--out", brought[-1]))
        sizes = [path.stat().st_size for path in brought[-1].iterdir()]
        assert len(sizes) <= 8
        assert max(sizes) < 16 << 20
        assert sum(sizes) <= 64 << 20
        if "that was all" in report:
            break
        cursor = int(report.split()[-1])
    assert len(brought) == 2
    assert "none of them" in refusal(desk.drive("bring", "--cursor", 99, "--out", folder / "x"))

    # Joining: what is missing or damaged is named, and leaves no folder behind.
    joined = folder / "joined"
    assert "part-004.bin of 5 parts missing" in refusal(desk.join(brought[0], "-o", joined))
    piece = brought[1] / "part-004.bin"
    good = piece.read_bytes()
    piece.write_bytes(good[:-1])
    assert "part-004.bin is damaged" in refusal(desk.join(*brought, "-o", joined))
    again = folder / "again"
    again.mkdir()
    (again / "part-004.bin").write_bytes(good)
    said(desk.join(*brought, again, "-o", joined))  # of two copies the whole one
    shutil.rmtree(joined)
    piece.write_bytes(good)
    assert not list(folder.glob("joined*"))
    said(desk.join(brought[0], "-o", folder / "model", "--weights-only"))
    assert not (folder / "model" / "checkpoint.safetensors").exists()
    said(desk.join(*brought[::-1], "-o", joined))
    assert "exists" in refusal(desk.join(*brought, "-o", joined))
    for home in (folder / "model", joined):
        for name, value in load_file(home / "model.safetensors").items():
            assert torch.equal(value, weights[name]), name
    mine, theirs = (load_file(home / "checkpoint.safetensors") for home in (joined, run))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert "bpb" in (joined / "train.log").read_text()
    assert len(export_folder(joined, folder / "corpus", folder / "exported")) == 16

    # And on: here, and on the next machine.
    del mine["optimizer.9.0.ballast"]
    save_file(mine, joined / "checkpoint.safetensors", metadata={"state": json.dumps(state)})
    plan = TrainConfig(**json.loads((joined / "train.json").read_text()))
    longer = replace(plan, bytes=plan.bytes + 10 * 4 * 32, stop_minutes=0.0)
    model = starting_model(0, joined, None)
    train(model, folder / "corpus", joined, longer, torch.device("cpu"), lambda _line: None)
    after = Checkpoint(joined).state()
    assert after is not None
    assert after["step"] == STEPS + 10


def test_a_run_goes_on_over_there_under_its_own_plan(desk: Desk) -> None:
    """A checkpoint travels; a longer schedule pauses before its rate falls; failures are told."""
    folder, run = desk.folder, desk.folder / "run"
    plan = TrainConfig(bytes=4 * 32 * 20, batch=4, length=32, compile=False, seed=3)
    train(tiny_float_model(3), folder / "corpus", run, plan, torch.device("cpu"), lambda _: None)
    said(desk.pack("--megabytes", 0.02, "--run", run))
    said(desk.drive("collect", folder / "parts" / "000"))
    said(desk.drive("start", "--minutes", 30, "--batch", 8, "--device", "cpu"))
    assert "begun with other batch" in refusal(desk.drive("status", "--wait", 600, "--lines", 0))
    said(desk.drive("start", "--minutes", 30, "--device", "cpu"))
    os.kill(json.loads((folder / "work" / "process.json").read_text())["pid"], signal.SIGKILL)
    assert "training was killed" in refusal(desk.drive("status", "--wait", 600))
    said(desk.drive("start", "--minutes", 30, "--megabytes", SEEN, "--device", "cpu"))
    report = said(desk.drive("status", "--wait", 600, "--lines", 999))
    assert "ended" in report
    run = folder / "work" / "payload" / "run"
    state = Checkpoint(run).state()
    assert state is not None
    assert state["step"] == STEPS
    assert json.loads((run / "train.json").read_text())["seed"] == 3
    log = (run / "heldout.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in log] == ["step", "20", str(STEPS)]


def test_schedules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from gpu_drive import DriveError, schedule

    def rate(fields: dict[str, float], seconds: float) -> float:
        """Of a run that has seen nothing when it ends, which only counts for bytes."""
        budget = Budget(TrainConfig(**fields))
        return budget.rate(budget.progress(seconds, 0), 1000)

    alone = schedule(0, 600, 0, 0)  # ten minutes are left of a machine, and the rate is 0 then
    assert [rate(alone, seconds) for seconds in (0, 300, 450, 600)] == [1, 1, 0.5, 0]
    resumed = schedule(600, 600, 0, 0)
    assert [rate(resumed, seconds) for seconds in (600, 900, 1200)] == [1, 0.5, 0]
    paused = schedule(600, 600, 60, 0)
    budget = Budget(TrainConfig(**paused))
    assert [budget.goes_on(seconds, 0) for seconds in (600, 1199, 1200)] == [True, True, False]
    assert rate(paused, 1200) == 1
    by_bytes = Budget(TrainConfig(**schedule(0, 60, 0, 2)))
    assert by_bytes.progress(59, 10**6) == 0.5
    assert [by_bytes.goes_on(59, 10**6), by_bytes.goes_on(61, 10**6)] == [True, False]
    with pytest.raises(DriveError, match="give more minutes"):
        schedule(0, 0, 0, 0)


def test_slices_have_the_shares_of_the_mix(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    said(desk.pack("--megabytes", 0.0025, "--seed", 5))
    (only,) = (desk.folder / "parts").iterdir()
    first = {path.name: path.read_bytes() for path in only.iterdir()}
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import gpu_pack
    from gpu_parts import read_index, unpack

    target = desk.folder / "unpacked"
    unpack(read_index(only), lambda name: only / name, target)
    shutil.rmtree(only.parent)
    said(desk.pack("--megabytes", 0.0025, "--seed", 5))
    assert {path.name: path.read_bytes() for path in only.iterdir()} == first
    shutil.rmtree(only.parent)
    said(desk.pack("--megabytes", 0.0025, "--seed", 6))
    assert (only / "part-000.bin").read_bytes() != first["part-000.bin"]

    originals = {d.name: d for d in load_domains(desk.folder / "corpus")}
    sizes = {}
    for domain in load_domains(target / "corpus"):
        pieces, documents = documents_of(domain), documents_of(originals[domain.name])
        assert sum(piece not in documents for piece in pieces) <= 1  # the last drawn is cut
        assert all(any(d.startswith(piece) for d in documents) for piece in pieces)
        sizes[domain.name] = len(domain.data)
    mix = {"en_books": 0.17, "code": 0.18, "binary": 0.03}
    full = {name: len(d.data) for name, d in originals.items()}
    wanted = gpu_pack.shares(full, mix, 2500)
    assert wanted["code"] == full["code"] < 2500 * 0.18 / 0.38  # there is no more of it
    assert wanted["en_books"] / wanted["binary"] == pytest.approx(17 / 3, rel=0.01)
    assert sum(wanted.values()) == pytest.approx(2500, abs=3)
    assert all(abs(sizes[name] - wanted[name]) <= 1 for name in wanted)
    for path in (desk.folder / "corpus").glob("*.valid.*"):
        assert (target / "corpus" / path.name).read_bytes() == path.read_bytes()
    assert not list(target.rglob("nncodec/__init__.py"))


def test_what_cannot_be_packed(desk: Desk) -> None:
    assert "martian" in refusal(desk.pack("--megabytes", 1, "--mix", "martian=1"))
    nothing = desk.folder / "nothing"
    assert "checkpoint.safetensors" in refusal(desk.pack("--megabytes", 1, "--run", nothing))
    assert not (desk.folder / "parts").exists()
    (desk.folder / "parts").mkdir()
    assert "take a new folder" in refusal(desk.pack("--megabytes", 1))


def test_flops_are_counted_from_the_shape() -> None:
    grams = replace(TINY, ngram_orders=(2, 5), ngram_bits=5, ngram_width=6)
    for config in (TINY, ModelConfig(), grams):
        model = ByteTransformer(config)
        matrices = {n: p.numel() for n, p in model.named_parameters() if p.ndim == 2}
        assert matrices.pop("embed.weight") == 257 * config.d_model
        assert matrices.pop("ngrams.table.weight", 0) == len(config.ngram_orders) * 32 * 6
        assert matrix_parameters(config) == sum(matrices.values())
        assert training_flops(config) > 6 * matrix_parameters(config)
    assert training_flops(TINY) - 6 * matrix_parameters(TINY) == 12 * 2 * 16 * (4 + 16)
