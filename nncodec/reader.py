"""Random access: the bytes of any range, by decoding the blocks that hold it and no others.

The headers are read once, payloads are seeked over. An archive may have a million blocks, so what
is kept of each is its row of the block table as it was written and three integers; the row is
parsed again when the block is touched.
"""

from __future__ import annotations

import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from nncodec.container import Block, Frame
from nncodec.decoding import FindCoder, FrameDecoder
from nncodec.header import Fields, parse_block
from nncodec.limits import NO_LIMITS, Limits
from nncodec.memory import View
from nncodec.parsing import FrameReader, pull, read_exactly, skipping_payloads
from nncodec.tensors.base import Base, check_base


@dataclass(frozen=True)
class Row:
    """A block, where its bytes lie in what the archive holds, and its payload in the archive."""

    block: Block
    begin: int
    payload_at: int
    model_id: bytes | None = None
    base_id: bytes | None = None
    environment: bytes | None = None

    @property
    def end(self) -> int:
        return self.begin + self.block.size


class BlockIndex:
    """All blocks of a seekable ``source``, from where it stands; ``index[number]`` is a ``Row``.

    Raises CorruptDataError, TruncatedError, UnsupportedVersionError; BaseFileError if deltas have
    another base.
    """

    def __init__(self, source: BinaryIO, base: Base | None = None) -> None:
        self.size = 0  # bytes of all blocks
        self.begins, self._payloads = array("Q"), array("Q")
        self._table, self._rows = bytearray(), array("Q")  # rows as written; where each begins
        self._firsts, self._named = (
            array("Q"),
            array("L"),
        )  # of each frame: block, and what it names
        self._names: dict[tuple[bytes | None, bytes | None, bytes | None], int] = {}
        reader = FrameReader(source)
        for frame in skipping_payloads(source, iter(reader)):
            if frame.base_id:
                check_base(frame.base_id, base)
            self._add(frame, source.tell())
        self.skipped_bytes = reader.skipped_bytes
        self._names_of = list(self._names)

    def _add(self, frame: Frame, payload_at: int) -> None:
        if not frame.blocks:
            return
        names = frame.model_id, frame.base_id, frame.environment
        self._firsts.append(len(self.begins))
        self._named.append(self._names.setdefault(names, len(self._names)))
        for block in frame.blocks:
            self.begins.append(self.size)
            self._payloads.append(payload_at)
            self._rows.append(len(self._table))
            self._table += block.pack()
            self.size += block.size
            payload_at += block.payload_size

    def __len__(self) -> int:
        return len(self.begins)

    def __getitem__(self, number: int) -> Row:
        if not 0 <= number < len(self):
            raise IndexError(f"block {number} of {len(self)}")
        stop = self._rows[number + 1] if number + 1 < len(self) else len(self._table)
        written = View(memoryview(self._table[self._rows[number] : stop]))
        block = pull(parse_block(Fields(b""), self.size_of(number)), written)
        places = self.begins[number], self._payloads[number]
        frame = bisect_right(self._firsts, number) - 1
        return Row(block, *places, *self._names_of[self._named[frame]])

    def size_of(self, number: int) -> int:
        """Bytes of a block."""
        end = self.begins[number + 1] if number + 1 < len(self) else self.size
        return end - self.begins[number]

    def overlapping(self, begin: int, end: int) -> range:
        """Numbers of the blocks that hold any of the bytes ``begin`` to ``end``."""
        if begin >= end:
            return range(0)
        return range(bisect_right(self.begins, begin) - 1, bisect_right(self.begins, end - 1))


class ArchiveReader:
    """``size`` bytes of one archive or several concatenated ones, decoded where they are asked for.

    ``source`` is seekable, and read from where it stands. The block that was decoded last is kept.
    ``blocks_decoded`` counts how many were. Safe to use from several threads, one after the other.
    Raises what ``BlockIndex`` does, and LimitError if all of it exceeds a ``max_output_size``.
    """

    def __init__(
        self,
        source: BinaryIO,
        find_coder: FindCoder,
        *,
        base: Base | None = None,
        limits: Limits = NO_LIMITS,
    ) -> None:
        self.source, self.index = source, BlockIndex(source, base)
        self.size, self.blocks_decoded = self.index.size, 0
        limits.check_output(self.size)
        self._decoder = FrameDecoder(find_coder, base, limits)
        self._lock = threading.Lock()  # of what follows, the source and the decoder
        self._kept: tuple[int, bytes] = -1, b""

    def read_range(self, begin: int, end: int) -> bytes:
        """The bytes ``begin`` to ``end``, or those of them that there are.

        Raises ValueError for a negative position, and as ``pieces``.
        """
        return b"".join(self.pieces(begin, end))

    def pieces(self, begin: int, end: int) -> Iterator[memoryview]:
        """The same block by block.

        Raises CorruptDataError, TruncatedError, EnvironmentMismatchError, BaseFileError,
        ModelNotFoundError or LimitError before anything of the block that it is about.
        """
        if begin < 0 or end < 0:
            raise ValueError(f"bytes {begin} to {end}: positions are counted from the beginning")
        for number in self.index.overlapping(begin, min(end, self.size)):
            at = self.index.begins[number]
            with self._lock:
                data = self._decode(number)
            yield memoryview(data)[max(begin - at, 0) : end - at]

    def _decode(self, number: int) -> bytes:
        if self._kept[0] == number:
            return self._kept[1]
        self._kept = -1, b""  # so that only one is held
        row, decoder = self.index[number], self._decoder
        decoder.limits.check_memory(row.block)
        decoder.enter(row.model_id, row.base_id, row.environment)
        decoder.check(row.block)
        self.source.seek(row.payload_at)
        if expect := getattr(self.source, "expect", None):  # of a remote file: all at once
            expect(row.payload_at, row.payload_at + row.block.payload_size)
        payload = read_exactly(self.source, row.block.payload_size, "a block")
        data = decoder.decode(row.block, payload)
        self.blocks_decoded += 1
        self._kept = number, data
        return data
