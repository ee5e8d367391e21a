"""What a run folder holds besides weights: the plan, the checkpoint, the logs.

All of it is replaced atomically or appended to, and none of it is pickled.
"""

from __future__ import annotations

import csv
import json
import os
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from nncodec.lm.plan import TrainConfig


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
        temporary = self.path.with_suffix(".tmp")
        tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        save_file(tensors, temporary, metadata={"state": json.dumps(state)})
        os.replace(temporary, self.path)

    def state(self) -> dict[str, float] | None:
        """Step, seconds and bytes of the run that was saved; None if nothing was saved yet."""
        if not self.path.exists():
            return None
        with safe_open(self.path, "pt") as file:
            state: dict[str, float] = json.loads(file.metadata()["state"])
        return state

    def load(
        self, model: nn.Module, optimizers: list[torch.optim.Optimizer]
    ) -> dict[str, float] | None:
        """Restore in place and return the saved state; None if nothing was saved yet."""
        state = self.state()
        if state is None:
            return None
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
        temporary = self.path.with_suffix(".tmp")
        with temporary.open("w", newline="") as file:
            kept = [row for row in rows if int(row[0]) <= step]
            csv.writer(file, lineterminator="\n").writerows([head, *kept])
        os.replace(temporary, self.path)

    def write(self, row: dict[str, float]) -> None:
        fresh = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if fresh:
                writer.writerow(row)
            writer.writerow(f"{v:.6g}" if isinstance(v, float) else v for v in row.values())


FREE_TO_CHANGE = {
    "minutes", "bytes", "stop_minutes", "save_every_s", "eval_every_s", "compile", "decay_share",
    "rounding_share",
}  # fmt: skip


def check_plan(path: Path, config: TrainConfig) -> None:
    """Record the plan; a run is only resumed under the plan that it was begun with.

    Raises ValueError naming what differs. The budget may change.
    """
    plan = asdict(config)
    if path.exists():
        old = json.loads(path.read_text())
        other = sorted(k for k in plan.keys() - FREE_TO_CHANGE if old.get(k) != plan[k])
        if other:
            raise ValueError(f"{path} was begun with other {', '.join(other)}; use a new folder")
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(plan, indent=2) + "\n")
    os.replace(temporary, path)
