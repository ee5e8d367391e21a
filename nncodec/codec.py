"""Read this first: the whole way from bytes to an archive and back.

    bytes -> blocks -> lanes -> engine (counts of the next byte) -> range coder -> container

Stage modules (``blocks``, ``engine``, ``coder``, ``container``) do not know each other; this one
and ``lanes`` wire them. ``csrc/block_coder.cc`` is ``lanes`` for the native engine, in C++.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from nncodec._core import PayloadError, xxh64
from nncodec.blocks import BLOCK_SIZE, Bytes, lane_geometry
from nncodec.config import BEGIN_OF_BLOCK
from nncodec.container import MODEL_ID_BYTES, Block, Frame, Kind, read_exactly, read_frame
from nncodec.errors import CorruptDataError, NNCodecError
from nncodec.lanes import Engine, Progress, no_progress
from nncodec.numerics import code_length

SAMPLE_WINDOWS, SAMPLE_BYTES = 16, 256
CODED_FIELDS = MODEL_ID_BYTES + 2  # what a coded block adds to the header, at least
FRAME_BLOCKS = 4  # blocks a frame: what compressing a stream holds in memory


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
        payload = engine.encode(data, lanes, prefix, progress)
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
            data = engine.decode(payload, row.size, row.lanes, row.prefix, progress)
        except PayloadError as error:
            raise CorruptDataError(f"a block is damaged: {error}") from error
    if row.kind != Kind.CODED:
        progress(row.size)
    if xxh64(data) != row.checksum:
        raise CorruptDataError("a block is damaged (its checksum does not match)")
    return data
