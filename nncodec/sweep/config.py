"""A study in one TOML file: what is varied, what it is trained on, what is measured.

    [study]                               # paths: relative to the file, $VARIABLES are filled in
    corpus = "$NNCODEC_CORPORA/train"     # as nncodec train takes it
    files = ["$NNCODEC_CORPORA/test/enwik/enwik6"]
    level = 6                             # of the archives
    seeds = [0]
    verify = true                         # decode every archive

    [training]                            # fields of TrainConfig, but budget and seed
    batch = 8

    [shapes.wide]                         # shapes of one's own, by name
    d_model = 128
    layers = 2

    [[grid]]                              # every combination; several grids are joined
    parameters = [50_000, 100_000]        # shapes by the rule of shapes.py, and/or
    shapes = ["wide"]
    bytes = [4_000_000]                   # seen in training; one run for each
    window = [256]
    precision = ["int8", "float"]         # the engine; the float model's ideal code length
    tables = { ngram_orders = [3, 4], ngram_bits = 12, ngram_width = 16 }     # optional
    role = "fit"                          # or "check" (predicted, not fitted), or "other"

``[search]`` is that of ``search.py``. Every error is a SweepError of one line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from nncodec.config import ModelConfig
from nncodec.errors import InvalidModelError, SweepError
from nncodec.levels import LEVELS
from nncodec.lm.plan import TrainConfig
from nncodec.sweep.shapes import SHAPE_KEYS, TABLE_KEYS, choose_shape, make_shape
from nncodec.toml import load_toml

PRECISIONS = ("int8", "float")
ROLES = ("fit", "check", "other")
STUDY_KEYS = {"corpus", "files", "level", "seeds", "verify"}
GRID_KEYS = {"parameters", "shapes", "bytes", "window", "precision", "tables", "role", "seeds"}
# The grid and the point's folder decide these.
NOT_OF_TRAINING = {"minutes", "bytes", "seed", "start", "stop_minutes", "stop_bytes"}
MAX_POINTS = 10_000


@dataclass(frozen=True)
class Grid:
    """One product of axes. ``shapes`` are made by (window) -> shape, beside what was asked for."""

    shapes: tuple[tuple[str, Callable[[int], ModelConfig]], ...]
    bytes: tuple[int, ...]
    windows: tuple[int, ...]
    precisions: tuple[str, ...]
    seeds: tuple[int, ...]
    role: str


@dataclass(frozen=True)
class Study:
    """What a file asks for, checked."""

    corpus: Path
    files: tuple[Path, ...]
    level: int
    verify: bool
    training: TrainConfig  # budget and seed are those of points
    seeds: tuple[int, ...]
    grids: tuple[Grid, ...]
    search: Mapping[str, Any] | None


def load_study(path: Path) -> Study:
    """Read and check ``path``. Raises SweepError, OSError."""
    try:
        values = load_toml(path.read_bytes(), "sweep")
    except ValueError as error:
        raise SweepError(f"not TOML: {error}") from error
    try:
        return parse_study(values, path.parent)
    except InvalidModelError as error:
        raise SweepError(f"a shape that no model can have: {error}") from error


def parse_study(values: Mapping[str, Any], folder: Path) -> Study:
    """``load_study`` for what was parsed; ``folder`` is that of relative paths."""
    only(values, {"study", "training", "shapes", "grid", "search"}, "the file")
    study = table(values, "study")
    only(study, STUDY_KEYS, "[study]")
    seeds = integers(study, "seeds", [0], least=0)
    level = study.get("level", 6)
    if type(level) is not int or LEVELS.get(level) is None or LEVELS[level].model is None:
        raise SweepError(f"level {level!r}: give one that has a network, 2 to {max(LEVELS)}")
    verify = study.get("verify", True)
    if type(verify) is not bool:
        raise SweepError(f"verify is {verify!r}: give true or false")
    files = study.get("files")
    if not isinstance(files, list) or not files:
        raise SweepError("files: list one or more files to measure on")
    paths = tuple(path_of(name, folder, "files") for name in files)
    if absent := [str(path) for path in paths if not path.is_file()]:
        raise SweepError(f"files: {', '.join(absent)}: no such file")
    named = {name: table(table(values, "shapes"), name) for name in values.get("shapes", {})}
    grids = values.get("grid", [])
    if not isinstance(grids, list) or not all(isinstance(grid, dict) for grid in grids):
        raise SweepError("grid: write [[grid]], once for each product of axes")
    search = table(values, "search") if "search" in values else None
    if not grids and search is None:
        raise SweepError("nothing to do: give a [[grid]] or a [search]")
    corpus = path_of(study.get("corpus"), folder, "corpus")
    if not corpus.is_dir():
        raise SweepError(f"corpus: {corpus}: no such folder")
    return Study(
        corpus=corpus,
        files=paths,
        level=level,
        verify=verify,
        training=parse_training(table(values, "training")),
        seeds=seeds,
        grids=tuple(parse_grid(grid, named, seeds) for grid in grids),
        search=search,
    )


def parse_training(values: Mapping[str, Any]) -> TrainConfig:
    plan = TrainConfig(bytes=1)
    usual: dict[str, Any] = asdict(plan)
    only(values, {field.name for field in fields(plan)} - NOT_OF_TRAINING, "[training]")
    wanted = {name: type(value) for name, value in usual.items()} | {"mix": dict}
    checked = {name: option(name, value, wanted[name]) for name, value in values.items()}
    for name, least in (("batch", 1), ("length", 2), ("eval_windows", 1)):
        if values.get(name, least) < least:
            raise SweepError(f"[training] {name} is {values[name]!r}: give {least} or more")
    return replace(plan, **checked)


def option(name: str, value: Any, wanted: type) -> Any:
    """A value of the wanted type; 1 and 1.0 are one, so that they name one point."""
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:
        raise SweepError(f"[training] {name} is {value!r}: give a {wanted.__name__}")
    if isinstance(value, (int, float)) and not value >= 0:
        raise SweepError(f"[training] {name} is {value!r}: give a number from 0 on")
    return value


def parse_grid(
    values: Mapping[str, Any], named: Mapping[str, Mapping[str, Any]], seeds: tuple[int, ...]
) -> Grid:
    only(values, GRID_KEYS, "[[grid]]")
    tables = table(values, "tables") if "tables" in values else {}
    if tables and set(tables) != TABLE_KEYS:
        raise SweepError(f"tables: give {', '.join(sorted(TABLE_KEYS))}, all of them")
    precisions = tuple(strings(values, "precision", list(PRECISIONS), PRECISIONS))
    role = values.get("role", "fit")
    if role not in ROLES:
        raise SweepError(f"role {role!r}: give one of {', '.join(ROLES)}")
    if "bytes" not in values:
        raise SweepError("[[grid]]: bytes: list how many bytes the models see")
    windows = integers(values, "window", [256], least=1)
    targets = integers(values, "parameters", [], least=1)
    makers = [(str(target), by_target(target, tables)) for target in targets]
    for name in strings(values, "shapes", [], tuple(named)):
        only(named[name], SHAPE_KEYS | TABLE_KEYS, f"[shapes.{name}]")
        makers.append((name, by_name(name, named[name], tables)))
    if not makers:
        raise SweepError("[[grid]]: give parameters = [...] or shapes = [...]")
    for _, make in makers:
        for window in windows:
            make(window)  # what cannot be is said before anything is trained
    grid = Grid(
        shapes=tuple(makers),
        bytes=integers(values, "bytes", [], least=1),
        windows=windows,
        precisions=precisions,
        seeds=integers(values, "seeds", list(seeds), least=0),
        role=role,
    )
    count = len(grid.shapes) * len(grid.bytes) * len(grid.windows) * len(grid.seeds)
    if count > MAX_POINTS:
        raise SweepError(f"[[grid]] has {count} points; {MAX_POINTS} are allowed")
    return grid


def by_target(target: int, tables: Mapping[str, Any]) -> Callable[[int], ModelConfig]:
    return lambda window: choose_shape(target, window, tables)


def by_name(
    name: str, values: Mapping[str, Any], tables: Mapping[str, Any]
) -> Callable[[int], ModelConfig]:
    own = {key: values[key] for key in TABLE_KEYS if key in values} or tables
    shape = {key: values[key] for key in SHAPE_KEYS if key in values}
    if missing := {"d_model", "layers"} - set(shape):
        raise SweepError(f"[shapes.{name}] lacks {', '.join(sorted(missing))}")
    if wrong := [key for key, value in shape.items() if type(value) is not int or value < 1]:
        raise SweepError(f"[shapes.{name}] {wrong[0]} is {shape[wrong[0]]!r}: give a number")
    return lambda window: make_shape(shape, window, own)


def only(values: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(values) - known):
        raise SweepError(f"{where} has {unknown[0]!r}; known: {', '.join(sorted(known))}")


def table(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name, {})
    if not isinstance(found, dict):
        raise SweepError(f"{name} is no table")
    return found


def integers(
    values: Mapping[str, Any], name: str, default: Sequence[int], least: int
) -> tuple[int, ...]:
    """A list of different integers, or one of them alone."""
    found = values.get(name, default)
    found = [found] if type(found) is int else found
    if (
        not isinstance(found, (list, tuple))
        or not all(type(v) is int and v >= least for v in found)
        or len(set(found)) < len(found)
        or (name in values and not found)
    ):
        raise SweepError(f"{name} is {found!r}: list different integers from {least} on")
    return tuple(found)


def strings(
    values: Mapping[str, Any], name: str, default: Sequence[str], known: Sequence[str]
) -> tuple[str, ...]:
    found = values.get(name, default)
    found = [found] if isinstance(found, str) else found
    if not isinstance(found, (list, tuple)) or not all(v in known for v in found):
        raise SweepError(f"{name} is {found!r}: choose among {', '.join(known) or 'none'}")
    return tuple(dict.fromkeys(found))


def path_of(text: object, folder: Path, where: str) -> Path:
    """A path with its variables filled in. Raises SweepError naming one that is not set."""
    if not isinstance(text, str) or not text:
        raise SweepError(f"{where} is {text!r}: give a path")
    filled = os.path.expandvars(text)
    if "$" in filled:
        raise SweepError(f"{where}: {text}: the environment variable in it is not set")
    return folder / os.path.expanduser(filled)
