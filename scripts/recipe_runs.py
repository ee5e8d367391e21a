"""Short training runs that differ from nano's recipe in one thing each: what does it buy?

usage: python scripts/recipe_runs.py CORPUS -o RUNS --csv docs/recipe.csv [--megabytes 2]
       [--only NAME]

Every run has the same seed, so the same weights and batches where shapes allow it, and the same
number of bytes. One CSV row a run, written when it ends; runs that have a row are not repeated, and
one that was killed goes on where it stopped. RUNS keeps the curves (metrics.csv, heldout.csv).
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from nncodec.config import ModelConfig
from nncodec.lm.model import ByteTransformer
from nncodec.lm.plan import TrainConfig
from nncodec.lm.train import train

NANO = ModelConfig()
TABLES = {"ngram_orders": (3, 4, 5, 6), "ngram_bits": 15, "ngram_width": 32}


@dataclass(frozen=True)
class Variant:
    """What is other than in nano's recipe."""

    shape: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)


VARIANTS = {
    "nano's recipe": Variant(),
    "AdamW alone, 0.002": Variant(plan={"muon_lr": 0.0, "adam_lr": 0.002}),
    "AdamW alone, 0.004": Variant(plan={"muon_lr": 0.0}),
    "Muon 0.01": Variant(plan={"muon_lr": 0.01}),
    "Muon 0.04": Variant(plan={"muon_lr": 0.04}),
    "decay over the last fifth": Variant(plan={"decay_share": 0.2}),
    "8 windows a step": Variant(plan={"batch": 8}),
    "32 windows a step": Variant(plan={"batch": 32}),
    "windows of 1024 bytes": Variant(plan={"batch": 8, "length": 1024}),
    "all layers see 64": Variant(shape={"windows": (64,) * 6}),
    "last layer sees 512": Variant(shape={"windows": (64,) * 5 + (512,)}),
    "3 layers of width 192": Variant(
        shape={"d_model": 192, "n_heads": 3, "d_ff": 640, "windows": (64, 64, 256)}
    ),
    "10 layers of width 96": Variant(
        shape={"d_model": 96, "d_ff": 400, "windows": (64,) * 9 + (256,)}
    ),
    "n-gram tables": Variant(shape=TABLES),
    "n-gram tables, rounding in the last tenth": Variant(
        shape=TABLES, plan={"rounding_share": 0.1}
    ),
}
COLUMNS = (
    *("run", "parameters", "bytes", "seconds", "en_books", "en_wiki", "en_modern", "code", "docs"),
    *("data", "multi", "binary", "mean"),
)


def finished(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [row["run"] for row in csv.DictReader(file)]


def last_row(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, default=2.0)
    parser.add_argument("--only", action="append", choices=VARIANTS)
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    plan = TrainConfig(
        bytes=int(arguments.megabytes * 1e6),
        warmup_steps=20,
        eval_every_s=1e9,
        compile=not arguments.no_compile,
    )
    done = finished(arguments.csv)
    for name in arguments.only or VARIANTS:
        if name in done:
            continue
        torch.manual_seed(plan.seed)
        torch.compiler.reset()
        model = ByteTransformer(replace(NANO, **VARIANTS[name].shape))
        run = arguments.output / name.replace(" ", "_")
        train(
            model,
            arguments.corpus,
            run,
            replace(plan, **VARIANTS[name].plan),
            torch.device("cuda" if torch.cuda.is_available() else "cpu"),
            lambda line, name=name: print(f"{name}: {line}", flush=True),
        )
        row = {"run": name, "parameters": sum(p.numel() for p in model.parameters())}
        row |= {k: v for k, v in last_row(run / "heldout.csv").items() if k in COLUMNS}
        fresh = not arguments.csv.exists()
        with arguments.csv.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="raise")
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        print(f"{name}: held-out mean {row['mean']}", flush=True)


if __name__ == "__main__":
    main()
