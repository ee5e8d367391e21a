"""The fast coder of tensors: C++ of every instruction set and its twin, files, damage, sizes."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save
from test_tensors import STRANGE, as_dtype, normal

import nncodec
from nncodec import _core
from nncodec._core import PayloadError, available_isas
from nncodec.errors import NNCodecError
from nncodec.tensors import fields
from nncodec.tensors.coder import decode_fields, encode_fields
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import FIELDS, Item

DTYPES = sorted(FIELDS, key=lambda dtype: dtype.value)

Items = list[Item]
SHAPES = [(1, 1), (14, 23), (1, 300), (9, 129), (300, 1), (3, 1100), (1, 5000)]


def both_ways(items: Items, data: bytes) -> bytes:
    """The payload, made by the C++ of every instruction set, and by the twin with the same plan."""
    chunk = np.frombuffer(data, dtype=np.uint8)
    payload = encode_fields(items, chunk, "portable")
    for isa in available_isas():
        assert encode_fields(items, chunk, isa) == payload, isa
        assert decode_fields(items, payload, isa) == data, isa
    assert fields.decode(items, payload) == data
    assert fields.encode(items, data, fields.plan_of(items, payload)) == payload
    return payload


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_twin_agrees(dtype: Dtype, shape: tuple[int, int]) -> None:
    data = as_dtype(normal(*shape), dtype)
    payload = both_ways([Item(dtype, 7, *shape)], data)
    if dtype not in (Dtype.F8_E4M3, Dtype.F8_E5M2) and shape[0] * shape[1] > 3000:
        assert len(payload) < 0.95 * len(data)  # of the small floats any bits


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_what_is_strange(dtype: Dtype) -> None:
    values = normal(40, 160)
    values[:, :10] = np.array(STRANGE, dtype=np.float32)
    values[3:7] = values[1]  # rows again
    values[8:12] = -values[1]
    values[20] = np.abs(values[1])
    values[30:34] = normal(4, 160).astype(np.float16)
    values[34:37].view(np.uint32)[:] &= 0xFFFF0000
    values[38:] = 0
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype in (Dtype.I8, Dtype.U8):
            values = np.nan_to_num(values, nan=7)
        both_ways([Item(dtype, 1, 40, 160)], as_dtype(values, dtype))


def test_many_symbols_have_more_lanes() -> None:
    """At 2^20 symbols; there is a row of a length that no number of lanes divides."""
    values = (normal(1030, 1021) * 9).astype(np.int8)
    fewer = values[:1020].ravel().view("u1")
    before = len(encode_fields([Item(Dtype.I8, 0, 1020, 1021)], fewer, ""))
    payload = both_ways([Item(Dtype.I8, 0, 1030, 1021)], values.tobytes())
    assert 0.99 * before < len(payload) * 1020 / 1030 < 1.01 * before


def test_many_items() -> None:
    """Of all dtypes, with bytes between them, too small to be coded, noise, one like another."""
    noise = random.Random(1).randbytes(4000)
    one = normal(50, 64)
    parts = [
        (Item(Dtype.F32, 1, 50, 64), one.tobytes()),
        (Item(None, 0, 1, 5), b"abcde"),
        (Item(Dtype.BF16, 2, 20, 130), as_dtype(normal(20, 130), Dtype.BF16)),
        (Item(Dtype.F16, 3, 1, 1), b"\1\2"),
        (Item(Dtype.F32, 4, 1, 1000), noise),
        (Item(Dtype.I8, 4, 40, 100), noise),
        (Item(None, 0, 1, 4000), noise[::-1]),
        (Item(Dtype.F32, 1, 50, 64), one.tobytes()),
        (Item(Dtype.F32, 1, 50, 64), (one * 64).tobytes()),
        (Item(None, 0, 1, 900), b"padding, " * 100),
    ]
    parts += [(Item(d, 0, 6, 40), as_dtype(normal(6, 40, s), d)) for d in DTYPES for s in range(5)]
    both_ways([item for item, _ in parts], b"".join(data for _, data in parts))


@settings(max_examples=40, deadline=None)
@given(
    st.binary(min_size=1, max_size=80),
    st.integers(1, 40),
    st.sampled_from(DTYPES),
    st.integers(1, 200),
)
def test_any_bits_are_numbers(data: bytes, times: int, dtype: Dtype, cols: int) -> None:
    data *= times
    rows = len(data) // dtype.block_bytes // cols
    items = [Item(dtype, 255, rows, cols)] if rows else []
    rest = len(data) - rows * cols * dtype.block_bytes
    items += [Item(None, 0, 1, rest)] if rest else []
    both_ways(items, data)


def size(dtype: Dtype, values: np.ndarray) -> int:  # type: ignore[type-arg]
    return len(both_ways([Item(dtype, 0, *values.shape)], as_dtype(values, dtype)))


def test_what_the_coder_finds() -> None:
    """Constants, repeated rows, rows with other signs, rows that were float16 or bfloat16 once."""
    wide = normal(64, 256)
    plain = size(Dtype.F32, wide)
    assert size(Dtype.F32, np.full((64, 256), 1.5, dtype=np.float32)) < 500
    assert size(Dtype.F32, np.vstack([wide, wide[::-1]])) < 1.02 * plain
    signs = np.where(np.arange(256) % 2, 1, -1).astype(np.float32)
    assert size(Dtype.F32, np.vstack([wide, wide * signs])) < 1.02 * plain
    half = wide.copy()
    half[::2] = half[::2].astype(np.float16)
    assert size(Dtype.F32, half) < plain - 32 * 256 * 12 // 8
    half[::2].view(np.uint32)[:] &= 0xFFFF0000
    assert size(Dtype.F32, half) < plain - 32 * 256 * 15 // 8


def test_rows_of_each_size_have_a_table() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(256, 256)) * 2.0 ** rng.integers(-4, 1, size=(256, 1))
    mixed = rng.permuted(rows, axis=0)
    values = np.stack([rows, mixed]).astype(np.float32)
    sorted_size, mixed_size = (size(Dtype.BF16, v) for v in values)
    assert sorted_size < mixed_size - 256 * 256 * 0.4 / 8


def sample() -> tuple[Items, bytes, bytes]:
    values = normal(60, 130)
    values[40:] = values[:20] * np.float32(-1)
    values[5] = values[5].astype(np.float16)
    values[::7, ::9] = np.array([1e-30, np.inf, 1e20], dtype=np.float32)[0]
    items = [
        Item(Dtype.F32, 1, 60, 130),
        Item(None, 0, 1, 7),
        Item(Dtype.F16, 1, 10, 60),
        Item(Dtype.I8, 1, 10, 60),
    ]
    data = values.tobytes() + b"between" + as_dtype(normal(10, 60), Dtype.F16)
    data += as_dtype(normal(10, 60), Dtype.I8)
    return items, data, encode_fields(items, np.frombuffer(data, dtype=np.uint8), "")


def outcome(items: Items, payload: bytes, isa: str) -> bytes | None:
    try:
        return decode_fields(items, payload, isa)
    except PayloadError:
        return None


def test_damaged_payloads() -> None:
    """Never a crash; an error, or other bytes, which the checksum of the block finds."""
    items, _, payload = sample()
    rng = random.Random(7)
    rejected = 0
    for at in {*range(400), *rng.sample(range(len(payload)), 600)}:
        broken = bytearray(payload)
        broken[at] ^= 1 << rng.randrange(8)
        results = {outcome(items, bytes(broken), isa) for isa in available_isas()}
        assert len(results) == 1
        rejected += results == {None}
    assert rejected > 300
    for cut in (*range(300), *rng.sample(range(len(payload)), 200)):
        with pytest.raises(PayloadError):
            decode_fields(items, payload[:cut], "")
    with pytest.raises(PayloadError):
        decode_fields(items, payload + b"\0", "")
    for length in range(200):
        with suppress(PayloadError):
            decode_fields(items, rng.randbytes(length), "")


def test_the_twin_rejects_damage_too() -> None:
    items, _, payload = sample()
    rng = random.Random(5)
    for at in (*range(0, 60, 3), *rng.sample(range(len(payload)), 10)):
        broken = bytearray(payload)
        broken[at] ^= 0x10
        expected = outcome(items, bytes(broken), "")
        try:
            got = fields.decode(items, bytes(broken))
        except PayloadError:
            got = None
        assert got == expected


def test_lengths_have_their_shortest_form() -> None:
    """Both of a payload; five bytes are the most, and what a longer form would say is another."""
    items, data, payload = sample()
    size, plan_size = (
        (payload[0], 1) if payload[0] < 128 else (payload[0] & 127 | payload[1] << 7, 2)
    )
    at = plan_size + size
    assert fields.decode(items, payload) == data
    for end in (
        plan_size,
        next(i for i in range(at, at + 5) if payload[i] < 128) + 1,
    ):
        longer = payload[: end - 1] + bytes((payload[end - 1] | 0x80, 0)) + payload[end:]
        with pytest.raises(PayloadError):
            fields.decode(items, longer)
        for isa in available_isas():
            with pytest.raises(PayloadError):
                decode_fields(items, longer, isa)


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
            encode_fields(items, chunk, "")
    with pytest.raises(ValueError, match="no such kind"):
        _core.code_fields([(99, 0, 4, 4)], chunk, decode=False, isa="")


@pytest.mark.parametrize("level", [1, 3])
def test_files_come_back(level: int) -> None:
    tensors = {
        "a.weight": normal(64, 48),
        "b.weight": normal(64, 48, 2).astype(np.float16),
        "codes": (normal(30, 30, 3) * 100).astype(np.int8),
        "empty": np.zeros((0, 4), dtype=np.float32),
        "noise": np.random.default_rng(1).integers(0, 256, 5000, dtype=np.uint8),
    }
    data = save(tensors)
    archive = nncodec.compress(data, level)
    assert nncodec.decompress(archive) == data
    assert nncodec.info(archive).blocks["fields"] == 1
    assert {nncodec.compress(data, level, threads=n) for n in (1, 3)} == {archive}
    for at in range(0, len(archive), 97):
        broken = bytearray(archive)
        broken[at] ^= 0xFF
        with pytest.raises(NNCodecError):
            nncodec.decompress(bytes(broken))
    noise = save({"noise": np.random.default_rng(2).integers(0, 256, 9000, dtype=np.uint8)})
    archive = nncodec.compress(noise, level)
    assert nncodec.decompress(archive) == noise
    assert len(archive) <= len(noise) + 64


# Bits a weight of peers on the tensors alone, of which the archive is at or below the best.
SIZES = {
    "rwkv7_834k_bf16.safetensors": (829_888, 11.10),
    "rwkv6_3m_part_bf16.safetensors": (336_384, 10.85),
    "silero_vad_16k.safetensors": (309_633, 26.19),
    "stories260K-hf/model.safetensors": (260_032, 26.755),
}


@pytest.mark.weights
@pytest.mark.parametrize("name", SIZES)
def test_real_weights(weights: Path, name: str) -> None:
    """Bits a weight of the whole archive, its header included."""
    data = (weights / name).read_bytes()
    archive = nncodec.compress(data, 1)
    assert nncodec.decompress(archive) == data
    count, most = SIZES[name]
    assert 8 * len(archive) / count <= most
