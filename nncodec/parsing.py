"""Reading the ``.nnc`` container: frame headers and block tables, checked field by field."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

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
    MAGIC,
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
from nncodec.memory import Payload, Source, View
from nncodec.numerics import NUMERIC_VERSION
from nncodec.tensors.delta_items import DeltaItem, Mode
from nncodec.tensors.items import FIELDS, Item, dtype_of
from nncodec.transforms import Transform


def read_exactly(source: Source, size: int, what: str) -> Payload:
    """``size`` bytes, read in pieces, so that a false length costs no more than the data held."""
    pieces: list[Payload] = []
    left = size
    if isinstance(source, View):  # there is no need for pieces
        view = source.read(size)
        if len(view) == size:
            return view
        left -= len(view)
    while left and (piece := source.read(min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    if left:
        raise TruncatedError(f"archive ends in the middle of {what}, {left} bytes short")
    return b"".join(pieces)


class HeaderReader:
    """Reads fields and keeps every byte it read, for the header's checksum."""

    def __init__(self, source: Source, seen: bytes) -> None:
        self.source, self.seen = source, bytearray(seen)

    def take(self, size: int) -> bytes:
        data = self.source.read(size)
        if len(data) < size:  # the end, or a pipe that gives less than was asked for
            data = bytes(data) + bytes(
                read_exactly(self.source, size - len(data), "a frame header")
            )
        self.seen += data
        return bytes(data)

    def varint(self, name: str, limit: int) -> int:
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
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


def read_frame(source: Source, first: bool = True) -> Frame | None:
    """Parse the next frame's header; None at the end of the source (never for the first).

    Leaves ``source`` at the first payload. Raises CorruptDataError for a foreign file or a damaged
    header, TruncatedError, UnsupportedVersionError.
    """
    start = b""
    while len(start) < len(MAGIC) and (piece := source.read(len(MAGIC) - len(start))):
        start += piece  # a raw pipe may give less than was asked for
    if not start and not first:
        return None
    if start != MAGIC:
        if MAGIC.startswith(start):
            raise TruncatedError("archive ends in the middle of its signature")
        if first:
            raise CorruptDataError("not an nncodec archive (its signature is missing)")
        raise CorruptDataError("trailing garbage after the last frame")
    reader = HeaderReader(source, start)
    versions, flags = reader.take(2)
    version = versions & 0xF
    check_versions(version, versions >> 4)
    if flags & ~FLAGS:
        raise CorruptDataError(f"frame header: reserved flags are set (0x{flags:02x})")
    model_id = reader.take(MODEL_ID_BYTES) if flags & FLAG_MODEL else None
    base_id = reader.take(BASE_ID_BYTES) if flags & FLAG_BASE else None
    environment = None
    if flags & FLAG_ENVIRONMENT:
        environment = reader.take(reader.varint("environment's length", MAX_ENVIRONMENT))
    total = reader.varint("total length", MAX_TOTAL)
    block_size = reader.varint("block size", BLOCK_SIZE)
    if (total == 0) != (block_size == 0):
        raise CorruptDataError(f"frame header: block size {block_size} for {total} bytes")
    blocks, left = [], total
    while left:  # ends early in a TruncatedError if total promises more blocks than are there
        size = min(left, block_size)
        blocks.append(read_block(reader, size))
        left -= size
    expected = header_checksum(reader.seen)
    if reader.take(4) != expected:
        raise CorruptDataError("frame header is damaged (its checksum does not match)")
    if (model_id is not None) != any(block.kind in WITH_MODEL for block in blocks):
        raise CorruptDataError("frame header: a model is named exactly when blocks are coded")
    if base_id is None and any(block.kind == Kind.DELTA for block in blocks):
        raise CorruptDataError("frame header: a delta names no base")
    if environment is not None and not (
        environment and any(block.kind == Kind.TOKENS for block in blocks)
    ):
        raise CorruptDataError("frame header: an environment of nothing")
    links = bool(flags & FLAG_MORE), bool(flags & FLAG_CONTINUES)
    sizes = (len(reader.seen), environment)
    return Frame(total, block_size, tuple(blocks), model_id, base_id, *links, *sizes, version)


def check_versions(version: int, numeric: int) -> None:
    """Raises UnsupportedVersionError for an archive that another release is needed for."""
    if version not in VERSIONS or numeric != NUMERIC_VERSION:
        raise UnsupportedVersionError(
            f"format version {version}, numeric version {numeric}; this release reads formats "
            f"{VERSIONS[0]} to {VERSION} of numeric version {NUMERIC_VERSION}, "
            "another release of nncodec is needed"
        )


def read_block(reader: HeaderReader, size: int) -> Block:
    code = reader.take(1)[0]
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
    payload_size = reader.varint("payload length", size)  # no kind is longer than its block
    if payload_size != {Kind.STORED: size, Kind.CONSTANT: 1}.get(kind, payload_size):
        raise CorruptDataError(
            f"block table: a {kind.name} block of {size} bytes cannot have a "
            f"payload of {payload_size}"
        )
    checksum = int.from_bytes(reader.take(8), "little")
    lanes = reader.varint("lane count", MAX_LANES) if kind in WITH_MODEL else 1
    prefix = reader.varint("prefix length", size) if kind in WITH_MODEL else 0
    bits = reader.varint("table size", MAX_TABLE_BITS) if kind in WITH_TABLE else 0
    geometry = Geometry(lanes, prefix, bits)
    coded_size = size
    if transform:
        coded_size = reader.varint("transformed length", size)
        if coded_size == 0 or (transform == Transform.X86 and coded_size != size):
            raise CorruptDataError(
                f"block table: {transform.name} makes no {coded_size} bytes of {size}"
            )
    if kind in WITH_MODEL:
        check_lanes(geometry, coded_size)
    if kind in WITH_TABLE:
        check_table(geometry, coded_size, kind)
    transformed_size = coded_size if transform else 0
    items = read_items(reader, size, kind) if kind in WITH_ITEMS else ()
    deltas = read_deltas(reader, size) if kind == Kind.DELTA else ()
    sizes = (size, payload_size, checksum)
    return Block(kind, *sizes, geometry, transform, transformed_size, items, deltas)


def read_items(reader: HeaderReader, size: int, kind: Kind) -> tuple[Item, ...]:
    """What a block of ``size`` bytes holds: items that fill it."""
    items, left = [], size
    for _ in range(reader.varint("number of items", size)):
        item = read_item(reader, left)
        if kind == Kind.FIELDS:
            check_fields(item)
        items.append(item)
        left -= item.size
    check_filled(left)
    return tuple(items)


def read_deltas(reader: HeaderReader, size: int) -> tuple[DeltaItem, ...]:
    """The same of a delta."""
    items, left = [], size
    for _ in range(reader.varint("number of items", size)):
        item = read_item(reader, left)
        check_fields(item)
        code = reader.take(1)[0]
        try:
            mode = Mode(code)
        except ValueError:
            raise CorruptDataError(f"block table: a delta of mode {code} is unknown") from None
        items.append(DeltaItem(item, mode, reader.varint("offset in the base", MAX_TOTAL)))
        left -= item.size
    check_filled(left)
    return tuple(items)


def check_fields(item: Item) -> None:
    if item.dtype is not None and item.dtype not in FIELDS:
        raise CorruptDataError(f"block table: {item.dtype.name} has no fields or deltas")


def read_item(reader: HeaderReader, left: int) -> Item:
    """The next item, of at most ``left`` bytes."""
    code, role = reader.take(2)
    try:
        dtype = dtype_of(code)
    except ValueError:
        raise CorruptDataError(f"block table: tensors of dtype {code} are unknown") from None
    rows, cols = reader.varint("number of rows", left), reader.varint("number of columns", left)
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
    if bits == 0 and kind == Kind.TOKENS:  # as they come, without context models
        return
    if bits < MIN_TABLE_BITS:
        raise CorruptDataError(f"block table: a table of {bits} bits is too small")
    if bits > most:
        raise CorruptDataError(f"block table: table size is {bits}, at most {most} is allowed")


def each_frame(source: Source) -> Iterator[Frame]:
    """All frames, one after the other; the caller reads or skips the payloads of each.

    Raises what ``read_frame`` does; TruncatedError if frames are missing behind one, or before one
    CorruptDataError.
    """
    before = None
    while (frame := read_frame(source, first=before is None)) is not None:
        if before is not None and before.more and not frame.continues:
            raise TruncatedError("archive before another one ends early: frames are missing")
        if frame.continues and (before is None or not before.more):
            raise CorruptDataError("archive begins in the middle: frames before are missing")
        yield frame
        before = frame
    if before is not None and before.more:
        raise TruncatedError("archive ends early: more frames should follow")


def read_frames(source: BinaryIO) -> list[Frame]:
    """All frame headers of a seekable archive; payloads are skipped, but checked to be there."""
    start = source.tell()
    end = source.seek(0, io.SEEK_END)
    source.seek(start)
    frames: list[Frame] = []
    for frame in each_frame(source):
        if source.seek(frame.payload_size, io.SEEK_CUR) > end:
            raise TruncatedError("archive ends in the middle of a payload")
        frames.append(frame)
    return frames
