"""From archives back to bytes: ``codec``'s inverse, block by block, each verified."""

from __future__ import annotations

import os
import select
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace

import numpy as np

from nncodec._core import ByteStore, PayloadError, xxh64
from nncodec.blocks import Bytes
from nncodec.container import WITH_ITEMS, WITH_MODEL, Block, Frame, Kind
from nncodec.engine.native import choose_isa
from nncodec.errors import CorruptDataError, NNCodecError
from nncodec.lanes import Coder, FloatCoder, Progress, no_progress
from nncodec.limits import NO_LIMITS, Limits
from nncodec.memory import Payload, Sink, Source
from nncodec.parallel import Stoppable, Workers, sharing
from nncodec.parsing import FrameReader, read_exactly
from nncodec.recipes import Recipe
from nncodec.tensors.base import Base, check_base
from nncodec.tensors.coder import decode_fields, decode_fields_into, decode_tensors
from nncodec.tensors.delta import base_bytes
from nncodec.tensors.delta_coder import decode_deltas
from nncodec.transforms import undo

FindCoder = Callable[[bytes | None], Coder]


class FrameDecoder:
    """Decodes the blocks of one frame after the other, within limits.

    ``find_coder`` maps a model id to its engine, None to context models. ``base`` is what deltas
    were made against.
    """

    def __init__(
        self,
        find_coder: FindCoder,
        base: Base | None = None,
        limits: Limits = NO_LIMITS,
    ) -> None:
        self.find_coder, self.base, self.limits = find_coder, base, limits
        self.promised = 0  # bytes, by the frames so far
        self.coder: Coder | None = None

    def begin(self, frame: Frame) -> None:
        """Make ready for a frame's blocks, before any of their bytes are looked at.

        Raises LimitError, BaseFileError, EnvironmentMismatchError, or what ``find_coder`` does.
        """
        self.promised += frame.total
        self.limits.check_output(self.promised)
        limited = frame.blocks if self.limits.max_memory is not None else ()
        for row in limited:
            self.limits.check_memory(row)  # before a model is loaded
        self.enter(frame.model_id, frame.base_id, frame.environment)
        for row in limited:
            self.check(row)

    def enter(
        self, model_id: bytes | None, base_id: bytes | None, environment: bytes | None
    ) -> None:
        """Blocks of a frame that names these follow. Raises as ``begin``, but for its output."""
        if base_id:
            check_base(base_id, self.base)
        coder = self.find_coder(model_id) if model_id else None
        self.coder = coder if environment is None else within(environment, coder)

    def check(self, row: Block) -> None:
        """Raises LimitError if decoding the block with its model takes too much memory."""
        model = self.coder if row.kind in WITH_MODEL else None
        self.limits.check_memory(row, getattr(model, "state_bytes", 0))

    def decode(self, row: Block, payload: Payload) -> bytes:
        """The block's bytes, verified. Raises CorruptDataError."""
        coder = self.find_coder(None) if row.kind == Kind.CONTEXTS else self.coder
        return decode_block(row, payload, coder, no_progress, old_bytes(row, self.base))

    def coded(self, frame: Frame, row: Block, payload: Payload, shares: bool) -> CodedBlock:
        """A block of the ``frame`` that was entered, for workers; ``shares``: this coder."""
        named = frame if row.kind in WITH_MODEL else None
        return CodedBlock(
            row,
            payload,
            named.model_id if named else None,
            named.environment if named else None,
            old_bytes(row, self.base),
            coder=self.coder if shares and named else None,
        )


@dataclass(frozen=True)
class CodedBlock:
    """A block as any worker can decode it. ``old``: the bytes of the base that it differs from.

    ``at`` is where its bytes belong in a store, if it is decoded there; ``coder`` is that of
    whoever shares one, else the names say what to load.
    """

    row: Block
    payload: Payload
    model_id: bytes | None = None
    environment: bytes | None = None
    old: Bytes | None = None
    at: int | None = None
    coder: Coder | None = None


@dataclass(frozen=True)
class Decode:
    """What workers call with a block; gives its bytes, or their number if they went to ``store``.

    ``turn`` is held for networks that are shared, as the lanes of one block take all threads.
    """

    find: FindCoder | Recipe[FindCoder]
    progress: Progress = no_progress
    store: ByteStore | None = None
    turn: threading.Lock | None = None

    def __call__(self, block: CodedBlock) -> bytes | int:
        row = block.row
        with self.turn if self.turn and row.kind in WITH_MODEL else nullcontext():
            if block.at is None or self.store is None:
                return decode_block(row, block.payload, self.coder(block), self.progress, block.old)
            return self.into(self.store, block.at, block)

    def into(self, store: ByteStore, at: int, block: CodedBlock) -> int:
        row = block.row
        if row.kind == Kind.FIELDS:
            decode_fields_in_place(row, block.payload, store, at)
            self.progress(row.size)
        else:
            coder = self.coder(block)
            store.put(at, decode_block(row, block.payload, coder, self.progress, block.old))
        return row.size

    def coder(self, block: CodedBlock) -> Coder | None:
        if block.coder or block.row.kind not in (*WITH_MODEL, Kind.CONTEXTS):
            return block.coder
        find = self.find.load() if isinstance(self.find, Recipe) else self.find
        if block.row.kind == Kind.CONTEXTS:
            return find(None)
        coder = find(block.model_id) if block.model_id else None
        return coder if block.environment is None else within(block.environment, coder)


def decompress_stream(
    source: Source,
    sink: Sink,
    find_coder: FindCoder,
    progress: Progress = no_progress,
    limits: Limits = NO_LIMITS,
    threads: int = 1,
    base: Base | None = None,
    workers: Workers | None = None,
) -> tuple[int, int]:
    """Decode every frame of ``source`` into ``sink``; returns (bytes in, bytes out).

    ``find_coder`` is as of ``FrameDecoder``; ``workers`` that share nothing ask it for its recipe.
    Every block is verified before it is written; a ``ByteStore`` holds nothing else once all are,
    and is to be dropped after an error. Without ``workers`` as many blocks as ``threads`` are
    decoded side by side. ``base`` is what deltas were made against. Raises CorruptDataError,
    TruncatedError, UnsupportedVersionError, or before anything of a frame is decoded what
    ``FrameDecoder.begin`` does.
    """
    if workers is None:
        with sharing(threads) as own:
            stream = Decoding(source, sink, FrameDecoder(find_coder, base, limits), own, progress)
            return stream.run()
    return Decoding(source, sink, FrameDecoder(find_coder, base, limits), workers, progress).run()


class Decoding:
    """One stream of archives on its way to a sink."""

    def __init__(
        self,
        source: Source,
        sink: Sink,
        decoder: FrameDecoder,
        workers: Workers,
        progress: Progress,
    ) -> None:
        self.source, self.sink, self.decoder = source, sink, decoder
        self.workers, self.stoppable = workers, Stoppable(progress)
        self.read = self.written = 0
        self.frames = FrameReader(source)
        self.store = sink if isinstance(sink, ByteStore) and workers.local else None

    def run(self) -> tuple[int, int]:
        task, blocks = self.task(), self.blocks()
        block = next(blocks, None)
        try:
            while block is not None:
                left: list[CodedBlock] = []  # for which there is no room yet
                run = self.run_of(block, blocks, left)
                with closing(self.workers.map_ordered(task, run)) as decoded:
                    for data in decoded:
                        if isinstance(data, int):
                            continue  # where it belongs already
                        if not self.workers.local:
                            self.stoppable(len(data))
                        self.sink.write(data)
                block = left[0] if left else next(blocks, None)
        finally:
            self.stoppable.stop()
        return self.read + self.frames.skipped_bytes, self.written

    def task(self) -> Decode:
        find = self.decoder.find_coder
        if self.workers.shares:
            return Decode(find, self.stoppable, self.store, threading.Lock())
        recipe = getattr(find, "recipe", None)
        if recipe is None:
            raise NNCodecError("these models were put together by hand: use workers that share")
        if not self.workers.local:
            return Decode(recipe)
        return Decode(recipe, self.stoppable, self.store)

    def run_of(
        self, block: CodedBlock | None, blocks: Iterator[CodedBlock], left: list[CodedBlock]
    ) -> Iterator[CodedBlock]:
        """Blocks that may be decoded side by side, before what is decoded has to be written.

        Until one needs more room in the store, as memory moves only while no one writes to it; or
        until more would have to be waited for: whoever sends it may wait for what is decoded.
        """
        first = True
        while block is not None:
            if self.store is not None:
                size = block.row.size
                if self.store.room < size and not first:
                    left.append(block)
                    return
                block = replace(block, at=self.store.claim(size))
            yield block
            if has_to_wait(self.source):
                return
            first, block = False, next(blocks, None)

    def blocks(self) -> Iterator[CodedBlock]:
        decoder, local, shares = self.decoder, self.workers.local, self.workers.shares
        for frame in self.frames:
            decoder.begin(frame)
            self.read += frame.header_size
            for row in frame.blocks:
                payload = read_exactly(self.source, row.payload_size, "a block")
                self.read, self.written = self.read + len(payload), self.written + row.size
                yield decoder.coded(frame, row, payload if local else bytes(payload), shares)


def has_to_wait(source: Source) -> bool:
    """Whether ``source`` is a pipe or the like in which there is nothing at the moment."""
    try:
        number = source.fileno()  # type: ignore[union-attr]
        if stat.S_ISREG(os.fstat(number).st_mode):
            return False
        return not select.select([number], [], [], 0)[0]
    except (AttributeError, OSError, ValueError):  # memory, a URL, a system that cannot tell
        return False


def within(environment: bytes, coder: Coder | None) -> Coder:
    """A float model's coder in an archive's environment. Raises EnvironmentMismatchError."""
    if not isinstance(coder, FloatCoder):
        raise CorruptDataError("frame header: an environment for a model that needs none")
    return coder.within(environment)


def decode_fields_in_place(row: Block, payload: Payload, store: ByteStore, at: int) -> None:
    """As ``decode_block``, to claimed bytes of a ``store``."""
    try:
        checksum = decode_fields_into(store, at, row.items, payload, choose_isa())
    except PayloadError as error:
        raise CorruptDataError(f"a block is damaged: {error}") from error
    if checksum != row.checksum:
        raise CorruptDataError("a block is damaged (its checksum does not match)")


def decode_block(
    row: Block,
    payload: Payload,
    coder: Coder | None,
    progress: Progress,
    old: Bytes | None = None,
) -> bytes:
    """A block's bytes, verified. Raises CorruptDataError if they are not what was compressed.

    Reports as many bytes as it has. ``old`` is what ``old_bytes`` gives.
    """
    if row.kind == Kind.STORED:
        data = bytes(payload)
    elif row.kind == Kind.CONSTANT:
        data = bytes(payload) * row.size
    elif row.kind in WITH_ITEMS:
        decode = decode_fields if row.kind == Kind.FIELDS else decode_tensors
        try:
            data = decode(row.items, payload, choose_isa())
        except PayloadError as error:
            raise CorruptDataError(f"a block is damaged: {error}") from error
    elif row.kind == Kind.DELTA:
        assert old is not None  # of the frame's base, which was checked
        data = decode_delta(row, bytes(payload), old)
    else:
        if coder is None:
            raise CorruptDataError("a coded block names no model")
        if (row.kind == Kind.TOKENS) != getattr(coder, "of_tokens", False):
            raise CorruptDataError(f"a {row.kind.name} block names a model of another kind")
        try:
            data = coder.decode(bytes(payload), row.coded_size, row.geometry, progress)
        except PayloadError as error:
            raise CorruptDataError(f"a block is damaged: {error}") from error
        if row.transform:
            coded = np.frombuffer(data, dtype=np.uint8)
            data = undo(row.transform, coded, row.size).tobytes()
            progress(row.size - row.coded_size)
    if row.kind in (Kind.STORED, Kind.CONSTANT, Kind.DELTA, *WITH_ITEMS):
        progress(row.size)
    if xxh64(data) != row.checksum:
        raise CorruptDataError("a block is damaged (its checksum does not match)")
    return data


def old_bytes(row: Block, base: Base | None) -> Bytes | None:
    """What a block of deltas differs from; None for any other, and where there is no base."""
    return base_bytes(row.deltas, base) if row.kind == Kind.DELTA and base else None


def decode_delta(row: Block, payload: bytes, old: Bytes) -> bytes:
    if len(old) != row.size:
        raise CorruptDataError("a block is damaged: it reaches beyond its base")
    try:
        return decode_deltas(row.deltas, old, payload, choose_isa())
    except PayloadError as error:
        raise CorruptDataError(f"a block is damaged: {error}") from error
