"""Read this first: the whole way from bytes to an archive and back.

    bytes -> blocks -> lanes -> engine (counts of the next byte) -> range coder -> container

Stage modules (``blocks``, ``engine``, ``coder``, ``container``) do not know each other; this one
wires them. Both directions drive the same engine through the same steps, so they cannot drift.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from nncodec._core import PayloadError, RangeDecoder, RangeEncoder, xxh64
from nncodec.blocks import (
    BLOCK_SIZE,
    Bytes,
    active_lanes,
    from_lanes,
    lane_geometry,
    to_lanes,
)
from nncodec.config import BEGIN_OF_BLOCK
from nncodec.container import MODEL_ID_BYTES, Block, Frame, Kind, read_exactly, read_frame
from nncodec.errors import CorruptDataError, NNCodecError
from nncodec.numerics import code_length

TOKENS_A_CALL = 4096  # lanes times positions that the encoder hands the engine at once
POSITIONS_A_CALL = 128  # more would compare every position with too many that it cannot see
SAMPLE_WINDOWS, SAMPLE_BYTES = 16, 256
CODED_FIELDS = MODEL_ID_BYTES + 2  # what a coded block adds to the header, at least
FRAME_BLOCKS = 4  # blocks a frame: what compressing a stream holds in memory

Progress = Callable[[int], object]  # called with the number of uncompressed bytes just finished


def no_progress(_count: int) -> None:
    """The default: report to nobody."""


class State(Protocol):
    """Where a set of lanes stands."""

    def advance(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """Feed (B, T) tokens in [0, 256]; get (B, T, 256) counts of the byte after each."""

    def fork(self, lanes: int) -> None:
        """Turn one lane into many with the same past."""


class Engine(Protocol):
    """A model that can be run exactly. ``start`` gives one lane at the beginning of a block."""

    def start(self) -> State: ...


class Codec:
    """An engine and the id that archives name it by."""

    def __init__(self, engine: Engine, model_id: bytes) -> None:
        self.engine, self.model_id = engine, model_id

    def compress(self, data: Bytes, progress: Progress = no_progress) -> bytes:
        """One frame that holds all of (n,) ``data``."""
        rows, payloads = [], []
        for start in range(0, len(data), BLOCK_SIZE):
            row, payload = encode_block(data[start : start + BLOCK_SIZE], self.engine, progress)
            rows.append(row)
            payloads.append(payload)
        coded = any(row.kind == Kind.CODED for row in rows)
        block_size = min(BLOCK_SIZE, len(data))
        frame = Frame(len(data), block_size, tuple(rows), self.model_id if coded else None)
        return frame.pack() + b"".join(payloads)

    def compress_stream(
        self, source: BinaryIO, sink: BinaryIO, progress: Progress = no_progress
    ) -> tuple[int, int]:
        """Compress until ``source`` ends, a few blocks a frame; returns (bytes in, bytes out)."""
        total = written = 0
        while True:
            piece = read_up_to(source, FRAME_BLOCKS * BLOCK_SIZE)
            if not piece and total:
                return total, written
            frame = self.compress(np.frombuffer(piece, dtype=np.uint8), progress)
            sink.write(frame)
            total, written = total + len(piece), written + len(frame)
            if len(piece) < FRAME_BLOCKS * BLOCK_SIZE:
                return total, written


def read_up_to(source: BinaryIO, size: int) -> bytes:
    """Read until ``size`` bytes or the end; a pipe gives them in small pieces."""
    out = io.BytesIO()
    while out.tell() < size and (piece := source.read(size - out.tell())):
        out.write(piece)
    return out.getvalue()


def decompress_stream(
    source: BinaryIO,
    sink: BinaryIO,
    find_engine: Callable[[bytes], Engine],
    progress: Progress = no_progress,
    max_output_size: int | None = None,
) -> tuple[int, int]:
    """Decode every frame of ``source`` into ``sink``; returns (bytes in, bytes out).

    ``find_engine`` maps a model id to its engine. Every block is verified before it is written.
    Raises CorruptDataError, TruncatedError, UnsupportedVersionError, or what ``find_engine`` does.
    """
    read = written = 0
    first = True
    while (frame := read_frame(source, first)) is not None:
        first = False
        if max_output_size is not None and written + frame.total > max_output_size:
            raise NNCodecError(
                f"output would exceed max_output_size: {written + frame.total} bytes, "
                f"{max_output_size} allowed"
            )
        read += len(frame.pack())
        engine = find_engine(frame.model_id) if frame.model_id else None
        for row in frame.blocks:
            payload = read_exactly(source, row.payload_size, "a block")
            sink.write(decode_block(row, payload, engine, progress))
            read, written = read + len(payload), written + row.size
    return read, written


def encode_block(data: Bytes, engine: Engine, progress: Progress) -> tuple[Block, bytes]:
    """The smallest of the block kinds, with its payload."""
    checksum = xxh64(data)
    if (data == data[0]).all():
        progress(len(data))
        return Block(Kind.CONSTANT, len(data), 1, checksum), data[:1].tobytes()
    if not looks_random(data, engine):
        lanes, prefix = lane_geometry(len(data))
        payload = encode_lanes(data, lanes, prefix, engine, progress)
        if len(payload) + CODED_FIELDS < len(data):
            row = Block(Kind.CODED, len(data), len(payload), checksum, lanes, prefix)
            return row, payload
    else:
        progress(len(data))
    return Block(Kind.STORED, len(data), len(data), checksum), data.tobytes()


def looks_random(data: Bytes, engine: Engine) -> bool:
    """Whether evenly spaced samples cost 8 bits a byte: then the model has nothing to offer."""
    if len(data) < 4 * SAMPLE_WINDOWS * SAMPLE_BYTES:
        return False
    starts = np.arange(SAMPLE_WINDOWS) * (len(data) - SAMPLE_BYTES) // (SAMPLE_WINDOWS - 1)
    windows = data[starts[:, None] + np.arange(SAMPLE_BYTES)]
    state = engine.start()
    state.fork(SAMPLE_WINDOWS)
    marks = np.full((SAMPLE_WINDOWS, 1), BEGIN_OF_BLOCK)
    counts = state.advance(np.concatenate((marks, windows[:, :-1]), 1))
    chosen = np.take_along_axis(counts, windows[..., None].astype(np.int64), -1)
    # In integers, so that the choice of kind, too, is the same on every machine.
    return int(code_length(chosen).sum()) >= 8 * 256 * chosen.size


def encode_lanes(data: Bytes, lanes: int, prefix: int, engine: Engine, progress: Progress) -> bytes:
    """Range-code a block: the prefix in one lane, then all lanes step by step in lane order."""
    encoder = RangeEncoder()
    state = engine.start()
    last = np.array([[BEGIN_OF_BLOCK]])
    for part, count in ((data[:prefix], 1), (data[prefix:], lanes)):
        if count > 1:
            state.fork(count)
        grid = to_lanes(part, count)
        inputs = np.concatenate((np.repeat(last, count, 0), grid[:, :-1]), 1)
        stride = max(1, min(POSITIONS_A_CALL, TOKENS_A_CALL // count))
        for start in range(0, grid.shape[1], stride):
            step = slice(start, start + stride)
            counts = state.advance(inputs[:, step])
            # Step-major order: all lanes of a step, then the next step.
            counts = np.ascontiguousarray(counts.transpose(1, 0, 2)).reshape(-1, 256)
            symbols = np.ascontiguousarray(grid[:, step].T).reshape(-1)
            coded = min(len(part) - start * count, len(symbols))  # lanes that ended come last
            encoder.encode(counts[:coded], symbols[:coded])
            progress(coded)
        last = grid[:, -1:].astype(np.int64) if grid.size else last
    return encoder.finish()


def decode_block(row: Block, payload: bytes, engine: Engine | None, progress: Progress) -> bytes:
    """A block's bytes, verified. Raises CorruptDataError if they are not what was compressed."""
    if row.kind == Kind.STORED:
        data = payload
    elif row.kind == Kind.CONSTANT:
        data = payload * row.size
    else:
        if engine is None:
            raise CorruptDataError("a coded block names no model")
        try:
            data = decode_lanes(row, payload, engine, progress)
        except PayloadError as error:
            raise CorruptDataError(f"a block is damaged: {error}") from error
    if row.kind != Kind.CODED:
        progress(row.size)
    if xxh64(data) != row.checksum:
        raise CorruptDataError("a block is damaged (its checksum does not match)")
    return data


def decode_lanes(row: Block, payload: bytes, engine: Engine, progress: Progress) -> bytes:
    """Inverse of ``encode_lanes``."""
    decoder = RangeDecoder(np.frombuffer(payload, dtype=np.uint8))
    state = engine.start()
    last = np.array([[BEGIN_OF_BLOCK]])
    parts = []
    for size, count in ((row.prefix, 1), (row.size - row.prefix, row.lanes)):
        if count > 1:
            state.fork(count)
        last = np.repeat(last, count, 0)
        grid = np.zeros((count, -(-size // count)), dtype=np.uint8)
        for step in range(grid.shape[1]):
            active = active_lanes(size, count, step)
            counts = state.advance(last)[:active, 0]
            symbols = np.frombuffer(decoder.decode(counts), dtype=np.uint8)
            progress(active)
            grid[:active, step] = symbols
            last = grid[:, step : step + 1].astype(np.int64)
        parts.append(from_lanes(grid, size))
    decoder.finish()
    return np.concatenate(parts).tobytes()
