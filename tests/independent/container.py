"""Archives, frames, block tables (FORMAT.md, "Archive" to "Skippable frames")."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from .errors import Rejected
from .xxh64 import xxh64

FRAME = b"\x89NNC"
SKIPPABLE = b"\x89NNS"
MODEL, BASE, MORE, CONTINUES, ENVIRONMENT, RESERVED = 0x01, 0x02, 0x04, 0x08, 0x10, 0xE0
STORED, CONSTANT, CODED, MIXED, CONTEXTS, TENSORS, FIELDS, DELTA, TOKENS = range(9)
MAX_BLOCK = 2**24
COLUMN_BYTES = {0: 1, 2: 4, 3: 2, 4: 2, 5: 1, 6: 1, 7: 1, 8: 1, 9: 2}  # of a dtype
COLUMN_BYTES |= {32: 18, 33: 20, 34: 22, 35: 24, 36: 34, 37: 144, 38: 176, 39: 210}


class Cursor:
    """Reads fields from bytes ("Conventions")."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise Rejected("the archive ends too early")
        self.at += size
        return self.data[self.at - size : self.at]

    def byte(self) -> int:
        return self.take(1)[0]

    def varint(self, most_bytes: int = 9) -> int:
        value = 0
        for index in range(most_bytes):
            byte = self.byte()
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                if byte == 0 and index > 0:
                    raise Rejected("a varint is not in its shortest form")
                return value
        raise Rejected(f"a varint has more than {most_bytes} bytes")


@dataclass(frozen=True)
class Item:
    """A run of a block of kinds 5 to 7 ("Items of kinds 5, 6 and 7")."""

    dtype: int
    role: int
    rows: int
    columns: int
    mode: int = 0
    offset: int = 0

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.rows * self.columns * COLUMN_BYTES[self.dtype]


@dataclass(frozen=True)
class Row:
    """One row of the block table; `coded_size` is n."""

    kind: int
    transform: int
    length: int
    payload_size: int
    checksum: int
    coded_size: int
    lanes: int = 1
    prefix: int = 0
    table_bits: int = 0
    items: tuple[Item, ...] = ()


@dataclass(frozen=True)
class Frame:
    """A frame, with the payloads of its blocks."""

    version: int
    flags: int
    total: int
    block_size: int
    model_id: bytes | None = None
    base_id: bytes | None = None
    environment: bytes | None = None
    rows: list[Row] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)


def frames(archive: bytes) -> Iterator[Frame]:
    """The frames of an archive, with the rules of chains ("Archive")."""
    cursor = Cursor(archive)
    found = more = False
    while cursor.at < len(archive):
        magic = cursor.take(4)
        if magic == SKIPPABLE:
            cursor.byte()
            cursor.take(cursor.varint())
            continue
        if magic != FRAME:
            raise Rejected("what follows is no frame")
        frame = read_frame(cursor)
        if bool(frame.flags & CONTINUES) != more:
            raise Rejected("a chain lacks its first frames or its last ones")
        more = bool(frame.flags & MORE)
        found = True
        yield frame
    if more or not found:
        raise Rejected("there is no frame, or a chain lacks its last ones")


def read_frame(cursor: Cursor) -> Frame:
    """A frame behind its magic ("Frame")."""
    start = cursor.at - 4
    versions = cursor.byte()
    if versions not in (0, 1):
        raise Rejected(f"format {versions & 15}, numeric version {versions >> 4} are not known")
    flags = cursor.byte()
    if flags & RESERVED:
        raise Rejected("a reserved flag is set")
    model_id = cursor.take(16) if flags & MODEL else None
    base_id = cursor.take(16) if flags & BASE else None
    environment = None
    if flags & ENVIRONMENT:
        size = cursor.varint()
        if not 1 <= size <= 4096:
            raise Rejected("an environment of a wrong size")
        environment = cursor.take(size)
    total, block_size = cursor.varint(), cursor.varint()
    if block_size > MAX_BLOCK or (total == 0) != (block_size == 0):
        raise Rejected("a wrong block size")
    rows: list[Row] = []
    left = total
    while left > 0:
        rows.append(read_row(cursor, min(left, block_size)))
        left -= rows[-1].length
    check_flags(flags, {row.kind for row in rows})
    checksum = xxh64(cursor.data[start : cursor.at]) % 2**32
    if int.from_bytes(cursor.take(4), "little") != checksum:
        raise Rejected("the header's checksum does not match")
    payloads = [cursor.take(row.payload_size) for row in rows]
    return Frame(versions, flags, total, block_size, model_id, base_id, environment, rows, payloads)


def check_flags(flags: int, kinds: set[int]) -> None:
    """The flags that the kinds of a frame's blocks ask for or forbid ("Frame")."""
    if bool(flags & MODEL) != bool(kinds & {CODED, MIXED, TOKENS}):
        raise Rejected("a model without a block that needs one, or none where one does")
    if DELTA in kinds and not flags & BASE:
        raise Rejected("a delta without a base")
    if flags & ENVIRONMENT and TOKENS not in kinds:
        raise Rejected("an environment without a tokens block")


def read_row(cursor: Cursor, length: int) -> Row:
    """A row of a block of so many bytes ("Block table")."""
    byte = cursor.byte()
    kind, transform = byte & 15, byte >> 4
    if kind > TOKENS or transform > 3:
        raise Rejected("a reserved kind or transform")
    if transform and kind not in (CODED, MIXED, CONTEXTS):
        raise Rejected("a transform of a block that has none")
    size = cursor.varint()
    checksum = int.from_bytes(cursor.take(8), "little")
    if size > length or (kind == STORED and size != length) or (kind == CONSTANT and size != 1):
        raise Rejected("a payload size that the kind cannot have")
    lanes, prefix, bits, n = 1, 0, 0, length
    if kind in (CODED, MIXED, TOKENS):
        lanes, prefix = cursor.varint(), cursor.varint()
    if kind in (MIXED, CONTEXTS, TOKENS):
        bits = cursor.varint()
    if transform:
        n = cursor.varint()
        if not 1 <= n <= length or (transform == 1 and n != length):
            raise Rejected("a coded size out of its bounds")
    if prefix > n or not 1 <= lanes <= min(256, max(1, n - prefix)):
        raise Rejected("lanes or a prefix out of their bounds")
    most = min(22, max(10, (3 * n // 2 - 1).bit_length()))
    if (kind in (MIXED, CONTEXTS) and not 10 <= bits <= most) or (kind == TOKENS and bits):
        raise Rejected("table bits out of their bounds")
    items = read_items(cursor, kind, length) if kind in (TENSORS, FIELDS, DELTA) else ()
    return Row(kind, transform, length, size, checksum, n, lanes, prefix, bits, items)


def read_items(cursor: Cursor, kind: int, length: int) -> tuple[Item, ...]:
    """The items of a row ("Items of kinds 5, 6 and 7")."""
    count = cursor.varint()
    items = []
    left = length
    for _ in range(count):
        dtype, role = cursor.byte(), cursor.byte()
        if dtype not in COLUMN_BYTES or (kind != TENSORS and dtype > 8):
            raise Rejected("a dtype that the kind does not have")
        rows, columns = cursor.varint(), cursor.varint()
        mode = offset = 0
        if kind == DELTA:
            mode, offset = cursor.byte(), cursor.varint()
        item = Item(dtype, role, rows, columns, mode, offset)
        left -= item.size
        if min(rows, columns) < 1 or mode > 2 or left < 0:
            raise Rejected("an item out of its bounds")
        items.append(item)
    if left:
        raise Rejected("the items do not fill the block")
    return tuple(items)
