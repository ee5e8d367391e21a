"""``nncodec sweep plot``: bits a byte against size, data and compute, and the optimal size.

Blue-black lines by group and grey bands of the law's interval. A study that has too few points for
a law is drawn all the same, without it: one wants to see it while it is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nncodec.errors import SweepError
from nncodec.figures import pyplot, save
from nncodec.sweep.laws import INTERVAL, Fit, fit_law
from nncodec.sweep.optimum import DATA, SIZE, counted_size, straight_line
from nncodec.sweep.report import grid_of
from nncodec.sweep.results import read_results
from nncodec.sweep.series import COMPUTE, Measured, columns, of_role, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {
    SIZE: "parameters",
    DATA: "bytes seen in training",
    COMPUTE: "training FLOPs",
}
MEASURED = {
    "held_out": "held out, bits per byte",
    "network": "network alone, bits per byte",
    "archive": "archive, bits per byte",
}
MARKERS = {"fit": "o", "check": "*", "other": "x"}
FILE_SIZES = np.geomspace(1e5, 1e11, 61)


def plot_results(
    path: Path, out: Path, measure: str, size: str, resamples: int, warn: Callable[[str], None]
) -> list[Path]:
    """Write the figures to the folder ``out``; returns their paths. Raises NNCodecError.

    ``warn`` is told, once, what has too few points for its law.
    """
    plt = pyplot()
    points = series(read_results(path), measure, size=size)
    fitted = of_role(points, "fit")
    values, bits = columns(fitted)
    lacking: list[str] = []

    def law(*names: str) -> Fit | None:
        try:
            return fit_law({name: values[name] for name in names}, bits, resamples)
        except SweepError as error:
            lacking.append(f"{error}")
            return None

    fit, compute = law(SIZE, DATA), law(COMPUTE)
    if lacking:
        warn(f"drawn without a law: {'; '.join(dict.fromkeys(lacking))}")
    out.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []

    def draw(name: str, paint: Any, *arguments: Any) -> None:
        figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
        paint(axes, *arguments)
        written.extend(save(figure, out / f"{measure}_{name}"))
        plt.close(figure)

    for name, variable, other in (("size", SIZE, DATA), ("data", DATA, SIZE)):
        if variable in fit.law.names if fit else varies(points, variable):
            draw(name, against, points, fit, variable, other, measure)
    draw("compute", against, points, compute, COMPUTE, None, measure)
    if fit and SIZE in fit.law.names:
        draw("optimum", optimum, fit, np.array([p.model_bytes for p in fitted]))
    return written


def varies(points: Sequence[Measured], variable: str) -> bool:
    return len({point.variables[variable] for point in points}) > 1


def against(
    axes: Axes,
    points: Sequence[Measured],
    fit: Fit | None,
    variable: str,
    other: str | None,
    measure: str,
) -> None:
    """Points and law over one variable, a colour for each of three values of the other."""
    chosen = levels(points, other)
    grid = grid_of(np.array([p.variables[variable] for p in points]), reach=1.5)
    for number, level in enumerate(chosen):
        color = f"C{number}"
        if fit is None:
            if other is not None:  # a patch in the legend, in place of the law's line
                axes.fill_between([], [], color=color, label=f"{level:.3g} {LABELS[other]}")
            continue
        at: dict[str, Any] = {variable: grid}
        label = "law"
        if other is not None and other in fit.law.names:
            at[other] = level
            label = f"law at {level:.3g} {LABELS[other]}"
        low, high = fit.interval(at)
        axes.fill_between(grid, low, high, color=color, alpha=0.15, linewidth=0)
        axes.plot(grid, fit.law(at), color=color, linewidth=1.2, label=label)
    for role, marker in MARKERS.items():
        group = of_role(points, role)
        if not group:
            continue
        colors = [color_of(p, other, chosen) for p in group]
        axes.scatter(
            [p.variables[variable] for p in group],
            [p.bits for p in group],
            marker=marker,
            color=colors,
            s=90 if role == "check" else 28,
            label={"fit": "fitted", "check": "predicted, then trained", "other": "not fitted"}[
                role
            ],
            zorder=3,
        )
    axes.set(xscale="log", xlabel=LABELS[variable], ylabel=MEASURED[measure])
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def levels(points: Sequence[Measured], other: str | None) -> list[float]:
    """Up to three values of the other variable, spread over those with most points; [0] without."""
    if other is None:
        return [0.0]
    found = [p.variables[other] for p in of_role(points, "fit") or points]
    most = max(map(found.count, found))
    usual = sorted({value for value in found if found.count(value) == most})
    if len(usual) < 3:
        return sorted(sorted(set(found), key=lambda v: (-found.count(v), v))[:3])
    return [usual[0], usual[len(usual) // 2], usual[-1]]


def color_of(point: Measured, other: str | None, chosen: Sequence[float]) -> str:
    if other is None:
        return "C0"
    value = point.variables[other]
    return f"C{list(chosen).index(value)}" if value in chosen else "0.6"


def optimum(axes: Axes, fit: Fit, model_bytes: Any) -> None:
    """The size at which file and model together are least, against the file's size."""
    slope = straight_line(fit.variables[SIZE], model_bytes).slope
    best = [counted_size(fit.law, n, slope) for n in FILE_SIZES]
    drawn = [[counted_size(law, n, slope) for n in FILE_SIZES] for law in fit.resampled]
    low, high = np.percentile(drawn, INTERVAL, axis=0)
    axes.fill_between(FILE_SIZES, low, high, color="C0", alpha=0.15, linewidth=0)
    axes.plot(FILE_SIZES, best, color="C0", label="model's bytes counted")
    least, most = fit.variables[SIZE].min(), fit.variables[SIZE].max()
    axes.axhspan(least, most, color="0.9", zorder=0, label="sizes measured")
    axes.set(
        xscale="log", yscale="log", xlabel="bytes of the file", ylabel="best number of parameters"
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
