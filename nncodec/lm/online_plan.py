"""How a file is coded by a network that learns as it goes: free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from nncodec.blocks import DEFAULT_TABLE_BITS, needed_table_bits
from nncodec.config import VOCAB_SIZE, ModelConfig

HEAD_DIM = 64
LEAST_PARAMETERS, DEFAULT_PARAMETERS, MOST_PARAMETERS = 80_000, 430_000, 100_000_000
LARGE = 1 << 18  # bytes; beyond, steps are fewer, for there are enough, and each learns less again


@dataclass(frozen=True)
class OnlinePlan:
    """One run. A decoder would have to know it and the file's size: some twenty bytes."""

    shape: ModelConfig = field(default_factory=ModelConfig)
    streams: int = 1  # contiguous parts of the file that are coded side by side
    segment: int = 64  # bytes of each stream that the same weights predict
    context: int = 64  # bytes before them that a window begins with
    replay: int = 2  # old windows that are learnt once more in every step
    context_weight: float = 0.5  # of bytes that were new a step ago, beside 1 for those that are
    replay_weight: float = 0.25
    muon_lr: float = 0.005
    adam_lr: float = 0.005
    weight_decay: float = 0.01
    warmup_steps: int = 50
    table_bits: int = 0  # of the context mixer beside the network; 0: none
    seed: int = 0

    def rate(self, step: int) -> float:
        """The learning rates' factor: there is no decay, for there is always more to learn."""
        return min(1.0, (step + 1) / max(1, self.warmup_steps))


def plan_for(
    size: int, seed: int = 0, parameters: int = DEFAULT_PARAMETERS, network_alone: bool = False
) -> OnlinePlan:
    """The plan for a file of ``size`` bytes: docs/online.md has the measurements behind it."""
    bits = 0 if network_alone else min(DEFAULT_TABLE_BITS, needed_table_bits(size))
    plan = OnlinePlan(table_bits=bits, seed=seed)
    if size > LARGE:
        plan = replace(plan, segment=128, replay=1)
    return replace(plan, shape=shape_for(parameters, plan.context + plan.segment))


def shape_for(parameters: int, window: int) -> ModelConfig:
    """The largest of a family, k heads wide and k layers deep, with at most so many parameters.

    Those of n-gram tables, which cost no time, are not counted. Every layer sees all of a window.
    """
    k = 1
    while transformer_parameters(k + 1) <= parameters:
        k += 1
    return ModelConfig(
        d_model=HEAD_DIM * k, n_heads=k, n_kv_heads=1, head_dim=HEAD_DIM, d_ff=4 * HEAD_DIM * k,
        windows=(window,) * k, ngram_orders=(2, 3, 4, 5), ngram_bits=14, ngram_width=16,
    )  # fmt: skip


def transformer_parameters(k: int) -> int:
    width = HEAD_DIM * k
    qkv, out, mlp = (k + 2) * HEAD_DIM * width, width * width, 8 * width * width
    return (VOCAB_SIZE + 256) * width + k * (qkv + out + mlp)
