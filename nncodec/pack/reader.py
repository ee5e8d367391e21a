"""Reading a packed archive: any member by decoding the blocks that hold it, no others.

Opening reads the archive's tail, where the index is; a member then costs what its blocks do
(``blockreader``), and no small member leaves one.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, overload

import numpy as np
import numpy.typing as npt

from nncodec import api
from nncodec.errors import MemberNotFoundError, PackError
from nncodec.limits import NO_LIMITS, Limits
from nncodec.pack.blockreader import BlockReader, ends_of
from nncodec.pack.extents import Extents
from nncodec.pack.index import Numbers, mtime_of, owner_of
from nncodec.pack.indexfile import read_index
from nncodec.pack.memberfile import MemberFile
from nncodec.pack.names import Names
from nncodec.pack.tree import Kind
from nncodec.remote.opening import open_seekable

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class Member:
    """A member as the index has it. Without metadata ``mtime_ns``, ``uid``, ``gid`` are None; the
    last two are so of what was an object of a store, too."""

    name: str
    kind: Kind
    size: int  # bytes, of a file
    mode: int  # permission bits, 12 of them
    mtime_ns: int | None
    uid: int | None
    gid: int | None
    user: str | None
    group: str | None
    target: str | None  # of a symbolic link
    extents: Extents  # begin in the content, and size

    @property
    def is_file(self) -> bool:
        return self.kind == Kind.FILE


class Members(Sequence[Member]):
    """All members, in the order of their names, each made when it is asked for."""

    def __init__(self, archive: PackedArchive) -> None:
        self._archive = archive

    def __len__(self) -> int:
        return len(self._archive.names)

    @overload
    def __getitem__(self, number: int) -> Member: ...
    @overload
    def __getitem__(self, number: slice) -> list[Member]: ...
    def __getitem__(self, number: int | slice) -> Member | list[Member]:
        if isinstance(number, slice):
            return [self._archive.at(i) for i in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(f"member {number} of {len(self)}")
        return self._archive.at(number % len(self))


class PackedArchive:
    """The archive ``source``: a path, a URL, or a binary file that can be seeked and stays open.

    ``names`` and ``members`` are sequences; ``read`` and ``open`` take a name. Safe to use from
    several threads at once; a path can also be sent to other processes (pickle). ``model`` and
    ``threads`` are as of ``nncodec.decompress``. ``blocks_decoded`` counts.

    Raises CorruptDataError, TruncatedError, UnsupportedVersionError for the index, LimitError.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | BinaryIO,
        *,
        model: str | None = None,
        threads: int | None = None,
        limits: Limits = NO_LIMITS,
    ) -> None:
        self._arguments = source, model, threads, limits
        self._own = isinstance(source, (str, os.PathLike))
        self._source = open_seekable(source) if isinstance(source, (str, os.PathLike)) else source
        try:
            self._columns, start = read_index(self._source, limits)
        except BaseException:
            self.close()
            raise
        find = api.CoderFinder(model, threads)
        self.blocks = BlockReader(self._source, self._columns, start, find, limits)
        columns = self._columns
        self.names: Names = columns.names
        self.members = Members(self)
        self._firsts = ends_of(columns.extents)
        self._links = ends_of((columns.kinds == Kind.SYMLINK).astype(np.uint64))
        self._targets = Names(columns.targets)
        self._users, self._groups = owner_table(columns.users), owner_table(columns.groups)

    def __reduce__(self) -> tuple[Any, ...]:
        source, model, threads, limits = self._arguments
        if not self._own:
            raise TypeError("an archive that was opened as a file cannot be sent to a process")
        return open_packed, (source, model, threads, limits)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, if it was opened by its path."""
        if self._own:
            self._source.close()

    @property
    def blocks_decoded(self) -> int:
        return self.blocks.blocks_decoded

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    @property
    def content_size(self) -> int:
        """Bytes of the content: of all files, without what is there twice."""
        return int(self.blocks.contents[-1])

    @property
    def kinds(self) -> Numbers:
        """The kinds of all members."""
        return self._columns.kinds

    def first_byte(self, number: int) -> int:
        """Where in the content a member begins; 0 if it has no bytes."""
        first = int(self._firsts[number])
        return int(self._columns.begins[first]) if first < self._firsts[number + 1] else 0

    def places(
        self, numbers: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Of (n,) members: where in the content each begins (0 without bytes), and its bytes."""
        firsts, behind = self._firsts[numbers], self._firsts[numbers + 1]
        sums: npt.NDArray[np.int64] = ends_of(self._columns.sizes)
        begins = np.append(self._columns.begins, np.uint64(0))[firsts].astype(np.int64)
        return np.where(firsts < behind, begins, 0), sums[behind] - sums[firsts]

    @property
    def frame_ends(self) -> npt.NDArray[np.int64]:
        """Where in the content each frame ends."""
        ends: npt.NDArray[np.int64] = self.blocks.contents[1:]
        return ends

    def link_targets(self) -> dict[bytes, bytes]:
        """The targets of all symbolic links by their names."""
        links = np.flatnonzero(self.kinds == Kind.SYMLINK)
        return {self.names.raw(int(i)): self._targets.raw(n) for n, i in enumerate(links)}

    def number(self, name: str) -> int:
        """The place of a member among the names. Raises MemberNotFoundError."""
        number = self.names.find(os.fsencode(name))
        if number is None:
            raise MemberNotFoundError(f"no member {name!r}: nncodec ls shows those that there are")
        return number

    def member(self, name: str) -> Member:
        """Raises MemberNotFoundError."""
        return self.at(self.number(name))

    def at(self, number: int) -> Member:
        """Member ``number``, 0 to ``len(self) - 1``, in the order of names."""
        columns, kind = self._columns, Kind(int(self._columns.kinds[number]))
        extents = self.extents(number)
        metadata = columns.metadata
        uid = owner_of(columns.uids, number) if metadata else None
        gid = owner_of(columns.gids, number) if metadata else None
        time = None
        if metadata:
            time = mtime_of(int(columns.seconds[number]), int(columns.nanoseconds[number]))
        target = None
        if kind == Kind.SYMLINK:
            target = os.fsdecode(self._targets.raw(int(self._links[number])))
        return Member(
            self.names[number],
            kind,
            extents.size,
            int(columns.modes[number]),
            time,
            uid,
            gid,
            self._users.get(uid),
            self._groups.get(gid),
            target,
            extents,
        )

    def extents(self, number: int) -> Extents:
        """Where in the content a member's bytes lie: begin and size of each run."""
        first, behind = int(self._firsts[number]), int(self._firsts[number + 1])
        return Extents(self._columns.begins[first:behind], self._columns.sizes[first:behind])

    def read(self, name: str) -> bytes:
        """All bytes of a file. Raises MemberNotFoundError, PackError for what is no file, and what
        ``pieces`` does."""
        return b"".join(self.pieces(self.file(name).extents))

    def file(self, name: str) -> Member:
        """The member, which is a file. Raises MemberNotFoundError, PackError."""
        member = self.member(name)
        if member.kind == Kind.SYMLINK:
            raise PackError(f"{name} is a symbolic link to {member.target}")
        if member.kind != Kind.FILE:
            raise PackError(f"{name} is a directory")
        return member

    def open(self, name: str) -> io.BufferedReader:
        """A file of a member's bytes, which can be seeked. Raises as ``file``."""
        return io.BufferedReader(MemberFile(self, self.file(name)), 1 << 16)

    def pieces(
        self, extents: Sequence[tuple[int, int]], begin: int = 0, end: int | None = None
    ) -> Iterator[memoryview]:
        """The bytes of extents, or those from ``begin`` on before ``end``, block by block.

        Raises CorruptDataError, TruncatedError, ModelNotFoundError or LimitError before anything
        of the block that it is about.
        """
        total = extents.size if isinstance(extents, Extents) else sum(s for _, s in extents)
        end = total if end is None else min(end, total)
        self.blocks.limits.check_output(max(0, end - begin))
        at = 0  # of the member
        for start, size in extents:
            low, high = max(begin - at, 0), min(end - at, size)
            if low < high:
                for span in self.blocks.walk(((start + low, high - low),)):
                    yield memoryview(self.blocks.block(span))[span.begin : span.end]
            at += size


def open_packed(
    source: str | os.PathLike[str],
    model: str | None = None,
    threads: int | None = None,
    limits: Limits = NO_LIMITS,
) -> PackedArchive:
    return PackedArchive(source, model=model, threads=threads, limits=limits)


def owner_table(joined: bytes) -> dict[int | None, str]:
    parts = joined.split(b"\0")[:-1]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {int(number): name.decode(errors="replace") for number, name in pairs}
