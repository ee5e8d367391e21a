"""Blocks that were used last, since neighbours share them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

KEPT = 1 << 25  # bytes of decoded blocks that are kept; one block at least

T = TypeVar("T")


class Recent(Generic[T]):
    """What was made of the blocks that were used last, of ``KEPT`` bytes together, one at least.

    Which ones it holds depends on the calls alone, and their order.
    """

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[int, int], tuple[T, int]] = OrderedDict()
        self._size = 0

    def get(self, number: int, block: int) -> T | None:
        found = self._held.get((number, block))
        if found is None:
            return None
        self._held.move_to_end((number, block))
        return found[0]

    def put(self, number: int, block: int, value: T, size: int) -> None:
        if (number, block) not in self._held:
            self._held[number, block] = value, size
            self._size += size
        while self._size > KEPT and len(self._held) > 1:
            self._size -= self._held.popitem(last=False)[1][1]
