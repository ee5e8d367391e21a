"""Files as a whole: their hashes, and writing them so that a kill leaves the old one or the new."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nncodec.errors import NNCodecError


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path``, with the permissions of any file one makes; it lasts through a crash."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


@contextmanager
def atomic_file(target: Path, finish: Callable[[str], None] | None = None) -> Iterator[BinaryIO]:
    """A file that appears under its name only when complete.

    Everything is written to a private temporary file beside it, synced and renamed; before that
    ``finish`` may set its attributes, which are those of any new file otherwise. On any exception
    the temporary file is removed. Raises NNCodecError if none can be made.
    """
    try:
        handle, temporary = tempfile.mkstemp(".part", ".nncodec-", target.parent)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise NNCodecError(f"cannot write {target}: {why}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        (finish or make_readable)(temporary)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_folder(target.parent)


def make_readable(path: str | Path) -> None:
    """The mode that any new file or folder gets: a temporary one is its maker's alone."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, (0o777 if os.path.isdir(path) else 0o666) & ~mask)


def sync_folder(folder: Path) -> None:
    """Make a rename durable where the system allows a folder to be synced."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
