"""Tokens to a payload and back, lane by lane and step by step, by constriction's range coder.

As bytes are in ``nncodec.lanes``: first the prefix in one lane, then contiguous runs that step
together and have the prefix behind them; one coder for all, lanes in order. Rows of probabilities
are float64, whose sums constriction gets right; of a token that is improbable beyond its 24 bits
it codes a larger probability, so that any token can be coded. A lane that has ended is fed the
begin token, in both directions, because the shape of a batch decides its floats.

    payload = varint tokens, varint side size, [varint bytes of the coded side, coded side], words
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nncodec._core import PayloadError
from nncodec.blocks import active_lanes, lane_lengths
from nncodec.extras import need

Ids = npt.NDArray[np.int32]
Rows = npt.NDArray[np.float64]
Done = Callable[[Ids], object]  # called with the tokens of a step


class Session(Protocol):
    """Where a batch of lanes stands."""

    def probabilities(self) -> Rows:
        """(L, U): of every usable token to be the next one; not negative, their sum about 1."""

    def take(self, tokens: Ids) -> None:
        """(L,) tokens that came."""


class Predictor(Protocol):
    """A model of tokens. ``usable`` has the token of each place in a row, ``rank`` the place of
    each token, -1 for one that is never coded."""

    usable: Ids
    rank: Ids

    @property
    def begin(self) -> int:
        """The token that lanes start with and, once ended, are fed."""

    def start(self, lanes: int, common: Ids) -> Session:
        """Lanes with the tokens ``common`` behind them."""


@dataclass(frozen=True)
class TokenGeometry:
    """How ``count`` tokens are cut: ``prefix`` of them in one lane, the rest in ``lanes``."""

    count: int
    lanes: int = 1
    prefix: int = 0

    def parts(self) -> tuple[tuple[int, int, int], ...]:
        """(first token, tokens, lanes) of what is coded one after the other; without empty ones."""
        parts = (0, self.prefix, 1), (self.prefix, self.count - self.prefix, self.lanes)
        return tuple(part for part in parts if part[1])


def encode(ids: Ids, geometry: TokenGeometry, predictor: Predictor, done: Done) -> bytes:
    """The words of (n,) tokens, all of which the predictor codes."""
    constriction = need("constriction")

    encoder = constriction.stream.queue.RangeEncoder()
    family = constriction.stream.model.Categorical(perfect=False)

    def code(rows: Rows, known: Ids) -> Ids:
        encoder.encode(predictor.rank[known], family, rows)
        return known

    run(code, ids.copy(), geometry, predictor, done)
    words: npt.NDArray[np.uint32] = encoder.get_compressed()
    return words.astype("<u4").tobytes()


def decode(words: bytes, geometry: TokenGeometry, predictor: Predictor, done: Done) -> Ids:
    """Inverse of ``encode``. Raises PayloadError if the words are found damaged."""
    constriction = need("constriction")

    if len(words) % 4:
        raise PayloadError("payload is no sequence of words")
    decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(words, "<u4").astype(np.uint32))
    family = constriction.stream.model.Categorical(perfect=False)

    def code(rows: Rows, _known: Ids) -> Ids:
        try:
            ranks = decoder.decode(family, rows)
        except AssertionError as error:  # bits that no encoder writes
            raise PayloadError("payload is damaged") from error
        came: Ids = predictor.usable[ranks]
        return came

    ids = np.zeros(geometry.count, dtype=np.int32)
    run(code, ids, geometry, predictor, done)
    if not decoder.maybe_exhausted():
        raise PayloadError("payload has bytes left over")
    return ids


def run(
    code: Callable[[Rows, Ids], Ids],
    ids: Ids,
    geometry: TokenGeometry,
    predictor: Predictor,
    done: Done,
) -> None:
    """Both directions: ``code(rows, known)`` gives the tokens; ``ids`` fills as they come."""
    for first, count, lanes in geometry.parts():
        session = predictor.start(lanes, ids[:first])
        for places in steps(first, count, lanes):
            rows = session.probabilities()[: len(places)]
            came = code(rows, ids[places])
            ids[places] = came
            done(came)
            if places[0] + 1 < first + lane_lengths(count, lanes)[0]:  # another step follows
                fed = np.full(lanes, predictor.begin, dtype=np.int32)
                fed[: len(places)] = came
                session.take(fed)


def steps(first: int, count: int, lanes: int) -> Iterator[npt.NDArray[np.int64]]:
    """The places of the tokens that are coded together, step by step."""
    lengths = lane_lengths(count, lanes)
    starts = first + np.cumsum([0, *lengths[:-1]])
    for step in range(lengths[0]):
        yield starts[: active_lanes(count, lanes, step)] + step
