"""External commands in the child process: started, timed, and their memory read when they end.

Each run begins with an empty folder for what it makes, and must leave one file there, whatever its
name: archivers choose names of their own. A command's ru_maxrss is its own and that of what it
waited for, the largest of them; Linux counts no less than this process had when it started it,
some 12 MB, so smaller commands show that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time

from nncodec.bench.worker import CodecFailed, maxrss_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from nncodec.bench.worker import Job

LOG_FILE = "said.log"  # what the command said
IN, OUT = "{in}", "{out}"


def open_run(job: Job) -> CommandRun:
    return CommandRun(job)


class CommandRun:
    """``job["command"]`` from ``job["source"]`` into the folder ``job["made"]``."""

    def __init__(self, job: Job) -> None:
        self.words: list[str] = job["command"]
        self.source, self.made = job["source"], job["made"]
        self.timeout: float | None = job["timeout"]
        self.peak = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.late = False

    def once(self) -> float:
        empty(self.made)
        out = os.path.join(self.made, "file")
        words = [word.replace(IN, self.source).replace(OUT, out) for word in self.words]
        with self.streams(out) as (stdin, stdout, log):
            begun = time.perf_counter()
            self.process = subprocess.Popen(
                words, stdin=stdin, stdout=stdout, stderr=log, start_new_session=True
            )
            alarm = threading.Timer(self.timeout, self.expire) if self.timeout else None
            if alarm:
                alarm.daemon = True
                alarm.start()
            try:
                code = self.wait()
            finally:
                taken = time.perf_counter() - begun
                if alarm:
                    alarm.cancel()
                self.kill()  # what it left running in the background
        if self.late:
            raise CodecFailed(f"took more than {self.timeout:g} s")
        if code:
            raise CodecFailed(f"{ending(code)}{last_line(LOG_FILE)}")
        return taken

    @contextlib.contextmanager
    def streams(self, out: str) -> Iterator[tuple[IO[bytes], IO[bytes], IO[bytes]]]:
        """Standard streams: what a template does not name goes through a pipe's end, a file."""
        named = " ".join(self.words)
        source = os.devnull if IN in named else self.source
        with open(source, "rb") as stdin, open(LOG_FILE, "wb") as log:
            if OUT in named:
                yield stdin, log, log
                return
            with open(out, "wb") as stdout:
                yield stdin, stdout, log

    def wait(self) -> int:
        assert self.process
        if not hasattr(os, "wait4"):  # Windows
            return self.process.wait()
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.peak = max(self.peak, maxrss_bytes(usage.ru_maxrss))
        return self.process.returncode

    def expire(self) -> None:
        self.late = True
        self.kill()

    def kill(self) -> None:
        """The command and all that it started."""
        if self.process and hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        elif self.process:
            self.process.kill()

    stop = kill

    def finish(self) -> Job:
        found = (os.path.join(top, name) for top, _, names in os.walk(self.made) for name in names)
        made = [path for path in found if not os.path.islink(path)]
        if len(made) != 1:
            raise CodecFailed(f"left {len(made) or 'no'} files, one was expected")
        return {"peak_bytes": self.peak, "file": made[0]}


def empty(folder: str) -> None:
    """Make it, or take out all that is in it."""
    for top, folders, names in os.walk(folder, topdown=False):
        for name in names:
            os.unlink(os.path.join(top, name))
        for name in folders:
            os.rmdir(os.path.join(top, name))
    os.makedirs(folder, exist_ok=True)


def ending(code: int) -> str:
    if code > 0:
        return f"exit code {code}"
    try:
        return f"died of {signal.Signals(-code).name}"
    except ValueError:
        return f"died of signal {-code}"


def last_line(path: str) -> str:
    """`: ` and the last line of what was said, if anything was."""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 2000))
        lines = file.read().decode(errors="backslashreplace").split("\n")
    said = [" ".join(line.split()) for line in lines if line.strip()]
    return f": {said[-1][:200]}" if said else ""
