"""Which model size pays, for a file of n bytes.

Counted: the other side has no model, so it is sent too. The whole costs n (E + A / N^a + ...)
bits and 8 (m0 + m1 N) of model; the sum is least at N = (n A a / (8 m1)) ^ (1 / (a + 1)). This is
the two-part code of minimum description length (Rissanen 1978).

Not counted: every parameter helps, and the best is as large as data and compute allow. With a data
term in the law there is a best split of training compute C = f(N) D between size and data
(Hoffmann et al. 2022); f is the operations a byte of the models measured, a power of N.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nncodec.sweep.laws import INTERVAL, Fit, Law
from nncodec.sweep.leastsq import Floats

SIZE, DATA = "N", "D"


@dataclass(frozen=True)
class Straight:
    """``at(x) = base + slope x``."""

    base: float
    slope: float

    def at(self, x: float) -> float:
        return self.base + self.slope * x


def straight_line(x: Floats, y: Floats) -> Straight:
    """Least squares in relative errors, so that small models count as much as large ones."""
    weight = 1 / y
    design = np.stack([weight, x * weight], 1)
    base, slope = np.linalg.lstsq(design, np.ones_like(y), rcond=None)[0]
    return Straight(float(base), float(slope))


def counted_size(law: Law, file_bytes: float, bytes_a_parameter: float) -> float:
    """Parameters at which file and model together are least."""
    amount, exponent = law.term(SIZE)
    return float((file_bytes * amount * exponent / (8 * bytes_a_parameter)) ** (1 / (exponent + 1)))


def data_of(fit: Fit, data: float) -> dict[str, float]:
    return {DATA: data} if DATA in fit.law.names else {}


def counted(fit: Fit, model: Straight, file_bytes: int, data: float) -> dict[str, Any]:
    """The optimum for a file of ``file_bytes``, of models that have seen ``data`` bytes."""
    best = counted_size(fit.law, file_bytes, model.slope)
    drawn = [counted_size(law, file_bytes, model.slope) for law in fit.resampled]
    low, high = np.percentile(drawn, INTERVAL)
    bits = float(fit.law({SIZE: best, **data_of(fit, data)}))
    coded, sent = file_bytes * bits / 8, max(0.0, model.at(best))
    sizes = fit.variables[SIZE]
    return {
        "file_bytes": file_bytes,
        "parameters": round(best),
        "interval": [round(low), round(high)],
        "within_measured": bool(sizes.min() <= best <= sizes.max()),
        "bits_per_byte": round(bits, 4),
        "coded_bytes": round(coded),
        "model_bytes": round(sent),
        "total_bytes": round(coded + sent),
        "total_bits_per_byte": round(8 * (coded + sent) / file_bytes, 4),
    }


def not_counted(fit: Fit, data: float, flops: float, cost: tuple[float, float]) -> dict[str, Any]:
    """The largest size measured, and the best split of ``flops`` where the law knows of data."""
    largest = float(fit.variables[SIZE].max())
    found: dict[str, Any] = {
        "parameters": "as many as data and compute allow",
        "largest_measured": round(largest),
        "bits_per_byte": round(float(fit.law({SIZE: largest, **data_of(fit, data)})), 4),
        "limit_bits_per_byte": round(float(fit.law({SIZE: np.inf, **data_of(fit, data)})), 4),
    }
    if DATA in fit.law.names:
        best, low, high = compute_optimum(fit, flops, cost)
        found["for_compute"] = {
            "flops": flops,
            "parameters": round(best),
            "interval": [round(low), round(high)],
            "bytes_seen": round(flops / (cost[0] * best ** cost[1])),
        }
    return found


def cost_law(sizes: Floats, flops_a_byte: Floats) -> tuple[float, float]:
    """Factor and power of N that give a byte's operations."""
    power, log = np.polyfit(np.log(sizes), np.log(flops_a_byte), 1)
    return float(np.exp(log)), float(power)


def compute_optimum(
    fit: Fit, flops: float, cost: tuple[float, float]
) -> tuple[float, float, float]:
    """Size at which ``flops`` train the best model, and its interval.

    With D = C / (k N^p), A / N^a + (B / C^b) (k N^p)^b is least where its derivative is zero:
    N^(a + p b) = A a C^b / (B k^b p b).
    """

    def best(law: Law) -> float:
        (A, a), (B, b) = law.term(SIZE), law.term(DATA)
        factor, power = cost
        log = np.log(A * a) + b * np.log(flops) - np.log(B * power * b) - b * np.log(factor)
        return float(np.exp(log / (a + power * b)))

    low, high = np.percentile([best(law) for law in fit.resampled], INTERVAL)
    return best(fit.law), float(low), float(high)


def optima(
    fit: Fit, model: Straight, file_sizes: Sequence[int], data: float
) -> list[dict[str, Any]]:
    return [counted(fit, model, size, data) for size in file_sizes]
