"""The command line: ``main`` turns errors and signals into one line and an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 an error, 2 wrong usage, 130 interrupted."""
    signal.signal(signal.SIGTERM, _terminate)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no valid text
    try:
        from nncodec.cli.app import app

        app(prog_name="nncodec")
    except BrokenPipeError:
        # The reader has gone; keep Python from complaining again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ImportError as error:
        if "nncodec" not in str(error):
            raise
        sys.exit(f"nncodec: {error}")


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM unwinds like ^C, so that temporary files are removed."""
    raise KeyboardInterrupt
