"""Train and measure every point of a study, each in a folder of its own.

    OUT/results.csv                 all rows so far, replaced after every measurement
    OUT/<point>/model/              the run and its model: nncodec train's folder
    OUT/<point>/model/log.txt       what training said
    OUT/<point>/record.json         what is known of the point: training, then rows

A point whose record is complete is not touched again; one that was killed goes on from its last
checkpoint, and files that were measured are not measured twice. Several processes may share OUT,
on as many cores: each takes points that no other holds.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nncodec.engine_weights import WEIGHTS_FILE
from nncodec.environment import environment
from nncodec.errors import DivergedError, SweepError
from nncodec.files import sha256
from nncodec.lm.flops import matrix_parameters
from nncodec.sweep.config import Study
from nncodec.sweep.measure import measure, to_row
from nncodec.sweep.points import Point, fingerprint, grid_points
from nncodec.sweep.results import RESULTS_FILE, read_json, write_json, write_results
from nncodec.sweep.shapes import describe, parameters, table_parameters

RECORD_FILE, CHECKPOINT_FILE = "record.json", "checkpoint.safetensors"
Report = Callable[[str], None]
Record = dict[str, Any]


def run_sweep(study: Study, out: Path, threads: int | None, report: Report) -> int:
    """Do what is left of ``study``; returns how many points another process is still at.

    ``threads`` is for training and for the engine; None: all cores. Raises NNCodecError, OSError,
    and ModuleNotFoundError without torch.
    """
    points = grid_points(study)
    corpus = fingerprint(study.corpus)
    out.mkdir(parents=True, exist_ok=True)
    use_threads(threads)
    busy, failed = 0, []
    for number, point in enumerate(points, 1):
        folder = out / point.name(corpus)
        with claimed(folder) as mine:
            if not mine:
                busy += 1
                report(f"{folder.name}: another process is at it")
                continue
            title = f"[{number}/{len(points)}] {folder.name} ({describe(point.shape)})"
            try:
                run_point(study, point, folder, corpus, threads, partial(prefixed, report, title))
            except DivergedError as error:  # the others may still be trained
                failed.append(folder.name)
                report(f"{title}: {error}")
            write_results(out / RESULTS_FILE, all_rows(out, points, corpus))
    write_results(out / RESULTS_FILE, all_rows(out, points, corpus))
    if failed:
        raise DivergedError(f"training diverged at {', '.join(failed)}; the other points are done")
    return busy


def prefixed(report: Report, title: str, line: str) -> None:
    report(f"{title}: {line}")


def use_threads(threads: int | None) -> None:
    if threads:
        import torch

        torch.set_num_threads(threads)


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether this process has ``folder`` to itself; the system frees it when the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # Windows: one process at a time, as docs/scaling.md says
        yield True
        return
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


def run_point(
    study: Study, point: Point, folder: Path, corpus: str, threads: int | None, report: Report
) -> Record:
    """Train the point if its model is not there, then measure what was not measured."""
    record = read_json(folder / RECORD_FILE)
    key = point.key(corpus)
    if record and record.get("key") != key:
        raise SweepError(f"{folder} holds another point; use a new folder")
    if "training" not in record or not (folder / "model" / WEIGHTS_FILE).is_file():
        training = train_point(study.corpus, point, folder, report)
        record = {"key": key, "training": training, "rows": []}
        write_json(folder / RECORD_FILE, record)
    for path in study.files:
        digest, size = sha256(path), path.stat().st_size
        for precision in point.precisions:
            if find_row(record, digest, precision, study.level):
                continue
            measured = measure(
                folder / "model", path, precision, study.level, study.verify, threads
            )
            row = {
                "file": path.name,
                "file_bytes": size,
                "file_sha256": digest,
                "level": study.level,
                **to_row(measured, size),
                **here(),
            }
            record["rows"].append(row)
            write_json(folder / RECORD_FILE, record)
            bits = {k: row[k] for k in ("network_bpb", "archive_bpb") if row[k] != ""}
            report(f"{path.name} {precision} {bits}")
    return record


def find_row(record: Mapping[str, Any], digest: str, precision: str, level: int) -> Any:
    wanted = (digest, precision, level)
    for row in record["rows"]:
        if (row["file_sha256"], row["precision"], row["level"]) == wanted:
            return row
    return None


def train_point(corpus: Path, point: Point, folder: Path, report: Report) -> Record:
    """A model in ``folder/model``, from where an earlier process left it, and how that went."""
    from nncodec.lm.run import export_folder

    last = train_to(corpus, point, folder, point.plan.bytes, report)
    with training_errors():
        model_id = export_folder(folder / "model", corpus, folder / "model")
    return {
        "held_out_bpb": round(last["mean"], 5),
        "train_seconds": round(last["seconds"], 1),
        "bytes_seen": int(last["bytes"]),
        "held_out": {k: v for k, v in last.items() if k not in ("step", "bytes", "seconds")},
        "model_id": model_id.hex(),
    }


def train_to(
    corpus: Path, point: Point, folder: Path, seen: int, report: Report
) -> dict[str, float]:
    """Train until ``seen`` bytes of the plan's; the held-out scores there, as ``last_score``.

    Asked again for a place that the run has passed, it gives the scores that were written there.
    """
    import torch

    from nncodec.lm.run import train_run

    run, shape = folder / "model", folder / "shape"
    for path in (run, shape):
        path.mkdir(exist_ok=True)
    if passed := score_at(run, seen, point.plan.batch * point.plan.length):
        return passed
    point.shape.save(shape)
    torch._dynamo.reset()  # it compiles a function for so many models, and then no more
    with (run / "log.txt").open("a", encoding="utf-8") as log:

        def say(line: str) -> None:
            log.write(line + "\n")
            log.flush()
            report(line)

        plan = replace(point.plan, stop_bytes=seen if seen < point.plan.bytes else 0)
        with training_errors():
            train_run(corpus, run, plan, shape, None, "cpu", say)
    return scores(run)[-1]


@contextmanager
def training_errors() -> Iterator[None]:
    """What training complains of as an error of one line."""
    try:
        yield
    except FloatingPointError as error:
        raise DivergedError(str(error)) from error
    except (ValueError, RuntimeError) as error:
        raise SweepError(str(error)) from error


def scores(run: Path) -> list[dict[str, float]]:
    """A run's held-out scores so far: step, bytes, seconds, domains, mean."""
    path = run / "heldout.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: float(value) for name, value in row.items()} for row in rows]


def score_at(run: Path, seen: int, step: int) -> dict[str, float] | None:
    """The scores at the first step that reached ``seen`` bytes, if they were written."""
    if not (run / CHECKPOINT_FILE).exists():
        return None
    return next((row for row in scores(run) if seen <= row["bytes"] < seen + step), None)


def here() -> dict[str, str]:
    return {**environment(), "torch": version("torch")}


def all_rows(out: Path, points: Sequence[Point], corpus: str) -> list[Record]:
    """The rows of every record, with what its point is."""
    rows = []
    for point in points:
        name = point.name(corpus)
        record = read_json(out / name / RECORD_FILE)
        if "training" not in record:
            continue
        about = columns_of(point, name, record["training"])
        rows += [{**about, **row} for row in record["rows"]]
    return rows


def columns_of(point: Point, name: str, training: Mapping[str, Any]) -> Record:
    shape = point.shape
    wanted = ("held_out_bpb", "train_seconds", "bytes_seen", "model_id")
    return {
        "point": name,
        "role": point.role,
        "target": point.target,
        "shape": describe(shape),
        "d_model": shape.d_model,
        "layers": shape.n_layers,
        "n_heads": shape.n_heads,
        "head_dim": shape.head_dim,
        "d_ff": shape.d_ff,
        "window": max(shape.windows),
        "ngram_orders": " ".join(map(str, shape.ngram_orders)),
        "ngram_bits": shape.ngram_bits,
        "ngram_width": shape.ngram_width,
        "seed": point.plan.seed,
        "parameters": parameters(shape),
        "table_parameters": table_parameters(shape),
        "matrix_parameters": matrix_parameters(shape),
        "training_flops": point.flops,
        **{k: training[k] for k in wanted},
    }
