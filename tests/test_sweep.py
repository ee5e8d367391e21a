"""``nncodec sweep``: points are told apart, resumed and measured; what is wrong is one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import CLI, TEXT, python_fails, run_python, tiny_float_model, write_corpus

from nncodec.blocks import Geometry
from nncodec.config import ModelConfig
from nncodec.errors import SweepError
from nncodec.lm.code_length import float_bits
from nncodec.lm.flops import matrix_parameters, training_flops
from nncodec.lm.model import ByteTransformer
from nncodec.lm.runfiles import Checkpoint
from nncodec.sweep import run as sweep_run
from nncodec.sweep.config import Study, load_study
from nncodec.sweep.points import fingerprint, grid_points
from nncodec.sweep.results import COLUMNS, read_json, read_results
from nncodec.sweep.run import RECORD_FILE, claimed, run_sweep, score_at, train_to
from nncodec.sweep.shapes import choose_shape, parameters, table_parameters

STUDY = """\
[study]
corpus = "corpus"
files = ["a.txt", "b.txt"]
[training]
batch = 2
length = 32
eval_windows = 2
compile = false
warmup_steps = 2
[shapes.tiny]
d_model = 16
layers = 2
head_dim = 8
d_ff = 32
[[grid]]
shapes = ["tiny"]
bytes = [640, 1280]
window = [16]
"""


def make_study(folder: Path, text: str = STUDY) -> Path:
    write_corpus(folder / "corpus")
    (folder / "a.txt").write_bytes(TEXT * 8)
    (folder / "b.txt").write_bytes(TEXT[:200])
    config = folder / "study.toml"
    config.write_text(text)
    return config


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return make_study(tmp_path)


@pytest.fixture
def study(config: Path) -> Study:
    return load_study(config)


def do(study: Study, out: Path) -> list[str]:
    """What ``run_sweep`` reports."""
    lines: list[str] = []
    run_sweep(study, out, 1, lines.append)
    return lines


def test_rows_say_what_was_trained_and_measured(study: Study, tmp_path: Path) -> None:
    do(study, tmp_path / "out")
    rows = read_results(tmp_path / "out" / "results.csv")
    assert [(r["bytes_seen"], r["file"], r["precision"]) for r in rows] == [
        (size, file, precision)
        for size in ("640", "1280")
        for file in ("a.txt", "b.txt")
        for precision in ("int8", "float")
    ]
    model = ByteTransformer.from_pretrained(tmp_path / "out" / rows[0]["point"] / "model")
    for row in rows:
        assert list(row) == list(COLUMNS)
        assert int(row["parameters"]) == sum(p.numel() for p in model.parameters())
        assert int(row["matrix_parameters"]) == matrix_parameters(model.config)
        assert int(row["training_flops"]) == training_flops(model.config) * int(row["bytes_seen"])
        assert 0 < float(row["held_out_bpb"]) < 9
        assert row["machine"]
        assert row["torch"]
    for whole, ideal in zip(rows[::2], rows[1::2], strict=True):
        assert whole["verified"] == "1"
        assert int(whole["archive_bytes"]) > 0
        assert ideal["archive_bytes"] == ""
        # The engine's real bytes are the float model's ideal ones, to rounding and the coder.
        assert float(whole["network_bytes"]) == pytest.approx(
            float(ideal["network_bytes"]), rel=0.02, abs=8
        )
        folder = tmp_path / "out" / whole["point"] / "model"
        assert int(whole["model_bytes"]) == (folder / "engine.safetensors").stat().st_size
        assert int(ideal["model_bytes"]) == (folder / "model.safetensors").stat().st_size


def test_a_finished_study_is_not_touched_again(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert do(study, out)
    files = {
        p: p.stat().st_mtime_ns for p in out.rglob("*") if p.name not in ("results.csv", "lock")
    }
    before = (out / "results.csv").read_bytes()
    assert do(study, out) == []
    assert (out / "results.csv").read_bytes() == before
    assert {p: p.stat().st_mtime_ns for p in files} == files


def test_new_files_are_measured_with_models_that_are_there(config: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    do(load_study(config), out)
    before = read_results(out / "results.csv")
    (tmp_path / "c.txt").write_bytes(TEXT[100:400])
    config.write_text(config.read_text().replace('"b.txt"]', '"b.txt", "c.txt"]'))
    lines = do(load_study(config), out)
    assert len(lines) == 4
    assert all("c.txt" in line for line in lines)
    after = read_results(out / "results.csv")
    assert [row for row in after if row["file"] != "c.txt"] == before


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 200
    while not ready():
        assert process.poll() is None, "the sweep ended before it was killed"
        assert time.monotonic() < deadline, "nothing to kill came"
        time.sleep(0.02)


def test_a_killed_sweep_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    """Killed in the middle of training, the rest comes to the same model and the same table."""
    long = STUDY.replace("bytes = [640, 1280]", "bytes = [19200]").replace(
        "compile", "save_every_s = 0.1\ncompile"
    )
    config = make_study(tmp_path, long)
    study = load_study(config)
    whole, out = tmp_path / "whole", tmp_path / "out"
    do(study, whole)
    command = [sys.executable, "-c", CLI, "sweep", str(config), "-o", str(out), "-T", "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    wait_for(lambda: bool(list(out.glob("*/model/checkpoint.safetensors"))), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "results.csv").exists()
    (point,) = [p.name for p in whole.iterdir() if p.is_dir()]
    state = Checkpoint(out / point / "model").state()
    assert state
    assert 0 < state["bytes"] < 19200
    logs = [out / point / "model" / name for name in ("metrics.csv", "log.txt")]
    before = logs[1].read_text()
    do(study, out)
    assert logs[1].read_text().startswith(before)
    records = [read_json(folder / point / RECORD_FILE) for folder in (whole, out)]
    assert records[0]["training"]["model_id"] == records[1]["training"]["model_id"]
    sizes = [[(r["network_bytes"], r["archive_bytes"]) for r in rec["rows"]] for rec in records]
    assert sizes[0] == sizes[1]
    steps = [int(line.split(",")[0]) for line in logs[0].read_text().splitlines()[1:]]
    assert steps == list(range(100, 301, 100))


def test_a_kill_between_files_keeps_what_was_measured(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = sweep_run.measure, []

    def dying(*args: object) -> object:
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(sweep_run, "measure", dying)
    with pytest.raises(KeyboardInterrupt):
        do(study, tmp_path / "out")
    do(study, tmp_path / "out")
    assert len(calls) == 8 + 1  # two points, two files, two precisions; one of them twice


def test_points_are_named_by_what_decides_them(config: Path, tmp_path: Path) -> None:
    def names(text: str) -> list[str]:
        config.write_text(text)
        study = load_study(config)
        return [p.name(fingerprint(study.corpus)) for p in grid_points(study)]

    first = names(STUDY)
    assert len(set(first)) == 2
    for same in (
        STUDY.replace("compile = false", "save_every_s = 5"),
        STUDY.replace("[640, 1280]", "[1280, 640]"),
        STUDY.replace("[training]", "[training]\nmuon_lr = 0.02"),
    ):
        assert names(same) == first
    for other in (
        STUDY.replace("batch = 2", "batch = 3"),
        STUDY.replace("d_ff = 32", "d_ff = 48"),
        STUDY.replace("[16]", "[32]"),
        STUDY.replace("[training]", "[training]\nmuon_lr = 0.03"),
        STUDY + "seeds = [1]\n",
    ):
        assert not set(names(other)) & set(first), other
    data = tmp_path / "corpus" / "code.bin"
    data.write_bytes(data.read_bytes()[::-1])
    assert not set(names(STUDY)) & set(first)


def test_grids_that_meet_share_a_point(config: Path) -> None:
    config.write_text(
        STUDY.replace("window = [16]", 'window = [16]\nprecision = "int8"')
        + '[[grid]]\nshapes = ["tiny"]\nbytes = [1280, 1920]\nwindow = [16]\n'
        'precision = ["float"]\nrole = "check"\n'
    )
    points = grid_points(load_study(config))
    assert [(p.plan.bytes, p.role, p.precisions) for p in points] == [
        (640, "fit", ("int8",)),
        (1280, "fit", ("int8", "float")),
        (1920, "check", ("float",)),
    ]


@pytest.mark.parametrize("target", [50_000, 123_456, 1_000_000, 5_000_000])
def test_the_rule_hits_its_target(target: int) -> None:
    shape = choose_shape(target, 256)
    assert abs(parameters(shape) / target - 1) <= 0.03
    assert max(shape.windows) == shape.windows[-1] == 256
    model = ByteTransformer(shape)
    assert parameters(shape) == sum(p.numel() for p in model.parameters())
    gains = shape.n_layers * shape.n_heads
    assert parameters(shape) == table_parameters(shape) + matrix_parameters(shape) + gains


def test_tables_count_apart() -> None:
    tables = {"ngram_orders": (3, 4), "ngram_bits": 6, "ngram_width": 8}
    plain, with_tables = choose_shape(50_000, 64), choose_shape(50_000, 64, tables)
    model = ByteTransformer(with_tables)
    assert parameters(with_tables) == sum(p.numel() for p in model.parameters())
    assert table_parameters(with_tables) - table_parameters(plain) == 2 * 2**6 * 8


@pytest.mark.parametrize("geometry", [Geometry(), Geometry(lanes=4, prefix=40)])
def test_pieces_of_a_lane_come_to_the_whole(geometry: Geometry) -> None:
    """With n-grams and short windows, cut anywhere: the float model's ideal length stays."""
    model = tiny_float_model(seed=3)
    data = np.frombuffer(TEXT, dtype=np.uint8)
    whole = float_bits(model, data, geometry, piece=10**6)
    assert float_bits(model, data, geometry, piece=17) == pytest.approx(whole, abs=0.01)


def test_a_second_process_leaves_a_claimed_point_alone(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = grid_points(study)[0].name(fingerprint(study.corpus))
    with claimed(out / first) as mine:
        assert mine
        lines = do(study, out)
    assert lines[0] == f"{first}: another process is at it"
    assert {row["point"] for row in read_results(out / "results.csv")}.isdisjoint({first})
    do(study, out)
    assert first in {row["point"] for row in read_results(out / "results.csv")}


def test_two_processes_share_a_study(tmp_path: Path) -> None:
    """Started together, they come to what one comes to, and no point is trained twice."""
    sizes = "bytes = [640, 704, 768, 832]"
    config = make_study(tmp_path, STUDY.replace("bytes = [640, 1280]", sizes))
    out = tmp_path / "out"
    command = [sys.executable, "-c", CLI, "sweep", str(config), "-o", str(out), "-T", "1"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pair = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(2)]
    said = [process.communicate(timeout=300)[0].decode() for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert "".join(said).count("parameters on cpu") == 4
    assert do(load_study(config), out) == []
    assert len(read_results(out / "results.csv")) == 4 * 2 * 2


def test_training_stops_at_rungs_and_goes_on(study: Study, tmp_path: Path) -> None:
    point = grid_points(study)[1]
    said: list[str] = []
    (tmp_path / "staged").mkdir()
    half = train_to(study.corpus, point, tmp_path / "staged", 640, said.append)
    assert half["bytes"] == 640
    heard = len(said)
    assert train_to(study.corpus, point, tmp_path / "staged", 640, said.append) == half
    assert len(said) == heard  # known, not trained again
    end = train_to(study.corpus, point, tmp_path / "staged", 1280, said.append)
    (tmp_path / "whole").mkdir()
    assert (
        train_to(study.corpus, point, tmp_path / "whole", 1280, said.append)["mean"] == end["mean"]
    )
    assert score_at(tmp_path / "staged" / "model", 640, 64) == half


WRONG = {
    "not TOML": ("[study", "not TOML"),
    "no corpus": (STUDY.replace('"corpus"', '"nowhere"'), "nowhere: no such folder"),
    "no file": (STUDY.replace('"b.txt"', '"z.txt"'), "z.txt: no such file"),
    "variable": (STUDY.replace('"corpus"', '"$NOT_SET_HERE/x"'), "is not set"),
    "unknown key": (STUDY + "widths = [3]\n", "'widths'"),
    "unknown option": (STUDY.replace("batch = 2", "batches = 2"), "'batches'"),
    "wrong type": (STUDY.replace("batch = 2", 'batch = "2"'), "batch is '2'"),
    "negative": (STUDY.replace("[training]", "[training]\nmuon_lr = -1.0"), "muon_lr is -1.0"),
    "nan": (STUDY.replace("[training]", "[training]\nmuon_lr = nan"), "muon_lr is nan"),
    "no bytes": (STUDY.replace("bytes = [640, 1280]\n", ""), "bytes"),
    "twice": (STUDY.replace("[640, 1280]", "[640, 640]"), "different integers"),
    "role": (STUDY + 'role = "best"\n', "role 'best'"),
    "shape": (STUDY.replace('shapes = ["tiny"]', 'shapes = ["huge"]'), "huge"),
    "no shape": (STUDY.replace('shapes = ["tiny"]\n', ""), "parameters"),
    "too small": (STUDY.replace('shapes = ["tiny"]', "parameters = [9]"), "9 parameters"),
    "impossible": (STUDY.replace("d_ff = 32", "d_ff = 99999"), "d_ff 99999"),
    "level": (STUDY.replace("[training]", "level = 1\n[training]"), "level 1"),
    "tables": (STUDY + "tables = { ngram_bits = 3 }\n", "ngram_orders"),
    "nothing": (STUDY.split("[[grid]]")[0], "nothing to do"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_configurations_are_errors_of_one_line(tmp_path: Path, name: str) -> None:
    text, why = WRONG[name]
    config = make_study(tmp_path, text)
    with pytest.raises(SweepError) as caught:
        load_study(config)
    assert why in str(caught.value)


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    config = make_study(tmp_path, WRONG["unknown key"][0])
    result = run_python(CLI, "sweep", str(config), "-o", str(tmp_path / "out"))
    assert result.returncode == 1
    assert result.stderr.count(b"\n") == 1
    assert result.stderr.startswith(b"nncodec: " + os.fsencode(config) + b": ")
    assert result.stderr.count(os.fsencode(config)) == 1
    assert not (tmp_path / "out").exists()
    absent = tmp_path / "absent.toml"
    missing = run_python(CLI, "sweep", str(absent), "-o", str(tmp_path / "out"))
    said = b"nncodec: " + os.fsencode(absent) + b": no such file or directory\n"
    assert (missing.returncode, missing.stderr) == (1, said), python_fails(missing)


def test_a_study_that_diverges_names_the_point_and_does_the_rest(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sweep_run.train_point

    def diverging(
        corpus: Path, point: object, folder: Path, report: Callable[[str], None]
    ) -> object:
        if "-640-" in folder.name:
            with sweep_run.training_errors():
                raise FloatingPointError("training diverged at step 3")
        return real(corpus, point, folder, report)  # type: ignore[arg-type]

    monkeypatch.setattr(sweep_run, "train_point", diverging)
    with pytest.raises(SweepError, match="-640-"):
        do(study, tmp_path / "out")
    rows = read_results(tmp_path / "out" / "results.csv")
    assert {row["bytes_seen"] for row in rows} == {"1280"}


def test_damaged_records_name_their_file(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = out / grid_points(study)[0].name(fingerprint(study.corpus))
    folder.mkdir(parents=True)
    (folder / RECORD_FILE).write_text("{")
    with pytest.raises(SweepError, match=RECORD_FILE):
        do(study, out)


def test_configs_need_no_torch(config: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from nncodec.sweep.config import load_study; "
        "from nncodec.sweep.points import grid_points; grid_points(load_study(Path(sys.argv[1]))); "
        "print('torch' in sys.modules)"
    )
    result = run_python(code, str(config))
    assert result.stdout == b"False\n", python_fails(result)


def test_shapes_of_named_tables_reach_the_model(config: Path) -> None:
    config.write_text(
        STUDY.replace(
            "d_ff = 32", "d_ff = 32\nngram_orders = [2, 3]\nngram_bits = 4\nngram_width = 4"
        )
    )
    shape: ModelConfig = grid_points(load_study(config))[0].shape
    assert (shape.ngram_orders, shape.ngram_bits, shape.ngram_width) == ((2, 3), 4, 4)
