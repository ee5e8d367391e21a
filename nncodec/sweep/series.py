"""From rows to what is fitted: one value for each point, with its size, data and compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nncodec.errors import SweepError
from nncodec.sweep.config import PRECISIONS
from nncodec.sweep.leastsq import Floats
from nncodec.sweep.optimum import DATA, SIZE

COMPUTE = "C"
MEASURES = ("held_out", "network", "archive")
SIZES = ("parameters", "matrix_parameters")
Row = Mapping[str, str]


@dataclass(frozen=True)
class Measured:
    """One point: bits a byte, and what the law calls N, D and C."""

    point: str
    target: str
    shape: str
    role: str
    size: float
    data: float
    flops: float
    model_bytes: float
    bits: float

    @property
    def variables(self) -> dict[str, float]:
        return {SIZE: self.size, DATA: self.data, COMPUTE: self.flops}


def series(
    rows: Sequence[Row],
    measure: str,
    precision: str = "int8",
    file: str | None = None,
    size: str = "parameters",
) -> list[Measured]:
    """One value a point: held-out bits a byte, or those of all files together (or of ``file``).

    Points that lack a file, as one in the making does, are left out. Raises SweepError for names
    that are not known and for a table without what is asked for.
    """
    check("measure", measure, MEASURES)
    check("precision", precision, PRECISIONS)
    check("size", size, SIZES)
    if measure == "archive" and precision != "int8":
        raise SweepError("archives are made by the int8 engine; leave out the precision")
    names = {row["file"] for row in rows}
    if file is not None and file not in names:
        raise SweepError(f"no file {file!r} in the table; it has {', '.join(sorted(names))}")
    wanted = {file} if file else names
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        if row["precision"] == precision and row["file"] in wanted:
            grouped.setdefault(row["point"], []).append(row)
    try:
        found = [
            measured(group, measure, size)
            for group in grouped.values()
            if {row["file"] for row in group} == wanted
        ]
    except ValueError as error:
        raise SweepError(f"the table has a cell that is no number: {error}") from error
    if not found:
        raise SweepError(f"no point was measured on {', '.join(sorted(wanted))} at {precision}")
    return found


def check(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise SweepError(f"{what} {name!r}: give one of {', '.join(known)}")


def measured(group: Sequence[Row], measure: str, size: str) -> Measured:
    first = group[0]
    if measure == "held_out":
        bits = float(first["held_out_bpb"])
    else:
        coded = sum(float(row[f"{measure}_bytes"]) for row in group)
        bits = 8 * coded / sum(float(row["file_bytes"]) for row in group)
    return Measured(
        point=first["point"],
        target=first["target"],
        shape=first["shape"],
        role=first["role"],
        size=float(first[size]),
        data=float(first["bytes_seen"]),
        flops=float(first["training_flops"]),
        model_bytes=float(first["model_bytes"]),
        bits=bits,
    )


def of_role(points: Sequence[Measured], role: str) -> list[Measured]:
    return [point for point in points if point.role == role]


def columns(points: Sequence[Measured]) -> tuple[dict[str, Floats], Floats]:
    """Arrays of N, D and C, and of bits."""
    names = (SIZE, DATA, COMPUTE)
    values = {name: np.array([p.variables[name] for p in points]) for name in names}
    return values, np.array([p.bits for p in points])
