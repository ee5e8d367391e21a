"""How fast the native engine runs here, and what bounds it: ``nncodec bench --engine``.

Kernels are measured alone against the bare multiply instruction (``csrc/roofline.cc``); then real
data is coded both ways, with and without the engine's stopwatches.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nncodec._core import PayloadError, measure_bare, measure_multiply
from nncodec.blocks import Bytes, lane_geometry
from nncodec.config import ModelConfig
from nncodec.engine.native import NativeEngine
from nncodec.engine_weights import expected_shapes
from nncodec.errors import NNCodecError
from nncodec.lanes import Progress

ROWS = (1, 8, 16, 32)  # that share one pass over the weights; 32 is the most
SECONDS = 0.1  # that one measurement of a kernel takes
SAMPLE = Path(__file__).resolve().parents[2] / "corpora" / "samples" / "prose.txt"
ROUND_TRIP_FAILED = "the data does not come back: a defect of nncodec on this machine, report it"

Result = TypeVar("Result")


@dataclass(frozen=True)
class Kernel:
    """One product of the model, single thread, operands in cache: 10^9 multiply-adds a second."""

    name: str
    out_features: int
    in_features: int
    gmacs: dict[int, float]  # by rows


@dataclass(frozen=True)
class Coding:
    """One direction, all of the engine's threads."""

    kB_s: float
    thread_us_per_byte: dict[str, float]  # by stage; idle threads do not count


@dataclass(frozen=True)
class Roofline:
    isa: str
    threads: int
    bare_gmacs: float  # of the multiply instruction alone, single thread
    kernels: list[Kernel]
    bytes: int
    lanes: int
    encode: Coding
    decode: Coding

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(
    engine: NativeEngine, config: ModelConfig, data: Bytes, runs: int, progress: Progress
) -> Roofline:
    """Measure an engine of a model of this shape; (n,) ``data`` is coded as one block.

    Raises NNCodecError if the data does not come back as it was.
    """
    geometry = lane_geometry(len(data))
    payload, encode = measure_coding(
        engine, len(data), runs, lambda: engine.encode(data, geometry, progress)
    )
    try:
        back, decode = measure_coding(
            engine, len(data), runs, lambda: engine.decode(payload, len(data), geometry, progress)
        )
    except PayloadError as error:
        raise NNCodecError(ROUND_TRIP_FAILED) from error
    if back != data.tobytes():
        raise NNCodecError(ROUND_TRIP_FAILED)
    bare, kernels = measure_kernels(engine.isa, config)
    return Roofline(
        isa=engine.isa,
        threads=engine.core.threads,
        bare_gmacs=bare,
        kernels=kernels,
        bytes=len(data),
        lanes=geometry.lanes,
        encode=encode,
        decode=decode,
    )


def measure_kernels(isa: str, config: ModelConfig) -> tuple[float, list[Kernel]]:
    """The bare multiply's rate, and every product of a layer (they are alike) and of the head."""
    shapes = expected_shapes(config)
    bare, kernels = 0.0, []
    for name in ("blocks.0.qkv", "blocks.0.out", "blocks.0.up", "blocks.0.down", "head"):
        _, (out, in_) = shapes[f"{name}.weight"]
        gmacs = {rows: measure_multiply(isa, out, in_, rows, SECONDS) / 1e9 for rows in ROWS}
        kernels.append(Kernel(name.removeprefix("blocks.0."), out, in_, gmacs))
        bare = max(bare, measure_bare(isa, SECONDS) / 1e9)  # others may slow the machine down
    return bare, kernels


def measure_coding(
    engine: NativeEngine, size: int, runs: int, work: Callable[[], Result]
) -> tuple[Result, Coding]:
    """Code ``size`` bytes ``runs`` times for the speed, once more for the stages."""
    seconds, result = median_seconds(work, runs)
    engine.core.measure(True)
    work()
    stages = engine.core.stage_seconds()
    engine.core.measure(False)
    micros = {stage: 1e6 * spent / size for stage, spent in stages.items()}
    return result, Coding(size / seconds / 1e3, micros)


def median_seconds(work: Callable[[], Result], runs: int) -> tuple[float, Result]:
    """The median wall-clock time of ``runs`` calls, and what the last one returned."""
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times), result


def sample_text(size: int) -> tuple[str, bytes]:
    """Name and text for when no file is given, repeated to ``size`` bytes: what they say hardly
    matters to the speed.
    """
    if SAMPLE.is_file():  # in a source tree
        name, text = SAMPLE.name, SAMPLE.read_bytes()
    else:
        name, text = "generated text", generated_text()
    return name, (text * (size // len(text) + 1))[:size]


def generated_text() -> bytes:
    """Made-up words, the frequent ones far more often than the rest."""
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"eeeetttaaooiinnsshrdlu", dtype=np.uint8)
    words = [rng.choice(letters, length).tobytes() for length in rng.integers(2, 9, 1000)]
    return b" ".join(words[i % len(words)] for i in rng.zipf(1.3, 4000).tolist()) + b"\n"
