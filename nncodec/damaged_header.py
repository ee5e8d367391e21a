"""The header of a frame that may be damaged, read as far as it makes sense."""

from __future__ import annotations

from dataclasses import dataclass

from nncodec.blocks import BLOCK_SIZE
from nncodec.container import (
    FLAG_CONTINUES,
    FLAG_MORE,
    MAGIC,
    MAX_TOTAL,
    Block,
    Frame,
)
from nncodec.errors import CorruptDataError, TruncatedError
from nncodec.header import Fields, parse_block, parse_header, parse_names
from nncodec.memory import View
from nncodec.parsing import pull

LEAST_ROW, MOST_ROW = 10, 32  # bytes of a row that cannot be read, but may be stepped over
MOST_ROWS = 1 << 12  # behind such a row, at most
CHECKSUM_BYTES = 4


@dataclass(frozen=True)
class Header:
    """``rows`` are those that could be read, None for one that could not be but is stepped over.

    ``size`` is in bytes, None if it does not end where one can tell. ``count`` rows are promised.
    """

    verified: bool
    total: int
    block_size: int
    rows: tuple[Block | None, ...]
    size: int | None
    more: bool
    continues: bool
    model_id: bytes | None = None
    base_id: bytes | None = None
    environment: bytes | None = None

    @property
    def count(self) -> int:
        return -(-self.total // self.block_size) if self.block_size else 0

    @property
    def length(self) -> int | None:
        """Of the frame, header and payloads, if it is known."""
        sizes = [row.payload_size for row in self.rows if row is not None]
        whole = self.size is not None and len(sizes) == self.count
        return (self.size or 0) + sum(sizes) if whole else None


class NotingView(View):
    """``short`` says where fields of one or two bytes were read, and varints: those that lengths
    depend on. ``count``: bytes that were read, some of them again."""

    def __init__(self, data: memoryview) -> None:
        super().__init__(data)
        self.short: list[int] = []
        self.count = 0

    def read(self, size: int) -> memoryview:
        if size <= 2:
            self.short += range(self.at, self.at + size)
        piece = super().read(size)
        self.count += len(piece)
        return piece


def read_header(source: View) -> Frame | None:
    """The frame that begins where ``source`` stands, whatever came before it; None for none.

    Raises what ``parse_header`` does.
    """
    if source.read(len(MAGIC)) != MAGIC:
        return None
    return pull(parse_header(MAGIC), source)


def header_of(frame: Frame) -> Header:
    fields = frame.total, frame.block_size, frame.blocks, frame.header_size
    ids = frame.model_id, frame.base_id, frame.environment
    return Header(True, *fields, frame.more, frame.continues, *ids)


def parse_loosely(source: View, last: bool) -> Header | None:
    """Raises CorruptDataError for one that makes no sense from the beginning on."""
    fields = Fields(b"")
    pull(fields.take(len(MAGIC) + 1), source)
    flags = pull(fields.take(1), source)[0]
    ids = pull(parse_names(fields, flags), source)
    total = pull(fields.varint("total length", MAX_TOTAL), source)
    block_size = pull(fields.varint("block size", min(BLOCK_SIZE, total)), source)
    if (total == 0) != (block_size == 0):
        return None
    rows: list[Block | None] = []
    size = None
    try:
        size = read_rows(source, fields, total, block_size, rows)
    except TruncatedError:
        if not last:
            raise
    links = bool(flags & FLAG_MORE), bool(flags & FLAG_CONTINUES)
    return Header(False, total, block_size, tuple(rows), size, *links, *ids)


def read_rows(
    source: View, fields: Fields, total: int, block_size: int, rows: list[Block | None]
) -> int | None:
    """Append to ``rows``; returns the header's length if all are read but one at most.

    That one makes no sense; it is as long as lets those behind it be read. Raises TruncatedError.
    """
    left = total - len(rows) * block_size
    while left > 0:
        begin = source.at
        try:
            rows.append(pull(parse_block(fields, min(left, block_size)), source))
        except TruncatedError:
            raise
        except CorruptDataError:
            if None in rows or left > MOST_ROWS * block_size:
                return None
            for length in range(LEAST_ROW, MOST_ROW):
                source.at = begin + length
                rest: list[Block | None] = [*rows, None]
                end = read_rows_again(source, fields, total, block_size, rest)
                if end is not None:
                    rows[:] = rest
                    return end
            return None
        left -= block_size
    pull(fields.take(CHECKSUM_BYTES), source)
    return source.at


def read_rows_again(
    source: View, fields: Fields, total: int, block_size: int, rows: list[Block | None]
) -> int | None:
    try:
        return read_rows(source, fields, total, block_size, rows)
    except TruncatedError:
        return None
