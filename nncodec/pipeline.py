"""From planned pieces of data to frames: items for workers, and frames of what comes back.

Items are handed out ahead of the frame that is being put together, over the bounds of frames and
pieces, so that every worker has work; what comes back is in order, so the archive never depends on
who did it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nncodec.blocks import Bytes
from nncodec.container import Block
from nncodec.errors import NNCodecError
from nncodec.frames import Coded, join_parts
from nncodec.lanes import Progress, no_progress
from nncodec.memory import Payload
from nncodec.parallel import Stoppable, Workers
from nncodec.tasks import BlockOfBytes, ChunkOfDeltas, ChunkOfTensors, Encode, Encoded, EncodeItem
from nncodec.tensors.base import Base
from nncodec.tensors.chunks import Part
from nncodec.tensors.delta import DeltaPart, base_bytes

if TYPE_CHECKING:
    from nncodec.codec import Codec


@dataclass(frozen=True)
class Piece:
    """(n,) ``data`` and the parts that cover it, in order.

    Where one is a delta every frame names its ``base``, so that decoders miss it at once.
    """

    data: Bytes
    parts: Sequence[Part | DeltaPart]
    base: Base | None = None

    @property
    def base_id(self) -> bytes | None:
        deltas = any(isinstance(part, DeltaPart) for part in self.parts)
        return self.base.id if self.base and deltas else None


class Pipeline:
    """Codes pieces with a codec and workers; ``progress`` hears of bytes as they are coded."""

    def __init__(self, codec: Codec, workers: Workers, progress: Progress) -> None:
        self.codec, self.workers, self.report = codec, workers, Stoppable(progress)
        self.ahead: deque[Piece] = deque()  # of which items were handed out
        self.handed: deque[EncodeItem] = deque()  # whose results were not taken yet

    def frames(self, pieces: Iterable[Piece]) -> Iterator[Coded]:
        """The frames of all pieces. A piece without bytes has one, without blocks."""
        try:
            with closing(self.workers.map_ordered(self.task(), self.items(pieces))) as mapped:
                results = Results(mapped)
                while self.ahead or results.look() or self.ahead:
                    piece = self.ahead.popleft()
                    parts = self.coded_parts(piece, results)
                    yield from join_parts(piece.data, parts, piece.base_id, self.codec.block_size)
        finally:
            self.report.stop()

    def task(self) -> Encode:
        if self.workers.shares:
            return Encode(self.codec, self.report)
        if self.codec.recipe is None:
            raise NNCodecError("this codec was put together by hand: its workers have to share it")
        return Encode(self.codec.recipe, self.report if self.workers.local else no_progress)

    def items(self, pieces: Iterable[Piece]) -> Iterator[EncodeItem]:
        for piece in pieces:
            self.ahead.append(piece)
            for part in piece.parts:
                for item in self.items_of(piece, part):
                    self.handed.append(item)
                    yield item

    def items_of(self, piece: Piece, part: Part | DeltaPart) -> Iterator[EncodeItem]:
        data = piece.data[part.begin : part.end]
        if isinstance(part, DeltaPart):
            assert piece.base
            old = base_bytes(part.items, piece.base)
            yield ChunkOfDeltas(data, part.items, old, piece.base.id)
        elif items := self.codec.items_of(part, len(piece.data)):
            yield ChunkOfTensors(data, items, self.codec.tensors, piece.base_id)
        else:
            size = self.codec.most_of_a_block
            for begin in range(0, len(data), size):
                yield BlockOfBytes(data[begin : begin + size])

    def coded_parts(
        self, piece: Piece, results: Results
    ) -> Iterator[tuple[Part | DeltaPart, Coded | None]]:
        """The parts of a piece, each with its frame."""
        for part in piece.parts:
            size = part.end - part.begin
            if isinstance(part, DeltaPart) or self.codec.items_of(part, len(piece.data)):
                _, frame = self.take(results)
                assert frame is None or isinstance(frame, Coded)
                yield part, frame
                continue
            blocks: list[tuple[Block, Payload]] = []
            while size:
                item, block = self.take(results)
                assert isinstance(block, tuple)
                row, payload = block
                blocks.append((row, item.data.data if payload is None else payload))
                size -= item.size
            yield part, self.codec.frame_of(part.end - part.begin, blocks, piece.base_id)

    def take(self, results: Results) -> tuple[EncodeItem, Encoded]:
        """An item and its result, reported if workers could not."""
        result, item = results.take(), self.handed.popleft()
        if not self.workers.local:
            self.report(item.size)
        return item, result


class Results:
    """Results in order, one of which may have been looked for before it is taken."""

    def __init__(self, results: Iterator[Encoded]) -> None:
        self.results = results
        self.waiting: deque[Encoded] = deque()

    def look(self) -> bool:
        """Wait for another, if there is one: by then the piece that it belongs to is known."""
        for result in self.results:
            self.waiting.append(result)
            return True
        return False

    def take(self) -> Encoded:
        return self.waiting.popleft() if self.waiting else next(self.results)
