"""The ``.nnc`` container, version 1: what headers and block tables are, and how they are written.

Pure bytes; no model, no coder. ``parsing`` reads them.

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
    skippable frame = magic[4] type[1] varint size  any[size]

The low four bits of ``versions`` are the format's, the high four the numeric one: that of all
arithmetic that decides bits. Format 0, from before any release, is the same otherwise.
A skippable frame may lie wherever a frame may begin; decoders know nothing of its contents.
Flags bit 2 says that another frame of the same file follows, bit 3 that one came before. The
environment is that of the float arithmetic that tokens were predicted by, and alone decode by.
``checksum`` is XXH64 of the block's uncompressed bytes, ``header_checksum`` the low 32 bits of
XXH64 of all header bytes before it. ``block_size`` is 0 exactly when ``total`` is 0. The low four
bits of ``kind`` are the kind, the high ones the transform that the bytes went through before they
were coded, to ``coded_size`` bytes. Bits, kinds and transforms not named here are reserved and
rejected. docs/FORMAT.md says the same with an example.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from nncodec._core import xxh64
from nncodec.blocks import Geometry
from nncodec.numerics import NUMERIC_VERSION
from nncodec.tensors.delta_items import DeltaItem
from nncodec.tensors.items import Item
from nncodec.transforms import Transform

MAGIC = b"\x89NNC"
SKIPPABLE_MAGIC = b"\x89NNS"
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


@dataclass(frozen=True, slots=True)  # slots: an archive may have very many
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

    def pack(self) -> bytes:
        """Its row of the block table."""
        out = bytes((self.kind | self.transform << 4,)) + varint(self.payload_size)
        out += self.checksum.to_bytes(8, "little")
        if self.kind in WITH_MODEL:
            out += varint(self.geometry.lanes) + varint(self.geometry.prefix)
        if self.kind in WITH_TABLE:
            out += varint(self.geometry.table_bits)
        if self.transform:
            out += varint(self.coded_size)
        if self.kind in WITH_ITEMS:
            out += pack_items(self.items)
        if self.kind == Kind.DELTA:
            out += pack_deltas(self.deltas)
        return out

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
            out += block.pack()
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


def skippable_frame(kind: int, payload: bytes) -> bytes:
    """A frame that decoders pass over, for whatever its users agree on; ``kind`` is 0 to 255."""
    return SKIPPABLE_MAGIC + bytes((kind,)) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def header_checksum(header: bytes | bytearray) -> bytes:
    return (xxh64(bytes(header)) & 0xFFFFFFFF).to_bytes(4, "little")
