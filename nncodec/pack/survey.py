"""The first of two readings of every file: its chunks' hashes, its kind, whether it has tensors.

The second one compares what it reads with these hashes, so an archive never holds a mixture of what
a file was and what it became. A file that changes under this reading is left out, with a warning.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from array import array
from dataclasses import dataclass, field
from typing import BinaryIO

from nncodec.errors import PackError
from nncodec.lanes import Progress
from nncodec.pack.chunks import LEAST, read_chunks
from nncodec.pack.files import open_member
from nncodec.pack.tree import Entry, Kind, Warn, why
from nncodec.tensors.spans import find_spans

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


def survey(entries: list[Entry], progress: Progress, warn: Warn) -> Survey:
    """Read all files once. ``warn`` hears of those that cannot be read or change meanwhile."""
    found = Survey()
    for entry in entries:
        if entry.kind == Kind.FILE:
            try:
                with open_member(entry.path) as source:
                    add_file(found, entry, source, progress)
            except (OSError, PackError) as error:
                reason = why(error) if isinstance(error, OSError) else str(error)
                warn(f"{os.fsdecode(entry.path)}: {reason}; left out")
                continue
        found.entries.append(entry)
    return found


def add_file(found: Survey, entry: Entry, source: BinaryIO, progress: Progress) -> None:
    """Hash an open file. Raises PackError if it changes; then nothing is added."""
    before = os.fstat(source.fileno())
    sizes, digests, start = array("Q"), bytearray(), b""
    whole = has_tensors(source, before.st_size)
    if whole:
        sizes.append(before.st_size)
        digests += digest_of(source)
    elif before.st_size <= LEAST:  # as most files are
        start = source.read(LEAST + 1) or b""
        if start:
            sizes.append(len(start))
            digests += hashlib.sha256(start).digest()
    else:
        for chunk in read_chunks(source):
            start = start or bytes(chunk[:SNIFFED])
            sizes.append(len(chunk))
            digests += hashlib.sha256(chunk).digest()
    after = os.fstat(source.fileno())
    if stamp(before) != stamp(after) or sum(sizes) != before.st_size:
        raise PackError("changed while it was read")
    entry.take(before)
    progress(before.st_size)
    found.counts.append(len(sizes))
    found.tensors.append(whole)
    found.groups.append(group_of(entry.name, start))
    found.sizes += sizes
    found.digests += digests


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
