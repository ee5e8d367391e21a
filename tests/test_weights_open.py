"""Single tensors out of archives: what is decoded, what comes out, what is refused."""

from __future__ import annotations

import io
import itertools
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
from helpers import python_fails, run_python
from hypothesis import given
from hypothesis import strategies as st

import nncodec
from nncodec.container import WITH_ITEMS, Block, Frame, Kind
from nncodec.errors import (
    ContainerFormatError,
    CorruptDataError,
    NNCodecError,
    TensorNotFoundError,
    TruncatedError,
)
from nncodec.tensors import chunks
from nncodec.weights import archive as archives
from nncodec.weights import open as open_weights
from nncodec.weights.archive import ArchiveView
from nncodec.weights.slices import needed_run


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
        assert file.view.rows[1].block.kind in WITH_ITEMS
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

    def read(data: bytes) -> dict[str, npt.NDArray[Any]]:
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


def test_engines_end_with_the_interpreter(tmp_path: Path) -> None:
    """nanobind complains on stderr about what is alive at the end."""
    notes = {f"note {i}": "It is a truth that every programmer learns late" for i in range(9)}
    data = safetensors.numpy.save({"w": np.ones((30, 30), np.float32)}, notes)
    (tmp_path / "m.nnc").write_bytes(nncodec.compress(data, model="tiny"))
    assert nncodec.info((tmp_path / "m.nnc").read_bytes()).models
    code = "import nncodec; print(nncodec.weights.open('m.nnc')['w'].sum())"
    result = run_python(code, cwd=tmp_path)
    assert (result.stdout, result.stderr) == (b"900.0\n", b""), python_fails(result)
