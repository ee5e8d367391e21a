"""The exact primitives in torch: every rounding of docs/FORMAT-network.md, one function each.

Rule of the house: integer arithmetic in any order, or single binary32 operations element by
element in the order written here. Integers travel in float32 tensors where they stay below 2^24,
because float32 products of such integers are exact on every device and in every summation order.

torch's own traps, each avoided below: ``sqrt`` on float32 is not correctly rounded (float64 is),
a Python scalar divided by a tensor becomes a reciprocal and a product, CUDA does the same to
tensor / scalar, and fused forms (addcmul, lerp, add with alpha) round once instead of twice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nncodec.numerics import (
    COUNT_TOTAL,
    EXP2_COEFFICIENTS,
    EXPONENT_FLOOR,
    MASS_BITS,
    SCALE_FLOOR,
)

FLOAT32_INTEGERS = 1 << 24  # every integer of at most this size is a float32


def divide(numerator: Tensor | float, denominator: Tensor) -> Tensor:
    """Correctly rounded binary32 quotient, also for a scalar numerator."""
    if not isinstance(numerator, Tensor):
        numerator = torch.full_like(denominator, numerator)
    return numerator / denominator


def sqrt(x: Tensor) -> Tensor:
    """Correctly rounded binary32 square root: 53 bits are enough to round twice harmlessly."""
    return x.double().sqrt().float()


def quantize(x: Tensor) -> tuple[Tensor, Tensor]:
    """int8 codes over the last axis by its absmax: (..., n) -> codes (..., n), absmax (..., 1)."""
    top = x.abs().amax(-1, keepdim=True).clamp(min=SCALE_FLOOR)
    return (x * divide(127.0, top)).round(), top


def normalize(x: Tensor) -> tuple[Tensor, Tensor]:
    """RMSNorm and quantisation in one: codes q (..., n) and scale s (..., 1), x/rms(x) ~ q * s.

    The codes do not change when x is scaled, so the norm only sets the scale, and the scale
    follows from the codes: rms(q * s) = 1. The one reduction is a sum of integers.
    """
    codes, _ = quantize(x)
    squares = codes.double().square().sum(-1, keepdim=True).clamp(min=1.0)  # < 2^53: exact
    n = torch.full_like(squares, float(x.shape[-1])).float()
    return codes, sqrt(n / squares.float())


def product(a: Tensor, b: Tensor, largest: int) -> Tensor:
    """Batched integer product (..., n, k) x (..., k, m) -> (..., n, m), rounded once to float32.

    largest bounds the product of two elements. While k * largest <= 2^24 every partial sum
    is an integer that float32 holds; longer products are cut and their pieces added in float64.
    """
    depth = FLOAT32_INTEGERS // largest
    if a.shape[-1] <= depth:
        return a @ b
    pieces = zip(torch.split(a, depth, -1), torch.split(b, depth, -2), strict=True)
    return torch.stack([(x @ y).double() for x, y in pieces]).sum(0).float()


def matmul(codes: Tensor, weight: Tensor) -> Tensor:
    """int8 codes (..., in) x int8 weights (out, in) -> (..., out), rounded once to float32."""
    return product(codes, weight.T, 127 * 127)


def exp2(x: Tensor, floor: float = EXPONENT_FLOOR) -> Tensor:
    """2^x for x in [floor, 0] (lower values count as it): a cubic, then a shift of the exponent."""
    x = x.clamp(min=floor)
    whole = x.round()
    f = x - whole
    c0, c1, c2, c3 = EXP2_COEFFICIENTS
    y = f * c3
    y = y + c2
    y = y * f
    y = y + c1
    y = y * f
    y = y + c0
    power = (whole.to(torch.int32) + 127).bitwise_left_shift(23).view(torch.float32)
    return y * power


def counts_from_logits(z: Tensor) -> Tensor:
    """Base-2 logits (..., 256) float32 -> int64 counts (..., 256), each >= 1, sum exactly 2^24.

    The masses are rounded to integers, scaled by one truncated reciprocal, and what truncation
    leaves goes to the most probable symbol (the lowest of equals).
    """
    p = exp2(z - z.amax(-1, keepdim=True))
    mass = (p * float(1 << MASS_BITS)).round().long()
    total = mass.sum(-1, keepdim=True)
    share = torch.div(
        torch.full_like(total, (COUNT_TOTAL - 256) << 32), total, rounding_mode="floor"
    )
    counts = 1 + ((mass * share) >> 32)
    rest = COUNT_TOTAL - counts.sum(-1, keepdim=True)
    symbols = torch.arange(256, device=z.device)
    best = (mass * 256 + (255 - symbols)).argmax(-1, keepdim=True)  # unique: ties are broken
    return counts.scatter_add(-1, best, rest)
