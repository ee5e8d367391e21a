"""Entropy-coded quantisation of one matrix with one step: uniform, or by a trellis.

An index is chosen by what it costs in squared error *and* in bits. Bits are those of an ideal
coder that knows how often each magnitude is used (of the matrix, and under either quantiser); as
the choice changes how often, it is made a few times. See G. J. Sullivan, "Efficient scalar
quantization of exponential and Laplacian random variables", IEEE Trans. Inf. Theory 42 (1996).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nncodec.errors import QuantizationError
from nncodec.lossy import trellis

Indices = npt.NDArray[np.int32]
Floats = npt.NDArray[np.floating]
Classes = npt.NDArray[np.uint8]

# What a bit is worth in squared steps: the slope of the rate-distortion curve. For the uniform
# quantiser 2 ln 2 / 12; for the trellis the best of those tried from 1 to 5 bits a weight.
UNIFORM_SLOPE = math.log(2) / 6
TRELLIS_SLOPE = 0.4
ROUNDS = 3
MOST_SHIFT = 0.5  # of a reconstruction point
SHORTEST_ROW = 32  # that a trellis has room in


def quantize_uniform(positions: Floats, rdo: float) -> Indices:
    """(rows, cols) weights in steps to indices; ``rdo`` 0 rounds to the nearest, 1 is best."""
    check_range(positions, trellis.MOST_INDEX - 1)
    size = np.abs(positions)
    near = np.rint(size).astype(np.int32)
    if rdo > 0:
        below = np.floor(size).astype(np.int32)
        for _ in range(ROUNDS):
            bits = magnitude_bits(near, None)[0] * (rdo * UNIFORM_SLOPE)
            costs = [
                (size - k) ** 2 + bits[np.minimum(k, len(bits) - 1)] for k in (below, below + 1)
            ]
            near = below + (costs[1] < costs[0])
    return np.where(positions < 0, -near, near).astype(np.int32)


def quantize_trellis(positions: Floats, states: int, rdo: float) -> Indices:
    """(rows, cols) weights in steps to indices of the trellis."""
    trellis.code(states)
    check_range(positions, trellis.MOST_POSITION // trellis.SCALE)
    places = np.rint(positions * trellis.SCALE).astype(np.int32)
    worth = rdo * TRELLIS_SLOPE * trellis.SCALE**2
    # Half the steps, rounded: close enough to what will be used to begin with.
    indices = np.rint(positions / 2).astype(np.int32)
    bits = np.repeat(magnitude_bits(indices, None), 2, axis=0)
    for again in reversed(range(ROUNDS if rdo > 0 else 1)):
        rates = np.minimum(np.rint(bits * worth), trellis.MOST_RATE).astype(np.int32)
        indices = trellis.quantize(places, rates, states)
        if again:
            bits = magnitude_bits(indices, trellis.quantisers(indices, states))
    return indices


def check_range(positions: Floats, most: int) -> None:
    """Raises QuantizationError if an index would not fit 16 bits."""
    largest = float(np.abs(positions).max(initial=0))
    if not largest <= most:
        raise QuantizationError(
            f"a weight lies {largest:.0f} steps from zero, {most} are possible: take a larger step"
        )


def magnitude_bits(indices: Indices, classes: Classes | None) -> npt.NDArray[np.float64]:
    """(1 or 2, magnitudes): bits of an index by its magnitude, sign included, in each class.

    Counts are smoothed a little, so that what was not used yet has a price too.
    """
    size = np.abs(indices)
    count = min(int(size.max(initial=0)) + 3, trellis.MOST_INDEX + 1)
    rows = []
    for chosen in [size] if classes is None else [size[classes == c] for c in (0, 1)]:
        seen = np.bincount(chosen.ravel(), minlength=count)[:count].astype(np.float64)
        seen += np.convolve(seen, [0.05, 0.1, 0.05], "same") + 1e-3
        bits = -np.log2(seen / seen.sum())
        bits[1:] += 1
        rows.append(bits)
    return np.stack(rows)


def order0_bits(indices: npt.NDArray[Any], classes: Classes | None = None) -> float:
    """The empirical entropy of all indices together, in bits; of those of each class, if given."""
    total = 0.0
    for c in (0, 1) if classes is not None else (0,):
        chosen = indices.ravel() if classes is None else indices[classes == c]
        if chosen.size:
            seen = symbol_counts(chosen)
            total -= float((seen * np.log2(seen / chosen.size)).sum())
    return total


def symbol_counts(symbols: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """How often each value occurs that does."""
    if symbols.dtype.itemsize > 2:  # a table of all values could be large
        return np.unique(symbols, return_counts=True)[1].astype(np.int64)
    wide = symbols.astype(np.int64).ravel()
    seen = np.bincount(wide - wide.min(initial=0))
    return seen[seen > 0]


def centroids(positions: Floats, levels: Indices, sizes: Indices) -> tuple[float, ...]:
    """How far outward the weights of |k| = 1 and 2 lie of their level, on average, in steps."""
    points = []
    for size in (1, 2):
        chosen = sizes == size
        outward = (positions[chosen] - levels[chosen]) * np.sign(levels[chosen])
        shift = float(outward.mean()) if outward.size else 0.0
        points.append(round(min(max(shift, -MOST_SHIFT), MOST_SHIFT), 2))
    return tuple(points)
