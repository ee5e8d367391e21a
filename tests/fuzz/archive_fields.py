"""Where the fields of an archive's headers lie: docs/FORMAT.md read once more, without nncodec.

A reader of its own, so that damage is done to what the document says, not to what the code reads.
Only for archives that are whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

STORED, CONSTANT, CODED, MIXED, CONTEXTS, TENSORS, FIELDS, DELTA, TOKENS = range(9)


@dataclass(frozen=True)
class Field:
    """Bytes ``begin`` to ``end`` of an archive, in the header of a frame that begins at
    ``frame_begin`` and whose header, checksum and all, ends at ``header_end``."""

    what: str  # "varint", "id", "block checksum", "header checksum" or "bytes"
    begin: int
    end: int
    frame_begin: int
    header_end: int


def fields_of(archive: bytes) -> list[Field]:
    found: list[Field] = []
    at = 0
    while at < len(archive):
        places, payloads = frame_fields(archive, at)
        header_end = places[-1][2]
        found += [Field(what, begin, end, at, header_end) for what, begin, end in places]
        at = header_end + payloads
    return found


def frame_fields(archive: bytes, begin: int) -> tuple[list[tuple[str, int, int]], int]:
    """What, begin and end of each field of a header, and the length of the payloads behind it."""
    places: list[tuple[str, int, int]] = []

    def take(what: str, size: int) -> bytes:
        start = places[-1][2] if places else begin
        places.append((what, start, start + size))
        return archive[start : start + size]

    def varint() -> int:
        start = places[-1][2]
        size = next(i for i in range(9) if archive[start + i] < 0x80) + 1
        piece = take("varint", size)
        return sum((byte & 0x7F) << 7 * i for i, byte in enumerate(piece))

    take("bytes", 4)
    flags = take("bytes", 2)[1]
    for bit in (1, 2):
        if flags & bit:
            take("id", 16)
    if flags & 16:
        take("bytes", varint())
    total, block_size = varint(), varint()
    payloads = 0
    for _ in range(-(-total // block_size) if total else 0):
        code = take("bytes", 1)[0]
        kind, transform = code & 15, code >> 4
        payloads += varint()
        take("block checksum", 8)
        for _number in numbers(kind, transform):
            varint()
        if kind in (TENSORS, FIELDS, DELTA):
            for _item in range(varint()):
                take("bytes", 2)
                varint(), varint()
                if kind == DELTA:
                    take("bytes", 1)
                    varint()
    take("header checksum", 4)
    return places, payloads


def numbers(kind: int, transform: int) -> Iterator[str]:
    if kind in (CODED, MIXED, TOKENS):
        yield "lanes"
        yield "prefix"
    if kind in (MIXED, CONTEXTS, TOKENS):
        yield "table bits"
    if transform:
        yield "coded size"
