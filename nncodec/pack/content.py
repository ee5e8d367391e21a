"""Members that come one after the other, cut into pieces; and what the index says of them.

As in ``plan``, but nothing is known ahead: the content is every member once, in the order in which
they come. Small ones share a piece of one block, which none of them leaves, so that reading one
decodes one block; one larger than a block has pieces of its own. The last piece is held back until
something follows it, so whoever encodes pieces knows of each whether it is the last.

Memory is a piece, and of each member its name and some 80 bytes: no object of Python's.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nncodec.errors import PackError
from nncodec.pack.digests import Digests
from nncodec.pack.index import Columns, Numbers, none
from nncodec.pack.names import LONGEST, Names
from nncodec.pack.tree import Kind

MODE = 0o644  # of every member: what comes in a stream has no permissions

Buffer = bytes | bytearray | memoryview


class SameNameError(PackError):
    """Two members have one name."""


@dataclass(frozen=True)
class Piece:
    """Bytes of the content up to ``end``. ``digest``: of all pieces so far, at a checkpoint."""

    data: bytearray
    end: int
    digest: bytes | None


class Content:
    """The content as it grows. ``frame_size`` is how many bytes lie between two checkpoints."""

    def __init__(self, block_size: int, frame_size: int, dedup: bool) -> None:
        self.block_size, self.dedup = block_size, dedup
        self.frame_size = max(frame_size // block_size, 1) * block_size
        self.size = 0  # of the pieces that are complete
        self.given = 0  # bytes of all members, those that were there before too
        self.names, self.last = bytearray(), b""
        self.begins, self.sizes = array("Q"), array("Q")
        self._piece, self._alone = bytearray(), False
        self._hash = hashlib.sha256()
        self._seen, self._firsts = Digests(), array("Q")  # where each digest's bytes begin
        self._known: Digests | None = None  # names, once they are out of order

    def __len__(self) -> int:
        return len(self.begins)

    def add(self, name: str | bytes, data: Buffer) -> Iterator[Piece]:
        """The pieces that are complete with a member; to be run to its end. Raises PackError."""
        view = memoryview(data).cast("B")
        self._add_name(os.fsencode(name))
        begin = self.size + len(self._piece)
        fresh = True
        if self.dedup and len(view):
            number = self._seen.number(hashlib.sha256(view).digest())
            fresh = number == len(self._firsts)
            if fresh:
                self._firsts.append(begin)
            begin = self._firsts[number]
        self.begins.append(begin)
        self.sizes.append(len(view))
        self.given += len(view)
        if fresh and len(view):
            yield from self._append(view)

    def _append(self, view: memoryview) -> Iterator[Piece]:
        large = len(view) > self.block_size
        if large or self._alone or len(self._piece) + len(view) > self.block_size:
            yield from self._close()
        self._alone = large
        for at in range(0, len(view), self.frame_size):
            if at:
                yield from self._close()
            self._piece += view[at : at + self.frame_size]

    def _close(self) -> Iterator[Piece]:
        if not self._piece:
            return
        data, self._piece = self._piece, bytearray()
        before, self.size = self.size, self.size + len(data)
        self._hash.update(len(data).to_bytes(8, "little"))
        self._hash.update(data)
        mark = before // self.frame_size != self.size // self.frame_size
        yield Piece(data, self.size, self._hash.copy().digest() if mark else None)

    def finish(self) -> list[Piece]:
        """The last piece; none if no member has bytes."""
        return list(self._close())

    def _add_name(self, name: bytes) -> None:
        check_name(name)
        if self._known is None and name <= self.last:
            self._known = Digests()
            for each in self.names.split(b"\0")[:-1]:
                self._known.number(hashlib.sha256(each).digest())
        if self._known is not None:
            count = len(self._known)
            if self._known.number(hashlib.sha256(name).digest()) != count:
                raise SameNameError(f"{os.fsdecode(name)}: two members have this name")
        self.names += name + b"\0"
        self.last = name

    def columns(self) -> Columns:
        """The index without frames, in the order of names."""
        names = Names(bytes(self.names))
        begins, sizes = column(self.begins), column(self.sizes)
        if self._known is not None:
            order = sorted(range(len(names)), key=names.raw)
            begins, sizes = begins[order], sizes[order]
            names = Names.of(names.raw(number) for number in order)
        held = sizes > 0
        count = len(names)
        return Columns(
            names=names,
            kinds=np.full(count, int(Kind.FILE), np.uint64),
            modes=np.full(count, MODE, np.uint64),
            seconds=none(),
            nanoseconds=none(),
            uids=none(),
            gids=none(),
            extents=held.astype(np.uint64),
            begins=begins[held],
            sizes=sizes[held],
            frame_ats=none(),
            frame_sizes=none(),
            header_sizes=none(),
            content_sizes=none(),
            targets=b"",
            users=b"",
            groups=b"",
            archive_size=0,
            metadata=False,
        )


def column(values: array[int]) -> Numbers:
    return np.array(values, np.uint64)


def check_name(name: bytes) -> None:
    """Raises PackError for a name that no member may have."""
    parts = name.split(b"/")
    if b"" in parts or b"." in parts or b".." in parts or b"\0" in name or len(name) > LONGEST:
        shown = os.fsdecode(name[:80])
        raise PackError(
            f"{shown!r} is no name that a member may have: it is empty, too long, absolute, "
            "or has an empty part, '.', '..' or NUL"
        )
