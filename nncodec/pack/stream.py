"""Packing what comes as a stream: members one after the other, none of which is read twice.

    with PackWriter("corpus.nnc") as writer:
        writer.add("a.txt", b"...")

As with ``pack`` a kill leaves ``OUT.partial``, but a stream has no plan to compare with. So every
checkpoint in it carries the digest of the content so far, and whoever is given members again
compares: what is the same is kept, and from the first checkpoint that differs on, everything is
coded anew. Up to ``frame_size`` bytes of content are held for that. The bytes of the archive are
those of a run without a kill.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from nncodec import api
from nncodec.blocks import Bytes
from nncodec.container import MAGIC, SKIPPABLE_MAGIC, skippable_frame
from nncodec.errors import NNCodecError, PackError
from nncodec.files import make_readable, sync_folder
from nncodec.header import Fields, parse_skippable
from nncodec.lanes import Progress, no_progress
from nncodec.pack import partial
from nncodec.pack.content import Buffer, Content, Piece
from nncodec.pack.digests import DIGEST
from nncodec.pack.frames import FrameTable
from nncodec.pack.index import PLAN_TYPE, index_frame
from nncodec.pack.tree import Warn
from nncodec.pack.writer import (
    BLOCK_SIZE,
    FRAME_SIZE,
    LEVEL,
    Summary,
    check_sizes,
    check_target,
    coder_name,
    give_name,
    open_partial,
    unfinished,
)
from nncodec.parallel import Workers, sharing
from nncodec.parsing import pull, read_exactly
from nncodec.remote.names import is_remote

if TYPE_CHECKING:
    from typing_extensions import Self

CHECKPOINT_TYPE = 0x04  # of a skippable frame: a digest of the content in front of it
FORMAT = b"nncodec stream of members 1\n"
TOGETHER = 1 << 22  # bytes of pieces that ``add`` collects, for several workers


@dataclass(frozen=True)
class Checkpoint:
    """``content`` bytes in ``frames`` frames, which end before ``at`` in the partial archive."""

    content: int
    digest: bytes
    frames: int
    at: int


class PackWriter:
    """A packed archive ``output`` of members that come one after the other.

    ``add`` takes one; ``extend`` many, and lets workers run ahead. ``finish`` writes the index and
    gives the archive its name; leaving a ``with`` block does that, or, by an exception, keeps what
    was done in ``output.partial``: a writer of the same name, options and members goes on from
    there. Sizes are in bytes; ``block_size``, ``frame_size``, ``dedup`` (of whole members) and
    ``workers`` are as of ``pack``. ``progress`` hears of bytes as they are coded, ``note`` of what
    was there. Members are in the index by name and in the archive as they came.

    Raises PackError for names that are none or there twice, and what ``nncodec.compress`` does.
    """

    def __init__(
        self,
        output: str | os.PathLike[str],
        *,
        level: int = LEVEL,
        model: str | None = None,
        threads: int | None = None,
        workers: Workers | None = None,
        block_size: int = BLOCK_SIZE,
        frame_size: int = FRAME_SIZE,
        dedup: bool = True,
        replace: bool = False,
        note: Warn = api.print_nothing,
        progress: Progress = no_progress,
    ) -> None:
        check_sizes(block_size, frame_size)
        if is_remote(os.fspath(output)):
            raise PackError(f"{output}: write a file of this machine, and copy it when it is whole")
        self.target, self._replace = Path(output), replace
        check_target(self.target, replace)
        self._progress = progress
        codec = api.load_codec(level, model, threads).with_block_size(block_size)
        self._content = Content(block_size, frame_size, dedup)
        settings = repr((block_size, self._content.frame_size, dedup, coder_name(codec, level)))
        fingerprint = hashlib.sha256(FORMAT + settings.encode()).digest()
        self._unfinished = unfinished(self.target)
        self._waiting: list[Piece] = []  # that ``add`` has collected
        self._coded: deque[Piece] = deque()  # ends of pieces that are being coded
        self._held: list[Piece] = []  # since the last checkpoint that was the same
        self._last: Checkpoint | None = None  # that one
        self.resumed = 0  # bytes of content that an earlier run had done
        self.closed = False
        with ExitStack() as opened:
            self._workers = workers or opened.enter_context(sharing(codec.threads))
            self._codec = codec.with_workers(self._workers)
            self._file = opened.enter_context(open_partial(self._unfinished))
            self._head = skippable_frame(PLAN_TYPE, fingerprint)
            self._table, self._known = kept(self._file, self._head)
            if self._known:
                note(f"comparing with {self._unfinished}: {self._known[-1].content} bytes are done")
            else:
                self._cut()
            self._open = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None and not self.closed:
            self.finish()
        self.close()

    def close(self) -> None:
        """Leave it as it is: unless it was finished, in ``output.partial``."""
        self.closed = True
        self._open.close()

    def __len__(self) -> int:
        """Members so far."""
        return len(self._content)

    def add(self, name: str | bytes, data: Buffer) -> None:
        """Another member: a relative path with ``/`` (bytes are the system's), and its bytes."""
        self._check_open()
        self._waiting += self._fresh(self._content.add(name, data))
        if sum(len(piece.data) for piece in self._waiting) >= TOGETHER:
            self._encode([], more=True)

    def extend(self, members: Iterable[tuple[str | bytes, Buffer]]) -> None:
        """All of them, pulled as they are coded; a bounded number of bytes is held.

        After an error, in ``members`` too, the writer is closed.
        """
        self._check_open()
        pieces = chain.from_iterable(self._content.add(name, data) for name, data in members)
        self._encode(self._fresh(pieces), more=True)

    def finish(self) -> Summary:
        """Write what is left and the index; the archive gets its name. Returns what was packed.

        After an error the writer is closed.
        """
        self._check_open()
        try:
            return self._finish()
        finally:
            self.close()

    def _finish(self) -> Summary:
        content = self._content
        last = content.finish()
        if self._known or self._held:  # what was there goes on, unlike the members
            last = [*self._differ(), *last]
        if not last and not self._waiting and not len(self._table.ats):
            last = [Piece(bytearray(), 0, None)]  # of nothing: an empty frame
        self._encode(last, more=False)
        columns = content.columns()
        self._table.into(columns)
        self._file.write(index_frame(columns))
        partial.sync(self._file)
        make_readable(self._unfinished)
        os.fsync(self._file.fileno())
        packed = self._file.tell()
        if os.name == "nt":  # where no open file is renamed; elsewhere it is locked until then
            self.close()
        give_name(self._unfinished, self.target, self._replace)
        sync_folder(self.target.parent)
        count = len(columns.names)
        return Summary(count, count, content.given, content.size, packed, self.resumed, True)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"{self.target}: the writer was closed")

    def _fresh(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Those of the pieces that have to be coded: all but what the partial archive has."""
        for piece in pieces:
            if not self._known:
                yield piece
                continue
            self._held.append(piece)
            if piece.end < self._known[0].content:
                continue
            known = self._known[0]
            if (piece.end, piece.digest) != (known.content, known.digest):
                yield from self._differ()
                continue
            self._progress(sum(len(held.data) for held in self._held))
            self._held.clear()
            self._last = self._known.popleft()
            self.resumed = self._last.content
            if not self._known:
                self._cut()

    def _differ(self) -> list[Piece]:
        """Go on from the last checkpoint that was the same; returns what was given since then."""
        self._known.clear()
        self._cut()
        held, self._held = self._held, []
        return held

    def _cut(self) -> None:
        """Drop what lies behind the last checkpoint that was the same, or everything."""
        last, table, file = self._last, self._table, self._file
        if last is None:
            file.seek(0)
            file.truncate()
            file.write(self._head)
            self._table = FrameTable(len(self._head))
            return
        for column in (table.ats, table.sizes, table.headers, table.contents):
            del column[last.frames :]
        table.at, table.content = last.at, last.content
        file.seek(last.at)
        file.truncate()

    def _encode(self, pieces: Iterable[Piece], *, more: bool) -> None:
        """Code what ``add`` collected and ``pieces``; at checkpoints all is made to last."""
        waiting, self._waiting = self._waiting, []
        source = chain(waiting, pieces)
        try:
            first = next(source, None)  # only then is it known what is kept of the partial archive
            if first is None:
                return
            ends = {"continues": len(self._table.ats) > 0, "more": more}
            data = self._counted(chain([first], source))
            for part in self._codec.encode_pieces(data, self._progress, **ends):
                self._file.write(part)
                self._table.feed(part)
                self._end_pieces()
        except BaseException:
            self.close()
            raise

    def _counted(self, pieces: Iterable[Piece]) -> Iterator[Bytes]:
        for piece in pieces:
            self._coded.append(Piece(bytearray(), piece.end, piece.digest))
            yield np.frombuffer(piece.data, np.uint8)

    def _end_pieces(self) -> None:
        table = self._table
        while self._coded and table.between and table.content >= self._coded[0].end:
            digest = self._coded.popleft().digest
            if digest is not None:
                partial.sync(self._file)  # so what a checkpoint is behind is there if it is
                frame = skippable_frame(CHECKPOINT_TYPE, digest)
                self._file.write(frame)
                table.at += len(frame)


def kept(file: BinaryIO, head: bytes) -> tuple[FrameTable, deque[Checkpoint]]:
    """The frames of a partial archive and its checkpoints; none if it is none of these options."""
    table, found = FrameTable(len(head)), deque[Checkpoint]()
    file.seek(0)
    if file.read(len(head)) != head:
        return table, found
    size = os.fstat(file.fileno()).st_size
    with contextlib.suppress(NNCodecError):  # where it ends, or what a failure left
        while True:
            at = file.tell()
            start = file.read(len(MAGIC))
            if start == SKIPPABLE_MAGIC:
                digest = read_checkpoint(file)
                at = file.tell()
                found.append(Checkpoint(table.content, digest, len(table.ats), at))
                continue
            if start != MAGIC:
                break
            if not table.read_frame(file, at, size):
                break
    return table, found


def read_checkpoint(file: BinaryIO) -> bytes:
    """Its digest, of a skippable frame behind its signature. Raises NNCodecError."""
    fields = Fields(SKIPPABLE_MAGIC)
    length = pull(parse_skippable(fields), file)
    if fields.seen[len(SKIPPABLE_MAGIC)] != CHECKPOINT_TYPE or length != DIGEST:
        raise PackError("no checkpoint")
    return bytes(read_exactly(file, length, "a checkpoint"))
