"""The range coder (FORMAT.md, "Range coder")."""

import numpy as np
import numpy.typing as npt

from .errors import Rejected


class RangeDecoder:
    """Decodes symbols by counts of the sum 2^bits: 24, but 32 in tokens blocks."""

    def __init__(self, payload: bytes, bits: int = 24) -> None:
        self.payload = payload + bytes(8)
        self.size = len(payload)
        self.bits = bits
        self.pos = 0
        self.offset = 0
        self.range = 2**64 - 1
        for _ in range(4):
            self.shift()

    def shift(self) -> None:
        if self.pos + 2 > self.size + 7:
            raise Rejected("more than seven zeros would be read beyond a payload's end")
        word = self.payload[self.pos] * 256 + self.payload[self.pos + 1]
        self.offset = self.offset * 65536 + word
        self.pos += 2

    def decode(self, counts: npt.NDArray[np.int64]) -> int:
        """The next symbol, by its index."""
        target = min(self.offset // (self.range >> self.bits), 2**self.bits - 1)
        ends = np.cumsum(counts)
        symbol = int(np.searchsorted(ends, target, side="right"))
        count = int(counts[symbol])
        self.narrow(int(ends[symbol]) - count, count)
        return symbol

    def decode_bit(self, p: int) -> int:
        """A binary decision; p is the probability of a 1, of 65536."""
        total = 2**self.bits
        ones = p << self.bits - 16
        if self.offset < (self.range >> self.bits) * ones:
            self.narrow(0, ones)
            return 1
        self.narrow(ones, total - ones)
        return 0

    def narrow(self, begin: int, count: int) -> None:
        part = self.range >> self.bits
        start = part * begin
        self.range = self.range - start if begin + count == 2**self.bits else part * count
        self.offset -= start
        if self.offset >= self.range:
            raise Rejected("an offset that is not below the range")
        while self.range < 2**48:
            self.range *= 65536
            self.shift()

    def finish(self) -> None:
        """To be called behind the block's last symbol."""
        if self.pos < self.size:
            raise Rejected("a payload has bytes left over")
