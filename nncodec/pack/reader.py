"""Reading a packed archive: any member by decoding the blocks that hold it, no others.

Opening reads the archive's tail, where the index is; a member then costs a read of the frame that
holds it (small ones have one block, which no small member leaves) and the decoding of that block.
Blocks that were decoded last are kept, since neighbours share them.
"""

from __future__ import annotations

import io
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TypeVar, overload

import numpy as np
import numpy.typing as npt

from nncodec import api
from nncodec.container import MAGIC, WITH_MODEL, Frame
from nncodec.decoding import CodedBlock, Decode, FrameDecoder
from nncodec.errors import CorruptDataError, MemberNotFoundError, PackError, TruncatedError
from nncodec.header import parse_header
from nncodec.limits import NO_LIMITS, Limits
from nncodec.memory import View
from nncodec.pack.extents import Extents
from nncodec.pack.files import open_archive
from nncodec.pack.index import Numbers, mtime_of, owner_of
from nncodec.pack.indexfile import read_index
from nncodec.pack.names import Names
from nncodec.pack.tree import Kind
from nncodec.parsing import pull

if TYPE_CHECKING:
    from typing_extensions import Self

KEPT = 1 << 25  # bytes of decoded blocks that are kept; one block at least
FRAMES_KEPT = 64  # headers
AT_ONCE = 1 << 17  # bytes of a frame that are read as a whole: one request where that takes long
PAYLOADS_KEPT = 4  # of those


@dataclass(frozen=True)
class Span:
    """Bytes ``begin`` to ``end`` of a ``block`` of ``size`` bytes, of frame ``number``."""

    number: int
    block: int
    size: int
    begin: int
    end: int


T = TypeVar("T")


class Recent(Generic[T]):
    """What was made of the blocks that were used last, of ``KEPT`` bytes together, one at least.

    Which ones it holds depends on the calls alone, and their order.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[int, int], tuple[T, int]] = OrderedDict()
        self._size = 0

    def get(self, number: int, block: int) -> T | None:
        found = self._held.get((number, block))
        if found is None:
            return None
        self._held.move_to_end((number, block))
        return found[0]

    def put(self, number: int, block: int, value: T, size: int) -> None:
        if (number, block) not in self._held:
            self._held[number, block] = value, size
            self._size += size
        while self._size > KEPT and len(self._held) > 1:
            self._size -= self._held.popitem(last=False)[1][1]


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


class ReadAt:
    """Bytes anywhere in a file, for several threads and processes at once."""

    def __init__(self, source: BinaryIO) -> None:
        self.source, self._lock = source, threading.Lock()
        self._handle: int | None = None
        self._fetch = getattr(source, "fetch", None)  # of what lies behind a URL
        if hasattr(os, "pread") and isinstance(source, (io.FileIO, io.BufferedReader)):
            self._handle = source.fileno()

    def read(self, at: int, size: int) -> bytes:
        """Raises TruncatedError if they are not there."""
        if self._fetch is not None and at + size <= self.source.size:  # type: ignore[attr-defined]
            return bytes(self._fetch(at, at + size))
        pieces, left = [], size
        while left:
            if self._handle is not None:
                piece = os.pread(self._handle, left, at + size - left)
            else:
                with self._lock:
                    self.source.seek(at + size - left)
                    piece = self.source.read(left)
            if not piece:
                raise TruncatedError(f"archive ends in the middle of a frame, {left} bytes short")
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)


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
        self._source = open_archive(source) if isinstance(source, (str, os.PathLike)) else source
        try:
            self._columns, self._start = read_index(self._source, limits)
        except BaseException:
            self.close()
            raise
        self.find_coder, self.limits = api.CoderFinder(model, threads), limits
        self._bytes, self._turn = ReadAt(self._source), threading.Lock()
        columns = self._columns
        self.names: Names = columns.names
        self.members = Members(self)
        self._firsts = ends_of(columns.extents)
        self._contents = ends_of(columns.content_sizes)
        self._links = ends_of((columns.kinds == Kind.SYMLINK).astype(np.uint64))
        self._targets = Names(columns.targets)
        self._users, self._groups = owner_table(columns.users), owner_table(columns.groups)
        self.blocks_decoded = 0
        self._lock = threading.Lock()  # of what follows
        self._blocks: Recent[bytes] = Recent()
        self._frames: OrderedDict[int, Frame] = OrderedDict()
        self._payloads: OrderedDict[int, bytes] = OrderedDict()

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

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    @property
    def content_size(self) -> int:
        """Bytes of the content: of all files, without what is there twice."""
        return int(self._contents[-1])

    @property
    def has_metadata(self) -> bool:
        """Whether times and owners were kept."""
        return self._columns.metadata

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
        ends: npt.NDArray[np.int64] = self._contents[1:]
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
        self.limits.check_output(max(0, end - begin))
        at = 0  # of the member
        for start, size in extents:
            low, high = max(begin - at, 0), min(end - at, size)
            if low < high:
                for span in self.walk(((start + low, high - low),)):
                    yield memoryview(self._block(span))[span.begin : span.end]
            at += size

    def walk(self, extents: Sequence[tuple[int, int]]) -> Iterator[Span]:
        """The blocks that extents lie in, in order. Raises CorruptDataError, TruncatedError."""
        for start, size in extents:
            begin, end = start, start + size
            number = int(np.searchsorted(self._contents, begin, "right")) - 1
            while begin < end:
                frame, first = self._frame(number), int(self._contents[number])
                behind = min(end, first + frame.total)
                while begin < behind:
                    block, offset = divmod(begin - first, frame.block_size)
                    room = frame.blocks[block].size - offset
                    until = min(offset + behind - begin, offset + room)
                    yield Span(number, block, frame.blocks[block].size, offset, until)
                    begin += until - offset
                number += 1

    def coded(self, number: int, block: int, shares: bool = True) -> CodedBlock:
        """A block of a frame as workers can decode it.

        ``shares``: with the engine that is loaded here. Raises what ``pieces`` does but for what
        decoding finds.
        """
        frame = self._frame(number)
        row = frame.blocks[block]
        decoder = FrameDecoder(self.find_coder, None, self.limits)
        decoder.limits.check_memory(row)
        decoder.enter(frame.model_id, frame.base_id, frame.environment)
        decoder.check(row)
        coded = row.kind in WITH_MODEL
        return CodedBlock(
            row,
            self._payload(number, frame, block),
            frame.model_id if coded else None,
            frame.environment if coded else None,
            coder=decoder.coder if shares and coded else None,
        )

    def _frame(self, number: int) -> Frame:
        with self._lock:
            frame = self._frames.get(number)
        if frame is not None:
            return frame
        header, whole = (
            int(sizes[number]) for sizes in (self._columns.header_sizes, self._columns.frame_sizes)
        )
        data = self._read(number, 0, whole if whole <= AT_ONCE else header)
        frame = self._parse(number, data[:header])
        if whole <= AT_ONCE:
            with self._lock:
                self._payloads[number] = data[header:]
                while len(self._payloads) > PAYLOADS_KEPT:
                    self._payloads.popitem(last=False)
        return frame

    def _payload(self, number: int, frame: Frame, block: int) -> bytes:
        """Of a block; a small frame was read as a whole with its header, for its first block."""
        at = sum(b.payload_size for b in frame.blocks[:block])
        size = frame.blocks[block].payload_size
        with self._lock:
            whole = self._payloads.pop(number, None)
        if whole is not None:
            return whole[at : at + size]
        return self._read(number, frame.header_size + at, size)

    def _read(self, number: int, at: int, size: int) -> bytes:
        """Bytes of a frame, counted from its begin."""
        return self._bytes.read(self._start + int(self._columns.frame_ats[number]) + at, size)

    def _parse(self, number: int, head: bytes) -> Frame:
        """Raises CorruptDataError if it is not the header that the index says there is."""
        if not head.startswith(MAGIC):
            raise CorruptDataError(f"frame {number} does not lie where the index says")
        frame = pull(parse_header(MAGIC), View(memoryview(head)[len(MAGIC) :]))
        columns = self._columns
        found = frame.header_size, frame.header_size + frame.payload_size, frame.total
        said = (
            columns.header_sizes[number],
            columns.frame_sizes[number],
            columns.content_sizes[number],
        )
        if found != tuple(map(int, said)):
            raise CorruptDataError(f"frame {number} is not the one that the index says it is")
        with self._lock:
            self._frames[number] = frame
            while len(self._frames) > FRAMES_KEPT:
                self._frames.popitem(last=False)
        return frame

    def _block(self, span: Span) -> bytes:
        key = span.number, span.block
        with self._lock:
            data = self._blocks.get(*key)
        if data is not None:
            return data
        found = Decode(self.find_coder, turn=self._turn)(self.coded(*key))
        assert isinstance(found, bytes)
        with self._lock:
            self.blocks_decoded += 1
            self._blocks.put(*key, found, len(found))
        return found


def open_packed(
    source: str | os.PathLike[str],
    model: str | None = None,
    threads: int | None = None,
    limits: Limits = NO_LIMITS,
) -> PackedArchive:
    return PackedArchive(source, model=model, threads=threads, limits=limits)


def ends_of(counts: Any) -> Any:
    """(n,) counts -> (n + 1,) sums of those before: where each begins, and the end."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(counts.astype(np.int64))))


def owner_table(joined: bytes) -> dict[int | None, str]:
    parts = joined.split(b"\0")[:-1]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {int(number): name.decode(errors="replace") for number, name in pairs}


class MemberFile(io.RawIOBase):
    """A member's bytes, decoded where they are asked for."""

    def __init__(self, archive: PackedArchive, member: Member) -> None:
        self._archive, self.member, self._at = archive, member, 0
        self.name = member.name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.member.size}
        if whence not in start:
            raise ValueError(f"invalid whence {whence}")
        if start[whence] + offset < 0:
            raise ValueError(f"negative seek position {start[whence] + offset}")
        self._at = start[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        for piece in self._archive.pieces(self.member.extents, self._at, self._at + len(view)):
            view[done : done + len(piece)] = piece
            done += len(piece)
        self._at += done
        return done
