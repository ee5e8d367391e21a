"""The frames of a file's parts, and how parts that do not shrink share one.

A frame of n bytes in stored blocks adds 19 bytes and 13 for every 16 MiB. A frame that saves less
than another such frame would add is not kept between two runs of stored bytes: so however the parts
of a file alternate, its archive is never longer than one frame of stored blocks would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nncodec._core import xxh64
from nncodec.blocks import BLOCK_SIZE, Bytes
from nncodec.container import Block, Frame, Kind
from nncodec.engine.native import choose_isa
from nncodec.tensors.base import Base
from nncodec.tensors.chunks import Part
from nncodec.tensors.coder import encode_fields, encode_tensors
from nncodec.tensors.delta import DeltaPart, base_bytes
from nncodec.tensors.delta_coder import encode_deltas
from nncodec.tensors.delta_items import DeltaItem
from nncodec.tensors.items import Item, with_fields

SPLIT = 19 + 13  # bytes that another frame of stored blocks adds, at most
MOST_HELD = 1 << 16  # bytes of frames that wait for what comes after them
Coded = tuple[bytes, ...]  # a frame in pieces, or empty if there is none


def encode_chunk(
    chunk: Bytes, items: tuple[Item, ...], way: str, base_id: bytes | None = None
) -> Coded:
    """A frame of one block of tensors; empty if their numbers are noise. ``way``: fast or max."""
    if way == "fast":
        kind, items = Kind.FIELDS, with_fields(items)
        payload = encode_fields(items, chunk, choose_isa())
    else:
        kind, payload = Kind.TENSORS, encode_tensors(items, chunk, choose_isa())
    row = Block(kind, len(chunk), len(payload), xxh64(chunk), items=items)
    return chunk_frame(row, payload, base_id)


def encode_delta(chunk: Bytes, items: tuple[DeltaItem, ...], base: Base) -> Coded:
    """A frame of one block, which names the base; empty if the differences are noise."""
    payload = encode_deltas(items, base_bytes(items, base), chunk, choose_isa())
    row = Block(Kind.DELTA, len(chunk), len(payload), xxh64(chunk), deltas=items)
    return chunk_frame(row, payload, base.id)


def chunk_frame(row: Block, payload: bytes, base_id: bytes | None) -> Coded:
    if len(payload) >= row.size:
        return ()
    return Frame(row.size, row.size, (row,), base_id=base_id).pack(), payload


def size_of(frame: Coded) -> int:
    return sum(map(len, frame))


def stored_frame(data: Bytes, base_id: bytes | None = None) -> Frame:
    """The header of (n,) ``data`` in as few blocks as possible; the payloads are the data."""
    blocks = [data[begin : begin + BLOCK_SIZE] for begin in range(0, len(data), BLOCK_SIZE)]
    rows = tuple(Block(Kind.STORED, len(b), len(b), xxh64(b)) for b in blocks)
    return Frame(len(data), min(BLOCK_SIZE, len(data)), rows, base_id=base_id)


def join_parts(
    data: Bytes, coded: Iterable[tuple[Part | DeltaPart, Coded]], base_id: bytes | None = None
) -> Iterator[bytes | memoryview]:
    """The archive of (n,) ``data`` piece by piece, from its parts in order, each with its frame.

    A frame may be empty: then the part is stored.
    """
    waiting: list[tuple[Part | DeltaPart, Coded]] = []
    for part, frame in coded:
        size = part.end - part.begin
        if frame and size_of(frame) + SPLIT <= size:
            yield from settle(data, waiting, base_id)
            waiting = []
            yield from frame
        else:
            waiting.append((part, frame if size_of(frame) <= MOST_HELD else ()))
    yield from settle(data, waiting, base_id)


def settle(
    data: Bytes, parts: list[tuple[Part | DeltaPart, Coded]], base_id: bytes | None
) -> Iterator[bytes | memoryview]:
    """Neighbours of which none shrinks much: their frames, or one of stored blocks if shorter."""
    if not parts:
        return
    run = data[parts[0][0].begin : parts[-1][0].end]
    frames = [frame for _, frame in parts]
    header = stored_frame(run, base_id).pack()
    if all(frames) and sum(map(size_of, frames)) <= len(header) + len(run):
        for frame in frames:
            yield from frame
    else:
        yield header
        yield run.data
