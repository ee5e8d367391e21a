"""``scripts/make_results.py`` and ``results_tables.py``: measured, and put into the documents."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from helpers import JSON, TEXT

from nncodec.bench.results import COLUMNS, read_results, write_results

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return importlib


@pytest.fixture
def make_results(load: ModuleType) -> ModuleType:
    module: ModuleType = load.import_module("make_results")
    return module


@pytest.fixture
def tables(load: ModuleType) -> ModuleType:
    module: ModuleType = load.import_module("results_tables")
    return module


def test_the_documents_say_what_was_measured() -> None:
    script = [sys.executable, ROOT / "scripts" / "results_tables.py", "--check"]
    result = subprocess.run(script, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "nothing to change\n"), result.stderr


def test_every_file_of_the_readme_was_measured(make_results: ModuleType) -> None:
    rows = read_results(ROOT / "docs" / "results" / "readme.csv").values()
    asked = (*make_results.OURS, *make_results.LIBRARIES, *make_results.PROGRAMS)
    for codec in asked:
        there = [row for row in rows if row["codec"] == codec]
        assert {row["file"] for row in there} == set(make_results.FILES), codec
        assert {row["status"] for row in there} <= {"ok", "quoted", "absent"}, codec
    for codec in (*make_results.OURS, "xz:9e"):
        assert all(row["status"] == "ok" for row in rows if row["codec"] == codec)


def test_from_files_to_tables(
    make_results: ModuleType,
    tables: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The whole way on two files, found in folders of other names, from where users start it."""
    monkeypatch.chdir(ROOT)
    corpora, out = tmp_path / "corpora", tmp_path / "out"
    (corpora / "deep" / "er").mkdir(parents=True)
    (corpora / "deep" / "er" / "text").write_bytes(TEXT * 3)
    (corpora / "json").write_bytes(JSON)
    monkeypatch.setattr(make_results, "FILES", ("text", "json"))
    monkeypatch.setattr(make_results, "OURS", ("nncodec:level=1",))
    monkeypatch.setattr(make_results, "LIBRARIES", ("gzip:9",))
    monkeypatch.setattr(make_results, "PROGRAMS", ("cmix",))
    monkeypatch.setattr(sys, "argv", ["make_results.py", str(corpora), "--quick", "-o", str(out)])
    with pytest.raises(SystemExit) as ended:
        make_results.main()
    assert ended.value.code == 0
    rows = list(read_results(out / "readme.csv").values())
    assert [(row["file"], row["codec"]) for row in rows] == [
        (file, codec)
        for file in ("text", "json")
        for codec in ("nncodec:level=1", "gzip:9", "cmix")
    ]
    assert (out / "readme.html").exists()
    assert (out / "readme-pareto.svg").exists()
    capsys.readouterr()
    tables.show(out)
    said = capsys.readouterr().out
    assert f"| text | {3 * len(TEXT)} | **{rows[0]['compressed_bytes']}** |\n" in said
    assert "Not installed there: cmix." in said
    monkeypatch.setattr(sys, "argv", ["make_results.py", str(corpora), "--corpus", "-o", str(out)])
    with pytest.raises(SystemExit) as ended:
        make_results.main()
    assert ended.value.code == 0
    smallest_first = [row["file"] for row in read_results(out / "corpus.csv").values()]
    assert smallest_first == ["json"] * 3 + ["text"] * 3


def test_versions_have_names(tables: ModuleType, tmp_path: Path) -> None:
    """Ours is recorded as the bare number, a library's with its name."""
    write_results(
        tmp_path / "t.csv",
        [
            dict.fromkeys(COLUMNS, "")
            | {"file": "a", "codec": codec, "status": "ok", "codec_version": version}
            | {"machine": "M", "date": "2026-11-28T00:00:00"}
            for codec, version in (
                ("nncodec", "0.1.0"),
                ("nncodec:level=1", "0.1.0"),
                ("zstd:19", "zstd 1.5"),
            )
        ],
    )
    said = tables.measured_on(tables.rows_of(tmp_path / "t.csv"))
    assert said == "Measured on M, 2026-11-28, one run each: nncodec 0.1.0, zstd 1.5."


def test_a_file_that_is_not_there(make_results: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"there is no alice29\.txt below .*; give the folder"):
        make_results.command(tmp_path, quick=True, corpus=False, out=tmp_path, again=False)


def test_tables_go_between_their_marks(tables: ModuleType) -> None:
    text = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n"
    assert tables.filled(text, "x", "new") == "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n"
    for wrong in ("", text + text):
        with pytest.raises(ValueError, match="not one place for x"):
            tables.filled(wrong, "x", "new")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("arguments", [(), ("no-such-folder",), (".", "--fast")])
def test_wrong_use_of_the_command(arguments: tuple[str, ...], tmp_path: Path) -> None:
    command = ["bash", ROOT / "scripts" / "results.sh", *arguments]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("results.sh: ")
