"""The blocks of a packed archive, read and decoded where they are asked for.

A block costs a read of the frame that it is in, which is small if it holds small members, and its
decoding; what was read and decoded last is kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from nncodec.api import CoderFinder
from nncodec.container import MAGIC, Frame
from nncodec.decoding import CodedBlock, Decode, FrameDecoder
from nncodec.errors import CorruptDataError
from nncodec.header import parse_header
from nncodec.limits import Limits
from nncodec.memory import View
from nncodec.pack.index import Columns
from nncodec.pack.readat import ReadAt
from nncodec.pack.recent import Recent
from nncodec.parsing import pull

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


class BlockReader:
    """Of an archive that begins at ``start`` of ``source``; safe to use from several threads.

    ``contents`` are where in the content frames begin, and its end. ``blocks_decoded`` counts.
    """

    def __init__(
        self,
        source: BinaryIO,
        columns: Columns,
        start: int,
        find_coder: CoderFinder,
        limits: Limits,
    ) -> None:
        self._bytes, self._columns, self._start = ReadAt(source), columns, start
        self.find_coder, self.limits = find_coder, limits
        self.contents = ends_of(columns.content_sizes)
        self._turn = threading.Lock()  # of a network
        self.blocks_decoded = 0
        self._lock = threading.Lock()  # of what follows
        self._blocks: Recent[bytes] = Recent()
        self._frames: OrderedDict[int, Frame] = OrderedDict()
        self._payloads: OrderedDict[int, bytes] = OrderedDict()

    def walk(self, extents: Sequence[tuple[int, int]]) -> Iterator[Span]:
        """The blocks that extents lie in, in order. Raises CorruptDataError, TruncatedError."""
        for start, size in extents:
            begin, end = start, start + size
            number = int(np.searchsorted(self.contents, begin, "right")) - 1
            while begin < end:
                frame, first = self._frame(number), int(self.contents[number])
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
        return decoder.coded(frame, row, self._payload(number, frame, block), shares)

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

    def block(self, span: Span) -> bytes:
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


def ends_of(counts: Any) -> Any:
    """(n,) counts -> (n + 1,) sums of those before: where each begins, and the end."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(counts.astype(np.int64))))
