"""Cut a file with tensors into parts: chunks of tensors, and bytes that are none.

A chunk is coded on its own: it can be decoded alone, and several at once. Small tensors share one,
and with it what is learned from them; large ones are cut between rows.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nncodec.tensors.items import Item
from nncodec.tensors.layout import Span
from nncodec.tensors.packing import Matrix, matrix_of
from nncodec.tensors.planes import Bytes

CHUNK_BYTES = 1 << 23
MOST_GAP = 1 << 10  # bytes between tensors, such as padding, that a chunk takes along
LEAST_TENSORS = 1 << 10  # bytes; fewer are not worth a frame of their own


@dataclass(frozen=True)
class Part:
    """Bytes ``begin`` to ``end`` of a file. Without items they are coded as any others."""

    begin: int
    end: int
    items: tuple[Item, ...] = ()


def role_of(name: str) -> int:
    """A number for a tensor's use: its name without the numbers of blocks."""
    return zlib.crc32(re.sub(r"\d+", "", name).encode()) & 0xFF


def plan(spans: Sequence[Span], data: Bytes) -> list[Part]:
    """Parts that cover the (n,) bytes of a file, in order; one without items if nothing pays."""
    parts: list[Part] = []
    size, done = len(data), 0
    for part in chunks([(span, m) for span in spans if (m := matrix_of(span, data))]):
        if part.end - part.begin >= LEAST_TENSORS:
            if part.begin > done:
                parts.append(Part(done, part.begin))
            parts.append(part)
            done = part.end
    if done < size or not parts:
        parts.append(Part(done, size))
    return parts


def chunks(spans: Iterable[tuple[Span, Matrix]]) -> Iterator[Part]:
    """Runs of neighbours, at most ``CHUNK_BYTES`` each."""
    items: list[Item] = []
    begin = end = 0
    for span, matrix in spans:
        gap = span.begin - end
        if items and (gap > MOST_GAP or span.begin - begin >= CHUNK_BYTES):
            yield Part(begin, end, tuple(items))
            items = []
        elif items and gap:
            items.append(Item(None, 0, 1, gap))
        if not items:
            begin = span.begin
        end = span.begin
        for item in pieces(matrix, role_of(span.name)):
            if items and end + item.size - begin > CHUNK_BYTES:
                yield Part(begin, end, tuple(items))
                items, begin = [], end
            items.append(item)
            end += item.size
    if items:
        yield Part(begin, end, tuple(items))


def pieces(matrix: Matrix, role: int) -> Iterator[Item]:
    """A tensor's matrix, cut between rows, or a row within, so that each piece fits a chunk."""
    dtype, rows, cols = matrix
    most = CHUNK_BYTES // dtype.block_bytes
    if cols > most:  # then rows are pieces themselves
        for _ in range(rows):
            for begin in range(0, cols, most):
                yield Item(dtype, role, 1, min(most, cols - begin))
        return
    step = max(1, most // 2 // cols)
    for begin in range(0, rows, step):
        yield Item(dtype, role, min(step, rows - begin), cols)
