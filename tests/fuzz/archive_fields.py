"""Where the fields of an archive's headers lie: docs/FORMAT.md read once more, without nncodec.

A reader of its own, so that damage is done to what the document says, not to what the code reads.
Only for archives that are whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

SKIPPABLE = b"\x89NNS"
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


@dataclass(frozen=True)
class Frame:
    """What, begin and end of each field of a header; the length of the payloads behind it; the size
    and the checksum of each block."""

    places: list[tuple[str, int, int]]
    payloads: int
    blocks: list[tuple[int, int]]


def fields_of(archive: bytes) -> list[Field]:
    return [
        Field(what, begin, end, at, frame.places[-1][2])
        for at, frame in frames_of(archive)
        for what, begin, end in frame.places
    ]


def blocks_of(archive: bytes) -> list[tuple[int, int]]:
    """The size and the checksum of every block."""
    return [block for _, frame in frames_of(archive) for block in frame.blocks]


def frames_of(archive: bytes) -> Iterator[tuple[int, Frame]]:
    """Where each frame begins, and what it says; skippable ones are passed over."""
    at = 0
    while at < len(archive):
        if archive.startswith(SKIPPABLE, at):
            size, end = number_at(archive, at + 5)
            at = end + size
            continue
        frame = read_frame(archive, at)
        yield at, frame
        at = frame.places[-1][2] + frame.payloads


def number_at(archive: bytes, at: int) -> tuple[int, int]:
    """The varint at ``at``, and where it ends."""
    size = next(i for i in range(9) if archive[at + i] < 0x80) + 1
    piece = archive[at : at + size]
    return sum((byte & 0x7F) << 7 * i for i, byte in enumerate(piece)), at + size


def read_frame(archive: bytes, begin: int) -> Frame:
    places: list[tuple[str, int, int]] = []

    def take(what: str, size: int) -> bytes:
        start = places[-1][2] if places else begin
        places.append((what, start, start + size))
        return archive[start : start + size]

    def varint() -> int:
        start = places[-1][2]
        value, end = number_at(archive, start)
        take("varint", end - start)
        return value

    take("bytes", 4)
    flags = take("bytes", 2)[1]
    for bit in (1, 2):
        if flags & bit:
            take("id", 16)
    if flags & 16:
        take("bytes", varint())
    total, block_size = varint(), varint()
    payloads, blocks = 0, []
    for at in range(0, total, block_size or 1):
        code = take("bytes", 1)[0]
        kind, transform = code & 15, code >> 4
        payloads += varint()
        checksum = int.from_bytes(take("block checksum", 8), "little")
        blocks.append((min(block_size, total - at), checksum))
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
    return Frame(places, payloads, blocks)


def numbers(kind: int, transform: int) -> Iterator[str]:
    if kind in (CODED, MIXED, TOKENS):
        yield "lanes"
        yield "prefix"
    if kind in (MIXED, CONTEXTS, TOKENS):
        yield "table bits"
    if transform:
        yield "coded size"
