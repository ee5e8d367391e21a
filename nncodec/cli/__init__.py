"""The command line: ``main`` turns errors and signals into one line and an exit code."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer


# The commands with options that are numbers, of which gzip's levels are none.
WITHOUT_LEVELS = ("train", "export", "models")
TAKE_A_VALUE = (
    "-o",
    "--output",
    "-m",
    "--model",
    "-T",
    "--threads",
    "-l",
    "--level",
    "--message",
    "--base",
    "--lanes",
    "--context",
    "--dtype",
    "--device",
    "--range",
    "--block-size",
    "--max-output",
    "--memory",
)


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 an error, 2 wrong usage, 130 interrupted."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup asks
            signal.signal(number, _terminate)
    _open_missing_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no valid text
    try:
        from nncodec.cli.app import app

        arguments = sys.argv[1:]
        if arguments[:1] and arguments[0] not in WITHOUT_LEVELS:
            arguments = level_options(arguments)
        keep_only(app, arguments[:1])
        app(arguments, prog_name="nncodec")
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone; keep Python from complaining again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:  # standard output itself cannot be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(f"nncodec: (standard output): {(error.strerror or str(error)).lower()}")


def keep_only(app: typer.Typer, name: list[str]) -> None:
    """Leave out the other commands: typer makes a pydantic validator for every option of each."""
    commands = [c for c in app.registered_commands if c.callback and [c.callback.__name__] == name]
    groups = [g for g in app.registered_groups if [g.name] == name]
    if commands or groups:
        app.registered_commands, app.registered_groups = commands, groups


def level_options(arguments: list[str]) -> list[str]:
    """gzip's -1 to -9 as --level, alone or among short options (-9f, -kc9).

    Click, below typer, knows no options that are their own value.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    words: list[str] = []
    for before, word in zip(["", *arguments], arguments[:end], strict=False):
        cluster = re.fullmatch("-([a-knp-z]*)([1-9])([a-knp-z]*)", word)  # not -l, -m, -o
        if not cluster or before in TAKE_A_VALUE:
            words.append(word)
            continue
        first, level, rest = cluster.groups()
        words.append(f"--level={level}")
        if first + rest:
            words.append(f"-{first}{rest}")
    return words + arguments[end:]


def _open_missing_streams() -> None:
    """Started with a closed stdin, stdout or stderr, Python has None there: use the null device."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (lives as long as we do)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    """SIGTERM and SIGHUP unwind like ^C, so that temporary files are removed."""
    raise KeyboardInterrupt
