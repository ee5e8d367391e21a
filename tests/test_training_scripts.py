"""The scripts around training: short runs become rows and rows become figures."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import TEXT, write_domain

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS, DOCS = ROOT / "scripts", ROOT / "docs"


def run_script(name: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / name), *map(str, args)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    return result


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_recipe_runs_are_rows_and_not_repeated(tmp_path: Path) -> None:
    write_domain(tmp_path, "en_books", TEXT.splitlines() * 10)
    write_domain(tmp_path, "en_books.valid", TEXT.splitlines())
    table = tmp_path / "recipe.csv"
    tiny = ["-o", tmp_path / "runs", "--csv", table, "--megabytes", "0.00001", "--no-compile"]
    first, second = "nano's recipe", "AdamW alone, 0.004"
    run_script("recipe_runs.py", tmp_path, *tiny, "--only", first)
    run_script("recipe_runs.py", tmp_path, *tiny, "--only", first, "--only", second)
    rows = rows_of(table)
    assert [row["run"] for row in rows] == [first, second]
    for row in rows:
        assert row["parameters"] == "1147020"
        assert 0 < float(row["en_books"]) == float(row["mean"]) < 9
        assert row["code"] == ""


def test_measure_models(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(TEXT * 3)
    table = tmp_path / "models.csv"
    run_script(
        "measure_models.py", "--csv", table, "-m", "none", "-m", "tiny", "-T", 1, tmp_path / "text"
    )
    alone, tiny = rows_of(table)
    assert (alone["model"], alone["parameters"]) == ("none", "0")
    assert tiny["bytes"] == str(3 * len(TEXT))
    assert float(tiny["bits_per_byte"]) == round(8 * int(tiny["archives"]) / (3 * len(TEXT)), 4)
    assert float(tiny["compress_kB_s"]) > 0


def test_overheads_are_small(tmp_path: Path, model_home: Path) -> None:
    """Float ideal, integer ideal, payload: close to each other."""
    (tmp_path / "text").write_bytes(TEXT * 40)
    table = tmp_path / "overheads.csv"
    run_script("measure_overheads.py", model_home / "tiny", "--csv", table, tmp_path / "text")
    (row,) = rows_of(table)
    assert abs(float(row["quantisation_pct"])) < 2
    assert -0.01 < float(row["coder_pct"]) < 0.1
    assert int(row["payload"]) == round(
        float(row["integer_ideal"]) * (1 + 1e-2 * float(row["coder_pct"]))
    )


def test_tables_of_the_models_are_those_of_the_measurements(tmp_path: Path) -> None:
    for name in ("benchmarks.csv", "benchmarks_nano.csv", "models.md"):
        shutil.copy(DOCS / name, tmp_path)
    run_script("model_tables.py", tmp_path)
    assert (tmp_path / "models.md").read_text() == (DOCS / "models.md").read_text()


def test_figures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures need matplotlib, the bench extra")
    for name in ("nano_heldout.csv", "small_heldout.csv", "recipe.csv", "models.csv"):
        (tmp_path / name).write_bytes((DOCS / name).read_bytes())
    for _ in range(2):
        run_script("plot_training.py", tmp_path)
        figures = {p.name: p.read_bytes() for p in (tmp_path / "figures").iterdir()}
        assert set(figures) == {"heldout.svg", "recipe.svg", "models.svg"}
        for name, labels in {
            "heldout.svg": ["nano", "small", "bytes seen"],
            "recipe.svg": [row["run"] for row in rows_of(DOCS / "recipe.csv")[1:]],
            "models.svg": [row["model"] for row in rows_of(DOCS / "models.csv")],
        }.items():
            text = figures[name].decode()
            assert all(f"<!-- {label}" in text for label in labels), name
