"""Packing from URLs and to them: S3 by its protocol, memory://."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import run_python
from safetensors.numpy import save
from test_cli import assert_one_error, cli
from test_remote_s3 import BUCKET, PART, S3, s3, service, small_parts, url

import nncodec
from nncodec import pack
from nncodec.errors import PackError, RemoteError, RemoteExistsError
from nncodec.pack import objects, writer
from nncodec.remote import source
from nncodec.remote.source import RemoteSource

__all__ = ["s3", "service", "small_parts"]  # fixtures

LINES = (Path(nncodec.__file__).parent / "cli" / "lines.py").read_bytes()
NOISE = np.random.default_rng(5).bytes(1_300_000)  # longer than what one request reads
SMALL = {"block_size": 1 << 14, "frame_size": 1 << 19}


@pytest.fixture
def tree(s3: S3) -> dict[str, bytes]:
    files = {
        "docs/a.py": LINES,
        "docs/deep/again.py": LINES,
        "docs/deep/noise.bin": NOISE,
        "docs/empty": b"",
        "docs/odd ü+%20#.txt": b"odd",
        "docs/w.safetensors": save({"w": np.ones((128, 200), np.float32)}),
        "other.txt": b"not in docs",
    }
    for name, data in files.items():
        s3.put(name, data)
    s3.fs.pipe_file(f"{BUCKET}/docs/folder/", b"")  # as consoles mark folders
    s3.server.reset()
    return {name: data for name, data in files.items() if name.startswith("docs/")}


def contents(archive: str) -> dict[str, bytes]:
    with pack.PackedArchive(archive) as packed:
        files = (member.name for member in packed.members if member.kind == pack.Kind.FILE)
        return {name: packed.read(name) for name in files}


def test_from_s3_to_s3_and_back(s3: S3, tree: dict[str, bytes], tmp_path: Path) -> None:
    result = cli("pack", url("docs/"), "-o", url("c.nnc"), "--block-size", "16K")
    assert result.rc == 0, result.err
    gets = [(request.path, request.span) for request in s3.server.reads()]
    small = [span for path, span in gets if path.endswith("a.py")]
    assert small == [f"bytes=0-{len(LINES)}"]  # once, though there are two readings
    assert not [path for path, _ in gets if path.endswith("empty")]
    assert s3.pending() == []
    listed = cli("ls", url("c.nnc"))
    assert listed.out.decode().split("\n")[:-1] == sorted(tree)
    assert cli("cat", url("c.nnc"), "docs/odd ü+%20#.txt").out == b"odd"
    assert cli("unpack", url("c.nnc"), "-C", tmp_path / "out").rc == 0
    for name, data in tree.items():
        path = tmp_path / "out" / name
        assert path.read_bytes() == data
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        modified = s3.fs.info(f"{BUCKET}/{name}")["LastModified"]
        assert path.stat().st_mtime == modified.timestamp()
    with pack.PackedArchive(url("c.nnc")) as archive:
        member = archive.member("docs/a.py")
        assert (member.mode, member.uid, member.gid, member.user) == (0o644, None, None, None)
        assert archive.member("docs/a.py").extents == archive.member("docs/deep/again.py").extents
        assert archive.member("docs/w.safetensors").size == len(tree["docs/w.safetensors"])


def test_bytes_are_those_of_a_local_archive(
    s3: S3, tree: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, data in tree.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(data)
    pack.pack(["docs"], "local.nnc", **SMALL)
    summary = pack.pack(["docs"], url("uploaded.nnc"), **SMALL)
    assert s3.get("uploaded.nnc") == Path("local.nnc").read_bytes()
    assert summary.packed == Path("local.nnc").stat().st_size
    pack.pack([url("docs")], "fetched.nnc", **SMALL)
    pack.pack([url("docs")], url("both.nnc"), **SMALL)
    assert s3.get("both.nnc") == Path("fetched.nnc").read_bytes()
    # but for directories and what the system says of files, they are what local ones are
    names = [name for name in tree if os.path.isfile(name)]
    pack.pack(names, "plain.nnc", metadata=False, **SMALL)
    pack.pack([url("docs")], "plainly.nnc", metadata=False, **SMALL)
    assert Path("plainly.nnc").read_bytes() == Path("plain.nnc").read_bytes()


def test_patterns_exclusion_and_mixed_inputs(
    s3: S3, tree: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here").write_bytes(b"local")
    result = cli(
        *("pack", url("**/*.py"), url("other.txt"), "here", url("docs"), "-o", "c.nnc", "-q"),
        *("--exclude", "noise*", "--exclude", "docs/deep", "--exclude", "*.safetensors"),
    )
    assert result.rc == 0, result.err
    # deep is excluded as a folder of docs, not of a pattern's match
    expected = ["docs/a.py", "docs/deep/again.py", "docs/empty", "docs/odd ü+%20#.txt"]
    assert sorted(contents("c.nnc")) == [*expected, "here", "other.txt"]
    Path("other.txt").write_bytes(b"another one")
    result = cli("pack", url("other.txt"), "other.txt", "-o", "d.nnc")
    assert_one_error(result, "d.nnc", "would both be the member other.txt")
    assert_one_error(cli("pack", url("none/"), "-o", "d.nnc"), "d.nnc", f"{url('none/')}: no file")
    assert sorted(os.listdir()) == ["c.nnc", "here", "other.txt"]


def test_an_archive_that_is_there_stays(s3: S3, tree: dict[str, bytes]) -> None:
    s3.put("docs/c.nnc", b"there")
    result = cli("pack", url("docs/empty"), "-o", url("docs/c.nnc"))
    assert result.errors == [f"nncodec: {url('docs/c.nnc')} already exists; use -f to overwrite"]
    with pytest.raises(RemoteExistsError):
        pack.pack([url("docs/empty")], url("docs/c.nnc"))
    assert s3.get("docs/c.nnc") == b"there"
    result = cli("pack", url("docs/"), "-f", "-o", url("docs/c.nnc"), "--exclude", "noise*")
    assert result.rc == 0, result.err
    with pack.PackedArchive(url("docs/c.nnc")) as archive:
        assert "docs/c.nnc" not in archive
        assert "docs/a.py" in archive


def test_interrupted_leaves_nothing(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(6).bytes(PART + 3_000_000)
    s3.put("noise", noise)
    pending: list[list[str]] = []
    fetch = RemoteSource.fetch

    def failing(self: RemoteSource, begin: int, end: int) -> bytes:
        if self.ahead or end < len(noise):
            return fetch(self, begin, end)
        until = time.monotonic() + 20
        while not pending and not s3.pending() and time.monotonic() < until:  # a thread begins it
            time.sleep(0.05)
        pending.append(s3.pending())
        raise RemoteError(self.name, "the connection failed; try again")

    monkeypatch.setattr(RemoteSource, "fetch", failing)
    sizes = ["--block-size", "64K", "--frame-size", "512K", "--workers", "1"]
    result = cli("pack", url("noise"), "-o", url("c.nnc"), "-q", *sizes)
    assert_one_error(result, url("c.nnc"), "the connection failed")
    assert pending[0] == ["c.nnc"]  # the upload was under way
    assert s3.names() == ["noise"]
    assert s3.pending() == []
    local = tmp_path / "c.nnc"
    assert_one_error(cli("pack", url("noise"), "-o", local, "-q", *sizes), local, "connection")
    monkeypatch.setattr(RemoteSource, "fetch", fetch)
    result = cli("pack", url("noise"), "-o", local, *sizes)
    assert "going on with" in result.err
    assert contents(str(local)) == {"noise": noise}


def test_objects_that_change(
    s3: S3, tree: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(objects, "HELD", 0)  # else small ones would not be read again
    make_plan = writer.make_plan

    def changing(*arguments: Any) -> Any:
        s3.put("docs/deep/noise.bin", NOISE[::-1])
        s3.put("docs/a.py", LINES.upper())
        s3.fs.rm_file(f"{BUCKET}/docs/w.safetensors")
        return make_plan(*arguments)

    monkeypatch.setattr(writer, "make_plan", changing)
    result = cli("pack", url("docs"), "-o", tmp_path / "c.nnc", "-q", "--no-dedup")
    assert result.rc == 1
    lost = ["docs/a.py", "docs/deep/noise.bin", "docs/w.safetensors"]
    why = "changed or vanished while it was packed; left out"
    assert sorted(result.errors) == [f"nncodec: {url(name)}: {why}" for name in lost]
    assert contents(str(tmp_path / "c.nnc")) == {n: d for n, d in tree.items() if n not in lost}


def test_objects_that_are_not_what_was_listed(
    s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("x/grown", "x/long", "x/shrunk", "x/stays", "x/gone"):
        s3.put(name, NOISE if name == "x/long" else LINES)
    find = objects.find

    def changing(store: Any) -> Any:
        yield from find(store)
        s3.put("x/grown", LINES + b"more")
        s3.put("x/long", NOISE + b"more")
        s3.put("x/shrunk", LINES[:-1])
        s3.fs.rm_file(f"{BUCKET}/x/gone")
        s3.server.short = 1  # which is made good

    monkeypatch.setattr(objects, "find", changing)
    result = cli("pack", url("x/"), "-o", tmp_path / "c.nnc", "-q")
    assert result.rc == 1
    assert sorted(line.removeprefix("nncodec: ") for line in result.errors) == [
        f"{url('x/gone')}: no such file; check its name; left out",
        f"{url('x/grown')}: changed while it was read; left out",
        f"{url('x/long')}: changed while it was read; left out",
        f"{url('x/shrunk')}: changed while it was read; left out",
    ]
    assert contents(str(tmp_path / "c.nnc")) == {"x/stays": LINES}


def test_a_long_object_is_read_by_ranges(
    s3: S3, tree: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "PIECE", 1 << 18)
    noise = url("docs/deep/noise.bin")
    pack.pack([noise], tmp_path / "c.nnc", **SMALL)
    reads = s3.server.reads()
    pieces = -(-len(NOISE) // (1 << 18))
    assert all(request.span for request in reads)
    assert max(request.sent for request in reads) <= 1 << 18
    # planned, read, and read again in three pieces, whose chunks lie over both ends
    assert len(reads) <= 1 + pieces + pieces + 2 * 3
    assert sum(request.sent for request in reads) < 2 * len(NOISE) + 4 * (1 << 18)
    assert contents(str(tmp_path / "c.nnc")) == {"docs/deep/noise.bin": NOISE}


def test_names_that_no_member_can_have(s3: S3, tmp_path: Path) -> None:
    for name in ("x/file", "x/file/below", "x//twice", "x/./dot", "x/ok"):
        s3.put(name, name.encode())
    result = cli("pack", url("x/"), "-o", tmp_path / "c.nnc", "-q")
    assert result.rc == 1
    told = sorted(line.removeprefix("nncodec: ") for line in result.errors)
    assert told[0].startswith(url("x/./dot") + ": cannot be the name of a member")
    assert told[1].startswith(url("x//twice") + ": cannot be the name of a member")
    assert told[2].startswith(url("x/file/below") + ": lies below what is a file itself")
    assert len(told) == 3
    assert contents(str(tmp_path / "c.nnc")) == {"x/file": b"x/file", "x/ok": b"x/ok"}


@pytest.fixture
def memory() -> Iterator[Any]:
    fsspec = pytest.importorskip("fsspec")
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


def test_equal_objects_of_which_some_are_gone(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read from those that are there, the one that was open before being read on."""
    monkeypatch.setattr(objects, "HELD", 0)
    tensors = save({"w": np.ones((128, 200), np.float32)})
    files = {
        "top/a.bin": NOISE,
        "top/b.bin": NOISE + b"end",
        "top/c.txt": LINES,
        "top/d.txt": LINES,
        "top/e.safetensors": tensors,
        "top/f.safetensors": tensors,
    }
    for name, data in files.items():
        memory.pipe_file(name, data)
    make_plan = writer.make_plan

    def planned(*arguments: Any) -> Any:
        for name in ("top/b.bin", "top/c.txt", "top/e.safetensors"):
            memory.rm(name)
        memory.pipe_file("top/a.bin", bytes(70_000) + NOISE[70_000:])
        memory.pipe_file("top/b.bin", NOISE[:600_000] + b"x" + NOISE[600_001:] + b"end")
        return make_plan(*arguments)

    monkeypatch.setattr(writer, "make_plan", planned)
    warnings: list[str] = []
    target = str(tmp_path / "c.nnc")
    pack.pack(["memory://top"], target, **SMALL, warn=warnings.append)
    assert warnings == []
    assert contents(target) == files


def test_other_stores(memory: Any, tmp_path: Path) -> None:
    files = {"top/a.txt": b"some text\n", "top/b/c.txt": b"other text\n", "top/b/n": NOISE}
    for name, data in files.items():
        memory.pipe_file(name, data)
    summary = pack.pack(["memory://top"], "memory://out/c.nnc")
    assert (summary.files, summary.complete) == (3, True)
    assert contents("memory://out/c.nnc") == files
    with pack.PackedArchive("memory://out/c.nnc") as archive:
        created = archive.member("top/a.txt").mtime_ns
    assert created == round(memory.created("/top/a.txt").timestamp() * 10**6) * 1000
    pack.pack(["memory://top/**/*.txt", f"file://{tmp_path}"], "memory://out/d.nnc")
    assert {n for n in contents("memory://out/d.nnc") if n[:3] == "top"} == set(files) - {"top/b/n"}
    with pytest.raises(PackError, match="is a directory"):
        pack.pack(["memory://top"], "memory://out/")
    with pytest.raises(RemoteError, match="is for reading"):
        pack.pack(["memory://top"], "http://127.0.0.1/c.nnc")


def test_local_packing_imports_no_fsspec(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"text")
    code = (
        "import sys; from nncodec import pack; pack.pack([sys.argv[1] + '/a.txt'], sys.argv[2]); "
        "assert 'fsspec' not in sys.modules; assert 'nncodec.remote.store' not in sys.modules"
    )
    result = run_python(code, str(tmp_path), str(tmp_path / "c.nnc"))
    assert result.returncode == 0, result.stderr
