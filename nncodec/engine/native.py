"""The native engine: ``csrc/engine.cc`` behind the interface of the reference, bit for bit.

``NNCODEC_ISA`` forces one of ``available_isas()``; the output never depends on it, nor on the
number of threads.
"""

from __future__ import annotations

import os
from dataclasses import asdict

import numpy as np
import numpy.typing as npt

from nncodec import _core
from nncodec._core import available_isas
from nncodec.blocks import Bytes, Geometry
from nncodec.config import BEGIN_OF_BLOCK
from nncodec.engine_weights import EngineModel
from nncodec.errors import NNCodecError
from nncodec.lanes import Engine, Progress
from nncodec.numerics import rope_table
from nncodec.trace import Trace

__all__ = ["NativeEngine", "available_isas", "choose_isa", "usable_cores"]

BYTES_A_CALL = 1 << 15


def usable_cores() -> int:
    """The cores that this process may use, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_isa(isa: str = "") -> str:
    """The instruction set that an engine runs on: ``isa``, else ``NNCODEC_ISA``, else the best.

    Raises NNCodecError if this machine or this build has no such kernels.
    """
    names = available_isas()
    isa = isa or os.environ.get("NNCODEC_ISA", "") or names[0]
    if isa not in names:
        raise NNCodecError(
            f"no kernels for the instruction set {isa!r} here: choose one of {', '.join(names)}, "
            "or none (an empty NNCODEC_ISA) for the first"
        )
    return isa


class NativeEngine(Engine):
    """A model's weights, packed for this machine's instruction set. ``start()`` gives a state."""

    def __init__(self, model: EngineModel, threads: int | None = None, isa: str = "") -> None:
        self.config = model.config
        shape = asdict(model.config)
        config = {k: list(v) if isinstance(v, tuple) else v for k, v in shape.items()}
        cos, sin = rope_table(model.config.rope_period)
        isa = choose_isa(isa)
        try:
            self.core = _core.Engine(
                config, dict(model.tensors), cos, sin, threads or usable_cores(), isa
            )
        except ValueError as error:
            raise NNCodecError(f"the native engine cannot start: {error}") from error

    @property
    def isa(self) -> str:
        return self.core.isa

    @property
    def state_bytes(self) -> int:
        """Of keys and values that decoding keeps of each lane: Cache of ``csrc/model.h``."""
        slots = self.config.n_kv_heads * sum(-(-w // 16) * 16 for w in self.config.windows)
        return slots * (2 * (-(-self.config.head_dim // 16) * 16) + 8)

    def start(self) -> NativeState:
        return NativeState(self)

    def encode(self, data: Bytes, geometry: Geometry, progress: Progress) -> bytes:
        """The payload of a coded block of (n,) ``data``: the twin's code in C++."""
        return encode_block(self.core, data, geometry, progress)

    def encode_traced(
        self, data: Bytes, geometry: Geometry, progress: Progress
    ) -> tuple[bytes, Trace]:
        """The same payload, and what each byte of it cost."""
        return encode_traced(self.core, data, geometry, progress)

    def decode(self, payload: bytes, size: int, geometry: Geometry, progress: Progress) -> bytes:
        """Inverse of ``encode``. Raises PayloadError if the payload is found damaged."""
        return decode_block(self.core, payload, size, geometry, progress)


class NativeContexts:
    """Context models alone, without a network: one lane, one thread."""

    def encode(self, data: Bytes, geometry: Geometry, progress: Progress) -> bytes:
        """The payload of a block of (n,) ``data``."""
        return encode_block(None, data, geometry, progress)

    def encode_traced(
        self, data: Bytes, geometry: Geometry, progress: Progress
    ) -> tuple[bytes, Trace]:
        """The same payload, and what each byte of it cost."""
        return encode_traced(None, data, geometry, progress)

    def decode(self, payload: bytes, size: int, geometry: Geometry, progress: Progress) -> bytes:
        """Inverse of ``encode``. Raises PayloadError if the payload is found damaged."""
        return decode_block(None, payload, size, geometry, progress)


def encode_block(
    engine: _core.Engine | None, data: Bytes, geometry: Geometry, progress: Progress
) -> bytes:
    return run(block_coder(engine, len(data), geometry, data, decode=False), len(data), progress)


def encode_traced(
    engine: _core.Engine | None, data: Bytes, geometry: Geometry, progress: Progress
) -> tuple[bytes, Trace]:
    coder = block_coder(engine, len(data), geometry, data, decode=False, trace=True)
    return run(coder, len(data), progress), Trace(**coder.take_trace())


def decode_block(
    engine: _core.Engine | None, payload: bytes, size: int, geometry: Geometry, progress: Progress
) -> bytes:
    data = np.frombuffer(payload, dtype=np.uint8)
    return run(block_coder(engine, size, geometry, data, decode=True), size, progress)


def block_coder(
    engine: _core.Engine | None,
    size: int,
    geometry: Geometry,
    data: Bytes,
    decode: bool,
    trace: bool = False,
) -> _core.BlockCoder:
    lanes, prefix, table_bits = geometry.lanes, geometry.prefix, geometry.table_bits
    isa = "" if engine else choose_isa()  # an engine has its own
    try:
        return _core.BlockCoder(engine, size, lanes, prefix, table_bits, data, decode, isa, trace)
    except MemoryError:
        table = (64 << table_bits if table_bits else 0) >> 20
        raise NNCodecError(
            f"out of memory: a block of {size} bytes in {lanes} lanes with a table of {table} MiB; "
            "free some memory, or compress at a lower level"
        ) from None


def run(coder: _core.BlockCoder, size: int, progress: Progress) -> bytes:
    """The coder's result, in pieces, so that progress is seen and Ctrl-C is heard."""
    done = 0
    while done < size:
        before, done = done, coder.run(BYTES_A_CALL)
        progress(done - before)
    return coder.finish()


class NativeState:
    """Where a set of lanes stands; see ``reference.State``, which it equals."""

    def __init__(self, engine: NativeEngine) -> None:
        self.core = _core.State(engine.core)

    def fork(self, lanes: int) -> None:
        self.core.fork(lanes)

    def advance(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """(B, T) tokens in [0, 256] -> (B, T, 256) counts. Raises ValueError for bad tokens."""
        if tokens.size and not 0 <= int(tokens.min()) <= int(tokens.max()) <= BEGIN_OF_BLOCK:
            raise ValueError(f"tokens must lie in 0..{BEGIN_OF_BLOCK}")  # before the cast below
        return self.core.advance(np.ascontiguousarray(tokens, dtype=np.int32))
