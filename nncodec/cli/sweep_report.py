"""A report of ``nncodec sweep fit``, printed: laws, residuals, checks, sizes; or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nncodec.cli.commands import show_table
from nncodec.sweep.report import Report


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
