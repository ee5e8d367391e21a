"""How rows and totals of a benchmark look on the terminal and in JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nncodec.bench.results import COLUMNS, SIZED, Row
from nncodec.bench.specs import label
from nncodec.bench.summary import Total
from nncodec.cli.commands import show_row, show_table
from nncodec.pages import visible

WHOLE = ("file_bytes", "compressed_bytes", "model_bytes", "compress_runs", "decompress_runs",
         "threads", "cores")  # fmt: skip
REAL = ("bits_per_byte", "bits_per_byte_with_model", "ratio", "compress_seconds",
        "decompress_seconds", "compress_mb_s", "decompress_mb_s", "compress_peak_mb",
        "decompress_peak_mb", "load", "memory_gb")  # fmt: skip


def typed(row: Row) -> dict[str, str | int | float | None]:
    """Numbers as numbers, those that are not known as None."""
    cells: dict[str, str | int | float | None] = dict(row)
    for names, convert in ((WHOLE, int), (REAL, float)):
        cells |= {name: convert(row[name]) if row[name] else None for name in names}
    return {name: cells[name] for name in COLUMNS}


def number(text: str, digits: int) -> str:
    return f"{float(text):.{digits}f}" if text else "-"


def speed(text: str) -> str:
    """Three digits, but no more than there are."""
    value = float(text) if text else 0.0
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value else "-"


ROW_COLUMNS: dict[str, tuple[int, Callable[[Row], str]]] = {
    "bytes": (10, lambda r: r["file_bytes"]),
    "packed": (10, lambda r: r["compressed_bytes"] or "-"),
    "bits/byte": (9, lambda r: number(r["bits_per_byte"], 4)),
    "ratio": (7, lambda r: number(r["ratio"], 3)),
    "MB/s": (7, lambda r: speed(r["compress_mb_s"])),
    "back": (7, lambda r: speed(r["decompress_mb_s"])),
    "MB": (6, lambda r: number(r["compress_peak_mb"], 0)),
    "MB back": (7, lambda r: number(r["decompress_peak_mb"], 0)),
}


def shown(spec: str) -> str:
    return visible(label(spec))


class RowTable:
    """Rows as they come, so widths are fixed beforehand."""

    def __init__(self, specs: Sequence[str]) -> None:
        names = [shown(spec) for spec in specs]
        self.widths = [max(map(len, ["codec", *names])), 6]
        self.widths += [width for width, _ in ROW_COLUMNS.values()]

    def head(self) -> None:
        show_row(["codec", "status", *ROW_COLUMNS, "file"], [*self.widths, 0])

    def add(self, row: Row) -> None:
        name, status = shown(row["codec"]), row["status"]
        if status in SIZED:
            cells = [column(row) for _, column in ROW_COLUMNS.values()]
        else:
            cells = [row["file_bytes"], *["-"] * (len(ROW_COLUMNS) - 1)]
        show_row([name, status, *cells, visible(row["file"])], [*self.widths, 0])


def known(value: float | None, digits: int, unit: str = "") -> str:
    return "-" if value is None else f"{value:.{digits}f}{unit}"


TOTAL_COLUMNS: dict[str, Callable[[Total], str]] = {
    "codec": lambda t: shown(t.codec),
    "files": lambda t: f"{t.files}",
    "bytes": lambda t: f"{t.bytes}",
    "packed": lambda t: f"{t.compressed_bytes}" if t.files else "-",
    "bits/byte": lambda t: known(t.bits_per_byte, 4),
    "with model": lambda t: known(t.bits_per_byte_with_model, 4),
    "model": lambda t: f"{t.model_bytes}" if t.model_bytes else "-",
    "ratio": lambda t: known(t.ratio, 3),
    "MB/s": lambda t: speed(str(t.compress_mb_s or "")),
    "back": lambda t: speed(str(t.decompress_mb_s or "")),
    "MB": lambda t: known(t.compress_peak_mb, 0),
    "MB back": lambda t: known(t.decompress_peak_mb, 0),
    "against": lambda t: known(t.baseline_pct, 1, " %"),
    "": lambda t: visible(
        "; ".join(filter(None, [t.absent, f"{t.failed} failed" * bool(t.failed)]))
    ),
}


def show_totals(totals: Sequence[Total]) -> None:
    show_table(totals, TOTAL_COLUMNS)
