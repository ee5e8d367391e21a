"""Many sorted names in two arrays: no object for each, found by bisection.

Millions of names take their own bytes and eight more. A look-up compares some 20 of them and needs
no table that had to be built first, so an archive is open at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from nncodec.errors import CorruptDataError

Bytes = npt.NDArray[np.uint8]
SLASH, DOT = 0x2F, 0x2E
LONGEST = 1 << 16  # bytes of a name


class Names(Sequence[str]):
    """Names as text (surrogateescape), in the order of their bytes. ``find`` is by bisection."""

    def __init__(self, joined: bytes) -> None:
        """Of names that each end in a NUL."""
        self.joined = joined
        self.ends = np.flatnonzero(np.frombuffer(joined, dtype=np.uint8) == 0)

    @classmethod
    def of(cls, names: Iterable[bytes]) -> Names:
        return cls(b"".join(name + b"\0" for name in names))

    def __len__(self) -> int:
        return len(self.ends)

    def raw(self, number: int) -> bytes:
        """A name's bytes; ``number`` is 0 to ``len(self) - 1``."""
        begin = int(self.ends[number - 1]) + 1 if number else 0
        return self.joined[begin : int(self.ends[number])]

    @overload
    def __getitem__(self, number: int) -> str: ...
    @overload
    def __getitem__(self, number: slice) -> list[str]: ...
    def __getitem__(self, number: int | slice) -> str | list[str]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(f"name {number} of {len(self)}")
        return os.fsdecode(self.raw(number % len(self)))

    def __iter__(self) -> Iterator[str]:
        return (os.fsdecode(self.raw(number)) for number in range(len(self)))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(os.fsencode(name)) is not None

    def find(self, name: bytes) -> int | None:
        """The number of a name, if it is one of them."""
        at = self.first_from(name)
        return at if at < len(self) and self.raw(at) == name else None

    def first_from(self, name: bytes) -> int:
        """The number of the first name that is not below ``name``."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self.raw(middle) < name:
                low = middle + 1
            else:
                high = middle
        return low

    def below(self, folder: bytes) -> range:
        """The numbers of the names that begin with ``folder/``."""
        return range(self.first_from(folder + b"/"), self.first_from(folder + b"0"))


def check_names(names: Names) -> None:
    """Raises CorruptDataError unless every name is relative, has no empty part, ``.`` or ``..``,
    and they are in strict order, so that none is there twice."""
    text = np.frombuffer(names.joined, dtype=np.uint8)
    if len(text) and text[-1]:
        raise CorruptDataError("index: the last name has no end")
    ends = np.flatnonzero((text == 0) | (text == SLASH))
    begins = np.concatenate(([0], ends[:-1] + 1)) if len(ends) else ends
    sizes = ends - begins
    bad = sizes == 0
    bad |= (sizes == 1) & (text[begins] == DOT)
    two = np.flatnonzero(sizes == 2)
    bad[two] |= (text[begins[two]] == DOT) & (text[begins[two] + 1] == DOT)
    if bad.any():
        number = int(np.searchsorted(names.ends, ends[int(np.flatnonzero(bad)[0])]))
        raise CorruptDataError(f"index: {names.raw(number)!r} is no name that a member may have")
    starts = np.concatenate(([0], names.ends[:-1] + 1)) if len(names) else names.ends
    if len(names) and int((names.ends - starts).max()) > LONGEST:
        raise CorruptDataError(f"index: a name is longer than {LONGEST} bytes")
    wrong = first_unsorted(text, starts)
    if wrong is not None:
        raise CorruptDataError(f"index: {names.raw(wrong)!r} is out of order, or there twice")


def first_unsorted(text: Bytes, starts: npt.NDArray[np.int64]) -> int | None:
    """The number of a name that does not come after the one before it; None if all do.

    Eight bytes of all pairs are compared at once, then the next eight of those that were equal. A
    name's end, NUL, is below all other bytes, and what follows it decides nothing.
    """
    padded = np.concatenate((text, np.zeros(8, np.uint8)))
    words = np.lib.stride_tricks.sliding_window_view(padded, 8)
    pairs, offset = np.arange(1, len(starts)), 0
    while len(pairs):
        first, second = (cut(words[starts[p] + offset]) for p in (pairs - 1, pairs))
        wrong = first > second
        equal = first == second
        wrong |= equal & (first & np.uint64(0xFF) == 0)  # both have ended
        if wrong.any():
            return int(pairs[wrong][0])
        pairs, offset = pairs[equal], offset + 8
    return None


def cut(words: Bytes) -> npt.NDArray[np.uint64]:
    """(n, 8) bytes -> (n,) numbers that are in their order, zeros from the first NUL on."""
    live = np.logical_and.accumulate(words != 0, axis=1)
    return (words * live).view(">u8").ravel().astype(np.uint64)
