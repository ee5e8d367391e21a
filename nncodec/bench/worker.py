"""The child process: one direction of one codec on one file, timed, with its own peak of memory.

It imports what the codec needs and no more, since all of it counts: neither numpy nor the package's
``__init__`` for gzip. ``measure.py`` starts it with a job in JSON and reads ``result.json``. It
holds its standard input open until the parent is gone: then it ends what it started and itself.

Not in here: verification. The parent compares what came back, outside the timed part.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import time

TYPE_CHECKING = False  # typing itself is memory, too
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    Job = dict[str, Any]

    class Run(Protocol):
        """What can be done again and again."""

        def once(self) -> float:
            """Do it; returns seconds."""

        def finish(self) -> Job:
            """Keep what the last run made: its ``file``, or ``bits``; other keys replace ours."""

        def stop(self) -> None:
            """The parent has gone: leave nothing behind that goes on."""


RESULT_FILE = "result.json"


class CodecFailed(Exception):
    """Its message is what there is to say."""


def main() -> None:
    job: Job = json.loads(sys.argv[1])
    os.chdir(job["folder"])
    gone = threading.Event()
    try:
        module = importlib.import_module(job["module"])
        run: Run = module.open_run(job)
        watcher = threading.Thread(target=end_with_parent, args=(run, gone), daemon=True)
        watcher.start()
        seconds = repeat(run, job)
        result = {"seconds": seconds, "peak_bytes": peak_bytes(), **run.finish()}
    except CodecFailed as error:
        result = {"error": str(error)}
    except Exception as error:  # whatever a codec may raise: it is the row's detail
        result = {"error": f"{type(error).__name__}: {error}"}
    if gone.is_set():  # what was started has been stopped; the watcher ends this process
        watcher.join()
    with open(RESULT_FILE, "w") as file:
        json.dump(result, file)


def repeat(run: Run, job: Job) -> list[float]:
    """Seconds of the counted runs.

    The first ``warm_up`` do not count, unless there was time for no more: what is slow runs once.
    """
    times: list[float] = []
    while len(times) < job["warm_up"] + job["runs"]:
        times.append(run.once())
        if sum(times) >= job["most_seconds"]:
            break
    return times[job["warm_up"] :] or times[-1:]


class InMemory:
    """A function from bytes to bytes, or to a code length in bits."""

    def __init__(self, function: Callable[[bytes], bytes | float], job: Job) -> None:
        with open(job["source"], "rb") as file:
            self.data = file.read()
        self.function, self.target, self.timeout = function, job["target"], job["timeout"]
        self.made: bytes | float = b""

    def once(self) -> float:
        self.made = b""  # two results at a time are more than any user of the codec has
        self.alarm(self.timeout or 0)
        begun = time.perf_counter()
        self.made = self.function(self.data)
        taken = time.perf_counter() - begun
        self.alarm(0)
        return taken

    def alarm(self, seconds: float) -> None:
        """Die of SIGALRM then, in the middle of whatever the codec is at. Not on Windows."""
        if hasattr(signal, "setitimer"):
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def finish(self) -> Job:
        if isinstance(self.made, (int, float)):
            return {"bits": self.made}
        with open(self.target, "wb") as file:
            file.write(self.made)
        return {"file": self.target}

    def stop(self) -> None:
        pass


def end_with_parent(run: Run, gone: threading.Event) -> None:
    while os.read(0, 1):
        pass
    gone.set()
    run.stop()
    import shutil  # only now, as it is memory

    shutil.rmtree(os.getcwd(), ignore_errors=True)
    os._exit(1)


def peak_bytes() -> int:
    """The most memory that was resident so far; 0 where the system does not say.

    Linux' ru_maxrss is no less than the parent's memory was when it started this process, so the
    high-water mark of this program alone is read there.
    """
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return maxrss_bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def maxrss_bytes(value: int) -> int:
    return value if sys.platform == "darwin" else value * 1024
