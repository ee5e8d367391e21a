"""Tensors of every container and dtype as the libraries that write them give them."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from container_files import METADATA, entry, ggmf, gguf, safetensors_file, torch_zip
from test_spans import GGMF_TENSORS, GGUF_TENSORS, saved
from test_weights_open import normal, opened

from nncodec.errors import (
    ContainerFormatError,
    UnsupportedDtypeError,
)

Array = npt.NDArray[Any]


DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32),
    *(torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64),
]


def of_every_dtype() -> dict[str, torch.Tensor]:
    raw = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (6, 5, 16), dtype=np.uint8))
    tensors = {}
    for dtype in DTYPES:
        name = str(dtype).removeprefix("torch.")
        tensors[name] = raw[..., : dtype.itemsize].clone().view(dtype)[..., 0].contiguous()
        if dtype is torch.bool:
            tensors[name] = raw[..., 0] > 99
        tensors[f"{name} empty"] = torch.zeros((0, 3), dtype=dtype)
        tensors[f"{name} scalar"] = tensors[name][1, 1].clone()
    return tensors


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Dtype, shape and bits, so also of NaN."""
    bits = [t.contiguous().reshape(-1).view(torch.uint8) for t in (a, b)]
    return (a.dtype, a.shape) == (b.dtype, b.shape) and torch.equal(*bits)


def test_torch_has_every_dtype() -> None:
    tensors = of_every_dtype()
    data = safetensors.torch.save(tensors, {"format": "pt"})
    with opened(data, framework="pt") as file:
        assert file.keys() == sorted(tensors)
        assert len(file) == len(tensors)
        assert "float16" in file
        assert "float" not in file
        for name, tensor in tensors.items():
            assert same(file[name], tensor), name
            assert file.get_slice(name).get_shape() == list(tensor.shape)
            assert file.entry(name).shape == tuple(tensor.shape)
            assert same(file.get_slice(name)[...], tensor), name
            if tensor.ndim == 2 and len(tensor):
                assert same(file.get_slice(name)[1:4, ::2], tensor[1:4, ::2]), name
                assert same(file.get_slice(name)[::-1, 2], tensor.flip(0)[:, 2]), name
        file["float32"].add_(1)  # ours alone, and writable
        assert same(file["float32"], tensors["float32"])
        reference = {n: e["dtype"] for n, e in safetensors.deserialize(data)}
        assert {name: file.get_slice(name).get_dtype() for name in file} == reference
        assert file.metadata() == {"format": "pt"}


def test_numpy_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = of_every_dtype()
    data = safetensors.torch.save(tensors)
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)  # not installed
    with opened(data) as file:
        for name, tensor in tensors.items():
            if tensor.dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):
                with pytest.raises(UnsupportedDtypeError, match=r"ml_dtypes.*framework=\"pt\""):
                    file[name]
                raw = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
                assert file.get_bytes(name) == raw
            else:
                got = file[name]
                assert got.dtype == tensor.numpy().dtype
                assert same(torch.from_numpy(got), tensor), name
        file["float32"][:] = 0
        assert file["float32"].any()
        stand_in = SimpleNamespace(bfloat16=np.uint16, float8_e4m3fn=np.uint8)
        monkeypatch.setitem(sys.modules, "ml_dtypes", stand_in)
        bits = tensors["bfloat16"].view(torch.int16).numpy().view(np.uint16)
        assert np.array_equal(file["bfloat16"], bits)
        with pytest.raises(UnsupportedDtypeError, match="newer"):
            file["float8_e5m2"]
        assert file.metadata() is None


def numpy_arrays() -> dict[str, Array]:
    return {
        "c": normal(7, 9),
        "f": np.asfortranarray(normal(8, 3, 5)),
        "big": normal(6, 4).astype(">f4"),
        "big f": np.asfortranarray(normal(6, 4).astype(">f8")),
        "complex": normal(5, 2).astype("<c16"),
        "scalar": np.array(3.5),
        "empty": np.zeros((3, 0, 2), np.float32),
        "empty f": np.asfortranarray(np.zeros((3, 0, 2), np.float32)),
        "bool": normal(9) > 0,
    }


@pytest.mark.parametrize("name", numpy_arrays())
def test_npy(name: str) -> None:
    a = numpy_arrays()[name]
    plain = io.BytesIO()
    np.save(plain, a)
    with opened(plain.getvalue()) as file:
        assert (file.container, file.keys()) == ("npy", ["array"])
        got = file["array"]
        assert (got.dtype, got.shape) == (a.dtype, a.shape)
        assert got.tobytes() == a.tobytes()
        if a.ndim > 1 and a.size:
            part = file.get_slice("array")[1:3, ..., -1]
            assert np.array_equal(part, a[1:3, ..., -1])
    with opened(plain.getvalue(), "pt") as file:
        assert torch.equal(file["array"], torch.from_numpy(a.astype(a.dtype.newbyteorder("="))))


def test_npy_that_has_no_array() -> None:
    for a in (np.array(["text"]), np.array([(1, 2.0)], dtype="i4,f8")):
        plain = io.BytesIO()
        np.save(plain, a)
        with opened(plain.getvalue()) as file, pytest.raises(UnsupportedDtypeError, match="array"):
            file["array"]


def test_npz() -> None:
    arrays, plain, packed = numpy_arrays(), io.BytesIO(), io.BytesIO()
    np.savez(plain, **arrays)
    with opened(plain.getvalue()) as file:
        assert (file.container, file.keys()) == ("npz", sorted(arrays))
        for name, a in arrays.items():
            assert file[name].dtype == a.dtype
            assert np.array_equal(file[name], a)
    np.savez_compressed(packed, **arrays)
    with opened(packed.getvalue()) as file:
        assert len(file) == 0


def test_torch_checkpoints() -> None:
    base = torch.arange(24.0).reshape(4, 6)
    both = torch.ones(3)
    value = {
        "base": base,
        "tied": base,
        "view": base[1:3, 2:5],
        "turned": base.T,
        "constant": torch.ones(1).expand(5),
        "columns": base[:, ::2],
        "empty": torch.zeros(0, 4),
        "scalar": torch.tensor(7),
        "nested": {"bf16": torch.randn(5, 6).bfloat16(), "twice": [both, both]},
        "parameter": torch.nn.Parameter(torch.randn(3, 3)),
        "fp8": torch.randn(4, 4).to(torch.float8_e4m3fn),
    }
    flat = {k: v for k, v in value.items() if isinstance(v, torch.Tensor)}
    flat |= {"nested.bf16": value["nested"]["bf16"]}  # type: ignore[index]
    flat |= {"nested.twice.0": both, "nested.twice.1": both}
    with opened(saved(value), "pt") as file:
        assert file.container == "torch"
        assert file.keys() == sorted(flat)
        for name, tensor in flat.items():
            assert same(file[name], tensor.detach()), name
        assert same(file.get_slice("turned")[2:4, 1], base.T[2:4, 1])
    with opened(saved(base.bfloat16()), "pt") as file:
        assert same(file["tensor"], base.bfloat16())


def test_torch_views_that_lie() -> None:
    """Strides and shapes come from the pickle: none may reach out of the storage."""

    def pickled(shape: bytes, stride: bytes) -> bytes:
        storage = b"((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0" + b"0X\3\0\0\0cpuK\6tQ"
        tensor = b"ctorch._utils\n_rebuild_tensor_v2\n" + storage + b"K\0" + shape + stride
        ordered = b"\x89ccollections\nOrderedDict\n)RtR"
        return b"\x80\2}X\1\0\0\0w" + tensor + ordered + b"s."

    huge = b"\x8a\x0b" + b"\xff" * 10 + b"\0"
    fine = torch_zip(pickled(b"K\2K\3\x86", b"K\3K\1\x86"), {"0": bytes(24)})
    with opened(fine) as file:
        assert file["w"].shape == (2, 3)
    unused = torch_zip(pickled(b"K\1K\3\x86", huge + b"K\1\x86"), {"0": bytes(24)})
    with opened(unused) as file:
        assert file["w"].shape == (1, 3)
    for shape, stride in (
        (b"K\2K\3\x86", b"K\4K\1\x86"),
        (b"K\2K\3\x86", huge + b"K\1\x86"),
        (huge + b"K\3\x86", b"K\0K\1\x86"),
    ):
        with pytest.raises(ContainerFormatError):
            opened(torch_zip(pickled(shape, stride), {"0": bytes(24)}))


def test_gguf() -> None:
    rng = np.random.default_rng(4)
    raw = {f"t{kind}": rng.bytes(size) for kind, *_, size in GGUF_TENSORS}
    listed = [(f"t{kind}", kind, dims, raw[f"t{kind}"]) for kind, _, dims, _ in GGUF_TENSORS]
    data = gguf([*listed, ("none", 0, (4, 0), b"")], METADATA)
    with opened(data) as file:
        metadata = file.metadata()
        assert metadata is not None
        assert metadata["text"] == "a name"
        assert metadata["bool"] == "True"
        assert "tokens" not in metadata
        for kind, dtype, dims, _ in GGUF_TENSORS:
            name = f"t{kind}"
            assert file.entry(name).shape == dims[::-1]
            if dtype is None:
                for read in (file.get_tensor, file.get_bytes):
                    with pytest.raises(UnsupportedDtypeError, match="ggml type 16"):
                        read(name)
                continue
            assert file.get_bytes(name) == raw[name]
            if dtype.name == "BF16":
                continue
            got = file[name]
            assert got.tobytes() == raw[name]
            if dtype.block_elements > 1:
                assert (got.dtype, got.shape[:-1]) == (np.uint8, dims[:0:-1])
            else:
                assert got.shape == dims[::-1]
        assert file["none"].shape == (0, 4)
        q4 = file.get_slice("t2")
        assert np.array_equal(q4[1], file["t2"][1])


def test_rwkv_cpp() -> None:
    rng = np.random.default_rng(5)
    raw = {f"t{kind}": rng.bytes(size) for kind, *_, size in GGMF_TENSORS}
    data = ggmf([(f"t{kind}", kind, dims, raw[f"t{kind}"]) for kind, _, dims, _ in GGMF_TENSORS])
    with opened(data) as file:
        assert file.container == "rwkv.cpp"
        assert {name: file[name].tobytes() for name in file} == raw


def test_safetensors_of_unknown_dtypes() -> None:
    header = {"a": entry("F6_E2M3", [4], 0, 3)}
    with opened(safetensors_file(header, bytes(range(3)))) as file:
        assert file.get_slice("a").get_dtype() == "F6_E2M3"
        with pytest.raises(UnsupportedDtypeError, match="F6_E2M3"):
            file["a"]
        assert file.get_bytes("a") == bytes(range(3))
    header = {"b": entry("C64", [1], 0, 9)}
    with (
        pytest.raises(ContainerFormatError, match="9 bytes"),
        opened(safetensors_file(header, bytes(range(9)))),
    ):
        pass


@pytest.mark.weights
@pytest.mark.parametrize("name", ["rwkv7_834k_bf16.safetensors", "silero_vad_16k.safetensors"])
def test_real_weights(weights: Path, name: str) -> None:
    data = (weights / name).read_bytes()
    expected = safetensors.torch.load(data)
    with opened(data, "pt") as file:
        assert file.keys() == sorted(expected)
        assert all(same(file[key], expected[key]) for key in file)
