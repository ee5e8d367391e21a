"""What a run folder holds besides weights: the plan, the checkpoint, the logs.

All of it is replaced atomically or appended to, and none of it is pickled.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from nncodec.config import ModelConfig
from nncodec.errors import NNCodecError
from nncodec.files import write_atomically
from nncodec.lm.plan import TrainConfig

PLAN_FILE = "train.json"


class Checkpoint:
    """Weights, optimiser state and cursor in one safetensors file and its metadata: no pickle."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "checkpoint.safetensors"

    def save(
        self, model: nn.Module, optimizers: list[torch.optim.Optimizer], state: dict[str, float]
    ) -> None:
        tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
        for i, optimizer in enumerate(optimizers):
            for j, slots in optimizer.state_dict()["state"].items():
                for slot, value in slots.items():
                    tensors[f"optimizer.{i}.{j}.{slot}"] = torch.as_tensor(value)
        tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        write_atomically(self.path, save(tensors, metadata={"state": json.dumps(state)}))

    def state(self) -> dict[str, float] | None:
        """Step, seconds and bytes of the run that was saved; None if nothing was saved yet."""
        if not self.path.exists():
            return None
        with self.readable(), safe_open(self.path, "pt") as file:
            state: dict[str, float] = json.loads(file.metadata()["state"])
        return state

    def weights(self) -> dict[str, Tensor]:
        """The model's, by their names in it."""
        with self.readable():
            return {k[6:]: v for k, v in load_file(self.path).items() if k.startswith("model.")}

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Errors of a damaged file as one that names it."""
        try:
            yield
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise NNCodecError(
                f"{self.path} is damaged ({error}); put a copy in its place, or begin anew"
            ) from error

    def load(
        self, model: nn.Module, optimizers: list[torch.optim.Optimizer]
    ) -> dict[str, float] | None:
        """Restore in place and return the saved state; None if nothing was saved yet."""
        state = self.state()
        if state is None:
            return None
        with self.readable():
            tensors = load_file(self.path)
        model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        for i, optimizer in enumerate(optimizers):
            whole = optimizer.state_dict()
            for key, value in tensors.items():
                kind, *rest = key.split(".", 3)
                if kind == "optimizer" and int(rest[0]) == i:
                    whole["state"].setdefault(int(rest[1]), {})[rest[2]] = value
            optimizer.load_state_dict(whole)
        return state


class MetricsLog:
    """``metrics.csv``: one row a report, appended; columns are fixed by the first row."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rewind(self, step: int) -> None:
        """Drop rows after ``step``: a run that was killed wrote them, and they come again."""
        if not self.path.exists():
            return
        with self.path.open(newline="") as file:
            head, *rows = [row for row in csv.reader(file) if row] or [[]]
        if not head:  # nothing was written before the process died
            self.path.unlink()
            return
        text = io.StringIO()
        kept = [row for row in rows if int(row[0]) <= step]
        csv.writer(text, lineterminator="\n").writerows([head, *kept])
        write_atomically(self.path, text.getvalue().encode())

    def write(self, row: dict[str, float]) -> None:
        fresh = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if fresh:
                writer.writerow(row)
            writer.writerow(f"{v:.6g}" if isinstance(v, float) else v for v in row.values())


FREE_TO_CHANGE = {
    "minutes", "bytes", "stop_minutes", "stop_bytes", "save_every_s", "eval_every_s", "compile",
    "decay_share", "rounding_share", "muon_lr", "adam_lr",
}  # fmt: skip


def recorded_plan(run: Path) -> dict[str, Any]:
    """The fields of the plan that a run was begun with; nothing if it is a new one."""
    path = run / PLAN_FILE
    try:
        plan = json.loads(path.read_text()) if path.exists() else {}
        asdict(TrainConfig(**plan))
    except (ValueError, TypeError) as error:
        raise NNCodecError(f"{path} is damaged ({error}); name a new folder") from error
    return dict(plan)


def check_plan(run: Path, config: TrainConfig) -> None:
    """Record the plan; a run is only resumed under the plan that it was begun with.

    Raises ValueError naming what differs. The budget and the rates may change.
    """
    plan, old = asdict(config), recorded_plan(run)
    other = sorted(k for k in plan.keys() - FREE_TO_CHANGE if old and old.get(k) != plan[k])
    if other:
        raise ValueError(f"{run} was begun with other {', '.join(other)}; use a new folder")
    write_atomically(run / PLAN_FILE, (json.dumps(plan, indent=2) + "\n").encode())


def check_shape(run: Path, config: ModelConfig) -> None:
    """Record the model's shape. Raises ValueError if the run's checkpoint has another."""
    if Checkpoint(run).path.exists() and ModelConfig.load(run) != config:
        raise ValueError(f"{run} was begun with another shape; use a new folder")
    config.save(run)
