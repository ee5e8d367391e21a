"""The table of a study: one row for each point, precision and file, in the order of the points.

Records of points are the truth, and the table is made from them anew after each: two processes
that share a study write the same.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nncodec.errors import SweepError
from nncodec.files import atomic_file, write_atomically

RESULTS_FILE = "results.csv"
COLUMNS = (
    "point", "role", "target", "shape", "d_model", "layers", "n_heads", "head_dim", "d_ff",
    "window", "ngram_orders", "ngram_bits", "ngram_width", "seed",
    "parameters", "table_parameters", "matrix_parameters", "bytes_seen", "training_flops",
    "held_out_bpb", "train_seconds", "model_id", "file", "file_bytes", "file_sha256", "level",
    "precision", "model_bytes", "network_bytes", "network_bpb", "archive_bytes", "archive_bpb",
    "contexts_bytes", "contexts_bpb", "verified", "measure_seconds",
    "version", "torch", "machine", "cpu", "cores", "memory_gb", "isa", "system", "python",
)  # fmt: skip


def write_results(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace the CSV at ``path``; every row has all ``COLUMNS``, in any order."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_file(path) as file:  # under a name of its own: two processes may write at once
        file.write(text.getvalue().encode())


def read_results(path: Path) -> list[dict[str, str]]:
    """Raises SweepError if it is no table of results, OSError if it cannot be read."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = set(COLUMNS) - set(reader.fieldnames or ())
            if missing:
                raise SweepError(f"is no table of nncodec sweep: it lacks {min(missing)}")
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise SweepError(f"is no CSV: {error}") from error
    if not rows:
        raise SweepError("has no rows yet; let nncodec sweep finish a point")
    return rows


def write_json(path: Path, value: object) -> None:
    write_atomically(path, (json.dumps(value, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """An object, or an empty one if there is no file. Raises SweepError for a damaged one."""
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise SweepError(f"{path} is damaged ({error}); remove it to measure again") from error
    if not isinstance(value, dict):
        raise SweepError(f"{path} is damaged (no object); remove it to measure again")
    return value
