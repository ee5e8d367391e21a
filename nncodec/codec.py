"""Read this first: the whole way from bytes to an archive; ``decoding`` is the way back.

    bytes -> blocks -> transform, where one pays
          -> lanes -> engine (counts of the next byte)
          -> mixer (bit by bit, with context models) -> range coder -> container

Stage modules (``transforms``, ``engine``, ``coder``, ``container``) do not call each other; this
one and ``lanes`` wire them. ``container`` names transforms and geometries, no more.
``csrc/block_coder.cc`` is ``lanes`` for the native engine, in C++.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from typing import BinaryIO

import numpy as np

from nncodec._core import ByteStore, xxh64
from nncodec.blocks import (
    BLOCK_SIZE,
    DEFAULT_LANES,
    DEFAULT_TABLE_BITS,
    LANE_BYTES,
    Bytes,
    Geometry,
    check_block_size,
    lane_geometry,
)
from nncodec.container import (
    MODEL_ID_BYTES,
    WITH_MODEL,
    Block,
    Frame,
    Kind,
)
from nncodec.density import Density, dense_sample, density
from nncodec.engine.native import choose_isa
from nncodec.errors import NNCodecError
from nncodec.frames import Coded, chain
from nncodec.lanes import Coder, Progress, no_progress
from nncodec.memory import Payload
from nncodec.parallel import Workers, sharing
from nncodec.parsing import PIECE
from nncodec.pipeline import Piece, Pipeline
from nncodec.recipes import Recipe
from nncodec.tensors.base import Base
from nncodec.tensors.chunks import Part, plan
from nncodec.tensors.delta import plan_deltas
from nncodec.tensors.items import Item
from nncodec.tensors.spans import Span, find_spans
from nncodec.transforms import Transform, apply, candidates, undo, x86_sample

CODED_FIELDS = MODEL_ID_BYTES + 3  # what a coded block adds to the header, at least
SAMPLE_BYTES, REGULAR = 1 << 17, 5  # regular: five times smaller by context models alone
ESCAPES_PCT = 10  # that escapes must shorten a block by: else it is hardly text in another script
X86_GAIN = 200  # one part in so many of a sample's payload: less may be chance
DENSE_BLOCK = 1 << 18  # bytes; smaller blocks are soon coded
DENSE_PCT = 2  # that context models must gain of a dense sample
LITTLE = 1 << 10  # one part in so many; tensors are coded some thousand times as fast as bytes
FRAME_BLOCKS = 4  # of the default size a frame: what compressing a stream holds in memory


class Codec:
    """A model's engine and the id that archives name it by; or no model, but context models alone.

    ``lanes`` and ``table_bits`` bound the geometry of blocks; 0 bits: the network's counts are
    coded as they are. ``tensors`` is "max" (small) or "fast".
    """

    environment: bytes | None = None  # of float arithmetic, which blocks of tokens may depend on
    block_size: int | None = None  # of bytes that are no tensors; None: as large as they may be
    workers: Workers | None = None  # None: threads of its own, for as long as they have work
    recipe: Recipe[Codec] | None = None  # how others come to the same codec

    def __init__(
        self,
        coder: Coder,
        model_id: bytes | None,
        lanes: int = DEFAULT_LANES,
        table_bits: int = DEFAULT_TABLE_BITS,
        contexts: Coder | None = None,
        lane_bytes: int = LANE_BYTES,
        threads: int = 1,
        tensors: str = "max",
    ) -> None:
        self.coder, self.model_id, self.threads, self.tensors = coder, model_id, threads, tensors
        self.turn = threading.Lock()  # of the network's blocks, whose lanes take all threads
        self.lanes, self.table_bits, self.lane_bytes = lanes, table_bits, lane_bytes
        # Context models need a table, so a codec without one has none.
        self.contexts = (coder if model_id is None else contexts) if table_bits else None

    def with_block_size(self, size: int | None) -> Codec:
        """The same with blocks of ``size`` bytes, None: 16 MiB. Raises NNCodecError for others.

        Smaller blocks are decoded alone sooner, and each begins without what others knew.
        """
        check_block_size(size)
        other = copy(self)
        other.block_size = size
        return other

    def compress(
        self, data: Bytes, progress: Progress = no_progress, base: Base | None = None
    ) -> bytes:
        """The archive of (n,) ``data``, the same as ``compress_stream`` makes of it."""
        out = ByteStore(len(data))
        for piece in self.encode(data, progress, base):
            out.write(piece)
        return out.take()

    @property
    def most_of_a_block(self) -> int:
        """Bytes of every block but the last one of a frame."""
        return self.block_size or BLOCK_SIZE

    def with_workers(self, workers: Workers | None) -> Codec:
        """The same with blocks coded by others; None: in threads of its own. To the same bytes."""
        other = copy(self)
        other.workers = workers
        return other

    def encode(
        self,
        data: Bytes,
        progress: Progress = no_progress,
        base: Base | None = None,
        spans: list[Span] | None = None,
    ) -> Iterator[bytes | memoryview]:
        """The archive of (n,) ``data``, piece by piece; ``spans`` are its tensors, if known.

        A file of tensors, or with a ``base``, is planned as a whole; of anything else every frame
        holds what ``frame_bytes`` says, as of a stream.
        """
        spans = find_spans(data.data) if spans is None else spans
        if base is not None or len(data) <= frame_bytes() or spans:
            return chain(self.frames([self.planned(data, spans, base)], progress))
        starts = range(0, len(data), frame_bytes())
        return self.encode_pieces((data[at : at + frame_bytes()] for at in starts), progress)

    def encode_pieces(
        self,
        pieces: Iterable[Bytes],
        progress: Progress = no_progress,
        *,
        continues: bool = False,
        more: bool = False,
    ) -> Iterator[bytes | memoryview]:
        """The archive of (n,) pieces one after the other, each of which begins a frame.

        They are taken when there is room for them, ahead of those that are coded. ``continues`` and
        ``more`` are whether others come before and after.
        """
        planned = (self.planned(data, find_spans(data.data)) for data in pieces)
        return chain(self.frames(planned, progress), continues=continues, more=more)

    def planned(self, data: Bytes, spans: list[Span], base: Base | None = None) -> Piece:
        if base is None:
            return Piece(data, plan(spans, data))
        return Piece(data, plan_deltas(data, spans, base, choose_isa(), self.threads), base)

    def frames(self, pieces: Iterable[Piece], progress: Progress = no_progress) -> Iterator[Coded]:
        """The frames of planned pieces, to be chained."""
        if self.workers is not None:
            yield from Pipeline(self, self.workers, progress).frames(pieces)
            return
        with sharing(self.threads) as workers:
            yield from Pipeline(self, workers, progress).frames(pieces)

    def items_of(self, part: Part, whole: int) -> tuple[Item, ...]:
        """What a part of a file of ``whole`` bytes is coded as; empty: as bytes like any others.

        Fast, a little of a large file is an item itself: context models, which would make a header
        some times smaller, would take as long for it as all tensors do.
        """
        size = part.end - part.begin
        if part.items or self.tensors != "fast" or not 0 < size * LITTLE <= whole:
            return part.items
        return (Item(None, 0, 1, size),)

    def encode_frame(self, data: Bytes, progress: Progress = no_progress) -> Coded:
        """One frame that holds all of (n,) ``data``, as bytes like any others."""
        size = self.most_of_a_block
        pieces = (data[at : at + size] for at in range(0, len(data), size))
        return self.frame_of(len(data), [self.encode_block(piece, progress) for piece in pieces])

    def frame_of(
        self, size: int, blocks: Sequence[tuple[Block, Payload]], base_id: bytes | None = None
    ) -> Coded:
        """A frame of ``size`` bytes from its rows and payloads."""
        rows = tuple(row for row, _ in blocks)
        coded = any(row.kind in WITH_MODEL for row in rows)
        block_size = min(self.most_of_a_block, size)
        model_id = self.model_id if coded else None
        tokens = any(row.kind == Kind.TOKENS for row in rows)
        environment = self.environment if tokens else None
        frame = Frame(size, block_size, rows, model_id, base_id, environment=environment)
        return Coded(frame, tuple(payload for _, payload in blocks))

    def compress_stream(
        self,
        source: BinaryIO,
        sink: BinaryIO,
        progress: Progress = no_progress,
        base: Base | None = None,
    ) -> tuple[int, int]:
        """Compress until ``source`` ends, a few blocks a frame; returns (bytes in, bytes out).

        With a ``base``, a pipe is read whole.
        """
        total = written = 0
        whole = mapped(source)
        before = os.fstat(source.fileno()) if whole is not None else None
        spans = find_spans(memoryview(whole)) if whole is not None else None
        if base is not None or spans:
            data = np.frombuffer(source.read() if whole is None else whole, dtype=np.uint8)
            for piece in self.encode(data, progress, base, spans):
                sink.write(piece)
                written += len(piece)
            if before is not None:
                check_unchanged(before, os.fstat(source.fileno()))
            return len(data), written

        def pieces() -> Iterator[Bytes]:
            nonlocal total
            while len(data := read_array(source, frame_bytes())) or not total:
                yield data
                total += len(data)
                if not len(data):
                    return

        for packed in self.encode_pieces(pieces(), progress):
            sink.write(packed)
            written += len(packed)
        return total, written

    def encode_block(self, data: Bytes, progress: Progress) -> tuple[Block, Payload]:
        """The smallest of the block kinds, with its payload. Reports len(data) bytes in all."""
        checksum = xxh64(data)
        if (data == data[0]).all():
            progress(len(data))
            return Block(Kind.CONSTANT, len(data), 1, checksum), data[:1].tobytes()
        judged = self.judge(data)
        transform, coded = self.choose_transform(data, judged)
        network = judged == Density.PLAIN and self.model_id is not None
        tries = []
        if judged != Density.RANDOM and self.contexts and self.alone_may_win(coded, judged):
            heard = (lambda _count: progress(0)) if network else progress
            tries.append(self.try_coder(coded, Kind.CONTEXTS, self.contexts, 1, heard))
        if network:
            kind = Kind.MIXED if self.table_bits else Kind.CODED
            with self.turn:
                tries.append(self.try_coder(coded, kind, self.coder, self.lanes, progress))
        progress(len(data) - (len(coded) if tries else 0))
        for kind, geometry, payload in sorted(tries, key=lambda t: len(t[2])):
            if len(payload) + CODED_FIELDS < len(data):
                sizes = len(data), len(payload)
                shorter = len(coded) if transform else 0
                return Block(kind, *sizes, checksum, geometry, transform, shorter), payload
        return Block(Kind.STORED, len(data), len(data), checksum), data.data  # no copy

    def judge(self, data: Bytes) -> Density:
        """Its density; a large dense block of which context models gain little counts as random."""
        judged = density(data)
        if judged == Density.DENSE and len(data) >= DENSE_BLOCK and self.contexts:
            sample = dense_sample(data)
            if self.sample_size(sample) * 100 > len(sample) * (100 - DENSE_PCT):
                return Density.RANDOM
        return judged

    def choose_transform(self, data: Bytes, judged: Density) -> tuple[Transform, Bytes]:
        """The transform that pays, if any does, and what it makes of (n,) ``data``."""
        for transform in candidates(data) if judged != Density.RANDOM else ():
            if transform == Transform.X86 and not self.x86_pays(data):
                continue
            coded = apply(transform, data)
            if transform != Transform.X86 and len(coded) * 100 > len(data) * (100 - ESCAPES_PCT):
                continue
            if np.array_equal(undo(transform, coded, len(data)), data):
                return transform, coded
        return Transform.NONE, data

    def x86_pays(self, data: Bytes) -> bool:
        """Whether context models alone code a sample better with it.

        Many targets are no proof: in a picture they are chance, and would only be scrambled.
        """
        if not self.contexts:
            return False
        sample = x86_sample(data, SAMPLE_BYTES // 2)
        before = self.sample_size(sample)
        return (before - self.sample_size(apply(Transform.X86, sample))) * X86_GAIN > before

    def try_coder(
        self, data: Bytes, kind: Kind, coder: Coder, lanes: int, progress: Progress
    ) -> tuple[Kind, Geometry, bytes]:
        geometry = lane_geometry(len(data), lanes, self.table_bits, self.lane_bytes)
        return kind, geometry, coder.encode(data, geometry, progress)

    def alone_may_win(self, data: Bytes, judged: Density) -> bool:
        """Whether context models alone, in one lane, could be smaller than both in several.

        Lanes learn side by side what one after the other would know already; in regular data, which
        a sample tells, that can cost more than the network gains. And the network has nothing to
        say about dense data.
        """
        if self.model_id is None or judged != Density.PLAIN:
            return True
        if not self.contexts:
            return False
        sample = data[:SAMPLE_BYTES]
        return self.sample_size(sample) * REGULAR < len(sample)

    def sample_size(self, sample: Bytes) -> int:
        """Bytes that context models alone make of it."""
        assert self.contexts
        geometry = lane_geometry(len(sample), 1, self.table_bits)
        return len(self.contexts.encode(sample, geometry, no_progress))


def frame_bytes() -> int:
    """Bytes of a stream that share a frame, and that a compressor holds."""
    return FRAME_BLOCKS * BLOCK_SIZE


class StreamEncoder:
    """Pieces of any size in, pieces of an archive out, which are those of the whole.

    Holds what one frame does, and begins to code it once it knows whether more follows.
    """

    def __init__(self, codec: Codec, progress: Progress = no_progress) -> None:
        self.codec, self.progress = codec, progress
        self.held = bytearray()
        self.continues = False

    def write(self, data: bytes | bytearray | memoryview) -> Iterator[bytes | memoryview]:
        """What is complete with ``data``; to be run to its end."""
        left = memoryview(data).cast("B")
        while len(left):
            if len(self.held) == frame_bytes():
                yield from self.frame(more=True)
            room = frame_bytes() - len(self.held)
            self.held += left[:room]
            left = left[room:]

    def finish(self) -> Iterator[bytes | memoryview]:
        """The rest of the archive."""
        return self.frame(more=False)

    def frame(self, more: bool) -> Iterator[bytes | memoryview]:
        data, self.held = np.frombuffer(self.held, dtype=np.uint8), bytearray()
        continues, self.continues = self.continues, True
        return self.codec.encode_pieces([data], self.progress, continues=continues, more=more)


def read_array(source: BinaryIO, size: int) -> Bytes:
    """The next ``size`` bytes, or as many as are left; a pipe gives them in small pieces."""
    data = bytearray()
    while len(data) < size and (piece := source.read(min(PIECE, size - len(data)))):
        data += piece
    return np.frombuffer(data, dtype=np.uint8)


def check_unchanged(before: os.stat_result, after: os.stat_result) -> None:
    """Of a file that was coded where it lies. Raises NNCodecError if it was written to."""
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise NNCodecError("changed while it was read; compress it when nothing writes to it")


def mapped(source: BinaryIO) -> mmap.mmap | None:
    """A regular file from its beginning on, without reading it; None for pipes and the like."""
    try:
        at_start = source.tell() == 0
        return mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) if at_start else None
    except (OSError, ValueError):  # no descriptor, no position, or nothing in it
        return None
