"""Files to the training format: ``<domain>.bin/.idx`` and held-out ``<domain>.valid.bin/.idx``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from nncodec.files import sha256

PIECE = 1 << 20  # bytes copied at once


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
    digest: str

    @classmethod
    def of(cls, path: Path) -> Document:
        return cls(path, 0, path.stat().st_size, sha256(path))

    def __len__(self) -> int:
        return self.end - self.begin

    def read(self, size: int | None = None) -> bytes:
        """Its bytes, or the first ``size`` of them."""
        with self.path.open("rb") as file:
            file.seek(self.begin)
            return file.read(len(self) if size is None else min(size, len(self)))

    def copy(self, out: BinaryIO) -> None:
        left = len(self)
        with self.path.open("rb") as file:
            file.seek(self.begin)
            while left and (piece := file.read(min(left, PIECE))):
                out.write(piece)
                left -= len(piece)

    def cut(self, at: int) -> tuple[Document, Document]:
        """What comes before the offset ``at``, and the rest."""
        middle = self.begin + at
        return replace(self, end=middle), replace(self, begin=middle)

    def is_held_out(self, of_256: int) -> bool:
        """Whether it is among ``of_256`` of 256 that are held out: by the file's contents alone."""
        return int(self.digest[:2], 16) < of_256


def split(documents: list[Document], of_256: int) -> tuple[list[Document], list[Document]]:
    """Training and held-out documents: about ``of_256`` of 256 by hash, else the end of each.

    Ends are taken where documents are so few that chance holds out a quarter of that or less, or
    twice that or more, of the bytes.
    """
    train = [d for d in documents if not d.is_held_out(of_256)]
    valid = [d for d in documents if d.is_held_out(of_256)]
    expected = sum(map(len, documents)) * of_256 / 256
    if train and expected / 4 <= sum(map(len, valid)) <= expected * 2:
        return train, valid
    cuts = [d.cut(len(d) - len(d) * of_256 // 256) for d in documents]
    return [begin for begin, _ in cuts], [end for _, end in cuts if len(end)]


def write_domain(documents: Iterable[Document], target: Path) -> int:
    """Write ``target``.bin and .idx, every document closed by a separator; returns their number.

    Without documents there are no files: an empty domain would only be in the way.
    """
    offsets = [0]
    path = target.with_name(target.name + ".bin")
    with path.open("wb") as out:
        for document in documents:
            document.copy(out)
            out.write(b"\0")
            offsets.append(out.tell())
    if len(offsets) == 1:
        path.unlink()
    else:
        np.array(offsets, dtype="<u8").tofile(path.with_suffix(".idx"))
    return len(offsets) - 1
