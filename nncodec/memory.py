"""Archives that lie in memory, read without copies."""

from __future__ import annotations

from typing import BinaryIO

from nncodec._core import ByteStore


class View:
    """A source whose pieces are views of the (n,) bytes ``data``."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def read(self, size: int) -> memoryview:
        """The next ``size`` bytes, or as many as are left."""
        piece = self.data[self.at : self.at + size]
        self.at += len(piece)
        return piece


Source = BinaryIO | View
Sink = BinaryIO | ByteStore
Payload = bytes | memoryview
