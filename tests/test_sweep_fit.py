"""Laws, optima, tables and figures of ``nncodec sweep``, on made-up results with known answers."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from helpers import CLI, python_fails, run_python
from test_cli import cli

from nncodec.errors import NNCodecError, SweepError
from nncodec.sweep.laws import Fit, Law, fit_law, law_model
from nncodec.sweep.leastsq import huber_weights, solve
from nncodec.sweep.optimum import (
    compute_optimum,
    cost_law,
    counted_size,
    straight_line,
)
from nncodec.sweep.report import fit_report
from nncodec.sweep.results import COLUMNS, read_results, write_results
from nncodec.sweep.series import series

SIZES = [5e4, 1e5, 2e5, 4e5, 8e5, 1.6e6, 3e6, 5e6]
DESIGN = [(n, 4e6) for n in SIZES] + [(n, d) for n in SIZES[:5] for d in (1e6, 2e6)]
TRUE = Law(("N", "D"), 1.3, (40.0, 120.0), (0.35, 0.4))


def design() -> dict[str, npt.NDArray[np.float64]]:
    sizes, data = np.array(DESIGN).T
    return {"N": sizes, "D": data}


def noisy(spread: float, seed: int = 1) -> npt.NDArray[np.float64]:
    exact = np.asarray(TRUE(design()))
    return exact + spread * np.random.default_rng(seed).standard_normal(len(exact))


def test_exact_data_give_the_exponents_back() -> None:
    law = fit_law(design(), noisy(0), resamples=20).law
    assert law.floor == pytest.approx(1.3, rel=1e-5)
    assert law.exponents == pytest.approx((0.35, 0.4), rel=1e-5)
    assert law.amounts == pytest.approx((40, 120), rel=1e-4)


@pytest.mark.parametrize("exponent", [0.1, 0.6, 1.2])
@pytest.mark.parametrize("floor", [0.05, 2.0])
def test_one_variable_alone(exponent: float, floor: float) -> None:
    sizes = np.array(SIZES)
    target = floor + (sizes / 1e6) ** -exponent
    law = fit_law({"N": sizes}, target, resamples=20).law
    assert law.exponents[0] == pytest.approx(exponent, rel=1e-3)
    assert np.asarray(law({"N": sizes})) == pytest.approx(target, abs=1e-5)


def test_intervals_hold_the_truth_and_widen_with_noise() -> None:
    widths = []
    for spread in (0.002, 0.01):
        fit = fit_law(design(), noisy(spread), resamples=100)
        low, high = np.percentile([law.exponents[0] for law in fit.resampled], (2.5, 97.5))
        assert low < 0.35 < high
        widths.append(high - low)
    assert widths[1] > 2 * widths[0] > 0


def test_an_outlier_is_not_followed() -> None:
    target = noisy(0.001)
    target[3] += 0.5
    robust = fit_law(design(), target, resamples=20).law
    assert robust.exponents[0] == pytest.approx(0.35, abs=0.02)
    weights = huber_weights(target - np.asarray(robust(design())))
    assert weights[3] < 0.05
    assert np.median(weights) == 1


def test_derivatives_are_those_of_the_values() -> None:
    logs = [np.log(np.array(SIZES) / 1e6), np.linspace(-1, 1, len(SIZES))]
    model, at = law_model(logs), np.array([0.2, -0.3, -1.0, 0.4, -0.7])
    values, slopes = model(at)
    for place in range(len(at)):
        step = np.zeros_like(at)
        step[place] = 1e-6
        assert (model(at + step)[0] - values) / 1e-6 == pytest.approx(slopes[:, place], abs=1e-4)


def test_bounds_hold() -> None:
    model = law_model([np.log(np.array(SIZES))])
    low, high = np.array([-1.0, -5, -2]), np.array([0.0, 5, 0.5])
    found, _ = solve(model, np.full(len(SIZES), 9.0), np.zeros(3), low, high)
    assert (found >= low).all()
    assert (found <= high).all()


def test_data_without_variation_have_no_term() -> None:
    values = {"N": np.array(SIZES), "D": np.full(len(SIZES), 4e6)}
    fit = fit_law(values, 1 + values["N"] ** -0.3 * 30, resamples=20)
    assert fit.law.names == ("N",)


def test_too_little_is_an_error() -> None:
    with pytest.raises(SweepError, match="3 points"):
        fit_law({"N": np.array([1e5, 2e5, 3e5])}, np.array([3.0, 2.5, 2.4]), 20)
    with pytest.raises(SweepError, match="different values"):
        fit_law({"N": np.array([1e5, 2e5, 2e5])}, np.array([3.0, 2.5, 2.4]), 20)


@pytest.mark.parametrize("file_bytes", [1e6, 1e9])
def test_the_counted_optimum_is_the_least_sum(file_bytes: float) -> None:
    grid = np.geomspace(1e3, 1e9, 200_001)
    total = file_bytes * np.asarray(TRUE({"N": grid, "D": 4e6})) + 8 * (5000 + 1.02 * grid)
    assert counted_size(TRUE, file_bytes, 1.02) == pytest.approx(grid[total.argmin()], rel=1e-3)


def test_the_compute_optimum_is_the_least_loss() -> None:
    cost = (9.0, 0.97)
    fit = Fit(TRUE, design(), noisy(0), (TRUE,))
    grid = np.geomspace(1e3, 1e9, 200_001)
    loss = np.asarray(TRUE({"N": grid, "D": 1e15 / (cost[0] * grid ** cost[1])}))
    best, low, high = compute_optimum(fit, 1e15, cost)
    assert best == pytest.approx(grid[loss.argmin()], rel=1e-3)
    assert low == high == best


def test_lines_and_costs_are_recovered() -> None:
    sizes = np.array(SIZES)
    line = straight_line(sizes, 5000 + 1.02 * sizes)
    assert (line.base, line.slope) == pytest.approx((5000, 1.02))
    assert cost_law(sizes, 7.5 * sizes**0.98) == pytest.approx((7.5, 0.98))


def make_rows(spread: float = 0.003) -> list[dict[str, Any]]:
    random, rows = np.random.default_rng(0), []
    design = [(*point, "fit") for point in DESIGN] + [(1.15e6, 4e6, "check"), (2e5, 3e6, "other")]
    for number, (size, data, role) in enumerate(design):
        bits = float(TRUE({"N": size, "D": data})) + spread * random.standard_normal()
        for file, file_bytes, harder in (("a", 1_000_000, 1.0), ("b", 150_000, 1.2)):
            for precision, width in (("int8", 1), ("float", 4)):
                coded = file_bytes * bits * harder / 8
                row = dict.fromkeys(COLUMNS, "") | {
                    "point": f"p{number:02d}",
                    "role": role,
                    "target": str(int(size)),
                    "parameters": int(size),
                    "matrix_parameters": int(size * 0.9),
                    "bytes_seen": int(data),
                    "training_flops": int(6 * size * data),
                    "held_out_bpb": round(bits, 5),
                    "file": file,
                    "file_bytes": file_bytes,
                    "precision": precision,
                    "model_bytes": int(4000 + width * size),
                    "network_bytes": round(coded, 1),
                    "archive_bytes": int(coded / 2) if precision == "int8" else "",
                }
                rows.append(row)
    return rows


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_results(tmp_path / "results.csv", make_rows())
    return tmp_path / "results.csv"


def report_of(table: Path, **other: Any) -> dict[str, Any]:
    usual = {
        "measures": ["held_out"],
        "precision": "int8",
        "file": None,
        "size": "parameters",
        "file_sizes": [],
        "flops": 0.0,
        "resamples": 40,
    }
    return fit_report(table, **(usual | other))


def test_tables_come_back_as_they_were(table: Path, tmp_path: Path) -> None:
    rows = read_results(table)
    write_results(tmp_path / "again.csv", rows)
    assert (tmp_path / "again.csv").read_bytes() == table.read_bytes()
    assert list(rows[0]) == list(COLUMNS)


def test_series_add_files_up(table: Path) -> None:
    rows = read_results(table)
    whole = series(rows, "network")[0]
    alone = series(rows, "network", file="b")[0]
    held = series(rows, "held_out")[0]
    assert alone.bits == pytest.approx(held.bits * 1.2, rel=1e-4)
    assert whole.bits == pytest.approx((held.bits * 1e6 + alone.bits * 150e3) / 1.15e6, rel=1e-4)
    assert series(rows, "network", size="matrix_parameters")[0].size == 0.9 * whole.size
    assert series(rows, "network", "float")[0].model_bytes == 4000 + 4 * whole.size
    # A point in the making has not seen all files.
    assert len(series(rows[2:], "network")) == len(series(rows, "network")) - 1


def test_reports_predict_what_they_have_not_seen(table: Path) -> None:
    report = report_of(table, file_sizes=[1_000_000, 10**8])["laws"]["held_out"]
    law = report["size_and_data"]
    assert law["points"] == len(DESIGN)
    assert law["terms"]["N"]["exponent"] == pytest.approx(0.35, abs=0.05)
    assert law["rms_residual"] == pytest.approx(0.003, rel=0.6)
    (check,) = report["checks"]
    assert check["measured"] == pytest.approx(check["predicted"], abs=0.02)
    small, large = report["counted"]["files"]
    assert small["parameters"] < 50_000
    assert not small["within_measured"]
    assert large["within_measured"]
    assert large["interval"][0] <= large["parameters"] <= large["interval"][1]
    assert large["total_bytes"] == pytest.approx(large["coded_bytes"] + large["model_bytes"], abs=1)
    free = report["not_counted"]
    assert free["largest_measured"] == 5_000_000
    assert free["limit_bits_per_byte"] < free["bits_per_byte"]
    assert free["for_compute"]["flops"] == 6 * 5e6 * 4e6


def test_the_same_table_gives_the_same_report(table: Path) -> None:
    assert report_of(table) == report_of(table)


WRONG = [
    ({"measures": ["best"]}, "measure 'best'"),
    ({"precision": "int4"}, "precision 'int4'"),
    ({"size": "weights"}, "size 'weights'"),
    ({"file": "z"}, "no file 'z'"),
]


@pytest.mark.parametrize(("other", "why"), WRONG)
def test_wrong_questions_are_errors(table: Path, other: dict[str, Any], why: str) -> None:
    with pytest.raises(SweepError, match=why):
        report_of(table, **other)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a,b\n1,2\n", "lacks"),
        (",".join(COLUMNS) + "\n", "no rows"),
        ("\xff\xfe", "is no"),
        (",".join(COLUMNS) + "\n" + ",".join(["int8"] * len(COLUMNS)) + "\n", "no number"),
    ],
)
def test_other_tables_are_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(SweepError, match=why):
        report_of(path)


def test_the_command_prints_tables_and_json(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "fit.json"
    options = ["--resamples", "20", "--file-bytes", "1000000", "-o", str(out)]
    result = run_python(CLI, "sweep", "fit", str(table), *options)
    assert result.returncode == 0, python_fails(result)
    text = result.stdout.decode()
    for part in ("held_out", "network", "archive", "predicted p18", "best N", "p00"):
        assert part in text
    as_json = run_python(CLI, "sweep", "fit", str(table), *options, "--json")
    assert json.loads(as_json.stdout) == json.loads(out.read_text())
    wrong = run_python(CLI, "sweep", "fit", str(table), "--of", "nothing")
    assert (wrong.returncode, wrong.stderr.count(b"\n")) == (1, 1)
    for name, why in (("absent.csv", "no such file or directory"), ("", "is a directory")):
        refused = cli("sweep", "fit", tmp_path / name)
        assert (refused.rc, refused.errors) == (1, [f"nncodec: {tmp_path / name}: {why}"])


def test_a_core_module_does_not_import_the_commands(table: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from nncodec.sweep.report import fit_report; "
        "fit_report(Path(sys.argv[1]), ['held_out'], 'int8', None, 'parameters', [], 0, 20); "
        "print([m for m in sys.modules if m.startswith('nncodec.cli')])"
    )
    result = run_python(code, str(table))
    assert result.stdout == b"[]\n", python_fails(result)


def test_the_table_of_points_may_be_cut_short(table: Path) -> None:
    """The reader of a pipe that has ended already: no traceback."""
    script = Path(__file__).parent.parent / "scripts" / "sweep_table.py"
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, str(script), str(table)]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, b"")
    whole = subprocess.run(command, capture_output=True, check=True).stdout.splitlines()
    assert len(whole) == 4 + len({row["point"] for row in make_rows()})


def test_fitting_needs_neither_torch_nor_matplotlib(table: Path) -> None:
    code = (
        "import sys; from nncodec.cli.app import app; app(sys.argv[1:], standalone_mode=False); "
        "print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    )
    result = run_python(code, "sweep", "fit", str(table), "--resamples", "20", "--of", "held_out")
    assert result.stdout.splitlines()[-1] == b"[]", python_fails(result)


@pytest.mark.skipif(not importlib.util.find_spec("matplotlib"), reason="matplotlib is absent")
def test_figures_are_the_same_every_time(table: Path, tmp_path: Path) -> None:
    command = ["sweep", "plot", str(table), "--resamples", "20", "--of", "archive", "-o"]
    results = [run_python(CLI, *command, str(tmp_path / name)) for name in ("one", "two")]
    for result in results:
        assert result.returncode == 0, python_fails(result)
    names = sorted(p.name for p in (tmp_path / "one").iterdir())
    kinds = ("compute", "data", "optimum", "size")
    assert names == [f"archive_{kind}.{end}" for kind in kinds for end in ("png", "svg")]
    for name in names:
        one = (tmp_path / "one" / name).read_bytes()
        assert one == (tmp_path / "two" / name).read_bytes()
        assert len(one) > 5000


@pytest.mark.skipif(not importlib.util.find_spec("matplotlib"), reason="matplotlib is absent")
@pytest.mark.parametrize(
    ("points", "said", "kinds"),
    [
        (3, "3 points; a law of N needs 4; 3 points; a law of C needs 4", ("compute", "size")),
        (1, "a law needs 3 different values of N or D; a law needs 3", ("compute",)),
        (4, "", ("compute", "optimum", "size")),
    ],
)
def test_too_few_points_for_a_law_are_drawn_without_it(
    tmp_path: Path, points: int, said: str, kinds: tuple[str, ...]
) -> None:
    chosen = [f"p{i:02}" for i in range(points)]
    write_results(tmp_path / "r.csv", [row for row in make_rows() if row["point"] in chosen])
    out = tmp_path / "f"
    result = cli("sweep", "plot", tmp_path / "r.csv", "--resamples", "20", "-o", out)
    assert result.rc == 0, result.err
    expected = f"nncodec: {tmp_path}/r.csv: drawn without a law: {said}"
    assert len(result.errors) == (1 if said else 0)
    assert all(line.startswith(expected) for line in result.errors)
    assert {p.name for p in out.glob("*.svg")} == {f"held_out_{kind}.svg" for kind in kinds}
    assert all(path.stat().st_size > 5000 for path in out.iterdir())


def test_figures_without_matplotlib_are_an_error_of_one_line(table: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['matplotlib'] = None; " + CLI
    options = ["--resamples", "20", "-o", str(tmp_path / "f")]
    result = run_python(code, "sweep", "plot", str(table), *options)
    assert result.returncode == 1
    assert b"nncodec-lm[bench]" in result.stderr
    assert result.stderr.count(b"\n") == 1
    assert not (tmp_path / "f").exists()


def test_reports_that_cannot_be_written_are_errors(tmp_path: Path) -> None:
    from nncodec.sweep.report import write_report

    with pytest.raises(NNCodecError, match="cannot write"):
        write_report(tmp_path / "absent" / "fit.json", {})
