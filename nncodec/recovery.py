"""Save every intact block of a damaged archive, and say which bytes are missing.

A block is saved if its bytes match the checksum in its row of the block table, wherever in its
frame its payload turns out to lie: behind the payloads before it, or before those behind it. So
nothing is written that is not the original's. ``damaged`` finds the frames.

One block at a time is in memory; the archive is read twice, the first time for its headers only,
so that a model or a base that is not there is an error before anything is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from nncodec import api
from nncodec.causal.options import DEFAULT, CausalOptions
from nncodec.container import MAGIC, Block, Kind
from nncodec.damaged import Finder, Found, Skipped
from nncodec.damaged_header import Header
from nncodec.decoding import FindCoder, decode_block, old_bytes, within
from nncodec.errors import CorruptDataError, ModelNotFoundError, NNCodecError
from nncodec.lanes import Coder, Progress, no_progress
from nncodec.limits import Limits
from nncodec.parsing import read_frame
from nncodec.tensors.base import Base, check_base

ZEROS = bytes(1 << 20)


@dataclass(frozen=True)
class Missing:
    """Bytes of the original that could not be saved: ``size`` of them from ``begin`` on.

    A size of None is unknown, perhaps 0; what is said to begin later begins later by so much. The
    damage is in the frame at ``archive_offset``, or between it and the one before.
    """

    begin: int
    size: int | None
    reason: str
    archive_offset: int


@dataclass(frozen=True)
class Recovery:
    """What became of an archive; sizes in bytes.

    ``skipped`` are parts of the archive, from an offset to another, in which no frame could be made
    out: garbage, or frames damaged beyond recognition.
    """

    size: int  # of the original as far as it is known: saved and missing
    saved: int
    blocks_saved: int
    blocks_lost: int
    missing: tuple[Missing, ...]
    skipped: tuple[tuple[int, int], ...]

    @property
    def complete(self) -> bool:
        """Nothing is missing, and every byte of the archive was understood."""
        return not self.missing

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "complete": self.complete}

    @property
    def why(self) -> str:
        return self.missing[0].reason if self.missing else "no frame could be made out"

    @property
    def summary(self) -> str:
        blocks = f"{self.blocks_saved} of {self.blocks_saved + self.blocks_lost} blocks"
        known = sum(m.size or 0 for m in self.missing)
        unknown = sum(m.size is None for m in self.missing)
        rest = f", {known} bytes missing" if known else ""
        rest += f", and in {unknown} places an unknown number" if unknown else ""
        return f"{self.saved} bytes saved, {blocks}{rest}"

    def lines(self, skip: bool = False) -> Iterator[str]:
        """One for every missing range, of bytes counted from 0, and for what was skipped."""
        for m in self.missing:
            if m.size is None:
                yield f"at byte {m.begin} an unknown number, perhaps 0, is missing: {m.reason}"
            else:
                last = m.begin + m.size - 1
                left = "left out" if skip else "zeros"
                yield f"bytes {m.begin} to {last} ({m.size}) are missing, {left}: {m.reason}"


def recover(
    source: BinaryIO,
    sink: BinaryIO,
    *,
    skip: bool = False,
    sparse: bool = False,
    max_output_size: int | None = None,
    model: str | None = None,
    threads: int | None = None,
    base: api.Buffer | Base | None = None,
    options: CausalOptions = DEFAULT,
    progress: Progress = no_progress,
) -> Recovery:
    """Write what is intact of the archive ``source``, a seekable file, into ``sink``.

    Missing bytes are zeros, so that offsets stay true, where it is known how many they are; with
    ``skip`` they are left out. ``sparse`` leaves holes for them, in a seekable file of the caller's
    that is not opened to append. ``max_output_size`` bounds what is written. ``model``,
    ``threads``, ``base`` and ``options`` are as for ``decompress``. Raises CorruptDataError if not
    a single frame is found; ModelNotFoundError, BaseFileError and EnvironmentMismatchError before
    anything is written; LimitError, and OSError.
    """
    if base is not None and not isinstance(base, Base):
        base = api.base_of(base)

    decoder = Decoder(api.CoderFinder(model, threads, options), base)
    finder = Finder(source)
    decoder.prepare(source, finder)
    output = Output(sink, skip, sparse, Limits(max_output_size))
    return Walk(source, decoder, output, progress).recovery(finder)


class Decoder:
    """The blocks of headers that may lie."""

    def __init__(self, find: FindCoder, base: Base | None) -> None:
        self.find, self.base = find, base
        self.coders: dict[tuple[bytes, bytes | None], Coder] = {}  # of verified headers

    def prepare(self, source: BinaryIO, finder: Finder) -> None:
        """Raises what decompressing does for a model, a base or an environment that is not here."""
        frames = verified = 0
        for piece in finder:
            if isinstance(piece, Found):
                frames += 1
                if piece.header.verified:
                    verified += 1
                    self.coder(piece.header)
                    if piece.header.base_id:
                        check_base(piece.header.base_id, self.base)
        if not verified:
            source.seek(0)
            try:
                read_frame(source)
            except CorruptDataError:
                if not frames:
                    raise

    def coder(self, header: Header) -> Coder | None:
        if header.model_id is None:
            return None
        key = header.model_id, header.environment
        if key not in self.coders:
            try:
                found = self.find(header.model_id)
            except ModelNotFoundError:
                if header.verified or not self.coders:
                    raise
                return next(iter(self.coders.values()))  # its id may be what is damaged
            if header.environment is not None:
                found = within(header.environment, found)
            if not header.verified:
                return found
            self.coders[key] = found
        return self.coders[key]

    def decode(self, header: Header, row: Block, payload: bytes, progress: Progress) -> bytes:
        """Its verified bytes. Raises NNCodecError."""
        if row.kind == Kind.DELTA and self.base is None:
            raise CorruptDataError("a block needs a base, but its header names none")
        own = self.find(None) if row.kind == Kind.CONTEXTS else self.coder(header)
        try:
            return decode_block(row, payload, own, progress, old_bytes(row, self.base))
        except NNCodecError:
            raise
        except (ValueError, MemoryError) as error:  # of rows that no encoder makes
            raise CorruptDataError(f"a block is damaged: {error or 'out of memory'}") from error


class Output:
    """What is written: blocks, and zeros or nothing for missing bytes. ``at``: in the original."""

    def __init__(self, sink: BinaryIO, skip: bool, sparse: bool, limits: Limits) -> None:
        self.sink, self.skip, self.sparse, self.limits = sink, skip, sparse, limits
        self.at = self.written = 0
        self.hole = 0  # bytes that are owed to a sparse file

    def write(self, data: bytes) -> None:
        self.count(len(data))
        self.at += len(data)
        if self.hole:
            self.sink.seek(self.hole, 1)
            self.hole = 0
        self.sink.write(data)

    def lose(self, size: int) -> None:
        self.at += size
        if self.skip:
            return
        self.count(size)
        if self.sparse:
            self.hole += size
            return
        while size:
            size -= self.sink.write(ZEROS[: min(size, len(ZEROS))])

    def count(self, size: int) -> None:
        self.written += size
        self.limits.check_output(self.written)

    def finish(self) -> None:
        if self.hole:
            self.sink.seek(self.hole - 1, 1)
            self.sink.write(b"\0")


class Walk:
    """One pass over an archive, frame by frame."""

    def __init__(
        self, source: BinaryIO, decoder: Decoder, output: Output, progress: Progress
    ) -> None:
        self.source, self.decoder, self.output = source, decoder, output
        self.progress = progress
        self.saved = self.blocks_saved = self.blocks_lost = 0
        self.missing: list[Missing] = []
        self.skipped: list[tuple[int, int]] = []

    def recovery(self, finder: Finder) -> Recovery:
        before: Header | None = None
        gap = False  # bytes are known to be missing before the next frame
        for piece in finder:
            if isinstance(piece, Skipped):
                gap = self.skip(piece.begin, piece.end)
                continue
            if not gap:
                self.check_link(before, piece)
            gap = self.frame(piece)
            before = piece.header
        if before is not None and before.verified and before.more and not gap:
            self.lose(None, "archive ends early: more frames should follow", self.end())
        self.output.finish()
        counts = self.saved, self.blocks_saved, self.blocks_lost
        return Recovery(self.output.at, *counts, tuple(self.missing), tuple(self.skipped))

    def end(self) -> int:
        return self.source.seek(0, 2)

    def check_link(self, before: Header | None, piece: Found) -> None:
        """What a chain lacks between two frames; those that are damaged may say anything."""
        header, why = piece.header, ""
        if not header.verified or (before is not None and not before.verified):
            return
        if before is not None and before.more and not header.continues:
            why = "archive before another one ends early: frames are missing"
        elif header.continues and (before is None or not before.more):
            why = "archive begins in the middle: frames before are missing"
        if why:
            self.lose(None, why, piece.begin)

    def frame(self, found: Found) -> bool:
        """Save its blocks. Returns whether frames after it are known to be missing, too."""
        if not found.header.verified:
            return self.doubtful_frame(found)
        last = in_order = not found.header.rows  # of the last block: whether it is saved, and where
        for index, places in enumerate(places_of(found)):
            data, why, in_order = self.block(found, index, places)
            last = data is not None
            if data is None:
                self.lose_block(found, index, why)
            else:
                self.save(data)
        return self.check_end(found, last, in_order)

    def doubtful_frame(self, found: Found) -> bool:
        """The same where the header is damaged.

        Its table may be that of another frame, if what lay between is gone; then its blocks are
        found backward from the next frame. It is believed once a block lies where it says, behind
        the header and the payloads before; the size of blocks once one that is not the last is
        saved; that of the last if it is saved itself.
        """
        header = found.header
        sure = full = saved = in_order = False
        waiting: list[tuple[int, str]] = []  # lost blocks that nothing is known of yet
        says = f"the damaged header of its frame says {header.total} bytes in all"
        for index, places in enumerate(places_of(found)):
            data, why, in_order = self.block(found, index, places)
            if data is None:
                waiting.append((index, why))
                continue
            sure, full = sure or in_order, full or index < header.count - 1
            if waiting and sure and full:
                self.lose_blocks(found, waiting)
            elif waiting or not (sure or saved):
                self.blocks_lost += len(waiting)
                why = waiting[0][1] if waiting else "bytes before may be, too"
                self.lose(None, f"{why}; {says}", found.begin)
            waiting.clear()
            self.save(data)
            saved = True
        if waiting or len(header.rows) < header.count or not saved:
            why = waiting[-1][1] if waiting else "the block table is damaged"
            if sure and full:
                self.lose_blocks(found, [w for w in waiting if w[0] < header.count - 1])
                waiting = [w for w in waiting if w[0] == header.count - 1]
            self.blocks_lost += len(waiting)
            self.lose(None, f"{why}; {says}", found.begin)
            return True
        return self.check_end(found, True, in_order) if sure else True

    def save(self, data: bytes) -> None:
        self.output.write(data)
        self.saved += len(data)
        self.blocks_saved += 1

    def lose_blocks(self, found: Found, blocks: list[tuple[int, str]]) -> None:
        for index, why in blocks:
            self.lose_block(found, index, why)

    def lose_block(self, found: Found, index: int, why: str) -> None:
        """Report a block whose size is certain."""
        header = found.header
        size = min(header.block_size, header.total - index * header.block_size)
        self.blocks_lost += 1
        self.lose(size, why, found.begin)

    def check_end(self, found: Found, last: bool, in_order: bool) -> bool:
        """What a frame's length says of the bytes behind it, other than that the next one follows.

        If its ``last`` block is saved, there are too many of them only if it lay where it should.
        """
        if found.header.length is None:
            return False
        end = found.begin + found.header.length
        if end < found.end and (in_order or not last):
            return self.skip(end, found.end)
        if end > found.end and not last and found.end < self.end():
            why = "bytes of the archive are missing, perhaps whole frames with them"
            self.lose(None, why, found.end)
            return True
        return False

    def block(
        self, found: Found, index: int, places: list[int | None]
    ) -> tuple[bytes | None, str, bool]:
        """Its bytes or the reason why there are none, and whether it lies where it should."""
        row = found.header.rows[index]
        if row is None:
            return None, "its row of the block table is damaged", False
        why = ""
        for number, place in enumerate(places):
            if place is None:
                continue
            self.source.seek(place)
            payload = self.source.read(row.payload_size)
            if len(payload) < row.payload_size:
                why = why or "the archive ends in the middle of it, or before"
                continue
            try:
                data = self.decoder.decode(found.header, row, payload, self.progress)
            except NNCodecError as error:
                why = why or str(error)
                continue
            return data, "", number == 0
        return None, why or "its place in the archive is not known", False

    def skip(self, begin: int, end: int) -> bool:
        """Bytes of the archive. Returns whether frames may be missing there, which is True."""
        self.skipped.append((begin, end))
        self.source.seek(begin)
        if MAGIC.startswith(self.source.read(len(MAGIC))):
            what = "the header of a frame is damaged beyond recognition"
        else:
            what = "garbage, or frames damaged beyond recognition"
        self.lose(None, f"bytes {begin} to {end - 1} of the archive: {what}", begin)
        return True

    def lose(self, size: int | None, why: str, place: int) -> None:
        """Report missing bytes, those that follow others of the same frame together with them."""
        begin = self.output.at
        last = self.missing[-1] if self.missing else None
        if size is not None:
            self.output.lose(size)
        if (
            last
            and None not in (size, last.size)
            and last == Missing(begin - (last.size or 0), last.size, why, place)
        ):
            self.missing[-1] = Missing(last.begin, (last.size or 0) + (size or 0), why, place)
        else:
            self.missing.append(Missing(begin, size, why, place))


def places_of(found: Found) -> list[list[int | None]]:
    """Of each row where its payload may begin: by the lengths of those before, and of those behind.

    None where a length that it takes is not known, or where both are the same.
    """
    rows, count = found.header.rows, found.header.count
    places: list[list[int | None]] = [[None, None] for _ in rows]
    at = None if found.header.size is None else found.begin + found.header.size
    for place, row in zip(places, rows, strict=True):
        place[0] = at
        at = None if at is None or row is None else at + row.payload_size
    at = found.end if len(rows) == count else None
    for place, row in zip(reversed(places), reversed(rows), strict=True):
        at = None if at is None or row is None else at - row.payload_size
        place[1] = None if at is None or at <= found.begin or at == place[0] else at
    return places
