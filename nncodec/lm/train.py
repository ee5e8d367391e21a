"""The training loop: corpora in, a Hugging Face folder out. ``docs/training.md`` has the recipe.

Muon (Jordan 2024) for the matrices, AdamW for the rest; constant learning rate, then linear decay
to zero. The budget is minutes of training or bytes, whichever is given. A run folder holds
``metrics.csv``, ``train.json`` and a checkpoint that is replaced atomically, so a killed run
resumes where it last saved, on the same batches. Runs unchanged on one CPU, one GPU, or several
processes that torchrun started.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nncodec.config import BEGIN_OF_BLOCK
from nncodec.lm import distributed
from nncodec.lm.data import BatchSampler, load_domains, mix_for
from nncodec.lm.model import ByteTransformer
from nncodec.lm.plan import Budget, TrainConfig
from nncodec.lm.prefetch import prefetched
from nncodec.lm.rounding import set_rounding
from nncodec.lm.runfiles import Checkpoint, MetricsLog, check_plan, check_shape

FIRST_SAVE_S = 60.0  # a run that is stopped early leaves something


def byte_loss(model: Callable[[Tensor], Tensor], tokens: Tensor) -> Tensor:
    """Mean nats a byte of (B, T) tokens; the marks between documents are no targets."""
    logits = model(tokens[:, :-1])
    targets = tokens[:, 1:].masked_fill(tokens[:, 1:] == BEGIN_OF_BLOCK, -100)
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)


def make_optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, unless its rate is 0, and AdamW for everything else."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, p in model.named_parameters():
        inner = name.startswith("blocks.") and p.ndim == 2 and config.muon_lr > 0
        (matrices if inner else rest).append(p)
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        muon = torch.optim.Muon(
            matrices,
            lr=config.muon_lr,
            momentum=0.95,
            weight_decay=config.weight_decay,
            adjust_lr_fn="original",
        )
        optimizers.append(muon)
    adam = torch.optim.AdamW(
        rest, lr=config.adam_lr, betas=(0.9, 0.97), weight_decay=0.0, fused=True
    )
    optimizers.append(adam)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def evaluate(
    model: nn.Module, samplers: dict[str, BatchSampler], device: torch.device
) -> dict[str, float]:
    """Bits per byte by domain on the same held-out windows every time, in float32."""
    result = {}
    with torch.no_grad():
        for name, sampler in samplers.items():
            tokens = torch.from_numpy(sampler.batch(0)).to(device)
            losses = [byte_loss(model, part).item() for part in torch.split(tokens, 8)]
            result[name] = sum(losses) / len(losses) / 0.6931471805599453
    result["mean"] = sum(result.values()) / len(result)
    return result


def train(
    model: ByteTransformer,
    corpus: Path,
    run: Path,
    config: TrainConfig,
    device: torch.device,
    report: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train in place until the budget is spent; returns the last held-out bits per byte.

    Resumes from ``run`` if a checkpoint is there. In a group of processes each takes its rows of
    the same batches; the main one alone writes, and the others return an empty dictionary. Raises
    FileNotFoundError if ``corpus`` holds no domains, ValueError for an unusable budget, a damaged
    index or a batch that cannot be split.
    """
    budget = Budget(config)
    world = distributed.world()
    say = report if world.is_main else lambda _line: None
    rows = world.rows(config.batch)
    domains = load_domains(corpus)
    mix = mix_for(domains, config.mix)
    domains = [domain for domain in domains if domain.name in mix]
    config = replace(config, mix=mix)  # the record shall not depend on defaults
    sampler = BatchSampler(domains, mix, config.batch, config.length, config.seed, config.crlf)
    held_out = {
        d.name: BatchSampler([d], {d.name: 1.0}, config.eval_windows, config.length, seed=1)
        for d in load_domains(corpus, "valid")
    }
    run.mkdir(parents=True, exist_ok=True)
    model.to(device)
    optimizers = make_optimizers(model, config)
    checkpoint = Checkpoint(run)
    if world.is_main:
        check_plan(run, config)
        check_shape(run, model.config)
    state = checkpoint.load(model, optimizers) or {"step": 0, "seconds": 0.0, "bytes": 0}
    log, eval_log = MetricsLog(run / "metrics.csv"), MetricsLog(run / "heldout.csv")
    loss_of: Callable[[Tensor], Tensor] = partial(byte_loss, model)
    if config.compile:
        loss_of = torch.compile(loss_of)
    autocast = torch.autocast(device.type, dtype=torch.bfloat16)
    on_gpu = device.type == "cuda"

    step, seen = int(state["step"]), int(state["bytes"])
    if world.is_main:
        log.rewind(step)
        eval_log.rewind(step)
    begun = time.monotonic() - state["seconds"]
    elapsed = world.agree(state["seconds"])
    evaluated = reported = elapsed
    saved = elapsed + min(FIRST_SAVE_S, config.save_every_s) - config.save_every_s
    smooth, reported_at = 0.0, seen

    def tokens_of(cursor: int) -> Tensor:
        tokens = torch.from_numpy(sampler.batch(cursor, rows))
        return tokens.pin_memory() if on_gpu else tokens

    def save() -> None:
        if world.is_main:
            checkpoint.save(model, optimizers, {"step": step, "seconds": elapsed, "bytes": seen})

    def score() -> dict[str, float]:
        if not world.is_main:
            return {}
        scores = evaluate(model, held_out, device)
        eval_log.rewind(step - 1)  # a run that was finished has this row
        eval_log.write({"step": step, "bytes": seen, "seconds": elapsed, **scores})
        return scores

    with prefetched(tokens_of, step, threads=2 if on_gpu else 1) as batches:
        while budget.goes_on(elapsed, seen):
            progress = budget.progress(elapsed, seen)
            rate = budget.rate(progress, step)
            if progress >= 1.0 - config.rounding_share:
                set_rounding(model, True)
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * rate
            tokens = next(batches).to(device, non_blocking=True)
            with autocast:
                loss = loss_of(tokens) * world.weight((tokens[:, 1:] != BEGIN_OF_BLOCK).sum())
            due = elapsed - saved > config.save_every_s
            if step % 10 == 9 or due:
                bits = finite(world.mean(loss).item() / 0.6931471805599453, step)
                smooth = bits if smooth == 0 else 0.9 * smooth + 0.1 * bits
            if due:  # before the step: these weights are known to be good
                saved = elapsed
                save()
            torch.autograd.backward(loss)
            world.average_gradients(model.parameters())
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            step, seen = step + 1, seen + config.batch * config.length
            elapsed = world.agree(time.monotonic() - begun)
            if step % 100 == 0 and world.is_main:
                speed = (seen - reported_at) / max(1e-9, elapsed - reported)
                reported, reported_at = elapsed, seen
                log.write(
                    {
                        "step": step,
                        "bytes": seen,
                        "seconds": elapsed,
                        "bpb": smooth,
                        "lr": rate,
                        "bytes_per_s": speed,
                    }
                )
                say(
                    f"step {step}  {seen / 1e6:.1f} MB  {smooth:.4f} bpb  rate {rate:.3f}  "
                    f"{speed / 1e3:.1f} kB/s  {100 * progress:.1f} %"
                )
            if elapsed - evaluated > config.eval_every_s:
                evaluated = elapsed
                scores = score()
                say("  ".join(f"{k} {v:.4f}" for k, v in scores.items()))
    scores = score()
    if world.is_main:
        finite(scores["mean"], step)
        save()
        model.save_pretrained(run)
    return scores


def finite(bits: float, step: int) -> float:
    """A loss that can be gone on from. Raises FloatingPointError for any other."""
    if not bits < 100:
        raise FloatingPointError(
            f"training diverged at step {step}; the same call with lower rates (--muon-lr, "
            "--adam-lr) goes on from the last checkpoint"
        )
    return bits
