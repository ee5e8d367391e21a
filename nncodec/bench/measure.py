"""A codec on a file: both directions in processes of their own, and the bytes compared.

Each direction has a temporary folder of its own, gone afterwards. A file's name and place never
reach an external command: it finds a copy called ``input``, so that no name can hurt it, no archive
grows by one, and no command touches the file itself. When decompression starts, that copy and all
else that compression left is gone: it finds the bytes that were counted, as ``archive``.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nncodec
from nncodec.bench.codecs import Codec
from nncodec.bench.commands import ending, last_line
from nncodec.bench.worker import RESULT_FILE
from nncodec.errors import BenchError
from nncodec.files import sha256

# The child's program. With sys.path as it is here; and "lean": with an empty stand-in for the
# package, so that nncodec/__init__.py and all that it imports stay out of a codec's memory.
CHILD = """
import sys, types
sys.path[:] = sys.argv[3:]
if sys.argv[2]:
    package = types.ModuleType("nncodec")
    package.__path__ = [sys.argv[2]]
    sys.modules["nncodec"] = package
from nncodec.bench.worker import main
main()
"""
WORKER_LOG = "worker.log"
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")  # of an archive's name, without which some find none


class CodecError(BenchError):
    """What came of a codec that did not do what it should."""


@dataclass(frozen=True)
class Effort:
    """How often and how long. Seconds."""

    runs: int = 3
    warm_up: int = 1
    most_seconds: float = 30.0  # of one direction: then no further run begins
    timeout: float | None = None  # of one run

    def counted(self, seconds: float) -> int:
        """How many runs count if one takes so long; ``worker.repeat`` does it."""
        within = self.most_seconds / seconds if seconds else math.inf
        begun = self.warm_up + self.runs
        if within < begun:
            begun = max(1, math.ceil(within))
        return max(1, begun - self.warm_up)


@dataclass(frozen=True)
class Side:
    """One direction."""

    made: Path | None  # a file
    bits: float | None  # or a code length
    seconds: tuple[float, ...]  # of counted runs
    peak_bytes: int  # 0: not known

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Measured:
    compressed_bytes: int
    compress: Side
    decompress: Side | None  # None: a code length has none


def measure(codec: Codec, path: Path, digest: str, effort: Effort) -> Measured:
    """Raises CodecError if the bytes do not come back, or nothing does; OSError."""
    with ExitStack() as folders:
        there = temporary()
        folder = Path(folders.enter_context(there))
        if not codec.archives:
            side = direction(codec, "code_length", path, folder, effort)
            if side.bits is None:
                raise CodecError("gave no code length")
            return Measured(-int(-side.bits // 8), side, None)
        compress = direction(codec, "compress", path, folder, effort)
        assert compress.made
        back_here = Path(folders.enter_context(temporary()))
        archive = back_here / f"archive{suffix(compress.made)}"
        shutil.copyfile(compress.made, archive)  # the bytes alone: neither times nor attributes
        size = archive.stat().st_size
        there.cleanup()
        decompress = direction(codec, "decompress", archive, back_here, effort)
        assert decompress.made
        if sha256(decompress.made) != digest:
            back, expected = decompress.made.stat().st_size, path.stat().st_size
            raise CodecError(f"gave other bytes back: {back} of them for {expected}")
        return Measured(size, compress, decompress)


def temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="nncodec-bench-", ignore_cleanup_errors=True)


def suffix(path: Path) -> str:
    """``.zpaq``; "" if there is none, or one that looks like more than a suffix."""
    return path.suffix if SUFFIX.fullmatch(path.suffix) else ""


def direction(codec: Codec, which: str, source: Path, folder: Path, effort: Effort) -> Side:
    """Raises CodecError that names the direction."""
    job = dict(codec.job(which))
    if "command" in job and which == "compress":
        shutil.copyfile(source, folder / "input")
        source = folder / "input"
    inside = source.is_relative_to(folder)
    job |= {
        "direction": which,
        "folder": str(folder),
        "source": str(source.relative_to(folder) if inside else source.absolute()),
        "target": f"{which}.bin",
        "made": f"{which}.d",
        "runs": effort.runs,
        "warm_up": effort.warm_up,
        "most_seconds": effort.most_seconds,
        "timeout": effort.timeout,
    }
    try:
        result = run_worker(job, folder)
    except CodecError as error:
        raise CodecError(f"{which}: {error}") from error
    return Side(
        made=folder / result["file"] if "file" in result else None,
        bits=result.get("bits"),
        seconds=tuple(result["seconds"]),
        peak_bytes=result["peak_bytes"],
    )


def run_worker(job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What the child process says. Raises CodecError if it fails or dies."""
    answer = folder / RESULT_FILE
    answer.unlink(missing_ok=True)
    stand_in = str(Path(nncodec.__file__).parent) if job.get("lean", True) else ""
    paths = [str(Path(entry).absolute()) for entry in sys.path]
    command = [sys.executable, "-c", CHILD, json.dumps(job), stand_in, *paths]
    with (folder / WORKER_LOG).open("wb") as log:
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            code = worker.wait()
        finally:  # if we are interrupted: its input ends, and it ends what it started
            assert worker.stdin
            worker.stdin.close()
            try:
                worker.wait(5)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
    if code and code == -getattr(signal, "SIGALRM", 0):
        raise CodecError(f"took more than {job['timeout']:g} s")
    if code or not answer.exists():
        raise CodecError(ending(code) + last_line(str(folder / WORKER_LOG)))
    result: dict[str, Any] = json.loads(answer.read_bytes())
    if "error" in result:
        raise CodecError(" ".join(result["error"].split())[:300])
    return result
