"""Codecs on real bytes, in processes of their own: round trips, time, memory, and every failure."""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from bench_tools import ECHO, ONCE, command, measured, program
from helpers import BINARY, JSON, TEXT

from nncodec.bench.codecs import AbsentError, Probe
from nncodec.bench.external import parse_command
from nncodec.bench.measure import CodecError, Effort, measure
from nncodec.bench.peers import Peer, known_peers, peer_codec
from nncodec.bench.specs import Settings, parse_spec
from nncodec.engine_weights import WEIGHTS_FILE, EngineModel
from nncodec.errors import BenchError

SETTINGS = Settings(threads=1, peers=known_peers())
DATA = (TEXT + JSON + BINARY) * 3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the measurements' own folders are; to be empty after each."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


LIBRARIES = ["gzip:9", "bz2:1", "xz:9e", "xz:0", "zstd:22", "zstd:-3", "brotli:11", "brotli:0",
             "lz4:0", "lz4:16", "lz4:-9"]  # fmt: skip
PACKAGES = {"zstd": "zstandard", "brotli": "brotli", "lz4": "lz4"}


@pytest.mark.parametrize("spec", LIBRARIES)
def test_libraries(spec: str, file: Path, temporary: Path) -> None:
    package = PACKAGES.get(spec.partition(":")[0])
    if package:
        pytest.importorskip(package, reason=f"{package} is of the bench extra")
    codec = parse_spec(spec, SETTINGS)
    result = measured(codec, file)
    assert codec.probe().version
    assert 50 < result.compressed_bytes < len(DATA)
    assert result.decompress
    for side in (result.compress, result.decompress):
        assert len(side.seconds) == 1
        assert 0 < side.median < 10
        assert 5e6 < side.peak_bytes < 150e6  # and not this process's, which has torch
    assert not list(temporary.iterdir())


def test_copy_keeps_every_byte(file: Path) -> None:
    assert measured(parse_spec("copy", SETTINGS), file).compressed_bytes == len(DATA)


@pytest.mark.parametrize("spec", ["gzip", "bz2", "xz", "zstd", "brotli", "lz4", "copy",
                                  "nncodec:level=1", "nncodec:tiny", "zpaq", "bzip3"])  # fmt: skip
def test_an_empty_file(spec: str, tmp_path: Path) -> None:
    codec = parse_spec(spec, SETTINGS)
    try:
        codec.probe()
    except AbsentError as error:
        pytest.skip(str(error))
    (tmp_path / "empty").touch()
    assert measured(codec, tmp_path / "empty").compressed_bytes < 1500


@pytest.mark.parametrize("level", ["nncodec:level=1", "nncodec:tiny", "nncodec:tiny:level=9"])
def test_nncodec(level: str, file: Path, tiny_model: EngineModel, model_home: Path) -> None:
    codec = parse_spec(level, SETTINGS)
    probe = codec.probe()
    result = measured(codec, file)
    assert result.compressed_bytes < len(DATA) / 2
    if level == "nncodec:level=1":
        assert (probe.model_id, probe.model_bytes) == ("", 0)
    else:
        size = (model_home / "tiny" / WEIGHTS_FILE).stat().st_size
        assert (probe.model_id, probe.model_bytes) == (tiny_model.model_id.hex(), size)


def test_nncodec_with_a_folder(
    file: Path,
    tiny_model: EngineModel,
    model_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model that is not installed, named from here, decodes what it coded."""
    shutil.copytree(model_home / "tiny", tmp_path / "own: model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NNCODEC_HOME", str(tmp_path / "none"))
    codec = parse_spec("nncodec:own: model", SETTINGS)
    assert codec.probe().model_id == tiny_model.model_id.hex()
    assert measured(codec, file).compressed_bytes < len(DATA) / 2


def test_an_absent_model_is_absent() -> None:
    with pytest.raises(AbsentError, match=r"no model named 'none': installed are .*tiny"):
        parse_spec("nncodec:none", SETTINGS).probe()


@pytest.mark.parametrize("package", ["zstandard", "brotli", "lz4"])
def test_an_absent_library(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    family = {v: k for k, v in PACKAGES.items()}[package]
    with pytest.raises(AbsentError, match=rf"no package {package}: .*nncodec-lm\[bench\]"):
        parse_spec(family, SETTINGS).probe()


def test_a_broken_library_is_not_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lz4.py").write_text("raise ImportError('no symbol')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lz4", raising=False)
    with pytest.raises(BenchError, match="lz4 is installed and broken: no symbol") as caught:
        parse_spec("lz4", SETTINGS).probe()
    assert not isinstance(caught.value, AbsentError)


@pytest.mark.parametrize(("name", "least"), [("zpaq:1", 0), ("zpaq", 0), ("bzip3", 0), ("ppmd", 0)])
def test_peers_that_are_installed(name: str, least: int, file: Path) -> None:
    codec = parse_spec(name, SETTINGS)
    try:
        probe = codec.probe()
    except AbsentError as error:
        pytest.skip(str(error))
    assert any(c.isdigit() for c in probe.version)
    assert least < measured(codec, file).compressed_bytes < len(DATA)


READ_IN = "import sys; data = open(sys.argv[1], 'rb').read(); "
COPY = READ_IN + "open(sys.argv[2], 'wb').write(data)"
TEMPLATES = {
    "a filter": (program(ECHO), program(ECHO)),
    "both named": (program(COPY, "{in}", "{out}"), program(COPY, "{in}", "{out}")),
    "in a word": (program(COPY.replace("argv[1]", "argv[1][3:]"), "if={in}", "{out}"),
                  program(ECHO)),
    "only in": (program(READ_IN + "sys.stdout.buffer.write(data)", "{in}"), program(ECHO)),
    "only out": (program("import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())",
                         "{out}"), program(ECHO)),
    "a name of its own": (program(COPY, "{in}", "{out}.{x}, y"), program(COPY, "{in}", "{out}")),
    "below a folder": (program(
        "import os; " + COPY.replace("open(sys.argv[2]", "os.makedirs(sys.argv[2]); "
                                     "open(sys.argv[2] + '/z'"), "{in}", "{out}"), program(ECHO)),
    "quotes; and more": (program(ECHO, "a; b, 'c' \"d\" $HOME `x` | y > z"), program(ECHO)),
}  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates(name: str, file: Path, temporary: Path) -> None:
    result = measured(command(*TEMPLATES[name]), file)
    assert result.compressed_bytes == len(DATA)
    assert not list(temporary.iterdir())
    assert file.read_bytes() == DATA


FAILURES = {
    "gives other bytes back": (program(ECHO), program("print('x' * 9)"),
                               f"other bytes back: 10 of them for {len(DATA)}"),
    "as many other bytes": (program(ECHO), program(ECHO.replace("read()", "read()[::-1]")),
                            "other bytes back"),
    "prints nothing": (program("pass"), program("pass"), "other bytes back: 0 of them"),
    "fails": (program("import sys; sys.exit('so: it is\\n\\n')"), program(ECHO),
              "^compress: exit code 1: so: it is$"),
    "fails on the way back": (program(ECHO), program("raise SystemExit(3)"),
                              "^decompress: exit code 3$"),
    "dies": (program("import os; os.kill(os.getpid(), 11)"), program(ECHO),
             "^compress: died of SIGSEGV"),
    "writes no file": (program("pass", "{out}"), program(ECHO), "^compress: left no files"),
    "writes two": (program("import sys; [open(sys.argv[1] + c, 'w') for c in 'ab']", "{out}"),
                   program(ECHO), "^compress: left 2 files"),
    "leaves a link": (program("import os, sys; os.symlink(os.path.abspath('input'), sys.argv[1])",
                              "{out}"), program(ECHO), "^compress: left no files"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_failures(name: str, file: Path, temporary: Path) -> None:
    compress, decompress, message = FAILURES[name]
    with pytest.raises(CodecError, match=message):
        measured(command(compress, decompress), file)
    assert not list(temporary.iterdir())


SIDE = "import sys, shutil; shutil.copyfile(sys.argv[1], {to}); open(sys.argv[2], 'w')"
CHEATS = {
    "the file itself": ("cp /dev/null {out}", "cp input {out}"),
    "beside it": (program(SIDE.replace("{to}", "'side'"), "{in}", "{out}"), "cp side {out}"),
    "in the name": (program("import sys; open(sys.argv[1] + '.' + 'x' * 99, 'w')", "{out}"),
                    program("import sys; sys.exit(sys.argv[1])", "{in}")),
    "in its attributes": (program("import os, sys; open(sys.argv[1], 'w'); "
                                  "os.utime(sys.argv[1], (7, 7)); print(end='')", "{out}"),
                          program("import os, sys; sys.exit(3 + 4 * (os.stat(sys.argv[1]).st_mtime "
                                  "== 7))", "{in}")),
}  # fmt: skip


@pytest.mark.parametrize("name", CHEATS)
def test_nothing_but_the_archive_reaches_decompression(
    name: str, file: Path, temporary: Path
) -> None:
    with pytest.raises(CodecError) as caught:
        measured(command(*CHEATS[name]), file)
    assert "exit code 7" not in str(caught.value)
    assert "xxx" not in str(caught.value)
    assert str(caught.value).startswith("decompress: exit code")
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("made", "found"), [("{out}", "archive"), ("{out}.7z", "archive.7z"), ("{out}.a b", "archive")]
)
def test_what_decompression_finds(made: str, found: str, file: Path) -> None:
    lists = program("import os, sys; sys.exit(sys.argv[1] + str(sorted(os.listdir('.'))))", "{in}")
    with pytest.raises(CodecError) as caught:
        measured(command(program(COPY, "{in}", made), lists), file)
    logs = ["decompress.d", "said.log", "worker.log"]
    assert str(caught.value) == f"decompress: exit code 1: {found}{sorted([found, *logs])}"


def test_a_command_cannot_change_the_file(file: Path) -> None:
    spoil = program("import sys; open(sys.argv[1], 'w').write('x')", "{in}") + " {out}"
    with pytest.raises(CodecError):
        measured(command(spoil), file)
    assert file.read_bytes() == DATA


def test_a_program_that_cannot_be_run(file: Path, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("no program")
    (tmp_path / "tool").chmod(0o755)
    with pytest.raises(CodecError, match=r"compress: OSError: .*Exec format error"):
        measured(command(str(tmp_path / "tool")), file)


def test_an_absent_program(tmp_path: Path) -> None:
    codec = parse_command(command("no-such-program {in}"), 1)
    with pytest.raises(AbsentError, match="no program no-such-program on the PATH"):
        codec.probe()
    codec = parse_command(command(program(ECHO), "no-such-program"), 1)
    with pytest.raises(AbsentError, match="no program no-such-program on the PATH"):
        codec.probe()


def test_another_program_of_that_name_is_another_version(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    shutil.copyfile("/bin/sh", tool)
    tool.chmod(0o755)
    codec = parse_command(command(f"{tool} x"), 1)
    before = codec.probe().version
    with tool.open("ab") as end:
        end.write(b"\0")
    assert before.startswith("sha256 ")
    assert codec.probe().version != before


def test_another_template_or_model_of_a_peer_is_another_version(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.write_bytes(b"weights")
    peer = Peer("cp {in} {out}", "cp {in} {out}", model=str(model))

    def probe(peer: Peer) -> Probe:
        return peer_codec("mine", peer, "", 1).probe()

    first = probe(peer)
    assert (first.model_bytes, len(first.model_id)) == (7, 32)
    assert probe(peer) == first
    for other in (
        replace(peer, compress="cp -f {in} {out}"),
        replace(peer, decompress="cp -f {in} {out}"),
    ):
        assert probe(other).version != first.version
        assert probe(other).model_id == first.model_id
    model.write_bytes(b"WEIGHTS")
    assert probe(peer).model_id != first.model_id
    assert probe(peer).version == first.version
    model.unlink()
    with pytest.raises(AbsentError, match="no model"):
        probe(peer)
    model.mkdir()
    with pytest.raises(BenchError, match="is no regular file"):
        probe(peer)


SLEEPS = program("import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); "
                 "sys.stdout.flush(); time.sleep(60)", "PID")  # fmt: skip


def gone(pid: int, seconds: float = 10) -> bool:
    """Whether a process ends in time; one that only waits to be reaped has ended."""
    for _ in range(int(seconds / 0.05)):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_a_hanging_command_and_its_children_are_ended(file: Path, tmp_path: Path) -> None:
    child = SLEEPS.replace("PID", str(tmp_path / "child"))
    parent = program(f"import subprocess, shlex; subprocess.run(shlex.split({child!r}))")
    begun = time.monotonic()
    with pytest.raises(CodecError, match="compress: took more than 1 s"):
        measured(command(parent), file, Effort(1, 0, timeout=1))
    assert time.monotonic() - begun < 20
    assert gone(int((tmp_path / "child").read_text()))


def test_a_library_that_takes_too_long(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(random.Random(1).randbytes(1 << 21) * 4)
    with pytest.raises(CodecError, match=r"compress: took more than 0\.05 s"):
        measured(parse_spec("xz:9e", SETTINGS), path, Effort(1, 0, timeout=0.05))


MEGABYTES = 150
ALLOCATES = program(
    f"import sys; data = sys.stdin.buffer.read(); x = bytearray({MEGABYTES * 10**6}); "
    "x[::4096] = bytes(len(x[::4096])); sys.stdout.buffer.write(data)"
)


def test_peak_memory_is_each_commands_own(file: Path) -> None:
    result = measured(command(ALLOCATES), file)
    assert result.decompress
    assert MEGABYTES * 1e6 < result.compress.peak_bytes < 1.5 * MEGABYTES * 1e6
    assert result.decompress.peak_bytes < 40e6  # though this process, with torch, has more


def test_peak_memory_counts_children_of_a_command(file: Path) -> None:
    wrapper = program(f"import subprocess, shlex; subprocess.run(shlex.split({ALLOCATES!r}))")
    assert measured(command(wrapper), file).compress.peak_bytes > MEGABYTES * 1e6


def test_peak_memory_of_a_library(file: Path) -> None:
    """The tables of xz -9 for its dictionary of 64 MiB are cleared, however small the file is."""
    little = measured(parse_spec("copy", SETTINGS), file).compress.peak_bytes
    assert 5e6 < little < 30e6
    assert little + 50e6 < measured(parse_spec("xz:9", SETTINGS), file).compress.peak_bytes < 200e6


WRITES_A_LINE = "import sys; open(sys.argv[1], 'a').write('x'); " + ECHO


@pytest.mark.parametrize(
    ("effort", "runs", "counted"),
    [
        (Effort(3, 1), 4, 3),
        (Effort(2, 0), 2, 2),
        (Effort(1, 2), 3, 1),
        (Effort(3, 1, most_seconds=0), 1, 1),  # what is slow runs once
    ],
)
def test_how_often(effort: Effort, runs: int, counted: int, file: Path, tmp_path: Path) -> None:
    result = measured(command(program(WRITES_A_LINE, str(tmp_path / "n"))), file, effort)
    assert len((tmp_path / "n").read_text()) == runs
    assert len(result.compress.seconds) == counted


def test_time_is_that_of_the_command(file: Path) -> None:
    sleeps = program("import time; time.sleep(0.4); " + ECHO)
    result = measured(command(sleeps), file)
    assert result.decompress
    assert 0.4 < result.compress.median < 5
    assert result.decompress.median < result.compress.median


NAMES = ["a name", "new\nline", "quote'\";$(x)", "-dash", "{in}", "übel", b"not \xff text"]


@pytest.mark.parametrize("name", NAMES, ids=repr)
@pytest.mark.parametrize("spec", ["bz2", command(*TEMPLATES["both named"])])
def test_odd_names(name: str | bytes, spec: str, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(name)
    try:
        path.write_bytes(DATA)
    except OSError as error:
        pytest.skip(f"no file can be called so here: {error}")
    assert measured(parse_spec(spec, SETTINGS), path).compressed_bytes <= len(DATA)


def test_a_file_that_has_gone(tmp_path: Path) -> None:
    codec = parse_spec("gzip", SETTINGS)
    with pytest.raises(CodecError, match="compress: FileNotFoundError"):
        measure(codec, tmp_path / "gone", "0" * 64, ONCE)


def test_modules_beside_a_file_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the working folder nor the file's is on the child's path."""
    (tmp_path / "gzip.py").write_text("raise SystemExit('no')")
    (tmp_path / "data").write_bytes(DATA)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", ".")])
    measured(parse_spec("gzip", SETTINGS), Path("data"))
