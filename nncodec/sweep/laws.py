"""Power laws of bits a byte: E + A / N^a + B / D^b in size and data, E + A / C^a in compute.

The form of Hoffmann et al., "Training Compute-Optimal Large Language Models", 2022, section 3.3:
what no model can predict, what a finite model misses, what finite data leaves unlearned. The
parameters are logarithms, so that everything is positive, and every variable is divided by its
geometric mean, which keeps the amounts and the exponents apart.

Intervals come from resampling residuals: the points of a study are chosen, not drawn, so the
design stays and the errors are drawn again, widened by sqrt(n / (n - p)) for the degrees of
freedom that the fit took.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from nncodec.errors import SweepError
from nncodec.sweep.leastsq import Floats, Model, huber_loss, scale_of, solve

EXPONENTS = (0.15, 0.4, 0.9)  # starts
FLOORS = (0.2, 0.6, 0.9)  # starts of E, as shares of the least value
BOUNDS = (0.02, 4.0)  # of exponents
LEVELS_NEEDED = 3  # different values of a variable that a term of its own can be fitted to
INTERVAL = (5.0, 95.0)  # percentiles


@dataclass(frozen=True)
class Law:
    """``E + sum amounts[i] / x_i ** exponents[i]``; ``names`` are the variables'."""

    names: tuple[str, ...]
    floor: float
    amounts: tuple[float, ...]
    exponents: tuple[float, ...]

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Bits a byte where the variables are ``values[name]``, numbers or arrays."""
        terms = zip(self.names, self.amounts, self.exponents, strict=True)
        return self.floor + sum(a * np.asarray(values[n], float) ** -x for n, a, x in terms)

    def term(self, name: str) -> tuple[float, float]:
        """Amount and exponent of one variable."""
        place = self.names.index(name)
        return self.amounts[place], self.exponents[place]


@dataclass(frozen=True)
class Fit:
    """A law, what it was fitted to, and the laws of resampled errors."""

    law: Law
    variables: Mapping[str, Floats]
    target: Floats
    resampled: tuple[Law, ...]

    @property
    def residuals(self) -> Floats:
        return np.asarray(self.target - self.law(self.variables), float)

    def interval(self, values: Mapping[str, Any]) -> tuple[Floats, Floats]:
        """Of the law's value at ``values``: what resampling leaves it in, 90 in 100."""
        drawn = np.array([law(values) for law in self.resampled])
        low, high = np.percentile(drawn, INTERVAL, axis=0)
        return low, high

    def prediction(self, values: Mapping[str, Any], seed: int = 0) -> tuple[float, float]:
        """Where a new measurement should lie, 90 in 100: the law's doubt, and a point's own."""
        spread = widened(self.residuals, parameter_count(self.law.names))
        drawn = np.array([float(law(values)) for law in self.resampled])
        noise = np.random.default_rng(seed).choice(spread, (32, len(drawn)))
        low, high = np.percentile(drawn + noise, INTERVAL)
        return float(low), float(high)


def parameter_count(names: Sequence[str]) -> int:
    return 1 + 2 * len(names)


def usable_variables(variables: Mapping[str, Floats]) -> tuple[str, ...]:
    """Those that take enough different values for a term."""
    return tuple(n for n, v in variables.items() if len(np.unique(v)) >= LEVELS_NEEDED)


def fit_law(variables: Mapping[str, Floats], target: Floats, resamples: int, seed: int = 0) -> Fit:
    """Fit a term to each variable that varies enough. Raises SweepError if there is too little."""
    names = usable_variables(variables)
    if not names:
        raise SweepError(
            f"a law needs {LEVELS_NEEDED} different values of {' or '.join(variables)}"
        )
    needed = parameter_count(names) + 1
    if len(target) < needed:
        raise SweepError(f"{len(target)} points; a law of {', '.join(names)} needs {needed}")
    picked = {name: np.asarray(variables[name], float) for name in names}
    law = best_law(picked, target, starts(picked, target))
    # A second start: where the errors drawn pull the floor elsewhere, the first may be trapped.
    near = [law, Law(names, 0.8 * float(target.min()), law.amounts, law.exponents)]
    spread = widened(target - law(picked), parameter_count(names))
    random = np.random.default_rng(seed)
    drawn = [law(picked) + random.choice(spread, len(target)) for _ in range(resamples)]
    return Fit(law, picked, target, tuple(best_law(picked, again, near) for again in drawn))


def widened(residuals: Floats, parameters: int) -> Floats:
    """Residuals as large as errors are: a fit of p parameters to n points makes them smaller."""
    n = len(residuals)
    factor = float(np.sqrt(n / max(1, n - parameters)))
    centred: Floats = residuals - residuals.mean()
    return centred * factor


def starts(variables: Mapping[str, Floats], target: Floats) -> list[Law]:
    """One law for each combination of ``EXPONENTS`` and ``FLOORS``."""
    names, least = tuple(variables), float(target.min())
    laws = []
    for share, *exponents in product(FLOORS, *[EXPONENTS] * len(names)):
        rest = max(float(np.median(target)) - share * least, 1e-3) / len(names)
        amounts = [rest * middle(variables[n]) ** x for n, x in zip(names, exponents, strict=True)]
        laws.append(Law(names, share * least, tuple(amounts), tuple(exponents)))
    return laws


def middle(values: Floats) -> float:
    """The geometric mean."""
    return float(np.exp(np.log(values).mean()))


def best_law(variables: Mapping[str, Floats], target: Floats, begin: Sequence[Law]) -> Law:
    """Of the fits from each of ``begin``, the one with the least loss at one common scale."""
    names = tuple(variables)
    middles = np.array([middle(variables[n]) for n in names])
    model = law_model([np.log(variables[n] / m) for n, m in zip(names, middles, strict=True)])
    low = np.array([-12.0] + [-12.0, np.log(BOUNDS[0])] * len(names))
    high = np.array([np.log(target.max())] + [8.0, np.log(BOUNDS[1])] * len(names))
    found = [solve(model, target, packed(law, middles), low, high)[0] for law in begin]
    residuals = [target - model(p)[0] for p in found]
    scale = min(scale_of(r) for r in residuals)
    losses = [huber_loss(r, scale) for r in residuals]
    return unpacked(names, found[int(np.argmin(losses))], middles)


def law_model(logs: Sequence[Floats]) -> Model:
    """(log E, then log amount and log exponent of each variable) -> values and derivatives."""

    def model(parameters: Floats) -> tuple[Floats, Floats]:
        floor = np.exp(parameters[0])
        values, slopes = np.full(len(logs[0]), floor), [np.full(len(logs[0]), floor)]
        for place, log in enumerate(logs):
            exponent = np.exp(parameters[2 + 2 * place])
            term = np.exp(parameters[1 + 2 * place] - exponent * log)
            values = values + term
            slopes += [term, -term * log * exponent]
        return values, np.stack(slopes, 1)

    return model


def packed(law: Law, middles: Floats) -> Floats:
    terms = zip(law.amounts, law.exponents, middles, strict=True)
    pairs = [v for a, x, m in terms for v in (np.log(max(a, 1e-12)) - x * np.log(m), np.log(x))]
    return np.array([np.log(max(law.floor, 1e-5)), *pairs])


def unpacked(names: tuple[str, ...], parameters: Floats, middles: Floats) -> Law:
    exponents = np.exp(parameters[2::2])
    amounts = np.exp(parameters[1::2]) * middles**exponents
    return Law(names, float(np.exp(parameters[0])), tuple(amounts), tuple(exponents))
