"""What a call of the command costs: start-up time and peak memory, as CSV.

usage: python scripts/measure_start.py [-m MODEL] [--runs 5] --csv OUT.csv FILE

Median wall-clock seconds and peak resident memory of fresh processes: Python importing the two
largest dependencies, both directions of the first 1,024 bytes of FILE and, once, of all of it. A
child's peak counts what it had from its parent, so this process stays small.
"""

from __future__ import annotations

import argparse
import csv
import filecmp
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORTS = [sys.executable, "-c", "import numpy, typer"]
NNCODEC = [sys.executable, "-m", "nncodec"]
START_BYTES = 1024
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes


def run(command: list[str]) -> tuple[float, int]:
    """Wall-clock seconds and peak resident bytes of a process that has to succeed."""
    begun = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return seconds, usage.ru_maxrss * RSS_UNIT


def copy_start(source: Path, target: Path, size: int) -> None:
    """Make ``target`` the first ``size`` bytes of ``source``, a piece at a time."""
    with source.open("rb") as whole, target.open("wb") as part:
        while size and (piece := whole.read(min(size, 1 << 20))):
            part.write(piece)
            size -= len(piece)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("-m", "--model", default="nano")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--csv", type=Path, required=True)
    arguments = parser.parse_args()
    whole = arguments.file.stat().st_size
    with tempfile.TemporaryDirectory() as folder, arguments.csv.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["process", "bytes", "runs", "seconds", "peak_MB"])

        def measure(name: str, size: int, runs: int, command: list[str]) -> None:
            results = [run(command) for _ in range(runs)]
            seconds = round(statistics.median(seconds for seconds, _ in results), 3)
            peak = round(max(peak for _, peak in results) / 1e6, 1)
            writer.writerow([name, size, runs, seconds, peak])
            file.flush()
            print(name, size, runs, seconds, peak, flush=True)

        measure("import numpy, typer", 0, arguments.runs, IMPORTS)
        plain, packed, back = (Path(folder) / name for name in ("plain", "packed.nnc", "back"))
        for size, runs in ((START_BYTES, arguments.runs), (whole, 1)):
            copy_start(arguments.file, plain, size)
            both = {"compress": [plain, "-o", packed, "-m", arguments.model],
                    "decompress": [packed, "-o", back]}  # fmt: skip
            for name, options in both.items():
                command = [*NNCODEC, name, "-q", "-f", *(str(option) for option in options)]
                measure(name, plain.stat().st_size, runs, command)
            if not filecmp.cmp(plain, back, shallow=False):
                raise SystemExit(f"{arguments.file}: the round trip failed")


if __name__ == "__main__":
    main()
