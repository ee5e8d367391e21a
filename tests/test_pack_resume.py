"""Packing that is killed, and files that change while they are packed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
from helpers import CLI
from safetensors.numpy import save_file

import nncodec
from nncodec import pack
from nncodec.errors import PackError
from nncodec.pack import partial, source, survey, writer
from nncodec.pack.plan import Plan

SOURCES = Path(nncodec.__file__).parent / "cli"
SMALL = {"block_size": 1 << 13, "frame_size": 1 << 14}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    top = tmp_path / "tree"
    top.mkdir()
    rng = np.random.default_rng(3)
    for path in (SOURCES / name for name in ("app.py", "lines.py")):
        (top / path.name).write_bytes(path.read_bytes())
    for number in range(20):  # of noise: soon coded
        (top / f"{number}.bin").write_bytes(rng.bytes(3_000 + 100 * number))
    (top / "noise").write_bytes(rng.bytes(100_000))  # larger than a block
    save_file({"w": np.ones((128, 200), np.float32)}, top / "w.safetensors")
    return top


def kill_in_the_middle(arguments: list[str], part: Path, size: int) -> None:
    """Start a real pack, and kill -9 it once its partial archive has ``size`` bytes."""
    with subprocess.Popen(
        [sys.executable, "-c", CLI, *arguments], stderr=subprocess.PIPE
    ) as process:
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until:
            if part.exists() and part.stat().st_size > size:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.001)
        _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors


def test_killed_twice_and_gone_on_with(tree: Path) -> None:
    blocks = ["--block-size", "2K", "--frame-size", "4K", "--workers", "1"]
    pack.pack(["tree"], "whole.nnc", block_size=1 << 11, frame_size=1 << 12)
    part, arguments = Path("c.nnc.partial"), ["pack", "tree", "-o", "c.nnc", *blocks]
    kill_in_the_middle(arguments, part, 20_000)
    kill_in_the_middle(arguments, part, 60_000)
    assert not Path("c.nnc").exists()
    result = subprocess.run(
        [sys.executable, "-c", CLI, *arguments], capture_output=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert b"going on with c.nnc.partial: " in result.stderr
    assert Path("c.nnc").read_bytes() == Path("whole.nnc").read_bytes()
    assert sorted(os.listdir()) == ["c.nnc", "tree", "whole.nnc"]


def cut_at(monkeypatch: pytest.MonkeyPatch, pieces: int) -> None:
    """Fail, as if the disk were full, once so many pieces are done."""
    done = 0
    end_piece = writer.Run.end_piece

    def counted(run: writer.Run, number: int) -> None:
        nonlocal done
        end_piece(run, number)
        done += 1
        if done == pieces:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer.Run, "end_piece", counted)


def pack_until_full(patch: pytest.MonkeyPatch, pieces: int) -> None:
    cut_at(patch, pieces)
    with pytest.raises(OSError, match="No space left"):
        pack.pack(["tree"], "c.nnc", **SMALL)


@pytest.mark.parametrize("pieces", [1, 8, 20])
def test_wherever_it_ends_the_bytes_are_the_same(
    tree: Path, monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    whole = pack.pack(["tree"], "whole.nnc", **SMALL)
    with monkeypatch.context() as patch:
        pack_until_full(patch, pieces)
    notes: list[str] = []
    summary = pack.pack(["tree"], "c.nnc", **SMALL, note=notes.append)
    assert Path("c.nnc").read_bytes() == Path("whole.nnc").read_bytes()
    assert summary.packed == whole.packed
    assert (summary.resumed > 0) == (pieces > 4), (summary, notes)


@pytest.mark.parametrize("size", [3, 60, 5_000, 60_000])
def test_a_partial_archive_cut_anywhere(tree: Path, size: int) -> None:
    pack.pack(["tree"], "whole.nnc", **SMALL)
    whole = Path("whole.nnc").read_bytes()
    for junk in (b"", bytes(5_000)):  # zeros: what a power failure may leave of what was not synced
        Path("c.nnc.partial").write_bytes(whole[:size] + junk)
        summary = pack.pack(["tree"], "c.nnc", **SMALL, replace=True)
        assert Path("c.nnc").read_bytes() == whole
        assert summary.resumed < size or size < 100


def test_another_plan_is_begun_anew(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        pack_until_full(patch, 20)
    (tree / "app.py").write_text("now something else")
    notes: list[str] = []
    summary = pack.pack(["tree"], "c.nnc", **SMALL, note=notes.append)
    assert summary.resumed == 0
    assert notes[0].startswith("c.nnc.partial is of other files or options")
    with pack.PackedArchive("c.nnc") as archive:
        assert archive.read("tree/app.py") == b"now something else"


def test_killed_between_two_names(tree: Path) -> None:
    """The archive is complete, and has its name already: it must not be written to."""
    pack.pack(["tree"], "c.nnc", **SMALL)
    before = Path("c.nnc").read_bytes()
    os.link("c.nnc", "c.nnc.partial")
    (tree / "app.py").unlink()
    with Path("c.nnc").open("rb") as kept:
        pack.pack(["tree"], "c.nnc", **SMALL, replace=True)
        assert kept.read() == before
    assert Path("c.nnc").read_bytes() != before
    assert not Path("c.nnc.partial").exists()


def test_two_at_once(tree: Path) -> None:
    with (
        writer.open_partial(Path("c.nnc.partial")),
        pytest.raises(PackError, match="another process"),
    ):
        pack.pack(["tree"], "c.nnc", **SMALL)
    assert not Path("c.nnc").exists()


@pytest.mark.parametrize("streamed", [False, True])
def test_another_is_complete_in_the_moment_before_it_is_locked(
    tree: Path, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    """What was opened as the partial archive is the archive by then: it is not written to."""
    pack.pack(["tree/app.py"], "other.nnc", **SMALL)
    archive, lock = Path("other.nnc").read_bytes(), partial.lock

    def late(file: BinaryIO, name: str) -> None:
        if Path("other.nnc").exists():
            Path("c.nnc.partial").write_bytes(archive)
            os.unlink("other.nnc")
            os.rename("c.nnc.partial", "c.nnc")
        lock(file, name)

    def again() -> None:
        if not streamed:
            pack.pack(["tree/lines.py"], "c.nnc", **SMALL)
            return
        with pack.PackWriter("c.nnc") as stream:
            stream.add("a", b"a")

    monkeypatch.setattr(partial, "lock", late)
    with pytest.raises(PackError, match=r"c\.nnc already exists"):
        again()
    assert Path("c.nnc").read_bytes() == archive


def after_planning(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    make = writer.make_plan

    def planned(*arguments: object) -> Plan:
        plan = make(*arguments)  # type: ignore[arg-type]
        change()
        return plan

    monkeypatch.setattr(writer, "make_plan", planned)


CHANGES: dict[str, Callable[[Path], object]] = {
    "gone": lambda top: (top / "app.py").unlink(),
    "changed": lambda top: (top / "app.py").write_bytes(bytes((top / "app.py").stat().st_size)),
    "shorter": lambda top: os.truncate(top / "app.py", 100),
    "a link": lambda top: ((top / "app.py").unlink(), (top / "app.py").symlink_to("noise")),
    "a directory": lambda top: ((top / "app.py").unlink(), (top / "app.py").mkdir()),
    "large": lambda top: os.truncate(top / "noise", 50_000),
    "tensors": lambda top: os.truncate(top / "w.safetensors", 50_000),
    "others": lambda top: (top / "w.safetensors").write_bytes(bytes(102_480)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_is_left_out(
    tree: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    names = {"large": "noise", "tensors": "w.safetensors", "others": "w.safetensors"}
    name = names.get(change, "app.py")
    before = {path.name: path.read_bytes() for path in tree.iterdir()}
    after_planning(monkeypatch, lambda: CHANGES[change](tree))
    warnings: list[str] = []
    summary = pack.pack(["tree"], "c.nnc", **SMALL, warn=warnings.append)
    assert not summary.complete
    assert warnings == [f"tree/{name}: changed or vanished while it was packed; left out"]
    with pack.PackedArchive("c.nnc") as archive:
        assert f"tree/{name}" not in archive
        held = {m.name: archive.read(m.name) for m in archive.members if m.is_file}
    assert held == {f"tree/{n}": data for n, data in before.items() if n != name}
    nncodec.decompress(Path("c.nnc").read_bytes())


def test_tensors_that_change_while_they_are_coded(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was hashed is not what was coded then."""
    finish = source.Pieces.finish

    def touched(pieces: source.Pieces, number: int) -> list[source.Void]:
        if pieces.plan.whole[number]:
            os.utime(tree / "w.safetensors", ns=(1, 1))
        return finish(pieces, number)

    monkeypatch.setattr(source.Pieces, "finish", touched)
    warnings: list[str] = []
    pack.pack(["tree"], "c.nnc", **SMALL, warn=warnings.append)
    assert warnings == ["tree/w.safetensors: changed or vanished while it was packed; left out"]
    with pack.PackedArchive("c.nnc") as archive:
        assert "tree/w.safetensors" not in archive


def test_what_was_void_is_read_again_when_it_is_gone_on_with(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is what it was again by then: the archive is that of a run without a kill."""
    whole = pack.pack(["tree"], "whole.nnc", **SMALL)
    data = (tree / "4.bin").read_bytes()
    times = (tree / "4.bin").stat()
    with monkeypatch.context() as patch:
        after_planning(patch, lambda: (tree / "4.bin").write_bytes(bytes(len(data))))
        pack_until_full(patch, 20)
    (tree / "4.bin").write_bytes(data)
    os.utime(tree / "4.bin", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert partial.void_frame([])[:5] in Path("c.nnc.partial").read_bytes()
    warnings: list[str] = []
    summary = pack.pack(["tree"], "c.nnc", **SMALL, warn=warnings.append)
    assert summary.resumed > 0
    assert (warnings, summary.complete, summary.members) == ([], True, whole.members)
    assert Path("c.nnc").read_bytes() == Path("whole.nnc").read_bytes()


def test_what_another_file_has_too_is_read_from_there(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An equal file, parts of one, and a file of tensors: all that was found is packed."""
    noise, tensors = (tree / "noise").read_bytes(), (tree / "w.safetensors").read_bytes()
    for name in ("app.py", "noise", "w.safetensors"):
        (tree / f"again {name}").write_bytes((tree / name).read_bytes())
    (tree / "zz").write_bytes(noise[:90_000] + b"another end")
    pack.pack(["tree"], "whole.nnc", **SMALL)

    def change() -> None:
        for name in ("again app.py", "again noise", "noise", "again w.safetensors"):
            (tree / name).write_bytes(b"changed")

    after_planning(monkeypatch, change)
    warnings: list[str] = []
    pack.pack(["tree"], "c.nnc", **SMALL, warn=warnings.append)
    assert warnings == [  # of both the last chunk is nowhere else
        "tree/again noise: changed or vanished while it was packed; left out",
        "tree/noise: has bytes of a file that changed while it was packed; left out",
    ]
    with pack.PackedArchive("c.nnc") as archive, pack.PackedArchive("whole.nnc") as whole:
        assert set(whole.names) - set(archive.names) == {"tree/again noise", "tree/noise"}
        assert archive.read("tree/zz") == noise[:90_000] + b"another end"
        assert archive.read("tree/again w.safetensors") == tensors
        assert all(archive.read(m.name) == whole.read(m.name) for m in archive.members if m.is_file)


def test_killed_again_before_anything_was_written(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No run takes from what an earlier one had made to last."""
    pack.pack(["tree"], "whole.nnc", **SMALL)
    with monkeypatch.context() as patch:
        pack_until_full(patch, 20)
    begun: list[int] = []

    def killed(run: writer.Run, _progress: object) -> None:
        begun.append(run.done.table.content)
        raise KeyboardInterrupt

    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(writer.Run, "write", killed)
            with pytest.raises(KeyboardInterrupt):
                pack.pack(["tree"], "c.nnc", **SMALL)
    assert begun[0] > 100_000
    assert begun == begun[:1] * 3
    assert pack.pack(["tree"], "c.nnc", **SMALL).resumed == begun[0]
    assert Path("c.nnc").read_bytes() == Path("whole.nnc").read_bytes()


def test_a_file_that_grows_while_it_is_read_first(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_chunks = survey.read_chunks

    def growing(file: BinaryIO) -> Iterator[memoryview]:
        yield from read_chunks(file)
        with (tree / "noise").open("ab") as more:
            more.write(b"more")

    monkeypatch.setattr(survey, "read_chunks", growing)
    warnings: list[str] = []
    summary = pack.pack(["tree"], "c.nnc", **SMALL, warn=warnings.append)
    assert not summary.complete
    assert warnings == ["tree/noise: changed while it was read; left out"]
    with pack.PackedArchive("c.nnc") as archive:
        assert "tree/noise" not in archive
        assert archive.read("tree/app.py") == (tree / "app.py").read_bytes()


def test_void_ranges() -> None:
    frame = partial.void_frame([(0, 5), (1 << 14, (1 << 14) + 300)])
    assert frame == b"\x89NNS\x03\x07" + bytes([0, 5, 0x80, 0x80, 1, 0xAC, 2])
