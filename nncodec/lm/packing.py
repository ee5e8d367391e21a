"""Files to the training format: ``<domain>.bin/.idx`` and held-out ``<domain>.valid.bin/.idx``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np


def files_below(source: Path, but: Path | None = None) -> Iterator[Path]:
    """A file itself, or every file below a folder by name.

    Left out are empty and hidden files, what lies in hidden folders (``.git``), and what lies
    below the folder ``but``.
    """
    if source.is_file():
        yield source
        return
    for path in sorted(source.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(source).parts)
        ours = but is not None and but.resolve() in path.resolve().parents
        if not hidden and not ours and path.is_file() and path.stat().st_size:
            yield path


@dataclass(frozen=True)
class Document:
    """Bytes ``begin`` to ``end`` of a file, read when they are needed; ``digest`` is the file's."""

    path: Path
    begin: int
    end: int
    digest: bytes

    @classmethod
    def of(cls, path: Path) -> Document:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            return cls(path, 0, file.tell(), digest)

    def __len__(self) -> int:
        return self.end - self.begin

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.begin)
            return file.read(len(self))

    def cut(self, at: int) -> tuple[Document, Document]:
        """What comes before the offset ``at``, and the rest."""
        middle = self.begin + at
        return replace(self, end=middle), replace(self, begin=middle)

    def is_held_out(self, of_256: int) -> bool:
        """Whether it is among ``of_256`` of 256 that are held out: by the file's contents alone."""
        return self.digest[0] < of_256


def write_domain(documents: Iterable[bytes], target: Path) -> int:
    """Write ``target``.bin and .idx, every document closed by a separator; returns their number.

    Without documents there are no files: an empty domain would only be in the way.
    """
    offsets = [0]
    path = target.with_name(target.name + ".bin")
    with path.open("wb") as out:
        for document in documents:
            out.write(document + b"\0")
            offsets.append(out.tell())
    if len(offsets) == 1:
        path.unlink()
    else:
        np.array(offsets, dtype="<u8").tofile(path.with_suffix(".idx"))
    return len(offsets) - 1
