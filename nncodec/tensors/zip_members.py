"""Members of a zip archive that starts at byte 0, from its central directory. Nothing is inflated.

Source: PKWARE APPNOTE.TXT 6.3, sections 4.3 (records), 4.4 (fields) and 4.5.3 (zip64). Stricter
than most readers: each local header must agree with the directory, and members may not overlap.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from nncodec.tensors.layout import Cursor, Data, broken, check_disjoint, shown

MAGIC = b"PK\x03\x04"
LOCAL = struct.Struct("<4s2xHH8xIIHH")  # flags, method, sizes, lengths of name and extra field
CENTRAL_MAGIC = b"PK\x01\x02"
CENTRAL = struct.Struct("<4s4xHH8xIIHHHH6xI")  # ... and of the comment, disk, offset of LOCAL
END_MAGIC = b"PK\x05\x06"
END = struct.Struct("<4sHHHHIIH")  # disk, its first, entries here, in all, bytes, offset, comment
LOCATOR_MAGIC = b"PK\x06\x07"
LOCATOR = struct.Struct("<4s4xQ4x")  # offset of END64
END64_MAGIC = b"PK\x06\x06"
END64 = struct.Struct("<4s12xIIQQQQ")  # as END
EXTRA = struct.Struct("<HH")  # id, bytes
U64 = struct.Struct("<Q")
ZIP64_ID = 1
MAX16, MAX32 = 0xFFFF, 0xFFFFFFFF  # "the number is in the zip64 record"
FLAG_ENCRYPTED, FLAG_SIZES_BEHIND, FLAG_UTF8 = 1, 8, 0x800
METHOD_STORED = 0


@dataclass(frozen=True)
class Member:
    """Bytes ``begin`` to ``end`` of the archive are the member's; its content only if stored."""

    name: str
    begin: int
    end: int
    stored: bool  # neither compressed nor encrypted


def read_members(data: Data) -> list[Member]:
    """All members in the directory's order, each name once; raises ContainerFormatError."""
    end = _find_end(data)
    entries, size, start = _directory(data, end)
    if start + size > end:
        raise broken(f"zip: a directory of {size} bytes at {start} reaches beyond {end}")
    if entries * CENTRAL.size > size:
        raise broken(f"zip: a directory of {size} bytes cannot hold {entries} entries")
    cursor = Cursor(data, start, start + size, "zip directory")
    members: dict[str, Member] = {}
    ranges = []
    for _ in range(entries):
        header, member = _read_entry(data, cursor, start)
        if member.name in members:
            raise broken(f"zip: two members are called {shown(member.name)}")
        members[member.name] = member
        ranges.append((header, member.end, member.name))
    if cursor.left:
        raise broken(f"zip: {cursor.left} bytes are left behind {entries} entries")
    check_disjoint(ranges, start)
    return list(members.values())


def _find_end(data: Data) -> int:
    """Where the last record starts whose comment ends with the data."""
    base = max(0, len(data) - END.size - MAX16)
    tail = bytes(data[base:])
    at = tail.rfind(END_MAGIC)
    while at >= 0:
        if at + END.size <= len(tail):
            *_, comment = END.unpack_from(tail, at)
            if at + END.size + comment == len(tail):
                return base + at
        at = tail.rfind(END_MAGIC, 0, at)
    raise broken("zip: no end of a central directory")


def _directory(data: Data, end: int) -> tuple[int, int, int]:
    """Entries, bytes and offset of the central directory, from END or END64."""
    _, disk, first, here, entries, size, start, _ = END.unpack(data[end : end + END.size])
    if MAX16 in (disk, first, here, entries) or MAX32 in (size, start):
        at = end - LOCATOR.size
        if at < 0 or data[at : at + 4] != LOCATOR_MAGIC:
            raise broken("zip: no zip64 locator where one is needed")
        (wide,) = Cursor(data, at + 8, end, "zip64 locator").fields(U64)
        if wide + END64.size > at or data[wide : wide + 4] != END64_MAGIC:
            raise broken(f"zip: no zip64 end of a directory at {wide}")
        _, disk, first, here, entries, size, start = END64.unpack(data[wide : wide + END64.size])
    if disk or first or here != entries:
        raise broken("zip: the archive has several disks")
    return entries, size, start


def _read_entry(data: Data, cursor: Cursor, limit: int) -> tuple[int, Member]:
    """The next entry: where its local header starts, and its member, which ends before limit."""
    at = cursor.at
    magic, flags, method, packed, size, *lengths, disk, offset = CENTRAL.unpack(
        cursor.take(CENTRAL.size)
    )
    name, extra, _ = (cursor.take(length) for length in lengths)
    try:
        title = name.decode("utf-8" if flags & FLAG_UTF8 else "cp437")
    except UnicodeDecodeError:
        raise broken(f"zip: the name of an entry at {at} is not UTF-8") from None
    where = f"zip entry {shown(title)}"
    if magic != CENTRAL_MAGIC or disk:
        raise broken(f"{where}: no entry of a directory of one disk")
    size, packed, offset = _widen(extra, (size, packed, offset), where)
    local = Cursor(data, offset, limit, where)
    magic, flags_too, method_too, packed_too, size_too, *lengths = LOCAL.unpack(
        local.take(LOCAL.size)
    )
    name_too, extra = (local.take(length) for length in lengths)
    same = (magic, name_too, method_too) == (MAGIC, name, method)
    if not same or (flags ^ flags_too) & FLAG_ENCRYPTED:
        raise broken(f"{where}: the local header at {offset} is another one")
    if not flags_too & FLAG_SIZES_BEHIND:
        sizes = _widen(extra, (size_too, packed_too), where)
        if sizes != [size, packed]:
            raise broken(f"{where}: its two headers disagree on {sizes} and {[size, packed]}")
    stored = method == METHOD_STORED and not flags & FLAG_ENCRYPTED
    if stored and size != packed:
        raise broken(f"{where}: stored, but {size} bytes are {packed}")
    begin = local.skip(packed)
    return offset, Member(title, begin, local.at, stored)


def _widen(extra: bytes, fields: tuple[int, ...], where: str) -> list[int]:
    """Fields that are full come from the zip64 extra field, which holds just those, in order."""
    if MAX32 not in fields:
        return list(fields)
    cursor = Cursor(memoryview(extra), 0, len(extra), where)
    while cursor.left:
        kind, size = cursor.fields(EXTRA)
        begin = cursor.skip(size)
        if kind == ZIP64_ID:
            wide = Cursor(cursor.data, begin, cursor.at, where)
            return [wide.fields(U64)[0] if field == MAX32 else field for field in fields]
    raise broken(f"{where}: no zip64 sizes where they are needed")
