"""How items are seen: block formats, packed and small codes, trellis indices, grids, int16."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import numpy.typing as npt
import pytest
from container_files import entry, gguf, safetensors_file
from hypothesis import given
from hypothesis import strategies as st
from tensor_values import absmax_codes, as_dtype, blocks, both_ways, coded, mode_of, normal
from tensor_values import trellis_indices as trellis

import nncodec
from nncodec._core import PayloadError
from nncodec.container import Kind
from nncodec.parsing import read_frames
from nncodec.tensors import model
from nncodec.tensors.block_fields import BLOCKS
from nncodec.tensors.chunks import plan
from nncodec.tensors.coder import decode_tensors, encode_tensors
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import Item
from nncodec.tensors.layout import Span
from nncodec.tensors.modes import choose_mode
from nncodec.tensors.parts import Encoding
from nncodec.tensors.planes import WHOLE_ROW, Mode, View, join, planes_of, split

Bytes = npt.NDArray[np.uint8]
GGML = {"Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q4_K": 12, "Q5_K": 13, "Q6_K": 14}


def noise(size: int, seed: int = 5) -> Bytes:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def found(item: Item, data: Bytes) -> Mode:
    """The mode that C++ and the twin choose, through which the data comes back."""
    payload = coded(item, data)
    mode = choose_mode(item, data)
    assert mode_of(payload) == mode
    assert decode_tensors([item], payload, "") == data.tobytes()
    assert np.array_equal(join(item, mode, split(item, mode, data)), data)
    return mode


# ggml's own loops (dequantize_row_* in ggml-quants.c), but for the arithmetic: codes, scales,
# minima as integers.


def legacy_codes(block: Bytes, minimum: bool, fifth: bool) -> list[int]:
    at = 4 if minimum else 2
    high = int.from_bytes(block[at : at + 4].tobytes(), "little") if fifth else 0
    qs = block[at + 4 * fifth :]
    low = [int(q) & 15 | (high >> j & 1) << 4 for j, q in enumerate(qs)]
    return low + [int(q) >> 4 | (high >> (j + 16) & 1) << 4 for j, q in enumerate(qs)]


def k_scales(block: Bytes) -> tuple[list[int], list[int]]:
    q, scales, minima = [int(v) for v in block[4:16]], [], []
    for j in range(8):
        if j < 4:
            scales.append(q[j] & 63)
            minima.append(q[j + 4] & 63)
        else:
            scales.append(q[j + 4] & 15 | q[j - 4] >> 6 << 4)
            minima.append(q[j + 4] >> 4 | q[j] >> 6 << 4)
    return scales, minima


def k_codes(block: Bytes, fifth: bool) -> list[int]:
    high = block[16:48] if fifth else np.zeros(32, dtype=np.uint8)
    low, codes = block[48 if fifth else 16 :], list[int]()
    for j in range(4):
        part = low[32 * j : 32 * j + 32]
        codes += [int(q) & 15 | (int(h) >> 2 * j & 1) << 4 for q, h in zip(part, high, strict=True)]
        codes += [
            int(q) >> 4 | (int(h) >> (2 * j + 1) & 1) << 4 for q, h in zip(part, high, strict=True)
        ]
    return codes


def q6_k_codes(block: Bytes) -> list[int]:
    codes = [0] * 256
    for half in range(2):
        low, high = block[64 * half :], block[128 + 32 * half :]
        for i in range(32):
            a, b, h = int(low[i]), int(low[i + 32]), int(high[i])
            y = 128 * half + i
            codes[y] = a & 15 | (h & 3) << 4
            codes[y + 32] = b & 15 | (h >> 2 & 3) << 4
            codes[y + 64] = a >> 4 | (h >> 4 & 3) << 4
            codes[y + 96] = b >> 4 | (h >> 6 & 3) << 4
    return codes


@pytest.mark.parametrize("name", GGML)
def test_blocks_are_cut_as_ggml_reads_them(name: str) -> None:
    dtype = Dtype[name]
    item, block = Item(dtype, 0, 1, 1), noise(dtype.block_bytes)
    planes = split(item, Mode(), block)
    assert np.array_equal(join(item, Mode(), planes), block)
    expected = {
        "Q8_0": lambda: list(block[2:]),
        "Q4_K": lambda: k_codes(block, fifth=False),
        "Q5_K": lambda: k_codes(block, fifth=True),
        "Q6_K": lambda: q6_k_codes(block),
    }.get(name, lambda: legacy_codes(block, name.endswith("1"), name.startswith("Q5")))
    assert list(planes[-1]) == expected()
    scale = block[208:210] if name == "Q6_K" else block[:2]
    assert np.array_equal(planes[0], scale)
    if name in ("Q4_K", "Q5_K"):
        assert [list(p) for p in planes[2:4]] == list(k_scales(block))
    if name == "Q6_K":
        assert np.array_equal(planes[1], block[192:208])


def test_every_bit_of_a_block_has_one_place() -> None:
    for dtype, block in BLOCKS.items():
        bits = np.zeros((dtype.block_bytes, 8), dtype=np.int64)
        for f in block.fields:
            bits[f.byte, f.shift : f.shift + f.width] += 1
        assert block.bytes == dtype.block_bytes
        assert (bits == 1).all(), dtype


@pytest.mark.parametrize("name", GGML)
def test_blocks_of_noise(name: str) -> None:
    dtype = Dtype[name]
    both_ways([Item(dtype, 3, 1, 1)], noise(dtype.block_bytes).tobytes())


@pytest.mark.parametrize("name", GGML)
def test_blocks_are_smaller_than_as_bytes(name: str) -> None:
    dtype = Dtype[name]
    rows, cols = 64, 512 // dtype.block_elements
    data = blocks(dtype, rows, cols)
    item = Item(dtype, 0, rows, cols)
    payload = coded(item, data)
    assert decode_tensors([item], payload, "") == data.tobytes()
    assert len(payload) < len(coded(Item(Dtype.U8, 0, rows, data.size // rows), data))


@pytest.mark.parametrize("group", [16, 32, 64, 128, 256])
@pytest.mark.parametrize("twos", [False, True])
def test_packed_codes_are_found(group: int, twos: bool) -> None:
    codes = absmax_codes(64, 512, group, 4) ^ np.uint8(8 * twos)
    packed = codes[::2] | codes[1::2] << 4
    mode = found(Item(Dtype.U8, 0, 64, 256), packed)
    assert mode == Mode(View.PACKED, twos, group=group.bit_length() - 1)
    if not twos:
        alone = found(Item(Dtype.U8, 0, 64, 512), codes)
        assert alone == Mode(View.SMALL, group=group.bit_length() - 1)


def test_packed_codes_by_the_twin() -> None:
    """As few of them as are recognised."""
    codes = absmax_codes(64, 128, 32, 4)
    payload = both_ways([Item(Dtype.U8, 0, 64, 64)], (codes[::2] | codes[1::2] << 4).tobytes())
    assert mode_of(payload) == Mode(View.PACKED, group=5)
    assert len(payload) < 4096


def test_small_codes_are_found() -> None:
    codes = np.clip(np.round(normal(30, 33) * 20), -8, 7).astype(np.int8).view(np.uint8)
    both_ways([Item(Dtype.I8, 0, 30, 33)], codes.tobytes())
    assert found(Item(Dtype.I8, 0, 30, 33), codes.reshape(-1)) == Mode(View.SMALL, twos=True)


@pytest.mark.parametrize("bits", [8, 12])
def test_noise_is_not_packed(bits: int) -> None:
    data = noise(1 << 14)
    if bits == 12:  # the upper half of every byte tells of the lower one
        data = data & 15 | (data & 15) << 4
    assert found(Item(Dtype.U8, 0, 128, 128), data).view != View.PACKED


@pytest.mark.parametrize("log_states", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("dtype", [Dtype.I8, Dtype.I16])
def test_trellis_indices_are_found(log_states: int, dtype: Dtype) -> None:
    indices = trellis(128, 256, log_states)
    wide = dtype == Dtype.I16
    data = indices.astype(np.int16 if wide else np.int8).view(np.uint8).reshape(-1)
    item = Item(dtype, 0, 128, 256)
    assert found(item, data) == Mode(trellis=log_states)
    # In another order: the same numbers without what the trellis tells.
    mixed = np.random.default_rng(8).permutation(data.view("<i2" if wide else "i1")).view(np.uint8)
    assert found(item, mixed).trellis == 0
    assert len(coded(item, data)) < 0.98 * len(coded(item, mixed))


def test_trellis_indices_by_the_twin() -> None:
    """As few of them as are looked at."""
    data = trellis(16, 256, 3)
    assert mode_of(both_ways([Item(Dtype.I16, 0, 16, 256)], data.tobytes())) == Mode(trellis=3)


def test_integers_at_their_ends() -> None:
    wide = np.array([-32768, 32767, -129, 128, 127, -127, 126, 0, 254, 255, 256], dtype=np.int16)
    spread = np.random.default_rng(4).integers(-32768, 32768, 150).astype(np.int16)
    both_ways([Item(Dtype.I16, 1, 11, 11)], np.tile(wide, 11).tobytes())
    both_ways([Item(Dtype.I16, 1, 10, 15)], spread.tobytes())
    narrow = np.array([-128, 127, -127, 0, 1, -128, -1, 64], dtype=np.int8)
    both_ways([Item(Dtype.I8, 1, 9, 8)], np.tile(narrow, 9).tobytes())
    both_ways([Item(Dtype.U8, 1, 9, 8)], np.tile(narrow, 9).tobytes())


def grid(dtype: Dtype, rows: int, cols: int, group: int, most: int) -> bytes:
    """Integers times a scale for each group, as models are after they were quantised and back."""
    rng = np.random.default_rng(6)
    codes = np.clip(
        np.round(rng.laplace(size=(rows * cols // group, group)) * most / 4), -most, most
    )
    codes[:, 0] = most
    scales = (0.01 * np.exp(rng.normal(size=(len(codes), 1)))).astype(np.float32)
    values = codes.astype(np.float32) * scales + 0.0
    if dtype != Dtype.BF16:
        return as_dtype(values, dtype)
    bits = values.view(np.uint32)
    return (bits + 0x7FFF + (bits >> 16 & 1) >> 16).astype(np.uint16).tobytes()


@pytest.mark.parametrize("dtype", [Dtype.F32, Dtype.F16, Dtype.BF16], ids=lambda d: d.name)
@pytest.mark.parametrize(("group", "most"), [(64, 7), (320, 127)])
def test_grids_are_found(dtype: Dtype, group: int, most: int) -> None:
    data = np.frombuffer(grid(dtype, 16, 320, group, most), dtype=np.uint8)
    log = 6 if group == 64 else WHOLE_ROW
    assert found(Item(dtype, 0, 16, 320), data) == Mode(View.GRID, group=log)


@pytest.mark.parametrize("dtype", [Dtype.F32, Dtype.F16, Dtype.BF16], ids=lambda d: d.name)
def test_grids_by_the_twin(dtype: Dtype) -> None:
    for group, log in ((32, 5), (96, WHOLE_ROW)):
        payload = both_ways([Item(dtype, 0, 4, 96)], grid(dtype, 4, 96, group, 127))
        assert mode_of(payload) == Mode(View.GRID, group=log)


def test_grids_of_nine_bits() -> None:
    data = grid(Dtype.F32, 4, 128, 128, 255)
    assert mode_of(both_ways([Item(Dtype.F32, 0, 4, 128)], data)) == Mode(
        View.GRID, twos=True, group=WHOLE_ROW
    )


@pytest.mark.parametrize(
    ("dtype", "mode"),
    [
        (Dtype.I8, Mode(View.SMALL, twos=True, group=WHOLE_ROW)),
        (Dtype.U8, Mode(View.SMALL, group=1)),
        (Dtype.U8, Mode(View.SMALL, twos=True, group=14)),
        (Dtype.I8, Mode(View.PACKED, group=3)),
        (Dtype.U8, Mode(View.PACKED, twos=True, group=WHOLE_ROW)),
        (Dtype.I8, Mode(trellis=4)),
        (Dtype.I16, Mode(trellis=6)),
    ],
    ids=str,
)
def test_modes_that_no_encoder_chooses(
    dtype: Dtype, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a mode says of the data, C++ reads what the twin writes."""
    monkeypatch.setattr(model, "choose_mode", lambda item, data: mode)
    items = [Item(dtype, 0, 7, 12), Item(dtype, 0, 1, 20)]
    data = noise(sum(item.size for item in items))
    if mode.view == View.SMALL:
        data = (data & 15) - np.uint8(8 * mode.twos)
    payload = model.encode(items, data.tobytes())
    assert decode_tensors(items, payload, "") == model.decode(items, payload) == data.tobytes()


BAD_MODES = [
    (Dtype.I8, 1 << 3, 0),  # a trellis of two states
    (Dtype.I16, 7 << 3, 0),
    (Dtype.I16, 31 << 3, 0),
    (Dtype.U8, 2 << 3, 0),
    (Dtype.F32, 2 << 3, 0),
    (None, 2 << 3, 0),
    (Dtype.Q4_0, 2 << 3, 0),
    (Dtype.I8, View.SMALL | 2 << 3, 0),
    (Dtype.I8, 4, 0),
    (Dtype.I8, 0, 4),
    (Dtype.Q6_K, 0, WHOLE_ROW),
    (Dtype.U8, View.PACKED, 16),
    (Dtype.U8, View.PACKED, 255),
    (Dtype.I16, View.SMALL, 0),
    (Dtype.F16, View.PACKED, 0),
    (Dtype.U8, View.GRID, 5),
    (Dtype.F32, View.GRID, 0),
    (Dtype.F32, View.GRID, 4),
    (Dtype.F32, View.GRID, 7),  # 96 columns are no multiple of 128
    (Dtype.F8_E5M2, View.GRID, 5),
]


@pytest.mark.parametrize(("dtype", "first", "second"), BAD_MODES, ids=str)
def test_invalid_modes_are_rejected(dtype: Dtype | None, first: int, second: int) -> None:
    coder = Encoding()
    run = model.TensorRun(coder)
    run.tree_byte(0, first)
    run.tree_byte(1, second)
    payload = coder.coder.finish() + bytes(20)
    items = [Item(dtype, 0, 4, 96)]
    for decode in (
        lambda: decode_tensors(items, payload, ""),
        lambda: model.decode(items, payload),
    ):
        with pytest.raises(PayloadError, match="no such mode"):
            decode()


def hostile_items() -> list[tuple[Item, Bytes]]:
    codes = absmax_codes(64, 128, 32, 4)
    return [
        (Item(Dtype.U8, 0, 64, 64), codes[::2] | codes[1::2] << 4),
        (Item(Dtype.I16, 0, 32, 256), trellis(32, 256, 3).view(np.uint8).reshape(-1)),
        (Item(Dtype.F32, 0, 4, 128), np.frombuffer(grid(Dtype.F32, 4, 128, 128, 9), np.uint8)),
        *((Item(Dtype[name], 0, 2, 2), blocks(Dtype[name], 2, 2)) for name in GGML),
    ]


def test_damaged_payloads() -> None:
    """Never a crash: an error, or other bytes, which the checksum of the block finds."""
    rng = np.random.default_rng(7)
    outcomes = set()
    for item, data in hostile_items():
        payload = coded(item, data)
        for _ in range(25):
            broken = bytearray(payload)
            at = int(rng.integers(0, min(len(broken) - 1, 40)))
            broken[rng.choice([at, -2 - at])] ^= int(rng.integers(1, 256))
            try:
                outcomes.add(decode_tensors([item], bytes(broken), "") == data.tobytes())
            except PayloadError:
                outcomes.add(None)
    assert outcomes == {None, False}


@given(st.sampled_from(["F16", "BF16", "I8", "I16", "Q4_0", "Q5_1"]), st.integers(0, 2**32 - 1))
def test_the_twin_agrees_on_damaged_payloads(name: str, seed: int) -> None:
    """Noise is read alike by both, so that no archive depends on who reads it."""
    item = Item(Dtype[name], 1, 2, 1 if Dtype[name].block_elements > 1 else 9)
    payload = noise(40, seed).tobytes()
    results: list[bytes | None] = []
    for decode in (model.decode, lambda items, payload: decode_tensors(items, payload, "")):
        results.append(None)
        with suppress(PayloadError):
            results[-1] = decode([item], payload)
    assert results[0] == results[1]


def test_planes_hold_what_an_item_holds() -> None:
    for name in GGML:
        item = Item(Dtype[name], 0, 2, 3)
        planes = planes_of(item, Mode())
        sizes = [plane.size for plane in planes]
        assert sizes == [p.size for p in split(item, Mode(), noise(item.size))]
        assert 2 * item.size >= sum(sizes)  # what a decoder reserves


def tensors_and_kinds(data: bytes) -> tuple[list[str], list[Kind]]:
    archive = nncodec.compress(data, 4)
    assert nncodec.decompress(archive) == data
    assert len(archive) <= len(data) + 64
    rows = [block for frame in read_frames(io.BytesIO(archive)) for block in frame.blocks]
    dtypes = [item.dtype.name for row in rows for item in row.items if item.dtype]
    return dtypes, [row.kind for row in rows]


@pytest.mark.parametrize("name", GGML)
def test_gguf_files(name: str) -> None:
    dtype = Dtype[name]
    cols = 512 // dtype.block_elements
    quantised = blocks(dtype, 32, cols).tobytes()
    tensors = [
        ("blk.0.attn_norm.weight", 0, (512,), normal(1, 512).tobytes()),
        ("blk.0.attn_q.weight", GGML[name], (512, 32), quantised),
        ("blk.1.attn_q.weight", GGML[name], (512, 32), quantised),
    ]
    data = gguf(tensors)
    dtypes, kinds = tensors_and_kinds(data)
    assert dtypes == ["F32", name, name]
    assert kinds.count(Kind.TENSORS) == 1
    # The second tensor is the first one again.
    assert len(nncodec.compress(data, 4)) < 0.65 * len(data)


def test_words_of_packed_codes_are_found() -> None:
    codes = absmax_codes(256, 512, 128, 4)
    words = (codes[::2] | codes[1::2] << 4).tobytes()
    steps = np.arange(1 << 14, dtype=np.int32).tobytes()
    header = {
        "qweight": entry("I32", [256, 64], 0, 1 << 16),
        "steps": entry("I32", [1 << 14], 1 << 16, 1 << 17),
    }
    data = safetensors_file(header, words + steps)
    dtypes, _ = tensors_and_kinds(data)
    assert dtypes == ["U8"]
    spans = [Span("w", Dtype.U32, (256, 64), 0, 1 << 16)]
    (part,) = plan(spans, np.frombuffer(words, dtype=np.uint8))
    assert [(i.dtype, i.rows, i.cols) for i in part.items] == [(Dtype.U8, 256, 256)]


@pytest.mark.parametrize(("cols", "there"), [(128, True), (127, False)])
def test_four_bit_tensors_are_packed_bytes(cols: int, there: bool) -> None:
    size = 64 * cols // 2
    spans = [Span("w", Dtype.I4, (64, cols), 0, size)]
    (part,) = plan(spans, noise(size))
    items = [Item(Dtype.U8, part.items[0].role, 64, cols // 2)] if there else []
    assert list(part.items) == items


def test_a_large_tensor_of_blocks_is_cut_between_rows() -> None:
    rows, cols = 8000, 4096
    size = rows * cols // 32 * 18
    (*parts,) = plan([Span("w", Dtype.Q4_0, (rows, cols), 0, size)], np.zeros(size, dtype=np.uint8))
    items = [item for part in parts for item in part.items]
    assert len(parts) > 1
    assert {item.cols for item in items} == {cols // 32}
    assert sum(item.rows for item in items) == rows
    assert [sum(i.size for i in p.items) for p in parts] == [p.end - p.begin for p in parts]


def test_encoders_agree_in_chunks_of_many_kinds() -> None:
    """What one item leaves behind is there for the next: the same by twin and C++."""
    small = (normal(5, 8) * 10).astype(np.int8).tobytes()
    items = [Item(Dtype.Q4_0, 1, 1, 2), Item(Dtype.F16, 2, 5, 9), Item(Dtype.I8, 3, 5, 8)]
    items += [Item(Dtype.Q6_K, 1, 1, 1), Item(None, 0, 1, 6), Item(Dtype.Q4_0, 1, 1, 2)]
    part = blocks(Dtype.Q4_0, 1, 2).tobytes()
    half = as_dtype(normal(5, 9), Dtype.F16)
    data = part + half + small + blocks(Dtype.Q6_K, 1, 1).tobytes() + b"filler" + part
    payload = both_ways(items, data)
    assert payload == encode_tensors(items, np.frombuffer(data, dtype=np.uint8), "")


@pytest.mark.parametrize("sigma", [20, 300, 4000])
def test_int16_costs_little_more_than_its_entropy(sigma: int) -> None:
    values = np.round(np.random.default_rng(6).normal(size=30_000) * sigma)
    data = np.clip(values, -32768, 32767).astype(np.int16).view(np.uint8)
    entropy = np.log2(sigma * np.sqrt(2 * np.pi * np.e))
    assert len(coded(Item(Dtype.I16, 0, 150, 200), data)) * 8 / 30_000 < entropy + 0.08
