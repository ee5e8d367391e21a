"""What packing gains and what a member costs: scripts/measure_pack.py --csv docs/results/pack.csv

A tree of --files small sources (.py, at most 16 KiB each), the first ones by name of this Python's
standard library and of its site-packages, with their folders. Packed as ``nncodec pack`` does by
default; beside it the sum of their single archives at level 1, and at --second of every tenth file,
scaled by what those are at level 1. Then ``nncodec cat`` of --members random ones: seconds, less
those of ``nncodec --version`` just before, and seconds of CPU less its own. Each is compared with
the file; unpacked, every file is. Some minutes on a calm machine.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nncodec
from nncodec.tables import write_rows

NNCODEC = [sys.executable, "-m", "nncodec"]
SMALL = 1 << 14  # bytes


def sources() -> Iterator[tuple[Path, Path]]:
    """Path and place in the tree, by name."""
    paths = sysconfig.get_paths()
    for top in ("stdlib", "purelib"):
        root = Path(paths[top])
        for path in sorted(root.rglob("*.py")):
            inside = path.relative_to(root)
            if top == "stdlib" and inside.parts[0] in ("site-packages", "dist-packages"):
                continue
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= SMALL:
                yield path, Path(top) / inside


def make_tree(top: Path, count: int) -> list[Path]:
    """The files, as they lie in ``top``."""
    made = []
    for source, place in sources():
        if len(made) == count:
            break
        target = top / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        made.append(target)
    return made


def single_sizes(files: list[Path], level: int) -> list[int]:
    """Bytes of each file's own archive."""

    def size(path: Path) -> int:
        return len(nncodec.compress(path.read_bytes(), level, threads=1))

    with ThreadPoolExecutor(os.cpu_count() if level == 1 else 1) as pool:
        return list(pool.map(size, files))


def run(*arguments: str, **kwargs: Any) -> tuple[bytes, float, float]:
    """Standard output, seconds, seconds of CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run([*NNCODEC, *arguments], stdout=subprocess.PIPE, check=True, **kwargs)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, seconds, cpu


def measure(top: Path, options: argparse.Namespace) -> Iterator[tuple[str, float, str]]:
    tree, archive = top / "tree", top / "tree.nnc"
    files = make_tree(tree, options.files)
    size = sum(path.stat().st_size for path in files)
    yield "files", len(files), ""
    yield "bytes of all files", size, "bytes"
    yield (
        "files with the contents of another",
        len(files) - len({p.read_bytes() for p in files}),
        "",
    )
    blocks = ["--block-size", options.block_size] if options.block_size else []
    _, seconds, cpu = run("pack", "tree", "-o", str(archive), "-q", *blocks, cwd=top)
    packed = archive.stat().st_size
    yield "packed", packed, "bytes"
    yield "packing", seconds, "seconds"
    yield "packing, CPU", cpu, "seconds"
    info = nncodec.info(archive.read_bytes())
    yield "packed: index and plan", info.skipped_bytes, "bytes"
    first = single_sizes(files, 1)
    yield "single archives at level 1", sum(first), "bytes"
    yield "packed to single ones at level 1", packed / sum(first), "ratio"
    if options.second:
        part = single_sizes(files[::10], options.second)
        scaled = round(sum(first) * sum(part) / sum(first[::10]))
        yield f"single archives at level {options.second}, scaled", scaled, "bytes"
        yield f"packed to single ones at level {options.second}", packed / scaled, "ratio"
    yield from measure_members(tree, archive, files, options.members)
    _, seconds, _ = run("unpack", str(archive), "-C", str(top / "out"), "-q")
    yield "unpacking", seconds, "seconds"
    for path in files:
        if (top / "out" / path.relative_to(top)).read_bytes() != path.read_bytes():
            raise SystemExit(f"{path} differs")


def measure_members(
    tree: Path, archive: Path, files: list[Path], count: int
) -> Iterator[tuple[str, float, str]]:
    times, starts = [], []
    for path in random.Random(10).sample(files, min(count, len(files))):
        _, start, start_cpu = run("--version")
        held, seconds, cpu = run("cat", str(archive), str(path.relative_to(tree.parent)))
        if held != path.read_bytes():
            raise SystemExit(f"{path} differs")
        starts.append(start)
        times.append((seconds - start, cpu - start_cpu))
    yield "load while members were read", os.getloadavg()[0], "processes"
    yield "start-up, median", statistics.median(starts), "seconds"
    walls, cpus = zip(*times, strict=True)
    yield "cat beyond start-up, median", statistics.median(walls), "seconds"
    yield "cat beyond start-up, worst", max(walls), "seconds"
    yield "cat beyond start-up, CPU, median", statistics.median(cpus), "seconds"
    yield "cat beyond start-up, CPU, worst", max(cpus), "seconds"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--members", type=int, default=50)
    parser.add_argument("--second", type=int, default=6, help="another level; 0: none")
    parser.add_argument("--block-size", default="", help="as of nncodec pack; its own default")
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for what, value, unit in measure(Path(folder), options):
            shown = f"{value:.4g}" if isinstance(value, float) else str(value)
            print(f"{what}: {shown} {unit}".rstrip(), flush=True)
            rows.append({"what": what, "value": shown, "unit": unit})
    if options.csv:
        write_rows(options.csv, rows)


if __name__ == "__main__":
    main()
