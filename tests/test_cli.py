"""The command line: files in, files out, one line an error, nothing left behind.

Most tests call the application in this process, which has torch and the model already; what needs
real pipes and signals starts one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers import (
    CLI,
    TEXT,
    constant_archive,
    forge,
    run_python,
    stored_archive,
    write_corpus,
)
from typer.testing import CliRunner

import nncodec
from nncodec import api
from nncodec.cli.app import app
from nncodec.container import VERSION
from nncodec.engine import roofline
from nncodec.engine.native import available_isas
from nncodec.engine_weights import EngineModel
from nncodec.frames import Coded
from nncodec.numerics import NUMERIC_VERSION

MTIME = 1_000_000_000_123_456_789
SUMMARY = re.compile(
    r"(?P<name>\S+): (\d+\.\d\d bits/byte, )?\d+\.\d\dx "
    r"\((?P<size>\d+) => (?P<packed>\d+) bytes, (?P<target>\S+)\)"
)


@dataclass
class Result:
    rc: int
    out: bytes
    err: str

    @property
    def errors(self) -> list[str]:
        return self.err.splitlines()


def cli(*args: str | Path, stdin: bytes = b"") -> Result:
    """Run a command in this process."""
    result = CliRunner().invoke(app, [str(a) for a in args], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Result(result.exit_code, result.stdout_bytes, result.stderr)


def tiny(*args: str | Path, stdin: bytes = b"") -> Result:
    return cli("compress", "-m", "tiny", "-T", "1", *args, stdin=stdin)


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden temporary files included."""
    return sorted(os.listdir(folder))


def assert_one_error(result: Result, name: str | Path, message: str) -> None:
    """Exactly one line on stderr, naming the program, the file and the reason; nothing else."""
    assert result.rc == 1
    assert result.out == b""
    assert len(result.errors) == 1, result.err
    assert result.errors[0].startswith(f"nncodec: {name}: ")
    assert re.search(message, result.errors[0]), result.err


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text"
    path.write_bytes(TEXT[:80])
    path.chmod(0o640)
    os.utime(path, ns=(MTIME, MTIME))
    return path


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """An archive that needs no model."""
    path = tmp_path / "data.nnc"
    path.write_bytes(stored_archive(b"precious"))
    return path


def test_there_and_back(text: Path, tmp_path: Path) -> None:
    archive = tmp_path / "text.nnc"
    result = tiny(text)
    assert (result.rc, result.out) == (0, b"")
    match = SUMMARY.fullmatch(result.err.rstrip("\n"))
    assert match, result.err
    assert match["name"] == str(text)
    assert match["target"] == str(archive)
    assert (int(match["size"]), int(match["packed"])) == (80, archive.stat().st_size)
    assert names(tmp_path) == ["text", "text.nnc"]

    text.unlink()
    result = cli("decompress", archive)
    assert (result.rc, result.out, result.err) == (0, b"", "")
    assert text.read_bytes() == TEXT[:80]
    assert names(tmp_path) == ["text", "text.nnc"]
    for path in (text, archive):
        status = path.stat()
        assert stat.S_IMODE(status.st_mode) == 0o640
        assert status.st_mtime_ns == MTIME


def test_summary_says_bits_a_byte_and_ratio(tmp_path: Path) -> None:
    (tmp_path / "zeros").write_bytes(bytes(1000))
    size = len(constant_archive(bytes(1000)))
    result = tiny(tmp_path / "zeros")
    want = f"{8 * size / 1000:.2f} bits/byte, {1000 / size:.2f}x (1000 => {size} bytes, "
    assert result.err == f"{tmp_path / 'zeros'}: {want}{tmp_path / 'zeros.nnc'})\n"


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    result = tiny(tmp_path / "empty")
    assert result.rc == 0
    assert SUMMARY.fullmatch(result.err.rstrip("\n"))
    (tmp_path / "empty").unlink()
    assert cli("decompress", tmp_path / "empty.nnc").rc == 0
    assert (tmp_path / "empty").read_bytes() == b""


def test_output_option(text: Path, tmp_path: Path) -> None:
    assert tiny(text, "-o", tmp_path / "elsewhere").rc == 0
    assert cli("decompress", tmp_path / "elsewhere", "-o", tmp_path / "back").rc == 0
    assert (tmp_path / "back").read_bytes() == TEXT[:80]
    assert names(tmp_path) == ["back", "elsewhere", "text"]


def test_standard_streams(text: Path, tmp_path: Path) -> None:
    to_stdout = tiny(text, "-c")
    assert (to_stdout.rc, to_stdout.err) == (0, "")
    assert tiny(stdin=TEXT[:80]).out == to_stdout.out
    assert tiny("-", stdin=TEXT[:80]).out == to_stdout.out
    assert tiny(text, "-o", "-").out == to_stdout.out
    assert to_stdout.out == nncodec.compress(TEXT[:80], model="tiny")
    for args in ((), ("-",), ("-c",)):
        result = cli("decompress", *args, stdin=to_stdout.out)
        assert (result.rc, result.out, result.err) == (0, TEXT[:80], "")
    assert names(tmp_path) == ["text"]


def test_stdin_to_a_named_file(tmp_path: Path) -> None:
    assert tiny("-o", tmp_path / "a.nnc", stdin=b"abc").rc == 0
    assert (tmp_path / "a.nnc").read_bytes() == stored_archive(b"abc")
    before = os.umask(0o027)
    try:
        assert tiny("-f", "-o", tmp_path / "a.nnc", stdin=b"abcd").rc == 0
    finally:
        os.umask(before)
    assert (tmp_path / "a.nnc").stat().st_mode & 0o777 == 0o640


def test_decompress_option_of_compress(packed: Path) -> None:
    """tar -I 'nncodec compress' calls the program with -d to extract."""
    result = cli("compress", "-d", stdin=packed.read_bytes())
    assert (result.rc, result.out, result.err) == (0, b"precious", "")


def test_existing_output_is_refused(text: Path, packed: Path, tmp_path: Path) -> None:
    target = tmp_path / "text.nnc"
    target.write_bytes(b"keep me")
    assert_one_error(tiny(text), text, "text.nnc already exists; use -f")
    assert target.read_bytes() == b"keep me"
    (tmp_path / "data").write_bytes(b"keep me too")
    assert_one_error(cli("decompress", packed), packed, "already exists; use -f")
    assert (tmp_path / "data").read_bytes() == b"keep me too"

    assert tiny(text, "-f").rc == 0
    assert nncodec.decompress(target.read_bytes()) == TEXT[:80]
    assert cli("decompress", packed, "--force").rc == 0
    assert (tmp_path / "data").read_bytes() == b"precious"
    assert names(tmp_path) == ["data", "data.nnc", "text", "text.nnc"]


def test_output_onto_the_input_is_refused(text: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(text)
    for target in (text, tmp_path / "link"):
        assert_one_error(tiny(text, "-f", "-o", target), text, "same file")
    assert text.read_bytes() == TEXT[:80]


def test_rm_removes_the_input_only_when_all_went_well(text: Path, tmp_path: Path) -> None:
    assert tiny(text, "--rm").rc == 0
    assert names(tmp_path) == ["text.nnc"]
    assert cli("decompress", "--rm", tmp_path / "text.nnc").rc == 0
    assert names(tmp_path) == ["text"]
    assert text.read_bytes() == TEXT[:80]
    assert tiny(text, "--rm", "-c").rc == 0
    assert tiny(text, "--rm", "-k").rc == 0
    assert text.exists()


def test_rm_keeps_the_input_if_the_archive_does_not_verify(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = nncodec.codec.Codec.frame_of

    def wrong(self: nncodec.codec.Codec, *args: Any) -> Coded:
        coded = real(self, *args)
        payload = bytearray(coded.payloads[-1])
        payload[-3] ^= 0xFF
        return Coded(coded.frame, (*coded.payloads[:-1], bytes(payload)))

    monkeypatch.setattr(nncodec.codec.Codec, "frame_of", wrong)
    result = tiny(text, "--rm")
    assert result.rc == 1
    assert text.read_bytes() == TEXT[:80]


def test_quiet_and_verbose(text: Path) -> None:
    assert tiny(text, "-q").err == ""
    assert "=> 80 bytes" in cli("decompress", "-v", "-f", f"{text}.nnc").err
    assert cli("decompress", "-q", "-f", f"{text}.nnc").err == ""
    assert cli("test", "-q", f"{text}.nnc").err == ""


def test_one_bad_file_does_not_stop_the_others(text: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"aaaa")
    result = tiny("-q", text, tmp_path / "missing", tmp_path, other)
    assert result.rc == 1
    assert len(result.errors) == 2
    assert result.errors[0] == f"nncodec: {tmp_path / 'missing'}: no such file or directory"
    assert result.errors[1].startswith(f"nncodec: {tmp_path}: is a directory")
    assert names(tmp_path) == ["other", "other.nnc", "text", "text.nnc"]

    for path in (text, other):
        path.unlink()
    (tmp_path / "bad.nnc").write_bytes(b"\x89NNC")
    result = cli("decompress", f"{text}.nnc", tmp_path / "bad.nnc", f"{other}.nnc")
    assert result.rc == 1
    assert len(result.errors) == 1
    assert names(tmp_path) == ["bad.nnc", "other", "other.nnc", "text", "text.nnc"]


def test_unreadable_files(text: Path, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert_one_error(tiny(tmp_path / "loop"), tmp_path / "loop", "symbolic links")
    gone = tmp_path / "no" / "such" / "folder"
    assert_one_error(tiny(text, "-o", gone), text, "cannot write .*no such file")
    assert names(tmp_path) == ["loop", "text"]


def damaged_archives() -> dict[str, tuple[bytes, str]]:
    stored, header = stored_archive(b"precious"), len(stored_archive(b"precious")) - 8
    coded = bytes((2, 1)) + bytes(8) + b"\x01\x00"
    return {
        "empty file": (b"", "is empty"),
        "cut header": (stored[:10], "header"),
        "cut payload": (stored[:-1], "ends in the middle"),
        "flipped payload": (stored[:-1] + b"X", "checksum"),
        "flipped header": (stored[:8] + b"\xff" + stored[9:], "block table|header"),
        "another format": (b"\x1f\x8b\x08" + bytes(30), "not an nncodec archive"),
        "trailing garbage": (stored + b"garbage", "trailing garbage"),
        "a later version": (forge(stored[6:header], version=9), "version 9"),
        "an unknown model": (
            forge(b"\xab" * 16 + b"\x03\x03" + coded, flags=1) + b"!",
            "made with model " + "ab" * 16,
        ),
    }


@pytest.mark.parametrize(
    ("archive", "message"), damaged_archives().values(), ids=damaged_archives()
)
def test_damaged_archives(tmp_path: Path, archive: bytes, message: str) -> None:
    path = tmp_path / "bad.nnc"
    path.write_bytes(archive)
    assert_one_error(cli("decompress", path), path, message)
    assert_one_error(cli("decompress", "--rm", path), path, message)
    assert_one_error(cli("test", path), path, message)
    piped = cli("decompress", stdin=archive)
    assert (piped.rc, len(piped.errors)) == (1, 1)
    assert piped.err.startswith("nncodec: (standard input): ")
    assert names(tmp_path) == ["bad.nnc"]
    assert path.read_bytes() == archive


def test_damaged_coded_archive(text: Path, tmp_path: Path) -> None:
    archive = bytearray(nncodec.compress(TEXT[:80], model="tiny"))
    archive[-5] ^= 1
    path = tmp_path / "coded.nnc"
    path.write_bytes(archive)
    assert_one_error(cli("decompress", path), path, "damaged")
    path.write_bytes(archive[:-4])
    assert_one_error(cli("decompress", path), path, "ends in the middle")
    assert names(tmp_path) == ["coded.nnc", "text"]


def test_a_damaged_archive_leaves_an_older_output_alone(packed: Path, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"older")
    packed.write_bytes(packed.read_bytes()[:-1])
    assert cli("decompress", "-f", packed).rc == 1
    assert (tmp_path / "data").read_bytes() == b"older"


def test_suffixes(packed: Path, tmp_path: Path) -> None:
    assert_one_error(tiny(packed), packed, "already has the suffix .nnc")
    (tmp_path / "plain").write_bytes(packed.read_bytes())
    (tmp_path / ".nnc").write_bytes(packed.read_bytes())
    for name in ("plain", ".nnc"):
        assert_one_error(cli("decompress", tmp_path / name), tmp_path / name, "unknown suffix")
    assert cli("decompress", tmp_path / "plain", "-c").out == b"precious"
    assert tiny("-f", packed, "-q").rc == 0
    assert nncodec.decompress((tmp_path / "data.nnc.nnc").read_bytes()) == packed.read_bytes()


USAGE_ERRORS: list[Sequence[str]] = [
    ("compress", "--no-such-option"),
    ("no-such-command",),
    ("compress", "a", "-o", "b", "-c"),
    ("compress", "a", "b", "-o", "c"),
    ("decompress", "a", "-o", "b", "-c"),
    ("compress", "-T", "-1", "a"),
    ("compress", "-T", "many", "a"),
    ("info",),
    ("info", "--engine", "a.nnc"),
    ("models", "no-such"),
    ("models", "show"),
    ("models", "push", "tiny"),
    ("models", "--json", "list"),
    ("models", "pull", "user/repo", "--name", "../x"),
    ("models", "pull", "user/repo", "--id", "abcd"),
    ("models", "pull", "user/repo", "--id", "z" * 32),
    ("bench",),
    ("bench", "--engine", "--bytes", "0"),
    ("bench", "--engine", "--runs", "0"),
    ("train",),
]


@pytest.mark.parametrize("args", USAGE_ERRORS, ids=" ".join)
def test_usage_errors(args: Sequence[str]) -> None:
    result = cli(*args)
    assert (result.rc, result.out) == (2, b"")
    assert "Usage" in result.err


def test_unknown_model(text: Path, tmp_path: Path, model_home: Path) -> None:
    result = cli("compress", "-m", "no-such", text)
    assert_one_error(result, text, "no model named 'no-such': installed are .*tiny")
    assert names(tmp_path) == ["text"]
    assert cli("compress", "-q", "-m", str(model_home / "tiny"), text).rc == 0


def test_model_from_the_environment(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNCODEC_MODEL", "from-the-environment")
    assert_one_error(cli("compress", text), text, "from-the-environment")


def test_test_command(packed: Path, tmp_path: Path) -> None:
    result = cli("test", packed)
    assert (result.rc, result.out, result.err) == (0, b"", f"{packed}: OK\n")
    assert "bytes)" in cli("test", "-v", packed).err
    assert names(tmp_path) == ["data.nnc"]


def test_info(tmp_path: Path, packed: Path) -> None:
    several = tmp_path / "several.nnc"
    several.write_bytes(stored_archive(b"x") + constant_archive(b"a" * 300))
    result = cli("info", packed, several)
    lines = result.out.decode().splitlines()
    assert result.rc == 0
    assert lines[0].split() == [
        *("compressed", "uncompressed", "bits/byte", "ratio", "blocks", "model", "base"),
        *("portable", "name"),
    ]
    assert lines[1].split()[:2] == [str(packed.stat().st_size), "8"]
    assert "1 stored, 1 constant" in lines[2]
    assert lines[2].endswith(str(several))


def test_info_json(packed: Path, tmp_path: Path) -> None:
    coded = tmp_path / "coded.nnc"
    coded.write_bytes(nncodec.compress(TEXT[:80], model="tiny"))
    result = cli("info", "--json", packed, coded, tmp_path / "missing")
    assert result.rc == 1
    assert len(result.errors) == 1
    first, second = json.loads(result.out)
    assert first == {
        "name": str(packed),
        "format_version": 1,
        "numeric_version": NUMERIC_VERSION,
        "frames": 1,
        "blocks": {"stored": 1},
        "models": [],
        "bases": [],
        "portable": True,
        "environments": [],
        "uncompressed_size": 8,
        "compressed_size": packed.stat().st_size,
        "skipped_bytes": 0,
        "bits_per_byte": packed.stat().st_size,
        "ratio": 8 / packed.stat().st_size,
    }
    assert second["blocks"] == {"mixed": 1}
    assert [len(bytes.fromhex(model)) for model in second["models"]] == [16]


def test_info_on_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NNCODEC_ISA", raising=False)
    monkeypatch.setenv("NNCODEC_THREADS", "3")
    assert json.loads(cli("info", "--engine", "--json").out) == {
        "isa": available_isas()[0],
        "available_isas": available_isas(),
        "threads": 3,
        "numeric_version": NUMERIC_VERSION,
        "version": nncodec.__version__,
    }
    monkeypatch.setenv("NNCODEC_ISA", "portable")
    result = cli("info", "--engine")
    _, values = result.out.decode().splitlines()
    assert result.rc == 0
    assert values.split() == [
        "portable", *", ".join(available_isas()).split(), "3",
        f"{NUMERIC_VERSION}", nncodec.__version__,
    ]  # fmt: skip


@pytest.mark.parametrize("command", ["info", "bench"])
def test_unknown_instruction_set(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNCODEC_ISA", "sse9")
    assert_one_error(cli(command, "--engine"), "engine", "'sse9' here: choose one of .*portable")


@pytest.fixture
def short_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "SECONDS", 0.001)


BENCH = ("bench", "--engine", "-m", "tiny", "-T", "1", "--runs", "1")


@pytest.mark.usefixtures("short_measurements")
def test_bench_json(text: Path, tmp_path: Path, tiny_model: EngineModel) -> None:
    result = cli(*BENCH, "--isa", "portable", "--bytes", "50", "--json", "-", text)
    assert (result.rc, result.err) == (0, "")
    report = json.loads(result.out)
    assert (report["model"], report["model_id"]) == ("tiny", tiny_model.model_id.hex())
    assert (report["isa"], report["threads"], report["runs"]) == ("portable", 1, 1)
    assert (report["data"], report["bytes"], report["lanes"]) == (str(text), 50, 1)
    assert report["bare_gmacs"] > 0
    assert [kernel["name"] for kernel in report["kernels"]] == ["qkv", "out", "up", "down", "head"]
    assert names(tmp_path) == ["text"]


@pytest.mark.usefixtures("short_measurements")
def test_bench_tables() -> None:
    result = cli(*BENCH, "--bytes", "50")
    lines = result.out.decode().splitlines()
    assert (result.rc, result.err) == (0, "")
    kernels, coding = lines.index(""), len(lines) - 3
    assert lines[kernels + 2].split()[:4] == ["kernel", "out", "x", "in"]
    assert [line.split()[0] for line in lines[kernels + 3 : coding - 2]] == [
        "qkv", "out", "up", "down", "head"
    ]  # fmt: skip
    assert "50 bytes, lanes: 1, threads: 1, medians of 1" in lines[coding - 1]
    assert lines[coding].split() == [
        "direction", "kB/s", "products", "attention", "norms", "counts", "coding"
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[coding + 1 :]] == ["encode", "decode"]


def test_bench_errors(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert_one_error(cli(*BENCH, tmp_path / "empty"), tmp_path / "empty", "is empty; give a file")
    assert_one_error(cli(*BENCH, tmp_path / "none"), tmp_path / "none", "no such file")
    assert_one_error(cli("bench", "--engine", "-m", "none"), "engine", "no model named 'none'")
    assert_one_error(cli(*BENCH, "--isa", "sse9"), "engine", "choose one of")


def test_version(monkeypatch: pytest.MonkeyPatch) -> None:
    isas = available_isas()
    assert cli("--version").out.decode() == (
        f"nncodec {nncodec.__version__}, format {VERSION}, numeric version {NUMERIC_VERSION}, "
        f"engine {isas[0]} (of {', '.join(isas)})\n"
    )
    monkeypatch.setenv("NNCODEC_ISA", "portable")
    assert b"engine portable (of " in cli("--version").out
    monkeypatch.setenv("NNCODEC_ISA", "sse9")
    assert_one_error(cli("--version"), "version", "'sse9'")


@pytest.mark.parametrize("budget", [(), ("--minutes", "1", "--megabytes", "1")])
def test_training_without_a_budget_is_one_line(tmp_path: Path, budget: Sequence[str]) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    result = cli("train", corpus, "-o", tmp_path / "run", *budget)
    assert result.rc in (1, 2)
    assert "budget" in result.err


def test_training_without_a_corpus_is_one_line(tmp_path: Path) -> None:
    result = cli("train", tmp_path, "-o", tmp_path / "run", "--megabytes", "1", "--no-compile")
    assert (result.rc, len(result.errors)) == (1, 1)
    assert "unpack the training corpora" in result.err


@pytest.mark.parametrize("mix", ["martian=1", "code"])
def test_training_with_a_mix_that_cannot_be_is_one_line(tmp_path: Path, mix: str) -> None:
    corpus, run = write_corpus(tmp_path / "corpus"), tmp_path / "run"
    result = cli("train", corpus, "-o", run, "--megabytes", "1", "--no-compile", "--mix", mix)
    assert (result.rc, len(result.errors)) == (1, 1)
    assert mix.partition("=")[0] in result.err


def test_whole_program_over_pipes(text: Path) -> None:
    """The installed entry point, with real streams: bytes are not decoded on the way."""
    data = TEXT[:60] + bytes(range(256))
    packed = run_python(CLI, "compress", "-m", "tiny", "-T", "1", input=data)
    assert (packed.returncode, packed.stderr) == (0, b"")
    assert packed.stdout == nncodec.compress(data, model="tiny")
    back = run_python(CLI, "decompress", "-T", "1", input=packed.stdout)
    assert (back.returncode, back.stdout, back.stderr) == (0, data, b"")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_early(tmp_path: Path, unbuffered: str) -> None:
    """Quiet, but not a success: unbuffered, a write may take less than it was given."""
    path = tmp_path / "large.nnc"
    path.write_bytes(constant_archive(bytes(3_000_000)))
    command = [sys.executable, "-c", CLI, "decompress", "-c", str(path)]
    pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(command, **pipes, env=environment) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(10) == bytes(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) != 0


def test_a_model_outside_the_search_path(
    tmp_path: Path, model_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """-m FOLDER on both sides, also for the check before --rm; elsewhere the hash is asked for."""
    folder = tmp_path / "own"
    shutil.copytree(model_home / "tiny", folder)
    monkeypatch.setenv("NNCODEC_HOME", str(tmp_path / "empty"))
    api.load_codec.cache_clear()
    api.load_coder.cache_clear()
    text, archive = tmp_path / "text", tmp_path / "text.nnc"
    text.write_bytes(TEXT)
    assert cli("compress", "-m", folder, "-T", "1", "--rm", text).rc == 0
    assert not text.exists()
    refused = cli("decompress", "-T", "1", archive)
    assert_one_error(refused, archive, "which is not installed")
    assert cli("decompress", "-m", folder, "-T", "1", archive).rc == 0
    assert text.read_bytes() == TEXT
    assert cli("test", "-m", folder, "-T", "1", archive).rc == 0
    api.load_codec.cache_clear()
    api.load_coder.cache_clear()


def test_a_thread_count_too_large_is_wrong_usage() -> None:
    assert cli("compress", "-T", "99999999999", "-").rc == 2
