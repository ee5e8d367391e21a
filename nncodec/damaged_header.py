"""The header of a frame that may be damaged, read as far as it makes sense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from nncodec.blocks import BLOCK_SIZE
from nncodec.container import (
    BASE_ID_BYTES,
    FLAG_BASE,
    FLAG_CONTINUES,
    FLAG_ENVIRONMENT,
    FLAG_MODEL,
    FLAG_MORE,
    MAGIC,
    MAX_ENVIRONMENT,
    MAX_TOTAL,
    MODEL_ID_BYTES,
    Block,
    Frame,
)
from nncodec.errors import CorruptDataError, TruncatedError
from nncodec.header import Fields, Parse, parse_block, parse_header
from nncodec.memory import View

T = TypeVar("T")

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


class HeaderReader:
    """A header in memory, field by field; ``short`` notes where fields of one or two bytes lie, and
    varints: those that lengths depend on."""

    def __init__(self, source: View) -> None:
        self.source, self.fields = source, Fields(b"")
        self.short: list[int] = []

    def run(self, parse: Parse[T]) -> T:
        try:
            size = next(parse)
            while True:
                if size <= 2:
                    self.short += range(self.source.at, self.source.at + size)
                size = parse.send(self.source.read(size))
        except StopIteration as end:
            result: T = end.value
            return result

    def take(self, size: int) -> bytes:
        return bytes(self.run(self.fields.take(size)))

    def varint(self, name: str, limit: int) -> int:
        return self.run(self.fields.varint(name, limit))


def read_header(source: View) -> Frame | None:
    """The frame that begins where ``source`` stands, whatever came before it; None for none.

    Raises what ``parse_header`` does.
    """
    if source.read(len(MAGIC)) != MAGIC:
        return None
    return HeaderReader(source).run(parse_header(MAGIC))


def header_of(frame: Frame) -> Header:
    fields = frame.total, frame.block_size, frame.blocks, frame.header_size
    ids = frame.model_id, frame.base_id, frame.environment
    return Header(True, *fields, frame.more, frame.continues, *ids)


def parse_loosely(reader: HeaderReader, last: bool) -> Header | None:
    """Raises CorruptDataError for one that makes no sense from the beginning on."""
    reader.take(len(MAGIC) + 1)
    flags = reader.take(1)[0]
    model_id = reader.take(MODEL_ID_BYTES) if flags & FLAG_MODEL else None
    base_id = reader.take(BASE_ID_BYTES) if flags & FLAG_BASE else None
    environment = None
    if flags & FLAG_ENVIRONMENT:
        environment = reader.take(reader.varint("environment's length", MAX_ENVIRONMENT))
    total = reader.varint("total length", MAX_TOTAL)
    block_size = reader.varint("block size", min(BLOCK_SIZE, total))
    if (total == 0) != (block_size == 0):
        return None
    rows: list[Block | None] = []
    size = None
    try:
        size = read_rows(reader, total, block_size, rows)
    except TruncatedError:
        if not last:
            raise
    links = bool(flags & FLAG_MORE), bool(flags & FLAG_CONTINUES)
    ids = model_id, base_id, environment
    return Header(False, total, block_size, tuple(rows), size, *links, *ids)


def read_rows(
    reader: HeaderReader, total: int, block_size: int, rows: list[Block | None]
) -> int | None:
    """Append to ``rows``; returns the header's length if all are read but one at most.

    That one makes no sense; it is as long as lets those behind it be read. Raises TruncatedError.
    """
    left = total - len(rows) * block_size
    source = reader.source
    while left > 0:
        begin = source.at
        try:
            rows.append(reader.run(parse_block(reader.fields, min(left, block_size))))
        except TruncatedError:
            raise
        except CorruptDataError:
            if None in rows or left > MOST_ROWS * block_size:
                return None
            for length in range(LEAST_ROW, MOST_ROW):
                source.at = begin + length
                rest: list[Block | None] = [*rows, None]
                end = read_rows_again(reader, total, block_size, rest)
                if end is not None:
                    rows[:] = rest
                    return end
            return None
        left -= block_size
    reader.take(CHECKSUM_BYTES)
    return source.at


def read_rows_again(
    reader: HeaderReader, total: int, block_size: int, rows: list[Block | None]
) -> int | None:
    try:
        return read_rows(reader, total, block_size, rows)
    except TruncatedError:
        return None
