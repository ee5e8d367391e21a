"""A program's life: its standard streams, and signals that end it as they end other programs.

SIGINT, SIGTERM and SIGHUP unwind the main thread like ^C, so that nothing half done is left; then
the process ends by the very signal, as gzip does, so that shells and make see what happened. The
main thread hears of a signal only between two instructions of Python, and work in C++ may take
seconds: a thread waits beside it and, half a second later, removes what has to be removed and ends
the process. A pipe whose reader has gone ends it by SIGPIPE, which tar takes for no error.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import NoReturn

from nncodec.cli.lines import name_program

GRACE = 0.5  # seconds from a signal until the process ends without unwinding
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
# The commands that may be left at once: all that they would still do is remove temporary files.
AT_ONCE = ("compress", "decompress", "test", "recover", "pack", "unpack", "ls", "cat")

received: list[int] = []  # the first signal, for the end


class ReaderGoneError(Exception):
    """A broken pipe, past click, which would make an exit code of it."""


def run(program: str, command: Sequence[str], work: Callable[[], None]) -> None:
    """Do ``work`` of a ``command``, which may be none; an error of standard output is one line."""
    name_program(program)
    open_missing_streams()
    if heed_signals() and (not command or command[0] in AT_ONCE):
        watch()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no valid text
    try:
        work()
        sys.stdout.flush()
    except (BrokenPipeError, ReaderGoneError):
        die("SIGPIPE")
    except KeyboardInterrupt:
        pass
    except OSError as error:  # standard output itself cannot be written
        forget_stdout()
        sys.exit(f"{program}: (standard output): {(error.strerror or str(error)).lower()}")
    finally:
        if received:
            die(signal.Signals(received[0]).name)


def heed_signals() -> bool:
    """Whether any signal unwinds; those ignored from the start, as nohup asks, stay so."""
    heeded = False
    for name in NAMES:
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, unwind)
            heeded = True
    return heeded


def unwind(number: int, _frame: FrameType | None) -> None:
    if not received:
        received.append(number)
    raise KeyboardInterrupt


def die(name: str) -> NoReturn:
    """End by a signal. Nothing that Python does at its end is needed."""
    forget_stdout()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    number = getattr(signal, name, None)
    if number and os.name != "nt":
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(128 + number if number else 1)  # blocked, or a system that has no such signal


def forget_stdout() -> None:
    """Keep Python from complaining again of what could not be written when it closes stdout."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def watch() -> None:
    """Start the thread that ends the process when the main thread does not."""
    if os.name == "nt":  # where ^C alone is known, and work in C++ is waited for
        return
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))  # its signals are not ours
    threading.Thread(target=wait_and_end, args=(heard,), daemon=True).start()


def wait_and_end(heard: int) -> None:
    numbers = {getattr(signal, name, 0) for name in NAMES}
    while (number := os.read(heard, 1)[0]) not in numbers:
        pass  # such as of a child that ended
    time.sleep(GRACE)
    from nncodec.files import remove_temporary, temporaries, unfinished

    for name in list(temporaries):
        with contextlib.suppress(OSError):
            remove_temporary(name)
    if uploads := list(unfinished):
        for call_off in uploads:
            call_off()  # waits for it, but not for long
        time.sleep(GRACE)  # the main thread may have waited for nothing else
    os._exit(128 + number)


def open_missing_streams() -> None:
    """Started with a closed stdin, stdout or stderr, Python has None there: use the null device."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (lives as long as we do)
