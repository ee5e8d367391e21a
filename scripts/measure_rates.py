"""Bytes a core-second by level, both ways, as CSV: one thread on one core, CPU time and wall time.

usage: python scripts/measure_rates.py CORPORA [--quick] [--csv docs/results/rates.csv]

CORPORA is the folder of the unpacked test files. From the middle of one file of each kind comes a
sample of 96 KiB, an archive of its own by every level and by other compressors; then 1 MiB of text
by all of them, as levels differ in how they cut large blocks; text in blocks of other sizes; and
two processes at once, which share memory and caches. Every round trip is compared. Each cell is a
process of its own, which is bound to a core and says what coding alone took; peak memory is that
of the process.
Cells below 200 kB/s are run once, others are medians of three runs, or more if those are short.

Rows of graphics cards say that nothing was measured: the exact engine runs on CPUs alone.
"""

from __future__ import annotations

import argparse
import csv
import json
import lzma
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KINDS = {
    "prose": "silesia/dickens",
    "wiki": "enwik/enwik8.head4M",
    "code": "code/valkey-src.tar",
    "json": "json/citm_catalog.json",
    "csv": "csv/birdstrikes.csv",
    "log": "loghub/HDFS_2k.log",
    "program": "silesia/ooffice",
    "database": "silesia/osdb",
}
TEXT = ("enwik/enwik8.head4M", "enwik/enwiki-later-p10-shortened.xml", "silesia/dickens")
SAMPLE = 96 << 10
LONG = 1 << 20  # bytes of text
LEVELS = range(1, 10)
# Codec, bytes of text, block size.
BLOCKS = (
    ("nncodec:1", 1 << 20, 1 << 17),
    ("nncodec:1", 1 << 24, 1 << 24),
    ("nncodec:6", 1 << 18, 1 << 17),
    ("xz:9e", 1 << 24, 1 << 24),
    ("zstd:19", 1 << 24, 1 << 24),
)
PEERS = ("xz:9e", "zstd:19", "zstd:3")
FAST, RUNS = 200e3, 3  # bytes a second from which on a cell has several runs
LEAST, MOST_RUNS = 0.1, 25  # seconds that all runs of a cell take, unless they are too many
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes

COLUMNS = (
    "device", "status", "codec", "kind", "bytes", "block_bytes", "at_once",
    "direction", "runs", "cpu_seconds", "wall_seconds", "bytes_per_core_second",
    "archive_bytes", "peak_mib", "quick", "load", "date", "git", "version", "machine", "isa",
    "python",
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """What one process measures: ``parts`` of files, path, offset and size."""

    codec: str
    kind: str
    block: int
    parts: tuple[tuple[str, int, int], ...]
    at_once: int = 1

    @property
    def size(self) -> int:
        return sum(size for _, _, size in self.parts)


def middle(path: Path, size: int) -> tuple[str, int, int]:
    size = min(size, path.stat().st_size)
    return str(path), (path.stat().st_size - size) // 2, size


def from_the_start(paths: list[Path], size: int) -> tuple[tuple[str, int, int], ...]:
    parts = []
    for path in paths:
        part = min(size, path.stat().st_size)
        if part:
            parts.append((str(path), 0, part))
        size -= part
    if size:
        raise SystemExit(f"{paths}: {size} bytes are missing")
    return tuple(parts)


def cells(corpora: Path, quick: bool) -> Iterator[Cell]:
    scale = 8 if quick else 1
    samples = {kind: middle(corpora / name, SAMPLE // scale) for kind, name in KINDS.items()}
    for codec in (*PEERS, *(f"nncodec:{level}" for level in LEVELS)):
        for kind, part in samples.items():
            yield Cell(codec, kind, 1 << 24, (part,))
    text = [corpora / name for name in TEXT]
    for codec in (*PEERS, *(f"nncodec:{level}" for level in LEVELS)):
        yield Cell(codec, "text", 1 << 24, from_the_start(text, LONG // scale))
    for codec, size, block in BLOCKS:
        yield Cell(codec, "text", block, from_the_start(text, size // scale))
    for codec, size in (("nncodec:1", 1 << 20), ("nncodec:6", 1 << 18)):
        for at_once in (1, 2):
            yield Cell(codec, "text", 1 << 18, from_the_start(text, size // scale), at_once)


def coders(spec: str, block: int) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    """Compress and decompress, in this thread alone."""
    name, _, level = spec.partition(":")
    if name == "nncodec":
        import nncodec

        def pack(data: bytes) -> bytes:
            return nncodec.compress(data, level=int(level), threads=1, block_size=block)

        return pack, lambda data: nncodec.decompress(data, threads=1)
    if name == "xz":
        preset = int(level[0]) | (lzma.PRESET_EXTREME if level.endswith("e") else 0)
        return lambda data: lzma.compress(data, preset=preset), lzma.decompress
    import zstandard

    return zstandard.ZstdCompressor(int(level)).compress, zstandard.ZstdDecompressor().decompress


def timed(work: Callable[[bytes], bytes], data: bytes) -> tuple[bytes, int, float, float]:
    """The result of the last run, how many there were, and medians of CPU and wall seconds."""
    times: list[tuple[float, float]] = []
    while not enough(times, len(data)):
        cpu, wall = time.process_time(), time.perf_counter()
        result = work(data)
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    return result, len(times), medians[0], medians[1]


def enough(times: list[tuple[float, float]], size: int) -> bool:
    if not times:
        return False
    if size < FAST * times[0][0]:
        return True
    short = sum(cpu for cpu, _ in times) < LEAST
    return len(times) >= (MOST_RUNS if short else RUNS)


def child(cell: dict[str, Any], core: int) -> None:
    """Measure a cell here and print what it was."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    data = bytearray()
    for name, offset, size in cell["parts"]:
        with open(name, "rb") as file:
            file.seek(offset)
            data += file.read(size)
    whole = bytes(data)
    pack, unpack = coders(cell["codec"], cell["block"])
    unpack(pack(whole[:1000]))  # models are loaded now
    print("ready", flush=True)
    sys.stdin.readline()
    archive, *encoding = timed(pack, whole)
    back, *decoding = timed(unpack, archive)
    if back != whole:
        raise SystemExit("the round trip failed")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT
    print(json.dumps({"archive": len(archive), "peak": peak, "times": [encoding, decoding]}))


def measure(cell: Cell) -> dict[str, Any]:
    """Of processes that begin together: the slowest."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    if cell.at_once > len(cores):
        raise SystemExit(f"{cell.at_once} processes at once need as many cores")
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--child", json.dumps(asdict(cell)), "--core", str(core)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for core in cores[-cell.at_once :]
    ]
    for process in processes:
        assert process.stdout
        process.stdout.readline()
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"{cell.codec} failed with {cell.kind}")
    results: list[dict[str, Any]] = [json.loads(text) for text in said]
    return max(results, key=lambda result: result["times"][0][1])


def revision() -> str:
    try:
        return subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "--short=12", "HEAD"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def common() -> dict[str, str]:
    from nncodec.environment import environment

    here = environment()
    return {
        "git": revision(),
        **{name: here[name] for name in ("version", "machine", "isa", "python")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpora", nargs="?", type=Path)
    parser.add_argument("--csv", type=Path, default=ROOT / "docs" / "results" / "rates.csv")
    parser.add_argument("--quick", action="store_true", help="an eighth of the bytes: a rehearsal")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(json.loads(arguments.child), arguments.core)
        return
    if not arguments.corpora:
        parser.error("CORPORA is missing")
    here = {**common(), "quick": str(int(arguments.quick))}
    with arguments.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerow({"device": "gpu", "status": "not measured", **here})
        for cell in cells(arguments.corpora, arguments.quick):
            load, date = os.getloadavg()[0], datetime.now(timezone.utc)
            found = measure(cell)
            for direction, (runs, cpu, wall) in zip(
                ("encode", "decode"), found["times"], strict=True
            ):
                row = {
                    "device": "cpu", "status": "measured", "codec": cell.codec, "kind": cell.kind,
                    "bytes": cell.size, "block_bytes": cell.block, "at_once": cell.at_once,
                    "direction": direction, "runs": runs, "cpu_seconds": f"{cpu:.6f}",
                    "wall_seconds": f"{wall:.6f}",
                    "bytes_per_core_second": round(cell.size / cpu),
                    "archive_bytes": found["archive"], "peak_mib": round(found["peak"] / 2**20),
                    "load": f"{load:.2f}", "date": f"{date:%Y-%m-%dT%H:%M:%SZ}", **here,
                }  # fmt: skip
                writer.writerow(row)
            file.flush()
            print(cell.codec, cell.kind, cell.size, cell.block, cell.at_once, found, flush=True)


if __name__ == "__main__":
    main()
