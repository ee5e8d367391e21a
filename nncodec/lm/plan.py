"""One training run as it was ordered: shape of batches, rates, schedule and budget."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainConfig:
    """One run. ``minutes`` or ``bytes`` is the budget; the other is 0. Rates are peak values."""

    minutes: float = 0.0
    bytes: int = 0
    batch: int = 16  # windows a step
    length: int = 512  # tokens a window
    crlf: float = 0.04  # share of windows with DOS line ends
    muon_lr: float = 0.02  # of the blocks' matrices; 0: AdamW alone
    adam_lr: float = 0.004
    weight_decay: float = 0.01
    warmup_steps: int = 50
    decay_share: float = 0.5  # last share of the budget, over which the rate falls to zero
    rounding_share: float = 0.0  # last share of the budget with int8 in the loop
    seed: int = 0
    mix: dict[str, float] | None = None  # weights of domains; None: those of data.mix_for
    stop_minutes: float = 0.0  # pause there, on the way through ``minutes``; 0: do not
    stop_bytes: int = 0  # the same on the way through ``bytes``
    save_every_s: float = 180.0
    eval_every_s: float = 900.0
    eval_windows: int = 32  # held-out windows a domain
    compile: bool = True
    start: str = ""  # SHA-256 of the weights that the model began as; "": random ones


class Budget:
    """How much of a run is done, in [0, 1], from bytes seen or seconds spent."""

    def __init__(self, config: TrainConfig) -> None:
        if (config.minutes > 0) == (config.bytes > 0):
            raise ValueError("give a budget: either minutes or bytes, and not both")
        self.config = config

    def progress(self, seconds: float, seen: int) -> float:
        if self.config.bytes:
            return min(1.0, seen / self.config.bytes)
        return min(1.0, seconds / (60 * self.config.minutes))

    def goes_on(self, seconds: float, seen: int) -> bool:
        paused = 0 < 60 * self.config.stop_minutes <= seconds
        paused = paused or 0 < self.config.stop_bytes <= seen
        return not paused and self.progress(seconds, seen) < 1.0

    def rate(self, progress: float, step: int) -> float:
        """The learning rate's factor: warm-up, plateau, linear decay ("WSD", Hu et al. 2024)."""
        warm = min(1.0, (step + 1) / max(1, self.config.warmup_steps))
        return warm * min(1.0, (1.0 - progress) / max(1e-9, self.config.decay_share))
