"""``bench --ablate``: its figures are those of the engines and archives; how they are shown."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import JSON, TEXT
from test_cli import Result, assert_one_error, cli

import nncodec
from nncodec import ablation, api, codec
from nncodec.ablation import Ablation, Ablator
from nncodec.bench import results
from nncodec.bench.results import write_results
from nncodec.blocks import lane_geometry
from nncodec.cli import bench_ablate, files
from nncodec.codec import Codec
from nncodec.engine.native import NativeContexts, NativeEngine
from nncodec.engine_weights import EngineModel
from nncodec.errors import NNCodecError
from nncodec.lanes import no_progress
from nncodec.levels import LEVELS

LEVEL = 2
DATA = TEXT + JSON
LONG = DATA * 3  # enough for lanes
NOISE = bytes(np.random.default_rng(0).integers(0, 256, 20_000, dtype=np.uint8))  # all of it stored
COLUMNS = ["bytes", "lanes", "network", "contexts", "both", "gain", "archive", "blocks", "file"]


@pytest.fixture
def native(tiny_model: EngineModel) -> NativeEngine:
    return NativeEngine(tiny_model, threads=1)


@pytest.fixture
def tiny(native: NativeEngine, tiny_model: EngineModel) -> Codec:
    """Blocks of several lanes, however short."""
    return Codec(native, tiny_model.model_id, 4, 16, NativeContexts(), lane_bytes=600)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "data"
    (top / "below").mkdir(parents=True)
    (top / "text").write_bytes(DATA)
    (top / "empty").touch()
    (top / "below" / "zeros").write_bytes(bytes(1000))
    (top / "below" / "noise").write_bytes(NOISE)
    return top


def ablate(*args: str | Path, stdin: bytes = b"") -> Result:
    return cli("bench", "--ablate", "-m", "tiny", "-T", "1", "-l", str(LEVEL), *args, stdin=stdin)


def test_sizes_by_hand(native: NativeEngine, tiny: Codec) -> None:
    data = np.frombuffer(LONG, dtype=np.uint8)
    geometry = lane_geometry(len(data), 4, 16, 64)
    alone = replace(geometry, lanes=1, prefix=0)
    assert (geometry.lanes, geometry.table_bits) == (4, 13)
    done: list[int] = []
    measured = Ablator(tiny).measure(io.BytesIO(LONG), done.append)
    assert measured == Ablation(
        bytes=len(LONG),
        lanes=4,
        table_bits=13,
        network=len(native.encode(data, replace(geometry, table_bits=0), no_progress)),
        contexts=len(NativeContexts().encode(data, alone, no_progress)),
        both=len(native.encode(data, geometry, no_progress)),
        archive=len(tiny.compress(data)),
        blocks=Counter(mixed=1),
    )
    assert sum(done) == ablation.CODINGS * len(LONG)


@pytest.mark.parametrize(
    ("data", "kind"),
    [(DATA, "mixed"), (NOISE, "stored"), (bytes(500), "constant"), (b"x", "constant")],
)
def test_archives_are_those_of_compress(data: bytes, kind: str) -> None:
    level = api.load_codec(LEVEL, "tiny", 1)
    measured = Ablator(level).measure(io.BytesIO(data), no_progress)
    assert measured.archive == len(nncodec.compress(data, LEVEL, model="tiny", threads=1))
    assert measured.blocks == {kind: 1}
    assert min(measured.network, measured.contexts, measured.both) > 0


def test_frames_and_blocks(tiny: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several of both, cut as a stream is; the codec's own coders are left as they were."""
    for module in (ablation, codec):
        monkeypatch.setattr(module, "BLOCK_SIZE", 1500)
    monkeypatch.setattr(codec, "FRAME_BLOCKS", 2)
    data = LONG + bytes(4350) + NOISE[:1500] + LONG
    before = vars(tiny).copy()
    measured = Ablator(tiny).measure(io.BytesIO(data), no_progress)
    assert vars(tiny) == before
    written = io.BytesIO()
    tiny.compress_stream(io.BytesIO(data), written)
    info = api.info(written.getvalue())
    assert info.frames > 2
    assert {"mixed", "constant", "stored"} == set(info.blocks)
    assert (measured.bytes, measured.archive) == (len(data), info.compressed_size)
    assert measured.blocks == info.blocks


def test_nothing_is_coded_twice(tiny: Codec) -> None:
    """Coding is what takes the time: the network twice, the context models once, and no more."""
    calls: list[str] = []

    class Counting(ablation.Remembering):
        def encode(self, *args: object) -> bytes:
            calls.append("network" if self.coder is network else "contexts")
            return self.coder.encode(*args)

    network, contexts = tiny.coder, tiny.contexts
    assert contexts
    tiny.coder, tiny.contexts = Counting(network), Counting(contexts)
    Ablator(tiny).measure(io.BytesIO(LONG), no_progress)
    assert Counter(calls) == {"network": 2, "contexts": 1}


def test_sums_and_gain() -> None:
    a = Ablation(100, 1, 10, 40, 50, 30, 60, Counter(mixed=1))
    b = Ablation(300, 4, 12, 90, 60, 50, 80, Counter(mixed=1, stored=1))
    assert a + b == Ablation(400, 4, 12, 130, 110, 80, 140, Counter(mixed=2, stored=1))
    assert (a.gain_pct, a.bits_per_byte("both")) == (25.0, 2.4)
    assert (a + b).gain_pct == pytest.approx(100 * 30 / 110)
    assert (Ablation().gain_pct, Ablation().bits_per_byte("both")) == (0.0, 0.0)


def test_no_network() -> None:
    with pytest.raises(NNCodecError, match="no network to ablate"):
        Ablator(api.load_codec(1))


def test_table(folder: Path) -> None:
    """Folders to any depth in a fixed order; what is empty is named and left out."""
    result = ablate(folder)
    assert (result.rc, result.err) == (0, f"nncodec: {folder / 'empty'}: is empty, skipped\n")
    title, columns, *rows = result.out.decode().splitlines()
    assert title.startswith(f"nncodec {nncodec.__version__}, level {LEVEL}, model tiny; ")
    assert columns.split() == COLUMNS
    paths = [folder / "text", folder / "below" / "noise", folder / "below" / "zeros"]
    assert [row.split()[-1] for row in rows] == [*map(str, paths), "total"]
    assert [row.split()[0] for row in rows] == [
        str(len(DATA)),
        "20000",
        "1000",
        str(len(DATA) + 21000),
    ]
    assert "1 mixed, 1 stored, 1 constant" in rows[-1]
    first = Ablator(api.load_codec(LEVEL, "tiny", 1)).measure(io.BytesIO(DATA), no_progress)
    bits = [f"{first.bits_per_byte(size):.4f}" for size in ("network", "contexts", "both")]
    assert rows[0].split()[1:] == [
        "1", *bits, f"{first.gain_pct:.2f}", "%", str(first.archive), "1", "mixed", str(paths[0])
    ]  # fmt: skip


def test_json_and_csv(folder: Path, tmp_path: Path, tiny_model: EngineModel) -> None:
    table = tmp_path / "rows.csv"
    table.write_text(",".join(bench_ablate.COLUMNS) + "\nolder\n")
    result = ablate(folder, "--json", "-", "--csv", table)
    report = json.loads(result.out)
    assert result.rc == 0
    assert list(report) == ["version", "level", "model", "model_id", "files", "total"]
    assert (report["level"], report["model"]) == (LEVEL, "tiny")
    assert report["model_id"] == tiny_model.model_id.hex()
    rows, total = report["files"], report["total"]
    assert len(rows) == 3
    assert total["file"] == "total"
    assert total["blocks"] == {"mixed": 1, "stored": 1, "constant": 1}
    for size in ablation.SIZES:
        assert total[f"{size}_bytes"] == sum(row[f"{size}_bytes"] for row in rows)
        for row in (*rows, total):
            bits = 8 * row[f"{size}_bytes"] / row["bytes"]
            assert row[f"{size}_bits_per_byte"] == pytest.approx(bits, abs=1e-4)
    with table.open(newline="") as file:
        written = list(csv.DictReader(file))
    plan = {key: str(report[key]) for key in ("level", "model", "model_id")}
    for row, cells in zip(rows, written, strict=True):
        kinds = ", ".join(f"{n} {kind}" for kind, n in row["blocks"].items())
        assert cells == {**{k: str(v) for k, v in row.items()}, **plan, "blocks": kinds}


def test_standard_input() -> None:
    result = ablate("-", "--json", "-", stdin=DATA)
    (row,) = json.loads(result.out)["files"]
    assert (row["file"], row["bytes"]) == ("-", len(DATA))


def test_levels_own_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(LEVELS, LEVEL, replace(LEVELS[LEVEL], model="tiny"))
    (tmp_path / "text").write_bytes(TEXT)
    api.load_codec.cache_clear()
    result = cli("bench", "--ablate", "-l", str(LEVEL), "-T", "1", "--json", "-", tmp_path / "text")
    api.load_codec.cache_clear()
    report = json.loads(result.out)
    assert (report["model"], report["total"]["bytes"]) == ("tiny", len(TEXT))


def test_a_failing_file_is_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "hollow").mkdir()
    result = ablate(tmp_path / "none", tmp_path / "hollow", folder / "text")
    assert result.rc == 1
    assert result.errors == [
        f"nncodec: {tmp_path / 'none'}: no such file or directory",
        f"nncodec: {tmp_path / 'hollow'}: is a directory without files that can be read",
    ]
    assert [row.split()[-1] for row in result.out.decode().splitlines()[2:]] == [
        str(folder / "text"), "total"
    ]  # fmt: skip
    report = json.loads(ablate(tmp_path / "none", folder / "text", "--json", "-").out)
    assert [row["file"] for row in report["files"]] == [str(folder / "text")]


def test_a_table_that_cannot_be_written(folder: Path) -> None:
    assert_one_error(ablate(folder, "--csv", folder), "ablate", "cannot write .*is a directory")
    text = folder / "text"
    assert_one_error(ablate(text, "--csv", text), "ablate", "one of the files")
    assert_one_error(ablate(folder, "--csv", text), "ablate", "among the files")
    assert_one_error(ablate(folder, "--csv", folder / "new"), "ablate", "among the files")
    assert text.read_bytes() == DATA


def test_a_table_that_is_there_is_replaced_by_rows_alone(folder: Path, tmp_path: Path) -> None:
    """Neither by a run that can read nothing, nor if it is another table."""
    table, report = tmp_path / "rows.csv", tmp_path / "rows.json"
    assert ablate(folder / "text", "--csv", table, "--json", report).rc == 0
    before = table.read_bytes(), report.read_bytes()
    result = ablate(tmp_path / "none", "--csv", table, "--json", report)
    assert (result.rc, result.out) == (1, b"")  # no heads of columns either
    assert (table.read_bytes(), report.read_bytes()) == before
    same = ablate(folder, "--csv", report, "--json", report)
    assert_one_error(same, "ablate", "written twice")
    codecs = tmp_path / "codecs.csv"
    write_results(codecs, [dict.fromkeys(results.COLUMNS, "x")])
    there = codecs.read_bytes()
    assert_one_error(ablate(folder, "--csv", codecs), "ablate", "is no table of --ablate")
    assert codecs.read_bytes() == there


def test_rows_are_saved_as_they_come(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, measure = tmp_path / "rows.csv", Ablator.measure
    seen: list[str] = []

    def look(self: Ablator, *args: object) -> Ablation:
        seen.append(table.read_text() if table.exists() else "")
        return measure(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Ablator, "measure", look)
    assert ablate(folder, "--csv", table).rc == 0
    assert [len(text.splitlines()) for text in seen] == [0, 0, 2, 3]
    assert len(table.read_text().splitlines()) == 4


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_among_the_files_is_one_line(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    result = ablate(tmp_path / "pipe", "/dev/zero")
    assert (result.rc, result.out) == (1, b"")
    assert [": is no regular file" in line for line in result.errors] == [True, True]
    result = ablate(folder, "--csv", tmp_path / "pipe")
    assert_one_error(result, "ablate", "cannot write .*pipe: is no regular file")
    result = cli("bench", "--engine", tmp_path / "pipe")
    assert_one_error(result, tmp_path / "pipe", "is no regular file")


def test_names_have_no_power_over_the_terminal(tmp_path: Path) -> None:
    name = tmp_path / "red\x1b[31m\u202etxt"
    missing = tmp_path / "no\x1b[31m"
    name.write_bytes(TEXT)
    result = ablate(name, missing)
    shown = result.out.decode() + result.err
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "red\\x1b[31m\\u202etxt" in result.out.decode()
    assert "no\\x1b[31m: no such file" in result.err


def test_models_and_levels_that_cannot_be_ablated(folder: Path) -> None:
    assert_one_error(cli("bench", "--ablate", folder, "-m", "none"), "ablate", "no model named")
    assert_one_error(cli("bench", "--ablate", folder, "-l", "1"), "ablate", "no network to ablate")


USAGE_ERRORS = [
    ("--ablate",),
    ("--engine", "--ablate", "a"),
    ("--engine", "a", "b"),
    ("--engine", "--csv", "a"),
    ("--engine", "--level", "2"),
    ("--ablate", "a", "--isa", "portable"),
    ("--ablate", "a", "--bytes", "9"),
    ("--ablate", "a", "--runs", "1"),
    ("--ablate", "a", "--level", "10"),
    ("--ablate", "a", "--json", "--csv", "t.csv"),
    ("--ablate", "a", "--csv", "-"),
    ("--ablate", "a", "--csv", ""),
]


@pytest.mark.parametrize("args", USAGE_ERRORS, ids=" ".join)
def test_usage_errors(args: tuple[str, ...]) -> None:
    result = cli("bench", *args)
    assert (result.rc, result.out) == (2, b"")
    assert "Usage" in result.err


def test_files_below(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links to files count as files, links to folders are not followed, and - is no folder."""
    (folder / "link").symlink_to(folder / "text")
    (folder / "gone").symlink_to(folder / "nothing")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    names = ["empty", "link", "text", "below/noise", "below/zeros"]
    assert files.files_below(str(folder)) == [str(folder / name) for name in names]
    assert files.files_below(str(tmp_path / "none")) == [str(tmp_path / "none")]
    monkeypatch.chdir(tmp_path)
    Path("-").mkdir()
    assert files.files_below("-") == ["-"]


def test_a_folder_that_cannot_be_listed_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = os.scandir

    def refuse(path: str) -> object:
        if path.endswith("below"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert files.files_below(str(folder))[-1] == str(folder / "below")
