"""Tables of measurements as CSV: figures that people and scripts read."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nncodec.errors import NNCodecError


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """All rows under a header of the first one's names; raises NNCodecError if that cannot be."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise NNCodecError(f"cannot write {path}: {why}") from error
