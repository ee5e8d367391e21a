"""Where tensors lie in files: every span's bytes are the array's, for all containers and dtypes."""

from __future__ import annotations

import io
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from container_files import (
    METADATA,
    entry,
    ggmf,
    gguf,
    safetensors_file,
    torch_zip,
    zip_of,
)
from helpers import python_fails, run_python

from nncodec.errors import ContainerFormatError
from nncodec.tensors import dtypes
from nncodec.tensors.spans import Dtype, Span, find_spans, read_container

CODES = {
    "F64": 1, "F32": 2, "F16": 3, "BF16": 4, "F8_E4M3": 5, "F8_E5M2": 6, "I8": 7, "U8": 8,
    "I16": 9, "U16": 10, "I32": 11, "U32": 12, "I64": 13, "U64": 14, "BOOL": 15, "I4": 16,
    "F8_E4M3FNUZ": 17, "F8_E5M2FNUZ": 18, "F8_E8M0": 19, "F4": 20, "F6_E2M3": 21, "F6_E3M2": 22,
    "C64": 23,
    "Q4_0": 32, "Q4_1": 33, "Q5_0": 34, "Q5_1": 35, "Q8_0": 36, "Q4_K": 37, "Q5_K": 38, "Q6_K": 39,
}  # fmt: skip
NUMPY = {
    "f8": Dtype.F64, "f4": Dtype.F32, "f2": Dtype.F16, "?": Dtype.BOOL,
    "i1": Dtype.I8, "u1": Dtype.U8, "i2": Dtype.I16, "u2": Dtype.U16,
    "i4": Dtype.I32, "u4": Dtype.U32, "i8": Dtype.I64, "u8": Dtype.U64, "c8": Dtype.C64,
}  # fmt: skip
TORCH = {
    torch.float64: Dtype.F64, torch.float32: Dtype.F32, torch.float16: Dtype.F16,
    torch.bfloat16: Dtype.BF16, torch.float8_e4m3fn: Dtype.F8_E4M3,
    torch.float8_e5m2: Dtype.F8_E5M2, torch.int8: Dtype.I8, torch.uint8: Dtype.U8,
    torch.int16: Dtype.I16, torch.uint16: Dtype.U16, torch.int32: Dtype.I32,
    torch.uint32: Dtype.U32, torch.int64: Dtype.I64, torch.uint64: Dtype.U64,
    torch.bool: Dtype.BOOL, torch.complex64: Dtype.C64,
    torch.float8_e4m3fnuz: Dtype.F8_E4M3FNUZ, torch.float8_e5m2fnuz: Dtype.F8_E5M2FNUZ,
    torch.float8_e8m0fnu: Dtype.F8_E8M0,
}  # fmt: skip
SHAPES: list[tuple[int, ...]] = [(), (7,), (3, 5), (2, 1, 3, 2), (4, 1)]
Array = npt.NDArray[np.generic]


def random_array(dtype: str, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Any bits, NaN among them, in any dtype."""
    rng = np.random.default_rng(seed)
    if dtype == "?":
        return rng.integers(0, 2, shape).astype(bool)
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(rng.bytes(size), dtype).reshape(shape)


def torch_bytes(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def random_tensor(dtype: torch.dtype, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    raw = torch.from_numpy(random_array("u1", (*shape, dtype.itemsize), seed).copy())
    return (raw[..., 0] > 99) if dtype is torch.bool else raw.view(dtype).reshape(shape)


def spans_of(data: bytes) -> dict[str, Span]:
    """By name; both ways in agree, and begins ascend."""
    spans = read_container(memoryview(data))
    assert spans == find_spans(memoryview(data))
    assert spans == sorted(spans, key=lambda s: s.begin)
    return {s.name: s for s in spans}


def bytes_of(data: bytes, span: Span) -> bytes:
    return data[span.begin : span.end]


def saved(value: object, **options: int) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def test_codes_never_change() -> None:
    assert {d.name: d.value for d in Dtype} == CODES
    assert Dtype(32) is Dtype.Q4_0
    table = re.findall(r"(\d+) ([A-Z]\w+)", dtypes.__doc__ or "")
    assert {name: int(code) for code, name in table} == CODES


def test_bytes_of_elements() -> None:
    sizes = {Dtype.F32: 16, Dtype.BF16: 8, Dtype.I4: 2}
    assert {d: d.size(4) for d in sizes} == sizes
    assert Dtype.I4.size(5) == 3
    assert [d.size(512) for d in (Dtype.Q5_1, Dtype.Q6_K)] == [16 * 24, 2 * 210]


@pytest.mark.parametrize(
    ("shape", "matrix"),
    [
        ((), (1, 1)),
        ((9,), (1, 9)),
        ((3, 5), (3, 5)),
        ((2, 3, 5), (6, 5)),
        ((6, 5, 1, 1), (6, 5)),  # a convolution of size one
        ((7, 1), (1, 7)),
        ((1, 1), (1, 1)),
    ],
)
def test_matrix_view(shape: tuple[int, ...], matrix: tuple[int, int]) -> None:
    span = Span("x", Dtype.I8, shape, 0, 1)
    assert (span.rows, span.cols) == matrix


def test_safetensors_of_numpy() -> None:
    arrays = {f"{d} {s}": random_array(d, s, i) for i, s in enumerate(SHAPES) for d in NUMPY}
    data = safetensors.numpy.save(
        {**arrays, "empty": np.zeros((3, 0), np.float32)}, metadata={"a": "\u00e4"}
    )
    spans = spans_of(data)
    assert spans.keys() == arrays.keys()
    for name, a in arrays.items():
        found = spans[name]
        assert (found.dtype, found.shape) == (NUMPY[name.split()[0]], a.shape)
        assert bytes_of(data, found) == a.tobytes()


def test_safetensors_of_torch() -> None:
    tensors = {str(d): random_tensor(d, (3, 5), i) for i, d in enumerate(TORCH)}
    data = safetensors.torch.save(tensors)
    spans = spans_of(data)
    assert {n: s.dtype for n, s in spans.items()} == {str(d): t for d, t in TORCH.items()}
    assert {n: bytes_of(data, s) for n, s in spans.items()} == {
        n: torch_bytes(t) for n, t in tensors.items()
    }


def test_safetensors_parts_that_are_no_tensor_stay_out() -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "late": entry("U8", [2], 9, 11),
        "four bits": entry("U4", [4], 2, 4),
        "early": entry("I16", [1], 0, 2),
    }
    data = safetensors_file(header, b"aabb-hole-ccTRAILING")
    start = data.index(b"aabb")
    assert read_container(memoryview(data)) == [
        Span("early", Dtype.I16, (1,), start, start + 2),
        Span("late", Dtype.U8, (2,), start + 9, start + 11),
    ]


def test_safetensors_dtypes_of_parts_of_a_byte() -> None:
    header = {
        "a": entry("F4", [3, 4], 0, 6),
        "b": entry("F6_E2M3", [8], 6, 12),
        "c": entry("F6_E3M2", [2, 2], 12, 15),
        "d": entry("F8_E8M0", [1], 15, 16),
    }
    found = spans_of(safetensors_file(header, bytes(16)))
    assert {n: (s.dtype, s.end - s.begin) for n, s in found.items()} == {
        "a": (Dtype.F4, 6),
        "b": (Dtype.F6_E2M3, 6),
        "c": (Dtype.F6_E3M2, 3),
        "d": (Dtype.F8_E8M0, 1),
    }


def test_safetensors_that_share_their_bytes() -> None:
    """Two names of one range are one span; of a dtype that is known, the first one's."""
    header = {
        "unknown": entry("Q9", [4], 0, 8),
        "tied": entry("F32", [2, 1], 0, 8),
        "head": entry("F32", [1, 2], 0, 8),
        "empty": entry("F32", [0], 4, 4),
        "last": entry("I8", [1], 8, 9),
    }
    found = spans_of(safetensors_file(header, bytes(9)))
    assert {n: s.shape for n, s in found.items()} == {"tied": (2, 1), "last": (1,)}


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", NUMPY)
def test_npy(dtype: str, order: str, version: tuple[int, int]) -> None:
    for shape in SHAPES:
        a = np.asarray(random_array(dtype, shape), order=order)
        file = io.BytesIO()
        np.lib.format.write_array(file, a, version)
        (found,) = read_container(memoryview(file.getvalue() + b"tail"))
        in_file = a if a.flags.c_contiguous else a.T
        assert (found.name, found.dtype, found.shape) == ("array", NUMPY[dtype], in_file.shape)
        assert bytes_of(file.getvalue(), found) == in_file.tobytes()


@pytest.mark.parametrize(
    "a",
    [
        np.zeros(3, ">f4"),
        np.zeros(3, [("x", "<f4"), ("y", "i1")]),
        np.array([None]),
        np.zeros((0, 3), np.float32),
        np.zeros(3, np.complex128),
    ],
    ids=["big-endian", "structured", "object", "empty", "complex"],
)
def test_npy_that_stays_bytes(a: Array) -> None:
    file = io.BytesIO()
    np.save(file, a)
    assert read_container(memoryview(file.getvalue())) == []


ARRAYS = {
    "weight": random_array("f4", (3, 5)),
    "layer/bias": random_array("f2", (7,)),
    "steps": random_array("i8", ()),
}


def npy(a: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, a)
    return file.getvalue()


class Pipe(io.RawIOBase):
    """Cannot seek, so zipfile writes sizes behind each member."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, part: bytes) -> int:  # type: ignore[override]
        self.data += bytes(part)
        return len(part)


def piped_npz() -> bytes:
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        for name, a in ARRAYS.items():
            archive.writestr(f"{name}.npy", npy(a))
    return pipe.data


def saved_npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, **ARRAYS)
    return file.getvalue()


def commented_npz() -> bytes:
    file = io.BytesIO(saved_npz())
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"PK\5\6 is no end" * 9
    return file.getvalue()


def wide_npz() -> bytes:
    """Zip64 records and fields everywhere: zipfile believes that small is large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile, "ZIP64_LIMIT", 16)
        patch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
        data = saved_npz()
    assert b"PK\6\6" in data
    return data


@pytest.mark.parametrize("make", [saved_npz, piped_npz, commented_npz, wide_npz])
def test_npz(make: object) -> None:
    data = make()  # type: ignore[operator]
    spans = spans_of(data)
    assert {n: bytes_of(data, s) for n, s in spans.items()} == {
        n: a.tobytes() for n, a in ARRAYS.items()
    }
    assert {n: s.shape for n, s in spans.items()} == {n: a.shape for n, a in ARRAYS.items()}


def test_npz_members_that_stay_bytes() -> None:
    file = io.BytesIO()
    np.savez_compressed(file, **ARRAYS)
    assert read_container(memoryview(file.getvalue())) == []
    file = io.BytesIO(saved_npz())
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deflated.npy", npy(np.zeros(99)))
        archive.writestr("readme", "not an array", zipfile.ZIP_STORED)
    assert spans_of(file.getvalue()).keys() == ARRAYS.keys()


def test_encrypted_members_stay_bytes() -> None:
    data = bytearray(zip_of({"a.npy": npy(np.zeros(3)), "b.npy": npy(np.ones(3))}))
    central = data.index(b"PK\1\2")
    data[6] |= 1  # the flags of a.npy, in both headers
    data[central + 8] |= 1
    assert spans_of(bytes(data)).keys() == {"b"}


def test_other_zips_are_no_container() -> None:
    with pytest.raises(ContainerFormatError, match="holds no tensors"):
        read_container(memoryview(zip_of({"letter.txt": b"dear"})))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_torch_state_dict(protocol: int) -> None:
    tensors = {str(d): random_tensor(d, (3, 5), i) for i, d in enumerate(TORCH)}
    data = saved(tensors, pickle_protocol=protocol)
    spans = spans_of(data)
    assert {n: s.dtype for n, s in spans.items()} == {str(d): t for d, t in TORCH.items()}
    for name, tensor in tensors.items():
        assert bytes_of(data, spans[name]) == torch_bytes(tensor)
        assert spans[name].shape == (3, 5)


def test_torch_module_and_optimizer() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(4, 3)).sum().backward()
    adam.step()
    data = saved({"model": model.state_dict(), "adam": adam.state_dict(), "lr": [0.1, (1, None)]})
    spans = spans_of(data)
    expected = {f"model.{n}": t for n, t in model.state_dict().items()}
    for i, state in adam.state_dict()["state"].items():
        expected |= {f"adam.state.{i}.{n}": t for n, t in state.items()}
    assert {n: bytes_of(data, s) for n, s in spans.items()} == {
        n: torch_bytes(t) for n, t in expected.items()
    }
    whole = spans_of(saved(model))
    assert "_modules.0._parameters.weight" in whole
    assert len(whole) == 7


def test_torch_axes_in_file_order() -> None:
    image = torch.arange(120.0).reshape(2, 3, 4, 5).to(memory_format=torch.channels_last)
    data = saved({"t": torch.arange(6.0).reshape(2, 3).T, "image": image})
    spans = spans_of(data)
    assert {n: s.shape for n, s in spans.items()} == {"t": (2, 3), "image": (2, 4, 5, 3)}
    assert bytes_of(data, spans["image"]) == torch_bytes(image.permute(0, 2, 3, 1))


def test_torch_storage_is_covered_once() -> None:
    """Tied, overlapping, expanded and unnamed tensors, and rows for the rest of a storage."""
    base = torch.arange(20, dtype=torch.int16)
    value = {
        "cut": base[4:8],
        "tied": base[4:8],
        "over": base[6:10],
        "every other": base[10:20:2],
        "constant": torch.ones(1).expand(5),
        "empty": torch.zeros(0),
        "pair": (torch.ones(2), [torch.zeros(1)]),
    }
    data = saved(value)
    spans = spans_of(data)
    storage = {n: s for n, s in spans.items() if s.dtype is Dtype.I16}
    assert [(n, s.shape) for n, s in storage.items()] == [
        ("archive/data/0@0", (4,)),
        ("cut", (4,)),
        ("archive/data/0@16", (12,)),
    ]
    assert b"".join(bytes_of(data, s) for s in storage.values()) == torch_bytes(base)
    assert spans.keys() - storage.keys() == {"archive/data/1@0", "pair.0", "pair.1.0"}
    assert list(spans_of(saved(torch.ones(3)))) == ["archive/data/0@0"]


def test_torch_names_are_unique() -> None:
    data = saved({"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}, 1: torch.ones(2)})
    assert spans_of(data).keys() == {"a.b", "archive/data/1@0", "1"}


class MakesFolder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_torch_pickles_are_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    data = saved({"w": torch.ones(3), "evil": MakesFolder(made)})
    assert spans_of(data).keys() == {"w"}
    assert not made.exists()
    torch.load(io.BytesIO(data), weights_only=False)
    assert made.exists()  # so the pickle is one that would


def reorder(data: bytes, order: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    return zip_of({**members, "archive/byteorder": order})


def test_torch_byte_order() -> None:
    data = saved({"w": torch.ones(3)})
    assert spans_of(reorder(data, b"little")).keys() == {"w"}
    with pytest.raises(ContainerFormatError, match="byte order"):
        read_container(memoryview(reorder(data, b"big")))


def test_torch_untyped_storage_without_tensor_stays_bytes() -> None:
    assert read_container(memoryview(saved(torch.ones(3).untyped_storage()))) == []
    assert find_spans(memoryview(torch_zip(b"\x80\2}.", {"0": bytes(8)}))) == []


GGUF_TENSORS = [  # type, its dtype, dims, bytes
    (0, Dtype.F32, (5,), 20),
    (1, Dtype.F16, (3, 2), 12),
    (2, Dtype.Q4_0, (32, 3), 54),
    (3, Dtype.Q4_1, (64,), 40),
    (6, Dtype.Q5_0, (64, 2), 88),
    (7, Dtype.Q5_1, (32, 1, 2), 48),
    (8, Dtype.Q8_0, (32,), 34),
    (12, Dtype.Q4_K, (256, 3), 432),
    (13, Dtype.Q5_K, (256,), 176),
    (14, Dtype.Q6_K, (512,), 420),
    (24, Dtype.I8, (3,), 3),
    (25, Dtype.I16, (3,), 6),
    (26, Dtype.I32, (1,), 4),
    (27, Dtype.I64, (1,), 8),
    (28, Dtype.F64, (2,), 16),
    (30, Dtype.BF16, (2, 2, 2, 2), 32),
    (16, None, (256,), 66),  # IQ2_XXS is not known here
]


@pytest.mark.parametrize("alignment", [None, 8, 64])
@pytest.mark.parametrize("version", [2, 3])
def test_gguf(version: int, alignment: int | None) -> None:
    rng = np.random.default_rng(4)
    raw = [rng.bytes(size) for *_, size in GGUF_TENSORS]
    tensors = [
        (f"t{kind}", kind, dims, part)
        for (kind, _, dims, _), part in zip(GGUF_TENSORS, raw, strict=True)
    ]
    data = gguf([*tensors, ("none", 0, (4, 0), b"")], METADATA, alignment, version) + b"tail"
    spans = spans_of(data)
    expected = {
        f"t{kind}": (dtype, dims[::-1], part)
        for (kind, dtype, dims, _), part in zip(GGUF_TENSORS, raw, strict=True)
        if dtype
    }
    found = {n: (s.dtype, s.shape, bytes_of(data, s)) for n, s in spans.items()}
    assert found == expected


def test_gguf_without_tensors() -> None:
    assert read_container(memoryview(gguf([], METADATA))) == []


GGMF_TENSORS = [
    (0, Dtype.F32, (5, 2), 40),
    (1, Dtype.F16, (3,), 6),
    (2, Dtype.Q4_0, (32, 2), 36),
    (3, Dtype.Q4_1, (32,), 20),
    (7, Dtype.Q5_0, (32,), 22),
    (8, Dtype.Q5_1, (32, 3), 72),
    (9, Dtype.Q8_0, (64,), 68),
]


@pytest.mark.parametrize(("version", "kinds"), [(101, range(10)), (100, range(2))])
def test_rwkv_cpp(version: int, kinds: range) -> None:
    rng = np.random.default_rng(5)
    rows = [(*row, rng.bytes(row[-1])) for row in GGMF_TENSORS if row[0] in kinds]
    data = ggmf([(f"t{k}", k, dims, raw) for k, _, dims, _, raw in rows], version)
    found = {n: (s.dtype, s.shape, bytes_of(data, s)) for n, s in spans_of(data).items()}
    assert found == {f"t{k}": (dtype, dims[::-1], raw) for k, dtype, dims, _, raw in rows}


def test_unknown_files_are_named() -> None:
    assert find_spans(memoryview(b"")) == []
    with pytest.raises(ContainerFormatError, match=r"starts with b'%PDF-1.7' .* convert"):
        read_container(memoryview(b"%PDF-1.7\n"))


def test_import_is_light() -> None:
    modules = "('torch', 'safetensors', 'zipfile', 'typer')"
    code = f"import sys, nncodec.tensors.spans; print([m for m in {modules} if m in sys.modules])"
    before = run_python(code.replace(".tensors.spans", ""))
    after = run_python(code)
    assert after.returncode == 0, python_fails(after)
    assert after.stdout == before.stdout


@pytest.mark.weights
@pytest.mark.parametrize(
    "name",
    ["rwkv7_834k_bf16", "rwkv6_3m_part_bf16", "silero_vad_16k", "stories260K-hf/model"],
)
def test_sample_safetensors(weights: Path, name: str) -> None:
    path = weights / f"{name}.safetensors"
    data = path.read_bytes()
    tensors = safetensors.torch.load_file(path)
    spans = spans_of(data)
    assert {n: (s.shape, bytes_of(data, s)) for n, s in spans.items()} == {
        n: (tuple(t.shape), torch_bytes(t)) for n, t in tensors.items()
    }


@pytest.mark.weights
def test_sample_rwkv_cpp(weights: Path) -> None:
    files = ["7v0-834K-Q5_0", "7v0-834K-Q5_1", "5v2-730K-FP16"]
    quantised, other, half = ((weights / f"tiny-rwkv-{f}.bin").read_bytes() for f in files)
    spans, others = spans_of(quantised), spans_of(other)
    assert {s.dtype for s in spans.values()} == {Dtype.F32, Dtype.Q5_0}
    assert {s.dtype for s in others.values()} == {Dtype.F32, Dtype.Q5_1}
    assert {s.dtype for s in spans_of(half).values()} == {Dtype.F32, Dtype.F16}
    assert {n: s.shape for n, s in spans.items()} == {n: s.shape for n, s in others.items()}
    same = [n for n, s in spans.items() if s.dtype is Dtype.F32]
    assert len(same) > 100
    assert [bytes_of(quantised, spans[n]) for n in same] == [
        bytes_of(other, others[n]) for n in same
    ]
