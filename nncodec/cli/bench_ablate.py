"""``nncodec bench --ablate``: what each part of a level is worth, and how it is shown."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nncodec
from nncodec import api
from nncodec.ablation import CODINGS, Ablation, Ablator
from nncodec.cli import files
from nncodec.cli.commands import Row, block_kinds, file_size, show_row
from nncodec.cli.common import say
from nncodec.cli.progress import progress_bar
from nncodec.files import atomic_file
from nncodec.levels import LEVELS
from nncodec.pages import visible


def bits_column(size: str) -> Callable[[Row], str]:
    return lambda row: f"{row[f'{size}_bits_per_byte']:.4f}"


ABLATION_COLUMNS: dict[str, Callable[[Row], str]] = {
    "bytes": lambda r: f"{r['bytes']}",
    "lanes": lambda r: f"{r['lanes']}",
    **{size: bits_column(size) for size in ("network", "contexts", "both")},
    "gain": lambda r: f"{r['gain_pct']:.2f} %",
    "archive": lambda r: f"{r['archive_bytes']}",
    "blocks": lambda r: block_kinds(r["blocks"]),
    "file": lambda r: visible(r["file"]),
}
ABLATION_WIDTHS = (10, 5, 8, 8, 8, 8, 10, 10, 0)  # rows are shown before the next is known


COLUMNS = ("file", "level", "model", "model_id", *Ablation().to_dict())
HEADER = ",".join(COLUMNS)


@contextmanager
def ablation_report(
    level: int,
    model: str | None,
    threads: int | None,
    table: str | None,
    json_file: str | None,
) -> Iterator[Callable[[str], None]]:
    """A function that measures a file and shows its row; the totals when all are done.

    ``json_file`` gets all of it too, and - as the only thing on standard output. What is there
    stays until a file has been measured. Raises NNCodecError if the level's codec cannot be had, or
    ``table`` is another table.
    """
    show = json_file != files.STDIO
    if table:
        check_table(Path(table))
    codec = api.load_codec(level, model, threads)
    ablator = Ablator(codec)
    plan = {
        "level": level,
        "model": model or LEVELS[level].model,
        "model_id": codec.model_id.hex() if codec.model_id else None,
    }
    rows: list[Row] = []
    lines: list[Row] = []
    total = Ablation()

    def add(name: str) -> None:
        nonlocal total
        measured = ablate_file(name, ablator)
        if not measured.bytes:
            say(name, "is empty, skipped")
            return
        total += measured
        row = {"file": name, **measured.to_dict()}
        rows.append(row)
        lines.append({"file": name, **plan, **row, "blocks": block_kinds(row["blocks"])})
        if table:
            write_table(table, lines)
        if show:
            if len(rows) == 1:
                head()
            show_row([column(row) for column in ABLATION_COLUMNS.values()], ABLATION_WIDTHS)

    def head() -> None:
        name = visible(str(plan["model"]))
        print(f"nncodec {nncodec.__version__}, level {level}, model {name}", end="; ")
        print("bits a byte of payloads, gain over the better of the two")
        show_row(list(ABLATION_COLUMNS), ABLATION_WIDTHS)

    try:
        yield add
    finally:
        summed = {"file": "total", **total.to_dict()}
        if json_file and (rows or not show):
            report = {"version": nncodec.__version__, **plan, "files": rows, "total": summed}
            files.write_json(json_file, report)
        if show and rows:
            show_row([column(summed) for column in ABLATION_COLUMNS.values()], ABLATION_WIDTHS)


def ablate_file(name: str, ablator: Ablator) -> Ablation:
    if name != files.STDIO and os.path.isdir(name):
        raise files.FileError("is a directory without files that can be read")
    if name != files.STDIO:
        files.check_regular(name)
    with files.open_input(name) as source:
        size = file_size(name)
        with progress_bar(name, CODINGS * size if size else None, quiet=False) as progress:
            return ablator.measure(source, progress)


def check_table(path: Path) -> None:
    """Raises FileError for a file that would be replaced and is no table of this kind."""
    if not path.exists() or not path.stat().st_size:
        return
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        if file.readline(len(HEADER) + 2).rstrip("\r\n") != HEADER:
            raise files.FileError(f"{path} is no table of --ablate; write to another file")


def write_table(name: str, rows: Sequence[Row]) -> None:
    """Replace the table, at every row, since long runs die."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with files.writing(name), atomic_file(Path(name)) as file:
        file.write(text.getvalue().encode("utf-8", "backslashreplace"))
