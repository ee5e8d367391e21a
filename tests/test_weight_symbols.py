"""Weights as symbols, and the Transformer that predicts them as one more input of the mixer."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nncodec._core import PayloadError
from nncodec.engine.native import NativeEngine
from nncodec.engine.reference import ReferenceEngine
from nncodec.engine_weights import EngineModel
from nncodec.errors import UnreadTensorError
from nncodec.lanes import Engine
from nncodec.numerics import COUNT_TOTAL
from nncodec.tensors import model, transformer
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import Item
from nncodec.tensors.model import COLUMNS
from nncodec.tensors.parts import Encoding
from nncodec.tensors.spans import find_spans
from nncodec.tensors.symbols import (
    CLASSES,
    ROW_MARK,
    SCALE_BITS,
    leaves,
    running_scales,
    symbol_byte,
    symbol_stream,
)

STRANGE = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-40, 3.3e38, 1.0]


def normal(rows: int, cols: int, seed: int = 1) -> npt.NDArray[np.float32]:
    """Weights as they are: every row and column has a size of its own."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(size=(rows, 1))) * np.exp(rng.normal(size=(1, cols)))
    return (rng.normal(size=(rows, cols)) * sizes * 0.05).astype(np.float32)


def bf16(values: npt.NDArray[np.float32]) -> bytes:
    return (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()


def int8(values: npt.NDArray[np.float32]) -> bytes:
    """No zeros: those of a matrix that has many are coded otherwise."""
    steps = np.clip(np.round(values * 200), -128, 127).astype(np.int8)
    return np.where(steps == 0, 1, steps).astype(np.int8).tobytes()


def sample() -> tuple[list[Item], bytes]:
    """A little of everything: zeros, infinities, NaN, rows again, a single row, a single weight."""
    values = normal(12, 20)
    values[::2, :10] = np.array(STRANGE, dtype=np.float32)
    values[6:9] = values[3]
    items = [
        Item(Dtype.BF16, 1, 12, 20),
        Item(None, 0, 1, 3),
        Item(Dtype.I8, 2, 9, 11),
        Item(Dtype.F32, 3, 1, 30),
        Item(Dtype.F16, 4, 1, 1),
        Item(Dtype.F8_E4M3, 5, 6, 1),
        Item(Dtype.U8, 6, 2, 8),
    ]
    data = bf16(values) + b"adz" + int8(normal(9, 11)) + normal(1, 30).tobytes() + b"\1\2"
    return items, data + bytes(range(100, 106)) + bytes(range(0, 256, 16))


def unread() -> list[tuple[Item, bytes]]:
    """Items whose planes the network does not read: zeros first, 4-bit codes, blocks, int16,
    grids."""
    rng = np.random.default_rng(5)
    pruned = normal(8, 12) * (rng.random((8, 12)) < 0.5)
    steps = np.exp(rng.normal(size=(8, 1)))
    grid = (rng.integers(-100, 100, (8, 64)) * steps.astype(np.float32)).astype(np.float32)
    return [
        (Item(Dtype.BF16, 1, 8, 12), bf16(pruned)),
        (Item(Dtype.I8, 2, 4, 9), bytes(36)),
        (Item(Dtype.U8, 3, 4, 8), rng.integers(1, 16, 32, np.uint8).tobytes()),
        (Item(Dtype.Q8_0, 4, 2, 2), rng.bytes(4 * 34)),
        (Item(Dtype.I16, 5, 3, 5), rng.bytes(30)),
        (Item(Dtype.F32, 6, 8, 64), grid.tobytes()),
    ]


class Listening(Engine):
    """Predicts nothing, and remembers what it read since an item began."""

    def __init__(self) -> None:
        self.items: list[list[int]] = []

    def start(self) -> Listening:
        self.items.append([])
        return self

    def fork(self, lanes: int) -> None:
        raise AssertionError(lanes)

    def advance(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        self.items[-1] += tokens[0].tolist()
        return np.full((*tokens.shape, 256), COUNT_TOTAL // 256, dtype=np.int32)


class Knowing(Listening):
    """Read the stream before: the next byte gets nearly everything."""

    def __init__(self, streams: list[bytes]) -> None:
        super().__init__()
        self.streams = [stream + b"\0" for stream in streams]

    def advance(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        counts = super().advance(tokens)
        read = len(self.items[-1]) - 1
        counts[:] = 16
        counts[0, -1, self.streams[len(self.items) - 1][read]] = COUNT_TOTAL - 255 * 16
        return counts


def streams(items: list[Item], data: bytes) -> list[bytes]:
    ends = np.cumsum([item.size for item in items])
    pieces = [data[end - item.size : end] for item, end in zip(items, ends, strict=True)]
    return [symbol_stream(item, piece) for item, piece in zip(items, pieces, strict=True)]


def test_the_network_reads_the_stream() -> None:
    """What the coder computes weight by weight is what a training corpus holds."""
    items, data = sample()
    listening = Listening()
    transformer.encode(items, data, listening)
    assert [bytes(read[1:]) for read in listening.items] == streams(items, data)
    assert {read[0] for read in listening.items} == {256}


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 99), st.sampled_from(["bf16", "int8"]))
def test_any_shape(rows: int, cols: int, seed: int, dtype: str) -> None:
    values = normal(rows, cols, seed)
    kind = Item(Dtype.BF16 if dtype == "bf16" else Dtype.I8, 0, rows, cols)
    data = bf16(values) if dtype == "bf16" else int8(values)
    listening = Listening()
    payload = transformer.encode([kind], data, listening)
    if listening.items:  # a few bytes of four bits are not read
        assert bytes(listening.items[0][1:]) == symbol_stream(kind, data)
    else:
        assert len(data) < 64
        assert dtype == "int8"
    assert transformer.decode([kind], payload, Listening()) == data


@pytest.mark.parametrize("item", unread(), ids=lambda item: item[0].dtype.name)
def test_what_the_network_does_not_read(item: tuple[Item, bytes]) -> None:
    """It takes the plain model, and is no part of a corpus."""
    kind, data = item
    listening = Listening()
    assert transformer.encode([kind], data, listening) == model.encode([kind], data)
    assert listening.items == []
    with pytest.raises(UnreadTensorError, match=f"{kind.dtype.name}, {kind.rows} x {kind.cols}"):
        symbol_stream(kind, data)


def test_read_and_unread_in_one_chunk() -> None:
    items, data = sample()
    others = unread()
    chunk = b"".join(piece for _, piece in others) + data
    items = [item for item, _ in others] + items + [item for item, _ in others]
    chunk += b"".join(piece for _, piece in others)
    listening = Listening()
    payload = transformer.encode(items, chunk, listening)
    assert [bytes(read[1:]) for read in listening.items] == streams(*sample())
    assert transformer.decode(items, payload, Listening()) == chunk


@pytest.mark.parametrize("cut", [1, 100, 333, 398])
def test_later_weights_change_nothing_before(cut: int) -> None:
    """They are only put in another order, for the anchor, which is coded first, knows them all."""
    item, values = Item(Dtype.BF16, 0, 20, 20), normal(20, 20)
    other = values.copy().ravel()
    other[cut:] = np.random.default_rng(3).permutation(other[cut:])
    one, two = (symbol_stream(item, bf16(x)) for x in (values, other.reshape(20, 20)))
    assert len(one) == len(two) == 20 * 21 - 1
    same = cut + (cut - 1) // 20  # bytes, marks too, up to the last weight before
    assert one[: same + 1] == two[: same + 1]
    assert one != two or cut == 398


def test_round_trips(tiny_model: EngineModel) -> None:
    """By the reference and the native engine, to the same bytes."""
    items, data = sample()
    reference, native = ReferenceEngine(tiny_model), NativeEngine(tiny_model, threads=1)
    payload = transformer.encode(items, data, native)
    assert transformer.encode(items, data, reference) == payload
    assert transformer.decode(items, payload, reference) == data
    assert transformer.decode(items, payload, native) == data
    assert payload != model.encode(items, data)


@pytest.mark.weights
def test_real_weights(weights: Path, tiny_model: EngineModel) -> None:
    """Rows of two matrices of a model whose own dtype is bfloat16."""
    data = (weights / "rwkv7_834k_bf16.safetensors").read_bytes()
    spans = {span.name: span for span in find_spans(memoryview(data))}
    items, chunk = [], b""
    for name in ("blocks.5.att.key.weight", "blocks.5.ffn.value.weight"):
        span = spans[name]
        items.append(Item(span.dtype, 3, 10, span.cols))
        chunk += data[span.begin : span.begin + items[-1].size]
    engine = NativeEngine(tiny_model, threads=1)
    payload = transformer.encode(items, chunk, engine)
    assert transformer.decode(items, payload, engine) == chunk
    assert len(payload) < 0.85 * len(chunk)


def test_a_batch_is_the_same_as_steps(tiny_model: EngineModel) -> None:
    """Measurements hand the engine a whole stream at once."""
    engine = NativeEngine(tiny_model, threads=1)
    stream = symbol_stream(Item(Dtype.BF16, 0, 9, 30), bf16(normal(9, 30)))
    tokens = np.array([[256, *stream]])
    steps = engine.start()
    at_once = engine.start().advance(tokens)
    for i in range(tokens.shape[1]):
        assert (steps.advance(tokens[:, i : i + 1])[0, 0] == at_once[0, i]).all()


def test_what_the_network_knows_is_used() -> None:
    items, data = [Item(Dtype.BF16, 0, 30, 20)], bf16(normal(30, 20))
    payload = transformer.encode(items, data, Knowing(streams(items, data)))
    assert transformer.decode(items, payload, Knowing(streams(items, data))) == data
    bits = 8 * len(model.encode(items, data)) / 600
    assert 8 * len(payload) / 600 < bits - 1  # classes, of the exponent's three


def damaged(payload: bytes) -> list[bytes]:
    cuts = [payload[:cut] for cut in range(0, len(payload) - 1, 20)]
    flips = [
        payload[:at] + bytes([payload[at] ^ 0x55]) + payload[at + 1 :]
        for at in range(0, len(payload) - 1, 13)
    ]
    return [*cuts, *flips, b"", bytes(400), b"\xff" * 400]


def test_damaged_payloads(tiny_model: EngineModel) -> None:
    """Never a crash: an error, or other bytes of the same number."""
    engine = NativeEngine(tiny_model, threads=1)
    items, data = [Item(Dtype.BF16, 0, 5, 12), Item(Dtype.I8, 0, 4, 5)], bf16(normal(5, 12))
    data += int8(normal(4, 5))
    errors = 0
    for payload in damaged(transformer.encode(items, data, engine)):
        try:
            result = transformer.decode(items, payload, engine)
        except PayloadError:
            errors += 1
            continue
        assert len(result) == len(data)
        assert result != data
    assert errors


def test_items_that_do_not_fill_a_chunk() -> None:
    with pytest.raises(ValueError, match="fill the chunk"):
        transformer.encode([Item(Dtype.BF16, 0, 2, 2)], bytes(7), Listening())


@pytest.mark.parametrize("floating", [True, False])
def test_leaves(floating: bool) -> None:
    """The bytes of a class are summed, the row's mark is not one of them, nothing gets nothing."""
    counts = np.ones((3, 256), dtype=np.int32)
    counts[:, ROW_MARK] = COUNT_TOTAL
    for size in range(CLASSES):
        counts[:, size << SCALE_BITS | 3] = 1000 * (size + 1)
    result = leaves(counts, floating)
    assert result.shape == (3, 16 if floating else 8)
    assert (result == result[0]).all()
    assert result[0, :7].tolist() == [1000 * (size + 1) + 31 for size in range(7)]
    tail = result[0, 7:].tolist()
    if floating:
        assert sum(tail) == 8030
        assert all(abs(a - 2 * b) <= 1 for a, b in itertools.pairwise(tail[:-1]))
        assert abs(tail[-1] - tail[-2]) <= 1
    else:
        assert tail == [8030]
    assert (leaves(np.zeros(256, dtype=np.int32), floating) == 1).all()


def test_bytes_are_no_marks() -> None:
    every = {symbol_byte(symbol, scale) for symbol in range(16) for scale in range(32)}
    assert every == set(range(ROW_MARK))


def test_rows_that_are_too_long() -> None:
    with pytest.raises(ValueError, match=f"{COLUMNS} at most"):
        running_scales(np.ones((1, COLUMNS + 1), dtype=np.int64))


def test_stages_without_a_network_are_as_they_were() -> None:
    """The twin still makes what the C++ coder makes (test_tensors.py), and has no input more."""
    run = transformer.TransformerRun(Encoding(), Listening())
    for plain, led in zip(run.plain, run.led, strict=True):
        assert plain.others(1) == []
        assert len(led.first_weights) == len(plain.first_weights) + 1
        assert led.masks == plain.masks
