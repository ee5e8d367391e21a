"""One number to meet (bits a weight, bytes, SNR): the step for it, and each tensor's share.

At equal steps every tensor has the same slope of error against rate, so one step for all is best
for the plain squared error. Where an error of tensor t costs ``importance[t]`` times as much, its
step is divided by the root of that (Y. Shoham, A. Gersho, "Efficient bit allocation for an
arbitrary set of quantizers", IEEE Trans. ASSP 36, 1988, at high rate).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from nncodec import api
from nncodec.errors import QuantizationError
from nncodec.levels import MIXED_TENSORS
from nncodec.lossy.quantize import ENTROPY_CODED, Quantized, Settings, chosen, quantize
from nncodec.lossy.store import Tensor, from_numpy, serialize

TOLERANCE = 0.005  # of bits or bytes, relatively; of SNR, in twenty decibels
MOST_TRIES = 12
FINEST, COARSEST = -12.0, 4.0  # log2 of the step in standard deviations
Measure = Callable[[Quantized], float]
Coder = Callable[[bytes], int]


@dataclass(frozen=True)
class Target:
    """What to meet: one of them. ``bits`` a weight and ``size`` in bytes are of the whole archive,
    counted over all elements of the original; ``snr`` in dB is over the quantised tensors."""

    bits: float = 0.0
    size: int = 0
    snr: float = 0.0

    def __post_init__(self) -> None:
        if sum(value > 0 for value in (self.bits, self.size, self.snr)) != 1:
            raise QuantizationError("give one target: bits a weight, a size in bytes, or an SNR")


def archive_size(data: bytes) -> int:
    """Bytes of a file's archive, its tensors coded as small as they can be."""
    return len(api.compress(data, MIXED_TENSORS))


def allocate(
    tensors: Mapping[str, Tensor | npt.NDArray[np.generic]],
    settings: Settings,
    target: Target,
    *,
    importance: Mapping[str, float] | None = None,
    metadata: Mapping[str, str] | None = None,
    coder: Coder = archive_size,
) -> Quantized:
    """Quantise with the steps that meet ``target``, within half a percent.

    ``coder`` gives the bytes of a safetensors file's archive; targets of bits and bytes are first
    approached by entropies, then measured by it. Raises QuantizationError if the target is out of
    reach, or the format takes no step.
    """
    if settings.format not in ENTROPY_CODED:
        raise QuantizationError(
            f"{settings.format} has a fixed size: uniform and trellis can meet a target"
        )
    whole = {n: t if isinstance(t, Tensor) else from_numpy(t) for n, t in tensors.items()}
    matrices = chosen(whole, settings)
    count = sum(m.size for m in matrices.values())
    energy = sum(float(np.square(m, dtype=np.float64).sum()) for m in matrices.values())
    if not energy:
        raise QuantizationError("nothing to quantise: no large matrix of finite floats, not all 0")
    sigma = math.sqrt(energy / count)
    shares = step_shares(matrices, importance)

    def make(step: float) -> Quantized:
        steps = {name: step * share for name, share in shares.items()}
        return quantize(whole, replace(settings, step=step), steps=steps, metadata=metadata)

    if target.snr:
        guess = math.log2(sigma) - target.snr / 6.02 + 1.5
        return _search(make, lambda q: q.snr_db / 6.02, target.snr / 6.02, guess, sigma, 20 / 6.02)
    elements = sum(tensor.data.size for tensor in whole.values())
    total = target.size * 8 if target.size else target.bits * elements
    kept = 8 * sum(t.data.nbytes for name, t in whole.items() if name not in matrices)
    wanted = (total - kept) / count
    if wanted <= 0 and target.size and kept == 0:
        raise QuantizationError(f"{target.size} bytes are too few for {count} weights")
    guess = math.log2(sigma) - max(wanted, 0.3) + 1.5
    near = _search(make, lambda q: q.bits / count, max(wanted, 0.2), guess, sigma, 1.0)
    first = next(iter(near.records))
    start = math.log2(_step(near, first) / shares[first])

    def coded(q: Quantized) -> float:
        checkpoint = q.checkpoint
        return 8 * coder(serialize(checkpoint.tensors, checkpoint.metadata)) / count

    return _search(make, coded, total / count, start, sigma, total / count)


def step_shares(
    matrices: Mapping[str, npt.NDArray[np.float32]], importance: Mapping[str, float] | None
) -> dict[str, float]:
    """What each tensor's step is multiplied by; their weighted geometric mean is 1."""
    if importance is None:
        return dict.fromkeys(matrices, 1.0)
    logs = {}
    for name in matrices:
        value = importance.get(name, math.nan)
        if not 0 < value < math.inf:
            raise QuantizationError(
                f"{name!r} has the importance {value}: a positive number is due"
            )
        logs[name] = -0.5 * math.log(value)
    count = sum(m.size for m in matrices.values())
    mean = sum(logs[name] * m.size for name, m in matrices.items()) / count
    return {name: math.exp(log - mean) for name, log in logs.items()}


def _step(made: Quantized, name: str) -> float:
    record = made.records[name]
    if record.step:
        return record.step
    scales = made.tensors[record.scales].floats().astype(np.float64)
    return float(np.sqrt(np.square(scales).mean()))


def _search(
    make: Callable[[float], Quantized],
    measure: Measure,
    wanted: float,
    guess: float,
    sigma: float,
    unit: float,
) -> Quantized:
    """Regula falsi in log2 of the step; ``measure`` falls by about one for each doubling."""
    low = math.log2(sigma) + FINEST
    high = math.log2(sigma) + COARSEST
    at = min(max(guess, low), high)
    points: list[tuple[float, float]] = []
    for _ in range(MOST_TRIES):
        made = make(2.0**at)
        excess = measure(made) - wanted
        if abs(excess) <= TOLERANCE * unit:
            return made
        points.append((at, excess))
        above = max((p for p in points if p[1] > 0), default=None)  # coarsest that is too large
        below = min((p for p in points if p[1] < 0), default=None)
        if above and below:
            share = above[1] / (above[1] - below[1])
            at = above[0] + (below[0] - above[0]) * min(max(share, 0.05), 0.95)
        else:
            at = min(max(at + 1.1 * excess, low), high)
        if any(abs(at - before) < 1e-6 for before, _ in points):
            break
    raise QuantizationError(
        "the target is out of reach: what is kept as it is may be larger, or the step would be "
        "too fine or too coarse; change the target, or what is kept"
    )
