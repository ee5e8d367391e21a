"""Where int8 codes spend their levels: factors by channel that move range from codes to weights.

SmoothQuant (Xiao et al., 2023) divides activations by a^alpha / w^(1 - alpha), a and w the largest
magnitude of a channel and of its weights, and multiplies the weights; here alpha is chosen for each
matrix by what its product loses on the calibration rows (as AWQ does, Lin et al., 2024).
"""

from __future__ import annotations

import torch
from torch import Tensor

from nncodec.lm.rounding import steps

ALPHAS = (0.3, 0.5, 0.7, 0.85)
LEAST, MOST = 2.0**-16, 2.0**3  # factors beyond would leave the engine's bounds
PAYS = 0.7  # of the loss without: gains below that are the calibration text's own
OUTPUTS = 4096  # of a matrix are looked at; more tell the same


def rounded(x: Tensor) -> Tensor:
    """Rows at 255 levels."""
    step = steps(x, -1)
    return (x / step).round() * step


def factors(top: Tensor, weights: Tensor, alpha: float) -> Tensor:
    """w^(1 - alpha) / a^alpha by channel, around 1. ``top``, ``weights``: their magnitudes."""
    logs = (1 - alpha) * weights.clamp(min=1e-9).log2() - alpha * top.clamp(min=1e-9).log2()
    return (logs - logs.median()).exp2().clamp(LEAST, MOST)


@torch.no_grad()
def choose(rows: Tensor, weight: Tensor) -> Tensor:
    """The factors (in,) by which the inputs ``rows`` (n, in) of ``weight`` (out, in) are best
    multiplied before they are rounded; the weight's columns are to be divided by them."""
    weight = weight[:: -(-len(weight) // OUTPUTS)]
    want = rows @ weight.T
    top, largest = rows.abs().amax(0), weight.abs().amax(0)

    def loss(factor: Tensor) -> float:
        got = rounded(rows * factor) @ rounded(weight / factor).T
        # Relative to each row's output: a few rows of giants must not decide for all.
        size = want.square().mean(-1, keepdim=True).clamp(min=1e-20)
        return float(((got - want).square() / size).mean())

    none = torch.ones_like(top)
    best = min((factors(top, largest, alpha) for alpha in ALPHAS), key=loss)
    return best if loss(best) < PAYS * loss(none) else none


def pair_factors(queries: Tensor, keys: Tensor) -> Tensor:
    """Factors (..., C) for queries, and to divide keys by, from their absmax by channel (..., C).

    Both channels of a rotary pair get one, because the rotation mixes them.
    """
    half = queries.shape[-1] // 2

    def by_pair(top: Tensor) -> Tensor:
        return torch.maximum(top[..., :half], top[..., half:]).clamp(min=1e-6)

    root = (by_pair(keys) / by_pair(queries)).sqrt()
    root = root / root.log().mean(-1, keepdim=True).exp()
    return torch.cat((root, root), -1).clamp(2.0**-8, 2.0**8)
