"""The command line: ``main``, and the arguments that click does not know."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from nncodec.cli import signals

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
    "--engine",
    "--workers",
    "--block-size",
    "--frame-size",
    "--exclude",
    "--files-from",
    "--column",
    "--key",
    "-C",
    "--directory",
    "--max-output",
    "--memory",
)


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 an error, 2 wrong usage; a signal ends it as signals do
    (shells see 128 and the signal's number)."""
    signals.run("nncodec", sys.argv[1:2], _main)


def _main() -> None:
    from nncodec.cli.app import app

    arguments = sys.argv[1:]
    if arguments[:1] and arguments[0] not in WITHOUT_LEVELS:
        arguments = level_options(arguments)
    keep_only(app, arguments[:1])
    app(arguments, prog_name="nncodec")


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
