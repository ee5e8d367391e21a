"""Archives as frames: pulled out of a file, or pushed in pieces of any size as they come.

Both run ``parse_archives``, the only parser; it asks for bytes and never for more than it needs, so
a file is left where a frame's payloads begin. Skippable frames may lie wherever a frame may begin:
their signature, a type, a varint size and so many bytes of which a decoder knows nothing.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from nncodec.container import MAGIC, SKIPPABLE_MAGIC, Block, Frame
from nncodec.errors import CorruptDataError, TruncatedError
from nncodec.header import Fields, Parse, parse_header, parse_skippable
from nncodec.memory import Payload, Source, View

T = TypeVar("T")
PIECE = 1 << 20  # bytes that are asked for at once, at most
SEEK_OVER = 1 << 12  # bytes that are rather read than passed over by seeking


@dataclass(frozen=True)
class Skip:
    """``size`` bytes have to be passed over, after the ``header_size`` of a skippable frame."""

    size: int
    header_size: int


Archives = Generator[int | Skip | Frame, Payload, None]


def parse_archives() -> Archives:
    """Archives one after the other, until the input ends between two.

    Yields a number of bytes that it is then sent, fewer only where the input ends; a ``Skip``; or a
    ``Frame``, whose payloads come before anything else it is sent. Raises CorruptDataError for a
    foreign file, a damaged header or a frame that lacks those before it, TruncatedError,
    UnsupportedVersionError.
    """
    before, begun = None, False
    while start := bytes((yield len(MAGIC))):
        if start == SKIPPABLE_MAGIC:
            fields = Fields(start)
            size = yield from parse_skippable(fields)
            yield Skip(size, len(fields.seen))
        elif start == MAGIC:
            frame = yield from parse_header(start)
            if before is not None and before.more and not frame.continues:
                raise TruncatedError("archive before another one ends early: frames are missing")
            if frame.continues and (before is None or not before.more):
                raise CorruptDataError("archive begins in the middle: frames before are missing")
            yield frame
            before = frame
        elif MAGIC.startswith(start) or SKIPPABLE_MAGIC.startswith(start):
            raise TruncatedError("archive ends in the middle of its signature")
        elif begun:
            raise CorruptDataError("trailing garbage after the last frame")
        else:
            raise CorruptDataError("not an nncodec archive (its signature is missing)")
        begun = True
    if before is None:
        what = "holds no frame but skippable ones" if begun else "is empty"
        raise TruncatedError(f"archive {what}: it ends before a frame begins")
    if before.more:
        raise TruncatedError("archive ends early: more frames should follow")


class FrameReader:
    """Iterates over the frames of a source; the caller reads or skips the payloads of each.

    Raises what ``parse_archives`` does. ``skipped_bytes`` counts those of skippable frames so far.
    """

    def __init__(self, source: Source) -> None:
        self.source, self.skipped_bytes = source, 0

    def __iter__(self) -> Iterator[Frame]:
        parse = parse_archives()
        try:
            request = next(parse)
            while True:
                data: Payload = b""
                if isinstance(request, Frame):
                    yield request
                elif isinstance(request, Skip):
                    skip(self.source, request.size)
                    self.skipped_bytes += request.header_size + request.size
                else:
                    data = read_up_to(self.source, request)
                request = parse.send(data)
        except StopIteration:
            return


def pull(parse: Parse[T], source: Source) -> T:
    """What ``parse`` makes of the next bytes of ``source``."""
    try:
        size = next(parse)
        while True:
            size = parse.send(read_up_to(source, size))
    except StopIteration as end:
        result: T = end.value
        return result


def each_frame(source: Source) -> Iterator[Frame]:
    """All frames, one after the other; the caller reads or skips the payloads of each.

    Raises what ``parse_archives`` does.
    """
    return iter(FrameReader(source))


def read_frame(source: Source) -> Frame:
    """The first frame; leaves ``source`` at its first payload. Raises as ``each_frame`` does."""
    return next(each_frame(source))


def read_frames(source: BinaryIO) -> list[Frame]:
    """All frame headers of a seekable archive; payloads are skipped, but checked to be there."""
    return list(skipping_payloads(source, each_frame(source)))


def skipping_payloads(source: BinaryIO, frames: Iterator[Frame]) -> Iterator[Frame]:
    """``frames`` of a seekable ``source``, which stands at each one's first payload meanwhile.

    Whoever is given a frame may move it. Raises TruncatedError if payloads are not there.
    """
    start = source.tell()
    end = source.seek(0, io.SEEK_END)
    source.seek(start)
    for frame in frames:
        behind = source.tell() + frame.payload_size
        if behind > end:
            raise TruncatedError(
                f"archive ends in the middle of a payload, {behind - end} bytes short"
            )
        yield frame
        source.seek(behind)


def read_up_to(source: Source, size: int) -> Payload:
    """``size`` bytes, or fewer at the end; a raw pipe gives them in small pieces.

    A false length costs no more than the data held.
    """
    data: Payload = source.read(min(size, PIECE) if not isinstance(source, View) else size)
    if len(data) == size or isinstance(source, View):
        return data
    pieces, left = [data], size - len(data)
    while left and (piece := source.read(min(left, PIECE))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def read_exactly(source: Source, size: int, what: str) -> Payload:
    """``size`` bytes. Raises TruncatedError, which says in the middle of ``what``."""
    data = read_up_to(source, size)
    if len(data) < size:
        raise truncated(what, size - len(data))
    return data


def truncated(what: str, left: int) -> TruncatedError:
    return TruncatedError(f"archive ends in the middle of {what}, {left} bytes short")


def skip(source: Source, size: int) -> None:
    """Pass over a skippable frame's bytes, by seeking where that is possible."""
    left = size
    if size > SEEK_OVER and not isinstance(source, View) and source.seekable():
        here = source.tell()
        left -= min(size, source.seek(0, io.SEEK_END) - here)
        source.seek(here + size - left)
    else:
        while left and (piece := source.read(min(left, PIECE))):
            left -= len(piece)
    if left:
        raise truncated("a skippable frame", left)


class Pieces:
    """Bytes that came in pieces of any size, given out in the sizes that are asked for.

    Every byte is copied at most twice, however small the pieces are.
    """

    def __init__(self) -> None:
        self.pieces: deque[memoryview] = deque()
        self.part = bytearray()  # of what was asked for and is not there yet

    def push(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data).cast("B")
        if len(view):
            self.pieces.append(view if isinstance(data, bytes) else memoryview(bytes(view)))

    def take(self, size: int) -> Payload | None:
        """``size`` bytes; None, and what there is stays, as long as they are not there."""
        if not self.part and self.pieces and len(self.pieces[0]) > size:
            return self.cut(size)  # a view: no copy
        while len(self.part) < size and self.pieces:
            self.part += self.cut(size - len(self.part))
        if len(self.part) < size:
            return None
        data = bytes(self.part)
        self.part.clear()
        return data

    def skip(self, size: int) -> int:
        """Drop ``size`` bytes, or as many as there are; returns how many."""
        done = 0
        while done < size and self.pieces:
            done += len(self.cut(size - done))
        return done

    def cut(self, size: int) -> memoryview:
        """At most ``size`` bytes, of the first piece."""
        piece = self.pieces.popleft()
        if len(piece) > size:
            self.pieces.appendleft(piece[size:])
        return piece[:size]

    def rest(self) -> bytes:
        """All that was not given out, which is gone then."""
        rest = b"".join((self.part, *self.pieces))
        self.part.clear()
        self.pieces.clear()
        return rest


class PushParser:
    """Archives whose bytes come in pieces: ``push`` some, then ``next`` until it gives None."""

    def __init__(self) -> None:
        self.pieces = Pieces()
        self.skipped_bytes = 0
        self._parse = parse_archives()
        self._request = next(self._parse)
        self._frame: Frame | None = None  # the last
        self._left = 0  # bytes to skip
        self._rows: Iterator[Block] = iter(())
        self._row: Block | None = None

    def push(self, data: bytes | bytearray | memoryview) -> None:
        self.pieces.push(data)

    def next(self) -> Frame | tuple[Block, Payload] | None:
        """A frame, then each of its blocks with its payload; None if more bytes are needed first.

        Raises what ``parse_archives`` does.
        """
        while True:
            if self._row is not None:
                payload = self.pieces.take(self._row.payload_size)
                if payload is None:
                    return None
                row, self._row = self._row, next(self._rows, None)
                return row, payload
            if self._left:
                self._left -= self.pieces.skip(self._left)
                if self._left:
                    return None
            request = self._request
            if isinstance(request, Frame):
                self._frame, self._rows = request, iter(request.blocks)
                self._row = next(self._rows, None)
                self._request = self._parse.send(b"")
                return request
            if isinstance(request, Skip):
                self._left = request.size
                self.skipped_bytes += request.header_size + request.size
                self._request = self._parse.send(b"")
                continue
            data = self.pieces.take(request)
            if data is None:
                return None
            self._request = self._parse.send(data)

    @property
    def archive_ended(self) -> bool:
        """Whether all of an archive was given out; what follows begins another one."""
        return self._frame is not None and not self._frame.more and self._row is None

    def finish(self) -> None:
        """No more bytes will come. Raises TruncatedError if there should."""
        if self._row is not None:
            raise truncated("a block", self._row.payload_size - len(self.pieces.rest()))
        if self._left:
            raise truncated("a skippable frame", self._left)
        try:
            self._parse.send(self.pieces.rest())
        except StopIteration:
            return
