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
from nncodec.tensors.chunks import Part

SPLIT = 19 + 13  # bytes that another frame of stored blocks adds, at most
MOST_HELD = 1 << 16  # bytes of frames that wait for what comes after them


def stored_frame(data: Bytes) -> Frame:
    """The header of (n,) ``data`` in as few blocks as possible; the payloads are the data."""
    blocks = [data[begin : begin + BLOCK_SIZE] for begin in range(0, len(data), BLOCK_SIZE)]
    rows = tuple(Block(Kind.STORED, len(b), len(b), xxh64(b)) for b in blocks)
    return Frame(len(data), min(BLOCK_SIZE, len(data)), rows)


def join_parts(data: Bytes, coded: Iterable[tuple[Part, bytes]]) -> Iterator[bytes | memoryview]:
    """The archive of (n,) ``data`` piece by piece, from its parts in order, each with its frame.

    A frame may be empty: then the part is stored.
    """
    waiting: list[tuple[Part, bytes]] = []
    for part, frame in coded:
        size = part.end - part.begin
        if frame and len(frame) + SPLIT <= size:
            yield from settle(data, waiting)
            waiting = []
            yield frame
        else:
            waiting.append((part, frame if len(frame) <= MOST_HELD else b""))
    yield from settle(data, waiting)


def settle(data: Bytes, parts: list[tuple[Part, bytes]]) -> Iterator[bytes | memoryview]:
    """Neighbours of which none shrinks much: their frames, or one of stored blocks if shorter."""
    if not parts:
        return
    run = data[parts[0][0].begin : parts[-1][0].end]
    frames = [frame for _, frame in parts]
    header = stored_frame(run).pack()
    if all(frames) and sum(map(len, frames)) <= len(header) + len(run):
        yield from frames
    else:
        yield header
        yield run.data
