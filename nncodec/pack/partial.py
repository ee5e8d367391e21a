"""``OUT.partial``: an archive that is being written, and how a later run goes on with it.

It begins with a skippable frame that holds the plan's fingerprint. A run with the same plan keeps
the frames up to its last checkpoint that more was written behind: at a checkpoint everything is
synced before anything follows, so what lies in front of it is whole even after a power failure. It
keeps none from the first void on: what could not be read then may be there by now.
Another plan, or a file that is none of these, is begun anew.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from nncodec.container import MAGIC, skippable_frame, varint
from nncodec.errors import NNCodecError, PackError
from nncodec.pack.frames import FrameTable
from nncodec.pack.index import PLAN_TYPE, VOID_TYPE
from nncodec.pack.source import Void

ENDING = ".partial"


def checkpoints(
    ends: npt.NDArray[np.int64], whole: npt.NDArray[np.bool_], frame_size: int
) -> npt.NDArray[np.bool_]:
    """Which pieces end at a checkpoint: about every ``frame_size`` bytes, and files of tensors."""
    marks = np.zeros(len(ends), bool)
    if len(ends):
        steps = ends // frame_size
        marks[1:] = steps[1:] != steps[:-1]
        marks[0] = steps[0] > 0
    return marks | whole


def void_frame(voids: list[Void]) -> bytes:
    """The skippable frame that says which bytes of the content are nobody's."""
    body = b"".join(varint(begin) + varint(end - begin) for begin, end in voids)
    return skippable_frame(VOID_TYPE, body)


@dataclass
class Progressed:
    """What a partial archive has: ``table`` of its frames, ``pieces`` complete, ``voids`` since."""

    table: FrameTable
    pieces: int = 0
    voids: list[Void] = field(default_factory=list)


def begin(file: BinaryIO, fingerprint: bytes) -> Progressed:
    """Begin anew in an open file."""
    file.seek(0)
    file.truncate()
    return begin_frames(file, fingerprint)


def begin_frames(file: BinaryIO, fingerprint: bytes) -> Progressed:
    """Write what an archive begins with, where nothing is."""
    head = skippable_frame(PLAN_TYPE, fingerprint)
    file.write(head)
    return Progressed(FrameTable(len(head)))


def resume(
    file: BinaryIO,
    fingerprint: bytes,
    ends: npt.NDArray[np.int64],
    marks: npt.NDArray[np.bool_],
) -> Progressed | None:
    """What of an open partial archive can be kept; None: nothing.

    It is cut there, but for the signature of the frame behind it, which comes again: it shows the
    next run, should this one write nothing, that what lies before it was synced.
    """
    head = skippable_frame(PLAN_TYPE, fingerprint)
    file.seek(0)
    if file.read(len(head)) != head:
        return None
    piece_at = {int(ends[i]): int(i) + 1 for i in np.flatnonzero(marks)}
    table = FrameTable(len(head))
    kept = (0, 0, 0, 0)  # where the file is cut; pieces, frames, content in front of it
    size = os.fstat(file.fileno()).st_size
    with contextlib.suppress(NNCodecError):  # where it ends, or what a failure left
        while True:
            at = file.tell()
            start = file.read(len(MAGIC))
            if start != MAGIC:  # a void, or the index, too
                break
            if table.content in piece_at:  # what lies before this frame was synced before it
                kept = (at, piece_at[table.content], len(table.ats), table.content)
            if not table.read_frame(file, at, size):
                break
    at, pieces, frames, content = kept
    if not pieces:
        return None
    for column in (table.ats, table.sizes, table.headers, table.contents):
        del column[frames:]
    table.at, table.content = at, content
    file.seek(at + len(MAGIC))
    file.truncate()
    file.seek(at)
    return Progressed(table, pieces)


def sync(file: BinaryIO) -> None:
    """Make what was written so far last. Raises OSError."""
    file.flush()
    getattr(os, "fdatasync", os.fsync)(file.fileno())


def lock(file: BinaryIO, name: str) -> None:
    """Raises PackError if another process writes it."""
    try:
        import fcntl
    except ImportError:  # Windows, which opens no file twice for writing
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PackError(f"{name} is being written by another process; wait, or end it") from None
    except OSError:  # a file system without locks
        return
