"""The one line that an error is, and who says it. Without typer: ``nnz`` has none."""

from __future__ import annotations

import os
import sys

LESS = "fewer --workers or threads (-T), smaller blocks (--block-size) or a lower level"
_names = ["nncodec"]  # the last one speaks


def program() -> str:
    return _names[-1]


def name_program(name: str) -> None:
    _names[:] = [name]


def say(*parts: str) -> None:
    """One line on standard error, in which nothing has power over a terminal."""
    from nncodec.pages import visible  # only now: most runs say nothing

    line = ": ".join([*parts[:-1], " ".join(parts[-1].split())])
    print(f"{program()}: {visible(line)}", file=sys.stderr)


def reason(error: Exception, name: str) -> str:
    """What the system says, without its number, and of which file if it is not ``name``."""
    if getattr(error, "url", None) == name:
        return str(getattr(error, "why", error))
    if isinstance(error, MemoryError):
        return f"out of memory{f' ({error})' if str(error) else ''}; take {LESS}"
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error) or type(error).__name__
    why, path = error.strerror.lower(), path_of(error)
    return why if path in (None, name) else f"{path}: {why}"


def path_of(error: OSError) -> str | None:
    """The file that an error is about, if it has a name (not a descriptor's number)."""
    found = error.filename
    return os.fsdecode(found) if isinstance(found, (str, bytes, os.PathLike)) else None
