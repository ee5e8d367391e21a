"""Digests that were seen, numbered as they came: 48 to 64 bytes each, no object of Python's.

A hash table with linear probing over the digests themselves, which need no further hashing. It is
at most half full.
"""

from __future__ import annotations

from array import array

DIGEST = 32  # bytes: SHA-256
FIRST_SLOTS = 1 << 10


class Digests:
    """A set whose members have numbers."""

    def __init__(self) -> None:
        self.joined = bytearray()
        self.slots = array("Q", bytes(8 * FIRST_SLOTS))  # number + 1 of a digest; 0: none

    def __len__(self) -> int:
        return len(self.joined) // DIGEST

    def number(self, digest: bytes) -> int:
        """Of a digest of ``DIGEST`` bytes; that of a new one is what ``len`` was."""
        at = self._find(digest)
        if self.slots[at]:
            return self.slots[at] - 1
        self.joined += digest
        self.slots[at] = len(self)
        if 2 * len(self) > len(self.slots):
            self._grow()
        return len(self) - 1

    def _find(self, digest: bytes) -> int:
        """The slot of a digest, or the empty one where it belongs."""
        slots, joined = self.slots, self.joined
        last = len(slots) - 1
        at = int.from_bytes(digest[:8], "little") & last
        while (held := slots[at]) and joined[DIGEST * (held - 1) : DIGEST * held] != digest:
            at = (at + 1) & last
        return at

    def _grow(self) -> None:
        self.slots = array("Q", bytes(16 * len(self.slots)))
        for number in range(len(self)):
            digest = bytes(self.joined[DIGEST * number : DIGEST * (number + 1)])
            self.slots[self._find(digest)] = number + 1
