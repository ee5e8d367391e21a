"""Coding the lanes of a block step by step: the readable twin of ``csrc/block_coder.cc``.

It works with any model that can be stepped. The reference engine uses it; the native engine does
the same in C++, to the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nncodec._core import RangeDecoder, RangeEncoder
from nncodec.blocks import Bytes, active_lanes, from_lanes, to_lanes
from nncodec.config import BEGIN_OF_BLOCK

TOKENS_A_CALL = 4096  # lanes times positions that the encoder hands the engine at once
POSITIONS_A_CALL = 128  # more would compare every position with too many that it cannot see

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
    """A model that can be run exactly; whoever has ``start`` inherits the rest."""

    def start(self) -> State:
        """One lane at the beginning of a block."""

    def encode(self, data: Bytes, lanes: int, prefix: int, progress: Progress) -> bytes:
        """The payload of a coded block of (n,) ``data``."""
        return encode_lanes(data, lanes, prefix, self.start(), progress)

    def decode(
        self, payload: bytes, size: int, lanes: int, prefix: int, progress: Progress
    ) -> bytes:
        """Inverse of ``encode``. Raises PayloadError if the payload is found damaged."""
        return decode_lanes(payload, size, lanes, prefix, self.start(), progress)


def encode_lanes(data: Bytes, lanes: int, prefix: int, state: State, progress: Progress) -> bytes:
    """Range-code a block: the prefix in one lane, then all lanes step by step in lane order.

    ``state`` is one lane at the beginning of a block.
    """
    encoder = RangeEncoder()
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


def decode_lanes(
    payload: bytes, size: int, lanes: int, prefix: int, state: State, progress: Progress
) -> bytes:
    """Inverse of ``encode_lanes``. Raises PayloadError if the payload is found damaged."""
    decoder = RangeDecoder(np.frombuffer(payload, dtype=np.uint8))
    last = np.array([[BEGIN_OF_BLOCK]])
    parts = []
    for part, count in ((prefix, 1), (size - prefix, lanes)):
        if count > 1:
            state.fork(count)
        last = np.repeat(last, count, 0)
        grid = np.zeros((count, -(-part // count)), dtype=np.uint8)
        for step in range(grid.shape[1]):
            active = active_lanes(part, count, step)
            counts = state.advance(last)[:active, 0]
            symbols = np.frombuffer(decoder.decode(counts), dtype=np.uint8)
            progress(active)
            grid[:active, step] = symbols
            last = grid[:, step : step + 1].astype(np.int64)
        parts.append(from_lanes(grid, part))
    decoder.finish()
    return np.concatenate(parts).tobytes()
