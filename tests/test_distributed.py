"""Two processes over gloo train as one does: same data, same steps, one checkpoint."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import TINY, write_corpus
from safetensors.torch import load_file

from nncodec.lm.distributed import World, world
from nncodec.lm.plan import TrainConfig
from nncodec.lm.runfiles import Checkpoint
from nncodec.lm.start import starting_model
from nncodec.lm.train import train

STEPS, BATCH, LENGTH = 100, 4, 32
PLAN = TrainConfig(bytes=STEPS * BATCH * LENGTH, batch=BATCH, length=LENGTH, compile=False)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
SAVING = """
import sys
from pathlib import Path
from nncodec.lm.run import train_and_export
from nncodec.lm.plan import TrainConfig
corpus, run, shape = map(Path, sys.argv[1:4])
plan = TrainConfig(bytes=int(sys.argv[4]), batch=4, length=32, compile=False, save_every_s=0.0)
train_and_export(corpus, run, plan, shape, None, "cpu")
"""


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def kill_after_a_checkpoint(command: list[str | Path], run: Path) -> None:
    """SIGKILL for torchrun and both of its processes, as a machine that goes away would do."""
    checkpoint = run / "checkpoint.safetensors"
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            deadline = time.monotonic() + 900
            while not checkpoint.exists() and process.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            children = subprocess.run(
                ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, check=False
            )
            for pid in [process.pid, *map(int, children.stdout.split())]:
                os.kill(pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    corpus, run, alone = write_corpus(tmp_path / "corpus"), tmp_path / "run", tmp_path / "alone"
    shape = tmp_path / "shape"
    shape.mkdir()
    TINY.save(shape)
    script = tmp_path / "saving.py"
    script.write_text(SAVING)
    kill_after_a_checkpoint([*TORCHRUN, "2", script, corpus, run, shape, str(PLAN.bytes)], run)
    state = Checkpoint(run).state()
    assert state is not None
    assert 0 < state["step"] < STEPS
    assert not (run / "model.safetensors").exists()
    for leftover in run.glob("*.tmp"):
        leftover.unlink()

    options = ["--shape", shape, "--batch", str(BATCH), "--length", str(LENGTH), "--no-compile"]
    budget = ["--megabytes", str(PLAN.bytes / 1e6), "--device", "cpu"]
    command = [*TORCHRUN, "2", "-m", "nncodec", "train", corpus, "-o", run, *options, *budget]
    result = subprocess.run(command, capture_output=True, check=False, timeout=1800)
    assert result.returncode == 0, result.stderr.decode()
    said = result.stdout.decode()
    assert said.count("model id") == said.count("parameters on cpu") == 1

    model = starting_model(0, shape, None)
    scores = train(model, corpus, alone, PLAN, torch.device("cpu"), lambda _line: None)
    together, single = read(run / "metrics.csv"), read(alone / "metrics.csv")
    assert together[-1]["step"] == single[-1]["step"] == str(STEPS)
    assert together[-1]["bytes"] == single[-1]["bytes"]

    # The log's loss is smoothed and begins anew with a resumed run; held-out bits say as much.
    assert abs(float(read(run / "heldout.csv")[-1]["mean"]) - scores["mean"]) < 0.02
    plans = [json.loads((folder / "train.json").read_text()) for folder in (run, alone)]
    assert {**plans[0], "save_every_s": PLAN.save_every_s} == plans[1]  # it was begun so
    assert [path.name for path in run.glob("checkpoint*")] == ["checkpoint.safetensors"]
    mine, theirs = (load_file(folder / "checkpoint.safetensors") for folder in (run, alone))
    assert mine.keys() == theirs.keys()
    start = dict(starting_model(0, shape, None).state_dict())
    for name, weight in start.items():
        moved = (theirs[f"model.{name}"] - weight).norm()
        apart = (theirs[f"model.{name}"] - mine[f"model.{name}"]).norm()
        assert apart < 0.15 * moved, name  # Muon's bf16 products are most of what differs


def test_a_batch_that_cannot_be_split() -> None:
    with pytest.raises(ValueError, match=r"16 windows.*3 processes.*multiple of 3"):
        World(rank=1, size=3).rows(16)
    rows = [range(16)[World(rank, 4).rows(16)] for rank in range(4)]
    assert [row for part in rows for row in part] == list(range(16))


def test_one_process_agrees_with_itself() -> None:
    alone = world()
    assert (alone, alone.is_main, alone.agree(0.25)) == (World(), True, 0.25)
    assert replace(alone, rank=1).is_main is False
    assert alone.rows(5) == slice(0, 5)
