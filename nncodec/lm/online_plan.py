"""How a file is coded by a network that learns as it goes: free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from nncodec.blocks import DEFAULT_TABLE_BITS, needed_table_bits
from nncodec.config import ModelConfig

HEAD_DIM = 64
LEAST_PARAMETERS, MOST_PARAMETERS = 10_000, 100_000_000  # of the Transformer, tables not counted
LARGE = 1 << 18  # bytes; beyond, a step is longer and fewer old windows are learnt again


@dataclass(frozen=True)
class OnlinePlan:
    """One run. A decoder has to know all of it and the file's size, as it has to know the program."""

    shape: ModelConfig = field(default_factory=ModelConfig)
    streams: int = 1  # contiguous parts of the file that are coded side by side
    segment: int = 64  # bytes of each stream that the same weights predict
    context: int = 64  # bytes before them that a window begins with
    replay: int = 2  # old windows that are learnt once more in every step
    context_weight: float = 0.5  # of bytes that were new a step ago, beside 1 for those that are
    replay_weight: float = 0.25
    muon_lr: float = 0.01
    adam_lr: float = 0.01
    weight_decay: float = 0.01
    warmup_steps: int = 50
    table_bits: int = 0  # of the context mixer beside the network; 0: none
    seed: int = 0

    def rate(self, step: int) -> float:
        """The learning rates' factor: there is no decay, for there is always more to learn."""
        return min(1.0, (step + 1) / max(1, self.warmup_steps))


def plan_for(
    size: int, seed: int = 0, parameters: int = 0, network_alone: bool = False
) -> OnlinePlan:
    """The plan for a file of ``size`` bytes, and a Transformer of about so many parameters.

    docs/online.md has the measurements behind it.
    """
    bits = 0 if network_alone else min(DEFAULT_TABLE_BITS, needed_table_bits(size))
    plan = OnlinePlan(table_bits=bits, seed=seed)
    if size > LARGE:
        plan = replace(plan, segment=128, replay=1)
    return replace(plan, shape=shape_for(parameters or 430_000, plan.context + plan.segment))


def shape_for(parameters: int, window: int) -> ModelConfig:
    """Layers of head dimension 64 that see the whole window, twice as wide as deep in heads."""
    heads = layers = 1
    while True:
        wider = (heads + 1, max(1, round((heads + 1) * 1.0)))
        if count(*wider) > parameters:
            break
        heads, layers = wider
    width = HEAD_DIM * heads
    return ModelConfig(
        d_model=width, n_heads=heads, n_kv_heads=1, head_dim=HEAD_DIM, d_ff=4 * width,
        windows=(window,) * layers, ngram_orders=(2, 3, 4, 5), ngram_bits=14, ngram_width=16,
    )  # fmt: skip


def count(heads: int, layers: int) -> int:
    width = HEAD_DIM * heads
    block = width * (2 * width + 2 * HEAD_DIM + 8 * width)
    return 513 * width + layers * block
