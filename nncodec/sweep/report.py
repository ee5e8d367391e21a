"""``nncodec sweep fit``: laws, residuals, predictions and optimal sizes, as one JSON document.

``nncodec/cli/sweep_report.py`` prints it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nncodec.errors import NNCodecError
from nncodec.sweep.laws import INTERVAL, Fit, fit_law, parameter_count
from nncodec.sweep.leastsq import Floats
from nncodec.sweep.optimum import DATA, SIZE, cost_law, not_counted, optima, straight_line
from nncodec.sweep.results import read_results, write_json
from nncodec.sweep.series import COMPUTE, Measured, columns, of_role, series

Report = dict[str, Any]


def fit_report(
    path: Path,
    measures: Sequence[str],
    precision: str,
    file: str | None,
    size: str,
    file_sizes: Sequence[int],
    flops: float,
    resamples: int,
) -> Report:
    """All that can be said of a table of results. Raises SweepError, OSError."""
    rows = read_results(path)
    laws = {}
    for measure in measures:
        of_archives = measure == "archive"
        points = series(rows, measure, "int8" if of_archives else precision, file, size)
        laws[measure] = measure_report(points, file_sizes, flops, resamples)
    return {
        "results": path.name,
        "size": size,
        "precision": precision,
        "file": file,
        "resamples": resamples,
        "interval_percentiles": list(INTERVAL),
        "laws": laws,
    }


def measure_report(
    points: Sequence[Measured], file_sizes: Sequence[int], flops: float, resamples: int
) -> Report:
    """The law in N and D, that in C, and what follows for sizes of models."""
    fitted = of_role(points, "fit")
    values, bits = columns(fitted)
    fit = fit_law({SIZE: values[SIZE], DATA: values[DATA]}, bits, resamples)
    report: Report = {
        "size_and_data": law_report(fit, fitted),
        "compute": law_report(fit_law({COMPUTE: values[COMPUTE]}, bits, resamples), fitted),
        "checks": [check_report(fit, point) for point in of_role(points, "check")],
    }
    if SIZE in fit.law.names:
        model = straight_line(values[SIZE], np.array([p.model_bytes for p in fitted]))
        data = float(values[DATA].max())
        cost = cost_law(values[SIZE], values[COMPUTE] / values[DATA])
        most = flops or float(values[COMPUTE].max())
        report["model_bytes"] = {"base": model.base, "per_parameter": model.slope}
        report["counted"] = {"bytes_seen": data, "files": optima(fit, model, file_sizes, data)}
        report["not_counted"] = not_counted(fit, data, most, cost)
    return report


def law_report(fit: Fit, points: Sequence[Measured]) -> Report:
    residuals = fit.residuals
    law = fit.law
    terms = {}
    for place, name in enumerate(law.names):
        terms[name] = {
            "amount": law.amounts[place],
            "amount_interval": bounds([drawn.amounts[place] for drawn in fit.resampled]),
            "exponent": law.exponents[place],
            "exponent_interval": bounds([drawn.exponents[place] for drawn in fit.resampled]),
        }
    spare = len(points) - parameter_count(law.names)
    return {
        "points": len(points),
        "floor": law.floor,
        "floor_interval": bounds([drawn.floor for drawn in fit.resampled]),
        "terms": terms,
        "rms_residual": float(np.sqrt((residuals**2).sum() / spare)),
        "largest_residual": float(np.abs(residuals).max()),
        "residuals": [
            {
                "point": point.point,
                "bits_per_byte": round(point.bits, 5),
                "law": round(point.bits - float(residual), 5),
                "residual": round(float(residual), 5),
            }
            for point, residual in zip(points, residuals, strict=True)
        ],
    }


def bounds(values: Sequence[float]) -> list[float]:
    low, high = np.percentile(values, INTERVAL)
    return [float(low), float(high)]


def check_report(fit: Fit, point: Measured) -> Report:
    """What the law said of a point that it has not seen, and what came of it."""
    low, high = fit.prediction(point.variables)
    predicted = float(fit.law(point.variables))
    return {
        "point": point.point,
        "shape": point.shape,
        "predicted": round(predicted, 4),
        "interval": [round(low, 4), round(high, 4)],
        "measured": round(point.bits, 4),
        "error": round(point.bits - predicted, 4),
        "within": bool(low <= point.bits <= high),
    }


def write_report(path: Path, report: Report) -> None:
    """Raises NNCodecError if the file cannot be written."""
    try:
        write_json(path, report)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise NNCodecError(f"cannot write {path}: {why}") from error


def grid_of(values: Floats, count: int = 80, reach: float = 3.0) -> Floats:
    """Places to draw a law at, evenly in logs: ``reach`` times farther than ``values`` lie."""
    low, high = float(values.min()) / reach, float(values.max()) * reach
    return np.geomspace(low, high, count)
