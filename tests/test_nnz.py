"""``nnz`` beside the real gzip: the same files, exit codes and streams; and under the real tar."""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from helpers import TEXT, stored_archive
from test_cli import Result, names

import nncodec
from nncodec.cli import lines, nnz

MTIME = 1_000_000_000_000_000_000


def nz(
    folder: Path, *args: str, stdin: bytes = b"", program: str = "nnz", **environment: str
) -> Result:
    """Run a program in this process, which has loaded the models already."""
    given = io.TextIOWrapper(io.BytesIO(stdin))
    out, err = (io.TextIOWrapper(io.BytesIO(), write_through=True) for _ in range(2))
    before = os.getcwd()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"NNCODEC_THREADS": "1", **environment}.items():
            patch.setenv(name, value)
        for name, stream in (("stdin", given), ("stdout", out), ("stderr", err)):
            patch.setattr(sys, name, stream)
        patch.setattr(lines, "_names", [program])
        os.chdir(folder)
        try:
            nnz.run(program, ["-dc", *args] if program == "nnzcat" else args)
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            os.chdir(before)
    written = (stream.buffer.getvalue() for stream in (out, err))  # type: ignore[attr-defined]
    return Result(code, next(written), next(written).decode())


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Files to work on, and their archives."""
    for name in ("a", "b", "-dash"):
        (tmp_path / name).write_bytes(TEXT * 3)
        os.utime(tmp_path / name, ns=(MTIME, MTIME))
    (tmp_path / "a").chmod(0o640)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner").write_bytes(TEXT)
    return tmp_path


def run_both(
    here: Path, make: Callable[[Path, str, Callable[..., int]], None], args: Sequence[str]
) -> None:
    """The same situation for gzip and for nnz: exit code, names left, lines on stderr."""
    outcomes = []
    for program, suffix in (("gzip", ".gz"), ("nnz", ".nnc")):
        folder = here.parent / f"{here.name}-{program}"
        shutil.copytree(here, folder, symlinks=True)

        def run(*words: str, program: str = program, folder: Path = folder) -> Result:
            if program == "nnz":
                return nz(folder, *words)
            done = subprocess.run(
                ["gzip", *words], input=b"", capture_output=True, cwd=folder, check=False
            )
            return Result(done.returncode, done.stdout, done.stderr.decode())

        make(folder, suffix, lambda *words, run=run: run(*words).rc)
        result = run(*(word.replace(".z", suffix) for word in args))
        said = [line for line in result.errors if line.strip()]
        left = {
            str(path.relative_to(folder)).replace(suffix, ".z"): path.is_symlink()
            for path in folder.rglob("*")
        }
        outcomes.append((result.rc, left, bool(said), len(result.out) > 0))
    assert outcomes[0] == outcomes[1]


def nothing(_folder: Path, _suffix: str, _run: Callable[..., int]) -> None:
    """The files as they are."""


def archived(folder: Path, suffix: str, run: Callable[..., int]) -> None:
    assert run("-k", "a") == 0
    assert (folder / f"a{suffix}").exists()


def only_archived(_folder: Path, _suffix: str, run: Callable[..., int]) -> None:
    assert run("a", "b") == 0


def damaged(folder: Path, suffix: str, run: Callable[..., int]) -> None:
    assert run("-1", "a", "b") == 0
    path = folder / f"a{suffix}"
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0x3F
    path.write_bytes(whole)


def cut(folder: Path, suffix: str, run: Callable[..., int]) -> None:
    assert run("-1", "a") == 0
    path = folder / f"a{suffix}"
    path.write_bytes(path.read_bytes()[:-3])


def linked(folder: Path, _suffix: str, _run: Callable[..., int]) -> None:
    os.link(folder / "a", folder / "hard")


SITUATIONS = {
    "compress": (nothing, ["a"]),
    "keep": (nothing, ["-k", "a"]),
    "stdout": (nothing, ["-c", "a"]),
    "cluster": (nothing, ["-9kf", "a"]),
    "several, one missing": (nothing, ["a", "none", "b"]),
    "missing": (nothing, ["none"]),
    "missing, quiet": (nothing, ["-q", "none"]),
    "output exists": (archived, ["a"]),
    "output exists, quiet": (archived, ["-q", "a"]),
    "output exists, forced": (archived, ["-f", "a"]),
    "output of -d exists": (archived, ["-d", "a.z"]),
    "warning and error": (archived, ["a", "none"]),
    "directory": (nothing, ["folder"]),
    "directory, recursive": (nothing, ["-r", "folder"]),
    "already compressed": (archived, ["a.z"]),
    "already compressed, forced": (archived, ["-kf", "a.z"]),
    "decompress": (only_archived, ["-d", "a.z", "b.z"]),
    "decompress, no suffix given": (only_archived, ["-d", "a"]),
    "decompress, keep": (only_archived, ["-dk", "a.z"]),
    "unknown suffix": (nothing, ["-d", "a"]),
    "other suffix": (nothing, ["-S", ".foo", "a"]),
    "empty suffix": (nothing, ["-S", "", "a"]),
    "dashes": (nothing, ["--", "-dash"]),
    "damaged": (damaged, ["-d", "a.z"]),
    "damaged, test": (damaged, ["-t", "a.z", "b.z"]),
    "cut": (cut, ["-d", "a.z"]),
    "cut, test": (cut, ["-t", "a.z"]),
    "test": (only_archived, ["-t", "a.z"]),
    "test, verbose": (only_archived, ["-tv", "a.z"]),
    "list": (only_archived, ["-l", "a.z", "b.z"]),
    "list what is none": (nothing, ["-l", "a"]),
    "verbose": (nothing, ["-v", "a"]),
    "names": (nothing, ["-nN", "a"]),
    "wrong option": (nothing, ["--bogus", "a"]),
    "hard links": (linked, ["a"]),
    "not an archive": (nothing, ["-dc", "b"]),
    "help": (nothing, ["-h"]),
    "version": (nothing, ["-V"]),
}


@pytest.mark.skipif(shutil.which("gzip") is None, reason="compares with gzip, which is absent")
@pytest.mark.parametrize(("make", "args"), SITUATIONS.values(), ids=SITUATIONS)
def test_as_gzip_does(
    here: Path, make: Callable[[Path, str, Callable[..., int]], None], args: Sequence[str]
) -> None:
    run_both(here, make, args)


def test_there_and_back(here: Path) -> None:
    """The file is gone when its archive is there; mode and time come along, both ways."""
    result = nz(here, "-1", "a")
    assert (result.rc, result.out, result.err) == (0, b"", "")
    assert not (here / "a").exists()
    assert nncodec.decompress((here / "a.nnc").read_bytes()) == TEXT * 3
    assert nz(here, "-d", "a.nnc").rc == 0
    status = (here / "a").stat()
    assert (here / "a").read_bytes() == TEXT * 3
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o640, MTIME)
    assert not (here / "a.nnc").exists()


def test_levels_and_the_model_of_the_environment(here: Path) -> None:
    one = nz(here, "-1c", "a").out
    assert one == nz(here, "--fast", "--stdout", "a").out == nncodec.compress(TEXT * 3, level=1)
    tiny = nz(here, "-c", "a", NNCODEC_MODEL="tiny").out
    assert tiny == nncodec.compress(TEXT * 3, model="tiny")


def test_streams(here: Path) -> None:
    packed = nz(here, "-1", stdin=TEXT).out
    assert packed == nncodec.compress(TEXT, level=1)
    for args in (("-d",), ("-dc", "-"), ("-cd",)):
        assert nz(here, *args, stdin=packed).out == TEXT
    assert nz(here, stdin=packed, program="nnzcat").out == TEXT
    two = here / "two.nnc"
    two.write_bytes(packed + stored_archive(b"more"))
    assert nz(here, "two", program="nnzcat").out == TEXT + b"more"
    assert two.exists()


def test_list(here: Path) -> None:
    (here / "x.nnc").write_bytes(stored_archive(b"x" * 100))
    size = len(stored_archive(b"x" * 100))
    assert nz(here, "-l", "x.nnc", "x.nnc").out.decode().splitlines() == [
        "         compressed        uncompressed  ratio uncompressed_name",
        f"{size:19}                 100 {100 - size:5.1f}% x",
        f"{size:19}                 100 {100 - size:5.1f}% x",
        f"{2 * size:19}                 200 {100 - size:5.1f}% (totals)",
    ]
    assert nz(here, "-lq", "x").out.decode().split() == [
        str(size), "100", f"{100 - size:.1f}%", "x"
    ]  # fmt: skip


def test_links_and_pipes_are_left_alone(here: Path) -> None:
    (here / "link").symlink_to("a")
    os.mkfifo(here / "pipe")
    for name in ("link", "pipe"):
        result = nz(here, name)
        assert (result.rc, len(result.errors)) == (2, 1)
    assert nz(here, "-1c", "link").out == nncodec.compress(TEXT * 3, level=1)
    assert "link.nnc" not in names(here)


def test_messages(here: Path) -> None:
    assert nz(here, "none").err == "nnz: none: no such file or directory\n"
    assert nz(here, "-d", "a").err == "nnz: a: unknown suffix -- ignored\n"
    assert nz(here, "-1v", "b").err.startswith("b:\t ")
    assert nz(here, "-h").out.decode().startswith("usage: nnz [OPTION]... [FILE]...\n")
    assert nz(here, "-V").out.decode() == f"nnz (nncodec) {nncodec.__version__}\n"
    assert "terminal" not in nz(here, "-h", program="nnzcat").err
    assert nz(here, "--level").rc == 1


TAR = shutil.which("tar")


@pytest.fixture
def path_with_nnz(tmp_path: Path) -> str:
    """A PATH on which the entry points are, as an installation puts them there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program, function in (("nnz", "main"), ("nnzcat", "cat")):
        script = folder / program
        code = f"from nncodec.cli.nnz import {function}\n{function}()\n"
        script.write_text(f"#!{sys.executable}\n{code}")
        script.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.skipif(TAR is None, reason="there is no tar")
@pytest.mark.parametrize("option", ["-Innz", "--use-compress-program=nnz -1"])
def test_tar(here: Path, path_with_nnz: str, option: str) -> None:
    environment = {**os.environ, "PATH": path_with_nnz, "NNCODEC_MODEL": "tiny"}

    def tar(*args: str) -> subprocess.CompletedProcess[bytes]:
        command = ["tar", option, *args]
        return subprocess.run(
            command, cwd=here, env=environment, capture_output=True, check=False, timeout=300
        )

    made = tar("-cf", "all.tar.nnc", "a", "b", "folder")
    assert (made.returncode, made.stderr) == (0, b"")
    assert nncodec.info((here / "all.tar.nnc").read_bytes()).uncompressed_size % 10240 == 0
    listed = tar("-tf", "all.tar.nnc")
    assert listed.stdout.decode().split() == ["a", "b", "folder/", "folder/inner"]
    (here / "out").mkdir()
    back = tar("-xf", "all.tar.nnc", "-C", "out")
    assert (back.returncode, back.stderr) == (0, b"")
    assert (here / "out" / "a").read_bytes() == TEXT * 3
    assert (here / "out" / "folder" / "inner").read_bytes() == TEXT
    broken = bytearray((here / "all.tar.nnc").read_bytes())
    broken[-8] ^= 0xFF
    (here / "all.tar.nnc").write_bytes(broken)
    assert tar("-tf", "all.tar.nnc").returncode == 2


def test_entry_points() -> None:
    """What pyproject.toml names is there."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8")
    assert 'nnz = "nncodec.cli.nnz:main"' in text
    assert 'nnzcat = "nncodec.cli.nnz:cat"' in text
    assert callable(nnz.main)
    assert callable(nnz.cat)


def test_typer_is_not_imported() -> None:
    """It would take longer to start than nncodec does."""
    code = (
        "import sys; from nncodec.cli import nnz; nnz.parser('nnz'); print('typer' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"False\n"
