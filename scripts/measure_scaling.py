"""Wall seconds of real runs with one worker and two, by engine, as CSV: what scales, what does not.

usage: python scripts/measure_scaling.py CORPORA [--quick] [--skip-done] [--csv OUT.csv]
       [--case NAME]... [--engine NAME]... [--runs N]

CORPORA is the folder of the unpacked test files, from which all inputs are made, the same each
time. Every run is one command, ``nncodec compress -1 --engine E --workers N``, begun afresh, from
the first instruction to the last byte on disk. Rows are appended as they come, so a run that was
stopped goes on with ``--skip-done``. The archives of a case are compared: they have to be the same
from all engines. The machine should have nothing else to do; column ``load`` says if it had.

    start        1 KiB of text: what a command and its workers cost before they do anything
    bytes        zeros in blocks of 1 MiB, each of which is one byte then: what moving them costs
    items        the same in blocks of 1 KiB: what an item costs
    noise        random bytes in blocks of 256 KiB, which are stored
    large        one file of 100,000,000 bytes, blocks of 16 MiB
    large50      its first half
    large1m      its first 12 MB in blocks of 1 MiB
    few          three files of 4 MB in one command, blocks of 1 MiB
    small        the same small files as one stream, blocks of 128 KiB
    files        1,000 small files in one command, each an archive
    straggler    every fourth block is text, the others are random: 256 KiB each
    slowed       the stream of ``small`` while one of two processes is stopped half of the time
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from measure_rates import ROOT, common

TEXT = (
    "silesia/dickens", "enwik/enwik8.head4M", "enwik/enwiki-later-p10-shortened.xml",
    "silesia/reymont", "code/valkey-src.tar", "silesia/xml", "canterbury-large/bible.txt",
    "canterbury-large/world192.txt", "text8/text8.head", "silesia/nci", "silesia/osdb",
    "silesia/ooffice", "silesia/mr",
)  # fmt: skip
ENGINES = ("thread", "ray", "process")
WORKERS = (1, 2)
SMALL_FILE = 4000  # bytes, about
BYTES = {"1K": 1 << 10, "128K": 1 << 17, "256K": 1 << 18, "1M": 1 << 20, "16M": 1 << 24}
STOPPED = 0.05  # seconds that a slowed worker is stopped, and then runs
COLUMNS = (
    "case", "engine", "workers", "bytes", "files", "block_bytes", "seconds", "archive_bytes",
    "archive_sha256", "quick", "load", "date", "git", "version", "machine", "isa", "python",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """``make`` writes the input files into a folder; ``scale`` is 1, or less for a rehearsal."""

    name: str
    make: Callable[[Path, Path, float], None]
    block: str
    cells: Sequence[tuple[str, int]] = tuple(product(ENGINES, WORKERS))
    runs: int = 1
    slowed: bool = False


def text(corpora: Path) -> Iterator[bytes]:
    """Files of several kinds, one after the other and again, in pieces."""
    while True:
        for name in TEXT:
            with (corpora / name).open("rb") as file:
                while piece := file.read(1 << 20):
                    yield piece


def write_text(corpora: Path, path: Path, size: int) -> None:
    with path.open("wb") as file:
        for piece in text(corpora):
            file.write(piece[:size])
            size -= len(piece[:size])
            if not size:
                return


def one_text(size: int) -> Callable[[Path, Path, float], None]:
    return lambda corpora, folder, scale: write_text(corpora, folder / "in", int(size * scale))


def noise(size: int) -> Callable[[Path, Path, float], None]:
    def make(_corpora: Path, folder: Path, scale: float) -> None:
        (folder / "in").write_bytes(random.Random(0).randbytes(int(size * scale)))

    return make


def zeros(size: int) -> Callable[[Path, Path, float], None]:
    return lambda _corpora, folder, scale: (
        (folder / "in").write_bytes(bytes(int(size * scale))) and None
    )


def start(corpora: Path, folder: Path, _scale: float) -> None:
    write_text(corpora, folder / "in", 1 << 10)


def few(corpora: Path, folder: Path, scale: float) -> None:
    for name in ("silesia/dickens", "enwik/enwik8.head4M", "code/valkey-src.tar"):
        with (corpora / name).open("rb") as file:
            (folder / Path(name).name).write_bytes(file.read(int(4_000_000 * scale)))


def small_files(corpora: Path) -> Iterator[bytes]:
    """Of source code, a log, csv and JSON: 1,000 pieces of 1.3 to 6.7 kB."""
    names = ("code/valkey-src.tar", "json/citm_catalog.json", "csv/birdstrikes.csv")
    wholes = [(corpora / name).read_bytes() for name in names]
    drawn = random.Random(0)
    for number in range(1000):
        whole = wholes[number % len(wholes)]
        at = drawn.randrange(len(whole) - 2 * SMALL_FILE)
        yield whole[at : at + drawn.randrange(SMALL_FILE // 3, 5 * SMALL_FILE // 3)]


def files(corpora: Path, folder: Path, scale: float) -> None:
    for number, data in enumerate(small_files(corpora)):
        if number < 1000 * scale:
            (folder / f"{number:04}").write_bytes(data)


def stream(corpora: Path, folder: Path, scale: float) -> None:
    joined = b"".join(small_files(corpora))
    (folder / "in").write_bytes(joined[: int(len(joined) * scale)])


def stragglers(corpora: Path, folder: Path, scale: float) -> None:
    drawn, block = random.Random(0), 1 << 18
    source = text(corpora)
    with (folder / "in").open("wb") as file:
        for _ in range(max(2, int(16 * scale))):
            file.write(next(source)[:block])
            file.write(drawn.randbytes(3 * block))


# What bears the claims first: a run that is stopped has those.
MOST = (("thread", 1), ("thread", 2), ("ray", 1), ("ray", 2), ("process", 2))
ONE = (("thread", 1), ("ray", 1), ("process", 1))
CASES = (
    Case("start", start, "16M", runs=2),
    # Of the process engine two workers alone: there is time for no more.
    Case("large", one_text(100_000_000), "16M", MOST),
    Case("large50", one_text(50_000_000), "16M", [("thread", 2), ("ray", 2)]),
    Case("bytes", zeros(256_000_000), "1M", ONE),
    Case("items", zeros(4_000_000), "1K", ONE),
    Case("noise", noise(16_000_000), "256K", [("thread", 1)]),
    Case("straggler", stragglers, "256K"),
    Case("small", stream, "128K"),
    Case("files", files, "16M"),
    Case("slowed", stream, "128K", [("process", 2)], slowed=True, runs=2),
    Case("few", few, "1M", [("thread", 1), ("thread", 2), ("process", 2)]),
    Case("large1m", one_text(12_000_000), "1M", [("thread", 1), ("thread", 2), ("ray", 2)]),
)


def children(process: int) -> list[int]:
    """Worker processes of a command."""
    found = Path(f"/proc/{process}/task/{process}/children")
    all_threads = found.parents[1].glob("*/children")
    pids = [int(pid) for each in all_threads for pid in each.read_text().split()]
    return [p for p in pids if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]


def slow_down(command: subprocess.Popen[bytes]) -> None:
    """Stop one of its workers half of the time until it ends."""
    victim = None
    while command.poll() is None:
        try:
            victim = victim or next(iter(children(command.pid)), None)
            if victim:
                os.kill(victim, signal.SIGSTOP)
                time.sleep(STOPPED)
                os.kill(victim, signal.SIGCONT)
        except (ProcessLookupError, FileNotFoundError):
            pass
        time.sleep(STOPPED)
    if victim is None:
        raise SystemExit("no worker process was found: nothing was slowed down")


def run(case: Case, engine: str, workers: int, inputs: list[Path], out: Path) -> float:
    """Wall seconds of one command, which has to succeed."""
    options = ["-1", "-q", "--block-size", case.block, "--engine", engine, "--workers", workers]
    target = ["-o", out / "out.nnc"] if len(inputs) == 1 else []
    words = [sys.executable, "-m", "nncodec", "compress", *options, *target, *inputs]
    begun = time.perf_counter()
    command = subprocess.Popen([str(word) for word in words])
    if case.slowed:
        slow_down(command)
    if command.wait():
        raise SystemExit(
            f"{case.name}, {engine}, {workers} workers: exit code {command.returncode}"
        )
    return time.perf_counter() - begun


def take(folder: Path, out: Path) -> tuple[int, str]:
    """Bytes and hash of all archives, which are removed."""
    digest, size = hashlib.sha256(), 0
    archives = sorted([*folder.glob("*.nnc"), *out.glob("*.nnc")])
    for archive in archives:
        data = archive.read_bytes()
        digest.update(data)
        size += len(data)
        archive.unlink()
    return size, digest.hexdigest()


def done(path: Path) -> list[dict[str, str]]:
    if not path.exists() or not path.stat().st_size:
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if rows and set(rows[0]) != set(COLUMNS):
        raise SystemExit(f"{path} has other columns: move it away")
    return rows


def counted(rows: list[dict[str, str]], case: Case, engine: str, workers: int, quick: str) -> int:
    wanted = case.name, engine, str(workers), quick
    return sum((r["case"], r["engine"], r["workers"], r["quick"]) == wanted for r in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpora", type=Path)
    parser.add_argument("--csv", type=Path, default=ROOT / "docs" / "results" / "scaling_out.csv")
    parser.add_argument("--quick", action="store_true", help="a tenth of the bytes: a rehearsal")
    parser.add_argument("--skip-done", action="store_true", help="go on where a run was stopped")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES])
    parser.add_argument("--engine", action="append", choices=ENGINES)
    parser.add_argument("--runs", type=int, help="of every cell; default: the case's own")
    arguments = parser.parse_args()
    before = done(arguments.csv) if arguments.skip_done else []
    here, quick = common(), str(int(arguments.quick))
    if not before:
        arguments.csv.write_text(",".join(COLUMNS) + "\n")
    for case in CASES:
        if arguments.case and case.name not in arguments.case:
            continue
        folder = Path(tempfile.mkdtemp(prefix="nncodec-scaling-"))
        try:
            measure(case, arguments, folder, before, {**here, "quick": quick})
        finally:
            shutil.rmtree(folder)


def measure(
    case: Case,
    arguments: argparse.Namespace,
    folder: Path,
    before: list[dict[str, str]],
    here: dict[str, str],
) -> None:
    """All runs of a case: one worker and two in turn, engine by engine."""
    source, out = folder / "files", folder / "out"
    source.mkdir()
    out.mkdir()
    case.make(arguments.corpora, source, 0.1 if arguments.quick else 1.0)
    inputs = sorted(source.iterdir())
    seen = {
        r["archive_sha256"] for r in before if (r["case"], r["quick"]) == (case.name, here["quick"])
    }
    for number in range(arguments.runs or case.runs):
        for engine, workers in case.cells:
            if arguments.engine and engine not in arguments.engine:
                continue
            if counted(before, case, engine, workers, here["quick"]) > number:
                continue
            load, date = os.getloadavg()[0], datetime.now(timezone.utc)
            seconds = run(case, engine, workers, inputs, out)
            size, digest = take(source, out)
            seen.add(digest)
            if len(seen) > 1:
                raise SystemExit(f"{case.name}, {engine}, {workers}: another archive")
            row = {
                "case": case.name, "engine": engine, "workers": workers,
                "bytes": sum(path.stat().st_size for path in inputs), "files": len(inputs),
                "block_bytes": BYTES[case.block], "seconds": f"{seconds:.3f}",
                "archive_bytes": size, "archive_sha256": digest, "load": f"{load:.2f}",
                "date": f"{date:%Y-%m-%dT%H:%M:%SZ}", **here,
            }  # fmt: skip
            with arguments.csv.open("a", newline="") as file:
                csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)
            print(*[row[name] for name in COLUMNS[:8]], row["load"], flush=True)


if __name__ == "__main__":
    main()
