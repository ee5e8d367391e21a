"""Single tensors out of archives: what is decoded, what comes out, what is refused."""

from __future__ import annotations

import io
import itertools
import struct
import sys
import threading
from collections.abc import Callable
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
from helpers import python_fails, run_python
from hypothesis import given
from hypothesis import strategies as st
from test_spans import GGMF_TENSORS, GGUF_TENSORS, saved

import nncodec
from nncodec.container import Block, Frame, Kind
from nncodec.errors import (
    ContainerFormatError,
    CorruptDataError,
    MissingPackageError,
    NNCodecError,
    TensorNotFoundError,
    TruncatedError,
    UnsupportedDtypeError,
)
from nncodec.tensors import chunks
from nncodec.weights import archive as archives
from nncodec.weights import open as open_weights
from nncodec.weights.archive import ArchiveView
from nncodec.weights.slices import needed_run

Array = npt.NDArray[Any]


def opened(data: bytes, *args: Any, level: int = 1, **kwargs: Any) -> nncodec.weights.WeightsFile:
    return open_weights(io.BytesIO(nncodec.compress(data, level)), *args, **kwargs)


def normal(*shape: int, seed: int = 1) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 4 KiB, so that a small file has many blocks."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 4096)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Block]:
    """Every block that is decoded, as the codec sees it."""
    seen: list[Block] = []
    original = archives.decode_block

    def decode(row: Block, *args: Any) -> bytes:
        seen.append(row)
        return original(row, *args)

    monkeypatch.setattr(archives, "decode_block", decode)
    return seen


@pytest.mark.usefixtures("small_chunks")
def test_only_what_is_needed_is_decoded(decoded: list[Block]) -> None:
    tensors = {f"layer.{i}.weight": normal(64, 64, seed=i) for i in range(6)}  # 4 blocks each
    data = safetensors.numpy.save(tensors)
    with opened(data) as file:
        rows = file.view.rows
        assert len(rows) == 1 + 6 * 4
        assert [block.kind for block in decoded] == [rows[0].block.kind]  # the header's
        assert rows[0].block.kind != Kind.TENSORS
        head = file.view.decoded_bytes
        assert head == len(data) - 6 * 64 * 64 * 4
        decoded.clear()
        assert np.array_equal(file["layer.3.weight"], tensors["layer.3.weight"])
        assert sum(block.size for block in decoded) == 64 * 64 * 4
        assert len(decoded) == 4
        assert file.view.decoded_blocks == 5
        assert file.view.decoded_bytes == head + 64 * 64 * 4
        assert np.array_equal(file["layer.3.weight"], tensors["layer.3.weight"])  # kept
        assert len(decoded) == 4
        decoded.clear()
        rows_of_5 = file.get_slice("layer.5.weight")[17:30]  # blocks of 16 rows... of 8 and 16
        assert np.array_equal(rows_of_5, tensors["layer.5.weight"][17:30])
        assert 1 <= len(decoded) <= 2
        assert sum(block.size for block in decoded) < 64 * 64 * 4


@pytest.mark.usefixtures("small_chunks")
def test_blocks_hold_several_tensors(decoded: list[Block]) -> None:
    tensors = {f"t{i:02}": normal(5, 9, seed=i) for i in range(50)}
    with opened(safetensors.numpy.save(tensors)) as file:
        assert file.view.rows[1].block.kind == Kind.TENSORS
        decoded.clear()
        assert np.array_equal(file["t00"], tensors["t00"])
        assert np.array_equal(file["t01"], tensors["t01"])
        assert len(decoded) == 1
        assert all(np.array_equal(file[name], tensors[name]) for name in file)
        assert len(decoded) == len(file.view.rows) - 1


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("cache", [0, 5000, 1 << 30])
def test_decoded_blocks_are_bounded(cache: int) -> None:
    tensors = {f"t{i:02}": normal(40, 40, seed=i) for i in range(12)}
    with opened(safetensors.numpy.save(tensors), cache_bytes=cache, threads=2) as file:
        for name in [*file, *reversed(file.keys())]:
            assert np.array_equal(file[name], tensors[name])
            kept = sum(file.view.rows[n].block.size for n in file.view._blocks)
            assert kept <= cache
        total = len(file.view.rows)
        assert file.view.decoded_blocks == total if cache > 1 << 20 else total + 1


@pytest.mark.usefixtures("small_chunks")
def test_all_tensors_are_decoded_once() -> None:
    tensors = {f"t{i:02}": normal(40, 40, seed=i) for i in range(12)}
    with opened(safetensors.numpy.save(tensors), cache_bytes=0, threads=3) as file:
        got = file.get_tensors()
        assert list(got) == sorted(tensors)
        assert all(np.array_equal(got[name], tensors[name]) for name in tensors)
        again = file.view.decoded_blocks - len(file.view.rows)
        assert again <= 12  # a block that two tensors share, at most, and the header's


@pytest.mark.usefixtures("small_chunks")
def test_threads_may_share_a_file() -> None:
    tensors = {f"t{i:02}": normal(40, 40, seed=i) for i in range(12)}
    right: list[bool] = []
    with opened(safetensors.numpy.save(tensors), cache_bytes=9000) as file:

        def read(shift: int) -> None:
            names = np.roll(file.keys(), shift).tolist()
            right.extend(np.array_equal(file[name], tensors[name]) for name in names)

        workers = [threading.Thread(target=read, args=(i,)) for i in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert len(right) == 3 * 12
    assert all(right)


def test_every_kind_of_block() -> None:
    """Also several archives one after the other, and a model's engine for the header."""
    noise = np.random.default_rng(1).integers(0, 256, 5000, dtype=np.uint8)
    tensors = {"zeros": np.zeros((70, 70), np.int64), "noise": noise, "w": normal(60, 60)}
    header_text = {f"note {i}": "It is a truth that every programmer learns late" for i in range(9)}
    data = safetensors.numpy.save(tensors, header_text)
    cuts = [0, 700, 9000, 30_000, len(data) - 4000, len(data)]
    parts = [nncodec.compress(data[a:b], model="tiny") for a, b in itertools.pairwise(cuts)]
    parts.insert(2, nncodec.compress(b""))
    parts.append(nncodec.compress(data[:0]))
    whole = nncodec.compress(data, model="tiny")
    kinds = set()
    for archive in (b"".join(parts), whole):
        with open_weights(io.BytesIO(archive)) as file:
            kinds |= {row.block.kind for row in file.view.rows}
            assert file.metadata() == header_text
            assert all(np.array_equal(file[name], tensors[name]) for name in tensors)
    assert kinds >= {Kind.MIXED, Kind.CONSTANT, Kind.STORED, Kind.TENSORS}


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


SHAPES = st.lists(st.integers(0, 6), max_size=4).map(tuple)


@st.composite
def indexed(draw: st.DrawFn) -> tuple[tuple[int, ...], Any]:
    """A shape and a basic index of it: integers, slices of any step, and ... somewhere."""
    shape = draw(SHAPES)
    parts: list[Any] = []
    for length in shape[: draw(st.integers(0, len(shape)))]:
        bound = st.none() | st.integers(-8, 8)
        step = st.none() | st.integers(-3, 3).filter(bool)
        some = st.builds(slice, bound, bound, step)
        parts.append(draw(some | st.integers(-length, length - 1) if length else some))
    if draw(st.booleans()) and len(parts) == len(shape):
        parts.insert(draw(st.integers(0, len(parts))), ...)
    return shape, tuple(parts)


@given(indexed())
def test_runs_hold_what_an_index_takes(case: tuple[tuple[int, ...], Any]) -> None:
    shape, index = case
    whole = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    run = needed_run(index, shape)
    part = whole.reshape(-1)[run.first : run.first + run.count].reshape(run.shape)[run.rest]
    assert np.array_equal(part[::-1] if run.backwards else part, whole[index])


def test_indices_that_are_none() -> None:
    with opened(safetensors.numpy.save({"w": normal(4, 5)})) as file:
        part = file.get_slice("w")
        for index in (4, -5, (0, 5), (0, 0, 0), (..., ...)):
            with pytest.raises(IndexError):
                part[index]
        for index in (True, 1.0, "a", None, [0, 1], np.array([True])):
            with pytest.raises(TypeError, match="get_tensor"):
                part[index]
        assert part[np.int64(1), 2:3].shape == (1,)


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
    header = {"a": entry("F6_E2M3", [4], 0, 3), "b": entry("C64", [1], 3, 12)}
    with opened(safetensors_file(header, bytes(range(12)))) as file:
        assert file.get_slice("a").get_dtype() == "F6_E2M3"
        with pytest.raises(UnsupportedDtypeError, match="F6_E2M3"):
            file["a"]
        assert file.get_bytes("a") == bytes(range(3))
        with pytest.raises(ContainerFormatError, match="9 bytes"):
            file["b"]


def test_names_that_are_not_there() -> None:
    names = ("model.layers.0.mlp.weight", "model.layers.1.mlp.weight", "head")
    with opened(safetensors.numpy.save({name: normal(2) for name in names})) as file:
        for read in (file.get_tensor, file.get_slice, file.get_bytes, file.entry):
            with pytest.raises(KeyError) as caught:
                read("model.layers.1.mlp.weigth")
            assert isinstance(caught.value, TensorNotFoundError)
            assert "did you mean 'model.layers.1.mlp.weight'" in str(caught.value)
        with pytest.raises(TensorNotFoundError, match=r"among 3: keys\(\) lists them"):
            file["zzz"]
        with pytest.raises(TensorNotFoundError):
            file[0]  # type: ignore[index]


def test_what_is_no_file_of_tensors(tmp_path: Path) -> None:
    with pytest.raises(CorruptDataError, match="not an nncodec archive"):
        open_weights(io.BytesIO(safetensors.numpy.save({"w": normal(3)})))
    with pytest.raises(ContainerFormatError, match="no container of tensors"):
        opened(b"It is a truth that every programmer learns late")
    with pytest.raises(ContainerFormatError):
        opened(b"")
    with pytest.raises(TruncatedError):
        open_weights(io.BytesIO(b""))
    with pytest.raises(FileNotFoundError):
        open_weights(tmp_path / "absent")
    with pytest.raises(NNCodecError, match="choose np or pt"):
        open_weights(tmp_path / "absent", "tf")


def test_damage() -> None:
    """Any byte: an error when it is read, or (slack at a payload's end) the right tensors."""
    tensors = {"w": normal(24, 24), "steps": np.arange(40)}
    archive = nncodec.compress(safetensors.numpy.save(tensors), 1)

    def read(data: bytes) -> dict[str, Array]:
        with open_weights(io.BytesIO(data), threads=1) as file:
            return file.get_tensors()

    survived = 0
    for at in range(0, len(archive), 17):
        broken = bytearray(archive)
        broken[at] ^= 0xFF
        try:
            got = read(bytes(broken))
        except NNCodecError:
            continue
        survived += 1
        assert all(np.array_equal(got[name], tensors[name]) for name in tensors)
    assert survived <= 1
    for cut in range(0, len(archive), 61):
        with pytest.raises(CorruptDataError):
            read(archive[:cut])


@pytest.mark.usefixtures("small_chunks")
def test_damage_is_found_where_it_is() -> None:
    tensors = {"a": normal(100, 100), "b": normal(40, 40)}
    archive = bytearray(nncodec.compress(safetensors.numpy.save(tensors), 1))
    archive[-100] ^= 1
    with open_weights(io.BytesIO(bytes(archive))) as file:
        rows = file.get_slice("a")[:10]
        assert np.array_equal(rows, tensors["a"][:10])
        for _ in range(2):
            with pytest.raises(CorruptDataError, match=r"block \d+ of \d+, bytes .*damaged"):
                file["b"]


def test_promises_cost_nothing() -> None:
    """A header of 100 MB in an archive of constant blocks is refused by what it says."""
    size = 1 << 24
    blocks = (Block(Kind.CONSTANT, size, 1, 0),) * 8
    frame = Frame(8 * size, size, blocks)
    head = nncodec.compress(struct.pack("<Q", 99_000_000) + b"{" + bytes(7))
    with pytest.raises(CorruptDataError, match="damaged"):
        open_weights(io.BytesIO(head + frame.pack() + bytes(8)))


def test_views_are_like_bytes() -> None:
    data = np.random.default_rng(1).bytes(3000)
    archive = b"".join(nncodec.compress(data[a : a + 700], 1) for a in range(0, 3000, 700))
    view = ArchiveView(io.BytesIO(archive))
    assert len(view) == 3000
    assert len(view.rows) == 5
    assert [view[at] for at in (0, 699, 700, 2999)] == [data[at] for at in (0, 699, 700, 2999)]
    for part in (
        slice(None),
        slice(690, 710),
        slice(5, 5),
        slice(-9, None),
        slice(8, 2),
        slice(700, 1400),
    ):
        assert view[part] == data[part]
    with pytest.raises(IndexError):
        view[3000]
    with pytest.raises(ValueError, match="steps"):
        view[::2]
    view.close()


SAVE: list[Callable[[dict[str, Any]], Any]] = [
    lambda tensors: safetensors.torch.save(tensors),
    lambda tensors: nncodec.weights.torch.save(tensors, level=1),
]


def test_twins_of_torch(tmp_path: Path) -> None:
    twin = nncodec.weights.torch
    tensors, notes = of_every_dtype(), {"made by": "a test"}
    plain, packed = tmp_path / "plain", tmp_path / "m.nnc"
    safetensors.torch.save_file(tensors, plain, notes)
    twin.save_file(tensors, packed, notes, level=1)
    assert packed.read_bytes() == nncodec.compress(plain.read_bytes(), 1)
    assert nncodec.decompress(packed.read_bytes()) == plain.read_bytes()
    assert twin.save(tensors, notes, level=1) == packed.read_bytes()
    for got in (twin.load_file(packed), twin.load(packed.read_bytes())):
        assert list(got) == sorted(tensors)
        assert all(same(got[name], tensors[name]) for name in tensors)
    assert twin.load_file(str(packed), device="meta")["float32"].device.type == "meta"
    assert {p.name for p in tmp_path.iterdir()} == {"plain", "m.nnc"}
    twin.save_file({}, packed, level=1)
    assert twin.load_file(packed) == {}


def test_twins_refuse_what_safetensors_refuses(tmp_path: Path) -> None:
    base = torch.zeros(4, 4)
    shared: dict[str, Any] = {"first": base, "second": base}
    for save in (
        SAVE[0],
        SAVE[1],
        lambda t: nncodec.weights.torch.save_file(t, tmp_path / "m.nnc", level=1),
    ):
        with pytest.raises(RuntimeError, match=r"first.*second|second.*first"):
            save(shared)
        with pytest.raises(ValueError, match="non contiguous"):
            save({"turned": torch.zeros(2, 3).T})
    with pytest.raises(NNCodecError, match="no level 10"):
        nncodec.weights.torch.save_file({}, tmp_path / "m.nnc", level=10)
    assert list(tmp_path.iterdir()) == []


def test_twins_of_numpy(tmp_path: Path) -> None:
    twin = nncodec.weights.numpy
    tensors = {"w": normal(30, 20), "steps": np.arange(5), "none": np.zeros((0, 2), np.float16)}
    packed = tmp_path / "m.nnc"
    twin.save_file(tensors, packed, {"a": "b"}, level=1)
    assert nncodec.decompress(packed.read_bytes()) == safetensors.numpy.save(tensors, {"a": "b"})
    assert twin.save(tensors, {"a": "b"}, level=1) == packed.read_bytes()
    for got in (twin.load_file(packed), twin.load(packed.read_bytes())):
        assert got.keys() == tensors.keys()
        for name, a in tensors.items():
            assert got[name].dtype == a.dtype
            assert np.array_equal(got[name], a)


def test_without_torch(tmp_path: Path) -> None:
    nncodec.weights.numpy.save_file({"w": normal(30, 20)}, tmp_path / "m.nnc", level=1)
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import nncodec\n"
        "assert 'nncodec.weights' not in sys.modules\n"
        "print(nncodec.weights.open('m.nnc')['w'].shape)\n"
        "print(len(nncodec.weights.numpy.load_file('m.nnc')))\n"
        "for use in (lambda: nncodec.weights.open('m.nnc', 'pt'), lambda: nncodec.weights.torch,\n"
        "            lambda: nncodec.weights.from_packed('.')):\n"
        "    try: use()\n"
        "    except ImportError as error: print(type(error).__name__, error)\n"
    )
    result = run_python(code, cwd=tmp_path)
    lines = result.stdout.decode().splitlines()
    assert lines[:2] == ["(30, 20)", "1"], python_fails(result)
    assert len(lines) == 5
    for line in lines[2:]:
        assert line.startswith(f"{MissingPackageError.__name__} needs torch: install it with")
    light = run_python(
        "import sys, nncodec; nncodec.weights.open('m.nnc')['w']\n"
        "print([m for m in ('torch', 'transformers', 'rich') if m in sys.modules])",
        cwd=tmp_path,
    )
    assert light.stdout == b"[]\n", python_fails(light)


@pytest.mark.weights
@pytest.mark.parametrize("name", ["rwkv7_834k_bf16.safetensors", "silero_vad_16k.safetensors"])
def test_real_weights(weights: Path, name: str) -> None:
    data = (weights / name).read_bytes()
    expected = safetensors.torch.load(data)
    with opened(data, "pt") as file:
        assert file.keys() == sorted(expected)
        assert all(same(file[key], expected[key]) for key in file)
