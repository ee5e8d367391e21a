"""TensorFlow Lite: spans of models written by hand and of real ones; offsets that lie."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from container_files import Flatbuffer, LiteTensor, tflite
from hypothesis import given
from hypothesis import strategies as st

import nncodec
from nncodec.errors import ContainerFormatError
from nncodec.tensors.spans import Dtype, Span, find_spans, read_container

F32, F16, I32, U8, STRING, BOOL, I8, RESOURCE, I4, BF16 = 0, 1, 2, 3, 5, 6, 9, 13, 17, 18
RNG = np.random.default_rng(7)
CASES = [  # type, its dtype, shape, bytes
    (F32, Dtype.F32, (2, 3), 24),
    (F16, Dtype.F16, (1, 3, 3, 5), 90),
    (I32, Dtype.I32, (5,), 20),
    (U8, Dtype.U8, (4, 2), 8),
    (4, Dtype.I64, (), 8),
    (BOOL, Dtype.BOOL, (3,), 3),
    (7, Dtype.I16, (3,), 6),
    (I8, Dtype.I8, (4, 3, 3, 2), 72),
    (10, Dtype.F64, (1, 1), 8),
    (12, Dtype.U64, (1,), 8),
    (15, Dtype.U32, (2,), 8),
    (16, Dtype.U16, (2,), 4),
    (I4, Dtype.I4, (3, 3), 5),
    (BF16, Dtype.BF16, (2, 2), 8),
    (STRING, None, (2,), 20),
    (RESOURCE, None, (), 4),
]


def check(data: bytes) -> list[Span]:
    """``find_spans``, which must not raise, and what it promises of any bytes."""
    spans = find_spans(memoryview(data))
    end = 0
    for span in spans:
        assert end <= span.begin < span.end <= len(data)
        assert span.dtype.size(span.elements) == span.end - span.begin
        assert span.rows * span.cols == span.elements > 0
        end = span.end
    assert len({s.name for s in spans}) == len(spans)
    return spans


def found(data: bytes) -> dict[str, tuple[Dtype, tuple[int, ...], bytes]]:
    spans = read_container(memoryview(data))
    assert spans == check(data)
    return {s.name: (s.dtype, s.shape, data[s.begin : s.end]) for s in spans}


@pytest.mark.parametrize("outside", [False, True])
def test_types(outside: bool) -> None:
    raw = [RNG.bytes(size) for *_, size in CASES]
    tensors = [LiteTensor(f"t{k}", k, shape, i + 1) for i, (k, _, shape, _) in enumerate(CASES)]
    behind = {i + 1: part for i, part in enumerate(raw)} if outside else {}
    data = tflite([tensors], [None, *raw], behind) + b"trailing"
    assert found(data) == {
        f"t{k}": (dtype, shape, part)
        for (k, dtype, shape, _), part in zip(CASES, raw, strict=True)
        if dtype
    }


def test_buffers_without_data_and_shared_ones() -> None:
    """One buffer of two tensors is the first one's, in whatever subgraph the second is."""
    tensors = [
        LiteTensor("input", F32, (1, 9), 0),
        LiteTensor("empty", F32, (0,), 1),
        LiteTensor("w", I8, (2, 3), 2),
        LiteTensor("same w", I8, (6,), 2),
    ]
    data = tflite([tensors, [LiteTensor("again", I8, (3, 2), 2)]], [None, b"", b"abcdef"])
    assert found(data) == {"w": (Dtype.I8, (2, 3), b"abcdef")}


def test_names_may_repeat_and_lack() -> None:
    tensors = [LiteTensor(name, I8, (1,), i) for i, name in enumerate(["x", "x", "", "\u00e4"])]
    data = tflite([tensors], [b"a", b"b", b"c", b"d"])
    assert {n: raw for n, (*_, raw) in found(data).items()} == {
        "x": b"a", "x@1": b"b", "": b"c", "\u00e4": b"d",
    }  # fmt: skip


def test_sparse_tensors_are_rows_of_what_they_hold() -> None:
    data = tflite([[LiteTensor("x", F32, (100, 100), 0, sparse=True)]], [bytes(range(14))])
    assert found(data) == {"x": (Dtype.F32, (3,), bytes(range(12)))}


def test_buffers_without_tensors_stay_bytes() -> None:
    assert found(tflite([[]], [b"metadata"])) == {}
    assert found(tflite([], [])) == {}


X = LiteTensor("x", I8, (2, 2), 1)
SMALL = tflite([[X, LiteTensor("y", F16, (3,), 2)]], [None, b"abcd", b"efghij"])


def small(**changes: object) -> bytes:
    return tflite([[X._replace(**changes)]], [None, b"abcd"])


def at_root(offset: int) -> bytes:
    return struct.pack("<I", offset) + SMALL[4:]


def vtable(layout: str, *values: int) -> bytes:
    """A root table behind a vtable of those values."""
    head = struct.pack(layout, *values)
    return struct.pack("<I4s", 8 + len(head), b"TFL3") + head + struct.pack("<i", len(head))


ATTACKS = {
    "magic alone": (b"\0\0\0\0TFL3", "a vtable that is none"),
    "cut": (b"\x06\0\0\0TFL3", "reach beyond"),
    "root": (at_root(0xFFFFFFF0), "an offset leads to"),
    "vtable before the file": (vtable("<HH", 4, 4)[:12] + struct.pack("<i", 99), "leads to -"),
    "vtable of 2": (vtable("<HH", 2, 4), "a vtable that is none"),
    "odd vtable": (vtable("<HH", 5, 4), "a vtable that is none"),
    "long vtable": (vtable("<HH", 0xFFFE, 4), "reach beyond"),
    "table of 3": (vtable("<HH", 4, 3), "a vtable that is none"),
    "long table": (vtable("<HH", 4, 999), "reach beyond"),
    "far field": (vtable("<HH3H", 10, 4, 0, 0, 60000), "leads to"),
    "no such buffer": (small(buffer=2), "buffer 2 is not one of 2"),
    "size": (small(shape=(2, 3)), "'x': 6 x I8 are not 4 bytes"),
    "negative": (small(shape=(-2, -2)), r"a shape of \(-2, -2\) cannot"),
    "zero": (small(shape=(0, 4)), r"a shape of \(0, 4\) cannot"),
    "product": (small(shape=(2**31 - 1,) * 4), "more than"),
    "axes": (small(shape=(1,) * 65), "more than 64"),
    "name": (small(name=b"\xff"), "not UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name: str) -> None:
    data, message = ATTACKS[name]
    with pytest.raises(ContainerFormatError, match=message) as caught:
        read_container(memoryview(data))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert find_spans(memoryview(data)) == []


def test_outside_data_must_lie_in_the_file_and_alone() -> None:
    tensors = [LiteTensor("x", I8, (4,), 0), LiteTensor("y", I8, (4,), 1)]
    data = tflite([tensors], [None, None], {0: b"abcd", 1: b"efgh"})
    assert len(found(data)) == 2
    at = data.index(struct.pack("<QQ", len(data) - 4, 4))
    for offset, message in [(len(data) - 8, "overlap"), (len(data) - 3, "not inside")]:
        with pytest.raises(ContainerFormatError, match=message):
            found(data[:at] + struct.pack("<Q", offset) + data[at + 8 :])
    with pytest.raises(ContainerFormatError, match="not inside"):
        found(data[:at] + struct.pack("<QQ", 2**64 - 1, 2**64 - 1) + data[at + 16 :])


def test_truncated_anywhere() -> None:
    whole = check(SMALL)
    assert [s.name for s in whole] == ["x", "y"]
    assert whole[-1].end == len(SMALL)
    for size in range(len(SMALL)):
        assert check(SMALL[:size]) == []


def test_every_byte_changed() -> None:
    ends = {s.end for s in check(SMALL)}
    kept = 0
    for at in range(len(SMALL)):
        for change in (0x01, 0x04, 0x80, 0xFF):
            flipped = bytearray(SMALL)
            flipped[at] ^= change
            kept += {s.end for s in check(bytes(flipped))} == ends
    assert 0 < kept < 4 * len(SMALL)


@given(rest=st.binary(max_size=300))
def test_anything_behind_the_magic(rest: bytes) -> None:
    check(b"\x10\0\0\0TFL3" + rest)


@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 4), st.integers(-40, 40)), max_size=3))
def test_offsets_moved(moves: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL)
    for at, step in moves:
        value = struct.unpack_from("<I", data, at)[0]
        struct.pack_into("<I", data, at, (value + step) & 0xFFFFFFFF)
    check(bytes(data))


MANY = 50_000


def started() -> Flatbuffer:
    out = Flatbuffer()
    out.data += b"\0\0\0\0TFL3"
    return out


def references(out: Flatbuffer, member: Callable[[], int]) -> int:
    """A vector of ``MANY`` references to one and the same table."""
    at = out.vector(MANY, bytes(4 * MANY))
    target = member()
    for i in range(MANY):
        out.refer(at + 4 + 4 * i, target)
    return at


def shared_subgraph() -> bytes:
    out = started()

    def subgraph() -> int:
        return out.table({0: lambda: references(out, lambda: out.table({}))})

    none = [lambda: out.table({})]
    model = {2: lambda: references(out, subgraph), 4: lambda: out.tables(none)}
    out.refer(0, out.table(model))
    return bytes(out.data)


def shared_name() -> bytes:
    """Many tensors of a byte each that have one name, which is long."""
    out, places = started(), []

    def tensor(number: int) -> int:
        at = out.table({1: b"\x09", 2: struct.pack("<I", number), 3: lambda: len(out.data)})
        places.append(at + 9)
        return at

    def graph() -> int:
        return out.table({0: lambda: out.tables([lambda i=i: tensor(i) for i in range(MANY)])})

    def buffers() -> int:
        return out.tables([lambda: out.table({0: lambda: out.vector(1, b"x")})] * MANY)

    out.refer(0, out.table({2: lambda: out.tables([graph]), 4: buffers}))
    name = out.vector(4_000_000, b"n" * 4_000_000)
    for place in places:
        out.refer(place, name)
    return bytes(out.data)


def shared_buffer() -> bytes:
    out = started()

    def buffers() -> int:
        return references(out, lambda: out.table({0: lambda: out.vector(1, b"x")}))

    out.refer(0, out.table({4: buffers}))
    return bytes(out.data)


@pytest.mark.parametrize("make", [shared_subgraph, shared_name, shared_buffer])
def test_cost_is_linear(make: Callable[[], bytes]) -> None:
    data = make()
    with pytest.raises(ContainerFormatError, match=r"again and again|overlap"):
        read_container(memoryview(data))
    start = time.process_time()
    check(data)
    assert time.process_time() - start < 5
    tracemalloc.start()
    try:
        check(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100 * len(data) + 1_000_000


@pytest.mark.parametrize("field", [2, 4])
def test_claims_allocate_nothing(field: int) -> None:
    out = started()
    out.refer(0, out.table({field: lambda: out.vector(2**32 - 1, b"")}))
    data = memoryview(bytes(out.data))
    tracemalloc.start()
    try:
        assert find_spans(data) == []
        assert tracemalloc.get_traced_memory()[1] < 50_000
    finally:
        tracemalloc.stop()


@pytest.mark.weights
@pytest.mark.parametrize(
    ("name", "elements"),
    [
        ("face_detection_full_range", {Dtype.F16: 514_069, Dtype.I32: 70}),
        ("mlperf_ad01_int8", {Dtype.I8: 264_192, Dtype.I32: 1_672}),
        ("mlperf_resnet_large_fp32", {Dtype.F32: 480_330, Dtype.I32: 2}),
        ("mlperf_resnet_large_int8", {Dtype.I8: 479_480, Dtype.I32: 852}),
        ("mlperf_vww96_int8", {Dtype.I8: 208_112, Dtype.I32: 2_740}),
    ],
)
def test_samples(weights: Path, name: str, elements: dict[Dtype, int]) -> None:
    data = (weights / f"{name}.tflite").read_bytes()
    counts: Counter[Dtype] = Counter()
    for span in read_container(memoryview(data)):
        counts[span.dtype] += span.elements
        if span.dtype == Dtype.F32:
            assert np.isfinite(np.frombuffer(data[span.begin : span.end], "<f4")).all()
    assert counts == elements


def test_tensors_out_of_an_archive() -> None:
    tensors = [LiteTensor("x", I8, (2, 3), 0), LiteTensor("y", I8, (4,), 1)]
    data = tflite([tensors], [b"abcdef", b"1234"])
    with nncodec.weights.open(io.BytesIO(nncodec.compress(data, 1))) as file:
        assert file.container == "TensorFlow Lite"
        assert file.keys() == ["x", "y"]
        assert file["x"].tobytes() == b"abcdef"
        assert file["x"].shape == (2, 3)
        assert file.get_slice("y")[1:3].tobytes() == b"23"
