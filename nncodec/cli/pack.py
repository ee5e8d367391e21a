"""``nncodec pack`` and ``nncodec unpack``: directories to archives and back."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from nncodec.cli import files
from nncodec.cli.common import each, say
from nncodec.cli.engines import ChosenWorkers
from nncodec.cli.options import (
    BlockSize,
    Engine,
    Force,
    MaxOutput,
    Memory,
    Model,
    OtherModel,
    Quiet,
    Threads,
    Verbose,
    WorkerCount,
    level_option,
)
from nncodec.cli.sizes import parse_block_size, parse_size
from nncodec.limits import Limits
from nncodec.remote.names import plain

if TYPE_CHECKING:
    from nncodec.lanes import Progress
    from nncodec.pack.writer import Summary

Inputs = Annotated[
    Optional[list[str]],
    typer.Argument(
        metavar="DIR|GLOB|FILE|URL...", help="What to pack; of a directory all below it."
    ),
]
Archive = Annotated[str, typer.Option("-o", "--output", help="The archive: corpus.nnc, or a URL.")]
Level = Annotated[
    int, level_option("-1 (the default: members are there at once) to -9 (smallest).")
]
FrameSize = Annotated[
    Optional[str],
    typer.Option(
        "--frame-size",
        metavar="SIZE",
        help="What is packed is safe from a kill after so many bytes each (4M).",
    ),
]
NoDedup = Annotated[
    bool,
    typer.Option("--no-dedup", help="Keep what is there twice twice, as it is faster to read."),
]
NoMetadata = Annotated[
    bool,
    typer.Option("--no-metadata", help="No times and owners: the same tree gives the same bytes."),
]
Exclude = Annotated[
    Optional[list[str]],
    typer.Option(metavar="GLOB", help="Leave out what matches, by its name or its last part."),
]
FilesFrom = Annotated[
    Optional[str],
    typer.Option("--files-from", metavar="FILE", help="Names of inputs, one a line; - is stdin."),
]
Null = Annotated[bool, typer.Option("--null", help="Those names end in NUL instead.")]
Column = Annotated[
    Optional[str],
    typer.Option(
        metavar="NAME",
        help="Pack this column of text of Parquet files or saved data sets: a member a row. Rows "
        "of one.parquet are one.parquet/0000000000, one.parquet/0000000001, ...",
    ),
]
Key = Annotated[
    Optional[str],
    typer.Option(metavar="NAME", help="Name those members by this column, not by their numbers."),
]
Packed = Annotated[str, typer.Argument(metavar="ARCHIVE", help="A packed archive.")]
Chosen = Annotated[
    Optional[list[str]],
    typer.Argument(metavar="MEMBER|GLOB...", help="Only these; of a directory all below it."),
]
Folder = Annotated[str, typer.Option("-C", "--directory", help="Unpack below this directory.")]
SameOwner = Annotated[
    bool, typer.Option("--same-owner", help="Owners and set-id bits as they were (for root).")
]
AnyLinks = Annotated[
    bool, typer.Option("--any-links", help="Make links that lead out of the directory, too.")
]


def pack(
    output: Archive,
    inputs: Inputs = None,
    force: Force = False,
    level: Level = 1,
    model: Model = None,
    threads: Threads = 0,
    block_size: BlockSize = None,
    frame_size: FrameSize = None,
    no_dedup: NoDedup = False,
    no_metadata: NoMetadata = False,
    exclude: Exclude = None,
    files_from: FilesFrom = None,
    null: Null = False,
    column: Column = None,
    key: Key = None,
    engine: Engine = None,
    workers: WorkerCount = None,
    quiet: Quiet = 0,
    verbose: Verbose = 0,
) -> None:
    """Pack directories and files into one archive with an index, for unpack, ls and cat.

    Small files of a kind share what is learned from them, files and parts of files that are there
    twice are kept once. Inputs and the archive may be URLs. A run that was killed leaves
    ARCHIVE.partial, and the same command goes on with it; behind a URL it begins anew. What cannot
    be packed is a line on standard error, and the exit code is 1. With --column the inputs are
    tables, of which every row is a member.
    """
    blocks = parse_block_size(block_size)
    frames = parse_size(frame_size, "--frame-size")
    if not inputs and files_from is None:
        raise typer.BadParameter("give directories or files, or --files-from")
    if null and files_from is None:
        raise typer.BadParameter("--null is for --files-from")
    if key is not None and column is None:
        raise typer.BadParameter("--key is for --column")
    if column is not None and (no_metadata or exclude):
        raise typer.BadParameter("rows have no metadata, and none can be excluded")
    complete = True
    chosen = ChosenWorkers(engine, workers)

    def work(name: str) -> None:
        nonlocal complete
        from nncodec.pack import writer

        names = [*(inputs or []), *listed(files_from, null)]
        replace = files.check_overwrite(os.devnull, files.target_of(plain(name)), force)
        common: dict[str, Any] = {
            "level": level,
            "model": model,
            "threads": threads or None,
            "workers": chosen(),
            "block_size": blocks or writer.BLOCK_SIZE,
            "frame_size": frames or writer.FRAME_SIZE,
            "dedup": not no_dedup,
            "replace": replace,
            "note": say if not quiet else ignore,
        }
        if column is not None:
            from nncodec.pack import tables

            with bars(bool(quiet))(name, None) as progress:
                summary = tables.pack_table(
                    names, name, column, key=key, progress=progress, **common
                )
        else:
            summary = writer.pack(
                names,
                name,
                metadata=not no_metadata,
                exclude=exclude or (),
                warn=say,
                added=print if verbose else ignore,
                progress=bars(bool(quiet)),
                **common,
            )
        complete = summary.complete
        if not quiet:
            what = "file" if column is None else "row"
            print(summary_line(name, summary, what), file=sys.stderr)

    with chosen:
        each([output], work)
    if not complete:
        raise typer.Exit(1)


def unpack(
    archive: Packed,
    members: Chosen = None,
    directory: Folder = ".",
    force: Force = False,
    same_owner: SameOwner = False,
    any_links: AnyLinks = False,
    engine: Engine = None,
    workers: WorkerCount = None,
    model: OtherModel = None,
    threads: Threads = 0,
    max_output: MaxOutput = None,
    memory: Memory = None,
    quiet: Quiet = 0,
    verbose: Verbose = 0,
) -> None:
    """Give back the files of a packed archive, or those of them that are named.

    Nothing is written outside the directory, nor over files that are there unless -f is given.
    """
    limits = Limits(parse_size(max_output, "--max-output"), parse_size(memory, "--memory"))
    complete = True
    engines = ChosenWorkers(engine, workers)

    def work(name: str) -> None:
        nonlocal complete
        from nncodec.pack.reader import PackedArchive
        from nncodec.pack.unpacking import Options, chosen_size, select, unpack

        with PackedArchive(name, model=model, threads=threads or None, limits=limits) as packed:
            chosen = select(packed, members or ())
            size = chosen_size(packed, chosen)
            limits.check_output(size)
            with bars(bool(quiet))(name, size) as progress:
                complete = unpack(
                    packed,
                    directory,
                    chosen,
                    Options(force, same_owner, any_links),
                    workers=engines(),
                    warn=say,
                    note=print if verbose else ignore,
                    progress=progress,
                )

    with engines:
        each([archive], work)
    if not complete:
        raise typer.Exit(1)


def ignore(_text: str) -> None:
    """For those who asked for silence."""


def bars(quiet: bool) -> Bars:
    from nncodec.cli.progress import progress_bar

    @contextmanager
    def bar(name: str, total: int | None) -> Iterator[Progress]:
        with progress_bar(name, total, quiet) as progress:
            yield progress

    return bar


if TYPE_CHECKING:
    from collections.abc import Callable

    Bars = Callable[[str, int | None], AbstractContextManager[Progress]]


def listed(source: str | None, null: bool) -> list[str]:
    """The names in a file or in standard input. Raises FileError, OSError."""
    if source is None:
        return []
    with files.open_input(source) as file:
        data = file.read()
    return [os.fsdecode(name) for name in data.split(b"\0" if null else b"\n") if name]


def summary_line(name: str, summary: Summary, what: str = "file") -> str:
    """``corpus.nnc: 5000 files, 2.41 bits/byte, 3.32x (N => M bytes, D of them twice)``."""
    counted = what if summary.files == 1 else what + "s"
    bits = f"{8 * summary.packed / summary.size:.2f} bits/byte, " if summary.size else ""
    twice = summary.size - summary.content
    again = f"; {twice} bytes were there before" if twice else ""
    return (
        f"{name}: {summary.files} {counted}, {bits}{summary.size / summary.packed:.2f}x "
        f"({summary.size} => {summary.packed} bytes{again})"
    )
