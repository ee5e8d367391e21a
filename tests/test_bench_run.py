"""The table of a benchmark: what is kept and what is measured anew, quotes, kills, output."""

from __future__ import annotations

import csv
import importlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import zlib
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from bench_tools import ECHO, command, program
from helpers import CLI, JSON, TEXT, python_fails, run_python
from test_bench_codecs import SLEEPS, gone
from test_cli import Result, assert_one_error, cli

import nncodec
from nncodec.bench import worker
from nncodec.bench.measure import Effort
from nncodec.bench.results import COLUMNS, KEY, Row, read_results, write_results
from nncodec.bench.specs import DEFAULTS
from nncodec.environment import environment
from nncodec.files import sha256

QUICK = ("--runs", "1", "--warm-up", "0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files, one of them below."""
    top = tmp_path / "data"
    (top / "below").mkdir(parents=True)
    (top / "text").write_bytes(TEXT * 4)
    (top / "below" / "json").write_bytes(JSON)
    return top


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def bench(*args: str | Path) -> Result:
    return cli("bench", *QUICK, *args)


def rows_of(path: Path) -> list[Row]:
    return list(read_results(path).values())


def short(rows: list[Row]) -> list[tuple[str, str, str]]:
    return [(row["file"], row["codec"], row["status"]) for row in rows]


def test_a_table(folder: Path, table: Path) -> None:
    result = bench(folder, "--codecs", "gzip:9,no-such", "--csv", table)
    assert (result.rc, result.out) == (2, b"")
    assert "no codec 'no-such'" in result.err
    assert not table.exists()

    result = bench(folder, folder / "text", "--codecs", "gzip:9, nncodec:tiny", "--csv", table)
    assert (result.rc, result.err) == (0, "")
    rows = rows_of(table)
    assert short(rows) == [
        ("text", "gzip:9", "ok"),
        ("text", "nncodec:tiny", "ok"),
        ("below/json", "gzip:9", "ok"),
        ("below/json", "nncodec:tiny", "ok"),
    ]
    here = environment()
    for row in rows:
        size = int(row["file_bytes"])
        packed, model = int(row["compressed_bytes"]), int(row["model_bytes"])
        assert row["file_sha256"] == sha256(folder / row["file"])
        assert float(row["bits_per_byte"]) == pytest.approx(8 * packed / size, abs=1e-5)
        with_model = 8 * (packed + model) / size
        assert float(row["bits_per_byte_with_model"]) == pytest.approx(with_model, abs=1e-5)
        assert float(row["ratio"]) == pytest.approx(size / packed, abs=1e-5)
        for way in ("compress", "decompress"):
            seconds = float(row[f"{way}_seconds"])
            assert float(row[f"{way}_mb_s"]) == pytest.approx(size / seconds / 1e6, rel=1e-4)
            assert row[f"{way}_runs"] == "1"
            assert float(row[f"{way}_peak_mb"]) > 5
        assert {name: row[name] for name in here} == here
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["date"])
        assert float(row["load"]) >= 0
    assert [bool(int(row["model_bytes"])) for row in rows] == [False, True, False, True]


def test_what_is_shown(folder: Path) -> None:
    result = bench(folder, "--codecs", "bz2,copy", "--codecs", command("no-such-tool", name="mine"))
    lines = result.out.decode().splitlines()
    assert result.rc == 0
    assert result.errors == ["nncodec: mine: absent: no program no-such-tool on the PATH"]
    assert lines[0].split() == [
        "codec", "status", "bytes", "packed", "bits/byte", "ratio", "MB/s", "back", "MB", "MB",
        "back", "file"
    ]  # fmt: skip
    assert [line.split()[:2] for line in lines[1:7]] == [
        [codec, status]
        for _ in range(2)
        for codec, status in (("bz2:9", "ok"), ("copy", "ok"), ("mine", "absent"))
    ]
    assert lines[1].split()[2] == str(4 * len(TEXT))
    assert lines[1].split()[-1] == "text"
    totals = lines[8:]
    assert [line.split()[0] for line in totals] == ["codec", "bz2:9", "copy", "mine"]
    both = str(4 * len(TEXT) + len(JSON))
    assert totals[2].split()[1:6] == ["2", both, both, "8.0000", "8.0000"]
    assert totals[3].endswith("no program no-such-tool on the PATH")


def test_failures_are_rows_and_exit_code_1(folder: Path, table: Path) -> None:
    bad = command(program(ECHO), program("pass"), "bad")
    result = bench(folder / "text", "--codecs", bad, "--codecs", "gzip", "--csv", table)
    assert result.rc == 1
    why = f"gave other bytes back: 0 of them for {4 * len(TEXT)}"
    assert result.errors == [f"nncodec: text: bad: {why}"]
    failed, ok = rows_of(table)
    assert (failed["status"], ok["status"]) == ("failed", "ok")
    assert failed["detail"] == why
    assert (failed["compressed_bytes"], failed["bits_per_byte"], failed["ratio"]) == ("", "", "")
    assert b"1 failed" in result.out


def test_an_empty_file(tmp_path: Path, table: Path) -> None:
    (tmp_path / "empty").touch()
    assert bench(tmp_path / "empty", "--codecs", "gzip", "--csv", table).rc == 0
    (row,) = rows_of(table)
    assert (row["status"], row["file_bytes"], row["bits_per_byte"], row["ratio"]) == (
        "ok", "0", "", ""
    )  # fmt: skip
    assert int(row["compressed_bytes"]) > 0


def test_files_that_cannot_be_read_are_lines(folder: Path, tmp_path: Path, table: Path) -> None:
    (tmp_path / "hollow").mkdir()
    args = (tmp_path / "none", tmp_path / "hollow", "-", folder / "text")
    result = bench(*args, "--codecs", "copy", "--csv", table)
    assert result.rc == 1
    assert result.errors == [
        f"nncodec: {tmp_path / 'none'}: no such file or directory",
        f"nncodec: {tmp_path / 'hollow'}: is a directory without files that can be read",
        "nncodec: (standard input): codecs are measured on files, not on a pipe",
    ]
    assert short(rows_of(table)) == [("text", "copy", "ok")]


def counting(tmp_path: Path, name: str = "counted") -> tuple[str, Path]:
    """A command that leaves a mark for each compression, and where."""
    marks = tmp_path / name
    code = "import sys; open(sys.argv[1], 'a').write('x'); " + ECHO
    return command(program(code, str(marks)), name=name), marks


def count(marks: Path) -> int:
    return len(marks.read_text()) if marks.exists() else 0


def test_rows_that_are_there_are_kept(folder: Path, table: Path, tmp_path: Path) -> None:
    spec, marks = counting(tmp_path)
    args = (folder, "--codecs", spec, "--csv", table)
    assert bench(*args).rc == 0
    first = rows_of(table)
    assert count(marks) == 2
    result = bench(*args, "--codecs", "copy")
    assert result.errors == ["2 rows are new, 2 were there"]
    assert count(marks) == 2
    assert rows_of(table)[:2] == first
    assert bench(*args, "--again").rc == 0
    assert count(marks) == 4
    assert len(rows_of(table)) == 4

    (folder / "text").write_bytes(b"other bytes")
    assert bench(*args).rc == 0
    assert count(marks) == 5
    assert len(rows_of(table)) == 5


@pytest.mark.parametrize(
    ("column", "value", "measured"),
    [
        ("codec_version", "older", 1),
        ("model_id", "ab", 1),
        ("threads", "7", 1),
        ("status", "absent", 1),
        ("status", "failed", 1),
        ("status", "quoted", 1),
        ("python", "2.7", 0),
        ("date", "1999-01-01T00:00:00Z", 0),
    ],
)
def test_what_makes_a_row_stale(
    column: str, value: str, measured: int, folder: Path, table: Path, tmp_path: Path
) -> None:
    spec, marks = counting(tmp_path)
    args = (folder / "text", "--codecs", spec, "--csv", table)
    assert bench(*args).rc == 0
    write_results(table, [row | {column: value} for row in rows_of(table)])
    assert bench(*args).rc == 0
    assert count(marks) == 1 + measured
    assert (rows_of(table)[0][column] == value) == (not measured)


def test_rows_of_other_machines_codecs_and_files_stay(folder: Path, table: Path) -> None:
    assert bench(folder / "text", "--codecs", "gzip,bz2", "--csv", table).rc == 0
    there = rows_of(table)
    others = [row | {"machine": "another", "compressed_bytes": "1"} for row in there]
    others.append(there[0] | {"file": "elsewhere"})
    write_results(table, [*there, *others])
    assert bench(folder / "text", "--codecs", "gzip", "--csv", table, "--again").rc == 0
    after = read_results(table)
    assert len(after) == 5
    for row in [there[1], *others]:
        assert after[tuple(row[name] for name in KEY)] == row
    result = bench(folder / "text", "--codecs", "gzip", "--csv", table)
    assert b"1.000" not in result.out  # the other machine's row is none of ours


def test_json_and_csv_agree(folder: Path, table: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    absent = command("no-such-tool", "nothing", name="gone")
    specs = ("--codecs", "nncodec:tiny:level=2,gzip:1", "--codecs", absent)
    assert bench(folder, *specs, "--csv", table, "--json", path).rc == 0
    report = json.loads(path.read_text())
    assert (report["schema"], report["environment"]) == (1, environment())
    assert list(report) == ["schema", "command", "environment", "codecs", "rows", "totals"]
    known = [(codec["codec"], codec.get("version")) for codec in report["codecs"]]
    assert known == [
        ("nncodec:tiny:level=2", nncodec.__version__),
        ("gzip:1", f"zlib {zlib.ZLIB_RUNTIME_VERSION}"),
        (absent, None),
    ]
    assert report["codecs"][2]["absent"] == "no program no-such-tool on the PATH"
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(report["rows"]) == len(rows) == 6
    for ours, theirs in zip(report["rows"], rows, strict=True):
        assert list(ours) == list(COLUMNS)
        for name, value in ours.items():
            if value is None:
                assert theirs[name] == ""
            else:
                assert value == type(value)(theirs[name])
        assert isinstance(ours["file_bytes"], int)
        assert isinstance(ours["bits_per_byte"], (float, type(None)))
    assert [total["files"] for total in report["totals"]] == [2, 2, 0]
    packed = sum(int(row["compressed_bytes"]) for row in rows if row["codec"] == "gzip:1")
    assert report["totals"][1]["compressed_bytes"] == packed
    out = bench(folder, "--codecs", "copy", "--json", "-").out
    assert [row["codec"] for row in json.loads(out)["rows"]] == ["copy", "copy"]


def test_the_command_line_measures_the_same(folder: Path, tmp_path: Path) -> None:
    odd = tmp_path / "an odd; name"
    odd.write_bytes(TEXT)
    spec = command(program(ECHO, "a, 'b"), name="odd")
    result = bench(odd, "--codecs", "gzip", "--codecs", spec, "-T", "1", "--json", "-",
                   "--most-seconds", "2.5", "--timeout", "60")  # fmt: skip
    first = json.loads(result.out)
    words = shlex.split(first["command"])
    assert words[:2] == ["nncodec", "bench"]
    second = json.loads(cli(*words[1:]).out)
    assert second["command"] == first["command"]
    for before, after in zip(first["rows"], second["rows"], strict=True):
        for name in ("file", "codec", "compressed_bytes", "compress_runs", "threads"):
            assert before[name] == after[name]


NAMES = ["new\nline", "carriage\rreturn", 'quote"', "a,b", "-dash", b"not \xff text"]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_odd_names(name: str | bytes, tmp_path: Path, table: Path) -> None:
    """The whole program: name, table, JSON and what is shown, and a second run that knows it."""
    path = tmp_path / os.fsdecode(name)
    try:
        path.write_bytes(TEXT)
    except OSError as error:
        pytest.skip(f"no file can be called so here: {error}")
    args = ("--codecs", "copy", "--csv", str(table), "--json", str(tmp_path / "json"), "--")
    first, second = (run_python(CLI, "bench", *args, str(path)) for _ in range(2))
    assert first.returncode == second.returncode == 0, python_fails(first)
    assert second.stderr == b"0 rows are new, 1 were there\n"
    assert len(first.stdout.splitlines()) == 5
    (row,) = rows_of(table)
    assert os.fsencode(row["file"]) == os.fsencode(name)
    assert json.loads((tmp_path / "json").read_text())["rows"][0]["file"] == row["file"]


def test_a_bar_on_the_terminal_and_the_table_in_a_pipe(folder: Path) -> None:
    pty = pytest.importorskip("pty", reason="no terminals to be had on this system")
    ours, theirs = pty.openpty()
    words = [sys.executable, "-c", CLI, "bench", *QUICK, str(folder), "--codecs", "copy,bz2"]
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=theirs, env=env)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # how the end of a terminal looks
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    out = process.communicate(timeout=60)[0].decode()
    assert process.returncode == 0
    assert len(out.splitlines()) == 9
    assert "bz2:9" in out
    assert b"bench" in shown
    assert b"bz2:9" not in shown


def test_the_default_codecs(folder: Path) -> None:
    """In full, with the model that ships."""
    pytest.importorskip("zstandard", reason="of the bench extra")
    pytest.importorskip("brotli", reason="of the bench extra")
    report = json.loads(bench(folder / "text", "--json", "-").out)
    assert [row["codec"] for row in report["rows"]] == list(DEFAULTS)
    assert {row["status"] for row in report["rows"]} == {"ok"}
    assert f"--codecs {','.join(DEFAULTS)}" in report["command"]


QUOTES = "file,bytes,codec,compressed_bytes,source\n"


def test_quoted_figures(folder: Path, table: Path, tmp_path: Path) -> None:
    size = 4 * len(TEXT)
    quoted = tmp_path / "quoted.csv"
    quoted.write_text(
        QUOTES
        + f"text,{size},cmix-v99,77,somebody\n"
        + f"text,{size},gzip:6,1,not asked\n"
        + f"text,{size},no-such-tool-here,5,there\n"
        + f"text,{size + 1},cmix-v99,1,another file of that name\n"
        + f"json,{len(JSON)},cmix-v99,88,by its bare name\n"
    )
    absent = command("no-such-tool", name="gone")
    with quoted.open("a", newline="") as file:
        csv.writer(file).writerow(["text", size, absent, 99, "a paper"])
    args = (folder, "--codecs", "gzip", "--codecs", absent, "--quoted", quoted, "--csv", table)
    assert bench(*args).rc == 0
    rows = {(row["file"], row["codec"].partition("=")[0]): row for row in rows_of(table)}
    assert {key: row["status"] for key, row in rows.items()} == {
        ("text", "gzip:6"): "ok",
        ("text", "cmd:gone"): "quoted",
        ("text", "cmix-v99"): "quoted",
        ("text", "no-such-tool-here"): "quoted",
        ("below/json", "gzip:6"): "ok",
        ("below/json", "cmd:gone"): "absent",
        ("below/json", "cmix-v99"): "quoted",
    }
    gone_row = rows["text", "cmd:gone"]
    assert gone_row["detail"] == "a paper; absent here: no program no-such-tool on the PATH"
    assert (gone_row["compressed_bytes"], gone_row["compress_seconds"]) == ("99", "")
    assert float(gone_row["bits_per_byte"]) == pytest.approx(8 * 99 / size, abs=1e-5)
    assert gone_row["bits_per_byte_with_model"] == ""
    assert rows["below/json", "cmix-v99"]["detail"] == "by its bare name"
    before = rows_of(table)
    assert bench(*args).rc == 0
    assert [r for r in rows_of(table) if r["codec"] == "cmix-v99"] == [
        r for r in before if r["codec"] == "cmix-v99"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,bytes\n", "lacks the column codec"),
        (QUOTES + "a,x,b,1,c\n", "is no table of quoted figures"),
        (QUOTES + "a,1,b\n", "is no table of quoted figures"),
    ],
)
def test_quotes_that_are_none(text: str, message: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "quoted.csv").write_text(text)
    assert_one_error(bench(folder, "--quoted", tmp_path / "quoted.csv"), "codecs", message)


def start(*args: str | Path, **env: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", CLI, "bench", *QUICK, *map(str, args)]
    return subprocess.Popen(
        words, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wait_for(path: Path, seconds: float = 60) -> str:
    """The text of a file, as soon as there is any."""
    for _ in range(int(seconds / 0.02)):
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.02)
    raise AssertionError(f"{path} did not appear")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_a_killed_run_goes_on_and_leaves_nothing_behind(
    folder: Path, table: Path, tmp_path: Path
) -> None:
    """Killed in its second row: the first is there, and what the second had started ends."""
    spec, marks = counting(tmp_path)
    hangs = command(SLEEPS.replace("PID", str(tmp_path / "pid")), name="hangs")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    args = (folder / "text", "--codecs", spec, "--codecs", hangs, "--csv", table)
    process = start(*args, TMPDIR=str(temporary))
    hanging = int(wait_for(tmp_path / "pid"))
    process.kill()
    process.wait()
    assert gone(hanging)
    assert short(rows_of(table)) == [("text", rows_of(table)[0]["codec"], "ok")]
    for _ in range(200):
        if not list(temporary.iterdir()):
            break
        time.sleep(0.05)
    assert not list(temporary.iterdir())
    first = rows_of(table)

    result = bench(folder / "text", "--codecs", spec, "--codecs", "copy", "--csv", table)
    assert result.rc == 0
    assert count(marks) == 1
    assert rows_of(table)[0] == first[0]
    assert len(rows_of(table)) == 2


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
def test_an_interrupted_run_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    hangs = command(SLEEPS.replace("PID", str(tmp_path / "pid")), name="hangs")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = start(folder / "text", "--codecs", hangs, TMPDIR=str(temporary))
    hanging = int(wait_for(tmp_path / "pid"))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == -signal.SIGTERM
    assert gone(hanging)
    assert not list(temporary.iterdir())


def test_another_process_adds_rows_meanwhile(folder: Path, table: Path) -> None:
    """What is saved is the table as it is then, not as it was at the start."""
    assert bench(folder / "text", "--codecs", "copy", "--csv", table).rc == 0
    (mine,) = rows_of(table)
    theirs = mine | {"machine": "theirs"}
    adds = program(
        "import sys; text = open(sys.argv[1]).read(); "
        "open(sys.argv[1], 'a').write(text.split('\\n', 1)[1].replace(sys.argv[2], 'theirs'));"
        + ECHO,
        str(table),
        f'"{mine["machine"]}"',
    )
    assert bench(folder / "text", "--codecs", command(adds), "--csv", table).rc == 0
    assert [row["machine"] for row in rows_of(table)] == [
        mine["machine"], theirs["machine"], mine["machine"]
    ]  # fmt: skip


class Reports:
    """In place of the page's module."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[Path, list[Row], str]] = []
        module: Any = ModuleType("nncodec.bench.report")
        module.write_report, module.check_extras = self.write, lambda: None
        monkeypatch.setitem(sys.modules, "nncodec.bench.report", module)

    def write(self, html: Path, rows: list[Row], command: str) -> list[Path]:
        self.calls.append((html, rows, command))
        html.write_text("page")
        return [html]


def test_the_page_gets_the_whole_table(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = Reports(monkeypatch)
    page, table = tmp_path / "report.html", tmp_path / "report.csv"
    assert bench(folder / "text", "--codecs", "gzip", "--html", page).rc == 0
    assert bench(folder / "text", "--codecs", "bz2", "--html", page).rc == 0
    assert short(rows_of(table)) == [("text", "gzip:6", "ok"), ("text", "bz2:9", "ok")]
    assert [len(rows) for _, rows, _ in reports.calls] == [1, 2]
    assert reports.calls[1][:2] == (page, rows_of(table))
    assert reports.calls[1][2] == shlex.join(
        ["nncodec", "bench", "--codecs", "bz2", "--html", str(page), "--runs", "1",
         "--warm-up", "0", str(folder / "text")]
    )  # fmt: skip

    result = cli("bench", "--csv", table, "--html", tmp_path / "again.html")
    assert result.rc == 0
    assert reports.calls[2][:2] == (tmp_path / "again.html", rows_of(table))
    assert reports.calls[2][2] == shlex.join(
        ["nncodec", "bench", "--codecs", "gzip:6,bz2:9", "--csv", str(table),
         "--html", str(tmp_path / "again.html"), "FILES"]
    )  # fmt: skip
    assert b"gzip:6" in result.out
    nothing = cli("bench", "--csv", tmp_path / "none.csv", "--html", page)
    assert_one_error(nothing, "codecs", "none.csv has no rows to show")


def test_a_page_without_matplotlib_is_refused_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    spec, marks = counting(tmp_path)
    result = bench(folder, "--codecs", spec, "--html", tmp_path / "page.html")
    assert_one_error(result, "codecs", r"needs matplotlib: .*nncodec-lm\[bench\]")
    assert count(marks) == 0
    assert not (tmp_path / "page.csv").exists()


def test_inputs_are_not_overwritten(folder: Path, tmp_path: Path) -> None:
    data = folder / "text"
    link = tmp_path / "link"
    link.symlink_to(data)
    for option in ("--csv", "--json", "--html"):
        for target, given in ((data, data), (link, data), (folder / "new", folder)):
            result = bench(given, "--codecs", "copy", option, target)
            assert_one_error(result, "codecs", "measure; write elsewhere")
    assert data.read_bytes() == TEXT * 4
    result = bench(data, "--codecs", "copy", "--csv", tmp_path / "x", "--json", tmp_path / "x")
    assert_one_error(result, "codecs", "different files")
    for place in (tmp_path, tmp_path / "no" / "where"):
        result = bench(data, "--codecs", "copy", "--csv", place)
        assert_one_error(result, "codecs", f"cannot write {place}")
    figure = tmp_path / "report-pareto.png"
    figure.write_bytes(TEXT)
    result = bench(figure, "--codecs", "copy", "--html", tmp_path / "report.html")
    assert_one_error(result, "codecs", "report-pareto.png is one of the files")
    assert figure.read_bytes() == TEXT


@pytest.mark.parametrize("option", ["--csv", "--json", "--html"])
def test_outputs_are_tried_before_anything_is_measured(
    option: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, marks = counting(tmp_path)
    target = tmp_path / "out"
    target.write_text("older")

    def refuse(*_: object, dir: Path, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr("nncodec.cli.files.tempfile.TemporaryFile", refuse)
    result = bench(folder, "--codecs", spec, option, target)
    assert_one_error(result, "codecs", f"cannot write {tmp_path}/out.*: permission denied")
    assert count(marks) == 0
    assert target.read_text() == "older"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize("option", ["", "--csv", "--json", "--quoted", "--peers"])
def test_pipes_and_devices_are_refused(option: str, folder: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (pipe, Path("/dev/null")):
        result = bench(*[folder, option][: 1 + bool(option)] if option else (), place,
                       "--codecs", "copy")  # fmt: skip
        name = "codecs" if option else place
        assert_one_error(result, name, "no regular file")
    assert pipe.is_fifo()
    result = cli("bench", "--csv", pipe, "--html", tmp_path / "page.html")
    assert_one_error(result, "codecs", "no regular file")


def test_a_full_disk_names_the_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    for option in ("--csv", "--json"):
        result = bench(folder / "text", "--codecs", "copy", option, tmp_path / "out")
        assert result.errors == [
            f"nncodec: codecs: cannot write {tmp_path / 'out'}: no space left on device"
        ]
    assert not (tmp_path / "out").exists()


WRONG_VALUES = [
    ("--json", "--csv", "t.csv"),
    ("--csv", "--json"),
    ("--html", "-p"),
    ("--csv", "-"),
    ("--html", "-"),
    ("--csv", ""),
    ("--json", ""),
    ("--html", ""),
    ("--timeout", "nan"),
    ("--timeout", "inf"),
    ("--most-seconds", "nan"),
    ("--most-seconds", "inf"),
    ("--codecs", "--csv"),
    ("--codecs", "gzip:11"),
    ("--codecs", ","),
    ("--codecs", "cmd:x"),
]


@pytest.mark.parametrize("args", WRONG_VALUES, ids=" ".join)
def test_values_that_are_wrong_usage(
    args: tuple[str, ...], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = bench(folder / "text", *args)
    assert (result.rc, result.out) == (2, b"")
    assert "Usage" in result.err
    assert list(Path().iterdir()) == []


def test_quotes_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    result = bench(folder, "--quoted", tmp_path / "none.csv")
    assert_one_error(result, "codecs", "cannot read .*none.csv: no such file or directory$")


def test_nothing_is_shown_of_no_file(tmp_path: Path, table: Path) -> None:
    table.write_text(",".join(COLUMNS) + "\n")
    report = tmp_path / "report.json"
    report.write_text("older")
    result = bench(tmp_path / "none", "--codecs", "copy", "--csv", table, "--json", report)
    assert_one_error(result, tmp_path / "none", "no such file")
    assert report.read_text() == "older"


def test_fewer_runs_than_asked_are_measured_again(
    folder: Path, table: Path, tmp_path: Path
) -> None:
    spec, marks = counting(tmp_path)
    args = (folder / "text", "--codecs", spec, "--csv", table, "--warm-up", "0")
    for runs, total in ((1, 1), (3, 4), (3, 4), (2, 4)):
        assert cli("bench", *args, "--runs", str(runs)).rc == 0
        assert count(marks) == total
    (row,) = rows_of(table)
    assert (row["compress_runs"], row["decompress_runs"]) == ("3", "3")
    # Those that were cut short stay, unless there is more time now.
    slow = row | {"compress_runs": "1", "compress_seconds": "31"}
    write_results(table, [slow])
    assert cli("bench", *args).rc == 0
    assert rows_of(table) == [slow]
    assert cli("bench", *args, "--most-seconds", "99").rc == 0
    assert count(marks) == 7


@pytest.mark.parametrize(
    ("effort", "seconds", "runs"),
    [
        (Effort(3, 1, 30), 0.1, 3),
        (Effort(3, 1, 30), 0.0, 3),
        (Effort(3, 1, 30), 9.0, 3),
        (Effort(3, 1, 30), 11.0, 2),
        (Effort(3, 1, 30), 16.0, 1),
        (Effort(3, 1, 30), 31.0, 1),
        (Effort(3, 0, 0), 1.0, 1),
        (Effort(2, 5, 30), 10.0, 1),
    ],
)
def test_how_many_runs_count_is_what_the_worker_does(
    effort: Effort, seconds: float, runs: int
) -> None:
    class Takes:
        def once(self) -> float:
            return seconds

    job = {"runs": effort.runs, "warm_up": effort.warm_up, "most_seconds": effort.most_seconds}
    assert len(worker.repeat(Takes(), job)) == effort.counted(seconds) == runs  # type: ignore[arg-type]


def test_names_have_no_power_over_the_terminal(folder: Path, tmp_path: Path) -> None:
    red = "\x1b[31m"
    (tmp_path / f"a{red}\u202eb").write_bytes(TEXT)
    bad = command(program(f"raise SystemExit({red!r})"), name="bad")
    args = (tmp_path / f"a{red}\u202eb", tmp_path / f"none{red}", "--codecs", bad)
    result = bench(*args, "--codecs", f"copy,nncodec:no{red}model")
    assert result.rc == 1
    shown = result.out.decode() + result.err
    assert red not in shown
    assert "\u202e" not in shown
    for part in ("a\\x1b[31m\\u202eb", "none\\x1b[31m: no such", "nncodec:no\\x1b[31mmodel"):
        assert part in shown


def test_a_table_that_is_none(folder: Path, table: Path) -> None:
    table.write_text("a,b\n1,2\n")
    result = bench(folder, "--codecs", "copy", "--csv", table)
    assert_one_error(result, "codecs", "is no table of nncodec bench")
    assert table.read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize(
    ("column", "value"), [("compressed_bytes", "many"), ("compressed_bytes", ""), ("ratio", "x")]
)
def test_a_table_with_a_row_that_is_none(
    column: str, value: str, folder: Path, table: Path
) -> None:
    assert bench(folder / "text", "--codecs", "copy", "--csv", table).rc == 0
    write_results(table, [row | {column: value} for row in rows_of(table)])
    result = bench(folder, "--codecs", "copy", "--csv", table)
    assert_one_error(result, "codecs", "the row of copy on text cannot be used")


USAGE_ERRORS = [
    (),
    ("--csv", "t.csv"),
    ("--html", "t.html"),
    ("--csv", "t.csv", "--html", "t.html", "--codecs", "gzip"),
    ("a", "--level", "2"),
    ("a", "--model", "small"),
    ("a", "--isa", "avx2"),
    ("a", "--bytes", "9"),
    ("a", "--runs", "0"),
    ("a", "--warm-up", "-1"),
    ("a", "--timeout", "0"),
    ("--engine", "--codecs", "gzip"),
    ("--engine", "--online"),
    ("--engine", "--html", "t.html"),
    ("--engine", "--again"),
    ("--ablate", "a", "--codecs", "gzip"),
    ("--ablate", "a", "--html", "t.html"),
    ("--ablate", "a", "--timeout", "3"),
    ("--ablate", "a", "--peers", "p.toml"),
    ("--ablate", "a", "--quoted", "q.csv"),
    ("--ablate", "a", "--warm-up", "1"),
    ("--ablate", "a", "--most-seconds", "1"),
]


@pytest.mark.parametrize("args", USAGE_ERRORS, ids=" ".join)
def test_usage_errors(args: tuple[str, ...]) -> None:
    result = cli("bench", *args)
    assert (result.rc, result.out) == (2, b"")
    assert "Usage" in result.err


def test_json_of_the_other_modes_to_a_file(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    result = cli("bench", "--ablate", "-m", "tiny", "-l", "2", folder / "text", "--json", path)
    assert (result.rc, result.err) == (0, "")
    assert json.loads(path.read_text())["total"]["bytes"] == 4 * len(TEXT)
    assert b"network" in result.out
    result = cli("bench", "--ablate", "-m", "tiny", folder / "text", "--json", folder / "text")
    assert_one_error(result, "ablate", "is one of the files to measure")


def test_online_is_added(folder: Path) -> None:
    """Alone, or to those that were named; the codec itself is tested where it is."""
    if importlib.util.find_spec("nncodec.bench.online") is None:
        pytest.skip("this build has no codec online")
    report = json.loads(bench(folder / "below", "--online", "--json", "-").out)
    assert [(row["codec"], row["status"]) for row in report["rows"]] == [("online", "length")]
    assert report["rows"][0]["decompress_seconds"] is None
    args = (folder / "below", "--codecs", "copy", "--online", "--json", "-")
    assert [r["codec"] for r in json.loads(bench(*args).out)["rows"]] == ["copy", "online"]
