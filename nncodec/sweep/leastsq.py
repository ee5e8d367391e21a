"""Robust least squares for a handful of parameters: Levenberg-Marquardt with Huber's weights.

Written out because the package depends on numpy and not on scipy, and because the problem is
tiny: five parameters, analytic derivatives. Damping as in Marquardt (1963), the diagonal of the
normal matrix scaled; weights as in Huber (1964), renewed until they settle.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# (p,) parameters -> (n,) values and their (n, p) derivatives
Model = Callable[[Floats], tuple[Floats, Floats]]

HUBER = 1.345  # standard deviations: 95 % as good as squares where errors are normal
MAD_TO_SD = 1.4826  # median absolute deviation to standard deviation, of a normal distribution
LEAST_SCALE = 1e-7  # of residuals: exact data must not divide by zero
REWEIGHTINGS, STEPS = 12, 120


def solve(
    model: Model, target: Floats, start: Floats, low: Floats, high: Floats
) -> tuple[Floats, float]:
    """Parameters (p,) within ``low`` and ``high``, and Huber's loss at them, from one start.

    The loss is that of the scale at which it settled; compare starts by ``huber_loss``.
    """
    parameters, weights = start, np.ones_like(target)
    for _ in range(REWEIGHTINGS):
        parameters = squares(model, target, weights, parameters, low, high)
        renewed = huber_weights(target - model(parameters)[0])
        if np.allclose(renewed, weights, atol=1e-3):
            break
        weights = renewed
    residuals = target - model(parameters)[0]
    return parameters, huber_loss(residuals, scale_of(residuals))


def squares(
    model: Model, target: Floats, weights: Floats, start: Floats, low: Floats, high: Floats
) -> Floats:
    """Minimise the weighted sum of squares by Levenberg-Marquardt, steps cut at the bounds."""
    parameters, damping = np.clip(start, low, high), 1e-3
    values, slopes = model(parameters)
    loss = float(weights @ (target - values) ** 2)
    for _ in range(STEPS):
        normal = slopes.T @ (slopes * weights[:, None])
        gradient = slopes.T @ (weights * (target - values))
        damped = normal + damping * np.diag(np.diag(normal) + 1e-12)
        tried = np.clip(parameters + np.linalg.solve(damped, gradient), low, high)
        values_tried, slopes_tried = model(tried)
        loss_tried = float(weights @ (target - values_tried) ** 2)
        if loss_tried < loss:
            settled = loss - loss_tried < 1e-12 * loss
            parameters, values, slopes, loss = tried, values_tried, slopes_tried, loss_tried
            damping = max(damping / 5, 1e-12)
            if settled:
                break
        else:
            damping *= 4
            if damping > 1e12:
                break
    return parameters


def scale_of(residuals: Floats) -> float:
    """A standard deviation that outliers do not move."""
    return max(MAD_TO_SD * float(np.median(np.abs(residuals))), LEAST_SCALE)


def huber_weights(residuals: Floats) -> Floats:
    """1 for what is near, falling with the distance for outliers: (n,)."""
    bound = HUBER * scale_of(residuals)
    return np.minimum(1.0, bound / np.maximum(np.abs(residuals), bound))


def huber_loss(residuals: Floats, scale: float) -> float:
    """Half squares up to ``HUBER`` scales, straight lines from there."""
    bound, size = HUBER * scale, np.abs(residuals)
    return float(np.where(size <= bound, size**2 / 2, bound * (size - bound / 2)).sum())
