"""From options to files: train a model in a run folder, export one to a model folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from nncodec.lm import distributed
from nncodec.lm.data import BatchSampler, load_domains, mix_for
from nncodec.lm.export import export
from nncodec.lm.model import ByteTransformer
from nncodec.lm.plan import TrainConfig
from nncodec.lm.start import starting_model
from nncodec.lm.train import train
from nncodec.weights import WEIGHTS_FILE

CALIBRATION_WINDOWS, CALIBRATION_LENGTH = 64, 512


def train_and_export(
    corpus: Path, run: Path, plan: TrainConfig, shape: Path | None, start: Path | None, device: str
) -> None:
    """``nncodec train``: afterwards ``run`` is a model folder that ``-m`` accepts.

    ``shape`` is a folder with a config.json, ``start`` one with a model that the new one begins as.
    """
    if train_run(corpus, run, plan, shape, start, device, partial(print, flush=True)):
        print(f"model id {export_folder(run, corpus, run).hex()}", flush=True)


def train_run(
    corpus: Path,
    run: Path,
    plan: TrainConfig,
    shape: Path | None,
    start: Path | None,
    device: str,
    report: Callable[[str], None],
) -> bool:
    """Train in ``run``; whether this is the process, of those of torchrun, that goes on alone."""
    if (run / WEIGHTS_FILE).exists() and not (run / "train.json").exists():
        raise ValueError(f"{run} holds a model that was not trained there; name a new folder")
    with distributed.joined(device) as where:
        main = distributed.world().is_main
        model = starting_model(plan.seed, shape, start)

        def say(line: str) -> None:
            if main:
                report(line)

        say(f"{sum(p.numel() for p in model.parameters())} parameters on {where}")
        scores = train(model, corpus, run, plan, where, say)
        say("held out, bits per byte: " + "  ".join(f"{k} {v:.4f}" for k, v in scores.items()))
        return main


def export_folder(run: Path, corpus: Path, output: Path) -> bytes:
    """Quantise ``run``'s checkpoint into ``output``; returns the model id."""
    model = ByteTransformer.from_pretrained(run)
    held_out = load_domains(corpus, "valid")
    sampler = BatchSampler(
        held_out, mix_for(held_out), CALIBRATION_WINDOWS, CALIBRATION_LENGTH, seed=5
    )
    exported = export(model, sampler.batch(0))
    exported.save(output)
    if output.resolve() != run.resolve():
        model.config.save(output)
        shutil.copyfile(run / "model.safetensors", output / "model.safetensors")
    return exported.model_id
