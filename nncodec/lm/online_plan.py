"""How a file is coded by a network that learns as it goes: free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field

from nncodec.blocks import DEFAULT_TABLE_BITS, needed_table_bits
from nncodec.config import ModelConfig


@dataclass(frozen=True)
class OnlinePlan:
    """One run. The decoder would have to know all of it, and the file's size: some twenty bytes."""

    shape: ModelConfig = field(default_factory=ModelConfig)
    streams: int = 4  # contiguous parts of the file that are coded side by side
    segment: int = 16  # bytes of each stream that are predicted by the same weights
    context: int = 48  # bytes before them that a window begins with
    replay: int = 4  # old windows that are learnt once more in every step
    context_weight: float = 0.5  # of bytes that were learnt a step ago, beside 1 for new ones
    replay_weight: float = 0.25
    muon_lr: float = 0.01
    adam_lr: float = 0.01
    weight_decay: float = 0.01
    warmup_steps: int = 50
    decay_steps: int = 0  # after so many the rates have fallen by the square root of 2; 0: never
    table_bits: int = DEFAULT_TABLE_BITS  # of the context mixer beside it; 0: none
    seed: int = 0

    def rate(self, step: int) -> float:
        """The learning rates' factor."""
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        return warm / (1 + step / self.decay_steps) ** 0.5 if self.decay_steps else warm


def plan_for(size: int, seed: int = 0, network_alone: bool = False) -> OnlinePlan:
    """The plan for a file of ``size`` bytes."""
    bits = 0 if network_alone else min(DEFAULT_TABLE_BITS, needed_table_bits(size))
    shape = ModelConfig(
        d_model=128, n_heads=2, n_kv_heads=1, head_dim=64, d_ff=512, windows=(64, 64),
        ngram_orders=(2, 3, 4, 5), ngram_bits=14, ngram_width=16,
    )  # fmt: skip
    return OnlinePlan(shape=shape, table_bits=bits, seed=seed)
