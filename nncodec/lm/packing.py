"""Files to the training format: ``<domain>.bin/.idx`` and held-out ``<domain>.valid.bin/.idx``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np


def documents_below(source: Path, but: Path | None = None) -> Iterator[bytes]:
    """The contents of a file, or of every file below a folder by name; empty ones are left out.

    So is what lies below the folder ``but``.
    """
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    for file in files:
        if but and but.resolve() in file.resolve().parents:
            continue
        data = file.read_bytes()
        if data:
            yield data


def is_held_out(document: bytes, of_256: int) -> bool:
    """Whether a document is among ``of_256`` of 256 that are held out: by its contents alone."""
    return hashlib.sha256(document).digest()[0] < of_256


def write_domain(documents: Iterable[bytes], target: Path) -> int:
    """Write ``target``.bin and .idx, every document closed by a separator; returns their number.

    Without documents there are no files: an empty domain would only be in the way.
    """
    offsets = [0]
    path = target.with_name(target.name + ".bin")
    with path.open("wb") as out:
        for document in documents:
            out.write(document + b"\0")
            offsets.append(offsets[-1] + len(document) + 1)
    if len(offsets) == 1:
        path.unlink()
    else:
        np.array(offsets, dtype="<u8").tofile(path.with_suffix(".idx"))
    return len(offsets) - 1
