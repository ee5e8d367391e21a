"""``nncodec ls`` and ``nncodec cat``: what a packed archive holds, and single members of it."""

from __future__ import annotations

import json
import os
import stat
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from nncodec.cli.common import AsJson, each
from nncodec.cli.options import Memory, OtherModel, Threads
from nncodec.cli.pack import Chosen, Packed
from nncodec.cli.sizes import parse_size
from nncodec.limits import Limits

if TYPE_CHECKING:
    from nncodec.pack.reader import Member

Long = Annotated[bool, typer.Option("-l", "--long", help="Modes, owners, sizes and times.")]
IndexMemory = Annotated[
    Optional[str],
    typer.Option("--memory", metavar="SIZE", help="Refuse an index that may take more to read."),
]
Wanted = Annotated[list[str], typer.Argument(metavar="MEMBER...", help="Files of the archive.")]


def ls(
    archive: Packed,
    members: Chosen = None,
    long: Long = False,
    as_json: AsJson = False,
    memory: IndexMemory = None,
) -> None:
    """List the members of a packed archive, without decoding anything."""

    limits = Limits(max_memory=parse_size(memory, "--memory"))

    def work(name: str) -> None:
        from nncodec.pack.reader import PackedArchive
        from nncodec.pack.unpacking import select

        with PackedArchive(name, limits=limits) as packed:
            chosen = (packed.members[number] for number in select(packed, members or ()))
            if as_json:
                print(json.dumps([row(member) for member in chosen], indent=2))
            elif long:
                for member in chosen:
                    print_name(long_line(member))
            elif members:
                for member in chosen:
                    print_name(member.name)
            else:
                for member_name in packed.names:
                    print_name(member_name)

    each([archive], work)


def cat(
    archive: Packed,
    members: Wanted,
    model: OtherModel = None,
    threads: Threads = 0,
    memory: Memory = None,
) -> None:
    """Write members of a packed archive to standard output; only their blocks are decoded."""
    limits = Limits(max_memory=parse_size(memory, "--memory"))

    def work(name: str) -> None:
        from nncodec.cli.commands import to_stdout
        from nncodec.pack.reader import PackedArchive

        with PackedArchive(name, model=model, threads=threads or None, limits=limits) as packed:
            wanted = [packed.file(member) for member in members]  # all are there, or nothing

            def write(_source: Any, sink: Any, _progress: Any) -> tuple[int, int]:
                for member in wanted:
                    for piece in packed.pieces(member.extents):
                        sink.write(piece)
                return 0, 0

            to_stdout(sys.stdin.buffer, write, lambda _count: None)

    each([archive], work)


def print_name(line: str) -> None:
    """As a terminal may see it; to anything else the very bytes, which may be no valid text."""
    if sys.stdout.isatty():
        from nncodec.pages import visible

        print(visible(line))
    else:
        sys.stdout.buffer.write(os.fsencode(line) + b"\n")


def row(member: Member) -> dict[str, Any]:
    return {
        "name": member.name,
        "kind": member.kind.name.lower(),
        "size": member.size,
        "mode": f"{member.mode:04o}",
        "mtime_ns": member.mtime_ns,
        "uid": member.uid,
        "gid": member.gid,
        "user": member.user,
        "group": member.group,
        "target": member.target,
        "extents": [list(extent) for extent in member.extents],
    }


FORMS = {"FILE": stat.S_IFREG, "DIRECTORY": stat.S_IFDIR, "SYMLINK": stat.S_IFLNK}


def long_line(member: Member) -> str:
    """As ``ls -l`` has it; times are in UTC."""
    mode = stat.filemode(FORMS[member.kind.name] | member.mode)
    user = member.user or ("-" if member.uid is None else str(member.uid))
    group = member.group or ("-" if member.gid is None else str(member.gid))
    time = "-"
    if member.mtime_ns is not None:
        try:
            moment = datetime.fromtimestamp(member.mtime_ns // 10**9, timezone.utc)
            time = moment.strftime("%Y-%m-%d %H:%M:%S")
        except (OverflowError, ValueError, OSError):
            time = f"@{member.mtime_ns // 10**9}"
    target = f" -> {member.target}" if member.target is not None else ""
    return f"{mode} {user}/{group} {member.size:>12} {time} {member.name}{target}"
