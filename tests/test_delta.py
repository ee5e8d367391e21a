"""Files against a base: every dtype, partners that are missing or other, bases that are wrong."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from delta_files import bf16_file, tuned
from safetensors.numpy import load_file, save
from tensor_values import normal
from typer.testing import CliRunner

import nncodec
from nncodec.cli.app import app
from nncodec.container import BASE_ID_BYTES
from nncodec.errors import BaseFileError, CorruptDataError, NNCodecError
from nncodec.parsing import read_frames
from nncodec.tensors import delta
from nncodec.tensors.base import Base
from nncodec.tensors.delta import plan_deltas
from nncodec.tensors.delta_items import Mode
from nncodec.tensors.spans import find_spans

BIG = (48, 40)


def tensors(by: float = 0.0) -> dict[str, np.ndarray]:
    """Of every numpy dtype that has a model, and some that have none; ``by`` moves them."""
    base = normal(*BIG)
    moved = tuned(base, by) if by else base
    steps = (tuned(normal(*BIG), by or 0, 5) * 50).round().clip(-128, 127)
    return {
        "blocks.0.weight": moved,
        "blocks.1.weight": moved.astype(np.float16),
        "codes": steps.astype(np.int8),
        "frozen": normal(*BIG, 9),
        "levels": (steps + 128).astype(np.uint8),
        "norm": moved[0].copy(),
        "one": np.float32([1.5 + by]),
        "steps": np.arange(300, dtype=np.int64) + int(by > 0),
        "table": np.arange(300, dtype=np.int64),
        "empty": np.zeros((0, 4), np.float32),
    }


def both_ways(data: bytes, base: bytes, level: int = 1) -> bytes:
    archive = nncodec.compress(data, level, base=base)
    assert nncodec.decompress(archive, base=base) == data
    assert len(archive) <= len(data) + 64
    return archive


@pytest.mark.parametrize("level", [1, 6])
def test_every_dtype(level: int) -> None:
    base, data = save(tensors()), save(tensors(0.01), metadata={"made by": "a test"})
    archive = both_ways(data, base, level)
    assert len(archive) < 0.8 * len(nncodec.compress(data, level))
    info = nncodec.info(archive)
    assert info.blocks["delta"] >= 1
    assert info.bases == [Base(np.frombuffer(base, np.uint8)).id.hex()]


def test_bfloat16_and_strange_values() -> None:
    base, moved = normal(*BIG), tuned(normal(*BIG), 0.003)
    moved[3, :10] = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-40, 3.4e38, 1.0]
    base[3:9, 5:20] = -0.0
    both_ways(bf16_file(moved), bf16_file(base))
    both_ways(save({"w": moved}), save({"w": base}))


def test_a_file_equal_to_its_base_costs_next_to_nothing() -> None:
    data = save(tensors())
    assert len(both_ways(data, data)) < 80
    for same in (b"", b"x", b"no tensors at all " * 100):
        both_ways(same, same)


def test_tensors_that_are_equal_cost_next_to_nothing() -> None:
    big = normal(200, 200)
    base = save({"a": big, "b": normal(9, 9), "c": big})
    data = save({"a": big, "b": normal(9, 9, 2), "c": big})
    assert len(both_ways(data, base)) < 700


def test_pruned_weights_are_nearly_free() -> None:
    base = normal(100, 100)
    pruned = np.where(np.abs(base) < np.quantile(np.abs(base), 0.7), base * 0, base)
    assert len(both_ways(save({"w": pruned}), save({"w": base}))) < 0.5 * base.size / 8
    assert modes(save({"w": pruned}), save({"w": base})) == {Mode.GIVEN, Mode.EQUAL}


def modes(data: bytes, base: bytes) -> set[Mode]:
    """Of the items of all parts with a partner."""
    file, old = (np.frombuffer(x, np.uint8) for x in (data, base))
    parts = plan_deltas(file, find_spans(file.data), Base(old), "", 1)
    return {i.mode for p in parts if isinstance(p, delta.DeltaPart) for i in p.items}


OTHERS: dict[str, Callable[[], dict[str, np.ndarray]]] = {
    "other shapes": lambda: {k: v.reshape(-1)[: v.size // 2] for k, v in tensors().items()},
    "other dtypes": lambda: {k: v.astype(np.float64) for k, v in tensors().items()},
    "other names": lambda: {f"x{k}": v for k, v in tensors().items()},
    "some missing": lambda: dict(list(tensors().items())[::2]),
    "more": lambda: {**tensors(), "aaa": normal(30, 30), "zzz": normal(50, 50)},
    "unlike": lambda: {k: (v[::-1] * 3).astype(v.dtype) for k, v in tensors().items()},
}


@pytest.mark.parametrize("name", OTHERS)
def test_bases_that_fit_in_part_or_not(name: str) -> None:
    data = save(tensors(0.01))
    both_ways(data, save(OTHERS[name]()))
    both_ways(save(OTHERS[name]()), data)


def test_bases_without_tensors() -> None:
    data = save(tensors(0.01))
    for base in (b"", b"x" * 5000, data[:100], data[:-1], data + b"more"):
        archive = both_ways(data, base)
        if not nncodec.info(archive).bases:  # nothing of the base was of use
            assert nncodec.decompress(archive) == data
    both_ways(data[:-1], data)
    both_ways(b"", data)


def test_a_prefix_is_no_other_name() -> None:
    base = {f"model.layers.{i}": normal(*BIG, i + 1) for i in range(3)}
    data = {k.removeprefix("model."): tuned(v, 0.001) for k, v in base.items()}
    for new, old in ((data, base), (base, data)):
        archive = both_ways(save(new), save(old))
        assert len(archive) < 0.85 * len(nncodec.compress(save(new), 1))
    twice = {**base, **{k.replace("model", "other"): v for k, v in base.items()}}
    both_ways(save(data), save(twice))


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:  # with dates that do not change
        for name, array in arrays.items():
            member = io.BytesIO()
            np.save(member, array)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
    return file.getvalue()


def test_other_containers_and_their_gaps() -> None:
    base = {f"w{i}": normal(*BIG, i + 1) for i in range(4)}
    data = {k: tuned(v, 0.001) for k, v in base.items()}
    archive = both_ways(npz(data), npz(base))
    assert nncodec.info(archive).frames <= 3
    both_ways(save(data), npz(base))


def test_large_tensors_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delta, "CHUNK_BYTES", 1 << 12)
    monkeypatch.setattr(nncodec.tensors.chunks, "CHUNK_BYTES", 1 << 12)
    archive = both_ways(save(tensors(0.01)), save(tensors()))
    assert nncodec.info(archive).frames > 5
    wide = normal(3, 1700)
    both_ways(save({"w": tuned(wide, 0.01)}), save({"w": wide}))


def test_threads_change_nothing() -> None:
    base, data = save(tensors()), save(tensors(0.01))
    archives = {nncodec.compress(data, 1, base=base, threads=n) for n in (1, 3)}
    assert len(archives) == 1


def test_a_wrong_base_is_an_error_before_anything_is_written() -> None:
    base = save(tensors())
    data = save({**tensors(0.01), "aaa": normal(60, 60)}, metadata={"another": "header"})
    archive = nncodec.compress(data, 1, base=base)
    frames = read_frames(io.BytesIO(archive))
    assert frames[0].base_id
    assert "delta" not in {b.name for b in frames[0].blocks}
    with pytest.raises(BaseFileError, match=r"pass --base FILE \(sha256 [0-9a-f]{32}"):
        nncodec.decompress(archive)
    for wrong in (b"", data, base + b"\0", base[:-1]):
        with pytest.raises(BaseFileError, match="has another base"):
            nncodec.decompress(archive, base=wrong)


def test_single_tensors_need_the_base(tmp_path: Path) -> None:
    base, data = tmp_path / "base.safetensors", tmp_path / "new.safetensors"
    base.write_bytes(save(tensors()))
    data.write_bytes(save(tensors(0.01)))
    archive = tmp_path / "new.nnc"
    archive.write_bytes(nncodec.compress(data.read_bytes(), 1, base=base.read_bytes()))
    expected = load_file(data)
    with nncodec.weights.open(archive, base=base) as file:
        for name, value in expected.items():
            np.testing.assert_array_equal(file[name], value)
    assert nncodec.weights.numpy.load_file(archive, base=base).keys() == expected.keys()
    with pytest.raises(BaseFileError, match="pass --base FILE"):
        nncodec.weights.open(archive)
    with pytest.raises(BaseFileError, match="has another base"):
        nncodec.weights.open(archive, base=data)
    name = min(expected)
    for options in ([], ["--base", str(base)]):
        out = tmp_path / "one.npy"
        command = ["weights", "get", str(archive), name, "-o", str(out), *options]
        assert CliRunner().invoke(app, command).exit_code == (0 if options else 1)
        assert out.exists() == bool(options)
        command = ["weights", "ls", str(archive), *options]
        assert CliRunner().invoke(app, command).exit_code == (0 if options else 1)


def test_damaged_archives() -> None:
    """Every byte of the headers, some of the payloads: an error, or the very same data."""
    base, data = save({"w": normal(30, 20)}), save({"w": tuned(normal(30, 20), 0.01)})
    archive = nncodec.compress(data, 1, base=base)
    for at in [*range(90), *range(90, len(archive), 41)]:
        for flip in (1, 0x80, 0xFF):
            broken = bytearray(archive)
            broken[at] ^= flip
            with suppress(NNCodecError):
                assert nncodec.decompress(bytes(broken), base=base) == data
    for cut in range(0, len(archive), 7):
        with pytest.raises(NNCodecError):
            nncodec.decompress(archive[:cut], base=base) and pytest.fail(f"cut at {cut}")


def repacked(archive: bytes, **change: int) -> bytes:
    """The archive of one frame with its first item changed, its checksums right."""
    from dataclasses import replace

    frame = read_frames(io.BytesIO(archive))[0]
    payload = archive[len(frame.pack()) :]
    (block,) = frame.blocks
    item = replace(block.deltas[0], **change)
    block = replace(block, deltas=(item, *block.deltas[1:]))
    return replace(frame, blocks=(block,)).pack() + payload


def test_hostile_headers() -> None:
    base, data = save({"w": normal(30, 20)}), save({"w": tuned(normal(30, 20), 0.01)})
    archive = nncodec.compress(data, 1, base=base)
    for offset in (len(base), len(base) - 1, (1 << 63) - 1):
        with pytest.raises(CorruptDataError, match="beyond its base"):
            nncodec.decompress(repacked(archive, offset=offset), base=base)
    with pytest.raises(CorruptDataError, match="delta of mode 3"):
        nncodec.decompress(repacked(archive, mode=3), base=base)
    frame = read_frames(io.BytesIO(archive))[0]
    nameless = frame.pack()[:5] + b"\0" + frame.pack()[6 + BASE_ID_BYTES : -4]
    nameless += nncodec.container.header_checksum(nameless)
    with pytest.raises(CorruptDataError, match="names no base"):
        nncodec.decompress(nameless + archive[len(frame.pack()) :], base=base)


def cli(*words: str | Path, code: int = 0) -> str:
    """What a command prints, on either stream; it must exit with ``code``."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output
    return result.output


def test_the_commands(tmp_path: Path) -> None:
    base, file = tmp_path / "base.safetensors", tmp_path / "fine.safetensors"
    base.write_bytes(save(tensors()))
    file.write_bytes(save(tensors(0.01)))
    packed = tmp_path / "fine.safetensors.nnc"
    cli("compress", "-l1", "-q", "--base", base, file)
    want = file.read_bytes()
    file.unlink()
    cli("test", "--base", base, packed)
    assert Base.open(base).id.hex()[:8] in cli("info", packed)
    for error, words in {
        "needs its base: pass --base FILE": [],
        "has another base": ["--base", packed],
        "cannot use the base": ["--base", tmp_path / "none"],
    }.items():
        output = cli("decompress", *words, packed, code=1)
        assert error in output
        assert len(output.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == [base, packed]
    cli("decompress", "--base", base, packed)
    assert file.read_bytes() == want
    cli("compress", "-l1", "-q", "-f", "--rm", "--base", base, file)
    assert not file.exists()
    assert packed.exists()
    assert cli("compress", "-l1", "-c", "--base", base, base)


def test_an_empty_base_file(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert len(Base.open(tmp_path / "empty").data) == 0
    with pytest.raises(BaseFileError, match="cannot use the base"):
        Base.open(tmp_path)
