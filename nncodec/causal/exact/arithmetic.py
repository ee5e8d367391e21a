"""The exact primitives that models over tokens need beyond ``engine/exact.py``, in torch.

The same rules: integers in any order, or single binary32 operations in the order written.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nncodec.engine.exact import divide, exp2, quantize, sqrt
from nncodec.numerics import (
    ACTIVATION_LIMIT,
    LOG2_E,
    SCALE_FLOOR,
    SQUARES_ONE,
    WIDE_COUNT_TOTAL,
    WIDE_EXPONENT_FLOOR,
    WIDE_MASS_BITS,
    WIDE_SHARE_BITS,
)


def inverse_rms(x: Tensor, eps: Tensor) -> Tensor:
    """(..., n) -> (..., 1): 1 / sqrt(mean square + epsilon); ``eps`` is n times epsilon.

    The sum of squares runs over codes of 16 bits: those of 8 are too coarse where one channel
    towers over all others.
    """
    top = x.abs().amax(-1, keepdim=True).clamp(min=SCALE_FLOOR)
    codes = (x * divide(float(SQUARES_ONE), top)).round()
    squares = codes.double().square().sum(-1, keepdim=True).float()  # < 2^53: exact, then rounded
    step = top / torch.full_like(top, float(SQUARES_ONE))
    total = squares * step
    total = total * step
    total = total + eps
    return sqrt(divide(float(x.shape[-1]), total))


def normalize_balanced(x: Tensor, balance: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
    """RMSNorm, channel by channel times ``balance``, to int8 codes (..., n) and scale (..., 1)."""
    codes, top = quantize(x * balance)
    step = top / torch.full_like(top, 127.0)
    return codes, step * inverse_rms(x, eps)


def silu(x: Tensor) -> Tensor:
    """x / (1 + e^-x): with e = 2^-|x log2 e|, x * (1 or e) / (1 + e), by the sign of x."""
    e = exp2(-(x * LOG2_E).abs())
    y = torch.where(x < 0, x * e, x)
    return y / (e + 1.0)


def clamp(x: Tensor) -> Tensor:
    return x.clamp(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)


def wide_counts(z: Tensor) -> Tensor:
    """Base-2 logits (..., n) float32 -> int64 counts (..., n), each >= 1, sum exactly 2^32.

    As ``counts_from_logits``, with masses of 30 bits.
    """
    n = z.shape[-1]
    p = exp2(z - z.amax(-1, keepdim=True), WIDE_EXPONENT_FLOOR)
    mass = (p * float(1 << WIDE_MASS_BITS)).round().long()
    total = mass.sum(-1, keepdim=True)
    whole = torch.full_like(total, (WIDE_COUNT_TOTAL - n) << WIDE_SHARE_BITS)
    share = torch.div(whole, total, rounding_mode="floor")
    counts = 1 + ((mass * share) >> WIDE_SHARE_BITS)
    rest = WIDE_COUNT_TOTAL - counts.sum(-1, keepdim=True)
    symbols = torch.arange(n, device=z.device)
    best = (mass * n + (n - 1 - symbols)).argmax(-1, keepdim=True)  # unique: ties are broken
    return counts.scatter_add(-1, best, rest)
