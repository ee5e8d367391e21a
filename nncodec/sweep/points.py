"""The points of a study: one model each, named by a hash of all that decides it.

Two grids that meet in a point share it. Where bytes seen are an axis, every amount is a run of its
own, not a stretch of a longer one: the learning rate falls to zero at the end of each, as it does
when a model is made, so every point is a finished model and none depends on another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from nncodec._core import xxh64
from nncodec.config import ModelConfig
from nncodec.errors import SweepError
from nncodec.lm.flops import training_flops
from nncodec.lm.plan import TrainConfig
from nncodec.sweep.config import Study

# Of a training plan, what says how a run is driven and not what it comes to.
UNDECIDING = {
    "minutes",
    "stop_minutes",
    "stop_bytes",
    "save_every_s",
    "eval_every_s",
    "compile",
    "start",
}
KEY_VERSION = 1


@dataclass(frozen=True)
class Point:
    """A model to train and measure. ``target`` is what the study calls its shape."""

    target: str
    shape: ModelConfig
    plan: TrainConfig  # budget and seed included
    precisions: tuple[str, ...]
    role: str

    @property
    def flops(self) -> int:
        """Floating-point operations of its training."""
        return training_flops(self.shape) * self.plan.bytes

    def key(self, corpus: str) -> dict[str, Any]:
        """All that decides the model, as JSON can hold it. ``corpus`` is ``fingerprint``'s."""
        plan = {k: v for k, v in asdict(self.plan).items() if k not in UNDECIDING}
        shape = json.loads(self.shape.canonical_json())
        return {"version": KEY_VERSION, "shape": shape, "training": plan, "corpus": corpus}

    def name(self, corpus: str) -> str:
        """The folder's: width, layers, bytes for people, and the hash of ``key``."""
        text = json.dumps(self.key(corpus), sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return f"d{self.shape.d_model}-l{self.shape.n_layers}-{self.plan.bytes}-{digest}"


def grid_points(study: Study) -> list[Point]:
    """Every point once, cheapest training first, so that a study that is stopped has the most."""
    points: dict[tuple[ModelConfig, TrainConfig], Point] = {}
    for grid in study.grids:
        for target, make in grid.shapes:
            for window in grid.windows:
                shape = make(window)
                for size in grid.bytes:
                    for seed in grid.seeds:
                        plan = replace(study.training, bytes=size, seed=seed)
                        join(points, Point(target, shape, plan, grid.precisions, grid.role))
    if study.grids and not points:
        raise SweepError("the grids have no points")
    return sorted(points.values(), key=lambda p: (p.flops, p.plan.seed))


def join(points: dict[tuple[ModelConfig, TrainConfig], Point], new: Point) -> None:
    """A point that is there keeps its role and gets what more is to be measured."""
    key = (new.shape, plan_key(new.plan))
    old = points.get(key)
    if old:
        both = tuple(dict.fromkeys(old.precisions + new.precisions))
        new = replace(old, precisions=both)
    points[key] = new


def plan_key(plan: TrainConfig) -> TrainConfig:
    """Plans hash by their fields; a mix is a dictionary, and one study has one."""
    return replace(plan, mix=None)


def fingerprint(corpus: Path) -> str:
    """A hash of every ``.bin`` and ``.idx`` of a corpus folder, by contents. Raises SweepError."""
    files = sorted(path for kind in ("*.bin", "*.idx") for path in corpus.glob(kind))
    if not files:
        raise SweepError(f"{corpus}: no .bin and .idx files to train on")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {path.stat().st_size} {content_hash(path):016x}\n".encode())
    return digest.hexdigest()[:16]


def content_hash(path: Path) -> int:
    data = np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size else None
    return xxh64(np.asarray(data)) if data is not None else 0


def total_flops(points: Iterable[Point]) -> int:
    return sum(point.flops for point in points)
