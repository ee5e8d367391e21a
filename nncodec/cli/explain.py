"""``nncodec explain``: where the bits of a file go, on the terminal, as a page, or as JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Optional

import typer

from nncodec.cli import files
from nncodec.cli.common import AsJson, each
from nncodec.cli.options import BaseFile, Level, Model, Quiet, Threads
from nncodec.cli.sizes import parse_range
from nncodec.levels import DEFAULT_LEVEL

ON_TERMINAL = 2000  # bytes, unless --range asks for others


def explain(
    file: Annotated[str, typer.Argument(help="A file; - is stdin.")],
    page: Annotated[
        Optional[str], typer.Option("--html", help="Write a page for browsers to this file.")
    ] = None,
    as_json: AsJson = False,
    span: Annotated[
        Optional[str],
        typer.Option(
            "--range",
            metavar="A:B",
            help="Show the bytes from A on, before B. All of the file is compressed all the same.",
        ),
    ] = None,
    level: Level = DEFAULT_LEVEL,
    model: Model = None,
    base: BaseFile = None,
    threads: Threads = 0,
    quiet: Quiet = 0,
) -> None:
    """Show what each byte of a file costs, and what network and context models said of it."""
    begin, end = parse_range(span)
    if page in ("", files.STDIO):
        raise typer.BadParameter("--html takes the name of a file to write")
    if not (span or page or as_json):
        end = ON_TERMINAL

    def work(name: str) -> None:
        from nncodec import api
        from nncodec.cli import commands
        from nncodec.cli.progress import progress_bar
        from nncodec.explain import document
        from nncodec.explain import explain as explained

        if page:
            check_page(page, name)
        codec = api.load_codec(level, model, threads or None)
        old = commands.open_base(base)
        with files.open_input(name) as source:
            total = commands.file_size(name)
            with progress_bar(name, total, bool(quiet)) as progress:
                shown = explained(source, codec, begin, end, progress, old)
        facts = document.facts(shown_name(name), level, model, codec)
        if page:
            from nncodec.explain.page import render

            with files.atomic_output(Path(page), files.STDIO) as sink:
                sink.write(render(shown, facts))
            if not quiet:
                print(f"{shown_name(name)}: explained in {page}", file=sys.stderr)
        if as_json:
            json.dump(document.document(shown, facts), sys.stdout, separators=(",", ":"))
            print()
        elif not page:
            from nncodec.explain import terminal

            terminal.show(shown, facts, summary=not quiet)

    each([file], work)


def shown_name(name: str) -> str:
    """A file's name as text, however its bytes are."""
    if name == files.STDIO:
        return "(standard input)"
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def check_page(page: str, name: str) -> None:
    """Raises FileError, before anything is computed, if the page would overwrite the input."""
    both = name != files.STDIO and os.path.exists(page) and os.path.exists(name)
    if both and os.path.samefile(page, name):
        raise files.FileError(f"{page} is the file to explain; write the page elsewhere")
    folder = Path(page).absolute().parent
    if not folder.is_dir():
        raise files.FileError(f"cannot write {page}: there is no folder {folder}")
    if os.path.isdir(page):
        raise files.FileError(f"cannot write {page}: it is a folder")
