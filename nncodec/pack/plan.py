"""Everything that decides an archive's bytes, before the first of them is written.

The content is every chunk once, file by file, files of a kind together: what is alike lies in one
block and is learned from. It is cut into pieces, each of which begins a frame: small files share a
piece of one block, which no file leaves, so that reading one decodes one block; a file larger than
a block has pieces of its own, many blocks each; a file of tensors is one piece, as ``compress``
would take it. Every chunk that comes again, wherever, is an extent of the same content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nncodec.pack.index import NOBODY, Columns, Numbers, none, pack_columns, seconds_of
from nncodec.pack.names import Names
from nncodec.pack.survey import DIGEST, Survey
from nncodec.pack.tree import Entry, Kind

FORMAT = b"nncodec pack 1\n"


@dataclass(frozen=True)
class Settings:
    """What of the options decides bytes. ``coder`` names codec, model and releases."""

    block_size: int
    frame_size: int
    dedup: bool
    metadata: bool
    coder: str


@dataclass(frozen=True)
class Stored:
    """The content, chunk by chunk in its order: the entry that each is read from, where in it, its
    size, where in the content it begins, and its SHA-256 (n, 32); and by ``again_of``, the number
    of such a chunk, the other entries that have it and where in them."""

    owners: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    begins: npt.NDArray[np.int64]
    digests: npt.NDArray[np.uint8]
    again_of: npt.NDArray[np.int64]
    again_owners: npt.NDArray[np.int64]
    again_offsets: npt.NDArray[np.int64]

    def places(self, chunk: int) -> Iterator[tuple[int, int]]:
        """Entries, and where in them, that have a chunk; first the one that it is read from."""
        yield int(self.owners[chunk]), int(self.offsets[chunk])
        first, behind = np.searchsorted(self.again_of, (chunk, chunk + 1))
        for place in range(int(first), int(behind)):
            yield int(self.again_owners[place]), int(self.again_offsets[place])


@dataclass(frozen=True)
class Plan:
    """``columns`` is the index without frames; ``ends`` is where each piece of the content ends,
    ``whole`` says which of them are files of tensors."""

    entries: list[Entry]
    columns: Columns
    stored: Stored
    ends: npt.NDArray[np.int64]
    whole: npt.NDArray[np.bool_]
    frame_size: int
    fingerprint: bytes

    @property
    def content_size(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def piece(self, number: int) -> tuple[int, int]:
        """Where in the content a piece lies."""
        return (int(self.ends[number - 1]) if number else 0), int(self.ends[number])


def make_plan(survey: Survey, settings: Settings) -> Plan:
    """The plan of what was found: a function of names, contents, metadata and settings alone."""
    entries = survey.entries
    files = np.array([i for i, e in enumerate(entries) if e.kind == Kind.FILE], dtype=np.int64)
    counts = np.array(survey.counts, dtype=np.int64)
    firsts = np.cumsum(counts) - counts  # of each file: its first chunk, as they were surveyed
    order = np.array(
        sorted(range(len(files)), key=lambda i: (survey.groups[i], entries[files[i]].name)),
        dtype=np.int64,
    )
    chunks = runs(firsts[order], counts[order])  # in the order of the content
    sizes = np.array(survey.sizes, dtype=np.int64)[chunks]
    digests = np.frombuffer(bytes(survey.digests), np.uint8).reshape(-1, DIGEST)[chunks]
    file_of = np.repeat(order, counts[order])
    new, alike = first_of_each(digests) if settings.dedup else all_new(len(chunks))
    begins = np.zeros(len(chunks), np.int64)
    begins[new] = np.cumsum(sizes[new]) - sizes[new]
    again = np.flatnonzero(alike != np.arange(len(chunks)))
    again = again[np.argsort(alike[again], kind="stable")]
    begins = begins[alike]
    offsets = np.cumsum(sizes) - sizes
    starts = np.cumsum(counts[order]) - counts[order]  # of each file in order: its first chunk
    if len(chunks):
        offsets -= np.repeat(offsets[np.minimum(starts, len(chunks) - 1)], counts[order])
    stored = Stored(
        files[file_of[new]],
        offsets[new],
        sizes[new],
        begins[new],
        np.ascontiguousarray(digests[new]),
        np.searchsorted(new, alike[again]).astype(np.int64),
        files[file_of[again]],
        offsets[again],
    )
    columns = index_columns(entries, settings.metadata)
    set_extents(columns, files[file_of], begins, sizes)
    held = np.bincount(file_of[new], weights=sizes[new], minlength=len(files)).astype(np.int64)
    tensors = np.frombuffer(bytes(survey.tensors), np.uint8)
    cuts = [(int(held[i]), bool(tensors[i])) for i in order if held[i]]
    ends, whole = cut_pieces(cuts, settings.block_size, settings.frame_size)
    fingerprint = hashlib.sha256(FORMAT + repr(settings).encode() + b"\n")
    fingerprint.update(pack_columns(columns))
    fingerprint.update(stored.digests.data)
    return Plan(entries, columns, stored, ends, whole, settings.frame_size, fingerprint.digest())


def runs(firsts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """``first, first + 1, ...`` of each, so many: one behind the other."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    steps: npt.NDArray[np.int64] = np.repeat(firsts - (ends - counts), counts)
    return np.arange(total, dtype=np.int64) + steps


def first_of_each(
    digests: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(n, 32) digests -> the places of those not seen before, in order; and for each of the n the
    place of the first one like it."""
    keys = np.ascontiguousarray(digests).view(f"S{DIGEST}").ravel()  # compared as bytes
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return np.sort(first), first[inverse.ravel()]


def all_new(count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return np.arange(count), np.arange(count)


def index_columns(entries: list[Entry], metadata: bool) -> Columns:
    """The columns of members, without their extents."""

    def column(values: Iterator[int]) -> Numbers:
        return np.fromiter(values, np.uint64, len(entries))

    times = [seconds_of(entry.mtime_ns) for entry in entries] if metadata else []
    links = [entry.target + b"\0" for entry in entries if entry.kind == Kind.SYMLINK]
    return Columns(
        names=Names.of(entry.name for entry in entries),
        kinds=column(int(entry.kind) for entry in entries),
        modes=column(mode_of(e, metadata) for e in entries),
        seconds=column(s for s, _ in times) if metadata else none(),
        nanoseconds=column(n for _, n in times) if metadata else none(),
        uids=column(e.uid for e in entries) if metadata else none(),
        gids=column(e.gid for e in entries) if metadata else none(),
        extents=np.zeros(len(entries), np.uint64),
        begins=none(),
        sizes=none(),
        frame_ats=none(),
        frame_sizes=none(),
        header_sizes=none(),
        content_sizes=none(),
        targets=b"".join(links),
        users=owners({e.uid for e in entries}, user_name) if metadata else b"",
        groups=owners({e.gid for e in entries}, group_name) if metadata else b"",
        archive_size=0,
        metadata=metadata,
    )


def mode_of(entry: Entry, metadata: bool) -> int:
    """Without metadata, what git keeps: whether a file can be executed."""
    if metadata:
        return entry.mode
    return 0o755 if entry.kind != Kind.FILE or entry.mode & 0o100 else 0o644


def owners(numbers: set[int], name_of: Callable[[int], bytes]) -> bytes:
    """``1000 NUL name NUL``, by number, of those that have names here."""
    named = [(number, name_of(number)) for number in sorted(numbers - {NOBODY})]
    return b"".join(b"%d\0%s\0" % (number, name) for number, name in named if name)


def user_name(uid: int) -> bytes:
    try:
        import pwd

        return pwd.getpwuid(uid).pw_name.encode()
    except (ImportError, KeyError, UnicodeError):
        return b""


def group_name(gid: int) -> bytes:
    try:
        import grp

        return grp.getgrgid(gid).gr_name.encode()
    except (ImportError, KeyError, UnicodeError):
        return b""


def set_extents(
    columns: Columns,
    members: npt.NDArray[np.int64],
    begins: npt.NDArray[np.int64],
    sizes: npt.NDArray[np.int64],
) -> None:
    """Chunks of members, each member's in order, as extents: neighbours in the content are one."""
    by_member = np.argsort(members, kind="stable")
    members, begins, sizes = members[by_member], begins[by_member], sizes[by_member]
    fresh = np.ones(len(members), bool)
    fresh[1:] = (members[1:] != members[:-1]) | (begins[1:] != begins[:-1] + sizes[:-1])
    heads = np.flatnonzero(fresh)
    columns.begins = begins[heads].astype(np.uint64)
    columns.sizes = (np.add.reduceat(sizes, heads) if len(heads) else sizes).astype(np.uint64)
    counts = np.bincount(members[heads], minlength=len(columns.names))
    columns.extents = counts.astype(np.uint64)


def cut_pieces(
    files: list[tuple[int, bool]], block_size: int, frame_size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Where the pieces of the content end, and which are a file of tensors.

    Of each file in order: the bytes that it adds to the content, and whether it has tensors.
    """
    frame_size = max(frame_size // block_size, 1) * block_size
    ends: list[int] = []
    whole: list[bool] = []
    begin = at = 0  # of the piece that small files share, and behind its last

    def close() -> None:
        nonlocal begin
        if at > begin:
            ends.append(at)
            whole.append(False)
        begin = at

    for size, tensors in files:
        if not tensors and at + size - begin <= block_size:
            at += size
            continue
        close()
        if tensors or size > block_size:
            cuts = [size] if tensors else [*range(frame_size, size, frame_size), size]
            ends += [at + cut for cut in cuts]
            whole += [tensors] * len(cuts)
            begin = at + size
        at += size
    close()
    return np.array(ends, np.int64), np.array(whole, bool)
