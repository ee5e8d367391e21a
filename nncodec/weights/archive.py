"""An archive as a long array of bytes that is decoded where it is touched, and nowhere else.

Only the frames' headers and block tables are read at first. A block is the least that can be
decoded; those that were are kept, within a bound, the ones that were not used for longest go first.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO

from nncodec.api import load_coder
from nncodec.codec import decode_block, within
from nncodec.container import WITH_MODEL, Block, Kind
from nncodec.engine.native import usable_cores
from nncodec.errors import NNCodecError
from nncodec.lanes import Coder, no_progress
from nncodec.memory import Payload
from nncodec.parsing import each_frame, read_exactly, skipping_payloads
from nncodec.tensors.base import Base, check_base

CACHE_BYTES = 1 << 28
_engines = threading.Lock()  # an engine codes one block at a time, with threads of its own


@dataclass(frozen=True)
class Row:
    """A block, where its bytes lie in what the archive holds, and its payload in the archive."""

    block: Block
    model_id: bytes | None
    begin: int
    payload_at: int
    environment: bytes | None = None

    @property
    def end(self) -> int:
        return self.begin + self.block.size


def read_rows(source: BinaryIO, base: Base | None = None) -> Iterator[Row]:
    """All blocks of a seekable archive from where it stands; payloads are stepped over.

    Raises CorruptDataError, TruncatedError, UnsupportedVersionError; BaseFileError if deltas have
    another base.
    """
    begin = 0
    for frame in skipping_payloads(source, each_frame(source)):
        if frame.base_id:
            check_base(frame.base_id, base)
        at = source.tell()
        for block in frame.blocks:
            yield Row(block, frame.model_id, begin, at, frame.environment)
            begin, at = begin + block.size, at + block.payload_size


def coder_of(row: Row, threads: int | None) -> Coder | None:
    """The engine that the block was coded with, if it was with one. Raises ModelNotFoundError."""
    if row.block.kind == Kind.TOKENS and row.environment is not None:
        return within(row.environment, load_coder(row.model_id))
    if row.block.kind in WITH_MODEL:
        return load_coder(row.model_id, threads)
    return load_coder(None, threads) if row.block.kind == Kind.CONTEXTS else None


class ArchiveView:
    """``len(view)`` bytes; ``view[a:b]`` decodes the blocks that overlap them, side by side.

    ``cache_bytes`` bounds the decoded blocks that are kept, besides those that are in use. What
    was decoded so far is counted in ``decoded_blocks`` and ``decoded_bytes``. Safe to use from
    several threads. Reading raises CorruptDataError, TruncatedError, or ModelNotFoundError.
    """

    def __init__(
        self,
        source: BinaryIO,
        threads: int | None = None,
        cache_bytes: int = CACHE_BYTES,
        base: Base | None = None,
    ) -> None:
        self.source, self.cache_bytes, self.base = source, cache_bytes, base
        self.threads = threads or usable_cores()
        self.ahead = 0  # blocks that an index has begun besides those it needs
        self.rows = list(read_rows(source, base))
        self.begins = [row.begin for row in self.rows]
        self.decoded_blocks = self.decoded_bytes = 0
        self._pool = ThreadPoolExecutor(self.threads)
        self._lock = threading.Lock()  # of what follows, the source and the counts
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()

    def __len__(self) -> int:
        return self.rows[-1].end if self.rows else 0

    def __getitem__(self, at: int | slice, /) -> Any:
        """An int or bytes, as ``layout.Data`` has it.

        Not by ``typing.overload``: its registry would keep this module, and so the engines, beyond
        the interpreter's end.
        """
        if isinstance(at, int):
            if not 0 <= at < len(self):
                raise IndexError(f"byte {at} of {len(self)}")
            return self.read(at, at + 1)[0]
        begin, end, step = at.indices(len(self))
        if step != 1:
            raise ValueError("bytes of an archive are read one after the other: no steps")
        return bytes(self.read(begin, end, self.ahead))

    def overlapping(self, begin: int, end: int) -> range:
        """Numbers of the blocks that hold any of the bytes ``begin`` to ``end``."""
        if begin >= end:
            return range(0)
        return range(bisect_right(self.begins, begin) - 1, bisect_right(self.begins, end - 1))

    def read(self, begin: int, end: int, ahead: int = 0) -> bytearray:
        """Bytes ``begin`` to ``end``, both inside. ``ahead`` more blocks are begun, for later."""
        out = bytearray()  # grows with what was decoded, not with what a header promises
        needed = self.overlapping(begin, end)
        last = min(needed.stop + ahead, len(self.rows))
        for number in needed:
            window = range(number, min(number + self.threads, last))
            with self._lock:
                futures = [self._start(n) for n in window]
            data, row = futures[0].result(), self.rows[number]
            out += memoryview(data)[max(0, begin - row.begin) : end - row.begin]
            self._forget(window[1:])
        return out

    def _start(self, number: int) -> Future[bytes]:
        """The block's bytes, now or soon. The lock is held."""
        future = self._blocks.get(number)
        if future is None or (future.done() and future.exception()):
            row = self.rows[number]
            self.source.seek(row.payload_at)
            payload = read_exactly(self.source, row.block.payload_size, "a block")
            future = self._blocks[number] = self._pool.submit(self._decode, number, payload)
            self.decoded_blocks += 1
            self.decoded_bytes += row.block.size
        self._blocks.move_to_end(number)
        return future

    def _decode(self, number: int, payload: Payload) -> bytes:
        row = self.rows[number]
        try:
            coder = coder_of(row, self.threads)
            if coder is None:
                return decode_block(row.block, payload, None, no_progress, self.base)
            with _engines:
                return decode_block(row.block, payload, coder, no_progress)
        except NNCodecError as error:
            error.args = (
                f"block {number} of {len(self.rows)}, bytes {row.begin} to {row.end}: {error}",
            )
            raise

    def _forget(self, wanted: range) -> None:
        """Let blocks go that are too many; not the next ones, or one that is being decoded."""
        with self._lock:
            kept = sum(self.rows[n].block.size for n in self._blocks)
            for number, future in list(self._blocks.items()):
                if kept <= self.cache_bytes:
                    break
                if future.done() and number not in wanted:
                    del self._blocks[number]
                    kept -= self.rows[number].block.size

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._blocks.clear()
        self.source.close()
