"""Headers that lie: no exception but the typed one, spans inside and disjoint, cost linear."""

from __future__ import annotations

import io
import json
import pickle
import struct
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch
from container_files import (
    METADATA,
    array,
    entry,
    ggmf,
    gguf,
    pair,
    safetensors_file,
    string,
    torch_zip,
    zip_of,
)
from hypothesis import given
from hypothesis import strategies as st

from nncodec.errors import ContainerFormatError
from nncodec.tensors.spans import Span, find_spans, read_container

FOUR = bytes(range(4))


def npy_file(header: str = "", data: bytes = bytes(24), version: bytes = b"\1\0") -> bytes:
    header = header or "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n"
    size = struct.pack("<H" if version[0] == 1 else "<I", len(header))
    return b"\x93NUMPY" + version + size + header.encode() + data


def saved_torch() -> bytes:
    file = io.BytesIO()
    torch.save({"a": torch.ones(2, 3), "b": [torch.ones(3, dtype=torch.float8_e4m3fn)]}, file)
    return file.getvalue()


def saved_npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.ones((2, 3), np.float32), b=np.zeros(3, np.int8))
    return file.getvalue()


SMALL = {
    "safetensors": safetensors_file(
        {"__metadata__": {"a": "b"}, "x": entry("F32", [1], 0, 4), "y": entry("I8", [2, 2], 4, 8)},
        FOUR * 2,
    ),
    "gguf": gguf([("x", 8, (32,), bytes(34)), ("y", 0, (2, 1), bytes(8))], METADATA, 16),
    "ggmf": ggmf([("x", 1, (2, 1), FOUR), ("y", 7, (32,), bytes(22))]),
    "npy": npy_file(),
    "npz": saved_npz(),
    "torch": saved_torch(),
}


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


@pytest.mark.parametrize("kind", SMALL)
def test_truncated_anywhere(kind: str) -> None:
    data = SMALL[kind]
    whole = check(data)
    assert len(whole) == (1 if kind == "npy" else 2)
    # The data of GGUF are padded to the alignment, and rwkv.cpp counts no tensors.
    needed = max(s.end for s in whole) if kind == "gguf" else len(data)
    complete = {whole[0].end: whole[:1], 24: []} if kind == "ggmf" else {}
    for size in range(needed):
        assert check(data[:size]) == complete.get(size, [])


@pytest.mark.parametrize("kind", SMALL)
def test_every_byte_changed(kind: str) -> None:
    data = SMALL[kind]
    ends = {s.end for s in check(data)}
    kept = 0
    for at in range(len(data)):
        for change in (0x01, 0x80, 0xFF):
            flipped = bytearray(data)
            flipped[at] ^= change
            kept += {s.end for s in check(bytes(flipped))} == ends
    assert 0 < kept < 3 * len(data)  # names and data may change, sizes may not


MAGICS = {
    "gguf": b"GGUF\3\0\0\0",
    "ggmf": struct.pack("<6I", 0x67676D66, 101, 0, 0, 0, 0),
    "npy": b"\x93NUMPY\1\0",
    "zip": b"PK\3\4",
}


@pytest.mark.parametrize("kind", MAGICS)
@given(rest=st.binary(max_size=300))
def test_anything_behind_a_magic(kind: str, rest: bytes) -> None:
    check(MAGICS[kind] + rest)


@given(rest=st.binary(max_size=100), counts=st.tuples(*[st.integers(0, 3)] * 2))
def test_anything_behind_the_counts_of_gguf(rest: bytes, counts: tuple[int, int]) -> None:
    check(MAGICS["gguf"] + struct.pack("<QQ", *counts) + rest)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.sampled_from(["F32", "I8", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "dtype", "shape", "data_offsets"]), inner)
    ),
    max_leaves=12,
)


@given(header=st.dictionaries(st.sampled_from(["x", "y", "__metadata__"]), JSON) | JSON)
def test_any_json_as_a_safetensors_header(header: object) -> None:
    check(safetensors_file(header, bytes(9)))


@given(text=st.binary(max_size=40))
def test_any_text_as_a_safetensors_header(text: bytes) -> None:
    check(safetensors_file(b"{" + text, bytes(9)))


@given(middle=st.text("{}()[]'dfs:, 019Tbr<\n", max_size=30))
def test_any_literal_as_an_npy_header(middle: str) -> None:
    check(npy_file("{'descr': '<f4', 'fortran_order': False, 'shape': (" + middle))
    check(npy_file(middle or " "))


OPCODES = [bytes((code,)) for code in b"}]()(uasebRQ\x81\x85\x86\x87\x88N\x93\x94t"]
STEPS = st.sampled_from([
    *OPCODES, b"K\0", b"K\2", b"h\0", b"h\1", b"q\0", b"q\1", b"X\1\0\0\0k",
    b"ctorch\nFloatStorage\n", b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000NK\2tQ",
])  # fmt: skip


@given(steps=st.lists(STEPS, max_size=40), tail=st.binary(max_size=9))
def test_any_pickle(steps: list[bytes], tail: bytes) -> None:
    check(torch_zip(b"\x80\2" + b"".join(steps) + b".", {"0": bytes(8)}))
    check(torch_zip(b"\x80\2" + b"".join(steps) + tail, {"0": bytes(8)}))


def tensors(**entries: object) -> bytes:
    return safetensors_file(entries, bytes(8))


def duplicate_key() -> bytes:
    one = json.dumps(entry("I8", [4], 0, 4))
    return safetensors_file(f'{{"x": {one}, "x": {one}}}'.encode(), bytes(4))


def length_of(size: int) -> bytes:
    return struct.pack("<Q", size) + b'{"x": 1}'


INT40 = ("x", 24, (40,), bytes(40))
INT8 = ("x", 24, (4,), FOUR)
HUGE = 1 << 62
SAFETENSORS = {
    "longer than the file": (length_of(9), "reach beyond"),
    "longest": (length_of(100_000_000), "reach beyond"),
    "not UTF-8": (safetensors_file(b'{"\xff": 1}'), "not UTF-8"),
    "not JSON": (safetensors_file(b"{nothing}"), "Expecting property name"),
    "two values": (safetensors_file(b"{}{}"), "Extra data"),
    "nested": (safetensors_file(b'{"x":' + b"[" * 10**5), "nested too deeply"),
    "same key": (duplicate_key(), "given twice"),
    "overflow": (safetensors_file(b'{"x": 1e999}'), "'1e999' is no size"),
    "NaN": (safetensors_file(b'{"x": NaN}'), "'NaN' is no size"),
    "float": (tensors(x=entry("I8", [4.0], 0, 4)), "'4.0' is no size"),
    "negative": (tensors(x=entry("I8", [-4], 0, 4)), "'-4' is no size"),
    "many digits": (safetensors_file(b'{"x": 1' + b"0" * 5000 + b"}"), "is no size"),
    "boolean": (tensors(x=entry("I8", [True], 0, 1)), "'x' lacks"),
    "no object": (tensors(x=[1]), "not described"),
    "no shape": (tensors(x={"dtype": "I8", "data_offsets": [0, 4]}), "lacks"),
    "dtype": (tensors(x=entry(["I8"], [4], 0, 4)), "lacks"),
    "three offsets": (
        tensors(x={"dtype": "I8", "shape": [4], "data_offsets": [0, 4, 8]}),
        "no begin and end",
    ),
    "backwards": (tensors(x=entry("I8", [4], 4, 0)), "no begin and end"),
    "shape": (tensors(x=entry("F32", [3], 0, 8)), "3 x F32 are not 8 bytes"),
    "huge shape": (tensors(x=entry("I8", [HUGE, HUGE], 0, 8)), "more than"),
    "huge and empty": (tensors(x=entry("I8", [HUGE, HUGE, 0], 0, 8)), "0 x I8 are not 8"),
    "beyond": (tensors(x=entry("I8", [9], 0, 9)), "is not inside"),
    "far beyond": (tensors(x=entry("??", [9], HUGE, HUGE)), "is not inside"),
    "overlap": (tensors(x=entry("I8", [4], 0, 4), y=entry("I8", [4], 3, 7)), "overlap"),
    "overlap with an unknown dtype": (
        tensors(x=entry("I8", [4], 0, 4), y=entry("F4", [8], 3, 7)),
        "overlap",
    ),
    "surrogate": (
        tensors(surrog=entry("I8", [4], 0, 4)).replace(b'"surrog"', b'"\\ud800"'),
        "Unicode",
    ),
}  # fmt: skip


def counts(tensors: int, pairs: int, rest: bytes = bytes(100)) -> bytes:
    return struct.pack("<4sIQQ", b"GGUF", 3, tensors, pairs) + rest


def nested_arrays(depth: int) -> bytes:
    value = b"\1"
    kind = 0
    for _ in range(depth):
        value, kind = array(kind, [value]), 9
    return value


GGUF = {
    "version 1": (gguf([INT8], version=1), "version 1"),
    "big-endian": (gguf([INT8], version=3 << 24), "version 50331648"),
    "tensors": (counts(1 << 63, 0), "cannot hold"),
    "pairs": (counts(0, 1 << 63), "cannot hold"),
    "key": (counts(0, 1, struct.pack("<Q", 1 << 63) + bytes(50)), "reach beyond"),
    "text value": (gguf([INT8], [pair("k", 8, struct.pack("<Q", 1 << 40))]), "reach beyond"),
    "numbers": (gguf([INT8], [pair("k", 9, struct.pack("<IQ", 12, HUGE))]), "reach beyond"),
    "texts": (gguf([INT8], [pair("k", 9, struct.pack("<IQ", 8, HUGE))]), "cannot hold"),
    "arrays": (gguf([INT8], [pair("k", 9, struct.pack("<IQ", 9, HUGE))]), "cannot hold"),
    "nested": (gguf([INT8], [pair("k", 9, nested_arrays(1000))]), "value type 9"),
    "value type": (gguf([INT8], [pair("k", 13, bytes(8))]), "value type 13"),
    "inner type": (gguf([INT8], [pair("k", 9, array(99, [bytes(12)]))]), "value type 99"),
    "same key": (gguf([INT8], [pair("k", 0, b"\0")] * 2), "'k' is given twice"),
    "key not UTF-8": (counts(0, 1, string(b"\xff") + bytes(50)), "not UTF-8"),
    "alignment 0": (gguf([INT8], [pair("general.alignment", 4, bytes(4))]), "multiple of 8"),
    "alignment 12": (gguf([INT8], alignment=12), "alignment 12"),
    "alignment of text": (gguf([INT8], [pair("general.alignment", 8, string("32"))]), "type 8"),
    "axes": (gguf([("x", 24, (1,) * 5, b"1")]), "5 axes"),
    "dims": (gguf([("x", 24, (HUGE, HUGE), FOUR)]), "more than"),
    "blocks": (gguf([("x", 8, (33,), bytes(68))]), "not whole Q8_0 blocks"),
    "offset": (gguf([INT8], offsets={"x": 8}), "no multiple of 32"),
    "far offset": (gguf([INT8], offsets={"x": HUGE}), "not inside"),
    "unknown far": (gguf([("x", 16, (256,), FOUR)], offsets={"x": HUGE}), "not inside"),
    "overlap": (gguf([INT40, ("y", 24, (4,), FOUR)], offsets={"y": 32}), "overlap"),
    "unknown overlap": (gguf([INT40, ("y", 16, (256,), FOUR)], offsets={"y": 32}), "overlap"),
    "same name": (gguf([INT8, INT8]), "two tensors are called 'x'"),
}  # fmt: skip
RWKV = {
    "llama.cpp's": (ggmf([], version=1), "version 1"),
    "no axis": (ggmf([("x", 0, (), FOUR)]), "0 axes"),
    "axes": (ggmf([("x", 0, (1,) * 5, FOUR)]), "5 axes"),
    "many axes": (ggmf([]) + struct.pack("<3I", 1 << 31, 1, 0), "axes"),
    "name": (ggmf([]) + struct.pack("<4I", 1, 1 << 31, 0, 1), "reach beyond"),
    "dims": (ggmf([("x", 0, (1 << 31,) * 4, FOUR)]), "more than"),
    "size": (ggmf([("x", 0, (2,), FOUR)]), "reach beyond"),
    "type": (ggmf([("x", 4, (2,), FOUR)]), "data type 4"),
    "old blocks": (ggmf([("x", 7, (32,), bytes(22))], version=100), "data type 7"),
    "rows": (ggmf([("x", 7, (33,), bytes(44))]), "not whole"),
    "same name": (ggmf([("x", 1, (2,), FOUR)] * 2), "two tensors"),
    "trailing": (ggmf([("x", 1, (2,), FOUR)]) + b"t", "reach beyond"),
}


def shaped(shape: str, fortran: str = "False", descr: str = "'<f4'") -> bytes:
    return npy_file(f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n")


NPY = {
    "version": (npy_file(version=b"\4\0"), "version 4.0"),
    "minor": (npy_file(version=b"\1\1"), "version 1.1"),
    "long header": (npy_file(" " * 10_001), "more than 10000"),
    "longer than the file": (npy_file(version=b"\2\0")[:10] + b"\xff\xff\0\0", "more than"),
    "cut": (npy_file()[:40], "reach beyond"),
    "code": (shaped("__import__('os').getcwd()"), "not what numpy writes"),
    "negative": (shaped("(-1,)"), "not what numpy writes"),
    "float": (shaped("(1e999,)"), "not what numpy writes"),
    "no tuple": (shaped("(6)"), "no tuple"),
    "list": (shaped("[6]"), "not what numpy writes"),
    "gap": (shaped("(6 6,)"), "not one of numbers"),
    "commas": (shaped("(,,)"), "not one of numbers"),
    "digits": (shaped(f"({'9' * 30},)"), "not one of numbers"),
    "product": (shaped(f"({HUGE}, {HUGE})"), "more than"),
    "too large": (shaped("(7,)"), "reach beyond"),
    "order": (shaped("(6,)", "Maybe"), "not what numpy writes"),
    "no shape": (npy_file("{'descr': '<f4', 'fortran_order': False}"), "not what numpy"),
}


def patched(data: bytes, magic: bytes, offset: int, layout: str, value: object) -> bytes:
    """The field at ``offset`` behind the first ``magic``."""
    out = bytearray(data)
    struct.pack_into(layout, out, data.index(magic) + offset, value)
    return bytes(out)


def resized(more: int) -> bytes:
    """Both headers say that a.npy has more bytes; they lie in b.npy's header."""
    data = NPZ
    for magic, at in ((LOCAL, 18), (LOCAL, 22), (CENTRAL, 20), (CENTRAL, 24)):
        data = patched(data, magic, at, "<I", len(npy_file()) + more)
    return data


NPZ = zip_of({"a.npy": npy_file(), "b.npy": npy_file()})
WIDE = patched(NPZ, b"PK\5\6", 16, "<I", 0xFFFFFFFF)
LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
ZIP = {
    "no end": (NPZ[:-1], "no end"),
    "trailing": (NPZ + b"t", "no end"),
    "end alone": (LOCAL + END, "no end"),
    "entries": (patched(NPZ, END, 10, "<H", 3), "several disks"),
    "disk": (patched(NPZ, END, 4, "<H", 1), "several disks"),
    "one entry": (patched(patched(NPZ, END, 8, "<H", 1), END, 10, "<H", 1), "left behind 1"),
    "many entries": (patched(patched(NPZ, END, 8, "<H", 999), END, 10, "<H", 999), "cannot hold"),
    "directory": (patched(NPZ, END, 12, "<I", 0xFFFFFFFE), "beyond"),
    "offset": (patched(NPZ, END, 16, "<I", 10), "zip directory: .* reach beyond"),
    "no zip64": (WIDE, "no zip64 locator"),
    "zip64": (
        WIDE[:-22] + struct.pack("<4sIQI", b"PK\6\7", 0, HUGE, 1) + WIDE[-22:],
        "no zip64 end",
    ),
    "entry": (patched(NPZ, CENTRAL, 0, "<I", 1), "no entry"),
    "local offset": (patched(NPZ, CENTRAL, 42, "<I", NPZ.rindex(LOCAL)), "another one"),
    "local far": (patched(NPZ, CENTRAL, 42, "<I", 0xFFFFFFF0), "beyond"),
    "local zip64": (patched(NPZ, CENTRAL, 42, "<I", 0xFFFFFFFF), "no zip64 sizes"),
    "name": (patched(NPZ, CENTRAL, 46, "<c", b"c"), "another one"),
    "same names": (
        patched(patched(NPZ, b"b.npy", 0, "<c", b"a"), b"b.npy", 0, "<c", b"a"),
        "two members are called 'a.npy'",
    ),
    "method": (patched(NPZ, LOCAL, 8, "<H", 8), "another one"),
    "encrypted": (patched(NPZ, LOCAL, 6, "<H", 1), "another one"),
    "local size": (patched(NPZ, LOCAL, 18, "<I", 5), "disagree"),
    "stored size": (
        patched(patched(NPZ, LOCAL, 18, "<I", 5), CENTRAL, 20, "<I", 5),
        "stored, but",
    ),
    "long name": (patched(NPZ, CENTRAL, 28, "<H", 0xFFFF), "beyond"),
    "long extra": (patched(NPZ, LOCAL, 28, "<H", 0xFFFF), "beyond"),
    "overlap": (resized(1), "'b.npy' and 'a.npy' overlap"),
    "UTF-8": (
        patched(patched(NPZ, CENTRAL, 8, "<H", 0x800), CENTRAL, 46, "<B", 0xFF),
        "not UTF-8",
    ),
    "no array": (zip_of({"a.npy": b"text"}), "reach beyond"),
    "other array": (zip_of({"a.npy": b"text" * 9}), "does not start"),
}  # fmt: skip


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def storage(key: str = "0", kind: str = "FloatStorage", elements: int = 6) -> bytes:
    head = b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu")
    return head + number(elements) + b"tQ"


def tensor(offset: int, shape: list[int], stride: list[int], on: bytes | None = None) -> bytes:
    sizes = b"".join(b"(" + b"".join(map(number, n)) + b"t" for n in (shape, stride))
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + (on or storage()) + number(offset) + sizes
    return call + b"\x89Nt" + b"R"


def checkpoint(value: bytes, data: bytes = bytes(24)) -> bytes:
    return torch_zip(b"\x80\2" + value + b".", {"0": data})


TORCH = {
    "empty": (torch_zip(b"", {}), "opcode b''"),
    "no stop": (torch_zip(b"\x80\2}", {}), "opcode b''"),
    "other opcode": (checkpoint(b"}2"), "opcode b'2'"),
    "digits": (checkpoint(b"L" + b"9" * 5000 + b"L\n"), "opcode b'L'"),
    "protocol 0": (torch_zip(pickle.dumps([9], 0), {}), "not torch's"),
    "cut text": (checkpoint(b"X\xff\xff\0\0text"), "BINUNICODE at 2"),
    "cut number": (torch_zip(b"\x80\2J\0", {}), "BININT at 2"),
    "bad text": (checkpoint(b"X\1\0\0\0\xff"), "BINUNICODE at 2"),
    "long name": (checkpoint(b"c" + b"m" * 2000 + b"\nname\n"), "GLOBAL at 2"),
    "long names": (checkpoint(text("m" * 1000) + text("n" * 100) + b"\x93"), "too long a name"),
    "no names": (checkpoint(b"K\0K\0\x93"), "not named by text"),
    "empty stack": (checkpoint(b"R"), "stack is empty"),
    "no mark": (checkpoint(b"t"), "no mark"),
    "memo": (checkpoint(b"h\7"), "noted as 7"),
    "odd items": (checkpoint(b"}(K\0u"), "key without a value"),
    "no member": (checkpoint(storage("1")), "no member"),
    "size": (checkpoint(storage(elements=7)), "24 bytes are not 7"),
    "negative": (checkpoint(storage(elements=-1)), "24 bytes are not -1"),
    "untyped size": (
        checkpoint(storage().replace(b"ctorch\nFloat", b"ctorch.storage\nUntyped")),
        "24 bytes are not 6",
    ),
    "two dtypes": (checkpoint(b"(" + storage() + storage(kind="IntStorage") + b"t"), "two ways"),
    "beyond": (checkpoint(b"}" + text("w") + tensor(3, [2, 2], [2, 1]) + b"s"), "'w' reaches"),
    "two pickles": (zip_of({"a/data.pkl": b"", "b/data.pkl": b""}), "not the only one"),
    "compressed": (zip_of({"a/data.pkl": bytes(99)}, compression=8), "is compressed"),
}

ATTACKS = {
    f"{container}: {name}": attack
    for container, attacks in {
        "safetensors": SAFETENSORS, "gguf": GGUF, "rwkv.cpp": RWKV,
        "npy": NPY, "zip": ZIP, "torch": TORCH,
    }.items()
    for name, attack in attacks.items()
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name: str) -> None:
    data, message = ATTACKS[name]
    with pytest.raises(ContainerFormatError, match=message) as caught:
        read_container(memoryview(data))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert find_spans(memoryview(data)) == []


def test_header_above_the_limit_is_not_looked_at() -> None:
    data = struct.pack("<Q", 100_000_001) + b"{" + bytes(100_000_001)
    assert find_spans(memoryview(data)) == []


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        (-1, [2], [1]),
        (0, [-2], [1]),
        (0, [2], [-1]),
        (0, [2, 3], [1]),
        (0, [2] * 65, [1] * 65),
        (0, [4], [2]),
        (0, [2**31 - 1], [0]),
        (2**31 - 1, [2**31 - 1], [2]),
    ],
)
def test_torch_tensors_that_are_not_dense_leave_rows(
    offset: int, shape: list[int], stride: list[int]
) -> None:
    data = checkpoint(b"}" + text("w") + tensor(offset, shape, stride) + b"s")
    assert [(s.name, s.shape) for s in check(data)] == [("archive/data/0@0", (6,))]


def test_torch_circles_end() -> None:
    circle = b"}q\0" + text("me") + b"h\0s" + text("w") + tensor(0, [6], [1]) + b"s"
    assert [s.name for s in check(checkpoint(circle))] == ["w"]


MANY, LONG = 200_000, 4_000_000
KEY = "k" * LONG
EXPENSIVE: dict[str, Callable[[], bytes]] = {
    "product of a shape": lambda: tensors(x=entry("I8", [10**18] * 300_000, 0, 8)),
    "long key": lambda: checkpoint(
        b"}" + text("path") + b"}" + text(KEY) + b"q\0Ns" + b"h\0]s" * 100_000 + b"s"
    ),
    "long global": lambda: checkpoint(text(KEY) + b"q\0" + b"h\0h\0\x93" * 300),
    "long storage": lambda: checkpoint(
        storage(KEY) + storage(KEY)[:-1] + b"q\0Q" + b"h\0Q" * 50_000
    ),
    "shared arguments": lambda: checkpoint(
        b"(" + b"N" * MANY + b"tq\0cm\nn\nq\1" + b"h\1h\0R" * (MANY // 5)
    ),
    "shared state": lambda: checkpoint(b"](" + b"N" * MANY + b"eq\0" + b"}h\0b" * (MANY // 4)),
    "shared shape": lambda: checkpoint(
        b"(" + b"K\1" * MANY + b"tq\0" + storage() + b"q\1ctorch._utils\n_rebuild_tensor_v2\nq\2"
        + b"h\2(h\1K\0h\0h\0tR" * (MANY // 12)
    ),
    "doubled": lambda: checkpoint(b"]q\0" + b"h\0h\0\x86q\0" * 26),
    "deep": lambda: checkpoint(b"]" * (MANY // 2) + b"a" * (MANY // 2 - 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPENSIVE)
def test_cost_is_linear(name: str) -> None:
    """Processor time and memory far above what these take, far below any square."""
    data = EXPENSIVE[name]()
    start = time.process_time()
    check(data)
    assert time.process_time() - start < 5
    tracemalloc.start()
    try:
        check(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200 * len(data) + 1_000_000


@pytest.mark.parametrize("kind", ["tensors", "pairs", "text value", "numbers", "texts"])
def test_claims_allocate_nothing(kind: str) -> None:
    data = memoryview(GGUF[kind][0])
    tracemalloc.start()
    try:
        find_spans(data)
        assert tracemalloc.get_traced_memory()[1] < 50_000
    finally:
        tracemalloc.stop()
