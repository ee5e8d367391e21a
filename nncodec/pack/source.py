"""The second reading: the content's pieces from the files, compared with what the first one hashed.

What does not compare is read from another file that had the same bytes. If there is none, it is
replaced by zeros of the same number, and its place is kept as *void*: the members that have bytes
there are left out of the index. So one file that changes while a large tree is packed costs that
file, and never gives wrong bytes.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from nncodec.blocks import Bytes
from nncodec.errors import PackError, RemoteError
from nncodec.pack.files import LOST, open_member
from nncodec.pack.plan import Plan
from nncodec.pack.survey import stamp
from nncodec.pack.tree import Warn

if TYPE_CHECKING:
    from nncodec.pack.objects import Objects

Void = tuple[int, int]  # bytes of the content, begin and end


@dataclass
class Mapped:
    """A file of tensors while it is coded where it lies."""

    owner: int
    source: BinaryIO
    data: Bytes
    status: os.stat_result

    def changed(self) -> bool:
        return stamp(os.fstat(self.source.fileno())) != stamp(self.status)


@dataclass
class Pieces:
    """Reads pieces of a plan. ``voids`` are those of pieces that were read, by piece."""

    plan: Plan
    warn: Warn
    voids: dict[int, list[Void]] = field(default_factory=dict)
    mapped: dict[int, Mapped] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)  # entries that were spoken of
    objects: Objects | None = None  # reads what is behind URLs

    def read(self, number: int) -> Bytes:
        """The bytes of a piece, verified but for what is void."""
        begin, end = self.plan.piece(number)
        if self.plan.whole[number]:
            return self.map_whole(number, begin, end)
        stored = self.plan.stored
        first = int(np.searchsorted(stored.begins, begin, "right")) - 1
        behind = int(np.searchsorted(stored.begins, end))
        out = np.zeros(end - begin, np.uint8)
        if self.objects is not None:
            owners = np.unique(stored.owners[first:behind])
            self.objects.prepare([self.plan.entries[int(owner)] for owner in owners])
        owner, source, fresh = -1, None, False
        try:
            for chunk in range(first, behind):
                if stored.owners[chunk] != owner:
                    self.leave(owner, source)
                    owner, source = int(stored.owners[chunk]), None
                    source = self.open(owner)
                    fresh = True
                if source is not None and self.plan.entries[owner].store is not None:
                    self.expect(source, chunk, behind, fresh)
                fresh = False
                data = None
                if source is not None:
                    data = self.read_chunk(source, chunk, int(stored.offsets[chunk]))
                if data is None and (others := list(stored.places(chunk))[1:]):
                    self.leave(owner, source)  # of objects one at a time is open
                    owner, source = -1, None
                    data = self.read_elsewhere(chunk, others)
                at = int(stored.begins[chunk])
                low, high = max(at, begin), min(at + int(stored.sizes[chunk]), end)
                if data is None:
                    self.lose(number, int(stored.owners[chunk]), low, high)
                else:
                    out[low - begin : high - begin] = data[low - at : high - at]
        finally:
            self.leave(owner, source)
        return out

    def open(self, owner: int) -> BinaryIO | None:
        entry = self.plan.entries[owner]
        if entry.store is not None and self.objects is not None:
            return self.objects.open(entry)
        try:
            return open_member(entry.path)
        except (OSError, PackError):
            return None

    def leave(self, owner: int, source: BinaryIO | None) -> None:
        """No more is read of it in this piece; objects stay open for the next one."""
        if source is not None and self.plan.entries[owner].store is None:
            source.close()

    def expect(self, source: BinaryIO, chunk: int, behind: int, fresh: bool) -> None:
        """Tell a long object how far chunks follow each other, where one follows none."""
        stored, expect = self.plan.stored, getattr(source, "expect", None)
        end = offset = int(stored.offsets[chunk])
        if expect is None or (source.tell() == offset and not fresh):
            return
        for later in range(chunk, behind):
            if stored.owners[later] != stored.owners[chunk] or stored.offsets[later] != end:
                break
            end += int(stored.sizes[later])
        expect(offset, end)

    def read_elsewhere(self, chunk: int, places: list[tuple[int, int]]) -> Bytes | None:
        """A chunk from other files that had it; None if none has it any more."""
        for owner, offset in places:
            source = self.open(owner)
            if source is None:
                continue
            try:
                if (expect := getattr(source, "expect", None)) is not None:
                    expect(offset, offset + int(self.plan.stored.sizes[chunk]))
                data = self.read_chunk(source, chunk, offset)
            finally:
                self.leave(owner, source)
            if data is not None:
                return data
        return None

    def read_chunk(self, source: BinaryIO, chunk: int, offset: int) -> Bytes | None:
        """None if it is not what it was."""
        stored, data = self.plan.stored, bytearray()
        size = int(stored.sizes[chunk])
        try:
            source.seek(offset)
            while len(data) < size and (part := source.read(size - len(data))):
                data += part
        except LOST:
            return None
        except RemoteError:  # a network that is gone is not the file's fault
            raise
        except OSError:
            return None
        if hashlib.sha256(data).digest() != stored.digests[chunk].tobytes():
            return None
        return np.frombuffer(data, np.uint8)

    def map_whole(self, number: int, begin: int, end: int) -> Bytes:
        """A file of tensors, which ``finish`` looks at again once it was coded."""
        stored = self.plan.stored
        chunk = int(np.searchsorted(stored.begins, begin))
        for owner, _ in stored.places(chunk):
            source = self.open(owner)
            if source is not None and self.plan.entries[owner].store is not None:
                if (expect := getattr(source, "expect", None)) is not None:
                    expect(0, end - begin)
                fetched = self.read_chunk(source, chunk, 0)
                if fetched is not None:
                    return fetched
            elif source is not None:
                status = os.fstat(source.fileno())
                if status.st_size == end - begin:  # else it would be read behind its end
                    view = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)
                    data = np.frombuffer(view, np.uint8)
                    if hashlib.sha256(data.data).digest() == stored.digests[chunk].tobytes():
                        self.mapped[number] = Mapped(owner, source, data, status)
                        return data
                source.close()
        self.lose(number, int(stored.owners[chunk]), begin, end)
        return np.zeros(end - begin, np.uint8)

    def leave_out(self, owner: int) -> None:
        """Say of a member whose bytes another one lost that it is not there, either."""
        if owner not in self.lost:
            label = self.plan.entries[owner].label
            self.warn(f"{label}: has bytes of a file that changed while it was packed; left out")
        self.lost.add(owner)

    def lose(self, number: int, owner: int, begin: int, end: int) -> None:
        """Note that bytes of the content are not those of the file, and say so once a file."""
        if owner not in self.lost:
            label = self.plan.entries[owner].label
            self.warn(f"{label}: changed or vanished while it was packed; left out")
        self.lost.add(owner)
        self.voids.setdefault(number, []).append((begin, end))

    def close(self) -> None:
        """No more pieces are wanted."""
        for mapped in self.mapped.values():
            mapped.source.close()
        self.mapped.clear()

    def finish(self, number: int) -> list[Void]:
        """Once a piece was coded: what of it is void."""
        mapped = self.mapped.pop(number, None)
        if mapped is not None:
            changed = mapped.changed()
            mapped.source.close()
            if changed:
                self.lose(number, mapped.owner, *self.plan.piece(number))
        return self.voids.pop(number, [])
