"""Speed of a file both ways: median of several runs, by instruction set and threads, as CSV.

usage: python scripts/measure_speed.py [-m MODEL] [--runs 3] --csv OUT.csv FILE...
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nncodec import modelstore
from nncodec.codec import decode_block, encode_block
from nncodec.engine.native import NativeEngine, available_isas
from nncodec.lanes import no_progress

THREADS = (1, 2)


def seconds(work: Callable[[], Any], runs: int) -> tuple[float, Any]:
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("-m", "--model", default="nano")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--isa", action="append", help="only these; default: all of this machine")
    arguments = parser.parse_args()
    model = modelstore.find(arguments.model)
    with arguments.csv.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "bytes", "isa", "threads", "encode_kB_s", "decode_kB_s"])
        for path in arguments.files:
            data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
            for isa in arguments.isa or available_isas():
                for threads in THREADS:
                    engine = NativeEngine(model, threads, isa)
                    t, (row, payload) = seconds(
                        lambda e=engine, d=data: encode_block(d, e, no_progress), arguments.runs
                    )
                    back, result = seconds(
                        lambda e=engine, r=row, p=payload: decode_block(r, p, e, no_progress),
                        arguments.runs,
                    )
                    if result != data.tobytes():
                        raise SystemExit(f"{path}: the round trip failed")
                    speeds = [round(len(data) / s / 1e3, 1) for s in (t, back)]
                    writer.writerow([path.name, len(data), isa, threads, *speeds])
                    file.flush()
                    print(path.name, isa, threads, *speeds, flush=True)


if __name__ == "__main__":
    main()
