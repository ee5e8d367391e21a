"""An explanation's curve, and its stretches that were easiest and hardest to predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nncodec.explain.explanation import Detail, Explanation

WINDOW = 64  # bytes of a stretch, in files of ten and more of them
STRETCHES = 8
POINTS = 1000  # of the curve, at most


@dataclass(frozen=True)
class Stretch:
    """The bytes ``begin`` to ``end`` of the file."""

    begin: int
    end: int
    bits_per_byte: float


def stretches(shown: Explanation, most: int = STRETCHES) -> tuple[list[Stretch], list[Stretch]]:
    """The least and the most predictable windows, apart from each other, worst and best first.

    Bytes of which only the block's cost is known are left out.
    """
    n = len(shown.data)
    width = min(WINDOW, max(1, n // 10))
    if not n:
        return [], []
    sums = np.concatenate(([0.0], np.cumsum(shown.bits, dtype=np.float64)))
    known = np.concatenate(([0], np.cumsum(shown.detail != Detail.BLOCK)))
    starts = np.flatnonzero(known[width:] - known[:-width] == width)
    means = (sums[starts + width] - sums[starts]) / width
    order = np.argsort(means, kind="stable")

    def pick(candidates: npt.NDArray[np.intp]) -> list[Stretch]:
        taken: list[Stretch] = []
        free = np.ones(n, bool)
        for i in candidates:
            at = int(starts[i])
            if free[at] and free[at + width - 1]:
                free[at : at + width] = False
                begin = shown.begin + at
                taken.append(Stretch(begin, begin + width, float(means[i])))
                if len(taken) == most:
                    break
        return taken

    return pick(order[::-1]), pick(order)


def curve(shown: Explanation, points: int = POINTS) -> dict[str, Any]:
    """Bits a byte of equal pieces: of the three, None where not known, and of all so far."""
    n = len(shown.data)
    edges = np.linspace(0, n, min(n, points) + 1).astype(np.int64)
    result: dict[str, Any] = {"begin": [int(shown.begin + edge) for edge in edges[:-1]]}
    lengths = np.diff(edges)
    for name in ("bits", "network", "contexts"):
        column = getattr(shown, name).astype(np.float64)
        means = np.add.reduceat(column, edges[:-1]) / lengths if n else column[:0]
        result[name] = [None if np.isnan(m) else round(float(m), 4) for m in means]
        if name == "bits":
            so_far = np.cumsum(means * lengths) / edges[1:] if n else column
            result["running"] = [round(float(m), 4) for m in so_far]
    return result
