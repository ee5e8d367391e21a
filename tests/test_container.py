"""The container's bytes: literal archives, headers there and back, and one test a rejection."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from helpers import (
    TEXT,
    HashEngine,
    coded_row,
    constant_archive,
    contexts_row,
    forge,
    mixed_row,
    stored_archive,
)
from hypothesis import given
from hypothesis import strategies as st

import nncodec
from nncodec._core import xxh64
from nncodec.blocks import (
    BLOCK_SIZE,
    MAX_LANES,
    MAX_TABLE_BITS,
    MIN_TABLE_BITS,
    Geometry,
    needed_table_bits,
)
from nncodec.codec import Codec
from nncodec.container import (
    MAX_TOTAL,
    WITH_ITEMS,
    WITH_MODEL,
    WITH_TABLE,
    WITH_TRANSFORM,
    Block,
    Frame,
    Kind,
    varint,
)
from nncodec.decoding import decompress_stream
from nncodec.errors import CorruptDataError, TruncatedError, UnsupportedVersionError
from nncodec.parsing import read_frame, read_frames
from nncodec.tensors.delta_items import DeltaItem, Mode
from nncodec.tensors.items import FIELDS, MODELLED, Item
from nncodec.transforms import Transform

EMPTY = bytes.fromhex(
    "89 4e 4e 43"  # signature: 0x89 "NNC"
    "01 00"  # format 1, numeric version 0, no flags: no model
    "00 00"  # total 0, block size 0
    "de 1f 9a 4f"  # header checksum
)
CONSTANT = bytes.fromhex(
    "89 4e 4e 43 01 00"
    "ac 02"  # total 300 = 0x2c + 2 * 128
    "ac 02"  # block size 300
    "01"  # kind: constant
    "01"  # payload: 1 byte
    "c7 cf cf b9 96 4d f8 96"  # XXH64 of 300 times "a"
    "54 33 45 c4"  # header checksum
    "61"  # payload: "a"
)
STORED = bytes.fromhex(
    "89 4e 4e 43 01 00"
    "03"  # total
    "03"  # block size
    "00"  # kind: stored
    "03"  # payload: 3 bytes
    "99 09 77 ad f5 2c bc 44"  # XXH64 of "abc" = 0x44bc2cf5ad770999
    "2c 1b 88 30"  # header checksum
    "61 62 63"  # payload: "abc"
)
CODED_HEADER = bytes.fromhex(
    "89 4e 4e 43"
    "01 01"  # format 1, numeric version 0; flag 0: a model is named
    "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f"  # its id
    "80 08"  # total 1024
    "c0 04"  # block size 576
    "02 05"  # first block: coded, 5 bytes of payload
    "08 07 06 05 04 03 02 01"  # checksum 0x0102030405060708
    "04 40"  # 4 lanes behind a prefix of 64 bytes
    "01 01"  # second block: constant, 448 bytes are left for it
    "ff 00 00 00 00 00 00 00"
    "71 d5 03 ee"  # header checksum
)
CODED_FRAME = Frame(
    total=1024,
    block_size=576,
    blocks=(
        Block(Kind.CODED, 576, 5, 0x0102030405060708, Geometry(lanes=4, prefix=64)),
        Block(Kind.CONSTANT, 448, 1, 0xFF),
    ),
    model_id=bytes(range(16)),
)
MIXED_HEADER = bytes.fromhex(
    "89 4e 4e 43"
    "01 01"  # format 1, numeric version 0; flag 0: a model is named
    "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f"  # its id
    "c0 10"  # total 2112
    "80 08"  # block size 1024
    "03 05"  # first block: mixed, 5 bytes of payload
    "08 07 06 05 04 03 02 01"  # checksum 0x0102030405060708
    "04 40 0b"  # 4 lanes behind a prefix of 64 bytes, a table of 2^11 lines
    "04 81 01"  # second block: contexts, 129 bytes of payload
    "ff 00 00 00 00 00 00 00"
    "0a"  # a table of 2^10 lines
    "01 01"  # third block: constant, 64 bytes are left for it
    "fe 00 00 00 00 00 00 00"
    "0a 5e b8 b7"  # header checksum
)
MIXED_FRAME = Frame(
    total=2112,
    block_size=1024,
    blocks=(
        Block(Kind.MIXED, 1024, 5, 0x0102030405060708, Geometry(4, 64, 11)),
        Block(Kind.CONTEXTS, 1024, 129, 0xFF, Geometry(table_bits=10)),
        Block(Kind.CONSTANT, 64, 1, 0xFE),
    ),
    model_id=bytes(range(16)),
)
TRANSFORMED_HEADER = bytes.fromhex(
    "89 4e 4e 43"
    "01 01"  # format 1, numeric version 0; flag 0: a model is named
    "00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f"  # its id
    "80 10"  # total 2048
    "80 08"  # block size 1024
    "23 05"  # first block: mixed, of escapes; 5 bytes of payload
    "08 07 06 05 04 03 02 01"  # checksum 0x0102030405060708
    "04 40 0a"  # 4 lanes behind a prefix of 64 bytes, a table of 2^10 lines
    "ac 02"  # 300 bytes were coded
    "14 81 01"  # second block: contexts, of x86 code; 129 bytes of payload
    "ff 00 00 00 00 00 00 00"
    "0b"  # a table of 2^11 lines
    "80 08"  # 1024 bytes were coded
    "3c 77 27 81"  # header checksum
)
TRANSFORMED_FRAME = Frame(
    total=2048,
    block_size=1024,
    blocks=(
        Block(
            Kind.MIXED,
            1024,
            5,
            0x0102030405060708,
            Geometry(4, 64, 10),
            Transform.ESCAPES_LOWER,
            300,
        ),
        Block(Kind.CONTEXTS, 1024, 129, 0xFF, Geometry(table_bits=11), Transform.X86, 1024),
    ),
    model_id=bytes(range(16)),
)


def test_literal_archives_decode() -> None:
    assert nncodec.decompress(EMPTY) == b""
    assert nncodec.decompress(CONSTANT) == b"a" * 300
    assert nncodec.decompress(STORED) == b"abc"


def test_literal_archives_are_what_compress_writes() -> None:
    assert nncodec.compress(b"", model="tiny") == EMPTY
    assert nncodec.compress(b"a" * 300, model="tiny") == CONSTANT
    assert nncodec.compress(b"abc", model="tiny") == STORED
    assert constant_archive(b"a" * 300) == CONSTANT
    assert stored_archive(b"abc") == STORED


@pytest.mark.parametrize(
    ("frame", "header"),
    [
        (CODED_FRAME, CODED_HEADER),
        (MIXED_FRAME, MIXED_HEADER),
        (TRANSFORMED_FRAME, TRANSFORMED_HEADER),
    ],
    ids=("coded", "mixed", "transformed"),
)
def test_literal_headers(frame: Frame, header: bytes) -> None:
    assert frame.pack() == header
    assert read_frame(io.BytesIO(header)) == frame


@st.composite
def items_of(draw: st.DrawFn, size: int, kind: Kind) -> tuple[Item, ...]:
    """A few tensors that fill a block, and bytes for what is over."""
    dtypes = MODELLED if kind == Kind.TENSORS else FIELDS
    items = []
    while size and len(items) < 4:
        dtype = draw(st.sampled_from(sorted(dtypes, key=lambda d: d.value)))
        elements = size // dtype.block_bytes
        if elements:
            rows = draw(st.integers(1, elements))
            role, cols = draw(st.integers(0, 255)), draw(st.integers(1, elements // rows))
            items.append(Item(dtype, role, rows, cols))
            size -= items[-1].size
    return (*items, Item(None, 0, 1, size)) if size else tuple(items)


@st.composite
def deltas_of(draw: st.DrawFn, size: int) -> tuple[DeltaItem, ...]:
    modes, offsets = st.sampled_from(Mode), st.integers(0, MAX_TOTAL)
    return tuple(
        DeltaItem(item, draw(modes), draw(offsets)) for item in draw(items_of(size, Kind.DELTA))
    )


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    block_size = draw(st.integers(1, BLOCK_SIZE))
    count = draw(st.integers(0, 6))
    last = draw(st.integers(1, block_size))
    sizes = [block_size] * (count - 1) + [last] if count else []
    blocks = []
    of_bytes = draw(st.booleans())  # the frame's model: over bytes or over tokens
    others = {Kind.TOKENS} if of_bytes else {Kind.CODED, Kind.MIXED}
    for size in sizes:
        kind = draw(st.sampled_from(sorted(set(Kind) - others)))
        checksum = draw(st.integers(0, 2**64 - 1))
        transform, shorter, coded_size = Transform.NONE, 0, size
        if kind in WITH_TRANSFORM and draw(st.booleans()):
            transform = draw(st.sampled_from(list(Transform)[1:]))
            fewest = size if transform == Transform.X86 else 1
            shorter = coded_size = draw(st.integers(fewest, size))
        lanes, prefix, table_bits = 1, 0, 0
        if kind in WITH_MODEL:
            prefix = draw(st.integers(0, coded_size))
            lanes = draw(st.integers(1, max(1, min(MAX_LANES, coded_size - prefix))))
        if kind in WITH_TABLE:
            most = min(MAX_TABLE_BITS, needed_table_bits(coded_size))
            table_bits = 0 if kind == Kind.TOKENS else draw(st.integers(MIN_TABLE_BITS, most))
        payload = {Kind.STORED: size, Kind.CONSTANT: 1}.get(kind)
        payload = draw(st.integers(0, size)) if payload is None else payload
        geometry = Geometry(lanes, prefix, table_bits)
        items = draw(items_of(size, kind)) if kind in WITH_ITEMS else ()
        deltas = draw(deltas_of(size)) if kind == Kind.DELTA else ()
        sizes_of = (kind, size, payload, checksum)
        blocks.append(Block(*sizes_of, geometry, transform, shorter, items, deltas))
    coded = any(block.kind in WITH_MODEL for block in blocks)
    model_id = draw(st.binary(min_size=16, max_size=16)) if coded else None
    needed = any(block.kind == Kind.DELTA for block in blocks)
    named = needed or draw(st.booleans())
    base_id = draw(st.binary(min_size=16, max_size=16)) if named else None
    return Frame(sum(sizes), block_size if count else 0, tuple(blocks), model_id, base_id)


@given(frames())
def test_headers_come_back(frame: Frame) -> None:
    packed = frame.pack()
    source = io.BytesIO(packed + b"payload")
    assert read_frame(source) == frame
    assert source.tell() == len(packed)
    assert frame.payload_size == sum(block.payload_size for block in frame.blocks)


@given(st.integers(0, MAX_TOTAL))
def test_varints(value: int) -> None:
    code = varint(value)
    assert len(code) == max(1, -(-value.bit_length() // 7))
    assert all(byte >= 0x80 for byte in code[:-1])
    assert sum((byte & 0x7F) << (7 * i) for i, byte in enumerate(code)) == value


@given(frames(), st.data())
def test_a_cut_header_is_truncated(frame: Frame, data: st.DataObject) -> None:
    packed = frame.pack()
    size = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(TruncatedError):
        read_frame(io.BytesIO(packed[:size]))


def transformed(transform: int, row: bytes, coded_size: int) -> bytes:
    """A row of the block table with a transform, unchecked."""
    return bytes((row[0] | transform << 4,)) + row[1:] + varint(coded_size)


def tokens_row(payload: int, table_bits: int = 0) -> bytes:
    return bytes((Kind.TOKENS, payload)) + bytes(8) + bytes((1, 0, table_bits))


STORED_ROW = b"\x00\x03" + xxh64(b"abc").to_bytes(8, "little")
CONSTANT_ROW = b"\x01\x01" + bytes(8)
MODEL = bytes(16)
REJECTED = {
    "another file": (b"PK\x03\x04 not ours", "signature is missing"),
    "one wrong byte": (b"\x89NND" + EMPTY[4:], "signature is missing"),
    "reserved flag": (forge(b"\x00\x00", flags=32), "reserved flags are set \\(0x20\\)"),
    "all flags": (forge(b"\x00\x00", flags=0xFF), "reserved flags"),
    "header checksum": (EMPTY[:-1] + b"\x00", "header is damaged"),
    "unknown kind": (forge(b"\x03\x03\x0f" + STORED_ROW[1:]), "kind 15 is unknown"),
    "kind 255": (forge(b"\x03\x03\xff" + STORED_ROW[1:]), "kind 15 is unknown"),
    "longer varint than needed": (forge(b"\x80\x00\x00"), "not in its shortest form"),
    "padded varint": (forge(b"\x03\x83\x80\x00" + STORED_ROW), "not in its shortest form"),
    "varint of 10 bytes": (forge(b"\xff" * 9 + b"\x01\x01"), "longer than 9 bytes"),
    "endless varint": (forge(b"\x80" * 40), "longer than 9 bytes"),
    "block size without a total": (forge(b"\x00\x01"), "block size 1 for 0 bytes"),
    "total without a block size": (forge(b"\x01\x00" + STORED_ROW), "block size 0 for 1 bytes"),
    "block too large": (forge(b"\x03" + varint(BLOCK_SIZE + 1) + STORED_ROW), "block size is"),
    "stored payload too short": (forge(b"\x04\x04" + STORED_ROW), "payload of 3"),
    "stored payload too long": (forge(b"\x02\x02" + STORED_ROW), "payload length is 3, at most 2"),
    "constant payload of 0": (forge(b"\x03\x03\x01\x00" + bytes(8)), "payload of 0"),
    "constant payload of 2": (forge(b"\x03\x03\x01\x02" + bytes(8)), "payload of 2"),
    "coded payload longer than its block": (
        forge(MODEL + b"\x03\x03" + coded_row(payload=4), flags=1),
        "payload length is 4, at most 3",
    ),
    "no lanes": (forge(MODEL + b"\x03\x03" + coded_row(1, lanes=0), flags=1), "0 lanes for 3"),
    "more lanes than bytes": (
        forge(MODEL + b"\x03\x03" + coded_row(1, lanes=4), flags=1),
        "4 lanes for 3",
    ),
    "more lanes than the prefix leaves": (
        forge(MODEL + b"\x03\x03" + coded_row(1, lanes=3, prefix=1), flags=1),
        "3 lanes for 2",
    ),
    "too many lanes": (
        forge(MODEL + 2 * varint(5000) + coded_row(1, lanes=MAX_LANES + 1), flags=1),
        "lane count is 257, at most 256",
    ),
    "prefix longer than its block": (
        forge(MODEL + b"\x03\x03" + coded_row(1, prefix=4), flags=1),
        "prefix length is 4, at most 3",
    ),
    "mixed payload longer than its block": (
        forge(MODEL + b"\x03\x03" + mixed_row(payload=4), flags=1),
        "payload length is 4, at most 3",
    ),
    "contexts payload longer than its block": (
        forge(b"\x03\x03" + contexts_row(payload=4)),
        "payload length is 4, at most 3",
    ),
    "more mixed lanes than the prefix leaves": (
        forge(MODEL + b"\x03\x03" + mixed_row(1, lanes=3, prefix=1), flags=1),
        "3 lanes for 2",
    ),
    "no table in a mixed block": (
        forge(MODEL + b"\x03\x03" + mixed_row(1, table_bits=0), flags=1),
        "table of 0 bits is too small",
    ),
    "no table for context models": (
        forge(b"\x03\x03" + contexts_row(1, table_bits=0)),
        "table of 0 bits is too small",
    ),
    "table too small": (
        forge(b"\x03\x03" + contexts_row(1, table_bits=MIN_TABLE_BITS - 1)),
        f"table of {MIN_TABLE_BITS - 1} bits is too small",
    ),
    "table larger than a small block needs": (
        forge(b"\x03\x03" + contexts_row(1, table_bits=MIN_TABLE_BITS + 1)),
        f"table size is {MIN_TABLE_BITS + 1}, at most {MIN_TABLE_BITS}",
    ),
    "mixed table larger than its block needs": (
        forge(MODEL + 2 * varint(5000) + mixed_row(1, table_bits=14), flags=1),
        "table size is 14, at most 13",
    ),
    "table larger than any may be": (
        forge(2 * varint(BLOCK_SIZE) + contexts_row(1, table_bits=MAX_TABLE_BITS + 1)),
        f"table size is {MAX_TABLE_BITS + 1}, at most {MAX_TABLE_BITS}",
    ),
    "table beyond any number of bits": (
        forge(2 * varint(BLOCK_SIZE) + contexts_row(1, table_bits=1 << 40)),
        f"at most {MAX_TABLE_BITS}",
    ),
    "unknown transform": (forge(2 * varint(9) + transformed(4, contexts_row(1), 9)), "transform 4"),
    "transform 15": (forge(2 * varint(9) + transformed(15, contexts_row(1), 9)), "transform 15"),
    "unknown kind, transformed": (
        forge(b"\x03\x03\x1f" + STORED_ROW[1:]),
        "kind 15 is unknown",
    ),
    "stored and transformed": (
        forge(b"\x03\x03" + transformed(1, STORED_ROW, 3)),
        "a STORED block has a transform",
    ),
    "constant and transformed": (
        forge(b"\x03\x03" + transformed(2, CONSTANT_ROW, 3)),
        "a CONSTANT block has a transform",
    ),
    "transformed to nothing": (
        forge(2 * varint(9) + transformed(2, contexts_row(1), 0)),
        "ESCAPES_LOWER makes no 0 bytes of 9",
    ),
    "transformed to more": (
        forge(2 * varint(9) + transformed(3, contexts_row(1), 10)),
        "transformed length is 10, at most 9",
    ),
    "x86 code made shorter": (
        forge(2 * varint(9) + transformed(1, contexts_row(1), 8)),
        "X86 makes no 8 bytes of 9",
    ),
    "more lanes than transformed bytes": (
        forge(MODEL + 2 * varint(9) + transformed(2, coded_row(1, lanes=4), 3), flags=1),
        "4 lanes for 3",
    ),
    "prefix longer than transformed bytes": (
        forge(MODEL + 2 * varint(9) + transformed(2, coded_row(1, prefix=4), 3), flags=1),
        "prefix length is 4, at most 3",
    ),
    "table larger than transformed bytes need": (
        forge(2 * varint(5000) + transformed(2, contexts_row(1, table_bits=11), 600)),
        "table size is 11, at most 10",
    ),
    "coded without a model": (forge(b"\x03\x03" + coded_row(1)), "exactly when blocks are coded"),
    "mixed without a model": (forge(b"\x03\x03" + mixed_row(1)), "exactly when blocks are coded"),
    "model for context models alone": (
        forge(MODEL + b"\x03\x03" + contexts_row(1), flags=1),
        "exactly when blocks are coded",
    ),
    "model without a coded block": (
        forge(MODEL + b"\x03\x03" + STORED_ROW, flags=1),
        "exactly when blocks are coded",
    ),
    "model in an empty archive": (
        forge(MODEL + b"\x00\x00", flags=1),
        "exactly when blocks are coded",
    ),
    "mixed next to tokens": (
        forge(MODEL + b"\x06\x03" + mixed_row(1) + tokens_row(1), flags=1),
        "over tokens and over bytes at once",
    ),
    "coded next to tokens": (
        forge(MODEL + b"\x06\x03" + tokens_row(1) + coded_row(1), flags=1),
        "over tokens and over bytes at once",
    ),
    "a table for tokens": (
        forge(MODEL + b"\x03\x03" + tokens_row(1, table_bits=10), flags=1),
        "a table of 10 bits for tokens",
    ),
    "garbage behind an archive": (STORED + b"garbage", "trailing garbage"),
    "zeros behind an archive": (STORED + bytes(512), "trailing garbage"),
    "wrong checksum of a constant": (forge(b"\x03\x03" + CONSTANT_ROW) + b"a", "checksum"),
    "wrong stored byte": (STORED[:-1] + b"d", "checksum"),
}


@pytest.mark.parametrize(("archive", "message"), REJECTED.values(), ids=REJECTED)
def test_rejections(archive: bytes, message: str) -> None:
    with pytest.raises(CorruptDataError, match=message) as caught:
        nncodec.decompress(archive)
    assert not isinstance(caught.value, TruncatedError)


@pytest.mark.parametrize("version", [2, 15, 16, 17, 255])
def test_other_versions_are_refused(version: int) -> None:
    """The low four bits are the format's version, the high ones that of the arithmetic."""
    named = f"format version {version & 15}, numeric version {version >> 4};"
    with pytest.raises(UnsupportedVersionError, match=named):
        nncodec.decompress(forge(b"\x00\x00", version=version))
    with pytest.raises(UnsupportedVersionError):
        nncodec.info(forge(b"whatever a later format needs", version=version))


@given(st.binary(max_size=80))
def test_any_body_behind_a_right_checksum(body: bytes) -> None:
    """A header that only its author could have made is parsed or rejected, nothing else."""
    try:
        frame = read_frame(io.BytesIO(forge(body)))
    except (CorruptDataError, UnsupportedVersionError):
        return
    assert frame is not None
    assert frame.pack() == forge(body)[: len(frame.pack())]


def test_an_empty_file_is_truncated() -> None:
    with pytest.raises(TruncatedError):
        nncodec.decompress(b"")


def test_a_cut_signature_behind_an_archive_is_truncated() -> None:
    with pytest.raises(TruncatedError, match="signature"):
        nncodec.decompress(STORED + b"\x89N")


def test_every_table_that_a_block_may_have_is_read() -> None:
    for size in (1, 682, 683, 5000, BLOCK_SIZE):
        for bits in range(MIN_TABLE_BITS, min(MAX_TABLE_BITS, needed_table_bits(size)) + 1):
            frame = read_frame(io.BytesIO(forge(2 * varint(size) + contexts_row(1, bits))))
            assert frame is not None
            assert frame.blocks[0].geometry == Geometry(table_bits=bits)


def test_concatenated_archives_give_concatenated_bytes() -> None:
    archive = STORED + EMPTY + CONSTANT + EMPTY
    assert nncodec.decompress(archive) == b"abc" + b"a" * 300
    info = nncodec.info(archive)
    assert (info.frames, info.uncompressed_size, info.compressed_size) == (4, 303, len(archive))
    assert info.blocks == {"stored": 1, "constant": 1}


def test_archives_of_every_kind_and_level_concatenate() -> None:
    """By the model alone, by it and contexts, by contexts alone: each frame names what it needs."""
    tiny = nncodec.api.load_codec(model="tiny")
    assert tiny.model_id
    plain = Codec(tiny.coder, tiny.model_id, table_bits=0)
    pieces = {
        "coded": (plain.compress(np.frombuffer(TEXT, dtype=np.uint8)), TEXT),
        "mixed": (nncodec.compress(TEXT[50:], model="tiny"), TEXT[50:]),
        "contexts": (nncodec.compress(TEXT * 2, level=1), TEXT * 2),
        "stored": (STORED, b"abc"),
        "constant": (CONSTANT, b"a" * 300),
    }
    for kind, (archive, data) in pieces.items():
        assert nncodec.info(archive).blocks == {kind: 1}
        assert nncodec.decompress(archive) == data
    for order in (list(pieces), list(reversed(pieces))):
        whole = b"".join(pieces[kind][0] for kind in order)
        assert nncodec.decompress(whole) == b"".join(pieces[kind][1] for kind in order)
        info = nncodec.info(whole)
        assert info.blocks == dict.fromkeys(pieces, 1)
        assert info.models == [tiny.model_id.hex()]
        assert info.frames == len(pieces)


def test_headers_are_read_without_payloads_but_these_must_be_there() -> None:
    assert [frame.total for frame in read_frames(io.BytesIO(CONSTANT + STORED))] == [300, 3]
    for size in range(len(STORED)):
        with pytest.raises(TruncatedError):
            read_frames(io.BytesIO(STORED[:size]))


ABSURD = {
    "more blocks than anyone has": forge(varint(MAX_TOTAL) + varint(BLOCK_SIZE)),
    "blocks of one byte": forge(varint(MAX_TOTAL) + b"\x01"),
    "some rows of very many": forge(varint(1 << 60) + b"\x01" + CONSTANT_ROW * 100),
    "a stored block that is not there": forge(
        2 * varint(BLOCK_SIZE) + b"\x00" + varint(BLOCK_SIZE) + bytes(8)
    ),
    "a coded payload that is not there": forge(
        MODEL + 2 * varint(BLOCK_SIZE) + coded_row(payload=BLOCK_SIZE, lanes=MAX_LANES), flags=1
    ),
    "a coded payload that ends at once": forge(
        MODEL + 2 * varint(BLOCK_SIZE) + coded_row(payload=0, lanes=4), flags=1
    ),
    "a mixed payload that is not there": forge(
        MODEL + 2 * varint(BLOCK_SIZE) + mixed_row(BLOCK_SIZE, MAX_LANES, 0, 22), flags=1
    ),
    "a mixed payload that ends at once": forge(
        MODEL + 2 * varint(BLOCK_SIZE) + mixed_row(payload=0, table_bits=22), flags=1
    ),
    "context models' payload that is not there": forge(
        2 * varint(BLOCK_SIZE) + contexts_row(BLOCK_SIZE, table_bits=22)
    ),
    "context models' payload that ends at once": forge(
        2 * varint(BLOCK_SIZE) + contexts_row(payload=0, table_bits=22)
    ),
}


@pytest.mark.parametrize("archive", ABSURD.values(), ids=ABSURD)
def test_absurd_lengths_cost_no_memory(archive: bytes) -> None:
    """Never allocate on a number that the input has not earned."""
    tracemalloc.start()
    try:
        with pytest.raises(CorruptDataError):
            decompress_stream(io.BytesIO(archive), io.BytesIO(), lambda _id: HashEngine())
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_a_frame_is_immutable() -> None:
    with pytest.raises(AttributeError):
        CODED_FRAME.total = 1  # type: ignore[misc]
    assert replace(CODED_FRAME, total=1).total == 1
