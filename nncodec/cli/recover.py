"""``nncodec recover``: what is intact of a damaged archive, and a report of what is missing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from nncodec.cli import files
from nncodec.cli.common import AsJson, each, say
from nncodec.cli.options import AnyEnvironment, BaseFile, Force, OtherModel, Output, Quiet, Threads
from nncodec.lanes import Progress
from nncodec.remote.names import plain

Damaged = Annotated[str, typer.Argument(metavar="FILE", help="The archive; it is never changed.")]
Skip = Annotated[bool, typer.Option("--skip", help="Leave missing bytes out: no zeros for them.")]
ENDING = ".recovered"


def recover(
    archive: Damaged,
    output: Output = None,
    force: Force = False,
    skip: Skip = False,
    model: OtherModel = None,
    base: BaseFile = None,
    threads: Threads = 0,
    any_environment: AnyEnvironment = False,
    quiet: Quiet = 0,
    as_json: AsJson = False,
) -> None:
    """Save every intact block of a damaged archive, and say which bytes are missing.

    Writes FILE without .nnc and with .recovered, or what -o says; over another file only with -f.
    Missing bytes are zeros where their number is known. Each missing range is a line on standard
    error. Exit codes: 0, nothing is missing; 1, something is (the output is there all the same), or
    nothing at all could be saved; 2, wrong usage.
    """
    complete = True

    def work(name: str) -> None:
        nonlocal complete
        from nncodec.causal.options import CausalOptions
        from nncodec.cli import commands
        from nncodec.recovery import Recovery
        from nncodec.recovery import recover as save

        found: list[Recovery] = []
        named = plain(output) if output else recovered_name(name)
        target = None if output == files.STDIO else files.target_of(named)
        if as_json and target is None:
            raise files.FileError("--json writes to standard output, too: name the output with -o")

        def salvage(source: BinaryIO, sink: BinaryIO, progress: Progress) -> tuple[int, int]:
            if not source.seekable():
                raise files.FileError("recovering needs a file, not a pipe")
            recovery = save(
                source,
                sink,
                skip=skip,
                sparse=isinstance(target, Path) and (target.is_file() or not target.exists()),
                model=model,
                threads=threads or None,
                base=commands.open_base(base),
                options=CausalOptions(any_environment=any_environment),
                progress=progress,
            )
            if recovery.saved == 0 and not recovery.complete:
                raise files.FileError(f"nothing could be saved: {recovery.why}")
            found.append(recovery)
            return 0, recovery.size

        commands.transform(name, target, None, force, bool(quiet), salvage, ahead=False)
        complete = found[0].complete
        if as_json:
            print(json.dumps({"name": name, "output": str(target), **found[0].to_dict()}, indent=2))
        if not quiet:
            for line in found[0].lines(skip):
                say(name, line)
            if target is not None and not as_json:
                print(f"{name}: {found[0].summary} => {target}", file=sys.stderr)

    each([plain(archive)], work)
    if not complete:
        raise typer.Exit(1)


def recovered_name(name: str) -> str:
    if name == files.STDIO:
        raise files.FileError("name the output with -o")
    name = files.named_here(name)
    return (name[: -len(files.SUFFIX)] if name.endswith(files.SUFFIX) else name) + ENDING
