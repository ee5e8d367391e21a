"""The table of ``nncodec weights report``, its CSV, and what quantisation did to a model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nncodec.lossy.report import Row
from nncodec.lossy.store import Tensor

WIDE = 200  # columns, where the output is no terminal


def number(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"


COLUMNS: dict[str, Callable[[Row], str]] = {
    "tensor": lambda r: r.name,
    "dtype": lambda r: r.dtype,
    "format": lambda r: r.format,
    "weights": lambda r: str(r.weights),
    "stored": lambda r: number(r.stored, 2),
    "zeros %": lambda r: number(100 * r.sparsity, 1),
    "order-0": lambda r: number(r.order0),
    "Huffman": lambda r: number(r.huffman),
    "zstd": lambda r: "absent" if r.zstd is None else number(r.zstd),
    "coded": lambda r: number(r.coded),
    "SNR dB": lambda r: number(r.snr, 2),
    "of step dB": lambda r: number(r.step_db, 2),
    "to bound dB": lambda r: number(r.gap_db, 2),
}
TEXTUAL = 3  # columns that are flush left


def show(rows: Sequence[Row], bits: Mapping[str, object] | None) -> None:
    """A table on standard output; below it the model's bits a byte."""
    table = Table(title="bits a weight", caption=None)
    for i, name in enumerate(COLUMNS):
        table.add_column(name, justify="left" if i < TEXTUAL else "right", overflow="fold")
    for row in rows:
        style = "bold" if row is rows[-1] and row.name == "total" else None
        table.add_row(*(column(row) for column in COLUMNS.values()), style=style)
    console = Console(width=None if sys.stdout.isatty() else WIDE, markup=False, highlight=False)
    console.print(table)
    if bits is not None:
        console.print(
            f"bits a byte of {bits['text']} ({bits['bytes']} bytes): "
            f"{bits['before']:.4f} before, {bits['after']:.4f} after"
        )


def model_bits(folder: Path, tensors: Mapping[str, Tensor], text: Path) -> dict[str, object]:
    """Bits a byte of text by a folder's model, with its own tensors and with these."""
    from nncodec.lossy.evaluate import CausalLM

    data = text.read_bytes()
    model = CausalLM(folder)
    before = model.bits_per_byte(data)
    model.put(tensors)
    after = model.bits_per_byte(data)
    return {"text": text.name, "bytes": len(data), "before": before, "after": after}
