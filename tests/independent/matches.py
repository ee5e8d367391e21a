"""Matches of a tensors block (FORMAT-tensors.md, "Matches")."""

from .planes import Plane
from .stages import hashed


class Matches:
    """Finds where the planes of a block so far go on as they did before."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.table = [0] * 2**18
        self.length = self.source = self.next_slot = 0
        self.slot: int | None = None

    def start_plane(self, plane: Plane) -> None:
        self.begin = len(self.data)
        self.width = plane.width

    def load(self, offset: int) -> int:
        return int.from_bytes(self.data[offset : offset + self.width], "little")

    def find(self) -> tuple[int, int, int]:
        """find_match(): length, bucket, and the value that is expected."""
        at, w = len(self.data), self.width
        self.slot = None
        if at - self.begin < 3 * w:
            self.length = 0
        else:
            self.slot = self.next_slot
            if self.length == 0 and self.table[self.slot] > 0:
                o = self.table[self.slot]
                most = min(o, at - self.begin, 31 * w)
                n = 0
                while (n + 1) * w <= most and self.load(o - (n + 1) * w) == self.load(
                    at - (n + 1) * w
                ):
                    n += 1
                if n >= 3:
                    self.source, self.length = o, n
        length = self.length
        bucket = 0 if length == 0 else 1 if length <= 6 else 2 if length <= 15 else 3
        return length, bucket, self.load(self.source) if length else 0

    def end(self, v: int, v1: int, v2: int) -> None:
        """end_match(); then the element that was coded is part of the array."""
        at = len(self.data)
        if self.slot is not None:
            self.table[self.slot] = at
        self.next_slot = hashed(v, v1, v2) >> 14
        if self.length > 0:
            self.length = min(self.length + 1, 31) if self.load(self.source) == v else 0
            self.source += self.width
        self.data += (v % 2 ** (8 * self.width)).to_bytes(self.width, "little")
