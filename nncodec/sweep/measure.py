"""What a trained model makes of a real file: bytes of the network alone, and of the archive.

The network alone is coded in the blocks, transforms and lanes of the archive, so that the two
differ in the context models and the headers only. Nothing of the int8 engine is estimated; the
float model, which no archive can be made with, has its ideal code length.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from nncodec import api
from nncodec.blocks import BLOCK_SIZE, Bytes, Geometry, lane_geometry
from nncodec.codec import Codec
from nncodec.config import FLOAT_FILE
from nncodec.decoding import decompress_stream
from nncodec.engine_weights import WEIGHTS_FILE
from nncodec.errors import NNCodecError, SweepError
from nncodec.lanes import Coder, no_progress

CONTEXTS_LEVEL = 1  # has no network


@dataclass(frozen=True)
class Measurement:
    """One model, precision and file. Sizes in bytes; of an ideal length, with a fraction."""

    precision: str
    model_bytes: int
    network_bytes: float
    archive_bytes: int | None  # None: no archive can be made at this precision
    contexts_bytes: int  # an archive without a network
    verified: bool | None
    seconds: float


def read(path: Path) -> Bytes:
    data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    if not len(data):
        raise SweepError(f"{path} is empty; give a file with data to measure on")
    return data


def network_blocks(codec: Codec, data: Bytes) -> Iterator[tuple[Bytes, Geometry]]:
    """The blocks as the codec would transform and cut them, the mixer left out."""
    for start in range(0, len(data), BLOCK_SIZE):
        block = data[start : start + BLOCK_SIZE]
        _, coded = codec.choose_transform(block, codec.judge(block))
        geometry = lane_geometry(len(coded), codec.lanes, codec.table_bits, codec.lane_bytes)
        yield coded, replace(geometry, table_bits=0)


def measure(
    folder: Path, path: Path, precision: str, level: int, verify: bool, threads: int | None
) -> Measurement:
    """Code ``path`` with the model in ``folder``. Raises NNCodecError, OSError."""
    data, begun = read(path), time.monotonic()
    codec = api.load_codec(level, str(folder), threads)
    archive, verified = None, None
    if precision == "int8":
        blocks = network_blocks(codec, data)
        network = float(sum(len(codec.coder.encode(*block, no_progress)) for block in blocks))
        packed = codec.compress(data)
        archive = len(packed)
        if verify:
            verified = decode(codec, packed) == data.tobytes()
            if not verified:
                raise NNCodecError(f"{path}: the archive made with {folder} decodes to other bytes")
    else:
        network = float_bytes(folder, codec, data)
    return Measurement(
        precision=precision,
        model_bytes=(folder / (WEIGHTS_FILE if precision == "int8" else FLOAT_FILE)).stat().st_size,
        network_bytes=network,
        archive_bytes=archive,
        contexts_bytes=contexts_size(path, threads),
        verified=verified,
        seconds=time.monotonic() - begun,
    )


def float_bytes(folder: Path, codec: Codec, data: Bytes) -> float:
    from nncodec.lm.code_length import float_bits
    from nncodec.lm.model import ByteTransformer

    model = ByteTransformer.from_pretrained(folder).eval()
    bits = sum(float_bits(model, *block) for block in network_blocks(codec, data))
    return round(bits / 8, 1)


def decode(codec: Codec, archive: bytes) -> bytes:
    def find(model_id: bytes | None) -> Coder:
        return codec.coder if model_id else api.load_coder(None)

    sink = io.BytesIO()
    decompress_stream(io.BytesIO(archive), sink, find)
    return sink.getvalue()


@lru_cache(maxsize=256)
def contexts_size(path: Path, threads: int | None) -> int:
    """The archive of context models alone; the same for all models, so made once a file."""
    return len(api.load_codec(CONTEXTS_LEVEL, None, threads).compress(read(path)))


def to_row(measured: Measurement, size: int) -> dict[str, Any]:
    """The columns of a table of results; ``size`` is the file's in bytes."""

    def bits(value: float | None) -> float | str:
        return "" if value is None else round(8 * value / size, 5)

    whole = measured.precision == "int8"
    network = int(measured.network_bytes) if whole else measured.network_bytes
    return {
        "precision": measured.precision,
        "model_bytes": measured.model_bytes,
        "network_bytes": network,
        "network_bpb": bits(measured.network_bytes),
        "archive_bytes": "" if measured.archive_bytes is None else measured.archive_bytes,
        "archive_bpb": bits(measured.archive_bytes),
        "contexts_bytes": measured.contexts_bytes,
        "contexts_bpb": bits(measured.contexts_bytes),
        "verified": "" if measured.verified is None else int(measured.verified),
        "measure_seconds": round(measured.seconds, 2),
    }
