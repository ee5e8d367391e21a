"""Members of a packed archive as samples to train on: by number, in batches, or as a stream.

Needs no torch; ``nncodec.pack.torch`` makes its data sets of this.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from nncodec.limits import NO_LIMITS, Limits
from nncodec.pack.order import Epoch, Ints, Layout, arrange, layout_of
from nncodec.pack.reader import PackedArchive, open_packed
from nncodec.pack.tree import Kind
from nncodec.pack.unpacking import select

T = TypeVar("T")


class Samples(Generic[T]):
    """The files of the archive at a path, numbered from 0 in the order of their names.

    ``members`` are names, directories or patterns; without any all files. A sample is what
    ``transform`` makes of its bytes (``bytes.decode``: text), the bytes without one; with ``named``
    it is a pair of the member's name and that. ``model``, ``threads`` and ``limits`` are as of
    ``PackedArchive``; one thread, as there may be several processes.

    Can be sent to other processes, and be used after a fork: each opens the archive for itself.
    Several threads may read at once. Raises what ``PackedArchive`` does, MemberNotFoundError.
    """

    def __init__(
        self,
        archive: str | os.PathLike[str],
        *,
        members: Sequence[str] = (),
        transform: Callable[[bytes], T] | None = None,
        named: bool = False,
        model: str | None = None,
        threads: int | None = 1,
        limits: Limits = NO_LIMITS,
    ) -> None:
        self.path = os.fspath(archive)
        self.members, self.transform, self.named = tuple(members), transform, named
        self._options = model, threads, limits
        self._numbers: Ints | None = None
        self._layout: Layout | None = None
        self._opened: dict[int, PackedArchive] = {}  # by process
        self._select()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_numbers": None, "_layout": None, "_opened": {}}

    @property
    def archive(self) -> PackedArchive:
        """The archive, opened by this process."""
        process = os.getpid()
        opened = self._opened.get(process)
        if opened is None:
            # After a fork another thread of the parent may have held the locks of its archive.
            opened = open_packed(self.path, *self._options)
            first = self._opened.setdefault(process, opened)
            if first is not opened:  # two threads at once
                opened.close()
            opened = first
        return opened

    def close(self) -> None:
        """Close the archive; it is opened again when it is needed."""
        while self._opened:
            self._opened.popitem()[1].close()  # of a fork's parent too: this process has a copy

    def __del__(self) -> None:
        if hasattr(self, "_opened"):  # whoever trains closes no data sets
            self.close()

    def _select(self) -> Ints:
        """The numbers of the members in the archive."""
        if self._numbers is None:
            archive = self.archive
            files = np.flatnonzero(archive.kinds == int(Kind.FILE))
            if self.members:
                files = np.intersect1d(files, np.array(select(archive, self.members), np.int64))
            self._numbers = files
        return self._numbers

    @property
    def layout(self) -> Layout:
        """Where the samples lie in the archive."""
        if self._layout is None:
            self._layout = layout_of(self.archive, self._select())
        return self._layout

    def __len__(self) -> int:
        return len(self._select())

    def name(self, number: int) -> str:
        """Raises IndexError."""
        return self.archive.names[int(self._select()[self._checked(number)])]

    def _checked(self, number: int) -> int:
        if not -len(self) <= number < len(self):
            raise IndexError(f"sample {number} of {len(self)} in {self.path}")
        return number % len(self)

    def __getitem__(self, number: int) -> T:
        """A sample; its block is kept for its neighbours. Raises IndexError and what
        ``PackedArchive.read`` does."""
        return self.read_many((number,))[0]

    def read_many(self, numbers: Sequence[int] | Ints) -> list[T]:
        """Samples, in the order asked for; whatever that is, each block is decoded once."""
        checked = np.array([self._checked(int(number)) for number in numbers], np.int64)
        found: list[Any] = [None] * len(checked)
        archive, members = self.archive, self._select()[checked]
        for at in np.argsort(self.layout.ranks[checked], kind="stable").tolist():
            member = int(members[at])
            data: Any = b"".join(archive.pieces(archive.extents(member)))
            if self.transform is not None:
                data = self.transform(data)
            found[at] = (archive.names[member], data) if self.named else data
        return found

    def __iter__(self) -> Iterator[T]:
        """All of them as they lie in the archive."""
        return self.stream(Epoch())

    def stream(self, epoch: Epoch, start: int = 0) -> Iterator[T]:
        """A part of them in the order of an epoch, but for the first ``start``.

        One after the other: the archive keeps the blocks of a window, so each is decoded once.
        """
        for number in arrange(self.layout, epoch)[0][start:].tolist():
            yield self[number]
