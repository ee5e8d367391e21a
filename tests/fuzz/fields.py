"""What the fuzz targets share: fields cut off an input, damage, and what must hold of an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from nncodec.errors import NNCodecError

T = TypeVar("T")


class Fields:
    """Fields of an input, in order; zeros once it has ended.

    The first bytes of an input say what is done, the rest what it is done to, so that a fuzzer
    mutates both alike.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.at = bytes(data), 0

    def byte(self) -> int:
        return self.number(1)

    def number(self, size: int) -> int:
        return int.from_bytes(self.bytes(size), "little")

    def below(self, n: int) -> int:
        return self.number(1 if n <= 256 else 3) % n

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.byte() % len(choices)]

    def bytes(self, most: int) -> bytes:
        piece = self.data[self.at : self.at + most]
        self.at += len(piece)
        return piece

    def rest(self) -> bytes:
        return self.bytes(len(self.data))


def damaged(data: bytes, fields: Fields) -> bytes:
    """A few bytes changed, and some cut off, added or moved."""
    broken = bytearray(data)
    for _ in range(fields.byte() % 4):
        if broken:
            broken[fields.number(2) % len(broken)] ^= fields.byte()
    way = fields.byte() % 8
    at, size = fields.number(2) % (len(broken) + 1), fields.byte()
    if way == 1:
        del broken[at:]
    elif way == 2:
        broken += fields.bytes(size)
    elif way == 3:
        del broken[at : at + size]
    elif way == 4:
        broken[at:at] = broken[:size]
    return bytes(broken)


def attempt(action: Callable[[], T]) -> T | None:
    """What ``action`` returns, or None if it raises an error of ours, of one line."""
    try:
        return action()
    except NNCodecError as error:
        message = str(error)
        assert message
        assert "\n" not in message, message
        return None
