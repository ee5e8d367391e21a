"""Fine-tuning of a pruned, factored or quantised model: what it lost is won back from the original.

The loss is the Kullback-Leibler divergence of the model's next-token distribution from the
teacher's (G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network", 2015, at
temperature 1), the cross entropy of the text, or a mixture. AdamW without decay; the rate warms up
over a twentieth of the steps and falls linearly to zero over the last half. Seeds decide all
batches, so the same call on the same machine gives the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nncodec.config import BEGIN_OF_BLOCK
from nncodec.errors import QuantizationError
from nncodec.lossy import store
from nncodec.lossy.documents import IGNORED, padded, windows
from nncodec.lossy.evaluate import CausalLM
from nncodec.lossy.student import Scheme, Student

Batch = tuple[Tensor, Tensor]  # inputs and targets, (B, T) int64 each
Batches = Callable[[int], Batch]  # a pure function of the step

FLOAT_RATE = 1e-3


@dataclass(frozen=True)
class TuneConfig:
    """``text`` is the share of the cross entropy in the loss, 0 to 1; the rest is distillation.

    ``refresh``: the quantiser looks at the weights every so many steps; between, what it adds to
    them stays as it is. ``rate`` is the peak; 0: 0.001, or what moves a quantised weight by a 256th
    of a quantiser's step at once. (On stories260K at 4 bits a fourth as many, or twice, was worse.)
    """

    steps: int = 200
    batch: int = 8
    rate: float = 0.0
    text: float = 0.0
    refresh: int = 4
    rdo: float = 1.0
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.refresh) < 1:
            raise QuantizationError("steps, windows a step and refresh are at least 1")
        if not 0 <= self.rate < 1 or not 0 <= self.text <= 1:
            raise QuantizationError(f"a rate of {self.rate} or a text share of {self.text} is none")

    def peak(self, scheme: Scheme | None) -> float:
        """The rate, where 0 was asked for: by the quantiser's steps."""
        if self.rate or scheme is None:
            return self.rate or FLOAT_RATE
        return float(np.mean(list(scheme.steps.values()))) / 256

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, as a share of the peak."""
        warm = max(self.steps // 20, 1)
        return min((step + 1) / warm, 2 * (self.steps - step) / self.steps, 1.0)


def text_batches(model: CausalLM, documents: Sequence[bytes], config: TuneConfig) -> Batches:
    """Windows of documents, in an order that the seed shuffles anew in every pass.

    Raises QuantizationError if there is no text.
    """
    rows = windows(model, documents)
    if not rows:
        raise QuantizationError("there is no text to tune on: give more")

    def batch(step: int) -> Batch:
        chosen = []
        for place in range(step * config.batch, (step + 1) * config.batch):
            turn, at = divmod(place, len(rows))
            order = np.random.default_rng((config.seed, turn)).permutation(len(rows))
            chosen.append(rows[order[at]])
        return padded(chosen)

    return batch


def corpus_batches(model: CausalLM, corpus: Path, config: TuneConfig) -> Batches:
    """Windows of bytes from a training corpus (docs/training.md), for our own models.

    Raises QuantizationError for a model that reads no bytes.
    """
    from nncodec.lm.data import BatchSampler, load_domains, mix_for

    if model.tokenizer is not None:
        raise QuantizationError("a corpus is for models that read bytes: give text, or samples")
    domains = load_domains(corpus)
    sampler = BatchSampler(domains, mix_for(domains), config.batch, model.window, config.seed)

    def batch(step: int) -> Batch:
        tokens = torch.from_numpy(sampler.batch(step))
        targets = tokens[:, 1:].masked_fill(tokens[:, 1:] == BEGIN_OF_BLOCK, IGNORED)
        return tokens[:, :-1], targets

    return batch


def divergence(student: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
    """Mean nats a token that the student's logits cost more than the teacher's, by the teacher.

    (B, T, vocabulary) logits; places whose target is ``IGNORED`` do not count.
    """
    counted = targets != IGNORED
    return F.kl_div(
        student[counted].log_softmax(-1),
        teacher[counted].log_softmax(-1),
        reduction="batchmean",
        log_target=True,
    )


def tune(
    teacher: CausalLM,
    checkpoint: store.Checkpoint,
    batches: Batches,
    config: TuneConfig,
    masks: Mapping[str, Tensor] | None = None,
    original: Mapping[str, Tensor] | None = None,
    report: Callable[[int, float], None] | None = None,
) -> store.Checkpoint:
    """``checkpoint`` with better weights, in the same formats, with the same steps.

    It holds a model of the teacher's shape. ``original``: the floats that were quantised (the
    teacher's, if None). ``report`` takes the step and its loss. Raises QuantizationError for masks
    that do not fit, and if the loss is no number any more.
    """
    if original is None:
        original = {name: p.detach() for name, p in teacher.parameters().items()}
    student = Student(checkpoint, masks, original, config.rdo)
    peak = config.peak(student.scheme)
    optimizer = torch.optim.AdamW(student.trainable(), lr=peak, weight_decay=0.0)
    for step in range(config.steps):
        if step % config.refresh == 0:
            student.refresh()
        inputs, targets = batches(step)
        loss = _loss(teacher, student, inputs, targets, config.text)
        if not loss.isfinite():
            raise QuantizationError(f"the loss is {loss.item()} at step {step}: lower the rate")
        for group in optimizer.param_groups:
            group["lr"] = peak * config.rate_at(step)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if report:
            report(step, loss.item())
    return student.result()


def _loss(
    teacher: CausalLM, student: Student, inputs: Tensor, targets: Tensor, text: float
) -> Tensor:
    logits = teacher.logits(inputs, student.weights())
    loss = logits.new_zeros(())
    if text > 0:
        loss = loss + text * F.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED
        )
    if text < 1:
        with torch.no_grad():
            wanted = teacher.logits(inputs)
        loss = loss + (1 - text) * divergence(logits, wanted, targets)
    return loss


def masks_of(checkpoint: store.Checkpoint) -> dict[str, Tensor]:
    """True where a float tensor of two axes or more is not zero: what pruning left."""
    return {
        name: torch.from_numpy(tensor.floats() != 0)
        for name, tensor in checkpoint.tensors.items()
        if tensor.is_float and len(tensor.shape) > 1
    }
