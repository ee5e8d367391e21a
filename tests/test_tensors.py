"""Tensors through the codec: the C++ coder and its twin, whole files, damage, sizes."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import container_files
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save
from tensor_values import as_dtype, blocks, both_ways, normal

import nncodec
from nncodec._core import PayloadError
from nncodec.container import Kind
from nncodec.errors import CorruptDataError, NNCodecError
from nncodec.parsing import read_frames
from nncodec.tensors import chunks, model
from nncodec.tensors.chunks import CHUNK_BYTES, Part, plan
from nncodec.tensors.coder import decode_tensors, encode_tensors
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import ALIKE, MODELLED, Item
from nncodec.tensors.layout import Span

DTYPES = sorted(MODELLED, key=lambda dtype: dtype.value)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_the_twin_agrees(dtype: Dtype) -> None:
    if dtype.block_elements > 1:
        rows = 3 if dtype.block_elements == 32 else 1
        both_ways([Item(dtype, 7, rows, 2)], blocks(dtype, rows, 2).tobytes())
        return
    both_ways([Item(dtype, 7, 14, 23)], as_dtype(normal(14, 23), dtype))
    both_ways([Item(dtype, 0, 1, 300)], as_dtype(normal(1, 300), dtype))


STRANGE = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-40, 3.4e38, 1.0]


def test_the_twin_agrees_on_what_is_strange() -> None:
    values = normal(10, 30)
    values[:, :10] = np.array(STRANGE, dtype=np.float32)
    values[3:7] = values[1]  # rows again
    values[8] = normal(1, 30).astype(np.float16)
    values[9] = 0
    bits = np.random.default_rng(2).integers(0, 2**32, 200, dtype=np.uint32)
    items = [
        Item(Dtype.F32, 1, 10, 30),
        Item(None, 0, 1, 5),
        Item(Dtype.BF16, 2, 20, 10),
        Item(Dtype.F32, 3, 200, 1),
        Item(Dtype.F16, 3, 1, 1),
    ]
    data = values.tobytes() + b"abcde" + as_dtype(normal(20, 10), Dtype.BF16) + bits.tobytes()
    both_ways(items, data + b"\1\2")


@settings(max_examples=30, deadline=None)
@given(st.binary(min_size=1, max_size=120), st.sampled_from(DTYPES))
def test_any_bits_are_numbers(data: bytes, dtype: Dtype) -> None:
    cols = len(data) // dtype.block_bytes
    items = [Item(dtype, 255, 1, cols)] if cols else []
    rest = len(data) - cols * dtype.block_bytes
    items += [Item(None, 0, 1, rest)] if rest else []
    both_ways(items, data)


def test_what_repeats_costs_little() -> None:
    rows = normal(8, 64)
    once, twice = (
        len(model.encode([Item(Dtype.F32, 0, n * 8, 64)], np.tile(rows, (n, 1)).tobytes()))
        for n in (1, 2)
    )
    assert twice < 1.2 * once


@pytest.mark.parametrize("dtype", [Dtype.F32, Dtype.BF16, Dtype.I8, Dtype.U8, Dtype.I16])
def test_zeros_are_told_first(dtype: Dtype) -> None:
    """Scattered ones, dead rows and columns, and what zeros of floats have: a sign."""
    values = normal(16, 24)
    values[np.random.default_rng(3).random(values.shape) < 0.4] = 0
    values[4:6] = values[:, 7] = 0
    values[2, :5] = -0.0
    payload = both_ways([Item(dtype, 0, 16, 24)], as_dtype(values, dtype))
    assert len(payload) < len(
        model.encode([Item(dtype, 0, 16, 24)], as_dtype(normal(16, 24), dtype))
    )


def test_hidden_float16_is_found() -> None:
    narrow = normal(40, 32).astype(np.float16).astype(np.float32)
    wide = normal(40, 32, seed=2)
    sizes = [len(model.encode([Item(Dtype.F32, 0, 40, 32)], w.tobytes())) for w in (narrow, wide)]
    assert sizes[0] < 0.6 * sizes[1]


def sample_items() -> tuple[list[Item], bytes]:
    return [Item(Dtype.BF16, 1, 30, 20)], as_dtype(normal(30, 20), Dtype.BF16)


def test_damaged_payloads() -> None:
    """Never a crash; either an error or other bytes, which the checksum of the block finds."""
    items, data = sample_items()
    payload = encode_tensors(items, np.frombuffer(data, dtype=np.uint8), "")
    for at in range(0, len(payload) - 1, 7):  # the last byte may have bits that say nothing
        broken = bytearray(payload)
        broken[at] ^= 0x55
        with suppress(PayloadError):
            assert decode_tensors(items, bytes(broken), "") != data
    for cut in range(0, len(payload) - 1, 7):
        with suppress(PayloadError):
            assert decode_tensors(items, payload[:cut], "") != data
    with pytest.raises(PayloadError):
        decode_tensors(items, b"", "")
    with pytest.raises(PayloadError):
        decode_tensors(items, payload + b"\0" * 8, "")


def test_items_that_do_not_fill_a_chunk() -> None:
    chunk = np.zeros(16, dtype=np.uint8)
    for items in (
        [Item(Dtype.F32, 0, 1, 3)],
        [Item(Dtype.F32, 0, 1, 5)],
        [Item(Dtype.F32, 0, 0, 4)],
        [Item(Dtype.F32, 0, 1 << 40, 1 << 40)],
        [],
    ):
        with pytest.raises(ValueError, match="tensor"):
            encode_tensors(items, chunk, "")
    with pytest.raises(ValueError, match="no such kind"):
        nncodec._core.code_tensors([(99, 0, 4, 4)], chunk, decode=False, isa="")


def safetensors_file() -> bytes:
    tensors = {
        "blocks.0.weight": normal(64, 48),
        "blocks.1.weight": normal(64, 48, 2).astype(np.float16),
        "codes": (normal(30, 30, 3) * 100).astype(np.int8),
        "empty": np.zeros((0, 4), dtype=np.float32),
        "steps": np.arange(300, dtype=np.int64),
        "one": np.float32([1.5]),
    }
    return save(tensors, metadata={"made by": "a test"})


@pytest.mark.parametrize("level", [4, 6])
def test_files_come_back(level: int) -> None:
    npz = io.BytesIO()
    np.savez(npz, a=normal(50, 50), b=np.asfortranarray(normal(20, 60)))
    npy = io.BytesIO()
    np.save(npy, normal(70, 30))
    whole = safetensors_file()
    for data in (
        whole,
        whole + b"trailing",
        whole[:-1],
        whole[:100],
        npz.getvalue(),
        npy.getvalue(),
    ):
        archive = nncodec.compress(data, level)
        assert nncodec.decompress(archive) == data
        assert len(archive) <= len(data) + 64
    assert nncodec.info(nncodec.compress(whole, level)).blocks["tensors"] >= 1


def test_files_are_cut_into_parts(tmp_path: Path) -> None:
    """Through a file, which is mapped, and through a pipe: the same archive."""
    data = safetensors_file()
    codec = nncodec.api.load_codec(4)
    (tmp_path / "file").write_bytes(data)
    archives = []
    with (tmp_path / "file").open("rb") as file:
        for source in (file, io.BytesIO(data)):
            sink = io.BytesIO()
            assert codec.compress_stream(source, sink) == (len(data), sink.tell())
            archives.append(sink.getvalue())
    assert archives[0] == archives[1] == codec.compress(np.frombuffer(data, dtype=np.uint8))
    frames = read_frames(io.BytesIO(archives[0]))
    kinds = [block.kind for frame in frames for block in frame.blocks]
    assert kinds.count(Kind.TENSORS) == 1
    assert kinds[0] != Kind.TENSORS  # the header


def test_archives_do_not_depend_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 4096)
    data = np.frombuffer(safetensors_file(), dtype=np.uint8)
    archives = {nncodec.compress(data.tobytes(), 4, threads=n) for n in (1, 2, 5)}
    assert len(archives) == 1
    archive = archives.pop()
    assert nncodec.info(archive).blocks["tensors"] > 3
    assert nncodec.decompress(archive) == data.tobytes()


def test_damaged_archives() -> None:
    data = save({"w": normal(24, 24)})
    archive = nncodec.compress(data, 4)
    for at in range(0, len(archive), 11):
        broken = bytearray(archive)
        broken[at] ^= 0xFF
        try:
            result = nncodec.decompress(bytes(broken))
        except NNCodecError:
            continue
        assert result == data  # slack in a payload's last byte
    for cut in range(0, len(archive), 19):
        with pytest.raises(NNCodecError):
            nncodec.decompress(archive[:cut])


def test_headers_that_lie() -> None:
    data = save({"w": normal(24, 24)})
    frames = read_frames(io.BytesIO(nncodec.compress(data, 4)))
    frame = next(f for f in frames if f.blocks[0].kind == Kind.TENSORS)
    (block,) = frame.blocks
    size = block.size
    attacks = (
        (Item(Dtype.F32, 0, 24, 23),),
        (Item(Dtype.F32, 0, 24, 25),),
        (Item(Dtype.F32, 0, size, size),),
        (),
        (Item(None, 0, 1, 1),) * (size - 1),
        (Item(Dtype.F64, 0, 24, 12),),
    )
    for items in attacks:
        lying = type(frame)(size, size, (type(block)(block.kind, size, 1, 0, items=items),))
        with pytest.raises(CorruptDataError, match=r"block table|number of"):
            read_frames(io.BytesIO(lying.pack() + b"\0"))


def test_plans_cover_a_file() -> None:
    big = 3 * CHUNK_BYTES // 4 // 1000 * 1000  # elements of four bytes: three chunks
    spans = [
        Span("a", Dtype.F32, (big // 1000, 1000), 100, 100 + 4 * big),
        Span("b", Dtype.BF16, (64, 64), 132 + 4 * big, 132 + 4 * big + 8192),
        Span("c", Dtype.I64, (10,), 8400 + 4 * big, 8480 + 4 * big),
        Span("d", Dtype.F16, (5,), 9000 + 4 * big, 9010 + 4 * big),
    ]
    size = 9100 + 4 * big
    parts = plan(spans, np.zeros(size, dtype=np.uint8))
    assert [part.begin for part in parts] == [0, *(part.end for part in parts[:-1])]
    assert parts[-1].end == size
    for part in parts:
        if part.items:
            assert sum(item.size for item in part.items) == part.end - part.begin <= CHUNK_BYTES
    elements = sum(i.rows * i.cols for p in parts for i in p.items if i.dtype == Dtype.F32)
    assert elements == big
    assert plan([], np.zeros(10, dtype=np.uint8)) == [Part(0, 10)]
    assert plan([], np.zeros(0, dtype=np.uint8)) == [Part(0, 0)]
    wide = [Span("w", Dtype.U8, (CHUNK_BYTES + 5,), 0, CHUNK_BYTES + 5)]
    assert (
        sum(i.size for p in plan(wide, np.zeros(CHUNK_BYTES + 5, dtype=np.uint8)) for i in p.items)
        >= CHUNK_BYTES
    )


@pytest.mark.parametrize("dtype", ALIKE)
def test_dtypes_that_are_coded_as_another(dtype: Dtype) -> None:
    values = np.random.default_rng(3).integers(60, 70, 4096).astype(np.uint8)
    (part,) = plan([Span("x", dtype, (64, 64), 0, 4096)], values)
    assert part.items == (Item(ALIKE[dtype], part.items[0].role, 64, 64),)
    header = {"x": container_files.entry(dtype.name, [64, 64], 0, 4096)}
    data = container_files.safetensors_file(header, values.tobytes())
    archive = nncodec.compress(data, 4)
    assert nncodec.decompress(archive) == data
    assert len(archive) < len(data) * 5 // 8


SIZES = {
    "rwkv7_834k_bf16.safetensors": 10.25,
    "rwkv6_3m_part_bf16.safetensors": 10.25,
    "silero_vad_16k.safetensors": 24.2,
}
WEIGHTS = {  # in tensors that are coded as such
    "rwkv7_834k_bf16.safetensors": 829_888,
    "rwkv6_3m_part_bf16.safetensors": 336_384,
    "silero_vad_16k.safetensors": 309_633,
}


@pytest.mark.weights
@pytest.mark.parametrize("name", SIZES)
def test_real_weights(weights: Path, name: str) -> None:
    """Bits a weight of the whole archive, its header included."""
    data = (weights / name).read_bytes()
    archive = nncodec.compress(data, 4)
    assert nncodec.decompress(archive) == data
    assert 8 * len(archive) / WEIGHTS[name] <= SIZES[name]
