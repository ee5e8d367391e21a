"""``scripts/measure_files.py``: rows, round trips, peers, runs that go on where they stopped."""

from __future__ import annotations

import csv
import lzma
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import JSON, TEXT

import nncodec
from nncodec.engine_weights import EngineModel

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "measure_files.py"
LONG = bytes(np.random.default_rng(0).integers(0, 16, 12_000, dtype=np.uint8))
LEVELS = ("1", "2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "data"
    (top / "below").mkdir(parents=True)
    (top / "text").write_bytes(TEXT)
    (top / "below" / "long").write_bytes(LONG)
    (top / "empty").touch()
    return top


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, "-m", "tiny", "-T", "1", "--levels", ",".join(LEVELS)]
    return subprocess.run([*command, *args], capture_output=True, text=True, check=False)


def read(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def xz(data: bytes) -> str:
    return str(len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)))


def test_rows_and_markdown(folder: Path, tmp_path: Path, tiny_model: EngineModel) -> None:
    table, peers = tmp_path / "out.csv", tmp_path / "peers.csv"
    peers.write_text(
        "file,bytes_in,tool,args,bytes_out\n"
        f"text,{len(TEXT)},xz-9e,-9e,111\ntext,{len(TEXT)},bzip3,,99999\n"
        f"data/below/long,{len(LONG)},lpaq8-9,9,1\n"
        f"long,{len(LONG) + 1},bzip3,,5\nlong,{len(LONG)},no-such-tool,,7\n"
    )
    result = run("--csv", table, "--peers", peers, "--verify", "--markdown", folder)
    assert result.returncode == 0, result.stderr
    rows = read(table)
    names = {"data/below/long": LONG, "data/empty": b"", "data/text": TEXT}
    assert [(row["file"], row["level"]) for row in rows] == [(n, v) for n in names for v in LEVELS]
    ids = {"1": "none", "2": tiny_model.model_id.hex()}
    for row in rows:
        data, level = names[row["file"]], int(row["level"])
        model = "tiny" if level > 1 else None
        assert row["bytes"] == str(len(data))
        assert row["model_id"] == ids[row["level"]]
        assert row["nncodec"] == str(len(nncodec.compress(data, level, model=model, threads=1)))
        assert row["verified"] == "yes"
        assert min(float(row["compress_s"]), float(row["decompress_s"])) >= 0
    by_name = {row["file"]: row for row in rows}
    text, long = by_name["data/text"], by_name["data/below/long"]
    assert (text["xz-9e"], text["bzip3"], text["zstd-22"]) == ("111", "99999", "")
    assert (long["xz-9e"], long["bzip3"], long["lpaq8-9"]) == (xz(LONG), "", "1")

    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in result.stdout.splitlines()
    ]
    assert lines[0] == ["file", "bytes", "level 1", "level 2", "xz-9e", "bzip3", "lpaq8-9"]
    assert lines[2][0] == "data/below/long"
    assert lines[2][-1] == "**1**"
    assert lines[4][:2] == ["data/text", str(len(TEXT))]
    assert lines[4][4] == "**111**"
    counts = {(line[0], line[1]): line[2:] for line in lines[8:]}
    ours = sum(int(row["nncodec"]) for row in rows if row["level"] == "2")
    theirs = sum(map(int, (xz(LONG), xz(b""), "111")))
    size = str(len(TEXT) + len(LONG))
    worse = int(int(long["nncodec"]) > int(xz(LONG)))
    assert counts["2", "xz-9e"] == [
        "1", str(worse), "3", size, str(ours), str(theirs), f"{ours / theirs:.4f}"
    ]  # fmt: skip
    assert counts["2", "lpaq8-9"][:3] == ["1", "1", "1"]
    assert counts["2", "bzip3"][:3] == ["0", "0", "1"]
    assert set(counts) == {(v, t) for v in LEVELS for t in ("xz-9e", "bzip3", "lpaq8-9")}


def test_a_run_goes_on_where_it_stopped(folder: Path, tmp_path: Path) -> None:
    """Rows that are there stay as they are; a row that was cut off and a changed file come anew."""
    table = tmp_path / "out.csv"
    assert run("--csv", table, folder / "text").returncode == 0
    *kept, last = table.read_text().splitlines()
    table.write_text("\n".join([*kept, last[:30]]))
    result = run("--csv", table, "--markdown", folder / "text")
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[0].startswith("text level 2 ")
    assert table.read_text().splitlines()[:2] == kept
    again = table.read_bytes()
    silent = run("--csv", table, "--markdown", folder / "text")
    assert silent.stderr == "2 rows, 0 round trips verified\n"
    assert silent.stdout == result.stdout
    assert table.read_bytes() == again
    (folder / "text").write_bytes(TEXT + JSON)
    assert run("--csv", table, folder / "text").returncode == 0
    assert [row["bytes"] for row in read(table)][-2:] == [str(len(TEXT + JSON))] * 2


def test_errors(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "out.csv"
    result = run("--csv", table, folder / "none", folder / "empty")
    assert result.returncode == 1
    assert "none: " in result.stderr.splitlines()[0]
    assert len(read(table)) == 2
    table.write_text("file,gzip\n")
    assert "other columns" in run("--csv", table, folder).stderr
    assert table.read_text() == "file,gzip\n"
    assert "no model named" in run("--csv", table, "-m", "none", folder).stderr
    assert run("--csv", table, "--levels", "0", folder).returncode == 2
