"""``decompress --range``, ``--block-size`` and limits: from where users give them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from helpers import CLI, TEXT, python_fails, run_python
from hypothesis import given
from hypothesis import strategies as st

import nncodec
from nncodec.blocks import Geometry
from nncodec.cli.sizes import parse_range, parse_size
from nncodec.container import Block, Kind, skippable_frame
from nncodec.errors import LimitError
from nncodec.frames import chain, stored_frame
from nncodec.limits import Limits, decoding_memory
from nncodec.tensors.items import Item

DATA = np.random.default_rng(6).bytes(100_000)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two chains of stored blocks of 4096 bytes, 26 in all, and a skippable frame."""
    array = np.frombuffer(DATA, dtype=np.uint8)
    parts = [(0, 30_000), (30_000, 60_000)], [(60_000, 100_000)]
    packed = b"".join(
        piece
        for part in parts
        for piece in chain(stored_frame(array[a:b], None, 4096) for a, b in part)
    )
    path = tmp_path_factory.mktemp("range") / "data.nnc"
    path.write_bytes(skippable_frame(1, b"of a user") + packed)
    return path


def decompress(*args: str | Path, **kwargs: bytes) -> subprocess.CompletedProcess[bytes]:
    return run_python(CLI, "decompress", *map(str, args), **kwargs)


@pytest.mark.parametrize(
    ("span", "part", "decoded"),
    [
        ("5:9", slice(5, 9), 1),
        (":", slice(None), 26),
        ("4K:8K", slice(4096, 8192), 1),
        ("4095:8193", slice(4095, 8193), 3),
        (":100", slice(100), 1),
        ("96000:", slice(96000, None), 2),
        ("99999:1M", slice(99999, None), 1),
        ("50k:50K", slice(0, 0), 0),
        ("100000:", slice(0, 0), 0),
        ("1G:2G", slice(0, 0), 0),
    ],
)
def test_ranges(archive: Path, span: str, part: slice, decoded: int) -> None:
    result = decompress("--range", span, archive, "-v")
    assert result.returncode == 0, python_fails(result)
    assert result.stdout == DATA[part]
    assert f"decoded {decoded} of 26 blocks".encode() in result.stderr


def test_into_a_file_and_out_of_one(archive: Path, tmp_path: Path) -> None:
    result = decompress("--range=10:20", archive, "-o", tmp_path / "part")
    assert (result.returncode, result.stdout) == (0, b""), python_fails(result)
    assert (tmp_path / "part").read_bytes() == DATA[10:20]
    with archive.open("rb") as redirected:
        result = subprocess.run(
            [sys.executable, "-c", CLI, "decompress", "--range", "10:20"],
            stdin=redirected,
            capture_output=True,
            check=True,
        )
    assert result.stdout == DATA[10:20]
    assert archive.exists()


def test_a_pipe_cannot_be_seeked(archive: Path) -> None:
    result = decompress("--range", "5:9", input=archive.read_bytes())
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.count(b"\n") == 1
    assert b"(standard input): --range needs a file, not a pipe: save the archive" in result.stderr


@pytest.mark.parametrize("span", ["", "5", "-5:", "5:-1", "a:b", "9:5", "1:2:3", "5T:", "0x1:"])
def test_wrong_ranges_are_wrong_usage(span: str) -> None:
    with pytest.raises(typer.BadParameter, match="--range"):
        parse_range(span)


@given(st.integers(0, 10**9), st.sampled_from(("", "K", "k", "M", "G")))
def test_sizes(number: int, unit: str) -> None:
    size = number << {"": 0, "K": 10, "M": 20, "G": 30}[unit.upper()]
    assert parse_size(f"{number}{unit}", "--memory") == size
    assert parse_range(f"{number}{unit}:") == (size, None)
    assert parse_range(f":{number}{unit}") == (0, size)


@pytest.mark.parametrize("text", ["", "M", "-1", "1.5M", "1MB", "1 K", "lots"])
def test_wrong_sizes_are_wrong_usage(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="--memory takes a size"):
        parse_size(text, "--memory")


def test_usage_errors_have_their_exit_code(archive: Path) -> None:
    for args in (["--range", "9:5"], ["--memory", "much"], ["--range", "1:2", "--rm"]):
        result = decompress(*args, archive)
        assert (result.returncode, result.stdout) == (2, b"")
    assert archive.exists()


def test_a_level_is_no_range(archive: Path) -> None:
    """Values of options are not taken for gzip's levels."""
    result = run_python(CLI, "compress", "--block-size", "-9", input=b"")
    assert result.returncode == 2
    assert b"--block-size takes a size" in result.stderr


def test_block_size(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT * 8)
    args = ("compress", "-1", "--block-size", "1K", str(tmp_path / "text"))
    result = run_python(CLI, *args)
    assert result.returncode == 0, python_fails(result)
    packed = (tmp_path / "text.nnc").read_bytes()
    assert packed == nncodec.compress(TEXT * 8, 1, block_size=1024)
    result = decompress("-v", "--range", "2K:2050", tmp_path / "text.nnc")
    assert result.stdout == (TEXT * 8)[2048:2050]
    assert b"decoded 1 of 3 blocks" in result.stderr
    for size in ("1023", "17M"):
        result = run_python(CLI, "compress", "-1", "--block-size", size, input=b"abc")
        assert (result.returncode, result.stdout) == (2, b"")
        assert b"--block-size" in result.stderr


@pytest.mark.parametrize("command", ["decompress", "test"])
def test_limits(archive: Path, tmp_path: Path, command: str) -> None:
    out = ["-o", str(tmp_path / "out")] if command == "decompress" else []
    for option, enough, little, named in (
        ("--max-output", "100000", "99999", b"100000 bytes, 99999 allowed"),
        ("--memory", "8K", "8191", b"8192 bytes to decode, 8191 allowed"),
    ):
        result = run_python(CLI, command, option, little, str(archive), *out)
        assert result.returncode == 1
        assert named in result.stderr
        assert option.encode() in result.stderr
        assert result.stderr.count(b"\n") == 1
        assert not (tmp_path / "out").exists()
        result = run_python(CLI, command, "-f", option, enough, str(archive), *out) if out else (
            run_python(CLI, command, option, enough, str(archive))
        )  # fmt: skip
        assert result.returncode == 0, python_fails(result)
        (tmp_path / "out").unlink(missing_ok=True)


def test_limits_of_a_range_are_of_what_comes_out(archive: Path) -> None:
    result = decompress("--max-output", "10", "--range", "500:510", archive)
    assert (result.returncode, result.stdout) == (0, DATA[500:510]), python_fails(result)
    result = decompress("--max-output", "9", "--range", "500:510", archive)
    assert (result.returncode, result.stdout) == (1, b"")
    assert b"10 bytes, 9 allowed" in result.stderr


def test_memory_by_the_header() -> None:
    """Block, payload, table and lanes, as docs/streams.md has them."""
    stored = Block(Kind.STORED, 1000, 1000, 0)
    mixed = Block(Kind.MIXED, 1000, 300, 0, Geometry(lanes=4, prefix=9, table_bits=12))
    assert decoding_memory(stored, 1 << 30) == 2000 + (1 << 30)
    assert decoding_memory(mixed, 500) == 2300 + (64 << 12) + (1 << 24) + 4 * 500
    tensors = Block(Kind.TENSORS, 1000, 300, 0, items=(Item(None, 0, 1, 1000),))
    assert decoding_memory(tensors) == 4300 + (1 << 24)
    Limits(max_memory=2000).check_memory(stored)
    with pytest.raises(LimitError, match="2000 bytes to decode, 1999 allowed"):
        Limits(max_memory=1999).check_memory(stored)
    Limits().check_memory(mixed, 1 << 60)


def test_memory_counts_the_lanes_of_the_model() -> None:
    archive = nncodec.compress(TEXT * 2, model="tiny")
    assert nncodec.info(archive).blocks == {"mixed": 1}
    coder = nncodec.api.load_coder(bytes.fromhex(nncodec.info(archive).models[0]))
    assert coder.state_bytes > 0  # type: ignore[attr-defined]
    with pytest.raises(LimitError) as refused:
        nncodec.decompress(archive, max_memory=1 << 10)
    without_model = int(str(refused.value).split("max_memory: ")[1].split()[0])
    needed = without_model + coder.state_bytes  # type: ignore[attr-defined]
    with pytest.raises(LimitError, match=f"{needed} bytes to decode"):
        nncodec.decompress(archive, max_memory=needed - 1)
    assert nncodec.decompress(archive, max_memory=needed) == TEXT * 2
