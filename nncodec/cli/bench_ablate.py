"""``nncodec bench --ablate``: what each part of a level is worth, and how it is shown."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

import nncodec
from nncodec import api
from nncodec.ablation import CODINGS, Ablation, Ablator
from nncodec.cli import files
from nncodec.cli.commands import Row, block_kinds, file_size, show_row
from nncodec.cli.progress import progress_bar
from nncodec.levels import LEVELS


def bits_column(size: str) -> Callable[[Row], str]:
    return lambda row: f"{row[f'{size}_bits_per_byte']:.4f}"


ABLATION_COLUMNS: dict[str, Callable[[Row], str]] = {
    "bytes": lambda r: f"{r['bytes']}",
    "lanes": lambda r: f"{r['lanes']}",
    **{size: bits_column(size) for size in ("network", "contexts", "both")},
    "gain": lambda r: f"{r['gain_pct']:.2f} %",
    "archive": lambda r: f"{r['archive_bytes']}",
    "blocks": lambda r: block_kinds(r["blocks"]),
    "file": lambda r: r["file"],
}
ABLATION_WIDTHS = (10, 5, 8, 8, 8, 8, 10, 10, 0)  # rows are shown before the next is known


@contextmanager
def ablation_report(
    names: Sequence[str],
    level: int,
    model: str | None,
    threads: int | None,
    table: str | None,
    json_file: str | None,
) -> Iterator[Callable[[str], None]]:
    """A function that measures one of ``names`` and shows its row; the totals when all are done.

    ``json_file`` gets all of it too, and - as the only thing on standard output. Raises
    NNCodecError if the level's codec or a file to write cannot be had.
    """
    show = json_file != files.STDIO
    if json_file and show:
        files.check_apart(json_file, names)
    codec = api.load_codec(level, model, threads)
    ablator = Ablator(codec)
    plan = {
        "level": level,
        "model": model or LEVELS[level].model,
        "model_id": codec.model_id.hex() if codec.model_id else None,
    }
    rows: list[Row] = []
    total = Ablation()

    with open_table(table, names) if table else nullcontext() as file:

        def add(name: str) -> None:
            nonlocal total
            measured = ablate_file(name, ablator)
            if not measured.bytes:
                print(f"nncodec: {name}: is empty, skipped", file=sys.stderr)
                return
            total += measured
            row = {"file": name, **measured.to_dict()}
            rows.append(row)
            if file:
                cells = {"file": name, **plan, **row, "blocks": block_kinds(row["blocks"])}
                write_row(file, cells, header=len(rows) == 1)
            if show:
                show_row([column(row) for column in ABLATION_COLUMNS.values()], ABLATION_WIDTHS)

        if show:
            print(f"nncodec {nncodec.__version__}, level {level}, model {plan['model']}", end="; ")
            print("bits a byte of payloads, gain over the better of the two")
            show_row(list(ABLATION_COLUMNS), ABLATION_WIDTHS)
        try:
            yield add
        finally:
            summed = {"file": "total", **total.to_dict()}
            if json_file:
                report = {"version": nncodec.__version__, **plan, "files": rows, "total": summed}
                files.write_json(json_file, report)
            if show and rows:
                show_row([column(summed) for column in ABLATION_COLUMNS.values()], ABLATION_WIDTHS)


def ablate_file(name: str, ablator: Ablator) -> Ablation:
    if name != files.STDIO and os.path.isdir(name):
        raise files.FileError("is a directory without files that can be read")
    with files.open_input(name) as source:
        size = file_size(name)
        with progress_bar(name, CODINGS * size if size else None, quiet=False) as progress:
            return ablator.measure(source, progress)


def open_table(name: str, inputs: Sequence[str]) -> TextIO:
    """A new CSV file. Raises FileError if it cannot be written, or would overwrite an input."""
    there = filter(os.path.exists, inputs) if os.path.exists(name) else ()
    if any(os.path.samefile(path, name) for path in there):
        raise files.FileError(f"{name} is one of the files to measure; write the table elsewhere")
    try:
        return Path(name).open("w", newline="", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise files.FileError(f"cannot write {name}: {why}") from error


def write_row(file: TextIO, row: Row, header: bool) -> None:
    """Add a row at once, since long runs die."""
    writer = csv.DictWriter(file, list(row), lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerow(row)
    file.flush()
