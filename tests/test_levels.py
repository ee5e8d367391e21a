"""Levels choose models and geometries, nothing else: any archive decodes without being told."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from helpers import CLI, TEXT, python_fails, run_python
from typer.testing import CliRunner

import nncodec
from nncodec import api, modelstore
from nncodec.blocks import MAX_LANES, MAX_TABLE_BITS, MIN_TABLE_BITS, lane_geometry
from nncodec.cli import level_options
from nncodec.cli.app import app
from nncodec.container import Block, Kind
from nncodec.engine.native import NativeContexts, NativeEngine
from nncodec.levels import DEFAULT_LEVEL, LEVELS
from nncodec.parsing import read_frames

WITH_NETWORK = [level for level, plan in LEVELS.items() if plan.model]
LONG = (TEXT * 500)[:170_001]


@lru_cache
def long_archive(level: int) -> bytes:
    return nncodec.compress(LONG, level, model="tiny")


def rows_of(archive: bytes) -> tuple[Block, ...]:
    return read_frames(io.BytesIO(archive))[0].blocks


def test_levels_are_one_to_nine_and_only_the_first_has_no_network() -> None:
    assert list(LEVELS) == list(range(1, 10))
    assert list(range(2, 10)) == WITH_NETWORK
    assert DEFAULT_LEVEL in LEVELS
    for plan in LEVELS.values():
        assert 1 <= plan.lanes <= MAX_LANES
        assert plan.lanes == 1 or plan.lane_bytes > 0
        assert MIN_TABLE_BITS <= plan.table_bits <= MAX_TABLE_BITS
        assert plan.model or plan.lanes == 1  # context models alone know no lanes


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_there_and_back(level: int) -> None:
    archive = nncodec.compress(TEXT, level)
    assert nncodec.decompress(archive) == TEXT
    info = nncodec.info(archive)
    plan = LEVELS[level]
    assert info.blocks == {"mixed" if plan.model else "contexts": 1}
    if plan.model == "largest":
        wanted = [modelstore.find_largest().model_id.hex()]
    elif plan.model:
        name = modelstore.DEFAULT_MODEL if plan.model == "default" else plan.model
        wanted = [modelstore.find(name).model_id.hex()]
    else:
        wanted = []
    assert info.models == wanted


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("data", [b"", b"x", b"abc", bytes(1000), TEXT[:30]], ids=len)
def test_every_level_of_next_to_nothing(data: bytes, level: int) -> None:
    archive = nncodec.compress(data, level, model="tiny" if level > 1 else None)
    assert nncodec.decompress(archive) == data
    assert len(archive) <= len(data) + 64


@pytest.mark.parametrize("level", WITH_NETWORK)
def test_the_geometry_is_the_levels(level: int) -> None:
    archive = long_archive(level)
    (row,) = rows_of(archive)
    plan = LEVELS[level]
    assert row.kind == Kind.MIXED
    wanted = lane_geometry(len(LONG), plan.lanes, plan.table_bits, plan.lane_bytes)
    assert row.geometry == wanted
    assert nncodec.decompress(archive) == LONG


def test_the_first_levels_geometry() -> None:
    (row,) = rows_of(nncodec.compress(LONG, 1))
    assert row.kind == Kind.CONTEXTS
    assert row.geometry == lane_geometry(len(LONG), 1, LEVELS[1].table_bits)


def test_an_archive_does_not_say_its_level() -> None:
    """Where levels come to the same model and geometry, their archives are the same."""
    assert len({nncodec.compress(TEXT, level, model="tiny") for level in LEVELS}) == 1
    by_geometry: dict[object, set[bytes]] = {}
    for level in WITH_NETWORK:
        archive = long_archive(level)
        by_geometry.setdefault(rows_of(archive)[0].geometry, set()).add(archive)
    assert all(len(archives) == 1 for archives in by_geometry.values())


def test_the_default_level() -> None:
    assert nncodec.compress(TEXT) == nncodec.compress(TEXT, DEFAULT_LEVEL)


def test_a_model_takes_the_place_of_the_levels_own() -> None:
    tiny = modelstore.find("tiny").model_id.hex()
    for level in LEVELS:
        assert nncodec.info(nncodec.compress(TEXT, level, model="tiny")).models == [tiny]


@pytest.mark.parametrize("level", [0, 10, -1, 100])
def test_other_levels_are_refused(level: int) -> None:
    with pytest.raises(nncodec.NNCodecError, match=f"no level {level}: choose one of 1 to 9"):
        nncodec.compress(TEXT, level)


def test_context_models_alone_need_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither to compress nor to decompress, on a machine that has none."""
    noise = np.random.default_rng(0).bytes(60_000)

    def nowhere() -> list[Path]:
        raise AssertionError("looked for a model")

    monkeypatch.setattr(modelstore, "search_path", nowhere)
    for data in (TEXT, TEXT * 20, noise + noise, b"", b"a" * 99):
        archive = nncodec.compress(data, 1)
        assert nncodec.decompress(archive) == data
        assert nncodec.info(archive).models == []
    assert len(nncodec.compress(noise + noise, 1)) < 1.05 * len(noise)
    assert nncodec.info(nncodec.compress(noise, 1)).blocks == {"stored": 1}


def test_coders_by_what_archives_name() -> None:
    assert isinstance(api.load_coder(None), NativeContexts)
    tiny = modelstore.find("tiny")
    assert isinstance(api.load_coder(tiny.model_id), NativeEngine)
    with pytest.raises(nncodec.ModelNotFoundError, match="00" * 16):
        api.load_coder(bytes(16))


# The command line: -1 to -9 are what the program's entry point makes of its arguments.

REWRITTEN: list[tuple[list[str], list[str]]] = [
    (["compress", "-1", "a"], ["compress", "--level=1", "a"]),
    (["compress", "-9"], ["compress", "--level=9"]),
    (["compress", "a", "-3", "-5"], ["compress", "a", "--level=3", "--level=5"]),
    (["compress", "--", "-3"], ["compress", "--", "-3"]),
    (["compress", "-4", "--", "-3"], ["compress", "--level=4", "--", "-3"]),
    (["compress", "-0"], ["compress", "-0"]),
    (["-10", "-l", "3", "9", "-", "--3"], ["-10", "-l", "3", "9", "-", "--3"]),
    (["-o", "-1", "-2", "a"], ["-o", "-1", "--level=2", "a"]),
    (["-T", "-1"], ["-T", "-1"]),
    (["-c", "-1"], ["-c", "--level=1"]),
    (["-9f", "a"], ["--level=9", "-f", "a"]),
    (["-kc2", "a"], ["--level=2", "-kc", "a"]),
    (["-l5", "-o9", "-m1"], ["-l5", "-o9", "-m1"]),
    (["-1", "--", "-9f"], ["--level=1", "--", "-9f"]),
    ([], []),
]


@pytest.mark.parametrize(("given", "want"), REWRITTEN, ids=lambda words: " ".join(words))
def test_level_options(given: list[str], want: list[str]) -> None:
    assert level_options(given) == want


@pytest.mark.parametrize(
    ("options", "level"),
    [
        (["-1"], 1),
        (["-9"], 9),
        (["-c", "-2"], 2),
        (["--level", "3"], 3),
        (["--level=4"], 4),
        (["-l", "5"], 5),
        (["-3", "-7"], 7),  # as gzip has it, the last one counts
        ([], DEFAULT_LEVEL),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else " ".join(value),
)
def test_levels_on_the_command_line(options: list[str], level: int) -> None:
    packed = run_python(CLI, "compress", "-T", "1", *options, input=TEXT)
    assert (packed.returncode, packed.stderr) == (0, b""), python_fails(packed)
    assert packed.stdout == nncodec.compress(TEXT, level)


def test_no_option_is_needed_to_decompress(tmp_path: Path) -> None:
    for level in LEVELS:
        archive = tmp_path / f"text{level}.nnc"
        archive.write_bytes(nncodec.compress(TEXT, level))
        for command in (["test", "-q"], ["decompress"]):
            result = CliRunner().invoke(app, [*command, str(archive)])
            assert (result.exit_code, result.output) == (0, "")
        assert (tmp_path / f"text{level}").read_bytes() == TEXT


def test_tar_passes_its_level_to_the_decompressor_too() -> None:
    """tar -I 'nncodec compress -9' asks for decompression with -d behind these words."""
    archive = nncodec.compress(TEXT, 1)
    result = run_python(CLI, "compress", "-9", "-d", input=archive)
    assert (result.returncode, result.stdout) == (0, TEXT), python_fails(result)


BAD_LEVELS: list[Sequence[str]] = [
    ("--level", "0"),
    ("--level", "10"),
    ("--level=-1",),
    ("--level", "many"),
    ("--level", "2.5"),
    ("-l", ""),
    ("-0",),
    ("-10",),
    ("-l",),
]


@pytest.mark.parametrize("options", BAD_LEVELS, ids=" ".join)
def test_bad_levels_are_wrong_usage(options: Sequence[str], tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(TEXT)
    result = CliRunner().invoke(app, ["compress", str(text), *options])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_bad_levels_leave_the_program_with_2() -> None:
    for option in ("-0", "--level=0"):
        result = run_python(CLI, "compress", option, input=TEXT)
        assert (result.returncode, result.stdout) == (2, b"")
    result = run_python(CLI, "decompress", "-3", input=TEXT)  # has no levels
    assert (result.returncode, result.stdout) == (2, b"")
