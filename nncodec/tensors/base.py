"""The file that deltas are taken against."""

from __future__ import annotations

import hashlib
import mmap
from functools import cached_property
from pathlib import Path

import numpy as np

from nncodec.errors import BaseFileError
from nncodec.tensors.coder import Bytes
from nncodec.tensors.layout import Span
from nncodec.tensors.spans import find_spans

BASE_ID_BYTES = 16


class Base:
    """Its (n,) bytes, which must not change, its tensors, and the id that archives name it by."""

    def __init__(self, data: Bytes) -> None:
        self.data = data

    @classmethod
    def open(cls, path: str | Path) -> Base:
        """Maps the file, so that only what is used is read. Raises BaseFileError."""
        try:
            with Path(path).open("rb") as file:
                if file.seek(0, 2) == 0:
                    return cls(np.zeros(0, np.uint8))
                whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise BaseFileError(f"cannot use the base {path}: {why.lower()}") from error
        return cls(np.frombuffer(whole, np.uint8))

    @cached_property
    def sha256(self) -> bytes:
        return hashlib.sha256(self.data.data).digest()

    @property
    def id(self) -> bytes:
        return self.sha256[:BASE_ID_BYTES]

    @cached_property
    def spans(self) -> list[Span]:
        return find_spans(self.data.data)


def check_base(wanted: bytes, base: Base | None) -> Base:
    """The base if it is the one that an archive names. Raises BaseFileError."""
    if base is None:
        raise BaseFileError(
            f"this archive needs its base: pass --base FILE (sha256 {wanted.hex()}...)"
        )
    if base.id != wanted:
        raise BaseFileError(
            f"this archive has another base: pass --base FILE with sha256 {wanted.hex()}..., "
            f"not {base.id.hex()}..."
        )
    return base
