"""Frame headers and block tables, checked field by field: the grammar, whoever brings the bytes.

Every function that reads is a generator: it yields how many bytes it needs next and is sent just
as many, or fewer where the input ends. So a reader of files and one that is fed pieces of any size
run the same code (``parsing``), each byte is looked at once, and nothing is ever asked for that a
header could not hold: a length that lies costs no memory.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from nncodec.blocks import (
    BLOCK_SIZE,
    MAX_LANES,
    MAX_TABLE_BITS,
    MIN_TABLE_BITS,
    Geometry,
    needed_table_bits,
)
from nncodec.container import (
    BASE_ID_BYTES,
    FLAG_BASE,
    FLAG_CONTINUES,
    FLAG_ENVIRONMENT,
    FLAG_MODEL,
    FLAG_MORE,
    FLAGS,
    MAX_ENVIRONMENT,
    MAX_TOTAL,
    MODEL_ID_BYTES,
    VERSION,
    VERSIONS,
    WITH_ITEMS,
    WITH_MODEL,
    WITH_TABLE,
    WITH_TRANSFORM,
    Block,
    Frame,
    Kind,
    header_checksum,
)
from nncodec.errors import CorruptDataError, TruncatedError, UnsupportedVersionError
from nncodec.memory import Payload
from nncodec.numerics import NUMERIC_VERSION
from nncodec.tensors.delta_items import DeltaItem, Mode
from nncodec.tensors.items import FIELDS, Item, dtype_of
from nncodec.transforms import Transform

T = TypeVar("T")
Names = tuple[bytes | None, bytes | None, bytes | None]
Parse = Generator[int, Payload, T]  # yields how many bytes it needs, is sent them, returns a T


class Fields:
    """A header's fields; keeps every byte of them, for the header's checksum."""

    def __init__(self, start: bytes) -> None:
        self.seen = bytearray(start)

    def take(self, size: int) -> Parse[Payload]:
        data = yield size
        self.seen += data
        if len(data) < size:
            short = size - len(data)
            raise TruncatedError(
                f"archive ends in the middle of a frame header, {short} bytes short"
            )
        return data

    def varint(self, name: str, limit: int) -> Parse[int]:
        value = 0
        for shift in range(0, 63, 7):
            byte = (yield from self.take(1))[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift:
                    raise CorruptDataError(f"frame header: {name} is not in its shortest form")
                break
        else:
            raise CorruptDataError(f"frame header: {name} is longer than 9 bytes")
        if value > limit:
            raise CorruptDataError(f"frame header: {name} is {value}, at most {limit} is allowed")
        return value


def parse_header(start: bytes) -> Parse[Frame]:
    """What follows a frame's signature ``start``, up to its first payload.

    Raises CorruptDataError for a damaged header, TruncatedError, UnsupportedVersionError.
    """
    fields = Fields(start)
    versions, flags = yield from fields.take(2)
    version = versions & 0xF
    check_versions(version, versions >> 4)
    if flags & ~FLAGS:
        raise CorruptDataError(f"frame header: reserved flags are set (0x{flags:02x})")
    model_id, base_id, environment = yield from parse_names(fields, flags)
    total = yield from fields.varint("total length", MAX_TOTAL)
    block_size = yield from fields.varint("block size", BLOCK_SIZE)
    if (total == 0) != (block_size == 0):
        raise CorruptDataError(f"frame header: block size {block_size} for {total} bytes")
    blocks, left = [], total
    while left:  # ends early in a TruncatedError if total promises more blocks than are there
        size = min(left, block_size)
        blocks.append((yield from parse_block(fields, size)))
        left -= size
    expected = header_checksum(fields.seen)
    if (yield from fields.take(4)) != expected:
        raise CorruptDataError("frame header is damaged (its checksum does not match)")
    kinds = {block.kind for block in blocks}
    if (model_id is not None) != bool(kinds & set(WITH_MODEL)):
        raise CorruptDataError("frame header: a model is named exactly when blocks are coded")
    if Kind.TOKENS in kinds and kinds & {Kind.CODED, Kind.MIXED}:
        raise CorruptDataError("frame header: one model over tokens and over bytes at once")
    if base_id is None and Kind.DELTA in kinds:
        raise CorruptDataError("frame header: a delta names no base")
    if environment is not None and not (environment and Kind.TOKENS in kinds):
        raise CorruptDataError("frame header: an environment of nothing")
    links = bool(flags & FLAG_MORE), bool(flags & FLAG_CONTINUES)
    sizes = (len(fields.seen), environment)
    return Frame(total, block_size, tuple(blocks), model_id, base_id, *links, *sizes, version)


def parse_names(fields: Fields, flags: int) -> Parse[Names]:
    """The model's id, the base's and the environment, those of them that ``flags`` announce."""
    model_id = bytes((yield from fields.take(MODEL_ID_BYTES))) if flags & FLAG_MODEL else None
    base_id = bytes((yield from fields.take(BASE_ID_BYTES))) if flags & FLAG_BASE else None
    environment = None
    if flags & FLAG_ENVIRONMENT:
        size = yield from fields.varint("environment's length", MAX_ENVIRONMENT)
        environment = bytes((yield from fields.take(size)))
    return model_id, base_id, environment


def parse_skippable(fields: Fields) -> Parse[int]:
    """What follows a skippable frame's signature, up to its contents; returns their size."""
    yield from fields.take(1)  # its type
    return (yield from fields.varint("a skippable frame's length", MAX_TOTAL))


def check_versions(version: int, numeric: int) -> None:
    """Raises UnsupportedVersionError for an archive that another release is needed for."""
    if version not in VERSIONS or numeric != NUMERIC_VERSION:
        raise UnsupportedVersionError(
            f"format version {version}, numeric version {numeric}; this release reads formats "
            f"{VERSIONS[0]} to {VERSION} of numeric version {NUMERIC_VERSION}, "
            "another release of nncodec is needed"
        )


def parse_block(fields: Fields, size: int) -> Parse[Block]:
    code = (yield from fields.take(1))[0]
    try:
        kind = Kind(code & 0xF)
    except ValueError:
        raise CorruptDataError(f"block table: kind {code & 0xF} is unknown") from None
    try:
        transform = Transform(code >> 4)
    except ValueError:
        raise CorruptDataError(f"block table: transform {code >> 4} is unknown") from None
    if transform and kind not in WITH_TRANSFORM:
        raise CorruptDataError(f"block table: a {kind.name} block has a transform")
    payload_size = yield from fields.varint(
        "payload length", size
    )  # no kind is longer than its block
    if payload_size != {Kind.STORED: size, Kind.CONSTANT: 1}.get(kind, payload_size):
        raise CorruptDataError(
            f"block table: a {kind.name} block of {size} bytes cannot have a "
            f"payload of {payload_size}"
        )
    checksum = int.from_bytes((yield from fields.take(8)), "little")
    lanes = (yield from fields.varint("lane count", MAX_LANES)) if kind in WITH_MODEL else 1
    prefix = (yield from fields.varint("prefix length", size)) if kind in WITH_MODEL else 0
    bits = (yield from fields.varint("table size", MAX_TABLE_BITS)) if kind in WITH_TABLE else 0
    geometry = Geometry(lanes, prefix, bits)
    coded_size = size
    if transform:
        coded_size = yield from fields.varint("transformed length", size)
        if coded_size == 0 or (transform == Transform.X86 and coded_size != size):
            raise CorruptDataError(
                f"block table: {transform.name} makes no {coded_size} bytes of {size}"
            )
    if kind in WITH_MODEL:
        check_lanes(geometry, coded_size)
    if kind in WITH_TABLE:
        check_table(geometry, coded_size, kind)
    transformed_size = coded_size if transform else 0
    items = (yield from parse_items(fields, size, kind)) if kind in WITH_ITEMS else ()
    deltas = (yield from parse_deltas(fields, size)) if kind == Kind.DELTA else ()
    sizes = (size, payload_size, checksum)
    return Block(kind, *sizes, geometry, transform, transformed_size, items, deltas)


def parse_items(fields: Fields, size: int, kind: Kind) -> Parse[tuple[Item, ...]]:
    """What a block of ``size`` bytes holds: items that fill it."""
    items, left = [], size
    for _ in range((yield from fields.varint("number of items", size))):
        item = yield from parse_item(fields, left)
        if kind == Kind.FIELDS:
            check_fields(item)
        items.append(item)
        left -= item.size
    check_filled(left)
    return tuple(items)


def parse_deltas(fields: Fields, size: int) -> Parse[tuple[DeltaItem, ...]]:
    """The same of a delta."""
    items, left = [], size
    for _ in range((yield from fields.varint("number of items", size))):
        item = yield from parse_item(fields, left)
        check_fields(item)
        code = (yield from fields.take(1))[0]
        try:
            mode = Mode(code)
        except ValueError:
            raise CorruptDataError(f"block table: a delta of mode {code} is unknown") from None
        items.append(
            DeltaItem(item, mode, (yield from fields.varint("offset in the base", MAX_TOTAL)))
        )
        left -= item.size
    check_filled(left)
    return tuple(items)


def check_fields(item: Item) -> None:
    if item.dtype is not None and item.dtype not in FIELDS:
        raise CorruptDataError(f"block table: {item.dtype.name} has no fields or deltas")


def parse_item(fields: Fields, left: int) -> Parse[Item]:
    """The next item, of at most ``left`` bytes."""
    code, role = yield from fields.take(2)
    try:
        dtype = dtype_of(code)
    except ValueError:
        raise CorruptDataError(f"block table: tensors of dtype {code} are unknown") from None
    rows, cols = (
        (yield from fields.varint("number of rows", left)),
        (yield from fields.varint("number of columns", left)),
    )
    item = Item(dtype, role, rows, cols)
    if not 0 < item.size <= left:
        raise CorruptDataError(f"block table: a tensor of {rows} times {cols} does not fit")
    return item


def check_filled(left: int) -> None:
    if left:
        raise CorruptDataError(f"block table: tensors leave {left} bytes of a block over")


def check_lanes(geometry: Geometry, coded_size: int) -> None:
    lanes, left = geometry.lanes, coded_size - geometry.prefix
    if left < 0:
        raise CorruptDataError(
            f"block table: prefix length is {geometry.prefix}, at most {coded_size} is allowed"
        )
    if not 1 <= lanes <= max(1, left):
        raise CorruptDataError(f"block table: {lanes} lanes for {left} bytes")


def check_table(geometry: Geometry, coded_size: int, kind: Kind) -> None:
    bits, most = geometry.table_bits, needed_table_bits(coded_size)
    if kind == Kind.TOKENS:  # without context models; the field is there for them to come
        if bits:
            raise CorruptDataError(f"block table: a table of {bits} bits for tokens")
        return
    if bits < MIN_TABLE_BITS:
        raise CorruptDataError(f"block table: a table of {bits} bits is too small")
    if bits > most:
        raise CorruptDataError(f"block table: table size is {bits}, at most {most} is allowed")
