"""What all containers share: the span of a tensor, bounded reading, and the checks of a header.

Headers come from anywhere. So every read is bounded by the data, every product stops growing at
what the data can hold, and whatever does not fit raises ``ContainerFormatError``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, overload

from nncodec.errors import ContainerFormatError
from nncodec.tensors.dtypes import Dtype


@dataclass(frozen=True)
class Span:
    """One tensor in a file: bytes ``begin`` to ``end``, begin < end.

    ``shape`` counts elements and is in file order: the last axis is the contiguous one. So a
    Fortran array has its axes reversed here, and ggml's dims, fastest first, are reversed too.
    """

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def cols(self) -> int:
        """Length of the fastest axis that varies: trailing axes of length one are no columns."""
        return next((n for n in reversed(self.shape) if n != 1), 1)

    @property
    def rows(self) -> int:
        return self.elements // self.cols


class Data(Protocol):
    """A file's bytes as the readers touch them: a memoryview, or a view that decodes on demand."""

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, at: int, /) -> int: ...
    @overload
    def __getitem__(self, at: slice, /) -> bytes | memoryview: ...


def broken(what: str) -> ContainerFormatError:
    """The error for a header that is at fault, to be raised."""
    return ContainerFormatError(f"{what}; the file is damaged or cut short: get another copy")


def shown(name: str) -> str:
    """A name from a file for a message: one line, not endless."""
    return repr(name if len(name) <= 60 else f"{name[:60]}...")


class Cursor:
    """Reads little-endian fields of a part of ``data`` one after the other.

    Reading beyond ``end`` raises ``ContainerFormatError``; nothing is copied before that check.
    """

    def __init__(self, data: Data, at: int, end: int, where: str) -> None:
        self.data, self.at, self.end, self.where = data, at, end, where

    @property
    def left(self) -> int:
        return self.end - self.at

    def skip(self, size: int) -> int:
        """Step over ``size`` >= 0 bytes; returns where they start."""
        start = self.at
        if size > self.end - start:
            raise broken(f"{self.where}: {size} bytes at {start} reach beyond {self.end}")
        self.at = start + size
        return start

    def take(self, size: int) -> bytes:
        start = self.skip(size)
        return bytes(self.data[start : start + size])

    def fields(self, layout: struct.Struct) -> tuple[int, ...]:
        return layout.unpack(self.take(layout.size))

    def text(self, size: int) -> str:
        try:
            return self.take(size).decode()
        except UnicodeDecodeError:
            raise broken(f"{self.where}: the text before byte {self.at} is not UTF-8") from None


def count_elements(shape: Sequence[int], limit: int) -> int:
    """Product of non-negative ``shape``; above ``limit`` it raises before it grows further."""
    if 0 in shape:
        return 0
    elements = 1
    for n in shape:
        elements *= n
        if elements > limit:
            raise broken(f"a shape of {len(shape)} axes has more than {limit} elements")
    return elements


def check_disjoint(ranges: Iterable[tuple[int, int, str]], size: int) -> None:
    """Named (begin, end) lie inside ``size`` bytes and share none, or it raises."""
    before, before_name = 0, ""
    for begin, end, name in sorted(ranges):
        if not 0 <= begin <= end <= size:
            raise broken(f"{shown(name)} at bytes {begin} to {end} is not inside {size} bytes")
        if begin < end:
            if begin < before:
                raise broken(f"{shown(name)} and {shown(before_name)} overlap at byte {begin}")
            before, before_name = end, name


def checked(spans: Iterable[Span], size: int) -> list[Span]:
    """The spans sorted by begin: inside ``size`` bytes, disjoint, each name once and valid text."""
    ordered = sorted(spans, key=lambda span: span.begin)
    check_disjoint(((s.begin, s.end, s.name) for s in ordered), size)
    names: set[str] = set()
    for span in ordered:
        if span.name in names:
            raise broken(f"two tensors are called {shown(span.name)}")
        names.add(span.name)
        try:
            span.name.encode()
        except UnicodeEncodeError:
            raise broken(f"the name {shown(span.name)} is not valid Unicode") from None
    return ordered
