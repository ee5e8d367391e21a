"""``nncodec bench --engine``: the roofline of the engine, and how it is shown."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

import nncodec
from nncodec import modelstore
from nncodec.cli import files
from nncodec.cli.commands import Row, show_table
from nncodec.cli.progress import progress_bar
from nncodec.engine import roofline
from nncodec.engine.native import NativeEngine
from nncodec.parsing import read_up_to


def measure_engine(
    name: str | None, model: str | None, threads: int | None, isa: str, size: int, runs: int
) -> Row:
    """The engine's roofline on the first ``size`` bytes of a file, or on sample text."""
    if name is None:
        shown, data = roofline.sample_text(size)
    else:
        with files.open_input(name) as source:
            shown, data = name, bytes(read_up_to(source, size))
        if not data:
            raise files.FileError("is empty; give a file with data to code")
    model = model or modelstore.DEFAULT_MODEL
    weights = modelstore.find(model)
    engine = NativeEngine(weights, threads, isa)
    with progress_bar(shown, 2 * (runs + 1) * len(data), quiet=False) as progress:
        measured = roofline.measure(
            engine, weights.config, np.frombuffer(data, dtype=np.uint8), runs, progress
        )
    return {
        "version": nncodec.__version__,
        "model": model,
        "model_id": weights.model_id.hex(),
        "data": shown,
        "runs": runs,
        **measured.to_dict(),
    }


def show_engine(report: Row) -> None:
    """Two tables: the kernels alone, then both directions with their stages."""
    bare = report["bare_gmacs"]

    def rate(kernel: Row, rows: int) -> str:
        gmacs = kernel["gmacs"][rows]
        return f"{gmacs:.1f} ({100 * gmacs / bare:.0f} %)"

    def micros(coding: Row, stage: str) -> str:
        return f"{coding['thread_us_per_byte'][stage]:.3f}"

    kernel_columns: dict[str, Callable[[Row], str]] = {
        "kernel": lambda r: r["name"],
        "out x in": lambda r: f"{r['out_features']} x {r['in_features']}",
        **{f"rows: {rows}": partial(rate, rows=rows) for rows in roofline.ROWS},
    }
    coding_columns: dict[str, Callable[[Row], str]] = {
        "direction": lambda r: r["direction"],
        "kB/s": lambda r: f"{r['kB_s']:.1f}",
        **{s: partial(micros, stage=s) for s in report["encode"]["thread_us_per_byte"]},
    }
    print(f"nncodec {report['version']}, model {report['model']}, {report['isa']}")
    print(f"\nGMAC/s of one thread, and percent of the bare multiply's {bare:.1f}")
    show_table(report["kernels"], kernel_columns)
    print(f"\n{report['data']}: {report['bytes']} bytes, lanes: {report['lanes']}, ", end="")
    print(f"threads: {report['threads']}, medians of {report['runs']}; ", end="")
    print("stages in thread microseconds a byte")
    show_table([{"direction": d, **report[d]} for d in ("encode", "decode")], coding_columns)
