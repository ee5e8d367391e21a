"""The index of a packed archive: who its members are, and where their bytes lie.

Columns of integers, one array each: an archive of millions of members has a dozen arrays. Written,
each column is its numbers' lowest bytes, then their next ones, and so on; all of it then goes
through LZMA, which makes little of what hardly varies. ``index_frame`` writes the skippable frame
that ends an archive, ``indexfile`` reads it. docs/FORMAT-pack.md is normative.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nncodec._core import xxh64
from nncodec.container import skippable_frame
from nncodec.errors import PackError
from nncodec.pack.names import Names

INDEX_TYPE, PLAN_TYPE, VOID_TYPE = 0x01, 0x02, 0x03  # of skippable frames
VERSION = 1
SIGNATURE = b"\x89NNP\r\n\x1a\n"
TRAILER = 32  # bytes: frame's size, checksum, version, method, reserved, signature
STORED, LZMA = 0, 1
MOST_RATIO = 1000  # that an index may be smaller by; what would be is stored
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 24, "lc": 3, "lp": 0, "pb": 0}]

Numbers = npt.NDArray[np.uint64]
NOBODY = (1 << 32) - 1  # the uid and gid of what has no owner, as chown(2) has it
METADATA = 1  # a flag: modes, times and owners are there


def none() -> Numbers:
    return np.zeros(0, np.uint64)


@dataclass
class Columns:
    """An index as arrays of unsigned 64-bit integers.

    Of members, in the order of their names: ``kinds``, ``modes`` (12 bits), ``seconds`` and
    ``nanoseconds`` of mtime (seconds modulo 2^64), ``uids``, ``gids``, and how many ``extents`` of
    the content each has. Of extents: ``begins`` and ``sizes``. Of frames, in order: ``frame_ats``
    in the archive, ``frame_sizes`` there, ``header_sizes`` of those, ``content_sizes``.
    """

    names: Names
    kinds: Numbers
    modes: Numbers
    seconds: Numbers
    nanoseconds: Numbers
    uids: Numbers
    gids: Numbers
    extents: Numbers
    begins: Numbers
    sizes: Numbers
    frame_ats: Numbers
    frame_sizes: Numbers
    header_sizes: Numbers
    content_sizes: Numbers
    targets: bytes  # of symbolic links, in the order of their names, each with a NUL behind it
    users: bytes  # ``1000 NUL name NUL``, by number
    groups: bytes
    archive_size: int  # bytes of the archive in front of the index's frame
    metadata: bool = True


def owner_of(column: Numbers, number: int) -> int | None:
    """The uid or gid of a member."""
    owner = int(column[number])
    return None if owner == NOBODY else owner


# In the order in which they are written: name, bytes of a number, whose column it is.
LAYOUT = (
    ("kinds", 1, "members"),
    ("extents", 4, "members"),
    ("modes", 2, "members"),
    ("seconds", 8, "metadata"),
    ("nanoseconds", 4, "metadata"),
    ("uids", 4, "metadata"),
    ("gids", 4, "metadata"),
    ("begins", 8, "extents"),
    ("sizes", 8, "extents"),
    ("frame_ats", 8, "frames"),
    ("frame_sizes", 8, "frames"),
    ("header_sizes", 8, "frames"),
    ("content_sizes", 8, "frames"),
)
# What is written of these columns is what differs from a guess, modulo 2^64: see ``guesses``.
GUESSED = ("begins", "frame_ats", "seconds")
HEAD = ("flags", "archive", "members", "extents", "frames", "names", "targets", "users", "groups")


def split(numbers: Numbers, width: int) -> bytes:
    """(n,) numbers -> their lowest bytes, then their next ones, ...: ``width`` times n bytes.

    Raises PackError for a number of more bytes.
    """
    if width < 8 and len(numbers) and int(numbers.max()) >> 8 * width:
        raise PackError(f"the index has no room for {int(numbers.max())}, in {width} bytes")
    planes = numbers.astype("<u8").view(np.uint8).reshape(len(numbers), 8)[:, :width]
    return np.ascontiguousarray(planes.T).tobytes()


def join(planes: bytes | memoryview, width: int, count: int) -> Numbers:
    """Inverse of ``split``."""
    out = np.zeros((count, 8), np.uint8)
    out[:, :width] = np.frombuffer(planes, np.uint8).reshape(width, count).T
    return out.view("<u8").ravel().astype(np.uint64, copy=False)


def behind(begins: Numbers, sizes: Numbers) -> Numbers:
    """What follows if each run begins where the one before it ends (modulo 2^64)."""
    return np.concatenate((np.zeros(1, np.uint64), (begins + sizes)[:-1]))


def differences(values: Numbers, sizes: Numbers) -> Numbers:
    """Of each from where the run before it ended; modulo 2^64."""
    return values - behind(values, sizes) if len(values) else values


def restore(written: Numbers, sizes: Numbers) -> Numbers:
    """Inverse of ``differences``."""
    if not len(written):
        return written
    steps = written.copy()
    steps[1:] += sizes[:-1]
    return np.cumsum(steps, dtype=np.uint64, out=steps)


def steps_of(name: str, columns: Columns) -> Numbers:
    """The sizes that predict a column in ``GUESSED``; zeros: the number before it."""
    if name == "begins":
        return columns.sizes
    return columns.frame_sizes if name == "frame_ats" else np.zeros_like(columns.seconds)


def pack_columns(columns: Columns) -> bytes:
    """The index before LZMA."""
    counts = {
        "flags": METADATA if columns.metadata else 0,
        "archive": columns.archive_size,
        "members": len(columns.names),
        "extents": len(columns.begins),
        "frames": len(columns.frame_ats),
        "names": len(columns.names.joined),
        "targets": len(columns.targets),
        "users": len(columns.users),
        "groups": len(columns.groups),
    }
    out = bytearray(b"".join(counts[name].to_bytes(8, "little") for name in HEAD))
    out += columns.names.joined + columns.targets + columns.users + columns.groups
    for name, width, of in LAYOUT:
        if of == "metadata" and not columns.metadata:
            continue
        numbers: Numbers = getattr(columns, name)
        if name in GUESSED:
            numbers = differences(numbers, steps_of(name, columns))
        out += split(numbers, width)
    return bytes(out)


def index_frame(columns: Columns) -> bytes:
    """The skippable frame that ends the archive."""
    raw = pack_columns(columns)
    method, packed = LZMA, lzma.compress(raw, lzma.FORMAT_RAW, filters=FILTERS)
    if len(packed) >= len(raw) or len(raw) > MOST_RATIO * len(packed):
        method, packed = STORED, raw
    body = len(raw).to_bytes(8, "little") + packed
    empty = skippable_frame(INDEX_TYPE, body + bytes(TRAILER))
    trailer = len(empty).to_bytes(8, "little") + bytes(8)
    trailer += VERSION.to_bytes(2, "little") + bytes((method,)) + bytes(5) + SIGNATURE
    whole = bytearray(empty[:-TRAILER] + trailer)
    whole[-TRAILER + 8 : -TRAILER + 16] = xxh64(bytes(whole)).to_bytes(8, "little")
    return bytes(whole)


def seconds_of(mtime_ns: int) -> tuple[int, int]:
    """Seconds since 1970 modulo 2^64, and the nanoseconds above them."""
    seconds, nanoseconds = divmod(mtime_ns, 1_000_000_000)
    return seconds % (1 << 64), nanoseconds


def mtime_of(seconds: int, nanoseconds: int) -> int:
    """Inverse of ``seconds_of``."""
    return (seconds - (1 << 64 if seconds >> 63 else 0)) * 1_000_000_000 + nanoseconds
