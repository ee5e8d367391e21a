"""What goes wrong around a codec, done for real: kills, signals, full disks, other writers.

Processes work on real files in a folder of their own. ``scripts/measure_faults.py`` does the same
kills in greater number on a larger file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import CLI, TEXT, constant_archive, stored_archive
from test_cli import cli, names, tiny

import nncodec
from nncodec import files
from nncodec.cli import commands
from nncodec.cli import files as cli_files
from nncodec.cli.files import FileError
from nncodec.errors import NNCodecError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and file systems of Unix")

# A system without files that have no name.
NAMED = "import nncodec.files as f; del f.os.O_TMPFILE; " if hasattr(os, "O_TMPFILE") else ""
UNNAMED = bool(NAMED)


def start(*args: str | Path, before: str = "", **kwargs: object) -> subprocess.Popen[bytes]:
    def heed_signals() -> None:  # a background job's shell may have had them ignored
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", before + CLI, *map(str, args)]
    given = {**pipes, "preexec_fn": heed_signals, **kwargs}
    return subprocess.Popen(command, **given)  # type: ignore[call-overload,no-any-return]


def opened(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Whether the process has a file in ``folder`` open for output: one of ours, named or not."""
    if any(name.startswith(".nncodec-") for name in names(folder)):
        return True
    with contextlib.suppress(OSError):
        for handle in os.listdir(f"/proc/{process.pid}/fd"):
            with contextlib.suppress(OSError):
                place = os.readlink(f"/proc/{process.pid}/fd/{handle}")
                if place.startswith(f"{folder}/#"):
                    return True
    return False


def wait_until_opened(process: subprocess.Popen[bytes], folder: Path) -> None:
    for _ in range(3000):
        if opened(process, folder) or process.poll() is not None:
            break
        time.sleep(0.02)
    assert process.poll() is None
    assert opened(process, folder)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Slow enough to be hit: text that context models take a second for."""
    path = tmp_path / "text"
    path.write_bytes(b"".join(b"%d %s" % (i, TEXT) for i in range(1200)))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    (tmp_path / "text").write_bytes(TEXT)
    return tmp_path / "text"


@pytest.mark.parametrize("before", ["", NAMED], ids=["unnamed", "named"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals, before: str
) -> None:
    """Sent while the output is open; input arrives by a pipe that never ends."""
    with start("compress", "-1", "-o", tmp_path / "out.nnc", before=before) as process:
        wait_until_opened(process, tmp_path)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == -number  # as shells see it: 128 and the number
    assert names(tmp_path) == []
    assert err == b""


BUSY = (  # as a call into C++ would be that does not come back
    "import threading, time, nncodec.codec as c; "
    "c.Codec.compress_stream = lambda *a: [None for _ in iter(lambda: busy(), 1)]; "
    "import ctypes; libc = ctypes.CDLL(None); busy = lambda: libc.usleep(900_000_000); "
)


@pytest.mark.parametrize("before", [BUSY, NAMED + BUSY], ids=["unnamed", "named"])
def test_a_signal_is_heard_during_a_long_call(tmp_path: Path, before: str) -> None:
    """usleep goes on in pieces for fifteen minutes; half a second is what it gets."""
    (tmp_path / "text").write_bytes(TEXT)
    with start("compress", "-1", tmp_path / "text", before=before) as process:
        wait_until_opened(process, tmp_path)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert names(tmp_path) == ["text"]


def test_a_signal_in_tensors(tmp_path: Path) -> None:
    """Chunks of tensors are coded by several threads, some seconds each."""
    from safetensors.numpy import save_file

    values = np.random.default_rng(1).normal(size=(4096, 2048)).astype(np.float32)
    save_file({"w": values}, tmp_path / "w.safetensors")
    with start("compress", "-T", "2", tmp_path / "w.safetensors") as process:
        wait_until_opened(process, tmp_path)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert names(tmp_path) == ["w.safetensors"]


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """As nohup asks."""

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with start("compress", "-1", "-o", tmp_path / "out.nnc", preexec_fn=ignore) as process:
        wait_until_opened(process, tmp_path)
        process.send_signal(signal.SIGHUP)
        process.communicate(TEXT, timeout=60)
    assert process.returncode == 0
    assert nncodec.decompress((tmp_path / "out.nnc").read_bytes()) == TEXT


def test_a_reader_that_leaves_ends_us_by_sigpipe(tmp_path: Path) -> None:
    """As it ends gzip: tar takes that for no error."""
    path = tmp_path / "large.nnc"
    path.write_bytes(constant_archive(bytes(3_000_000)))
    with start("decompress", "-c", path) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(10) == bytes(10)
        process.stdout.close()
        err = process.stderr.read()
        process.wait(60)
    assert (process.returncode, err) == (-signal.SIGPIPE, b"")


@pytest.mark.parametrize("before", ["", NAMED], ids=["unnamed", "named"])
def test_kills(source: Path, tmp_path: Path, before: str) -> None:
    """kill -9 at random moments of compress --rm and of decompress --rm: nothing is lost, and
    nothing is under a final name that is not whole."""
    data, archive = source.read_bytes(), tmp_path / "text.nnc"
    rng, whole = random.Random(1), nncodec.compress(source.read_bytes(), level=1)
    for turn in range(5 if UNNAMED else 10):
        decoding = turn % 2 == 1
        for name in names(tmp_path):
            os.unlink(tmp_path / name)
        (archive if decoding else source).write_bytes(whole if decoding else data)
        words = ("decompress", "--rm", archive) if decoding else ("compress", "-1", "--rm", source)
        with start(*words, before=before) as process:
            time.sleep(rng.uniform(0.2, 1.6))
            process.kill()
            process.communicate()
        assert_safe(tmp_path, data, whole)
        left = [name for name in names(tmp_path) if name.startswith(".nncodec-")]
        assert not left or before
        assert len(left) <= 1


def assert_safe(folder: Path, data: bytes, whole: bytes) -> None:
    """The file or its archive is there, and each that is there is whole."""
    final = [name for name in names(folder) if not name.startswith(".nncodec-")]
    assert final
    for name in final:
        assert (folder / name).read_bytes() == {"text": data, "text.nnc": whole}[name]


def test_full_disk(tmp_path: Path) -> None:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted: {mounted.stderr.decode().strip()}")
    try:
        noise = np.random.default_rng(0).bytes(200_000)
        (tmp_path / "noise").write_bytes(noise)
        for before in ("", NAMED):
            target = disk / "noise.nnc"
            with start(
                "compress", "-1", "--rm", tmp_path / "noise", "-o", target, before=before
            ) as p:
                _, err = p.communicate(timeout=60)
            assert (p.returncode, err.count(b"\n")) == (1, 1)
            assert b"no space left on device" in err
            assert names(disk) == []
            assert (tmp_path / "noise").exists()
        (disk / "noise").write_bytes(b"older")
        (tmp_path / "noise.nnc").write_bytes(
            stored_archive(np.random.default_rng(0).bytes(200_000))
        )
        with start("decompress", "-f", "--rm", tmp_path / "noise.nnc", "-o", disk / "noise") as p:
            p.communicate(timeout=60)
        assert p.returncode == 1
        assert (disk / "noise").read_bytes() == b"older"
        assert names(disk) == ["noise"]
        assert (tmp_path / "noise.nnc").exists()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_file_size_limit(tmp_path: Path) -> None:
    """Where no disk can be filled: a limit on files."""
    (tmp_path / "noise").write_bytes(np.random.default_rng(0).bytes(200_000))

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    with start("compress", "-1", "--rm", tmp_path / "noise", preexec_fn=limit) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"file too large" in err
    assert names(tmp_path) == ["noise"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_standard_output_is_full(tmp_path: Path) -> None:
    (tmp_path / "a.nnc").write_bytes(stored_archive(TEXT))
    with (
        open("/dev/full", "wb") as full,
        start("decompress", "-c", "--rm", tmp_path / "a.nnc", stdout=full) as p,
    ):
        _, err = p.communicate(timeout=60)
    assert p.returncode == 1
    assert b"no space left on device" in err
    assert names(tmp_path) == ["a.nnc"]


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Even for root: a mount. Others: a mode."""
    if os.geteuid():
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)
        return
    for options in (["--bind", folder, folder], ["-o", "remount,ro,bind", folder]):
        done = subprocess.run(["mount", *options], capture_output=True, check=False)
        if done.returncode:
            pytest.skip(f"no folder can be made read-only: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_read_only_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "text").write_bytes(TEXT)
    with read_only(folder):
        for where in ("text.nnc", "other"):
            result = cli("compress", "--level=1", "--rm", folder / "text", "-o", folder / where)
            assert (result.rc, len(result.errors)) == (1, 1)
            assert "cannot write" in result.err
        assert cli("compress", "--level=1", "-c", folder / "text").rc == 0
        # What cannot be removed stays, and the output is whole.
        result = cli("compress", "--level=1", "--rm", folder / "text", "-o", tmp_path / "text.nnc")
        assert result.rc == 1
    assert names(folder) == ["text"]
    assert nncodec.decompress((tmp_path / "text.nnc").read_bytes()) == TEXT


def test_two_writers(tmp_path: Path) -> None:
    """Onto one name at once, with -f: it is always the whole of one of them, and then the last."""
    target = tmp_path / "out"
    contents = {letter: stored_archive(letter * 3_000_000) for letter in (b"a", b"b")}
    for letter, archive in contents.items():
        (tmp_path / f"{letter.decode()}.nnc").write_bytes(archive)
    whole = {letter * 3_000_000 for letter in contents}
    processes = [
        start("decompress", "-f", tmp_path / f"{letter}.nnc", "-o", target) for letter in "ab"
    ]
    while any(process.poll() is None for process in processes):
        with contextlib.suppress(FileNotFoundError):
            assert target.read_bytes() in whole
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert target.read_bytes() in whole
    assert names(tmp_path) == ["a.nnc", "b.nnc", "out"]


@pytest.mark.parametrize("unnamed", [True, False])
def test_without_force_the_first_one_wins(
    tmp_path: Path, unnamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process has made the output since we looked: it may hold what is nowhere else."""
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    target = tmp_path / "out"

    def write() -> None:
        with files.atomic_file(target, replace=False) as file:
            file.write(b"ours")
            target.write_bytes(b"theirs")

    with pytest.raises(NNCodecError, match="already exists; use -f"):
        write()
    assert target.read_bytes() == b"theirs"
    with files.atomic_file(target) as file:
        file.write(b"ours")
    assert target.read_bytes() == b"ours"
    assert names(tmp_path) == ["out"]
    assert files.temporaries == set()


def test_a_dangling_link_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT)
    (tmp_path / "text.nnc").symlink_to(tmp_path / "nowhere")
    result = tiny(tmp_path / "text")
    assert result.rc == 1
    assert "already exists" in result.err
    assert names(tmp_path) == ["text", "text.nnc"]


def test_where_links_are_forbidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Android: the output is copied to a file with a name."""

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "text").write_bytes(TEXT)
    (tmp_path / "text").chmod(0o640)
    assert tiny(tmp_path / "text").rc == 0
    assert nncodec.decompress((tmp_path / "text.nnc").read_bytes()) == TEXT
    assert (tmp_path / "text.nnc").stat().st_mode & 0o777 == 0o640
    kept = files.atomic_file(tmp_path / "text.nnc", replace=False)
    with pytest.raises(NNCodecError, match="already exists"), kept:
        pass
    assert names(tmp_path) == ["text", "text.nnc"]


def test_a_source_that_grows_is_kept(small: Path, tmp_path: Path) -> None:
    """Written to while it is compressed with --rm: its archive is there, and so is the file."""
    real = commands.remove_verified

    def grow(original: cli_files.Original, *args: object) -> None:
        with small.open("ab") as file:
            file.write(b"more")
        real(original, *args)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "remove_verified", grow)
        result = cli("compress", "--level=1", "-q", "--rm", small)
    assert (result.rc, len(result.errors)) == (1, 1)
    assert "longer than what its archive holds; it is kept" in result.err
    assert small.read_bytes().endswith(b"more")


@pytest.mark.parametrize("change", ["replaced", "shorter", "touched", "other bytes"])
def test_a_source_that_changed_is_kept(small: Path, change: str) -> None:
    data = small.read_bytes()
    target = Path(f"{small}.nnc")
    original = cli_files.Original(str(small))
    assert cli("compress", "--level=1", "-q", small).rc == 0
    if change == "replaced":
        small.rename(small.with_name("moved"))
        small.write_bytes(data)
    elif change == "shorter":
        os.truncate(small, len(data) - 1)
    elif change == "touched":
        os.utime(small, ns=(1, 1))
    else:
        small.write_bytes(b"X" + data[1:])
    with pytest.raises(FileError, match="it is kept"):
        commands.remove_verified(original, target, None, 1, True)
    assert small.exists()


def test_an_archive_that_another_replaced_is_no_reason_to_remove(small: Path) -> None:
    original = cli_files.Original(str(small))
    target = small.with_name("out.nnc")
    target.write_bytes(stored_archive(b"another's"))
    with pytest.raises(FileError, match="it is kept"):
        commands.remove_verified(original, target, None, 1, True)
    assert small.exists()


def test_tensors_that_change_while_they_are_read(tmp_path: Path) -> None:
    """They are coded where they lie, so what was read first may differ from what was read last."""
    from safetensors.numpy import save_file

    path = tmp_path / "w.safetensors"
    save_file({"w": np.arange(300_000, dtype=np.float32)}, path)
    stop = threading.Event()

    def write() -> None:
        with path.open("r+b") as file:
            while not stop.wait(0.001):
                file.seek(500_000)
                file.write(os.urandom(100))
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        result = cli("compress", "-q", path)
    finally:
        stop.set()
        writer.join()
    assert result.rc == 1
    assert "changed while it was read" in result.err
    assert names(tmp_path) == ["w.safetensors"]


STRACE = shutil.which("strace")


@pytest.mark.skipif(STRACE is None, reason="needs strace")
@pytest.mark.parametrize("before", ["", NAMED], ids=["unnamed", "named"])
def test_the_order_of_calls(small: Path, tmp_path: Path, before: str) -> None:
    """Output, sync of the file, its name, sync of the folder, decoding, removal of the source."""
    log = tmp_path / "log"
    calls = "trace=write,fsync,linkat,link,rename,unlink,openat,pread64,read"
    command = [STRACE, "-y", "-e", calls, "-o", str(log), sys.executable, "-c", before + CLI]
    done = subprocess.run(
        [str(word) for word in (*command, "compress", "-1", "-q", "--rm", small)],
        capture_output=True,
        check=False,
        timeout=120,
    )
    if done.returncode and b"ptrace" in done.stderr:
        pytest.skip("processes may not be traced here")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = log.read_text(errors="replace").splitlines()
    target = f"{small}.nnc"

    def last(*parts: str) -> int:
        found = [i for i, line in enumerate(lines) if all(part in line for part in parts)]
        assert found, parts
        return found[-1]

    mark = f"{tmp_path}/#" if UNNAMED and not before else f"{tmp_path}/.nncodec-"

    def after(begin: int, *parts: str) -> int:
        rest = range(begin, len(lines))
        return next(i for i in rest if all(part in lines[i] for part in parts))

    naming = last("link", f'"{target}"')
    order = [
        last("write(", mark),
        last("fsync(", mark),
        naming,
        next(
            i
            for i in range(naming, len(lines))
            if "fsync(" in lines[i] and f"<{tmp_path}>" in lines[i]
        ),
        next(
            i
            for i in range(naming, len(lines))
            if "openat(" in lines[i] and f'"{target}"' in lines[i]
        ),
        last("read(", f"<{target}>"),
        last("unlink(", f'"{small}"'),
    ]
    assert order == sorted(order)
