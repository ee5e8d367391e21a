"""The ``.nnc`` container, version 1: headers and block tables. Pure bytes; no model, no coder.

An archive is one or more frames, one after the other. A frame is a header, a block table and the
payloads of its blocks. Integers are little-endian; ``varint`` is unsigned LEB128, at most 9 bytes.

    frame   = magic[4] versions[1] flags[1] model_id[16 if flags bit 0] base_id[16 if flags bit 1]
              (flags bit 4 only: varint size, environment[size])
              varint total  varint block_size  block[ceil(total / block_size)]
              header_checksum[4]  payloads
    block   = kind[1] varint payload_size  checksum[8]
              (coded, mixed and tokens only: varint lanes, varint prefix)
              (mixed, contexts and tokens only: varint table_bits)
              (transformed only: varint coded_size)
              (tensors, fields and delta only: varint items, then for each: dtype[1] role[1]
              varint rows, varint cols, and of delta mode[1] varint offset)

The low four bits of ``versions`` are the format's, the high four the numeric one: that of all
arithmetic that decides bits. Format 0, from before any release, is the same otherwise.
Flags bit 2 says that another frame of the same file follows, bit 3 that one came before. The
environment is that of the float arithmetic that tokens were predicted by, and alone decode by.
``checksum`` is XXH64 of the block's uncompressed bytes, ``header_checksum`` the low 32 bits of
XXH64 of all header bytes before it. ``block_size`` is 0 exactly when ``total`` is 0. The low four
bits of ``kind`` are the kind, the high ones the transform that the bytes went through before they
were coded, to ``coded_size`` bytes. Bits, kinds and transforms not named here are reserved and
rejected. docs/FORMAT.md says the same with an example.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import BinaryIO

from nncodec._core import xxh64
from nncodec.blocks import (
    BLOCK_SIZE,
    MAX_LANES,
    MAX_TABLE_BITS,
    MIN_TABLE_BITS,
    Geometry,
    needed_table_bits,
)
from nncodec.errors import CorruptDataError, TruncatedError, UnsupportedVersionError
from nncodec.memory import Payload, Source, View
from nncodec.numerics import NUMERIC_VERSION
from nncodec.tensors.delta_items import DeltaItem, Mode
from nncodec.tensors.items import FIELDS, Item, dtype_of
from nncodec.transforms import Transform

MAGIC = b"\x89NNC"
VERSION = 1  # written
VERSIONS = (0, VERSION)  # read
FLAG_MODEL, FLAG_BASE, FLAG_MORE, FLAG_CONTINUES, FLAG_ENVIRONMENT = 1, 2, 4, 8, 16
FLAGS = FLAG_MODEL | FLAG_BASE | FLAG_MORE | FLAG_CONTINUES | FLAG_ENVIRONMENT
MODEL_ID_BYTES = BASE_ID_BYTES = 16
MAX_TOTAL = (1 << 63) - 1
MAX_ENVIRONMENT = 1 << 12


class Kind(IntEnum):
    """How a block's payload gives back its bytes."""

    STORED = 0  # the bytes themselves
    CONSTANT = 1  # one byte, repeated
    CODED = 2  # range-coded with the model's counts
    MIXED = 3  # bit by bit, by the model and context models
    CONTEXTS = 4  # bit by bit, by context models alone
    TENSORS = 5  # numbers of tensors, predicted from their neighbours and scales
    FIELDS = 6  # numbers of tensors, cut into fields with frequency tables
    DELTA = 7  # numbers of tensors, predicted from those of a base
    TOKENS = 8  # text, token by token, by a causal language model


WITH_MODEL = (Kind.CODED, Kind.MIXED, Kind.TOKENS)
WITH_TABLE = (Kind.MIXED, Kind.CONTEXTS, Kind.TOKENS)
WITH_ITEMS = (Kind.TENSORS, Kind.FIELDS)
WITH_TRANSFORM = (Kind.CODED, Kind.MIXED, Kind.CONTEXTS)
NO_GEOMETRY = Geometry()  # of the kinds that have none


@dataclass(frozen=True, slots=True)  # a header of megabytes may have many rows
class Block:
    """One row of the block table. ``size`` follows from the frame and is not written.

    A payload decodes to ``coded_size`` bytes, which is ``size`` if there is no transform.
    """

    kind: Kind
    size: int
    payload_size: int
    checksum: int
    geometry: Geometry = NO_GEOMETRY
    transform: Transform = Transform.NONE
    transformed_size: int = 0  # only if there is a transform
    items: tuple[Item, ...] = ()  # of tensors and fields only
    deltas: tuple[DeltaItem, ...] = ()  # of delta only

    @property
    def coded_size(self) -> int:
        return self.transformed_size if self.transform else self.size

    @property
    def name(self) -> str:
        """``mixed``, ``contexts+x86``: kind and transform, as users see them."""
        kind = self.kind.name.lower()
        return f"{kind}+{self.transform.name.lower()}" if self.transform else kind


@dataclass(frozen=True)
class Frame:
    """A frame's header and block table. ``model_id`` is None when no block is coded, ``base_id``
    only if no block is a delta. What was compressed as one goes on in another frame if ``more``,
    and began in one before it if ``continues``. With an ``environment`` its blocks of tokens were
    predicted by float arithmetic, and decode in that environment only."""

    total: int
    block_size: int
    blocks: tuple[Block, ...]
    model_id: bytes | None = None
    base_id: bytes | None = None
    more: bool = False
    continues: bool = False
    header_size: int = field(default=0, compare=False)  # in bytes, of a frame that was read
    environment: bytes | None = None
    version: int = field(default=VERSION, compare=False)  # of the format that was read

    @property
    def payload_size(self) -> int:
        return sum(block.payload_size for block in self.blocks)

    def pack(self) -> bytes:
        out = bytearray(MAGIC)
        flags = (FLAG_MODEL if self.model_id else 0) | (FLAG_BASE if self.base_id else 0)
        flags |= FLAG_MORE * self.more | FLAG_CONTINUES * self.continues
        flags |= FLAG_ENVIRONMENT if self.environment else 0
        out += (
            bytes((VERSION | NUMERIC_VERSION << 4, flags))
            + (self.model_id or b"")
            + (self.base_id or b"")
        )
        if self.environment:
            out += varint(len(self.environment)) + self.environment
        out += varint(self.total) + varint(self.block_size)
        for block in self.blocks:
            out += bytes((block.kind | block.transform << 4,)) + varint(block.payload_size)
            out += block.checksum.to_bytes(8, "little")
            if block.kind in WITH_MODEL:
                out += varint(block.geometry.lanes) + varint(block.geometry.prefix)
            if block.kind in WITH_TABLE:
                out += varint(block.geometry.table_bits)
            if block.transform:
                out += varint(block.coded_size)
            if block.kind in WITH_ITEMS:
                out += pack_items(block.items)
            if block.kind == Kind.DELTA:
                out += pack_deltas(block.deltas)
        return bytes(out + header_checksum(out))


def pack_items(items: tuple[Item, ...]) -> bytes:
    out = bytearray(varint(len(items)))
    for item in items:
        out += pack_item(item)
    return bytes(out)


def pack_item(item: Item) -> bytes:
    return bytes((item.code, item.role)) + varint(item.rows) + varint(item.cols)


def pack_deltas(items: tuple[DeltaItem, ...]) -> bytes:
    out = bytearray(varint(len(items)))
    for item in items:
        out += pack_item(item.tensor) + bytes((item.mode,)) + varint(item.offset)
    return bytes(out)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def header_checksum(header: bytes | bytearray) -> bytes:
    return (xxh64(bytes(header)) & 0xFFFFFFFF).to_bytes(4, "little")


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
