"""Where a member's bytes lie, as two columns of the index: a pair is made when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from nncodec.pack.index import Numbers

STEP = 1 << 12  # pairs that are made at once

Extent = tuple[int, int]  # begin in the content, and size


class Extents(Sequence[Extent]):
    """Extents in the order of the member's bytes; a view of (n,) ``begins`` and ``sizes``."""

    def __init__(self, begins: Numbers, sizes: Numbers) -> None:
        self.begins, self.sizes = begins, sizes

    def __len__(self) -> int:
        return len(self.begins)

    @overload
    def __getitem__(self, number: int) -> Extent: ...
    @overload
    def __getitem__(self, number: slice) -> Extents: ...
    def __getitem__(self, number: int | slice) -> Extent | Extents:
        if isinstance(number, slice):
            return Extents(self.begins[number], self.sizes[number])
        return int(self.begins[number]), int(self.sizes[number])

    def __iter__(self) -> Iterator[Extent]:
        for at in range(0, len(self), STEP):
            part = slice(at, at + STEP)
            yield from zip(self.begins[part].tolist(), self.sizes[part].tolist(), strict=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Extents):
            return NotImplemented
        same = len(self) == len(other) and (self.begins == other.begins).all()
        return bool(same and (self.sizes == other.sizes).all())

    def __hash__(self) -> int:
        return hash((len(self), self[0] if len(self) else None))

    def __repr__(self) -> str:
        return f"Extents({list(self[:3])}{', ...' if len(self) > 3 else ''})"

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return int(self.sizes.sum())
