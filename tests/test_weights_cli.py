"""``nncodec weights``: what is written and printed, errors in one line, exit codes."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from helpers import CLI, python_fails, run_python
from test_cli import Result, assert_one_error, cli, names
from test_weights_pack import tree, write_tree

import nncodec
from nncodec.cli import level_options
from nncodec.cli.weights import COMMANDS, app
from nncodec.tensors import chunks


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two float32 matrices, bfloat16, an empty one and a scalar."""
    torch.manual_seed(3)
    tensors = {
        "a": torch.randn(60, 50),
        "b": torch.randn(60, 50),
        "half": torch.randn(20, 10).bfloat16(),
        "none": torch.zeros(0, 4),
        "one": torch.tensor(2.5),
    }
    path = tmp_path / "m.safetensors.nnc"
    path.write_bytes(nncodec.compress(safetensors.torch.save(tensors), 1))
    return path


def test_folders_in_and_out(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "model")
    result = cli("weights", "pack", "--level=1", source)
    assert (result.rc, result.out) == (0, b"")
    assert len(result.errors) == 6
    assert result.errors[-1].startswith(f"packed into {tmp_path}/model.nnc-dir: weights ")
    assert_one_error(
        cli("weights", "pack", source), source, "already exists and is not empty; use -f"
    )
    assert cli("weights", "pack", "-fq", "-l", "1", "-T", "1", source).errors == []
    packed = tmp_path / "model.nnc-dir"
    result = cli("weights", "unpack", packed, "-o", tmp_path / "back")
    assert result.errors[-1].startswith(f"unpacked to {tmp_path}/back: weights ")
    assert tree(tmp_path / "back") == tree(source)
    assert_one_error(cli("weights", "unpack", packed), packed, "already exists")
    assert cli("weights", "unpack", "-f", "-q", packed).errors == []
    assert names(tmp_path) == ["back", "model", "model.nnc-dir"]


def test_levels_are_short_options(tmp_path: Path) -> None:
    assert level_options(["weights", "pack", "-2f", "x"]) == [
        "weights",
        "pack",
        "--level=2",
        "-f",
        "x",
    ]
    source = tmp_path / "model"
    source.mkdir()
    safetensors.numpy.save_file({"w": np.ones((50, 50), np.float32)}, source / "w.safetensors")
    result = run_python(CLI, "weights", "pack", "-1", "model", cwd=tmp_path)
    assert result.returncode == 0, python_fails(result)
    plain = (source / "w.safetensors").read_bytes()
    assert (tmp_path / "model.nnc-dir" / "w.safetensors.nnc").read_bytes() == nncodec.compress(
        plain, 1
    )


def test_folders_that_cannot_be(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "model")
    cli("weights", "pack", "-l", "1", source)
    packed = tmp_path / "model.nnc-dir"
    file = packed / "model.safetensors.nnc"
    assert_one_error(cli("weights", "pack", file), file, "is no folder")
    assert_one_error(cli("weights", "pack", packed), packed, "an archive already")
    out = tmp_path / "out"
    assert_one_error(cli("weights", "unpack", source, "-o", out), source, "holds no archives")
    assert_one_error(cli("weights", "unpack", source), source, "name the output")
    data = bytearray(file.read_bytes())
    data[-20] ^= 1
    file.write_bytes(data)
    result = cli("weights", "unpack", packed, "-o", out)
    assert_one_error(result, packed, r"model\.safetensors\.nnc: a block is damaged")
    file.write_bytes(data[:-4])
    result = cli("weights", "unpack", packed, "-o", out)
    assert_one_error(result, packed, "archive ends in the middle")
    assert names(tmp_path) == ["model", "model.nnc-dir"]
    for wrong in (["pack"], ["pack", str(source), "-l", "10"], ["pack", "-o"], ["pick"], []):
        assert cli("weights", *wrong).rc == 2


def test_ls(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = cli("weights", "ls", archive).out.decode().splitlines()
    assert lines[0].split() == ["dtype", "shape", "bytes", "coded", "bits", "blocks", "name"]
    cells = {line.split()[-1]: line.split() for line in lines[1:]}
    assert cells["a"][:5] == ["F32", "60", "x", "50", "12000"]
    assert cells["a"][5].startswith("~")  # shares its block
    assert cells["none"][:4] == ["F32", "0", "x", "4"]
    assert cells["one"][:3] == ["F32", "scalar", "4"]
    rows = json.loads(cli("weights", "ls", "--json", archive).out)
    assert {row["name"]: row["shape"] for row in rows}["half"] == [20, 10]
    assert {row["file"] for row in rows} == {str(archive)}
    shared = [
        row for row in rows if row["bytes"] and row["blocks"][0]["kind"] in ("tensors", "fields")
    ]
    (payload,) = {row["blocks"][0]["payload"] for row in shared}
    assert sum(row["coded_bytes"] for row in shared) == pytest.approx(payload, abs=0.01)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 6000)  # blocks of one tensor each
    archive.write_bytes(nncodec.compress(nncodec.decompress(archive.read_bytes()), 1))
    rows = json.loads(cli("weights", "ls", "--json", archive).out)
    exact = [row for row in rows if row["exact"] and row["bytes"]]
    assert exact
    for row in exact:
        assert row["coded_bytes"] == sum(block["payload"] for block in row["blocks"])
        assert row["bytes"] == sum(block["held"] for block in row["blocks"])
        elements = int(np.prod(row["shape"]))
        assert row["bits_per_weight"] == pytest.approx(8 * row["coded_bytes"] / elements, abs=1e-4)


def test_ls_of_folders(archive: Path) -> None:
    other = archive.parent / "deep"
    other.mkdir()
    data = safetensors.numpy.save({"\x1b[31mred": np.ones(4)})
    (other / "x.nnc").write_bytes(nncodec.compress(data, 1))
    out = cli("weights", "ls", archive.parent).out.decode()
    assert len(out.splitlines()) == 1 + 5 + 1
    assert str(other / "x.nnc") in out
    assert "\x1b" not in out
    (archive.parent / "text.nnc").write_bytes(nncodec.compress(b"text"))
    result = cli("weights", "ls", archive.parent)
    assert result.rc == 1
    assert len(result.errors) == 1
    assert "no container of tensors" in result.err
    assert len(result.out.splitlines()) == 7


def test_get(archive: Path) -> None:
    folder = archive.parent
    tensors = safetensors.torch.load(nncodec.decompress(archive.read_bytes()))
    for name in ("a", "none", "one"):
        assert cli("weights", "get", archive, name, "-o", folder / f"{name}.npy").rc == 0
        got = np.load(folder / f"{name}.npy", allow_pickle=False)
        assert (got.shape, got.tobytes()) == (
            tuple(tensors[name].shape),
            tensors[name].numpy().tobytes(),
        )
    for name, tensor in tensors.items():
        assert cli("weights", "get", archive, name, "-o", folder / "x.safetensors", "-f").rc == 0
        got_file = safetensors.torch.load_file(folder / "x.safetensors")
        assert list(got_file) == [name]
        assert torch.equal(got_file[name], tensor)
        assert got_file[name].dtype == tensor.dtype
    cut = folder / "cut.npy"
    assert cli("weights", "get", archive, "a", "--rows", "-7:-2", "-o", cut).rc == 0
    assert np.array_equal(np.load(cut), tensors["a"].numpy()[-7:-2])
    mask = os.umask(0)
    os.umask(mask)
    assert cut.stat().st_mode & 0o777 == 0o666 & ~mask


def test_get_of_fortran_arrays(tmp_path: Path) -> None:
    a = np.asfortranarray(np.arange(600.0).reshape(20, 30))
    plain = io.BytesIO()
    np.save(plain, a)
    (tmp_path / "a.npy.nnc").write_bytes(nncodec.compress(plain.getvalue(), 1))
    for args in ((), ("--rows", "3:9")):
        assert (
            cli(
                "weights",
                "get",
                tmp_path / "a.npy.nnc",
                "array",
                "-o",
                tmp_path / "a.npy",
                "-f",
                *args,
            ).rc
            == 0
        )
        assert np.array_equal(np.load(tmp_path / "a.npy"), a[3:9] if args else a)
    assert (
        cli("weights", "get", tmp_path / "a.npy.nnc", "array", "-o", tmp_path / "a.safetensors").rc
        == 0
    )
    assert np.array_equal(safetensors.numpy.load_file(tmp_path / "a.safetensors")["array"], a)


def test_get_that_fails(archive: Path) -> None:
    folder = archive.parent
    out = folder / "x.npy"

    def get(*args: str | Path) -> Result:
        return cli("weights", "get", *args, "-o", out)

    assert_one_error(get(archive, "halff"), archive, "did you mean 'half'")
    assert_one_error(get(archive, "half"), archive, r"\.safetensors file")
    assert_one_error(get(archive, "one", "--rows", "0:1"), archive, "0 axes")
    assert_one_error(get(folder / "no", "a"), folder / "no", "no such file")
    assert_one_error(get(folder, "a"), folder, "is a directory")
    assert not out.exists()
    for args in (
        ["-o", folder / "x.txt"],
        ["-o", out, "--rows", "3"],
        ["-o", out, "--rows", "a:b"],
        [],
    ):
        assert cli("weights", "get", archive, "a", *args).rc == 2
    out.write_text("mine")
    assert_one_error(get(archive, "a"), archive, "already exists")
    assert out.read_text() == "mine"
    assert names(folder) == [archive.name, "x.npy"]


def test_commands_are_registered_once() -> None:
    registered = [command.callback for command in app.registered_commands]
    assert registered[: len(COMMANDS)] == list(COMMANDS)
    assert len({callback.__name__ for callback in registered if callback}) == len(registered)


def test_commands_import_no_torch(archive: Path) -> None:
    report = "; import sys; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    call = "import sys; from nncodec.cli.app import app; app(sys.argv[1:], standalone_mode=False)"
    for args in (["ls", archive.name], ["get", archive.name, "a", "-o", "a.npy"]):
        result = run_python(call + report, "weights", *args, cwd=archive.parent)
        assert result.returncode == 0, python_fails(result)
        assert result.stdout.splitlines()[-1] == b"[]"
