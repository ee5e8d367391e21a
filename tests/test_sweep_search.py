"""``nncodec sweep search``: trials are pruned, resumed and told apart from another search's."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from helpers import CLI, run_python
from test_sweep import STUDY, make_study

from nncodec.errors import SweepError
from nncodec.sweep import search as module
from nncodec.sweep.config import load_study
from nncodec.sweep.results import read_results
from nncodec.sweep.search import parse_search, point_of, run_search

SEARCH = (
    STUDY.split("[shapes.tiny]")[0].replace('"a.txt", "b.txt"', '"b.txt"')
    + """\
[search]
trials = 8
bytes = 640
rungs = 2
window = 16
[search.space]
d_model = [8, 16]
layers = { low = 1, high = 2 }
head_dim = 8
d_ff = 16
muon_lr = { low = 0.001, high = 0.05, log = true }
"""
)
needs_optuna = pytest.mark.skipif(
    not importlib.util.find_spec("optuna"), reason="optuna is absent: pip install optuna"
)


@needs_optuna
def test_a_search_prunes_and_finds_the_best(tmp_path: Path) -> None:
    study, lines = load_study(make_study(tmp_path, SEARCH)), []
    best = run_search(study, tmp_path / "out", 1, lines.append)
    rows = read_results(tmp_path / "out" / "search.csv")
    assert best["value"] == min(float(row["held_out_bpb"]) for row in rows)
    assert best["point"] in {row["point"] for row in rows}
    ends = [line for line in lines if re.fullmatch(r"trial \d+: (pruned|held_out [\d.]+)", line)]
    pruned = [line for line in ends if line.endswith("pruned")]
    assert len(ends) == 8
    assert 0 < len(pruned) < 4  # five trials run to their end before any is pruned
    again: list[str] = []
    assert run_search(study, tmp_path / "out", 1, again.append) == best
    assert len(again) == 1  # nothing but the best


@needs_optuna
def test_a_killed_search_repeats_the_trial_it_was_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study(make_study(tmp_path, SEARCH.replace("trials = 8", "trials = 2")))
    real, points = module.run_point, []

    def dying(*args: object) -> object:
        points.append(args[2])
        if len(points) == 1:
            raise KeyboardInterrupt
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "run_point", dying)
    with pytest.raises(KeyboardInterrupt):
        run_search(study, tmp_path / "out", 1, lambda _: None)
    run_search(study, tmp_path / "out", 1, lambda _: None)
    assert len(points) == 3
    assert points[0] == points[1]
    other = load_study(make_study(tmp_path / "other", SEARCH.replace("640", "1280")))
    with pytest.raises(SweepError, match="another search"):
        run_search(other, tmp_path / "out", 1, lambda _: None)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()


def test_without_optuna_there_is_one_line(tmp_path: Path) -> None:
    config = make_study(tmp_path, SEARCH)
    code = "import sys; sys.modules['optuna'] = None; " + CLI
    result = run_python(code, "sweep", "search", str(config), "-o", str(tmp_path / "out"))
    assert result.returncode == 1
    assert b"nncodec-lm[sweep]" in result.stderr
    assert result.stderr.count(b"\n") == 1


def test_choices_become_points(tmp_path: Path) -> None:
    study = load_study(make_study(tmp_path, SEARCH))
    assert study.search
    search = parse_search(study.search)
    chosen = {"d_model": 16, "layers": 2, "head_dim": 8, "d_ff": 16, "muon_lr": 0.03}
    tables = {"ngram_orders": "2 3", "ngram_bits": 4, "ngram_width": 4}
    plain = point_of(search, study, chosen)
    assert (plain.shape.d_model, plain.shape.windows, plain.plan.bytes) == (16, (4, 16), 640)
    assert (plain.plan.muon_lr, plain.plan.batch) == (0.03, study.training.batch)
    assert point_of(search, study, chosen | tables).shape.ngram_orders == (2, 3)
    assert point_of(search, study, chosen | tables | {"ngram_orders": ""}).shape == plain.shape


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("trials = 8", "", "trials"),
        ("rungs = 2", "rungs = 0", "rungs"),
        ("rungs = 2", 'objective = "speed"', "'speed'"),
        ("layers = { low = 1, high = 2 }", "", "lacks layers"),
        ("high = 2", "high = 0", "in this order"),
        ("low = 0.001", "low = 0.0", "log needs low above 0"),
        ("d_ff = 16", "d_fff = 16", "'d_fff'"),
        ("d_model = [8, 16]", "d_model = []", "give a list"),
    ],
)
def test_wrong_searches_are_errors(tmp_path: Path, old: str, new: str, why: str) -> None:
    assert old in SEARCH
    study = load_study(make_study(tmp_path, SEARCH.replace(old, new)))
    assert study.search
    with pytest.raises(SweepError, match=why):
        parse_search(study.search)
