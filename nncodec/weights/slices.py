"""Which run of a tensor an index needs, so that no more of it is decoded."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Run:
    """Elements ``first`` to ``first + count``, of the shape ``shape``, to which ``rest`` applies.

    Axis 0 of the result is reversed afterwards if ``backwards``.
    """

    first: int
    shape: tuple[int, ...]
    rest: tuple[Any, ...]
    backwards: bool = False

    @property
    def count(self) -> int:
        return math.prod(self.shape)


def expand(index: Any, axes: int) -> list[int | slice]:
    """An index of integers, slices and at most one ``...`` as one entry an axis.

    Raises TypeError for anything else, IndexError for too many of them.
    """
    parts = list(index) if isinstance(index, tuple) else [index]
    dots = [i for i, part in enumerate(parts) if part is Ellipsis]
    if len(dots) > 1:
        raise IndexError("an index has one ... at most")
    if len(parts) - len(dots) > axes:
        raise IndexError(f"{len(parts) - len(dots)} indices for a tensor of {axes} axes")
    fill = [slice(None)] * (axes - len(parts) + len(dots))
    at = dots[0] if dots else len(parts)
    parts = parts[:at] + fill + parts[at + 1 :]
    return [part if isinstance(part, slice) else _integer(part) for part in parts]


def _integer(part: Any) -> int:
    try:
        if not isinstance(part, bool):
            return operator.index(part)
    except TypeError:
        pass
    raise TypeError(
        f"slices of a tensor are taken by integers, slices and ..., not {type(part).__name__}: "
        "get_tensor gives all of it, to be indexed by anything"
    )


def needed_run(index: Any, shape: Sequence[int]) -> Run:
    """The shortest run of rows that holds what ``index`` takes of a tensor of ``shape``.

    Leading integers choose a part, the first slice behind them rows of it; the rest is applied to
    these. Raises IndexError, TypeError.
    """
    parts = expand(index, len(shape))
    first = 0
    for axis, part in enumerate(parts):
        below = tuple(shape[axis + 1 :])
        if isinstance(part, int):
            length = shape[axis]
            if not -length <= part < length:
                raise IndexError(f"index {part} of axis {axis}, which has {length}")
            first += (part % length) * math.prod(below)
            continue
        rows = range(shape[axis])[part]
        if rows.step < 0:
            rows = rows[::-1]
        begin, end = (rows[0], rows[-1] + 1) if rows else (0, 0)
        taken = (slice(None, None, rows.step), *parts[axis + 1 :])
        backwards = part.step is not None and part.step < 0
        return Run(first + begin * math.prod(below), (end - begin, *below), taken, backwards)
    return Run(first, (), ())
