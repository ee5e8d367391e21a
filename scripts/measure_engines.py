"""What engines and workers cost and gain: wall seconds of whole commands, as a CSV.

usage: python scripts/measure_engines.py --csv OUT.csv [--bytes 50M,100M] [--level 1]
           [--block-size 1M] [--directions compress,decompress]
           [--engines inline:1,process:1,process:2,ray:1,ray:2] [--runs 2] FILE|FOLDER...

The files are put one behind the other, and over again, to as many bytes as are asked for; repeats
lie in other blocks, which do not know each other, so they cost what new data would. Every engine
compresses and decompresses that; archives have to be the same bytes. Seconds are those of the
whole command, cluster and all; the engines take turns, ``--runs`` times, and the fastest run of
each is kept. ``overhead_pct`` is against ``process`` with as many workers, ``speedup`` against one
worker of the same engine. ``others`` is the share of the machine's cores that was busy with other
things just before a run, at most: if it is not near nothing, figures are those of what was left.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from nncodec.cli.sizes import parse_size
from nncodec.environment import environment
from nncodec.files import sha256

BASE = "process"


@dataclass
class Row:
    """The fastest run of an engine."""

    direction: str
    engine: str
    workers: int
    bytes: int
    archive_bytes: int
    level: int
    block_size: str
    seconds: float = float("inf")
    mb_s: float = 0.0
    overhead_pct: float | None = None
    speedup: float | None = None
    others: float = 0.0
    machine: str = ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--bytes", default="50M,100M")
    parser.add_argument("--level", type=int, default=1)
    parser.add_argument("--block-size", default="1M")
    parser.add_argument("--directions", default="compress,decompress")
    parser.add_argument("--engines", default="inline:1,process:1,process:2,ray:1,ray:2")
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    engines = [
        (name, int(count)) for name, count in (e.split(":") for e in options.engines.split(","))
    ]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for text in options.bytes.split(","):
            size = parse_size(text, "--bytes") or 0
            source = Path(folder, "source")
            fill(source, options.files, size)
            rows += measure(source, engines, options)
            write(options.csv, rows)


def fill(target: Path, sources: Iterable[Path], size: int) -> None:
    """(size,) bytes of all files, over and over."""
    files = [
        f for s in sources for f in (sorted(s.rglob("*")) if s.is_dir() else [s]) if f.is_file()
    ]
    with target.open("wb") as out:
        while True:
            for file in files:
                out.write(file.read_bytes()[: size - out.tell()])
                if out.tell() == size:
                    return


def measure(source: Path, engines: list[tuple[str, int]], options: argparse.Namespace) -> list[Row]:
    level, block_size = options.level, options.block_size
    size, archive = source.stat().st_size, source.with_suffix(".nnc")
    run("compress", engines[0], source, archive, level, block_size)
    known = {"compress": sha256(archive), "decompress": sha256(source)}
    rows = {
        (direction, *engine): Row(
            direction, *engine, size, archive.stat().st_size, level, block_size
        )
        for direction in options.directions.split(",")
        for engine in engines
    }
    for _ in range(options.runs):
        for (direction, *_), row in rows.items():
            target = source.with_suffix(".out")
            row.others = max(row.others, busy())
            origin = source if direction == "compress" else archive
            engine = row.engine, row.workers
            seconds = run(direction, engine, origin, target, level, block_size)
            if sha256(target) != known[direction]:
                raise SystemExit(f"{direction} {engine}: other bytes than {engines[0]}")
            row.seconds = min(row.seconds, round(seconds, 2))
    for row in rows.values():
        row.mb_s, row.machine = round(size / row.seconds / 1e6, 3), environment()["machine"]
        if base := rows.get((row.direction, BASE, row.workers)):
            row.overhead_pct = round(100 * (row.seconds / base.seconds - 1), 1)
        if alone := rows.get((row.direction, row.engine, 1)):
            row.speedup = round(alone.seconds / row.seconds, 2)
    return list(rows.values())


def run(
    direction: str, engine: tuple[str, int], source: Path, target: Path, level: int, block_size: str
) -> float:
    command = [sys.executable, "-m", "nncodec", direction, "-q", "-f", "-o", str(target)]
    command += ["--engine", engine[0], "--workers", str(engine[1])]
    if direction == "compress":
        command += ["-l", str(level), "--block-size", block_size]
    began = time.perf_counter()
    subprocess.run([*command, str(source)], check=True)
    return time.perf_counter() - began


def busy(seconds: float = 1.0) -> float:
    """The share of all cores that is busy while this waits; 0 where /proc does not tell."""
    if not Path("/proc/stat").exists():
        return 0.0
    before = jiffies()
    time.sleep(seconds)
    total, idle = (now - then for now, then in zip(jiffies(), before, strict=True))
    return round(1 - idle / total, 2)


def jiffies() -> tuple[int, int]:
    """All of them, and the idle ones."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return sum(fields), fields[3] + fields[4]


def write(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(asdict(rows[0])))
        writer.writeheader()
        writer.writerows(map(asdict, rows))


if __name__ == "__main__":
    main()
