"""Coders that keep what every byte cost, so that the codec can be watched making its archive."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import Protocol

from nncodec._core import xxh64
from nncodec.blocks import Bytes, Geometry, lane_geometry
from nncodec.codec import Codec
from nncodec.errors import NNCodecError
from nncodec.lanes import Coder, Progress, no_progress
from nncodec.trace import Trace

MOST_TRACED = 1 << 24  # bytes; each takes some 40 of memory

Key = tuple[int, int]  # hash and length of what was coded


class TraceableCoder(Coder, Protocol):
    """A coder that can say what each byte cost."""

    def encode_traced(
        self, data: Bytes, geometry: Geometry, progress: Progress
    ) -> tuple[bytes, Trace]:
        """What ``encode`` gives, and its trace."""


class Tracing:
    """A coder that remembers: nothing is coded twice, and every block's trace is kept."""

    def __init__(self, coder: TraceableCoder) -> None:
        self.coder = coder
        self.done: dict[tuple[Key, Geometry], bytes] = {}
        self.traces: dict[Key, Trace] = {}
        self.traced = 0
        self.turn = threading.Lock()  # blocks come from several threads

    def encode(self, data: Bytes, geometry: Geometry, progress: Progress) -> bytes:
        with self.turn:
            return self.encode_once(data, geometry, progress)

    def encode_once(self, data: Bytes, geometry: Geometry, progress: Progress) -> bytes:
        key = key_of(data)
        if (key, geometry) not in self.done:
            self.traced += len(data)
            if self.traced > MOST_TRACED:
                raise NNCodecError(
                    f"is more than can be explained: {self.traced} bytes are coded one by one, "
                    f"{MOST_TRACED} at most; explain a part of it (head -c {MOST_TRACED // 2})"
                )
            payload, self.traces[key] = self.coder.encode_traced(data, geometry, progress)
            self.done[key, geometry] = payload
        else:
            progress(len(data))
        return self.done[key, geometry]

    def decode(self, payload: bytes, size: int, geometry: Geometry, progress: Progress) -> bytes:
        return self.coder.decode(payload, size, geometry, progress)

    def find(self, data: Bytes) -> Trace | None:
        """The trace of (n,) ``data``, if it was coded."""
        return self.traces.get(key_of(data))


class BothTracing(Tracing):
    """Network and context models together; beside it, the context models alone, in one lane."""

    def __init__(self, coder: TraceableCoder, contexts: Tracing | None, table_bits: int) -> None:
        super().__init__(coder)
        self.contexts, self.table_bits = contexts, table_bits

    def encode(self, data: Bytes, geometry: Geometry, progress: Progress) -> bytes:
        if not self.contexts:
            return super().encode(data, geometry, progress)
        alone = lane_geometry(len(data), 1, self.table_bits)  # as the codec tries them, and level 1
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self.contexts.encode, data, alone, no_progress)
            payload = super().encode(data, geometry, progress)
            waiting.result()
        return payload


class TracingCodec:
    """A level's codec whose coders are watched. ``network`` is None at a level without one."""

    def __init__(self, codec: Codec) -> None:
        self.codec = copy(codec)
        self.contexts = Tracing(codec.contexts) if codec.contexts else None  # type: ignore[arg-type]
        self.network: BothTracing | None = None
        self.codec.contexts = self.contexts
        if codec.model_id is None:
            assert self.contexts
            self.codec.coder = self.contexts
        else:
            bits = codec.table_bits
            self.network = BothTracing(codec.coder, self.contexts, bits)  # type: ignore[arg-type]
            self.codec.coder = self.network


def key_of(data: Bytes) -> Key:
    return xxh64(data), len(data)
