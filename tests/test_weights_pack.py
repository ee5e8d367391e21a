"""Folders of models in and out: byte for byte, nothing lost, nothing left half done."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from helpers import python_fails, run_python

import nncodec
from nncodec.errors import (
    CorruptDataError,
    FolderError,
    NNCodecError,
)
from nncodec.weights import pack, unpack
from nncodec.weights.folder import snapshot_of

Tree = dict[str, bytes]


def tree(folder: Path) -> Tree:
    """Every file by its name, links followed; empty folders as names that end with /."""
    found: Tree = {}
    for path, folders, files in os.walk(folder, followlinks=True):
        below = os.path.relpath(path, folder) + "/"
        found |= {below + name: (Path(path) / name).read_bytes() for name in files}
        if not folders and not files:
            found[below] = b""
    return found


def write_tree(folder: Path) -> Path:
    weights = {"a": torch.randn(40, 30), "b": torch.randn(7).bfloat16()}
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "empty").mkdir()
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    torch.save(weights, folder / "deep" / "er" / "pytorch_model.bin")
    np.save(folder / "deep" / "array.npy", np.arange(100.0))
    (folder / "none.safetensors").write_bytes(b"")
    (folder / "broken.gguf").write_bytes(b"GGUF, it says")
    (folder / "config.json").write_text("{}")
    (folder / "deep" / "tokenizer.model").write_bytes(bytes(range(256)))
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / ".hidden").write_text("x")
    os.utime(folder / "config.json", ns=(10**18, 10**18))
    return folder


def test_folders_come_back(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "model")
    before = tree(source)
    done = pack(source, level=1)
    packed = tmp_path / "model.nnc-dir"
    names = ["broken.gguf", "deep/array.npy", "deep/er/pytorch_model.bin", "model.safetensors"]
    names += ["none.safetensors"]
    assert [file.name for file in done] == names
    assert tree(packed).keys() == {
        f"{n}.nnc" if n.removeprefix("./") in names else n for n in before
    }
    for file in done:
        assert file.packed == (packed / f"{file.name}.nnc").stat().st_size
        assert (
            nncodec.decompress((packed / f"{file.name}.nnc").read_bytes())
            == (source / file.name).read_bytes()
        )
    assert (packed / "config.json").read_text() == "{}"
    assert unpack(packed, tmp_path / "back") == done
    assert tree(tmp_path / "back") == before == tree(source)
    for name in ("run.sh", "config.json"):
        one, two = (source / name).stat(), (tmp_path / "back" / name).stat()
        assert (one.st_mode, one.st_mtime_ns) == (two.st_mode, two.st_mtime_ns)
    shutil.rmtree(source)
    assert unpack(packed) == done  # to model
    assert tree(source) == before
    assert sorted(os.listdir(tmp_path)) == ["back", "model", "model.nnc-dir"]


def test_archives_are_those_of_compress(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "model")
    pack(source, tmp_path / "out", level=2, model="tiny", threads=1)
    for name in ("model.safetensors", "deep/array.npy"):
        archive = (tmp_path / "out" / f"{name}.nnc").read_bytes()
        assert archive == nncodec.compress((source / name).read_bytes(), 2, model="tiny")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "model")
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (out / "mine").write_text("mine")
    (out / "config.json").write_text("old")
    before = tree(out)
    with pytest.raises(FolderError, match=r"already exists.*force"):
        pack(source, out, level=1)
    assert tree(out) == before
    pack(source, out, level=1, force=True)
    assert (out / "mine").read_text() == "mine"
    assert (out / "config.json").read_text() == "{}"
    with pytest.raises(FolderError, match="already exists"):
        unpack(out, source)
    (source / "config.json").unlink()
    unpack(out, source, force=True)
    assert (source / "config.json").read_text() == "{}"
    (out / "run.sh").unlink()
    (out / "run.sh").mkdir()
    with pytest.raises(FolderError, match=r"run\.sh is in the way"):
        pack(source, out, level=1, force=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="is no folder"):
        pack(source, tmp_path / "file", level=1, force=True)
    (tmp_path / "hollow").mkdir()
    pack(source, tmp_path / "hollow", level=1)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_what_cannot_be_packed(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "model")
    for out in (source, source / "deep" / "out", tmp_path):
        with pytest.raises(FolderError, match="lies in what it is made of, or around it"):
            pack(source, out, level=1, force=True)
    with pytest.raises(FolderError, match="is no folder"):
        pack(source / "config.json", level=1)
    with pytest.raises(FolderError, match="no file of weights"):
        pack(source / "empty", level=1)
    with pytest.raises(NNCodecError, match="no level 0"):
        pack(source, level=0)
    (source / "deep" / "x.nnc").write_text("")
    with pytest.raises(FolderError, match=r"deep/x\.nnc, an archive already"):
        pack(source, level=1)
    (source / "deep" / "x.nnc").unlink()
    (source / "gone").symlink_to("nowhere")
    with pytest.raises(FolderError, match="gone is a link that leads nowhere"):
        pack(source, level=1)
    (source / "gone").unlink()
    os.mkfifo(source / "pipe")
    with pytest.raises(FolderError, match="pipe is no regular file"):
        pack(source, level=1)
    (source / "pipe").unlink()
    (source / "deep" / "up").symlink_to("..")
    with pytest.raises(FolderError, match="deep/up/ is a link to a folder that holds it"):
        pack(source, level=1)
    assert os.listdir(tmp_path) == ["model"]


def test_what_cannot_be_unpacked(tmp_path: Path) -> None:
    pack(write_tree(tmp_path / "model"), tmp_path / "out", level=1)
    with pytest.raises(FolderError, match="name the output"):
        unpack(tmp_path / "out")
    with pytest.raises(FolderError, match="holds no archives"):
        unpack(tmp_path / "model", tmp_path / "back")
    shutil.copy(tmp_path / "model" / "model.safetensors", tmp_path / "out")
    with pytest.raises(FolderError, match=r"both model\.safetensors\.nnc and model\.safetensors"):
        unpack(tmp_path / "out", tmp_path / "back")
    (tmp_path / "out" / "model.safetensors").unlink()
    archive = tmp_path / "out" / "model.safetensors.nnc"
    whole = archive.read_bytes()
    for broken in (
        whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
        whole[:-5],
        whole + b"x",
        b"",
        b"text",
    ):
        archive.write_bytes(broken)
        with pytest.raises(CorruptDataError, match=r"^model\.safetensors\.nnc: "):
            unpack(tmp_path / "out", tmp_path / "back")
        assert sorted(os.listdir(tmp_path)) == ["model", "out"]


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    source = write_tree(tmp_path / "model")

    def stop(_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(source, level=1, progress=stop)
    assert os.listdir(tmp_path) == ["model"]


def cached_repo(folder: Path) -> Path:
    """A repository as huggingface_hub keeps it: links into blobs."""
    repo = folder / "models--me--model"
    for revision in ("aaa", "bbb"):
        (repo / "snapshots" / revision).mkdir(parents=True)
    (repo / "blobs").mkdir()
    safetensors.torch.save_file({"w": torch.ones(40, 40)}, repo / "blobs" / "123")
    (repo / "blobs" / "456").write_text("{}")
    for name, blob in (("model.safetensors", "123"), ("config.json", "456")):
        (repo / "snapshots" / "bbb" / name).symlink_to(f"../../blobs/{blob}")
    return repo


def test_repositories_in_the_cache(tmp_path: Path) -> None:
    repo = cached_repo(tmp_path)
    with pytest.raises(FolderError, match="revisions aaa, bbb"):
        pack(repo, level=1)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("bbb")
    assert snapshot_of(repo) == repo / "snapshots" / "bbb"
    pack(repo, level=1)
    packed = tmp_path / "models--me--model.nnc-dir"
    assert sorted(os.listdir(packed)) == ["config.json", "model.safetensors.nnc"]
    assert not (packed / "config.json").is_symlink()
    unpack(packed, tmp_path / "back")
    assert tree(tmp_path / "back") == tree(repo / "snapshots" / "bbb")
    shutil.rmtree(repo / "snapshots" / "aaa")
    (repo / "refs" / "main").unlink()
    assert snapshot_of(repo) == repo / "snapshots" / "bbb"


def test_packing_needs_no_torch(tmp_path: Path) -> None:
    pack_code = (
        "import sys; sys.modules['torch'] = None\n"
        "import nncodec\n"
        "nncodec.weights.pack('model', level=1)\n"
        "print(len(nncodec.weights.unpack('model.nnc-dir', 'back')))\n"
    )
    before = tree(write_tree(tmp_path / "model"))
    result = run_python(pack_code, cwd=tmp_path)
    assert result.stdout == b"5\n", python_fails(result)
    assert tree(tmp_path / "back") == before


if sys.platform == "win32":
    pytestmark = pytest.mark.skip(reason="links and pipes need POSIX")
