"""The Python API: one line over the codec, for data that fits in memory."""

from __future__ import annotations

import io
import os
from collections import Counter
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np

from nncodec import modelstore
from nncodec._core import ByteStore
from nncodec.codec import Codec, decompress_stream
from nncodec.container import VERSION, read_frames
from nncodec.engine.native import NativeContexts, NativeEngine, usable_cores
from nncodec.errors import NNCodecError
from nncodec.lanes import Coder
from nncodec.levels import DEFAULT_LEVEL, LEVELS
from nncodec.memory import View
from nncodec.tensors.base import Base

Buffer = bytes | bytearray | memoryview


@lru_cache(maxsize=4)
def load_codec(
    level: int = DEFAULT_LEVEL, model: str | None = None, threads: int | None = None
) -> Codec:
    """The codec of a level, with its own model or the one of a name or folder; loaded once.

    Raises NNCodecError for a level that does not exist, ModelNotFoundError, InvalidModelError.
    """
    if level not in LEVELS:
        raise NNCodecError(f"no level {level}: choose one of {min(LEVELS)} to {max(LEVELS)}")
    plan = LEVELS[level]
    name = model or plan.model
    if name is None:
        alone = NativeContexts()
        cores = threads or usable_cores()
        return Codec(alone, None, 1, plan.table_bits, threads=cores, tensors=plan.tensors)
    if name == "largest" and not model:
        weights = modelstore.find_largest()
    else:
        weights = modelstore.find(modelstore.DEFAULT_MODEL if name == "default" else name)
    if plan.model is None:  # a model for level 1, which has none: the fastest level with one
        plan = LEVELS[level + 1]
    engine = NativeEngine(weights, threads)
    contexts = NativeContexts()
    bounds = (plan.lanes, plan.table_bits, contexts, plan.lane_bytes)
    cores = threads or usable_cores()
    return Codec(engine, weights.model_id, *bounds, threads=cores, tensors=plan.tensors)


@lru_cache(maxsize=4)
def load_coder(model_id: bytes | None, threads: int | None = None) -> Coder:
    """The engine that an archive names, or the context models if none; loaded once a process."""
    if model_id is None:
        return NativeContexts()
    return NativeEngine(modelstore.find_by_id(model_id), threads)


def _forget_engines() -> None:
    """In a forked child: another thread may have been using an engine at the fork."""
    load_codec.cache_clear()
    load_coder.cache_clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_engines)


def compress(
    data: Buffer,
    level: int = DEFAULT_LEVEL,
    *,
    model: str | None = None,
    threads: int | None = None,
    base: Buffer | None = None,
) -> bytes:
    """Compress any buffer of bytes.

    ``level`` is 1 (fastest: context models alone) to 9 (smallest); ``model``, a name or a folder's
    path, takes the place of the level's own. The result never depends on ``threads``. ``base`` is a
    file of tensors whose numbers are near those of ``data``, such as the model that was fine-tuned;
    decompression then needs it, too (docs/weights-delta.md). Raises
    NNCodecError for an unknown level, ModelNotFoundError, InvalidModelError.
    """
    array = np.frombuffer(memoryview(data).cast("B"), dtype=np.uint8)
    return load_codec(level, model, threads).compress(array, base=base_of(base))


def base_of(data: Buffer | None) -> Base | None:
    if data is None:
        return None
    return Base(np.frombuffer(memoryview(data).cast("B"), dtype=np.uint8))


def decompress(
    data: Buffer,
    *,
    max_output_size: int | None = None,
    threads: int | None = None,
    base: Buffer | None = None,
) -> bytes:
    """The bytes that ``compress`` was given; concatenated archives give concatenated bytes.

    ``max_output_size`` refuses archives that promise more, before anything is decoded. ``base`` is
    what ``compress`` was given as such. Raises CorruptDataError, TruncatedError,
    UnsupportedVersionError, ModelNotFoundError, BaseFileError for a base that is missing or another
    one, and NNCodecError if the limit is exceeded.
    """
    archive = memoryview(data).cast("B")
    sink = ByteStore(2 * len(archive))
    decompress_stream(
        View(archive),
        sink,
        lambda model_id: load_coder(model_id, threads),
        max_output_size=max_output_size,
        threads=threads or usable_cores(),
        base=base_of(base),
    )
    return sink.take()


@dataclass(frozen=True)
class ArchiveInfo:
    """What an archive says of itself, without decoding it. Sizes in bytes."""

    format_version: int
    frames: int
    blocks: dict[str, int]  # number of blocks by kind, and transform if there is one
    models: list[str]  # ids in hex
    bases: list[str]  # first bytes of their SHA-256, in hex
    uncompressed_size: int
    compressed_size: int

    @property
    def bits_per_byte(self) -> float:
        return 8 * self.compressed_size / self.uncompressed_size if self.uncompressed_size else 0.0

    @property
    def ratio(self) -> float:
        return self.uncompressed_size / self.compressed_size

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "bits_per_byte": self.bits_per_byte, "ratio": self.ratio}


def info(data: Buffer) -> ArchiveInfo:
    """Read an archive's headers; no model is needed. Raises what ``decompress`` does for them."""
    return read_info(io.BytesIO(memoryview(data).cast("B")))


def read_info(source: BinaryIO) -> ArchiveInfo:
    """``info`` for a seekable file, without reading the payloads."""
    frames = read_frames(source)
    blocks = [block for frame in frames for block in frame.blocks]
    return ArchiveInfo(
        format_version=VERSION,
        frames=len(frames),
        blocks=dict(Counter(block.name for block in blocks)),
        models=sorted({frame.model_id.hex() for frame in frames if frame.model_id}),
        bases=sorted({frame.base_id.hex() for frame in frames if frame.base_id}),
        uncompressed_size=sum(frame.total for frame in frames),
        compressed_size=source.tell(),
    )
