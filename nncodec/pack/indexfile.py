"""Reading an index: hostile input, of which nothing is believed before it was checked.

The trailer says how long the index's frame is, so one read of the archive's tail finds most. What
is decoded from it is bounded by what was read: no number in it is allocated by before that many
bytes are there, or LZMA could make them of what is. As that may be a thousand times as many, an
index that LZMA makes very small is refused from some size on unless more memory is allowed.
"""

from __future__ import annotations

import lzma
from typing import BinaryIO

import numpy as np

from nncodec._core import xxh64
from nncodec.container import SKIPPABLE_MAGIC
from nncodec.errors import CorruptDataError, LimitError, TruncatedError, UnsupportedVersionError
from nncodec.header import Fields, parse_skippable
from nncodec.limits import NO_LIMITS, Limits
from nncodec.memory import View
from nncodec.pack.index import (
    FILTERS,
    GUESSED,
    HEAD,
    INDEX_TYPE,
    LAYOUT,
    LZMA,
    METADATA,
    MOST_RATIO,
    NOBODY,
    SIGNATURE,
    STORED,
    TRAILER,
    VERSION,
    Columns,
    Numbers,
    join,
    none,
    restore,
    steps_of,
)
from nncodec.pack.names import Names, check_names
from nncodec.pack.tree import Kind
from nncodec.parsing import pull

MEMORY = 1 << 30  # bytes that a reader takes at most of an index that is smaller by ``PLAUSIBLE``
PLAUSIBLE = 64  # times that LZMA makes an honest index smaller
TAKES = 12  # times its columns' bytes: measured 11.4 of short names without metadata, 3 of extents
TAIL = 1 << 16  # bytes that are read first
NOT_PACKED = "is no packed archive: it does not end in an index of members (nncodec pack makes one)"


def read_index(source: BinaryIO, limits: Limits = NO_LIMITS) -> tuple[Columns, int]:
    """The index of the archive that ends ``source``, and where that archive begins in it.

    Raises CorruptDataError, TruncatedError, UnsupportedVersionError, LimitError.
    """
    end = source.seek(0, 2)
    tail = read_at(source, max(0, end - TAIL), min(end, TAIL))
    if len(tail) < TRAILER or tail[-len(SIGNATURE) :] != SIGNATURE:
        raise CorruptDataError(NOT_PACKED)
    size = int.from_bytes(tail[-TRAILER : 8 - TRAILER], "little")
    if not TRAILER < size <= end:
        raise CorruptDataError(f"index: its frame is said to have {size} bytes of {end}")
    if size > len(tail):
        if limits.max_memory is not None and size > limits.max_memory:
            raise LimitError(f"the index has {size} bytes, {limits.max_memory} of memory allowed")
        tail = read_at(source, end - size, size - len(tail)) + tail
    columns = parse_frame(tail[-size:], limits)
    if columns.archive_size > end - size:
        missing = columns.archive_size - (end - size)
        raise TruncatedError(f"archive lacks its first {missing} bytes: frames are missing")
    return columns, end - size - columns.archive_size


def read_at(source: BinaryIO, at: int, size: int) -> bytes:
    """Raises TruncatedError if they are not there."""
    source.seek(at)
    data = source.read(size)
    if len(data) < size:
        raise TruncatedError(f"archive ends early, {size - len(data)} bytes short")
    return bytes(data)


def parse_frame(frame: bytes, limits: Limits = NO_LIMITS) -> Columns:
    """What the skippable frame of an index says. Raises as ``read_index``."""
    trailer = frame[-TRAILER:]
    version, method = int.from_bytes(trailer[16:18], "little"), trailer[18]
    if version != VERSION:
        raise UnsupportedVersionError(
            f"index of version {version}; this release reads version {VERSION}, "
            "another release of nncodec is needed"
        )
    checked = bytearray(frame)
    checked[-TRAILER + 8 : -TRAILER + 16] = bytes(8)
    if xxh64(bytes(checked)).to_bytes(8, "little") != trailer[8:16]:
        raise CorruptDataError("index is damaged (its checksum does not match)")
    if frame[: len(SKIPPABLE_MAGIC)] != SKIPPABLE_MAGIC or frame[4] != INDEX_TYPE:
        raise CorruptDataError("index: its frame is none of an index")
    if any(trailer[19:24]):
        raise CorruptDataError("index: reserved bytes of its trailer are set")
    fields, view = Fields(SKIPPABLE_MAGIC), View(memoryview(frame)[4:])
    contents = pull(parse_skippable(fields), view)
    begin = len(fields.seen)
    if begin + contents != len(frame) or contents < 8 + TRAILER:
        raise CorruptDataError("index: its frame's size is not the one in the trailer")
    size = int.from_bytes(frame[begin : begin + 8], "little")
    return parse_columns(unpack_body(frame[begin + 8 : -TRAILER], size, method, limits))


def unpack_body(packed: bytes, size: int, method: int, limits: Limits) -> bytes:
    """The ``size`` bytes of the columns. Raises CorruptDataError, LimitError."""
    if method == STORED:
        if size != len(packed):
            raise CorruptDataError(f"index: {len(packed)} bytes stored for {size}")
        return packed
    if method != LZMA:
        raise CorruptDataError(f"index: method {method} is unknown")
    if size > MOST_RATIO * len(packed):
        raise CorruptDataError(f"index: {size} bytes are said to be in {len(packed)}")
    allowed = max(MEMORY, TAKES * PLAUSIBLE * len(packed))
    allowed = allowed if limits.max_memory is None else limits.max_memory
    if TAKES * size > allowed:
        raise LimitError(
            f"the index may take {TAKES * size} bytes, {allowed} of memory allowed; raise it "
            "(--memory) if you trust the archive"
        )
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS)
    try:
        data = decoder.decompress(packed, max_length=size)
        rest = b"" if decoder.eof else decoder.decompress(b"", max_length=1)
    except (lzma.LZMAError, EOFError) as error:
        raise CorruptDataError(f"index is damaged: {error}") from error
    if len(data) != size or rest or not decoder.eof or decoder.unused_data:
        raise CorruptDataError(f"index: not the {size} bytes that it is said to be")
    return data


def parse_columns(raw: bytes) -> Columns:
    """Raises CorruptDataError unless everything in it fits together."""
    if len(raw) < 8 * len(HEAD):
        raise CorruptDataError("index: it is shorter than its counts")
    counts = {name: int.from_bytes(raw[8 * i : 8 * i + 8], "little") for i, name in enumerate(HEAD)}
    if counts["flags"] & ~METADATA:
        raise CorruptDataError(f"index: reserved flags are set (0x{counts['flags']:x})")
    metadata = bool(counts["flags"] & METADATA)
    counts["metadata"] = counts["members"] if metadata else 0
    texts = ("names", "targets", "users", "groups")
    needed = 8 * len(HEAD) + sum(counts[name] for name in texts)
    needed += sum(width * counts[of] for _, width, of in LAYOUT)
    if needed != len(raw):
        raise CorruptDataError(f"index: {len(raw)} bytes for what takes {needed}")
    at, found = 8 * len(HEAD), {}
    for name in texts:
        found[name] = raw[at : at + counts[name]]
        at += counts[name]
    numbers: dict[str, Numbers] = {}
    for name, width, of in LAYOUT:
        size = width * counts[of]
        numbers[name] = join(memoryview(raw)[at : at + size], width, counts[of])
        at += size
    columns = Columns(
        Names(found["names"]),
        **numbers,
        targets=found["targets"],
        users=found["users"],
        groups=found["groups"],
        archive_size=counts["archive"],
        metadata=metadata,
    )
    for name in GUESSED:
        setattr(columns, name, restore(numbers[name], steps_of(name, columns)))
    if not metadata:
        columns.seconds = columns.nanoseconds = columns.uids = columns.gids = none()
    check_columns(columns, counts["members"])
    return columns


def check_columns(columns: Columns, members: int) -> None:
    """Raises CorruptDataError."""
    if len(columns.names) != members:
        raise CorruptDataError(f"index: {len(columns.names)} names for {members} members")
    check_names(columns.names)
    if (columns.kinds > max(Kind)).any():
        raise CorruptDataError("index: a member is of an unknown kind")
    if (columns.nanoseconds >= 1_000_000_000).any() or (columns.modes >> np.uint64(12)).any():
        raise CorruptDataError("index: a mode or a time is out of bounds")
    files = columns.kinds == Kind.FILE
    if columns.extents[~files].any() or int(columns.extents.sum()) != len(columns.begins):
        raise CorruptDataError("index: extents that no file has")
    links = int((columns.kinds == Kind.SYMLINK).sum())
    targets = columns.targets.split(b"\0")
    if targets.pop() or len(targets) != links or not all(targets):
        raise CorruptDataError("index: not as many targets as symbolic links")
    check_frames(columns)
    content = int(columns.content_sizes.sum())
    limit = np.uint64(content)
    if ((columns.sizes == 0) | (columns.sizes > limit)).any() or (
        columns.begins > limit - columns.sizes
    ).any():
        raise CorruptDataError("index: an extent reaches beyond the content")
    for owners in (columns.users, columns.groups):
        parts = owners.split(b"\0")
        if parts.pop() or len(parts) % 2 or not all(map(is_owner, parts[::2])):
            raise CorruptDataError("index: its table of owners is none")


def is_owner(digits: bytes) -> bool:
    """Whether it is a uid or a gid: of 32 bits."""
    return digits.isdigit() and len(digits) <= 10 and int(digits) <= NOBODY


def check_frames(columns: Columns) -> None:
    """Frames lie in the archive, in order, none over another; no sum wraps around."""
    for sizes in (columns.frame_sizes, columns.content_sizes, columns.sizes):
        if (sizes >> np.uint64(62)).any() or float(sizes.sum(dtype=np.float64)) >= 2.0**62:
            raise CorruptDataError("index: sizes are out of bounds")
    ats, sizes = columns.frame_ats, columns.frame_sizes
    ends = ats + sizes
    size = np.uint64(columns.archive_size)
    if (ats > size).any() or (ends > size).any() or (ats[1:] < ends[:-1]).any():
        raise CorruptDataError("index: frames are not one behind the other in the archive")
    heads = columns.header_sizes
    if (heads > sizes).any() or (heads < np.uint64(12)).any():
        raise CorruptDataError("index: a frame's header is not in it")
