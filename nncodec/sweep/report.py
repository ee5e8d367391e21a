"""``nncodec sweep fit``: laws, residuals, predictions and optimal sizes, as JSON and as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nncodec.cli.commands import show_table
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


def show_report(report: Report, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=2))
        return
    low, high = report["interval_percentiles"]
    print(f"Brackets: {low:g} to {high:g} percent of {report['resamples']} resampled fits.")
    print(f"N is {report['size']}, D bytes seen, C training FLOPs; bits a byte.")
    for measure, found in report["laws"].items():
        show_measure(measure, found)


def show_measure(measure: str, found: Mapping[str, Any]) -> None:
    print(f"\n{measure}")
    for kind in ("size_and_data", "compute"):
        print(f"  {law_text(found[kind])}")
    residuals = found["size_and_data"]["residuals"]
    show_table(
        residuals,
        {
            "  point": lambda r: f"  {r['point']}",
            "bits/byte": lambda r: f"{r['bits_per_byte']:.4f}",
            "law": lambda r: f"{r['law']:.4f}",
            "residual": lambda r: f"{r['residual']:+.4f}",
        },
    )
    for check in found["checks"]:
        low, high = check["interval"]
        place = "inside" if check["within"] else "outside"
        print(
            f"  predicted {check['point']}: {check['predicted']:.4f} [{low:.4f}, {high:.4f}], "
            f"measured {check['measured']:.4f}: {place}, off by {check['error']:+.4f}"
        )
    if "not_counted" in found:
        show_optima(found)


def law_text(law: Mapping[str, Any]) -> str:
    text = f"{span(law['floor'], law['floor_interval'])}"
    for name, term in law["terms"].items():
        text += f" + {term['amount']:.4g} / {name}^"
        text += span(term["exponent"], term["exponent_interval"])
    return (
        f"{text}; {law['points']} points, residuals {law['rms_residual']:.4f} rms, "
        f"{law['largest_residual']:.4f} at most"
    )


def span(value: float, interval: Sequence[float]) -> str:
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def show_optima(found: Mapping[str, Any]) -> None:
    if files := found["counted"]["files"]:
        print("  the model's bytes counted:")
        show_table(
            files,
            {
                "  file bytes": lambda r: f"  {r['file_bytes']}",
                "best N": lambda r: f"{r['parameters']}",
                "interval": lambda r: f"{r['interval'][0]} to {r['interval'][1]}",
                "coded": lambda r: f"{r['coded_bytes']}",
                "model": lambda r: f"{r['model_bytes']}",
                "bits/byte in all": lambda r: f"{r['total_bits_per_byte']:.4f}",
                "": lambda r: "" if r["within_measured"] else "beyond what was measured",
            },
        )
    free = found["not_counted"]
    print(
        f"  not counted: {free['parameters']}; {free['largest_measured']}, the largest measured, "
        f"{free['bits_per_byte']:.4f}; without limit of size {free['limit_bits_per_byte']:.4f}"
    )
    if best := free.get("for_compute"):
        low, high = best["interval"]
        print(
            f"  of {best['flops']:.3g} training FLOPs: N = {best['parameters']} [{low}, {high}], "
            f"{best['bytes_seen']} bytes seen"
        )


def grid_of(values: Floats, count: int = 80, reach: float = 3.0) -> Floats:
    """Places to draw a law at, evenly in logs: ``reach`` times farther than ``values`` lie."""
    low, high = float(values.min()) / reach, float(values.max()) * reach
    return np.geomspace(low, high, count)
