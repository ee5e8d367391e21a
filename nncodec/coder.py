"""The range coder in Python integers: the readable twin of ``csrc/range_coder.h``.

Same interface and same bytes as ``nncodec._core.RangeEncoder`` and ``RangeDecoder``, which the
codec uses; tests hold the two together. State and invariant are explained in the C++ header: an
interval [low, low + size) of 64 bits, size >= 2^48 before every symbol, words of 16 bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nncodec._core import PayloadError
from nncodec.numerics import COUNT_BITS, COUNT_TOTAL, WIDE_COUNT_BITS

MIN_SIZE = 1 << 48
TOP = 1 << 64


def narrow(size: int, begin: int, count: int, bits: int = COUNT_BITS) -> tuple[int, int]:
    """The part [begin, begin + count) of 2^bits of an interval: where it starts, and its size."""
    part = size >> bits
    start = part * begin
    return start, (size - start if begin + count == 1 << bits else part * count)


class PythonRangeEncoder:
    """Appends symbols to one number; big integers make the carry disappear."""

    def __init__(self) -> None:
        self.number, self.words = 0, 0  # all digits so far, and how many of them are above low
        self.size = TOP - 1

    def encode(self, counts: npt.NDArray[np.int32], symbols: npt.NDArray[np.uint8]) -> None:
        for row, symbol in zip(counts.tolist(), symbols.tolist(), strict=True):
            self._encode_part(sum(row[:symbol]), row[symbol])

    def encode_wide(self, counts: npt.NDArray[np.uint32], symbols: npt.NDArray[np.int32]) -> None:
        """The same for rows of any width with counts that sum to 2^32."""
        for row, symbol in zip(counts.tolist(), symbols.tolist(), strict=True):
            self._encode_part(sum(row[:symbol]), row[symbol], WIDE_COUNT_BITS)

    def encode_bit(self, ones: int, bit: int) -> None:
        """A bit that is 1 with probability ``ones`` / 2^24; ones come first."""
        self._encode_part(0 if bit else ones, ones if bit else COUNT_TOTAL - ones)

    def _encode_part(self, begin: int, count: int, bits: int = COUNT_BITS) -> None:
        start, self.size = narrow(self.size, begin, count, bits)
        self.number += start
        while self.size < MIN_SIZE:
            self.number, self.size, self.words = self.number << 16, self.size << 16, self.words + 1

    def finish(self) -> bytes:
        for kept in range(1, 9):
            unit = 1 << (64 - 8 * kept)
            number = -(-self.number // unit) * unit
            if number - self.number < self.size:
                break
        return number.to_bytes(2 * self.words + 8, "big")[: 2 * self.words + kept]


class PythonRangeDecoder:
    """Reads the symbols back. Raises PayloadError where the C++ decoder does."""

    def __init__(self, payload: bytes) -> None:
        self.payload, self.position = bytes(payload), 0
        self.offset, self.size = 0, TOP - 1
        for _ in range(4):
            self.shift()

    def shift(self) -> None:
        if self.position + 2 > len(self.payload) + 7:
            raise PayloadError("payload ends too early")
        word = self.payload[self.position : self.position + 2].ljust(2, b"\0")
        self.offset = self.offset << 16 | int.from_bytes(word, "big")
        self.position += 2

    def decode(self, counts: npt.NDArray[np.int32]) -> bytes:
        return bytes(self._decode_row(row, COUNT_BITS) for row in counts.tolist())

    def decode_wide(self, counts: npt.NDArray[np.uint32]) -> npt.NDArray[np.int32]:
        """The same for rows of any width with counts that sum to 2^32."""
        symbols = [self._decode_row(row, WIDE_COUNT_BITS) for row in counts.tolist()]
        return np.array(symbols, dtype=np.int32)

    def _decode_row(self, row: list[int], bits: int) -> int:
        target = min(self.offset // (self.size >> bits), (1 << bits) - 1)
        symbol = begin = 0
        while begin + row[symbol] <= target:
            begin += row[symbol]
            symbol += 1
        self._decode_part(begin, row[symbol], bits)
        return symbol

    def decode_bit(self, ones: int) -> int:
        """Inverse of ``encode_bit``."""
        bit = int(self.offset < (self.size >> COUNT_BITS) * ones)
        self._decode_part(0 if bit else ones, ones if bit else COUNT_TOTAL - ones)
        return bit

    def _decode_part(self, begin: int, count: int, bits: int = COUNT_BITS) -> None:
        start, self.size = narrow(self.size, begin, count, bits)
        self.offset -= start
        if self.offset >= self.size:
            raise PayloadError("payload is damaged")
        while self.size < MIN_SIZE:
            self.shift()
            self.size <<= 16

    def finish(self) -> None:
        if self.position < len(self.payload):
            raise PayloadError("payload has bytes left over")
