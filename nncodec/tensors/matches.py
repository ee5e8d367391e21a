"""Where the last elements came before, and what followed there: of csrc/tensor_run.h."""

from __future__ import annotations

from nncodec.tensors.nibbles import hashed
from nncodec.tensors.parts import Cut

TABLE_BITS = 18
LEAST, MOST = 3, 31  # elements of a match


class Matches:
    """Of all planes so far, which ``data`` holds one after the other."""

    def __init__(self, data: bytearray) -> None:
        self.data = data
        self.table: dict[int, int] = {}  # hash of three elements -> offset of the next
        self.at = self.length = 0
        self.slot: int | None = None  # of the element to come

    def begin(self, begin: int, width: int) -> None:
        """A plane of elements of ``width`` bytes, from offset ``begin`` on."""
        self.plane, self.width = begin, width

    def load(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + self.width], "little")

    def find(self, at: int) -> None:
        """Before the element at an offset: go on with the match, or look for one."""
        w = self.width
        self.slot = None
        if at - self.plane < LEAST * w:
            self.length = 0
            return
        self.slot = self.next_slot
        candidate = self.table.get(self.slot, 0)
        if self.length > 0 or candidate == 0:
            return
        most = min(candidate, at - self.plane, MOST * w) // w
        length = 0
        while length < most and (
            self.load(candidate - (length + 1) * w) == self.load(at - (length + 1) * w)
        ):
            length += 1
        if length >= LEAST:
            self.at, self.length = candidate, length

    def end(self, at: int, last: tuple[Cut, Cut, Cut]) -> None:
        """After the element at an offset, the first of ``last``, by which the next is looked up."""
        if self.slot is not None:
            self.table[self.slot] = at
        value, before, before2 = (c.value for c in last)
        self.next_slot = hashed(value, before, before2) >> (32 - TABLE_BITS)
        if self.length:
            hit = self.load(self.at) == value
            self.length = min(self.length + 1, MOST) if hit else 0
            self.at += self.width

    @property
    def bucket(self) -> int:
        """0 without a match, 1 to 3 by its length."""
        return 1 + (self.length > 6) + (self.length > 15) if self.length else 0
