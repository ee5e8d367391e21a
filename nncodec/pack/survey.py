"""The first of two readings of every file: its chunks' hashes, its kind, whether it has tensors.

The second one compares what it reads with these hashes, so an archive never holds a mixture of what
a file was and what it became. A file that changes under this reading is left out, with a warning.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from nncodec.errors import PackError
from nncodec.lanes import Progress
from nncodec.pack.chunks import LEAST, read_chunks
from nncodec.pack.files import open_member
from nncodec.pack.tree import Entry, Kind, Warn, why
from nncodec.tensors.spans import find_spans

if TYPE_CHECKING:
    from nncodec.pack.objects import Objects

DIGEST = 32  # bytes of SHA-256
LEAST_TENSORS = 1 << 16  # bytes of a file that may get frames of its own for its tensors
SNIFFED = 512  # bytes that tell the kind of a file without an extension
LONGEST_EXTENSION = 12


@dataclass
class Survey:
    """What was found: ``entries`` by name, and of the files among them, in that order, arrays.

    ``counts`` of chunks, whether it has ``tensors``, the ``groups`` that they belong to; of all
    their chunks the ``sizes`` and ``digests``, one behind the other.
    """

    entries: list[Entry] = field(default_factory=list)
    counts: array[int] = field(default_factory=lambda: array("Q"))
    tensors: bytearray = field(default_factory=bytearray)
    groups: list[bytes] = field(default_factory=list)
    sizes: array[int] = field(default_factory=lambda: array("Q"))
    digests: bytearray = field(default_factory=bytearray)


@dataclass
class Read:
    """What a reading of a file gives: its chunks' ``sizes`` and ``digests``, its first bytes,
    whether it is a file of tensors, kept ``whole``."""

    sizes: array[int] = field(default_factory=lambda: array("Q"))
    digests: bytearray = field(default_factory=bytearray)
    start: bytes = b""
    whole: bool = False

    @classmethod
    def whole_of(cls, source: BinaryIO, size: int) -> Read:
        return cls(array("Q", (size,)), bytearray(digest_of(source)), whole=True)

    @classmethod
    def chunks_of(cls, chunks: Iterable[bytes | memoryview]) -> Read:
        found = cls()
        for chunk in chunks:
            found.start = found.start or bytes(chunk[:SNIFFED])
            found.sizes.append(len(chunk))
            found.digests += hashlib.sha256(chunk).digest()
        return found


def survey(
    entries: list[Entry], progress: Progress, warn: Warn, objects: Objects | None = None
) -> Survey:
    """Read all files once. ``warn`` hears of those that cannot be read or change meanwhile.

    ``objects`` reads those behind URLs. Raises RemoteError if that fails for more than a file.
    """
    found = Survey()
    for entry in entries if objects is None else objects.ahead(entries):
        if entry.kind == Kind.FILE:
            try:
                if entry.store is None or objects is None:
                    read = read_file(entry)
                else:
                    read = objects.read(entry)
                add_file(found, entry, read)
                progress(entry.size)
            except (OSError, PackError) as error:
                reason = why(error) if isinstance(error, OSError) else str(error)
                warn(f"{entry.label}: {reason}; left out")
                continue
        found.entries.append(entry)
    return found


def read_file(entry: Entry) -> Read:
    """Read a file of this machine, and take what the system says of it. Raises OSError, PackError
    if it changes."""
    with open_member(entry.path) as source:
        before = os.fstat(source.fileno())
        if has_tensors(source, before.st_size):
            read = Read.whole_of(source, before.st_size)
        elif before.st_size <= LEAST:  # as most files are
            start = source.read(LEAST + 1)
            read = Read.chunks_of((start,) if start else ())
        else:
            read = Read.chunks_of(read_chunks(source))
        after = os.fstat(source.fileno())
    if stamp(before) != stamp(after) or sum(read.sizes) != before.st_size:
        raise PackError("changed while it was read")
    entry.take(before)
    return read


def add_file(found: Survey, entry: Entry, read: Read) -> None:
    found.counts.append(len(read.sizes))
    found.tensors.append(read.whole)
    found.groups.append(group_of(entry.name, read.start))
    found.sizes += read.sizes
    found.digests += read.digests


def stamp(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def has_tensors(source: BinaryIO, size: int) -> bool:
    """Whether it is a container of tensors that ``compress`` would find."""
    if size < LEAST_TENSORS:
        return False
    with mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        try:
            return bool(find_spans(view))
        finally:
            view.release()


def digest_of(source: BinaryIO) -> bytes:
    """SHA-256 of all that is left of it."""
    digest = hashlib.sha256()
    while piece := source.read(1 << 20):
        digest.update(piece)
    return digest.digest()


def group_of(name: bytes, start: bytes) -> bytes:
    """What files share that are like each other: the extension, else what they begin like."""
    last = name.rpartition(b"/")[2]
    stem, dot, extension = last.rpartition(b".")
    if dot and stem and extension.isalnum() and len(extension) <= LONGEST_EXTENSION:
        return extension.lower()
    if start.startswith(b"#!"):
        return b" script"
    if start.startswith(b"\x7fELF"):
        return b" elf"
    return b" binary" if b"\0" in start[:SNIFFED] else b" text"
