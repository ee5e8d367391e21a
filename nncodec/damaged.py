"""Frames of a damaged archive: where they begin, and what their headers say as far as one can tell.

A header is *verified* if its checksum matches, as it is or with one byte of it replaced: that byte
is found by trying all, which 32 bits of checksum decide. Of any other header the rows are read as
they stand; each block has a 64-bit checksum of its own, which whoever decodes it has to compare.

Frames follow each other without gaps, so the lengths in one header lead to the next. Where they do
not, bytes were lost or inserted, or a length is wrong: then the next frame is searched for by its
magic, and must be verified or lead to another one itself. A magic within a stored block is no frame
if that block is intact, nor if the links of the chain (``more`` and ``continues``) do not fit: it
belongs to an archive that was compressed once more.

The work is bounded for files made to make much of it: ``READ_AGAIN`` times the file's length of
header bytes in all, and so many trials of bytes; beyond them the search is given up.

Not here: decoding, and what is made of the blocks (``recovery``).
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from nncodec._core import xxh64
from nncodec.container import (
    FLAGS,
    MAGIC,
    SKIPPABLE_MAGIC,
    VERSIONS,
    Block,
    Kind,
)
from nncodec.damaged_header import (
    CHECKSUM_BYTES,
    Header,
    NotingView,
    header_of,
    parse_loosely,
    read_header,
)
from nncodec.errors import CorruptDataError, NNCodecError, TruncatedError
from nncodec.header import Fields, parse_skippable
from nncodec.memory import View
from nncodec.numerics import NUMERIC_VERSION
from nncodec.parsing import pull

WINDOW, MOST_HEADER = 1 << 12, 1 << 22  # bytes of a header that are read at first, and at most
SEARCHED = 1 << 20  # bytes searched for a magic at a time
READ_AGAIN, A_MAGIC = 8, 1 << 12  # bytes that count as read: times the file's, for every magic
# Headers in which a wrong byte is looked for: by the checksum alone where the length is known, and
# else by parsing; how many trials there are in all, and bytes that are parsed
# for them, each with so many on top.
HASHED_BYTES, PARSED_BYTES = 1 << 11, 192
HASH_TRIALS, PARSED_IN_ALL, A_TRIAL = 1 << 21, 1 << 23, 64
START = re.compile(
    re.escape(MAGIC)
    + b"["
    + b"".join(re.escape(bytes((v | NUMERIC_VERSION << 4,))) for v in VERSIONS)
    + b"][\0-"
    + re.escape(bytes((FLAGS,)))
    + b"]",
    re.DOTALL,
)


@dataclass(frozen=True)
class Found:
    """A frame whose header begins at ``begin``; its payloads end at ``end`` or before."""

    begin: int
    end: int
    header: Header


@dataclass(frozen=True)
class Skipped:
    """Bytes ``begin`` to ``end`` of the archive in which no frame could be made out."""

    begin: int
    end: int


class Finder:
    """The frames of a seekable ``source``, in order, and what lies between them."""

    def __init__(self, source: BinaryIO) -> None:
        self.source, self.size = source, source.seek(0, io.SEEK_END)
        self.left = 0  # header bytes still to be read
        self.hash_trials, self.to_parse = HASH_TRIALS, PARSED_IN_ALL
        self.repairs: dict[int, Header | None] = {}
        self.known: tuple[int, Header | None] = (-1, None)  # the header that was read last
        self.intact: tuple[int, bool] = (-1, False)  # the stored block that was checked last

    def __iter__(self) -> Iterator[Found | Skipped]:
        at, self.left = 0, READ_AGAIN * self.size + MOST_HEADER
        while at < self.size:
            if end := self.skippable(at):
                at = end
                continue
            header = self.header_at(at)
            if header is None:
                end = self.search(at + 1, None)
                end = self.size if end is None else end
                yield Skipped(at, end)
                at = end
                continue
            end = self.end_of(at, header)
            yield Found(at, end, header)
            at = end

    def end_of(self, at: int, header: Header) -> int:
        """Where the next frame begins, or what is none, or the archive ends."""
        # Where an unverified header ends is not sure: the next one may have become part of it.
        size = header.size if header.verified else None
        begin, length = at + (size or len(MAGIC)), header.length
        if length is not None:
            end = at + length
            if end == self.size or (end < self.size and self.leads_to(end)):
                return end
            if end > self.size and header.verified and not header.more:
                return self.size  # cut off, and nothing came after it
        found = self.search(begin, (at, header))
        return self.size if found is None else found

    def leads_to(self, at: int) -> bool:
        return self.skippable(at) is not None or self.header_at(at) is not None

    def skippable(self, at: int) -> int | None:
        """Where a skippable frame that begins at ``at`` ends, if there is one that does."""
        view = View(memoryview(self.read(at, len(SKIPPABLE_MAGIC) + 10)))
        with contextlib.suppress(NNCodecError):
            if view.read(len(SKIPPABLE_MAGIC)) == SKIPPABLE_MAGIC:
                size = pull(parse_skippable(Fields(b"")), view)
                end = at + view.at + size
                return end if end <= self.size else None
        return None

    def header_at(self, at: int) -> Header | None:
        """The header where one is expected: any that makes sense."""
        if self.known[0] != at:
            header = self.verified(at) or self.repaired(at) or self.loose(at)
            if header is not None and not header.verified and not self.plausible(at, header):
                header = None
            self.known = at, header
        return self.known[1]

    def plausible(self, at: int, header: Header) -> bool:
        """Whether an unverified header may be one: by its magic, or by what it leads to."""
        if self.read(at, len(MAGIC)) == MAGIC:
            return header.total > 0
        return self.leads_on(at, header)

    def leads_on(self, at: int, header: Header) -> bool:
        if header.length is None or not header.rows:
            return False
        end = at + header.length
        return end == self.size or self.read(end, len(MAGIC)) == MAGIC

    def search(self, begin: int, before: tuple[int, Header] | None) -> int | None:
        """The next frame from ``begin`` on, behind the frame ``before`` it, if there is one."""
        at = begin
        while (at := self.find_start(at)) >= 0 and self.left > 0:
            self.left -= A_MAGIC
            header = self.verified(at) or self.repaired(at)
            if header is None and (loose := self.loose(at)) and self.leads_on(at, loose):
                header = loose
            if header is None:
                at += 1
            elif (step := self.nested(at, header, before)) > 0:
                at += step
            else:
                self.known = at, header
                return at
        return None

    def nested(self, at: int, header: Header, before: tuple[int, Header] | None) -> int:
        """Bytes to go on by if the frame at ``at`` belongs to what ``before`` holds; else 0."""
        if before is None:
            return 0
        frame, whole = before
        begin, length = frame + (whole.size or 0), whole.length
        if not whole.verified or length is None or at >= frame + length:
            return 0
        if header.verified and header.continues != whole.more:
            return 1
        for row in whole.rows:
            assert row is not None  # of a verified header
            end = begin + row.payload_size
            if begin <= at < end:
                stored = row.kind == Kind.STORED and self.is_intact(begin, row)
                return end - at if stored else 0
            begin = end
        return 0

    def is_intact(self, begin: int, row: Block) -> bool:
        if self.intact[0] != begin:
            self.intact = begin, xxh64(bytes(self.read(begin, row.payload_size))) == row.checksum
        return self.intact[1]

    def read(self, at: int, size: int) -> bytes:
        """Fewer bytes at the end."""
        self.source.seek(at)
        return self.source.read(size)

    def find_start(self, at: int) -> int:
        """The offset from ``at`` on of a magic, versions and flags, or -1."""
        while at < self.size:
            found = START.search(self.read(at, SEARCHED + len(MAGIC) + 1))
            if found:
                return at + found.start()
            at += SEARCHED
        return -1

    def verified(self, at: int) -> Header | None:
        return self.grown(at, self.parse)

    def loose(self, at: int) -> Header | None:
        return self.grown(at, self.parse_loosely)

    def grown(self, at: int, parse: Callable[[bytes, bool], Header | None]) -> Header | None:
        """``parse`` with as many bytes as it needs; it is told whether there are no more."""
        size = WINDOW
        while True:
            data = self.read(at, size)
            last = len(data) < size or size >= MOST_HEADER
            try:
                return parse(data, last)
            except TruncatedError:
                if last or self.left <= 0:
                    return None
            size *= 4

    def parse(self, data: bytes, _last: bool = True) -> Header | None:
        """A header whose checksum matches. Raises TruncatedError."""
        view = View(memoryview(data))
        try:
            frame = read_header(view)
        except TruncatedError:
            raise
        except NNCodecError:
            return None
        finally:
            self.left -= view.at
        return header_of(frame) if frame else None

    def parse_loosely(self, data: bytes, last: bool = True) -> Header | None:
        """Any header, as far as it can be read. Raises TruncatedError if not ``last``."""
        view = NotingView(memoryview(data))
        try:
            return parse_loosely(view, last)
        except TruncatedError:
            if not last:
                raise
            return None
        except CorruptDataError:
            return None
        finally:
            self.left -= view.count

    def repaired(self, at: int) -> Header | None:
        """The header that it was if one byte of it is wrong."""
        if at not in self.repairs:
            if self.hash_trials <= 0 or self.to_parse <= 0 or self.left <= 0:
                return None
            self.repairs[at] = self.find_wrong_byte(self.read(at, WINDOW))
        return self.repairs[at]

    def find_wrong_byte(self, data: bytes) -> Header | None:
        view = View(memoryview(data))
        with contextlib.suppress(NNCodecError):
            read_header(view)
        noting, loose = NotingView(memoryview(data)), None
        with contextlib.suppress(CorruptDataError):
            loose = parse_loosely(noting, True)
        if loose and loose.size and loose.size <= HASHED_BYTES and loose.length is not None:
            found = self.find_by_hash(data, loose.size)
            if found is not None:
                return found
        most = min(view.at, PARSED_BYTES)  # what comes later has not been read
        return self.find_by_parsing(data, [at for at in noting.short if at < most])

    def find_by_hash(self, data: bytes, size: int) -> Header | None:
        body = np.frombuffer(data[:size], np.uint8).copy()
        covered = body[:-CHECKSUM_BYTES]
        wanted = int.from_bytes(data[size - CHECKSUM_BYTES : size], "little")
        given = xxh64(covered) & 0xFFFFFFFF
        wrong = (given ^ wanted).to_bytes(CHECKSUM_BYTES, "little")
        if CHECKSUM_BYTES - wrong.count(0) == 1:  # the checksum itself is damaged
            right = given.to_bytes(CHECKSUM_BYTES, "little")
            return self.try_parse(data, size - CHECKSUM_BYTES, right)
        for at in range(len(covered)):
            own = int(covered[at])
            if self.hash_trials <= 0:
                return None
            self.hash_trials -= 256
            for value in range(256):
                covered[at] = value
                if xxh64(covered) & 0xFFFFFFFF == wanted:
                    found = self.try_parse(data, at, bytes((value,)))
                    if found:
                        return found
            covered[at] = own
        return None

    def find_by_parsing(self, data: bytes, places: list[int]) -> Header | None:
        """For bytes that decide how long a header is, at one of ``places``."""
        for at in places:
            for value in range(256):
                if self.to_parse <= 0:
                    return None
                if value != data[at] and (found := self.try_parse(data, at, bytes((value,)))):
                    return found
        return None

    def try_parse(self, data: bytes, at: int, patch: bytes) -> Header | None:
        left = self.left
        try:
            return self.parse(data[:at] + patch + data[at + len(patch) :])
        except TruncatedError:
            return None
        finally:
            self.to_parse -= left - self.left + A_TRIAL
            self.left = left  # trials have a bound of their own
