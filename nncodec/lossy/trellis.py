"""Dependent ("trellis-coded") quantisation: a row's weights choose between two quantisers in turn.

Quantiser 0 has the even multiples of a step, quantiser 1 the odd ones and zero. Which of the two an
index belongs to follows from the parities of the indices before it, by a state that starts at 0 in
every row; so rows are independent, and nothing but the indices is stored. Together the quantisers
are as fine as one step, while an index costs what one of two steps does: up to 1.2 of the 1.53 dB
that scalar quantisers lose.

Sources: T. R. Fischer, M. Wang, "Entropy-constrained trellis-coded quantization", IEEE Trans. Inf.
Theory 38 (1992); H. Schwarz et al., "Hybrid video coding with trellis-coded quantization", DCC
2019 (the quantisers and the parity rule, as in VVC and ISO/IEC 15938-17); P. Haase et al.,
"Dependent scalar quantization for neural network compression", ICIP 2020; G. Ungerboeck, "Channel
coding with multilevel/phase signals", IEEE Trans. Inf. Theory 28 (1982), table I, for the codes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nncodec import _core
from nncodec.errors import QuantizationError

Indices = npt.NDArray[np.int32]

SCALE = 256  # positions: so many to a step
MOST_RATE = 1 << 23  # of one index, in squared positions
MOST_INDEX = 32767
MOST_POSITION = (2 * MOST_INDEX - 4) * SCALE
DEFAULT_STATES = 64

# States: (what an odd state's successor is exclusive-ored with, the same of an odd index). These
# are Ungerboeck's h0 and h1 without their lowest bit: 5, 2; 13, 4; 23, 4; 45, 10; 103, 24 (octal).
CODES = {4: (2, 1), 8: (5, 2), 16: (9, 2), 32: (18, 4), 64: (33, 10)}


def code(states: int) -> tuple[int, int]:
    """``CODES[states]``; raises QuantizationError for a number of states that has none."""
    if states not in CODES:
        raise QuantizationError(f"no trellis of {states} states: choose one of {list(CODES)}")
    return CODES[states]


def successors(states: int) -> npt.NDArray[np.uint8]:
    """(states, 2): the state that follows, by an index's parity."""
    odd_state, odd_index = code(states)
    s, parity = np.arange(states)[:, None], np.arange(2)
    return ((s >> 1) ^ odd_state * (s & 1) ^ odd_index * parity).astype(np.uint8)


def quantisers(indices: npt.NDArray[np.integer], states: int) -> npt.NDArray[np.uint8]:
    """Of (rows, cols) indices: 0 or 1, the lowest bit of the state that each is coded in."""
    follow = successors(states)
    parities = (indices & 1).astype(np.uint8).T  # column by column: a contiguous row each
    out = np.empty(parities.shape, dtype=np.uint8)
    state = np.zeros(indices.shape[0], dtype=np.uint8)
    for column, parity in enumerate(parities):
        np.bitwise_and(state, 1, out=out[column])
        state = follow[state, parity]
    return out.T


def level(indices: npt.NDArray[np.integer], quantiser: npt.NDArray[np.uint8]) -> Indices:
    """Indices as multiples of the step: 2 k, or 2 k - sign(k) under quantiser 1."""
    wide: Indices = indices.astype(np.int32)
    out: Indices = 2 * wide - np.sign(wide) * quantiser.astype(np.int32)
    return out


def levels(indices: npt.NDArray[np.integer], states: int) -> Indices:
    """``level`` of (rows, cols) indices."""
    return level(indices, quantisers(indices, states))


def quantize(positions: Indices, rates: Indices, states: int) -> Indices:
    """The cheapest indices of every row, found by Viterbi's algorithm in C++ (``csrc/trellis.cc``).

    ``positions`` (rows, cols): weights in 1/256 of a step, at most ``MOST_POSITION`` from zero.
    ``rates`` (2, magnitudes): what a magnitude costs under either quantiser, 0 to ``MOST_RATE``, in
    squared positions; larger magnitudes cost what the last one does. Raises ValueError otherwise.
    """
    return _core.trellis_quantize(
        np.ascontiguousarray(positions), np.ascontiguousarray(rates), states, *code(states)
    )


def search(positions: Indices, rates: Indices, states: int) -> Indices:
    """``quantize`` once more, readable: the same indices."""
    rows, cols = positions.shape
    follow = successors(states)
    ways = [
        [(s, p) for s in range(states) for p in (0, 1) if follow[s, p] == t] for t in range(states)
    ]
    cost = np.full((states, rows), 1 << 29, dtype=np.int64)
    cost[0] = 0
    chosen = np.empty((cols, 4, rows), dtype=np.int32)
    decided = np.empty((cols, states, rows), dtype=bool)
    for c in range(cols):
        chosen[c], branch = _branches(positions[:, c].astype(np.int64), rates)
        first, second = (
            np.stack([cost[s] + branch[2 * (s & 1) + p] for s, p in (two[way] for two in ways)])
            for way in (0, 1)
        )
        decided[c] = second < first
        cost = np.minimum(first, second)
    state = cost.argmin(axis=0)
    row = np.arange(rows)
    out = np.empty_like(positions)
    table = np.array(ways)  # (states, 2, 2)
    for c in reversed(range(cols)):
        before, parity = table[state, decided[c, state, row].astype(int)].T
        out[:, c] = chosen[c, 2 * (before & 1) + parity, row]
        state = before
    return out


def _branches(
    position: npt.NDArray[np.int64], rates: Indices
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(4, rows) each: the best index of quantiser q and parity p, at 2 q + p, and its cost."""
    a = np.abs(position)
    indices, costs = [], []
    for q in (0, 1):
        for p in (0, 1):
            below = (a + SCALE * q) // (2 * SCALE)
            below -= (below & 1) != p
            tried = [np.maximum(below, p), below + 2]
            if p == 0:
                tried.append(np.where(a <= 4 * SCALE, 0, np.maximum(below, 0)))
            k = np.stack(tried)
            level = np.where(k == 0, 0, 2 * k - q) * SCALE
            cost = (a - level) ** 2 + rates[q, np.minimum(k, rates.shape[1] - 1)]
            best = cost.argmin(axis=0)
            row = np.arange(len(a))
            indices.append(np.where(position < 0, -1, 1) * k[best, row])
            costs.append(cost[best, row])
    return np.stack(indices), np.stack(costs)
