"""An archive as a long array of bytes that is decoded where it is touched, and nowhere else.

Only the frames' headers and block tables are read at first. A block is the least that can be
decoded; those that were are kept, within a bound, the ones that were not used for longest go first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO

from nncodec.api import load_coder
from nncodec.container import WITH_MODEL, Kind
from nncodec.decoding import decode_block, old_bytes, within
from nncodec.engine.native import usable_cores
from nncodec.errors import NNCodecError
from nncodec.lanes import Coder, no_progress
from nncodec.memory import Payload
from nncodec.parsing import read_exactly
from nncodec.reader import BlockIndex, Row
from nncodec.tensors.base import Base

CACHE_BYTES = 1 << 28
_engines = threading.Lock()  # an engine codes one block at a time, with threads of its own


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
        self.rows = BlockIndex(source, base)
        self.decoded_blocks = self.decoded_bytes = 0
        self._pool = ThreadPoolExecutor(self.threads)
        self._lock = threading.Lock()  # of what follows, the source and the counts
        self._blocks: OrderedDict[int, Future[bytes]] = OrderedDict()

    def __len__(self) -> int:
        return self.rows.size

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

    def read(self, begin: int, end: int, ahead: int = 0) -> bytearray:
        """Bytes ``begin`` to ``end``, both inside. ``ahead`` more blocks are begun, for later."""
        out = bytearray()  # grows with what was decoded, not with what a header promises
        needed = self.rows.overlapping(begin, end)
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
                old = old_bytes(row.block, self.base)
                return decode_block(row.block, payload, None, no_progress, old)
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
            kept = sum(self.rows.size_of(n) for n in self._blocks)
            for number, future in list(self._blocks.items()):
                if kept <= self.cache_bytes:
                    break
                if future.done() and number not in wanted:
                    del self._blocks[number]
                    kept -= self.rows.size_of(number)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._blocks.clear()
        self.source.close()
