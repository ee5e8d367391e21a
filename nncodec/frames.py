"""The frames of a file's parts, and how parts that do not shrink share one.

A frame of n bytes in stored blocks adds 19 bytes and 13 for every block, of 16 MiB unless smaller
ones were asked for. A frame that saves less than another such frame would add is not kept between
two runs of stored bytes: so however the parts of a file alternate, its archive is never longer than
one frame of stored blocks would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from nncodec._core import xxh64
from nncodec.blocks import BLOCK_SIZE, Bytes
from nncodec.container import Block, Frame, Kind
from nncodec.engine.native import choose_isa
from nncodec.tensors.chunks import Part
from nncodec.tensors.coder import encode_fields, encode_tensors
from nncodec.tensors.delta import DeltaPart
from nncodec.tensors.delta_coder import encode_deltas
from nncodec.tensors.delta_items import DeltaItem
from nncodec.tensors.items import Item, with_fields

SPLIT = 19 + 13  # bytes that another frame of stored blocks adds, at most
MOST_HELD = 1 << 16  # bytes of frames that wait for what comes after them


@dataclass(frozen=True)
class Coded:
    """A frame and the payloads of its blocks."""

    frame: Frame
    payloads: tuple[bytes | memoryview, ...]

    @cached_property
    def size(self) -> int:
        """In bytes, header and all."""
        return len(self.frame.pack()) + sum(map(len, self.payloads))

    def pieces(self, *, continues: bool, more: bool) -> Iterator[bytes | memoryview]:
        """What it is in an archive, where another frame came before, and follows."""
        yield replace(self.frame, continues=continues, more=more).pack()
        yield from self.payloads


def chain(
    frames: Iterable[Coded], *, continues: bool = False, more: bool = False
) -> Iterator[bytes | memoryview]:
    """An archive piece by piece, in which every frame says whether it is the first or last one.

    So an archive that was cut between two of them is not taken for a whole one. ``continues`` and
    ``more`` are those of all ``frames`` together.
    """
    waiting: Coded | None = None
    for coded in frames:
        if waiting is not None:
            yield from waiting.pieces(continues=continues, more=True)
            continues = True
        waiting = coded
    if waiting is not None:
        yield from waiting.pieces(continues=continues, more=more)


def encode_chunk(
    chunk: Bytes, items: tuple[Item, ...], way: str, base_id: bytes | None = None
) -> Coded | None:
    """A frame of one block of tensors; None if their numbers are noise. ``way``: fast or max."""
    if way == "fast":
        kind, items = Kind.FIELDS, with_fields(items)
        payload = encode_fields(items, chunk, choose_isa())
    else:
        kind, payload = Kind.TENSORS, encode_tensors(items, chunk, choose_isa())
    row = Block(kind, len(chunk), len(payload), xxh64(chunk), items=items)
    return chunk_frame(row, payload, base_id)


def encode_delta(
    chunk: Bytes, items: tuple[DeltaItem, ...], old: Bytes, base_id: bytes
) -> Coded | None:
    """A frame of one block, which names the base; None if the differences are noise.

    ``old`` are the items' bases, one after the other.
    """
    payload = encode_deltas(items, old, chunk, choose_isa())
    row = Block(Kind.DELTA, len(chunk), len(payload), xxh64(chunk), deltas=items)
    return chunk_frame(row, payload, base_id)


def chunk_frame(row: Block, payload: bytes, base_id: bytes | None) -> Coded | None:
    if len(payload) >= row.size:
        return None
    return Coded(Frame(row.size, row.size, (row,), base_id=base_id), (payload,))


def stored_frame(data: Bytes, base_id: bytes | None = None, block_size: int | None = None) -> Coded:
    """(n,) ``data`` in as few blocks as possible, or in such of ``block_size``."""
    size = block_size or BLOCK_SIZE
    blocks = [data[begin : begin + size] for begin in range(0, len(data), size)]
    rows = tuple(Block(Kind.STORED, len(b), len(b), xxh64(b)) for b in blocks)
    return Coded(Frame(len(data), min(size, len(data)), rows, base_id=base_id), (data.data,))


def join_parts(
    data: Bytes,
    coded: Iterable[tuple[Part | DeltaPart, Coded | None]],
    base_id: bytes | None = None,
    block_size: int | None = None,
) -> Iterator[Coded]:
    """The frames of (n,) ``data`` from its parts in order, each with its frame.

    A part without one is stored.
    """
    waiting: list[tuple[Part | DeltaPart, Coded | None]] = []
    for part, frame in coded:
        if frame and frame.size + SPLIT <= part.end - part.begin:
            yield from settle(data, waiting, base_id, block_size)
            waiting = []
            yield frame
        else:
            waiting.append((part, frame if frame and frame.size <= MOST_HELD else None))
    yield from settle(data, waiting, base_id, block_size)


def settle(
    data: Bytes,
    parts: list[tuple[Part | DeltaPart, Coded | None]],
    base_id: bytes | None,
    block_size: int | None,
) -> list[Coded]:
    """Neighbours of which none shrinks much: their frames, or one of stored blocks if shorter."""
    if not parts:
        return []
    stored = stored_frame(data[parts[0][0].begin : parts[-1][0].end], base_id, block_size)
    frames = [frame for _, frame in parts if frame]
    if len(frames) == len(parts) and sum(frame.size for frame in frames) <= stored.size:
        return frames
    return [stored]
