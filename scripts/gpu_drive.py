"""Train on a rented machine without a network: every call is one of these verbs.

    collect FOLDER...                  take in a part (and the index, with part 0)
    start --minutes M [options]        unpack, and train in a process that outlives the call
    status [--wait SECONDS]            what it is doing
    bring --cursor N [--out FOLDER]    hand out the newest checkpoint and logs, piece by piece

Needs Python, torch, numpy and safetensors there, and this folder of scripts. docs/gpu.md has the
calls in order.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from gpu_parts import (
    INDEX,
    MIB,
    PartsError,
    check_part,
    missing_parts,
    read_index,
    unpack,
    write_parts,
)

PIECE_BYTES = 15 * MIB  # a call returns at most 8 files below 16 MiB and 64 MiB in all
PIECES_A_CALL = 4
SAVE_EVERY_S, EVAL_EVERY_S = 120.0, 300.0
# Dense bf16 products a second by the vendors' data sheets, by a word of the device's name.
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "B200": 2250e12, "A100": 312e12}
RATES = ("muon_lr", "adam_lr", "decay_share", "rounding_share")
PLAN_OPTIONS = (*RATES, "batch", "length", "seed", "mix", "compile")
WEIGHTS, OPTIMIZER = "model.safetensors", "optimizer.safetensors"


class DriveError(Exception):
    """What was asked for cannot be done now; the message says what to do first."""


class Work:
    """The folder on the rented machine that all calls share."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.parts, self.payload = folder / "parts", folder / "payload"
        self.run, self.outgoing = self.payload / "run", folder / "outgoing"
        self.log, self.process = folder / "train.log", folder / "process.json"
        self.ended, self.device = folder / "ended", folder / "device"
        first = folder / "begun"
        if not first.exists():
            first.write_text(str(time.time()))
        self.begun = float(first.read_text())

    def part(self, name: str) -> Path | None:
        path = self.parts / name
        return path if path.exists() else None


def collect(work: Work, folders: list[Path]) -> None:
    """Take parts in; each is verified, and a damaged one leaves nothing behind."""
    work.parts.mkdir(exist_ok=True)
    for folder in folders:
        if (folder / INDEX).exists():
            read_index(folder)  # damaged ones are refused here
            mine = work.parts / INDEX
            if mine.exists() and mine.read_bytes() != (folder / INDEX).read_bytes():
                raise DriveError(f"{folder} is of another set of parts than those collected")
            shutil.copyfile(folder / INDEX, mine)
        index = read_index(work.parts)
        known = {part["name"]: part for part in index["parts"]}
        for path in sorted(folder.glob("part-*.bin")):
            if path.name not in known:
                raise DriveError(f"{path} is not in the index of {len(known)} parts")
            check_part(known[path.name], path)
            temporary = work.parts / "incoming"
            shutil.copyfile(path, temporary)
            os.replace(temporary, work.parts / path.name)
    missing = missing_parts(read_index(work.parts), work.part)
    print(f"missing: {', '.join(missing)}" if missing else "all parts are here; start")


def training_code(code: Path) -> None:
    """Make ``nncodec.lm`` importable from ``code`` alone.

    The package's own __init__ imports the compiled extension, which is not here and which training
    does not need; a bare package of the same name with the modules' folder stands in for it.
    """
    package = ModuleType("nncodec")
    package.__path__ = [str(code / "nncodec")]
    sys.modules["nncodec"] = package


def is_running(work: Work) -> bool:
    """Whether the training process lives; one that ended but was not waited for does not."""
    if not work.process.exists():
        return False
    stat = Path(f"/proc/{json.loads(work.process.read_text())['pid']}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start(work: Work, options: argparse.Namespace) -> None:
    if is_running(work):
        raise DriveError("training is running; see status")
    index = read_index(work.parts)
    if not work.payload.exists():
        temporary = work.payload.with_suffix(".tmp")
        try:
            unpack(index, work.part, temporary)
            os.replace(temporary, work.payload)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    deadline = work.begun + 60 * options.minutes
    if deadline <= time.time():
        raise DriveError(
            f"{options.minutes:g} minutes from the machine's first call are over; give more"
        )
    work.ended.unlink(missing_ok=True)
    plan = {key: getattr(options, key) for key in PLAN_OPTIONS}
    plan = {key: value for key, value in plan.items() if value is not None}
    request = json.dumps([deadline, options.plan_minutes, options.megabytes, options.device, plan])
    with work.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-u", __file__, "--work", str(work.parts.parent), "train", request],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that the end of this call is not its end
        )
    work.process.write_text(json.dumps({"pid": process.pid, "deadline": deadline}))
    print(f"training until {(deadline - time.time()) / 60:.1f} minutes from now")


def train(work: Work, request: str) -> None:
    """The training process. Leaves how it ended in a file of its own."""
    try:
        scores = train_until(work, *json.loads(request))
    except BaseException as error:
        work.ended.write_text(f"{type(error).__name__}: {error}")
        raise
    print("held out, bits per byte: " + "  ".join(f"{k} {v:.4f}" for k, v in scores.items()))
    work.ended.write_text("")


def schedule(spent: float, left: float, plan_minutes: float, megabytes: float) -> dict[str, float]:
    """The budget's fields of a plan, for a run of ``spent`` seconds that has ``left`` more.

    Its rate is zero at the end of the time left, or at the end of ``plan_minutes`` of training or
    of ``megabytes`` in all, on the way to which it pauses when the time is over.
    """
    if left <= 0:
        raise DriveError("the time was over before training began; give more minutes")
    end = (spent + left) / 60
    pause = end if plan_minutes or megabytes else 0.0
    minutes = 0.0 if megabytes else plan_minutes or end
    return {"minutes": minutes, "bytes": int(1e6 * megabytes), "stop_minutes": pause}


def train_until(
    work: Work,
    deadline: float,
    plan_minutes: float,
    megabytes: float,
    device: str,
    asked: dict[str, Any],
) -> dict[str, float]:
    """Train to the deadline at most. An earlier run's plan holds where nothing else is asked."""
    training_code(work.payload / "code")
    import torch

    from nncodec.lm.data import parse_mix
    from nncodec.lm.plan import TrainConfig
    from nncodec.lm.runfiles import Checkpoint
    from nncodec.lm.start import starting_model
    from nncodec.lm.train import train

    if "mix" in asked:
        asked["mix"] = parse_mix(asked["mix"])
    earlier = work.run / "train.json"
    values = json.loads(earlier.read_text()) if earlier.exists() else {}
    plan = TrainConfig(**{**values, **asked})
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    torch.zeros(1, device=where)  # a GPU takes seconds to wake: not on the schedule's time
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
    folders = [work.payload / "shape", work.payload / "from"]
    shape, model_folder = (folder if folder.exists() else None for folder in folders)
    model = starting_model(plan.seed, work.run if earlier.exists() else shape, model_folder)
    print(f"{sum(p.numel() for p in model.parameters())} parameters on {name}")
    work.device.write_text(name)
    state = Checkpoint(work.run).state() or {"seconds": 0.0}
    budget = schedule(state["seconds"], deadline - time.time(), plan_minutes, megabytes)
    saving = {"save_every_s": SAVE_EVERY_S, "eval_every_s": EVAL_EVERY_S}
    plan = TrainConfig(**{**vars(plan), **budget, **saving})
    return train(model, work.payload / "corpus", work.run, plan, where)


def status(work: Work, wait: float, lines: int) -> None:
    """Print it; returns early when training ends. Raises DriveError if it failed."""
    if not work.process.exists():
        raise DriveError("nothing was started yet")
    until = time.monotonic() + wait
    while is_running(work) and time.monotonic() < until:
        time.sleep(min(1.0, until - time.monotonic()))
    print(*work.log.read_text(errors="replace").splitlines()[-lines:], sep="\n")
    if (work.run / "metrics.csv").exists() and work.device.exists():
        rows = list(csv.DictReader((work.run / "metrics.csv").read_text().splitlines()))
        print(*(progress(work, row) for row in rows[-1:]))
    if is_running(work):
        left = json.loads(work.process.read_text())["deadline"] - time.time()
        print(f"running, {left / 60:.1f} minutes left")
    elif not work.ended.exists():
        raise DriveError("training was killed; start resumes it from the last checkpoint")
    elif why := work.ended.read_text():
        raise DriveError(f"training failed: {why}")
    else:
        print("ended; bring")


def progress(work: Work, row: dict[str, str]) -> str:
    training_code(work.payload / "code")
    from nncodec.config import ModelConfig
    from nncodec.lm.flops import training_flops

    speed = float(row["bytes_per_s"])
    flops = speed * training_flops(ModelConfig.load(work.run))
    name = work.device.read_text()
    peak = next((peak for word, peak in PEAK_FLOPS.items() if word in name), None)
    share = f"{100 * flops / peak:.1f} % of its peak" if peak else "peak not known"
    return (
        f"step {row['step']}  {int(row['bytes']) / 1e6:.1f} MB  {row['bpb']} bpb  "
        f"{speed / 1e3:.1f} kB/s  {flops / 1e12:.3g} TFLOP/s ({name}: {share})"
    )


def snapshot(work: Work) -> None:
    """Freeze the newest checkpoint and the logs as pieces: training may go on meanwhile.

    The weights come before the optimiser's state, so that half of the pieces are a model already.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    checkpoint = work.run / "checkpoint.safetensors"
    if not checkpoint.exists():
        raise DriveError("no checkpoint yet; the first one comes after a minute of training")
    temporary = work.outgoing.with_suffix(".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    files, pieces = temporary / "files", temporary / "pieces"
    files.mkdir(parents=True)
    pieces.mkdir()
    names = ["config.json", "train.json", "metrics.csv", "heldout.csv"]
    names = [name for name in names if (work.run / name).exists()]
    for name in names:
        shutil.copyfile(work.run / name, files / name)
    shutil.copyfile(work.log, files / "train.log")
    with safe_open(checkpoint, "pt") as file:  # one handle: the file may be replaced meanwhile
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    rest = {k: v for k, v in tensors.items() if not k.startswith("model.")}
    save_file(weights, files / WEIGHTS, metadata={"format": "pt"})
    save_file(rest, files / OPTIMIZER, metadata=metadata)
    order = [*names, "train.log", WEIGHTS, OPTIMIZER]
    write_parts(((name, files / name) for name in order), pieces, PIECE_BYTES, compress=False)
    shutil.rmtree(work.outgoing, ignore_errors=True)
    os.replace(pieces, work.outgoing)
    shutil.rmtree(temporary)
    state = json.loads(metadata["state"])
    print(f"checkpoint of step {state['step']}, {state['bytes'] / 1e6:.1f} MB seen")


def bring(work: Work, out: Path, cursor: int) -> None:
    """Copy the pieces from ``cursor`` on, as many as a call returns; 0 takes a new snapshot."""
    if cursor == 0:
        snapshot(work)
    elif not work.outgoing.exists():
        raise DriveError("begin with bring --cursor 0")
    parts = read_index(work.outgoing)["parts"]
    if not 0 <= cursor < len(parts):
        raise DriveError(f"there are {len(parts)} pieces; --cursor {cursor} is none of them")
    out.mkdir(parents=True, exist_ok=True)
    end = min(cursor + PIECES_A_CALL, len(parts))
    for name in [INDEX, *(part["name"] for part in parts[cursor:end])]:
        shutil.copyfile(work.outgoing / name, out / name)
    done = f"pieces {cursor} to {end - 1} of {len(parts)}"
    print(f"{done}; that was all" if end == len(parts) else f"{done}; go on with --cursor {end}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("/tmp/nncodec-training"))
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("collect")
    verb.add_argument("folders", nargs="+", type=Path)
    verb = verbs.add_parser("start")
    verb.add_argument(
        "--minutes", type=float, required=True, help="training ends so long after the first call"
    )
    plans = verb.add_mutually_exclusive_group()
    plans.add_argument(
        "--plan-minutes",
        type=float,
        default=0.0,
        help="pause at --minutes, on a schedule of so many minutes of training in all",
    )
    plans.add_argument(
        "--megabytes", type=float, default=0.0, help="the same for 10^6 bytes seen in all"
    )
    for name in ("batch", "length", "seed"):
        verb.add_argument(f"--{name}", type=int)
    for name in RATES:
        verb.add_argument(f"--{name.replace('_', '-')}", type=float)
    verb.add_argument("--mix", help="domain=weight,...")
    verb.add_argument("--compile", action=argparse.BooleanOptionalAction)
    verb.add_argument("--device", default="", help="cpu or cuda; by default what is there")
    verb = verbs.add_parser("train", help="what start starts")
    verb.add_argument("request")
    verb = verbs.add_parser("status")
    verb.add_argument("--wait", type=float, default=0.0, help="seconds; less if training ends")
    verb.add_argument("--lines", type=int, default=10, help="of the log")
    verb = verbs.add_parser("bring")
    verb.add_argument("--cursor", type=int, default=0)
    verb.add_argument("--out", type=Path, default=os.environ.get("OUT"), help="default: $OUT")
    options = parser.parse_args()
    if options.verb == "bring" and options.out is None:
        parser.error("give --out: the variable OUT is not set")
    work = Work(options.work.resolve())
    if options.verb == "train":
        train(work, options.request)  # with its traceback, which goes to the log
        return
    try:
        match options.verb:
            case "collect":
                collect(work, options.folders)
            case "start":
                start(work, options)
            case "status":
                status(work, options.wait, options.lines)
            case "bring":
                bring(work, options.out, options.cursor)
    except (DriveError, PartsError, OSError) as error:
        sys.exit(f"gpu_drive: {error}")


if __name__ == "__main__":
    main()
