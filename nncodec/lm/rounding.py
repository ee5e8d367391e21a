"""Rounding in the loop: int8 wherever the engine has it, while gradients pass straight through.

Straight-through estimation (Bengio, Léonard and Courville 2013; Jacob et al., "Quantization and
Training of Neural Networks", 2018). With ``set_rounding(model, True)`` matrices, embedding rows,
tables and activations are rounded where ``nncodec/engine/reference.py`` has codes, to as many
levels, so that the last stretch of training can mend what rounding costs. The codes are not the
engine's own: export folds the calibrated ranges of the values into a matrix first.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST = 127 * 2.0**-40  # an absmax below counts as this: the engine's least scale


def steps(x: Tensor, *dims: int) -> Tensor:
    """What one int8 code is worth, by the absmax of ``x`` over ``dims``, which stay with size 1."""
    return x.detach().abs().amax(dims, keepdim=True).clamp(min=SMALLEST) / 127


def rounded(x: Tensor, *dims: int) -> Tensor:
    """``x`` at 255 levels by its absmax over ``dims``; the gradient is that of ``x``."""
    step = steps(x, *dims)
    return x + ((x / step).round() * step - x).detach()


class Linear(nn.Linear):
    """Without bias. When ``rounding``: int8 weights per output channel, int8 inputs per token."""

    rounding = False

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(width_in, width_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.rounding:
            return F.linear(x, self.weight)
        return F.linear(rounded(x, -1), rounded(self.weight, 1))


class Embedding(nn.Embedding):
    """When ``rounding``: int8 by row."""

    rounding = False

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, rounded(self.weight, 1) if self.rounding else self.weight)


def set_rounding(model: nn.Module, on: bool) -> None:
    for module in model.modules():
        if hasattr(module, "rounding"):
            vars(module)["rounding"] = on
