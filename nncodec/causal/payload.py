"""The payload of a block of tokens: how many, the side stream, and what the coder made of them.

    payload = varint tokens, varint side size, (if that is not 0: varint coded size, coded side),
              the coder's bytes

The side stream is coded by context models alone in one lane, or is as it is if that is no longer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nncodec.blocks import lane_geometry
from nncodec.container import varint
from nncodec.engine.native import NativeContexts
from nncodec.errors import CorruptDataError
from nncodec.lanes import no_progress

SIDE_TABLE_BITS = 20


@dataclass(frozen=True)
class Payload:
    """``coded`` is what gives back ``count`` tokens, given the model."""

    count: int
    side: bytes
    coded: bytes

    def pack(self) -> bytes:
        out = bytearray(varint(self.count) + varint(len(self.side)))
        if self.side:
            array = np.frombuffer(self.side, dtype=np.uint8)
            geometry = lane_geometry(len(array), 1, SIDE_TABLE_BITS)
            side = NativeContexts().encode(array, geometry, no_progress)
            side = side if len(side) < len(self.side) else self.side
            out += varint(len(side)) + side
        return bytes(out) + self.coded

    @classmethod
    def parse(cls, data: bytes, size: int) -> Payload:
        """Of a block of ``size`` bytes. Raises CorruptDataError, PayloadError."""
        fields = Fields(data)
        count = fields.number(size)  # a token has a byte at least
        side_size, side = fields.number(most_side(size)), b""
        if side_size:
            side = fields.take(fields.number(side_size))
            if len(side) < side_size:
                geometry = lane_geometry(side_size, 1, SIDE_TABLE_BITS)
                side = NativeContexts().decode(side, side_size, geometry, no_progress)
        return cls(count, side, fields.rest())


def most_side(size: int) -> int:
    """Bytes that the side stream of a block of ``size`` bytes may have: it is unfolded at once."""
    return 2 * size + 64


class Fields:
    """Reads numbers and bytes from the front of some data, never beyond its end."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, limit: int) -> int:
        """A varint. Raises CorruptDataError if it is cut, longer than need be, or above."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value <= limit and (byte or not shift):
                    return value
                break
        raise CorruptDataError("a block is damaged: a number in its payload is out of range")

    def take(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + size]
        if len(piece) < size:
            raise CorruptDataError("a block is damaged: its payload ends early")
        self.at += size
        return piece

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.at)
