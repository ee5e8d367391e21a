"""A search beyond a grid, with Optuna: shapes and training options, pruned by held-out loss.

    [search]
    trials = 30                     # in all, those of earlier calls included
    bytes = 2_000_000               # seen by a trial that is not pruned
    window = 256
    rungs = 4                       # held-out scores on the way; bad trials end there
    objective = "held_out"          # or "network", "archive" (of all files together), or
                                    # "total": archives and the model's bytes, a byte of the files
    seed = 0

    [search.space]
    d_model = [64, 96, 128]                           # one of these
    layers = { low = 2, high = 6 }
    d_ff = { low = 128, high = 512, step = 64 }
    muon_lr = { low = 0.005, high = 0.08, log = true }

Trials are in OUT/search.db (SQLite), results in OUT/search.csv, models in OUT/<point>/ as those of
a grid, so that a search that was killed goes on, its unfinished trials first and from their
checkpoints. The same parameters again are the same point, and cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nncodec.errors import DivergedError, InvalidModelError, MissingPackageError, SweepError
from nncodec.lm.plan import TrainConfig
from nncodec.sweep.config import (
    NOT_OF_TRAINING,
    Study,
    integers,
    only,
    parse_training,
    table,
)
from nncodec.sweep.points import Point, fingerprint
from nncodec.sweep.results import write_results
from nncodec.sweep.run import (
    RECORD_FILE,
    Report,
    all_rows,
    claimed,
    prefixed,
    run_point,
    train_to,
    use_threads,
)
from nncodec.sweep.shapes import SHAPE_KEYS, TABLE_KEYS, describe, make_shape

if TYPE_CHECKING:
    import optuna

DATABASE, TABLE = "search.db", "search.csv"
IMPOSSIBLE = "impossible"  # a mark of trials that failed for what they are
OBJECTIVES = ("held_out", "network", "archive", "total")
SEARCH_KEYS = {"trials", "bytes", "window", "rungs", "objective", "seed", "space"}
TABLE_SPACE = {"ngram_bits", "ngram_width"}  # orders are no number
WARM_TRIALS = 5  # that run to their end before any is pruned


@dataclass(frozen=True)
class Choice:
    """One axis: ``values`` to choose among, or a range of numbers."""

    name: str
    values: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False

    def suggest(self, trial: optuna.Trial) -> Any:
        if self.values:
            return trial.suggest_categorical(self.name, list(self.values))
        if isinstance(self.low, int) and isinstance(self.high, int):
            step = 1 if self.step is None else int(self.step)
            return trial.suggest_int(self.name, self.low, self.high, step=step, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)


@dataclass(frozen=True)
class Search:
    trials: int
    bytes: int
    window: int
    rungs: int
    objective: str
    seed: int
    space: tuple[Choice, ...]


def parse_search(values: Mapping[str, Any]) -> Search:
    """Raises SweepError."""
    only(values, SEARCH_KEYS, "[search]")

    def number(name: str, default: int | None, least: int = 1) -> int:
        found = integers(values, name, () if default is None else (default,), least)
        if len(found) != 1:
            raise SweepError(f"[search] {name} is {values.get(name)!r}: give one number")
        return found[0]

    objective = values.get("objective", "held_out")
    if objective not in OBJECTIVES:
        raise SweepError(f"objective {objective!r}: give one of {', '.join(OBJECTIVES)}")
    space = table(values, "space")
    plan = {field.name for field in fields(TrainConfig)} - NOT_OF_TRAINING - {"mix"}
    known = SHAPE_KEYS | TABLE_SPACE | plan
    only(space, known | {"ngram_orders"}, "[search.space]")
    if missing := {"d_model", "layers"} - set(space):
        raise SweepError(f"[search.space] lacks {', '.join(sorted(missing))}")
    return Search(
        trials=number("trials", None),
        bytes=number("bytes", None),
        window=number("window", 256),
        rungs=number("rungs", 4),
        objective=objective,
        seed=number("seed", 0, least=0),
        space=tuple(parse_choice(name, found) for name, found in space.items()),
    )


def parse_choice(name: str, found: Any) -> Choice:
    if isinstance(found, list) and found:
        lists = [" ".join(map(str, v)) if isinstance(v, list) else v for v in found]
        return Choice(name, tuple(lists))
    if type(found) in (int, float, str):
        return Choice(name, (found,))
    if not isinstance(found, dict) or not {"low", "high"} <= set(found):
        raise SweepError(f"[search.space] {name}: give a list, or low and high")
    only(found, {"low", "high", "step", "log"}, f"[search.space] {name}")
    low, high, step = found["low"], found["high"], found.get("step")
    numbers = [low, high, *([step] if "step" in found else [])]
    if any(type(v) not in (int, float) for v in numbers) or low > high:
        raise SweepError(f"[search.space] {name}: low and high must be numbers in this order")
    log = found.get("log", False)
    if type(log) is not bool or (log and (low <= 0 or step is not None)):
        raise SweepError(f"[search.space] {name}: log needs low above 0, and no step")
    if step is not None and step <= 0:
        raise SweepError(f"[search.space] {name}: step must be above 0")
    return Choice(name, (), low, high, step, log)


def point_of(search: Search, study: Study, chosen: Mapping[str, Any]) -> Point:
    """Raises InvalidModelError or SweepError if no model is so."""
    shape = {name: int(value) for name, value in chosen.items() if name in SHAPE_KEYS}
    tables = {name: chosen[name] for name in TABLE_KEYS if name in chosen}
    if "ngram_orders" in tables:
        tables["ngram_orders"] = tuple(int(n) for n in str(tables["ngram_orders"]).split())
        if not tables["ngram_orders"]:
            tables = {}
    rest = {k: v for k, v in chosen.items() if k not in SHAPE_KEYS | TABLE_KEYS}
    checked = parse_training(rest)
    own = {name: getattr(checked, name) for name in rest}
    plan = replace(study.training, **own, bytes=search.bytes, seed=search.seed)
    return Point("search", make_shape(shape, search.window, tables), plan, ("int8",), "other")


def run_search(study: Study, out: Path, threads: int | None, report: Report) -> dict[str, Any]:
    """Do the trials that are left; returns the best one. Raises NNCodecError, OSError."""
    if study.search is None:
        raise SweepError("has no [search]")
    search = parse_search(study.search)
    optuna = load_optuna()
    corpus = fingerprint(study.corpus)
    out.mkdir(parents=True, exist_ok=True)
    use_threads(threads)
    with claimed(out / "search") as mine:
        if not mine:
            raise SweepError(f"{out}: another process is searching there")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        trials = optuna.create_study(
            storage=f"sqlite:///{(out / DATABASE).resolve()}",
            study_name="search",
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=search.seed),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=WARM_TRIALS),
        )
        check_space(trials, search)
        enqueue_unfinished(optuna, trials)
        while len(finished(optuna, trials)) < search.trials:
            trial = trials.ask()
            try:
                value = run_trial(optuna, search, study, trial, out, corpus, threads, report)
            except optuna.TrialPruned:
                trials.tell(trial, state=optuna.trial.TrialState.PRUNED)
                report(f"trial {trial.number}: pruned")
            except (InvalidModelError, DivergedError) as error:
                trial.set_user_attr(IMPOSSIBLE, str(error))
                trials.tell(trial, state=optuna.trial.TrialState.FAIL)
                report(f"trial {trial.number}: no model comes of it: {error}")
            else:
                trials.tell(trial, value)
                report(f"trial {trial.number}: {search.objective} {value:.4f}")
                write_results(out / TABLE, search_rows(search, study, trials, out, corpus))
        return show_best(trials, report)


def load_optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            f"needs {error.name}: install it with pip install 'nncodec-lm[sweep]'"
        ) from error
    return optuna


def check_space(trials: optuna.Study, search: Search) -> None:
    """Scores of another search would be compared with this one's. Raises SweepError."""
    asked = repr(replace(search, trials=0))
    known = trials.user_attrs.get("search")
    if known is not None and known != asked:
        raise SweepError(f"{DATABASE} holds another search; name a new folder")
    trials.set_user_attr("search", asked)


def finished(optuna: Any, trials: optuna.Study) -> Sequence[optuna.trial.FrozenTrial]:
    """Trials that count: complete, pruned, or of a shape that cannot be."""
    states = optuna.trial.TrialState
    ended = trials.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED, states.FAIL))
    return [t for t in ended if t.state != states.FAIL or IMPOSSIBLE in t.user_attrs]


def enqueue_unfinished(optuna: Any, trials: optuna.Study) -> None:
    """A trial that runs now is of a process that was killed: its parameters come first again."""
    states = optuna.trial.TrialState
    for trial in trials.get_trials(deepcopy=False, states=(states.RUNNING,)):
        trials.tell(trial.number, state=states.FAIL)
        trials.enqueue_trial(trial.params)


def run_trial(
    optuna: Any,
    search: Search,
    study: Study,
    trial: optuna.Trial,
    out: Path,
    corpus: str,
    threads: int | None,
    report: Report,
) -> float:
    chosen = {choice.name: choice.suggest(trial) for choice in search.space}
    point = point_of(search, study, chosen)
    folder = out / point.name(corpus)
    trial.set_user_attr("point", folder.name)
    title = f"trial {trial.number} {folder.name} ({describe(point.shape)})"
    say = partial(prefixed, report, title)
    with claimed(folder) as mine:
        if not mine:
            raise SweepError(f"{folder}: another process is at it")
        if not (folder / RECORD_FILE).exists():
            for rung in range(1, search.rungs):
                seen = search.bytes * rung // search.rungs
                trial.report(train_to(study.corpus, point, folder, seen, say)["mean"], rung)
                if trial.should_prune():
                    raise optuna.TrialPruned
        record = run_point(study, point, folder, corpus, threads, say)
    return objective(search.objective, record)


def objective(name: str, record: Mapping[str, Any]) -> float:
    """Bits a byte to be made small."""
    if name == "held_out":
        return float(record["training"]["held_out_bpb"])
    rows = [row for row in record["rows"] if row["precision"] == "int8"]
    size = sum(row["file_bytes"] for row in rows)
    coded = sum(row["network_bytes" if name == "network" else "archive_bytes"] for row in rows)
    model = rows[0]["model_bytes"] if name == "total" else 0
    return float(8 * (coded + model) / size)


def search_rows(
    search: Search, study: Study, trials: optuna.Study, out: Path, corpus: str
) -> list[dict[str, Any]]:
    """The table of all trials that came to their end, each point once."""
    points = {}
    for trial in trials.get_trials(deepcopy=False):
        if trial.value is not None and trial.state.name == "COMPLETE":
            point = point_of(search, study, trial.params)
            points[point.name(corpus)] = point
    return all_rows(out, list(points.values()), corpus)


def show_best(trials: optuna.Study, report: Report) -> dict[str, Any]:
    """The best trial. Raises SweepError if none came to its end."""
    try:
        best = trials.best_trial
    except ValueError as error:
        raise SweepError("no trial came to its end; widen [search.space]") from error
    point = best.user_attrs["point"]
    report(f"best: trial {best.number}, {best.value:.4f}, {best.params}, {point}")
    return {"trial": best.number, "value": best.value, "point": point, **best.params}
