"""Orders of reading in which a block is decoded once for all of its members.

Members that share a frame are a *unit* (small ones share one of a single block). An order takes
units as they lie in the archive or shuffled, is cut into equal parts for ranks and workers, and in
each part members of *windows*, runs of so many bytes, are shuffled among each other. So what has to
be kept is a window, and two parts decode the same block only where they meet. Arrays of integers
throughout: millions of members are no objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nncodec.pack.plan import runs
from nncodec.pack.reader import PackedArchive
from nncodec.pack.recent import KEPT

Ints = npt.NDArray[np.int64]
BUFFER = 1 << 22  # bytes of a window; an archive keeps KEPT of decoded blocks


@dataclass(frozen=True)
class Layout:
    """Where (n,) members lie: all but ``begins`` are of their order in the content.

    ``places`` are the members; ``ranks`` is the inverse. ``weights`` are bytes that each adds to a
    window: its own, or its share of what is decoded for it. ``begins`` (units + 1,) is where units
    begin.
    """

    places: Ints
    ranks: Ints
    weights: npt.NDArray[np.float64]
    begins: Ints

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True)
class Epoch:
    """What decides an order: the part of so many, and whether and how it is shuffled."""

    part: int = 0
    parts: int = 1
    shuffle: bool = False
    seed: int = 0
    number: int = 0
    buffer: int = BUFFER

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if not 0 <= self.part < self.parts:
            raise ValueError(f"part {self.part} of {self.parts}: parts are counted from 0")
        if not 0 < self.buffer <= KEPT:
            raise ValueError(f"a buffer of {self.buffer} bytes: it has 1 to {KEPT}, that are kept")


def layout_of(archive: PackedArchive, members: Ints) -> Layout:
    """The layout of (n,) ``members``, numbers in the archive, as 0 to n - 1."""
    begins, sizes = archive.places(members)
    if len(sizes):  # what has no bytes lies where the one before it does
        begins = begins[np.maximum.accumulate(np.where(sizes > 0, np.arange(len(sizes)), 0))]
    places = np.argsort(begins, kind="stable")
    ranks = np.empty_like(places)
    ranks[places] = np.arange(len(places))
    ends = archive.frame_ends
    units = np.searchsorted(ends, begins[places], "right")  # the frame that each begins in
    firsts = np.flatnonzero(np.diff(units, prepend=-1))
    counts = np.diff(firsts, append=len(places))
    decoded = np.diff(ends, prepend=0)[np.minimum(units[firsts], len(ends) - 1)] if len(ends) else 0
    share = np.repeat(decoded / np.maximum(counts, 1), counts)
    weights = np.maximum(sizes[places].astype(np.float64), share)
    return Layout(places, ranks, weights, np.append(firsts, len(places)))


def arrange(layout: Layout, epoch: Epoch) -> tuple[Ints, Ints]:
    """The places of a part in the order of an epoch; and the number of each one's window.

    Parts are of equal size, but for one; together they are every place once.
    """
    begins, counts = layout.begins[:-1], np.diff(layout.begins)
    total = len(layout)
    order = np.arange(total)
    if epoch.shuffle:
        generator = np.random.default_rng((epoch.seed, epoch.number))
        units = generator.permutation(len(counts))
        order = runs(begins[units], counts[units])
    low = total * epoch.part // epoch.parts
    high = total * (epoch.part + 1) // epoch.parts
    order = order[low:high]
    weights = layout.weights[order]
    windows = ((np.cumsum(weights) - weights) // epoch.buffer).astype(np.int64)
    if epoch.shuffle:
        generator = np.random.default_rng((epoch.seed, epoch.number, epoch.part + 1))
        mixed = np.lexsort((generator.random(len(order)), windows))
        order = order[mixed]
    return layout.places[order], windows
