"""Coding the lanes of a block step by step: the readable twin of ``csrc/block_coder.cc``.

It works with any model that can be stepped. The reference engine uses it; the native engine does
the same in C++, to the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from nncodec._core import RangeDecoder, RangeEncoder
from nncodec.blocks import Bytes, Geometry, active_lanes, from_lanes, lane_lengths, to_lanes
from nncodec.coder import PythonRangeDecoder, PythonRangeEncoder
from nncodec.config import BEGIN_OF_BLOCK
from nncodec.numerics import COUNT_BITS
from nncodec.trace import Trace

if TYPE_CHECKING:
    from nncodec.mixing import ContextMixer

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


class Coder(Protocol):
    """Whatever turns blocks into payloads and back, to the same bytes on every machine."""

    def encode(self, data: Bytes, geometry: Geometry, progress: Progress) -> bytes:
        """The payload of a coded block of (n,) ``data``."""

    def decode(self, payload: bytes, size: int, geometry: Geometry, progress: Progress) -> bytes:
        """Inverse of ``encode``. Raises PayloadError if the payload is found damaged."""


@runtime_checkable
class FloatCoder(Protocol):
    """A model of float arithmetic: a coder only in the environment that an archive names."""

    def within(self, environment: bytes) -> Coder:
        """Raises EnvironmentMismatchError if it is not this machine's."""


class Engine(Coder, Protocol):
    """A model that can be run exactly; whoever has ``start`` inherits the rest."""

    def start(self) -> State:
        """One lane at the beginning of a block."""

    def encode(self, data: Bytes, geometry: Geometry, progress: Progress) -> bytes:
        if geometry.table_bits:
            return encode_mixed(data, geometry, self.start(), progress)
        return encode_lanes(data, geometry.lanes, geometry.prefix, self.start(), progress)

    def decode(self, payload: bytes, size: int, geometry: Geometry, progress: Progress) -> bytes:
        if geometry.table_bits:
            return decode_mixed(payload, size, geometry, self.start(), progress)
        return decode_lanes(payload, size, geometry.lanes, geometry.prefix, self.start(), progress)


class PythonContexts:
    """Context models alone: the readable twin of ``engine.native.NativeContexts``."""

    def encode(self, data: Bytes, geometry: Geometry, progress: Progress) -> bytes:
        return encode_mixed(data, geometry, None, progress)

    def decode(self, payload: bytes, size: int, geometry: Geometry, progress: Progress) -> bytes:
        return decode_mixed(payload, size, geometry, None, progress)


def encode_lanes(
    data: Bytes,
    lanes: int,
    prefix: int,
    state: State,
    progress: Progress,
    trace: Trace | None = None,
) -> bytes:
    """Range-code a block: the prefix in one lane, then all lanes step by step in lane order.

    ``state`` is one lane at the beginning of a block. A ``trace`` of as many bytes is filled.
    """
    encoder = RangeEncoder()
    last = np.array([[BEGIN_OF_BLOCK]])
    for begin, part, count in ((0, data[:prefix], 1), (prefix, data[prefix:], lanes)):
        if count > 1:
            state.fork(count)
        starts = begin + np.cumsum([0, *lane_lengths(len(part), count)[:-1]])
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
            if trace is not None:
                places = (starts + np.arange(start, grid.shape[1])[:stride, None]).reshape(-1)
                for at, row in zip(places[:coded].tolist(), counts.tolist(), strict=False):
                    trace.add_network(at, row, int(data[at]))
                    trace.cost[at] = trace.network[at]
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


def encode_mixed(
    data: Bytes,
    geometry: Geometry,
    state: State | None,
    progress: Progress,
    trace: Trace | None = None,
) -> bytes:
    """Code a block bit by bit with a context mixer, and a network if there is a ``state``.

    A ``trace`` of as many bytes is filled.
    """
    encoder = PythonRangeEncoder()

    def code_bit(ones: int, bit: int) -> int:
        encoder.encode_bit(ones, bit)
        return bit

    code_mixed(code_bit, bytearray(data.tobytes()), geometry, state, progress, trace)
    return encoder.finish()


def decode_mixed(
    payload: bytes, size: int, geometry: Geometry, state: State | None, progress: Progress
) -> bytes:
    """Inverse of ``encode_mixed``. Raises PayloadError if the payload is found damaged."""
    decoder = PythonRangeDecoder(payload)
    symbols = bytearray(size)
    code_mixed(lambda ones, _bit: decoder.decode_bit(ones), symbols, geometry, state, progress)
    decoder.finish()
    return bytes(symbols)


def code_mixed(
    code_bit: Callable[[int, int], int],
    symbols: bytearray,
    geometry: Geometry,
    state: State | None,
    progress: Progress,
    trace: Trace | None = None,
) -> None:
    """Both directions: ``code_bit(ones, bit)`` gives the bit; ``symbols`` fills as they come."""
    from nncodec.mixing import ContextMixer, LaneHistory, LanePart  # only here: it costs 5 ms

    mixer = ContextMixer(geometry.table_bits, network=state is not None)
    histories = [LaneHistory()]
    rest = len(symbols) - geometry.prefix
    parts = LanePart(0, geometry.prefix, 1), LanePart(geometry.prefix, rest, geometry.lanes)
    for part in parts:
        if state and part.lanes > 1:
            state.fork(part.lanes)
        token = symbols[part.begin - 1] if part.begin else BEGIN_OF_BLOCK
        last = np.full((part.lanes, 1), token)
        histories = [replace(histories[0]) for _ in range(part.lanes)]
        for lane, history in enumerate(histories):
            history.start_run(part.starts[lane])
        for step in range(max(part.lengths)):
            counts = state.advance(last)[:, 0].tolist() if state else None
            for lane in range(active_lanes(part.size, part.lanes, step)):
                tree = bit_tree(counts[lane]) if counts else None
                at = part.at(lane, step)
                mixer.begin(symbols, part, lane, step, histories[lane])
                expected, length = mixer.expected, histories[lane].match_length
                symbols[at], given = code_byte(code_bit, mixer, tree, symbols[at])
                if trace is not None:
                    if counts:
                        trace.add_network(at, counts[lane], symbols[at])
                    trace.add_match(at, expected, length)
                    trace.add_cost(at, given)
                mixer.end(symbols, part, lane, step, histories[lane])
                last[lane, 0] = symbols[at]
                progress(1)


def code_byte(
    code_bit: Callable[[int, int], int], mixer: ContextMixer, tree: list[int] | None, known: int
) -> tuple[int, list[int]]:
    """Code the byte that the mixer began with, and the probabilities, of 65536, of its bits.

    ``tree`` is that of the network's counts, if there is a network.
    """
    node, given = 1, []
    for shift in range(7, -1, -1):
        network = (tree[2 * node + 1] << 16) // tree[node] if tree else 0
        p = mixer.predict(network)
        bit = code_bit(p << (COUNT_BITS - 16), known >> shift & 1)
        mixer.update(bit)
        given.append(p if bit else (1 << 16) - p)
        node = 2 * node + bit
    return node & 0xFF, given


def bit_tree(counts: list[int]) -> list[int]:
    """A power of two of counts as the sums of a binary tree: node 1 is all, node n's children
    2n and 2n + 1."""
    sums = [0] * len(counts) + counts
    for node in range(len(counts) - 1, 0, -1):
        sums[node] = sums[2 * node] + sums[2 * node + 1]
    return sums
