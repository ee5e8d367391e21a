"""Tokens to payloads and back with an exact engine: the same bytes on every machine.

A block of n tokens is a common prefix, coded in one lane, and then contiguous lanes that step
together (``nncodec/blocks.py``), with one range coder for all of them in step-major order. One
function codes both ways; the encoder alone knows the tokens to come and feeds many at once.

Contexts do not slide: models of others are trained on texts that begin with their ``begin`` token,
many of them fail once it is gone, and none was shown later positions than it has. A context that
is full makes way for a new one of ``begin`` and the last ``overlap`` tokens, in all lanes at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nncodec._core import PayloadError, RangeDecoder, RangeEncoder
from nncodec.blocks import MAX_LANES, Geometry, active_lanes, lane_lengths
from nncodec.causal.exact.config import ExactConfig
from nncodec.causal.exact.weights import ExactModel
from nncodec.lanes import POSITIONS_A_CALL, TOKENS_A_CALL

COUNTS_A_CALL = 1 << 24  # 64 MiB
DEFAULT_LANES = 32
LANES_BYTES = 1 << 30  # of their keys and values together
LANE_TOKENS = 1024  # shorter lanes step faster together and lose more at their starts

Ids = npt.NDArray[np.int32]
Counts = npt.NDArray[np.uint32]
Done = Callable[[Ids], object]  # called with the tokens that have just been coded


def no_report(_ids: Ids) -> None:
    """The default: report to nobody."""


class State(Protocol):
    """The contexts of a set of lanes."""

    def advance(self, tokens: npt.NDArray[np.integer], wanted: int | None = None) -> Counts:
        """Feed (B, T) ids; get (B, wanted, K) counts of the symbol behind each of the last."""

    def fork(self, lanes: int) -> None:
        """Turn one lane into many with the same past."""


class Engine(Protocol):
    """``reference.ReferenceEngine`` or ``native.NativeEngine``."""

    @property
    def config(self) -> ExactConfig: ...

    def start(self) -> State:
        """An empty context of one lane."""


class Contexts:
    """Lanes of tokens of any length, in one context after the other."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.config = engine, engine.config
        self.state = engine.start()
        self.used = 0  # positions of the present context
        self.last = np.zeros((1, 0), np.int32)  # tokens, as many as overlap

    @property
    def room(self) -> int:
        """How many tokens can be fed at once; one always can."""
        return max(1, self.config.context - self.used)

    def fork(self, lanes: int) -> None:
        self.state.fork(lanes)
        self.last = np.repeat(self.last, lanes, 0)

    def feed(self, tokens: Ids) -> Counts:
        """(B, T) ids, T at most ``room`` -> (B, T, K) counts of the symbol behind each."""
        lanes, steps = tokens.shape
        self.last = np.concatenate((self.last, tokens), 1)[:, -self.config.overlap :]
        if self.used + steps <= self.config.context:
            self.used += steps
            return self.state.advance(tokens)
        fresh = np.full((lanes, 1), self.config.begin, np.int32)
        tokens = np.concatenate((fresh, self.last), 1)
        self.state, self.used = self.engine.start(), tokens.shape[1]
        if lanes > 1:
            self.state.fork(lanes)
        return self.state.advance(tokens, 1)


class ExactCoder:
    """Codes tokens with a model; whatever engine runs it, the bytes are the same."""

    def __init__(self, model: ExactModel, engine: Engine) -> None:
        self.engine, self.symbol_of = engine, model.symbol_of
        self.ids: Ids = np.asarray(model.tensors["tokens.ids"], np.int32)

    def encode(self, ids: Ids, geometry: Geometry, done: Done = no_report) -> bytes:
        """The payload of (n,) token ids. Raises ValueError for one that stands for no bytes."""
        check_geometry(len(ids), geometry)
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < len(self.symbol_of):
            raise ValueError(f"token ids must lie in 0..{len(self.symbol_of) - 1}")
        symbols = self.symbol_of[ids]
        if (symbols < 0).any():
            raise ValueError(f"token {ids[symbols < 0][0]} stands for no bytes and is not coded")
        encoder = RangeEncoder()

        def code(counts: Counts, known: Ids) -> Ids:
            encoder.encode_wide(counts, known)
            return known

        self.code_block(code, len(ids), geometry, symbols, done)
        return encoder.finish()

    def decode(self, payload: bytes, size: int, geometry: Geometry, done: Done = no_report) -> Ids:
        """Inverse of ``encode`` for ``size`` ids. Raises PayloadError for a damaged payload.

        Memory grows with what has been decoded, not with ``size``.
        """
        try:
            check_geometry(size, geometry)
        except ValueError as error:
            raise PayloadError(str(error)) from error
        decoder = RangeDecoder(np.frombuffer(payload, dtype=np.uint8))

        def code(counts: Counts, _known: Ids) -> Ids:
            return decoder.decode_wide(counts)

        symbols = self.code_block(code, size, geometry, None, done)
        decoder.finish()
        return self.ids[symbols]

    def code_block(
        self,
        code: Callable[[Counts, Ids], Ids],
        size: int,
        geometry: Geometry,
        known: Ids | None,
        done: Done,
    ) -> Ids:
        """Both directions: ``code(counts, symbols)`` gives the symbols, which it may know."""
        contexts = Contexts(self.engine)
        last = np.full((1, 1), self.engine.config.begin, np.int32)  # what goes in next: ids
        parts, prefix = [], geometry.prefix
        for begin, part, count in ((0, prefix, 1), (prefix, size - prefix, geometry.lanes)):
            if count > 1:
                contexts.fork(count)
                last = np.repeat(last, count, 0)
            grid = None if known is None else by_step(known[begin : begin + part], count)
            columns, step, steps = [], 0, -(-part // count)
            while step < steps:
                span = 1
                if grid is not None:
                    most = min(POSITIONS_A_CALL, TOKENS_A_CALL // count)
                    most = min(most, COUNTS_A_CALL // (count * len(self.ids)), contexts.room)
                    span = max(1, min(most, steps - step))
                    last = np.concatenate((last, self.ids[grid[step : step + span - 1]].T), 1)
                counts = contexts.feed(last)
                # Step-major order: all lanes of a step, then the next step; those that have ended
                # come last.
                rows = counts.transpose(1, 0, 2).reshape(span * count, -1)
                coded = count * (span - 1) + active_lanes(part, count, step + span - 1)
                given = np.zeros(0, np.int32)
                if grid is not None:
                    given = grid[step : step + span].reshape(-1)[:coded]
                column = np.zeros(span * count, np.int32)
                column[:coded] = code(np.ascontiguousarray(rows[:coded]), given)
                columns.append(column.reshape(span, count))
                last = self.ids[columns[-1][-1:].T]
                step += span
                done(self.ids[column[:coded]])
            symbols = np.concatenate(columns).T if columns else np.zeros((count, 0), np.int32)
            lengths = lane_lengths(part, count)
            parts += [row[:n] for row, n in zip(symbols, lengths, strict=True)]
        return np.concatenate(parts)


def token_geometry(size: int, config: ExactConfig, most: int = DEFAULT_LANES) -> Geometry:
    """How a block of so many tokens is cut, with at most ``most`` lanes.

    Without a prefix: lanes that begin with the text's first 64 or 128 tokens behind them came out
    no smaller (docs/exact-llama.md), and a prefix is coded in one lane.
    """
    lanes, most = 1, min(most, LANES_BYTES // config.cache_bytes)
    while lanes * 2 <= most and lanes * 2 * LANE_TOKENS <= size:
        lanes *= 2
    return Geometry(lanes)


def check_geometry(size: int, geometry: Geometry) -> None:
    """Raise ValueError unless a block of ``size`` tokens can be cut so."""
    lanes, prefix = geometry.lanes, geometry.prefix
    fits = 1 <= lanes <= MAX_LANES and 0 <= prefix <= size and (lanes == 1 or lanes <= size)
    if not fits or geometry.table_bits:
        raise ValueError(f"{size} tokens cannot be cut as {geometry}")


def by_step(symbols: Ids, lanes: int) -> Ids:
    """(n,) -> (longest lane, lanes); shorter lanes end in a zero that is never coded."""
    grid = np.zeros((-(-len(symbols) // lanes), lanes), np.int32)
    start = 0
    for lane, length in enumerate(lane_lengths(len(symbols), lanes)):
        grid[:length, lane] = symbols[start : start + length]
        start += length
    return grid
