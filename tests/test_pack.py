"""Packing real trees and giving them back: contents, metadata, duplicates, the command line."""

from __future__ import annotations

import json
import os
import pickle
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers import CLI, run_python
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from test_cli import cli

import nncodec
from nncodec import pack
from nncodec.errors import MemberNotFoundError, PackError
from nncodec.pack import chunks, plan

SOURCES = Path(nncodec.__file__).parent / "cli"
TIME = 1_000_000_000_123_456_789


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small real tree: sources, a duplicate, an empty file and directory, links, odd names."""
    monkeypatch.chdir(tmp_path)
    top = tmp_path / "tree"
    (top / "sub" / "empty").mkdir(parents=True)
    for name in ("lines.py", "sizes.py", "progress.py"):
        (top / name).write_bytes((SOURCES / name).read_bytes())
    (top / "sub" / "again.py").write_bytes((SOURCES / "sizes.py").read_bytes())
    (top / "nothing").touch()
    (top / "sub" / "link").symlink_to("../lines.py")
    (top / os.fsdecode(b"odd \xff\n name")).write_bytes(b"odd")
    os.link(top / "progress.py", top / "sub" / "hard.py")
    (top / "sizes.py").chmod(0o751)
    (top / "sub" / "empty").chmod(0o700)
    os.utime(top / "lines.py", ns=(TIME, TIME))
    os.utime(top / "sub" / "empty", ns=(TIME - 5, TIME - 5))
    os.utime(top / "sub" / "link", ns=(TIME - 7, TIME - 7), follow_symlinks=False)
    os.utime(top / "sub", ns=(TIME - 9, TIME - 9))
    return top


def snapshot(top: Path) -> dict[str, tuple[object, ...]]:
    """All that unpacking restores: kind, mode, time, contents or target."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [top, *top.rglob("*")]:
        status = path.lstat()
        held: object = None
        if path.is_symlink():
            held = os.readlink(path)
        elif path.is_file():
            held = path.read_bytes()
        found[str(path.relative_to(top))] = (oct(status.st_mode), status.st_mtime_ns, held)
    return found


def test_a_tree_comes_back(tree: Path) -> None:
    before = snapshot(tree)
    result = cli("pack", "tree", "-o", "c.nnc")
    assert result.rc == 0, result.err
    assert not Path("c.nnc.partial").exists()
    assert cli("unpack", "c.nnc", "-C", "out").rc == 0
    assert snapshot(tree) == before
    assert snapshot(Path("out/tree")) == before


def test_the_archive_is_an_ordinary_one(tree: Path) -> None:
    pack.pack(["tree"], "c.nnc")
    contents = nncodec.decompress(Path("c.nnc").read_bytes())
    assert cli("test", "c.nnc").rc == 0
    with pack.PackedArchive("c.nnc") as archive:
        assert len(contents) == archive.content_size
        for member in archive.members:
            held = b"".join(contents[begin : begin + size] for begin, size in member.extents)
            if member.is_file:
                assert held == (tree.parent / member.name).read_bytes()


def test_reading_members(tree: Path) -> None:
    pack.pack(["tree"], "c.nnc")
    with pack.PackedArchive("c.nnc") as archive:
        assert list(archive.names) == sorted(archive.names, key=os.fsencode)
        assert "tree/lines.py" in archive
        assert "tree/line" not in archive
        text = (tree / "lines.py").read_bytes()
        assert archive.read("tree/lines.py") == text
        assert archive.read("tree/nothing") == b""
        assert archive.read(os.fsdecode(b"tree/odd \xff\n name")) == b"odd"
        with archive.open("tree/lines.py") as file:
            assert file.readline() == text.splitlines(True)[0]
            file.seek(-10, os.SEEK_END)
            assert file.read() == text[-10:]
        member = archive.member("tree/lines.py")
        assert (member.size, member.mtime_ns) == (len(text), TIME)
        assert (member.uid, member.gid) == (os.getuid(), os.getgid())
        assert archive.member("tree/sub/link").target == "../lines.py"
        assert [m.name for m in archive.members] == list(archive.names)
        with pytest.raises(MemberNotFoundError, match="no member 'tree/lin'"):
            archive.read("tree/lin")
        with pytest.raises(PackError, match="is a directory"):
            archive.read("tree/sub")
        with pytest.raises(PackError, match=r"symbolic link to \.\./lines\.py"):
            archive.read("tree/sub/link")
        other = pickle.loads(pickle.dumps(archive))
        assert other.read("tree/lines.py") == text
        other.close()


def test_what_is_there_twice_is_kept_once(tree: Path) -> None:
    summary = pack.pack(["tree"], "c.nnc")
    sizes, progress = (len((SOURCES / name).read_bytes()) for name in ("sizes.py", "progress.py"))
    assert summary.size - summary.content == sizes + progress
    with pack.PackedArchive("c.nnc") as archive:
        again = archive.member("tree/sub/again.py")
        assert again.extents == archive.member("tree/sizes.py").extents
        assert archive.read("tree/sub/again.py") == (SOURCES / "sizes.py").read_bytes()
    plain = pack.pack(["tree"], "d.nnc", dedup=False)
    assert plain.content == plain.size == summary.size


def test_shifted_parts_of_large_files_are_found_again(tmp_path: Path) -> None:
    """Random bytes, so that nothing but equal chunks can make the archive small."""
    rng = np.random.default_rng(5)
    first = rng.integers(0, 256, 3 << 20, dtype=np.uint8).tobytes()
    (tmp_path / "a.bin").write_bytes(first)
    (tmp_path / "b.bin").write_bytes(b"inserted" + first[: 1 << 20] + b"more" + first[1 << 20 :])
    summary = pack.pack([str(tmp_path)], tmp_path / "c.nnc")
    assert summary.size > 6 << 20
    assert summary.content < (3 << 20) + 4 * chunks.MOST
    with pack.PackedArchive(tmp_path / "c.nnc") as archive:
        for name in archive.names:
            if archive.member(name).is_file:
                assert archive.read(name) == (Path("/") / name).read_bytes()


@given(st.binary(max_size=300), st.integers(0, 2**32), st.integers(0, 5))
def test_chunks_are_all_of_the_file_wherever_it_is_read(
    start: bytes, seed: int, parts: int
) -> None:
    rng = np.random.default_rng(seed)
    data = np.frombuffer(start + rng.bytes(parts * 150_000), np.uint8)
    ends = chunks.ends_of(data, last=True)
    assert ends == sorted(set(ends))
    assert (ends[-1] if ends else 0) == len(data)
    sizes = np.diff([0, *ends])
    assert all(chunks.LEAST < size <= chunks.MOST for size in sizes[:-1])
    firm = chunks.ends_of(data[: len(data) * 2 // 3], last=False)
    assert ends[: len(firm)] == firm


def test_gear_is_the_sum_that_it_is_said_to_be() -> None:
    data = np.frombuffer(np.random.default_rng(1).bytes(500), np.uint8)
    rolling, found = 0, chunks.gear(data)
    for value, hashed in zip(data, found, strict=True):
        rolling = (rolling << 1) + int(chunks.GEAR[value]) & 0xFFFFFFFF
        assert rolling == hashed


def test_no_small_member_leaves_its_block(tree: Path) -> None:
    pack.pack([str(SOURCES)], "c.nnc", block_size=1 << 14)
    with pack.PackedArchive("c.nnc") as archive:
        for member in archive.members:
            before = archive.blocks_decoded
            if member.is_file and member.size <= 1 << 14:
                archive.read(member.name)
                assert archive.blocks_decoded - before <= 1


def test_pieces() -> None:
    files = [
        (10, False),
        (80, False),
        (20, False),
        (250, False),
        (5, False),
        (70, True),
        (9, False),
    ]
    ends, whole = plan.cut_pieces(files, 100, 200)
    assert ends.tolist() == [90, 110, 310, 360, 365, 435, 444]
    assert np.flatnonzero(whole).tolist() == [5]


def test_tensors_are_found(tmp_path: Path) -> None:
    weights = np.random.default_rng(2).normal(size=(300, 200)).astype(np.float32)
    save_file({"w": weights}, tmp_path / "w.safetensors")
    pack.pack([str(tmp_path)], tmp_path / "c.nnc")
    kinds = nncodec.info((tmp_path / "c.nnc").read_bytes()).blocks
    assert "fields" in kinds
    with pack.PackedArchive(tmp_path / "c.nnc") as archive:
        name = next(name for name in archive.names if name.endswith(".safetensors"))
        assert archive.read(name) == (tmp_path / "w.safetensors").read_bytes()


def test_an_empty_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    assert cli("pack", "empty", "-o", "c.nnc").rc == 0
    assert cli("ls", "c.nnc").out == b"empty\n"
    assert nncodec.decompress(Path("c.nnc").read_bytes()) == b""
    assert cli("unpack", "c.nnc", "-C", "out").rc == 0
    assert Path("out/empty").is_dir()


def test_archives_one_behind_the_other(tree: Path) -> None:
    """The last one's index is the one that is read; offsets are its own."""
    pack.pack(["tree"], "c.nnc")
    Path("two.nnc").write_bytes(nncodec.compress(b"before", 1) + Path("c.nnc").read_bytes())
    with pack.PackedArchive("two.nnc") as archive:
        assert archive.read("tree/lines.py") == (tree / "lines.py").read_bytes()
    assert nncodec.decompress(Path("two.nnc").read_bytes()).startswith(b"before")


@pytest.mark.parametrize("engine", ["inline", "thread", "process"])
def test_whoever_codes_the_blocks_the_bytes_are_the_same(tree: Path, engine: str) -> None:
    (tree / "noise").write_bytes(np.random.default_rng(1).bytes(50_000))
    common = ["--block-size", "4K", "-f"]
    assert cli("pack", "tree", "-o", "whole.nnc", *common).rc == 0
    workers = ["--engine", engine, "--workers", "1" if engine == "inline" else "2"]
    assert cli("pack", "tree", "-o", "c.nnc", *common, *workers).rc == 0
    assert Path("c.nnc").read_bytes() == Path("whole.nnc").read_bytes()
    assert cli("unpack", "c.nnc", "-C", "out", *workers).rc == 0
    assert snapshot(Path("out/tree")) == snapshot(tree)


def test_an_archive_behind_a_url(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request for the tail, one for the frame, which are no more than that."""
    import fsspec

    from nncodec.remote.source import RemoteSource

    (tree / "noise").write_bytes(np.random.default_rng(1).bytes(300_000))
    pack.pack(["tree"], "c.nnc")
    fsspec.filesystem("memory").pipe("/packed/c.nnc", Path("c.nnc").read_bytes())
    asked: list[int] = []
    fetch = RemoteSource.fetch

    def counted(source: RemoteSource, begin: int, end: int) -> bytes:
        asked.append(end - begin)
        return fetch(source, begin, end)

    monkeypatch.setattr(RemoteSource, "fetch", counted)
    url = "memory://packed/c.nnc"
    assert cli("cat", url, "tree/lines.py").out == (tree / "lines.py").read_bytes()
    assert len(asked) == 2
    assert sum(asked) < 80_000 < Path("c.nnc").stat().st_size // 3
    assert cli("ls", url).out == cli("ls", "c.nnc").out
    assert cli("unpack", url, "-C", "out").rc == 0
    assert snapshot(Path("out/tree")) == snapshot(tree)
    assert cli("pack", "tree", "-o", "memory://packed/d.nnc").rc == 0
    assert fsspec.filesystem("memory").cat("/packed/d.nnc") == Path("c.nnc").read_bytes()


def test_many_threads_read_one_archive(tree: Path) -> None:
    pack.pack([str(SOURCES)], "c.nnc", block_size=1 << 12)
    wrong: list[str] = []
    with pack.PackedArchive("c.nnc") as archive:
        names = [member.name for member in archive.members if member.name.endswith(".py")][:6]

        def read(order: list[str]) -> None:
            wrong.extend(n for n in order if archive.read(n) != Path("/" + n).read_bytes())

        threads = [threading.Thread(target=read, args=(names[i:] + names[:i],)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_the_same_tree_gives_the_same_bytes(tree: Path) -> None:
    pack.pack(["tree"], "a.nnc", metadata=False)
    os.utime(tree / "sizes.py", ns=(5, 5))
    (tree / "lines.py").chmod(0o600)
    pack.pack(["tree/sub", "tree/../tree", "tree"], "b.nnc", metadata=False)
    assert Path("a.nnc").read_bytes() == Path("b.nnc").read_bytes()
    with pack.PackedArchive("a.nnc") as archive:
        member = archive.member("tree/sizes.py")
        assert (member.mode, member.mtime_ns, member.uid, member.user) == (0o755, None, None, None)
        assert archive.member("tree/lines.py").mode == 0o644
    (tree / "sizes.py").chmod(0o644)
    pack.pack(["tree"], "c.nnc", metadata=False)
    assert Path("a.nnc").read_bytes() != Path("c.nnc").read_bytes()


def test_exclude_globs_and_lists(tree: Path) -> None:
    assert cli("pack", "tree/*.py", "-o", "a.nnc", "--exclude", "si*.py").rc == 0
    assert cli("ls", "a.nnc").out == b"tree/lines.py\ntree/progress.py\n"
    assert cli("pack", "tree", "-o", "b.nnc", "--exclude", "sub", "--exclude", "tree/odd*").rc == 0
    assert b"sub" not in cli("ls", "b.nnc").out
    names = b"tree/lines.py\ntree/sizes.py\n"
    assert cli("pack", "-o", "c.nnc", "--files-from", "-", stdin=names).rc == 0
    assert cli("ls", "c.nnc").out == names
    odd = b"tree/odd \xff\n name\0"
    assert cli("pack", "-o", "d.nnc", "--files-from", "-", "--null", stdin=odd).rc == 0
    assert cli("ls", "d.nnc").out == odd[:-1] + b"\n"
    with pytest.raises(PackError, match="no such file"):
        pack.pack(["tree/*.none"], "e.nnc")


def test_two_files_of_one_name(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("lines.py").write_text("another")
    monkeypatch.chdir(tree)
    with pytest.raises(PackError, match=r"lines\.py and .*lines\.py would both be the member"):
        pack.pack(["lines.py", "../lines.py"], "c.nnc")
    assert not Path("c.nnc.partial").exists()


def test_what_is_no_file_is_left_out(tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    result = cli("pack", "tree", "-o", "c.nnc")
    assert result.rc == 1
    assert "nncodec: tree/pipe: is a named pipe; left out" in result.errors
    assert b"pipe" not in cli("ls", "c.nnc").out
    assert cli("cat", "c.nnc", "tree/lines.py").out == (tree / "lines.py").read_bytes()


def test_the_archive_does_not_pack_itself(tree: Path) -> None:
    first = pack.pack(["tree"], "tree/c.nnc")
    Path("other").symlink_to("tree")
    Path("tree/c.nnc.partial").write_bytes(b"of a run that was killed")
    again = pack.pack(["tree"], "other/c.nnc", replace=True)
    assert (first.members, first.complete) == (again.members, again.complete)
    assert b"c.nnc" not in cli("ls", "tree/c.nnc").out


def test_commands(tree: Path) -> None:
    assert cli("pack", "tree", "-o", "c.nnc").rc == 0
    refused = cli("pack", "tree", "-o", "c.nnc")
    assert refused.rc == 1
    assert refused.errors == ["nncodec: c.nnc: c.nnc already exists; use -f to overwrite"]
    assert cli("pack", "tree", "-o", "c.nnc", "-f", "-q").err == ""
    both = cli("cat", "c.nnc", "tree/lines.py", "tree/sizes.py").out
    assert both == (tree / "lines.py").read_bytes() + (tree / "sizes.py").read_bytes()
    missing = cli("cat", "c.nnc", "tree/lines.py", "absent")
    assert (missing.rc, missing.out) == (1, b"")
    line = cli("ls", "c.nnc", "-l", "tree/sizes.py").out.decode()
    assert line.startswith("-rwxr-x--x ")
    assert line.rstrip().endswith("tree/sizes.py")
    row = json.loads(cli("ls", "c.nnc", "--json", "tree/lines.py").out)[0]
    assert (row["mtime_ns"], row["kind"], row["mode"]) == (TIME, "file", "0644")
    assert cli("pack", "-o", "c.nnc").rc == 2
    assert cli("pack", "tree", "-o", "x.nnc", "--block-size", "3").rc == 2
    assert cli("ls", "tree/lines.py").rc == 1
    Path("plain.nnc").write_bytes(nncodec.compress(b"not packed", 1))
    assert "is no packed archive" in cli("ls", "plain.nnc").err


def test_unpacking_some(tree: Path) -> None:
    pack.pack(["tree"], "c.nnc")
    assert cli("unpack", "c.nnc", "tree/sub", "-C", "a").rc == 0
    assert {str(p.relative_to("a/tree/sub")) for p in Path("a/tree/sub").iterdir()} == {
        "again.py",
        "empty",
        "hard.py",
        "link",
    }
    assert cli("unpack", "c.nnc", "*/l*.py", "-C", "b").rc == 0
    assert [str(p) for p in Path("b").rglob("*") if p.is_file()] == ["b/tree/lines.py"]
    assert cli("unpack", "c.nnc", "absent", "-C", "b").rc == 1
    Path("b/tree/lines.py").write_text("mine")
    kept = cli("unpack", "c.nnc", "tree/lines.py", "-C", "b")
    assert kept.rc == 1
    assert kept.errors == ["nncodec: tree/lines.py: already exists; use -f to overwrite"]
    assert Path("b/tree/lines.py").read_text() == "mine"
    assert cli("unpack", "c.nnc", "tree/lines.py", "-C", "b", "-f").rc == 0
    assert Path("b/tree/lines.py").read_bytes() == (tree / "lines.py").read_bytes()
    assert sorted(os.listdir("b/tree")) == ["lines.py"]


def test_set_id_bits_are_for_those_who_ask(tree: Path) -> None:
    (tree / "sizes.py").chmod(0o4755)
    pack.pack(["tree/sizes.py"], "c.nnc")
    assert cli("unpack", "c.nnc", "-C", "a").rc == 0
    assert stat.S_IMODE(os.stat("a/tree/sizes.py").st_mode) == 0o755
    assert cli("unpack", "c.nnc", "-C", "b", "--same-owner").rc == 0
    assert stat.S_IMODE(os.stat("b/tree/sizes.py").st_mode) == 0o4755


def test_help_imports_little(tmp_path: Path) -> None:
    for command in ("pack", "cat"):
        code = f"import sys; sys.argv[1:] = [{command!r}, '--help']\n" + (
            "import atexit; atexit.register(lambda: print([m for m in sys.modules if m in "
            "('torch', 'nncodec.pack', 'nncodec.pack.reader')]))\n" + CLI
        )
        result = run_python(code, cwd=tmp_path)
        assert result.stdout.splitlines()[-1] == b"[]", (result.stdout, result.stderr)
