"""From options to files: train a model in a run folder, export one to a model folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from nncodec.config import CONFIG_FILE, FLOAT_FILE, ModelConfig
from nncodec.engine_weights import WEIGHTS_FILE
from nncodec.errors import NNCodecError
from nncodec.files import sha256
from nncodec.lm import distributed
from nncodec.lm.data import BatchSampler, load_domains, mix_for
from nncodec.lm.export import export
from nncodec.lm.model import ByteTransformer
from nncodec.lm.plan import TrainConfig
from nncodec.lm.runfiles import PLAN_FILE, Checkpoint
from nncodec.lm.start import starting_model
from nncodec.lm.train import train

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
    resumed = (run / PLAN_FILE).exists()
    if not resumed:
        refuse_models(run, "was not trained there")
    if resumed and not shape:
        shape = run
    if start:
        plan = replace(plan, start=sha256(start / FLOAT_FILE))
    with distributed.joined(device) as where:
        main = distributed.world().is_main
        begun = Checkpoint(run).path.exists()
        model = starting_model(plan.seed, shape, None if begun else start)

        def say(line: str) -> None:
            if main:
                report(line)

        say(f"{sum(p.numel() for p in model.parameters())} parameters on {where}")
        scores = train(model, corpus, run, plan, where, say)
        say("held out, bits per byte: " + "  ".join(f"{k} {v:.4f}" for k, v in scores.items()))
        return main


def refuse_models(folder: Path, why: str) -> None:
    """Raises NNCodecError if there is a model in ``folder``, or a part of one."""
    if found := [
        name for name in (CONFIG_FILE, FLOAT_FILE, WEIGHTS_FILE) if (folder / name).exists()
    ]:
        raise NNCodecError(
            f"{folder} holds a model ({', '.join(found)}) that {why}; name a new folder"
        )


def trained_model(run: Path) -> ByteTransformer:
    """What ``run`` has come to: its last checkpoint's weights, or those of a model folder."""
    if not Checkpoint(run).path.exists():
        return ByteTransformer.from_pretrained(run)
    model = ByteTransformer(ModelConfig.load(run))
    model.load_state_dict(Checkpoint(run).weights())
    return model


def export_folder(
    run: Path, corpus: Path, output: Path, split: str = "valid", force: bool = False
) -> bytes:
    """Quantise what ``run`` has come to into ``output``; returns the model id.

    Value ranges are set by documents of the corpus' ``split``. The integer weights are written
    last: a folder without them is no model yet. Raises NNCodecError if another model is in
    ``output``, unless ``force``.
    """
    model = trained_model(run)
    if output.resolve() != run.resolve() and not force:
        refuse_models(output, "would be overwritten")
    documents = load_domains(corpus, split)
    sampler = BatchSampler(
        documents, mix_for(documents), CALIBRATION_WINDOWS, CALIBRATION_LENGTH, seed=5
    )
    exported = export(model, sampler.batch(0))
    output.mkdir(parents=True, exist_ok=True)
    (output / WEIGHTS_FILE).unlink(missing_ok=True)
    model.save_pretrained(output)
    exported.save(output)
    return exported.model_id
