"""Damage never goes unnoticed: an archive gives back what went in, or raises an NNCodecError.

Never another exception, never other bytes. One kind of change is harmless and allowed: the last
byte of a coded payload may hold bits below the coded interval's precision.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from helpers import TEXT, HashEngine, constant_archive, stored_archive
from hypothesis import given
from hypothesis import strategies as st

import nncodec
from nncodec.blocks import Geometry
from nncodec.codec import Codec
from nncodec.decoding import decompress_stream
from nncodec.engine.native import NativeContexts
from nncodec.errors import CorruptDataError, ModelNotFoundError, NNCodecError, TruncatedError
from nncodec.lanes import Coder

DATA = TEXT[4:52]


def decode_hashed(archive: bytes) -> bytes:
    """Decode what ``hashed_archive`` made; another model's id is not installed."""

    def find(model_id: bytes | None) -> Coder:
        if model_id is None:
            return NativeContexts()
        if model_id != HashEngine.model_id:
            raise ModelNotFoundError(model_id.hex())
        return HashEngine()

    sink = io.BytesIO()
    decompress_stream(io.BytesIO(archive), sink, find)
    return sink.getvalue()


def hashed_archive() -> tuple[bytes, bytes]:
    """An archive of three blocks: four lanes behind a prefix, a constant, and another coded one."""
    codec = Codec(HashEngine(), HashEngine.model_id, lanes=64, table_bits=0, lane_bytes=32)
    with pytest.MonkeyPatch.context() as patch:
        for module in ("nncodec.blocks", "nncodec.codec", "nncodec.header", "nncodec.frames"):
            patch.setattr(f"{module}.BLOCK_SIZE", 150)
        patch.setattr("nncodec.blocks.PREFIX_BYTES", 100)
        good = HashEngine().start().next_bytes(120)
        data = good + TEXT[:30] + b"z" * 150 + HashEngine().start().next_bytes(60)
        archive = codec.compress(np.frombuffer(data, dtype=np.uint8))
    rows = nncodec.parsing.read_frames(io.BytesIO(archive))[0].blocks
    assert rows[0].geometry == Geometry(lanes=4, prefix=100)
    assert nncodec.info(archive).blocks == {"coded": 2, "constant": 1}
    return archive, data


HASHED, HASHED_DATA = hashed_archive()
MODEL_FREE = {
    "constant": (constant_archive(b"a" * 300), b"a" * 300),
    "stored": (stored_archive(DATA), DATA),
    "empty": (bytes.fromhex("894e4e4301000000de1f9a4f"), b""),
}


def assert_noticed(
    decode: Callable[[bytes], bytes], damaged: bytes, original: bytes, harmless: bool = False
) -> None:
    """``harmless``: where the original bytes may also come out."""
    try:
        result = decode(damaged)
    except NNCodecError as error:
        message = str(error)
    else:
        assert harmless, "damage went unnoticed"
        assert result == original
        return
    assert message
    assert "\n" not in message


def assert_prefixes_truncated(decode: Callable[[bytes], bytes], archive: bytes) -> None:
    for size in range(len(archive)):
        with pytest.raises(TruncatedError):
            decode(archive[:size])


def assert_flips_noticed(
    decode: Callable[[bytes], bytes], archive: bytes, original: bytes, ends: tuple[int, ...] = ()
) -> None:
    """``ends`` are the offsets of the last bytes of coded payloads."""
    assert decode(archive) == original
    for at in range(len(archive)):
        for bit in range(8):
            damaged = bytearray(archive)
            damaged[at] ^= 1 << bit
            assert_noticed(decode, bytes(damaged), original, harmless=at in ends)


@pytest.mark.parametrize(("archive", "data"), MODEL_FREE.values(), ids=MODEL_FREE)
def test_archives_without_a_model(archive: bytes, data: bytes) -> None:
    assert_prefixes_truncated(nncodec.decompress, archive)
    assert_flips_noticed(nncodec.decompress, archive, data)


REPEATS = b"to be, or not " * 6  # which context models alone can shorten
ESCAPED = rb"\u0e17\u0e35 \ud83d\ude00 " * 4


@pytest.fixture(scope="module", params=["coded", "mixed", "contexts", "contexts+escapes_lower"])
def coded(request: pytest.FixtureRequest) -> tuple[bytes, bytes]:
    """As short as an archive with such a block can be, because every flip is decoded."""
    kind, data = str(request.param), DATA
    if kind == "coded":
        tiny = nncodec.api.load_codec(model="tiny")
        codec = Codec(tiny.coder, tiny.model_id, table_bits=0)
        archive = codec.compress(np.frombuffer(data, dtype=np.uint8))
    elif kind == "mixed":
        archive = nncodec.compress(data, model="tiny")
    else:
        data = REPEATS if kind == "contexts" else ESCAPED
        archive = nncodec.compress(data, level=1)
    assert nncodec.info(archive).blocks == {kind: 1}
    return archive, data


def test_coded_archive_prefixes(coded: tuple[bytes, bytes]) -> None:
    assert_prefixes_truncated(nncodec.decompress, coded[0])


def test_coded_archive_bit_flips(coded: tuple[bytes, bytes]) -> None:
    archive, data = coded
    assert_flips_noticed(nncodec.decompress, archive, data, ends=(len(archive) - 1,))


@given(st.data())
def test_coded_archive_splices(coded: tuple[bytes, bytes], data: st.DataObject) -> None:
    archive, original = coded
    at = data.draw(st.integers(0, len(archive)), label="at")
    end = data.draw(st.integers(at, len(archive)), label="end")
    piece = data.draw(st.binary(max_size=30), label="piece")
    damaged = archive[:at] + piece + archive[end:]
    same = damaged[: len(archive) - 1] == archive[:-1] and len(damaged) == len(archive)
    assert_noticed(nncodec.decompress, damaged, original, harmless=same)


def test_lanes_and_blocks_prefixes() -> None:
    assert_prefixes_truncated(decode_hashed, HASHED)


def test_lanes_and_blocks_bit_flips() -> None:
    frame = nncodec.parsing.read_frames(io.BytesIO(HASHED))[0]
    ends, at = [], len(frame.pack()) - 1
    for row in frame.blocks:
        at += row.payload_size
        if row.kind == nncodec.container.Kind.CODED:
            ends.append(at)
    assert_flips_noticed(decode_hashed, HASHED, HASHED_DATA, tuple(ends))


@given(st.data())
def test_splices(data: st.DataObject) -> None:
    """Cut a piece out anywhere and put other bytes there: noise, or a piece of the same archive."""
    archive, original = data.draw(
        st.sampled_from((*MODEL_FREE.values(), (HASHED, HASHED_DATA))), label="archive"
    )
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(archive))] * 2), label="hole"))
    a, b = sorted(data.draw(st.tuples(*[st.integers(0, len(archive))] * 2), label="graft"))
    piece = data.draw(st.one_of(st.just(archive[a:b]), st.binary(max_size=30)), label="piece")
    damaged = archive[:start] + piece + archive[end:]
    decode = decode_hashed if archive is HASHED else nncodec.decompress
    repeated = len(archive) and damaged == archive * 2
    same = damaged == archive or repeated
    tail = damaged[:-1] == archive[:-1]
    assert_noticed(decode, damaged, original * 2 if repeated else original, bool(same or tail))


@given(st.binary(max_size=200))
def test_noise(noise: bytes) -> None:
    for start in (b"", b"\x89NNC", b"\x89NNC\x01\x00", HASHED[:40]):
        with pytest.raises(NNCodecError):
            decode_hashed(start + noise)


@given(st.integers(0, 2**32 - 1))
def test_a_payload_of_noise_behind_a_good_header(seed: int) -> None:
    frame = nncodec.parsing.read_frames(io.BytesIO(HASHED))[0]
    noise = np.random.default_rng(seed).bytes(frame.payload_size)
    with pytest.raises(CorruptDataError):
        decode_hashed(frame.pack() + noise)


def test_a_model_that_is_not_installed_is_named(coded: tuple[bytes, bytes]) -> None:
    frame = nncodec.parsing.read_frames(io.BytesIO(coded[0]))[0]
    if frame.model_id is None:
        assert frame.blocks[0].kind == nncodec.container.Kind.CONTEXTS
        return
    stranger = bytes(range(100, 116))
    other = nncodec.container.Frame(frame.total, frame.block_size, frame.blocks, stranger)
    archive = other.pack() + coded[0][len(frame.pack()) :]
    with pytest.raises(ModelNotFoundError, match=stranger.hex()):
        nncodec.decompress(archive)


def test_another_model_of_the_same_id_would_be_noticed(coded: tuple[bytes, bytes]) -> None:
    """Were an engine wrong in a single count, the checksum would tell."""
    with pytest.raises(CorruptDataError):
        decompress_stream(io.BytesIO(coded[0]), io.BytesIO(), lambda _id: HashEngine())


def test_nothing_is_written_for_a_damaged_block() -> None:
    """Good blocks before it may be; the damaged one and what follows may not."""
    archive = stored_archive(b"good") + stored_archive(b"evil")[:-1] + b"!"
    sink = io.BytesIO()
    with pytest.raises(CorruptDataError):
        decompress_stream(io.BytesIO(archive), sink, lambda _id: HashEngine())
    assert sink.getvalue() == b"good"


def test_truncation_is_an_eof_error() -> None:
    """As gzip, bz2 and lzma have it."""
    with pytest.raises(EOFError):
        nncodec.decompress(HASHED[:10])
