"""From archives back to bytes: ``codec``'s inverse, block by block, each verified."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

from nncodec._core import ByteStore, PayloadError, xxh64
from nncodec.container import WITH_ITEMS, WITH_MODEL, Block, Frame, Kind
from nncodec.engine.native import choose_isa
from nncodec.errors import CorruptDataError
from nncodec.lanes import Coder, FloatCoder, Progress, no_progress
from nncodec.limits import NO_LIMITS, Limits
from nncodec.memory import Payload, Sink, Source, executor
from nncodec.parsing import FrameReader, read_exactly
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
        progress: Progress = no_progress,
    ) -> None:
        self.find_coder, self.base, self.limits, self.progress = find_coder, base, limits, progress
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
        return decode_block(row, payload, coder, self.progress, self.base)


def decompress_stream(
    source: Source,
    sink: Sink,
    find_coder: FindCoder,
    progress: Progress = no_progress,
    limits: Limits = NO_LIMITS,
    threads: int = 1,
    base: Base | None = None,
) -> tuple[int, int]:
    """Decode every frame of ``source`` into ``sink``; returns (bytes in, bytes out).

    ``find_coder`` is as of ``FrameDecoder``. Every block is verified before it is written; a
    ``ByteStore`` holds nothing else once all are, and is to be dropped after an error. As many
    chunks of tensors as ``threads`` are decoded side by side. ``base`` is what deltas were made
    against. Raises CorruptDataError, TruncatedError, UnsupportedVersionError, or before anything
    of a frame is decoded what ``FrameDecoder.begin`` does.
    """
    read = written = 0
    decoder = FrameDecoder(find_coder, base, limits, progress)
    with executor(threads) as pool:
        waiting: deque[Future[bytes] | Future[int]] = deque()

        def write(most: int) -> None:
            """Chunks that wait, until ``most`` are left."""
            while len(waiting) > most:
                data = waiting.popleft().result()
                if isinstance(data, int):  # where it belongs already
                    progress(data)
                    continue
                progress(len(data))
                sink.write(data)

        frames = FrameReader(source)
        for frame in frames:
            decoder.begin(frame)
            read += frame.header_size
            for row in frame.blocks:
                payload = read_exactly(source, row.payload_size, "a block")
                read, written = read + len(payload), written + row.size
                if row.kind in (*WITH_ITEMS, Kind.DELTA):
                    chunk: Future[bytes] | Future[int]
                    if isinstance(sink, ByteStore):
                        if sink.room < row.size:
                            write(most=0)  # memory moves only while no one writes to it
                        at = sink.claim(row.size)
                        chunk = pool.submit(decode_in_place, row, payload, base, sink, at)
                    else:
                        chunk = pool.submit(decode_block, row, payload, None, no_progress, base)
                    waiting.append(chunk)
                    write(most=threads)
                    continue
                write(most=0)
                sink.write(decoder.decode(row, payload))
        write(most=0)
    return read + frames.skipped_bytes, written


def within(environment: bytes, coder: Coder | None) -> Coder:
    """A float model's coder in an archive's environment. Raises EnvironmentMismatchError."""
    if not isinstance(coder, FloatCoder):
        raise CorruptDataError("frame header: an environment for a model that needs none")
    return coder.within(environment)


def decode_in_place(
    row: Block, payload: Payload, base: Base | None, store: ByteStore, at: int
) -> int:
    """As ``decode_block``, of tensors, to claimed bytes of a ``store``; returns how many."""
    if row.kind != Kind.FIELDS:
        store.put(at, decode_block(row, payload, None, no_progress, base))
        return row.size
    try:
        checksum = decode_fields_into(store, at, row.items, payload, choose_isa())
    except PayloadError as error:
        raise CorruptDataError(f"a block is damaged: {error}") from error
    if checksum != row.checksum:
        raise CorruptDataError("a block is damaged (its checksum does not match)")
    return row.size


def decode_block(
    row: Block,
    payload: Payload,
    coder: Coder | None,
    progress: Progress,
    base: Base | None = None,
) -> bytes:
    """A block's bytes, verified. Raises CorruptDataError if they are not what was compressed."""
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
        assert base  # the frame's, which was checked
        data = decode_delta(row, bytes(payload), base)
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
    if row.kind in (Kind.STORED, Kind.CONSTANT):
        progress(row.size)
    if xxh64(data) != row.checksum:
        raise CorruptDataError("a block is damaged (its checksum does not match)")
    return data


def decode_delta(row: Block, payload: bytes, base: Base) -> bytes:
    old = base_bytes(row.deltas, base)
    if len(old) != row.size:
        raise CorruptDataError("a block is damaged: it reaches beyond its base")
    try:
        return decode_deltas(row.deltas, old, payload, choose_isa())
    except PayloadError as error:
        raise CorruptDataError(f"a block is damaged: {error}") from error
