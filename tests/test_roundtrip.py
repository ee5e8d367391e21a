"""What goes in comes out: every kind of data, block, lane geometry and buffer."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import SAMPLES, TEXT, HashEngine, with_begin
from hypothesis import given
from hypothesis import strategies as st

import nncodec
from nncodec import blocks, codec, frames, header, parsing
from nncodec import lanes as lane_coding
from nncodec.blocks import DEFAULT_TABLE_BITS, LANE_BYTES, Geometry
from nncodec.codec import Codec
from nncodec.container import Kind
from nncodec.decoding import decompress_stream
from nncodec.engine.native import NativeContexts
from nncodec.engine.reference import ReferenceEngine
from nncodec.lanes import Engine, no_progress
from nncodec.limits import Limits

RANDOM = np.random.default_rng(0).bytes(1_000_000)


def round_trip(data: bytes, codec: Codec | None = None) -> nncodec.api.ArchiveInfo:
    """With ``tiny`` at the default level, or any codec of the models that are installed."""
    codec = codec or nncodec.api.load_codec(model="tiny")
    archive = codec.compress(np.frombuffer(data, dtype=np.uint8))
    assert nncodec.decompress(archive) == data
    return nncodec.info(archive)


@contextmanager
def small_blocks(size: int = 1 << 24, prefix: int = 1024) -> Iterator[None]:
    """Sizes at which little data meets every path."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (blocks, codec, frames, header):
            patch.setattr(module, "BLOCK_SIZE", size)
        patch.setattr(blocks, "PREFIX_BYTES", prefix)
        yield


def tiny_codec(table_bits: int = DEFAULT_TABLE_BITS, lane_bytes: int = LANE_BYTES) -> Codec:
    """``tiny`` with any geometry of blocks; 0 bits for coded instead of mixed blocks."""
    tiny = nncodec.api.load_codec(model="tiny")
    contexts = NativeContexts() if table_bits else None
    return Codec(tiny.coder, tiny.model_id, 64, table_bits, contexts, lane_bytes)


@pytest.mark.parametrize("data", SAMPLES.values(), ids=SAMPLES)
def test_samples(data: bytes) -> None:
    assert round_trip(data).compressed_size <= len(data) + 64


def test_text_is_compressed() -> None:
    """Otherwise the tests of this suite would look at stored blocks only."""
    info = round_trip(TEXT)
    assert info.blocks == {"mixed": 1}
    assert info.bits_per_byte < 7
    assert len(info.models) == 1


def test_empty() -> None:
    info = round_trip(b"")
    assert (info.frames, info.blocks, info.models, info.uncompressed_size) == (1, {}, [], 0)
    assert info.bits_per_byte == 0


@pytest.mark.parametrize("value", range(0, 256, 51))
def test_constant(value: int) -> None:
    info = round_trip(bytes((value,)) * 300_000)
    assert info.blocks == {"constant": 1}
    assert info.compressed_size <= 100
    assert info.models == []


def test_random_bytes_are_stored() -> None:
    info = round_trip(RANDOM)
    assert info.blocks == {"stored": 1}
    assert info.compressed_size <= len(RANDOM) + 64
    assert info.models == []


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    assert round_trip(data).compressed_size <= len(data) + 64


@given(st.binary(min_size=1, max_size=60), st.integers(1, 8), st.integers(0, 20))
def test_any_bytes_through_the_model(
    engine: ReferenceEngine, data: bytes, lanes: int, prefix: int
) -> None:
    """Coded, even where storing would be shorter, in any lane geometry a header may name."""
    prefix = min(prefix, len(data))
    lanes = min(lanes, max(1, len(data) - prefix))
    array = np.frombuffer(data, dtype=np.uint8)
    done: list[int] = []
    geometry = Geometry(lanes, prefix)
    payload = engine.encode(array, geometry, done.append)
    assert engine.decode(payload, len(data), geometry, done.append) == data
    assert sum(done) == 2 * len(data)


@given(st.binary(min_size=1, max_size=600), st.integers(1, 40), st.integers(0, 50))
def test_any_geometry(data: bytes, lanes: int, prefix: int) -> None:
    """The same with an engine that notices any token missing, doubled or in the wrong lane."""
    prefix = min(prefix, len(data))
    lanes = min(lanes, max(1, len(data) - prefix))
    array = np.frombuffer(data, dtype=np.uint8)
    geometry = Geometry(lanes, prefix)
    payload = HashEngine().encode(array, geometry, no_progress)
    assert HashEngine().decode(payload, len(data), geometry, no_progress) == data


def test_prefix_conditions_every_lane(engine: ReferenceEngine) -> None:
    """Lanes start where the prefix ended: its size follows from the counts, lane by lane."""
    data = np.frombuffer(TEXT[:95], dtype=np.uint8)
    lanes, prefix = 3, 20
    state = engine.start()
    start = with_begin(data[None, : prefix + 1])
    first = state.advance(start[:, :-1])[0]
    bits = np.log2(2**24 / first[np.arange(prefix), data[:prefix]]).sum()
    state.fork(lanes)
    runs = data[prefix:].reshape(lanes, -1)
    inputs = np.concatenate((np.full((lanes, 1), data[prefix - 1]), runs[:, :-1]), 1)
    counts = state.advance(inputs)
    bits += np.log2(2**24 / np.take_along_axis(counts, runs[..., None].astype(int), -1)).sum()
    payload = engine.encode(data, Geometry(lanes, prefix), no_progress)
    assert abs(len(payload) - bits / 8) <= 8


@pytest.mark.parametrize("kind", [Kind.CODED, Kind.MIXED])
@pytest.mark.parametrize("size", [63, 64, 65, 200, 355])
def test_lanes_behind_a_prefix(size: int, kind: Kind) -> None:
    """Lane counts as ``lane_geometry`` picks them, lengths that the lanes do not divide."""
    table_bits = DEFAULT_TABLE_BITS if kind == Kind.MIXED else 0
    with small_blocks(prefix=16):
        archive = tiny_codec(table_bits, 32).compress(np.frombuffer(TEXT[:size], dtype=np.uint8))
        row = parsing.read_frames(io.BytesIO(archive))[0].blocks[0]
        assert row.kind == kind
        assert row.geometry == blocks.lane_geometry(size, 64, table_bits, 32)
        assert (row.geometry.lanes > 1) == (size >= 64)
        assert (row.geometry.table_bits > 0) == (kind == Kind.MIXED)
    assert nncodec.decompress(archive) == TEXT[:size]  # geometry comes from the archive


def test_blocks_of_every_kind() -> None:
    data = TEXT[:100] + RANDOM[:100] + bytes(100) + TEXT[100:200] + b"x"
    with small_blocks(size=100):
        info = round_trip(data)
        assert info.blocks == {"mixed": 2, "stored": 1, "constant": 2}
        assert info.frames == 2  # of four blocks at most
        assert len(info.models) == 1


def test_dense_data_goes_to_the_context_models() -> None:
    """Text, noise, twice the same noise, zeros: each block its kind, one model named for one."""
    noise = RANDOM[:20_000]
    data = (TEXT * 120)[:40_000] + RANDOM[-40_000:] + noise + noise + bytes(40_000) + b"end"
    with small_blocks(size=40_000):
        archive = nncodec.compress(data, model="tiny")
        info = nncodec.info(archive)
        frames = parsing.read_frames(io.BytesIO(archive))
        kinds = [row.kind for frame in frames for row in frame.blocks]
        assert kinds == [Kind.MIXED, Kind.STORED, Kind.CONTEXTS, Kind.CONSTANT, Kind.STORED]
        assert info.blocks == {"mixed": 1, "stored": 2, "contexts": 1, "constant": 1}
        assert len(info.models) == 1
        assert info.compressed_size < 62_000 + 10_000  # the second half costs next to nothing
    assert nncodec.decompress(archive) == data


def test_what_comes_twice_is_found() -> None:
    """The network sees a few hundred bytes; context models find the other copy wherever it is."""
    noise = RANDOM[:100_000]
    info = round_trip(noise + noise)
    assert info.blocks == {"contexts": 1}
    assert info.models == []  # whoever decompresses needs none
    assert info.compressed_size < 1.05 * len(noise)


@given(
    st.lists(st.sampled_from((TEXT[:37], RANDOM[:20], bytes(33), b"\n")), max_size=6).map(b"".join)
)
def test_blocks_of_any_mixture(data: bytes) -> None:
    with small_blocks(size=40, prefix=4):
        round_trip(data, tiny_codec(lane_bytes=8))
        round_trip(data, tiny_codec(table_bits=0, lane_bytes=8))


@pytest.mark.parametrize("size", [0, 1, 159, 160, 161, 320])
def test_streams_are_cut_into_frames(size: int) -> None:
    """Four blocks a frame; a stream that ends at a frame's end gets no empty one."""
    data = (TEXT * 2)[:size]
    with small_blocks(size=40):
        sink = io.BytesIO()
        sizes = tiny_codec().compress_stream(io.BytesIO(data), sink)
        archive = sink.getvalue()
        assert sizes == (size, len(archive))
        assert nncodec.info(archive).frames == max(1, -(-size // 160))
        assert nncodec.decompress(archive) == data


class Trickle(io.RawIOBase):
    """A pipe that gives one, two, three... bytes a read."""

    def __init__(self, data: bytes) -> None:
        self.data, self.step = data, 0

    def read(self, size: int = -1) -> bytes:
        self.step = self.step % 7 + 1
        piece, self.data = self.data[: min(size, self.step)], self.data[min(size, self.step) :]
        return piece


def test_how_a_source_is_cut_does_not_matter() -> None:
    with small_blocks(size=40):
        whole, trickled = io.BytesIO(), io.BytesIO()
        tiny_codec().compress_stream(io.BytesIO(TEXT), whole)
        tiny_codec().compress_stream(Trickle(TEXT), trickled)
        assert trickled.getvalue() == whole.getvalue()
        out = io.BytesIO()
        source = Trickle(whole.getvalue())
        find = lambda _id: tiny_codec().coder  # noqa: E731
        assert decompress_stream(source, out, find) == (len(whole.getvalue()), len(TEXT))
        assert out.getvalue() == TEXT


def test_progress_adds_up() -> None:
    data = TEXT[:100] + RANDOM[:100] + bytes(50)
    done: list[int] = []
    codec = tiny_codec(lane_bytes=32)
    with small_blocks(size=100, prefix=8):
        archive = codec.compress(np.frombuffer(data, dtype=np.uint8), done.append)
        assert sum(done) == len(data)
        decompress_stream(io.BytesIO(archive), io.BytesIO(), lambda _id: codec.coder, done.append)
    assert sum(done) == 2 * len(data)


BUFFERS = {
    "bytearray": bytearray,
    "memoryview": memoryview,
    "slice of a memoryview": lambda data: memoryview(b"__" + data + b"__")[2:-2],
    "uint8 array": lambda data: np.frombuffer(data, dtype=np.uint8),
    "uint16 array": lambda data: memoryview(np.frombuffer(data, dtype=np.uint16)),
    "two dimensions": lambda data: memoryview(np.frombuffer(data, dtype=np.uint8).reshape(2, -1)),
}


@pytest.mark.parametrize("make", BUFFERS.values(), ids=BUFFERS)
def test_any_buffer(make: type) -> None:
    data = TEXT[:80]
    archive = nncodec.compress(data, model="tiny")
    assert nncodec.compress(make(data), model="tiny") == archive
    twice = archive * 2  # an even length, for the wider elements
    assert nncodec.decompress(make(twice)) == data * 2
    assert nncodec.info(make(twice)).uncompressed_size == 2 * len(data)


def test_what_is_no_buffer_of_bytes_is_refused() -> None:
    for bad in ("text", 5, None, [1, 2]):
        with pytest.raises(TypeError):
            nncodec.compress(bad, model="tiny")  # type: ignore[arg-type]
    with pytest.raises(TypeError):  # would be read in another order than it is laid out
        nncodec.compress(memoryview(TEXT)[::2], model="tiny")


def test_archives_do_not_depend_on_threads() -> None:
    try:
        archives = {nncodec.compress(TEXT, model="tiny", threads=n) for n in (1, 2)}
        assert len(archives) == 1
        assert nncodec.decompress(archives.pop(), threads=1) == TEXT
    finally:
        torch.set_num_threads(1)


def test_the_same_input_gives_the_same_archive() -> None:
    assert nncodec.compress(TEXT, model="tiny") == nncodec.compress(TEXT, model="tiny")


def test_max_output_size() -> None:
    archive = nncodec.compress(TEXT[:50], model="tiny")
    assert nncodec.decompress(archive, max_output_size=50) == TEXT[:50]
    with pytest.raises(nncodec.NNCodecError, match="50 bytes, 49 allowed"):
        nncodec.decompress(archive, max_output_size=49)
    with pytest.raises(nncodec.NNCodecError, match="100 bytes, 99 allowed"):
        nncodec.decompress(archive * 2, max_output_size=99)
    with pytest.raises(nncodec.NNCodecError, match="0 allowed"):
        nncodec.decompress(archive, max_output_size=0)
    assert nncodec.decompress(nncodec.compress(b"", model="tiny"), max_output_size=0) == b""


def test_max_output_size_refuses_before_decoding() -> None:
    archive = nncodec.compress(TEXT[:50], model="tiny")

    def never(_model_id: bytes | None) -> ReferenceEngine:
        raise AssertionError("an engine was asked for")

    with pytest.raises(nncodec.NNCodecError, match="max_output_size"):
        decompress_stream(io.BytesIO(archive), io.BytesIO(), never, limits=Limits(49))


@pytest.mark.corpora
@pytest.mark.parametrize(
    "name",
    ["canterbury/alice29.txt", "canterbury/kennedy.xls", "calgary/obj1", "calgary/geo"],
)
def test_pieces_of_real_files(corpora: Path, name: str) -> None:
    with (corpora / name).open("rb") as file:
        file.seek(1000)
        data = file.read(1500)
    with small_blocks(size=1000, prefix=64):
        round_trip(data, tiny_codec(lane_bytes=128))


def test_nano_beats_zlib_on_text() -> None:
    archive = nncodec.compress(TEXT)
    assert nncodec.decompress(archive) == TEXT
    assert len(archive) < len(zlib.compress(TEXT, 9))


class CountingState:
    """A stand-in engine's state, so that every geometry can be tried: counts follow the input."""

    def __init__(self) -> None:
        self.lanes, self.history = 1, np.zeros((1, 0), dtype=np.int64)

    def fork(self, lanes: int) -> None:
        self.lanes, self.history = lanes, np.repeat(self.history, lanes, 0)

    def advance(self, tokens: np.ndarray) -> np.ndarray:
        self.history = np.concatenate((self.history, tokens), 1)
        favoured = self.history.cumsum(1)[:, -tokens.shape[1] :] % 256
        counts = np.full((*tokens.shape, 256), 1000, dtype=np.int32)
        np.put_along_axis(counts, favoured[..., None], (1 << 24) - 255_000, -1)
        return counts


class CountingEngine(Engine):
    def start(self) -> CountingState:
        return CountingState()


@pytest.mark.parametrize("tokens_a_call", [1, 7, 64, 4096])
@pytest.mark.parametrize("lanes", [1, 2, 3, 8, 50])
def test_every_geometry(monkeypatch: pytest.MonkeyPatch, lanes: int, tokens_a_call: int) -> None:
    """Lengths around every multiple: pieces of one position, lanes that end early, no prefix."""
    monkeypatch.setattr(lane_coding, "TOKENS_A_CALL", tokens_a_call)
    data = np.random.default_rng(lanes).integers(0, 256, 700).astype(np.uint8)
    for prefix in (0, 1, 64):
        for size in [*range(prefix + lanes, prefix + lanes + 40), 511, 512, 513, 641, 700]:
            block = data[:size]
            geometry = Geometry(lanes, prefix)
            payload = CountingEngine().encode(block, geometry, no_progress)
            got = CountingEngine().decode(payload, size, geometry, no_progress)
            assert got == block.tobytes(), (size, prefix)
