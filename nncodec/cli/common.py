"""What every command shares: each file in turn, one line an error, rows as a table or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from nncodec.cli import files
from nncodec.cli.lines import path_of, reason, say
from nncodec.cli.signals import ReaderGoneError
from nncodec.errors import NNCodecError
from nncodec.remote.names import is_remote

__all__ = [
    "AsJson",
    "attempt",
    "each",
    "expanded",
    "needing_torch",
    "path_of",
    "reason",
    "say",
    "show",
]

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for scripts.")]


def each(names: list[str], work: Callable[[str], None], failed: bool = False) -> None:
    """Do every file; a failure is one line naming it, the rest go on, and the exit code is 1.

    So it is if something ``failed`` before.
    """
    done = [attempt(name, work) for name in names]  # not lazily: every file gets its turn
    if failed or not all(done):
        raise typer.Exit(1)


def expanded(
    names: list[str], recursive: bool = False, packed: bool | None = None
) -> tuple[list[str], bool]:
    """The files that names mean, as of ``files.expand``, and whether one means none."""
    found: list[str] = []

    def work(name: str) -> None:
        found.extend(files.expand(name, recursive, packed))

    done = [attempt(name, work) for name in names]
    return found, not all(done)


def attempt(name: str, work: Callable[[str], None]) -> bool:
    try:
        work(name)
    except BrokenPipeError as error:
        raise ReaderGoneError from error
    except (NNCodecError, OSError, MemoryError) as error:
        why = reason(error, name)
        if is_remote(name) and why.startswith(name.removesuffix(files.SUFFIX)):
            say(why)  # of the output beside it, whose name tells both
        else:
            say("(standard input)" if name == files.STDIO else name, why)
        return False
    return True


def needing_torch(work: Callable[[str], None]) -> Callable[[str], None]:
    """An absent package is an error of one line that names the extra."""

    def checked(name: str) -> None:
        try:
            work(name)
        except ModuleNotFoundError as error:
            raise NNCodecError(
                f"needs {error.name}: install it with pip install 'nncodec-lm[train]'"
            ) from error

    return checked


def show(
    names: list[str],
    work: Callable[[str], None],
    rows: list[dict[str, Any]],
    columns: dict[str, Callable[..., str]] | None,
    as_json: bool,
    failed: bool = False,
) -> None:
    """Collect rows with ``work`` and print what came together, also when some names failed.

    Without ``columns`` there is only the JSON: ``work`` itself prints what people read.
    """
    from nncodec.cli.commands import show_table

    try:
        each(names, work, failed)
    finally:
        if as_json:
            print(json.dumps(rows, indent=2))
        elif rows and columns:
            show_table(rows, columns)
