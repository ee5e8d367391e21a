"""What the metadata of a file of quantised tensors says: ``nncodec.quantization``, as JSON.

    {"version": 1, "tensors": {NAME: {"format": ..., "dtype": ..., ...}}}

The tensor NAME then holds indices, in the original's shape (int4 that is packed: two a byte), and
its record says how they become values of ``dtype``:

    uniform   value = k * step (or times its row's scale); k moves outward by points[|k| - 1]
    trellis   value = level * step (or scale), the level by nncodec/lossy/trellis.py; it moves
              outward by points[0], points[1] for |k| = 1, 2 under quantiser 0, points[2], points[3]
              under quantiser 1
    int8      value = k * step, or times its row's scale
    int4, nf4 value = k, or the k-th number of the table NF4, times the scale of its group of
              ``group`` elements of a row
    quantile  value = codebook[k]

``scales`` and ``codebook`` name tensors of float32 or float16 beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from nncodec.errors import ContainerFormatError
from nncodec.lossy.store import FLOATS
from nncodec.lossy.trellis import CODES

KEY = "nncodec.quantization"
VERSION = 1
FORMATS = ("uniform", "trellis", "int8", "int4", "nf4", "quantile")
MOST_POINTS = 4
GROUPS = (32, 64, 128)
TINY, HUGE = (float(n) for n in (np.finfo(np.float32).tiny, np.finfo(np.float32).max))


@dataclass(frozen=True)
class Record:
    """How one tensor was quantised. ``step`` is a float32; 0 means that ``scales`` are meant."""

    format: str
    dtype: str
    step: float = 0.0
    scales: str = ""
    states: int = 0
    points: tuple[float, ...] = ()
    group: int = 0
    codebook: str = ""
    shape: tuple[int, ...] = ()  # of int4 that is packed

    def to_dict(self) -> dict[str, Any]:
        """Without what is as it is by default."""
        plain = {f.name: f.default for f in fields(self)}
        return {k: v for k, v in asdict(self).items() if v != plain[k]}

    @property
    def helpers(self) -> tuple[str, ...]:
        """Names of the tensors that belong to this one."""
        return tuple(name for name in (self.scales, self.codebook) if name)


def pack(records: Mapping[str, Record]) -> dict[str, str]:
    """The entry of ``__metadata__``, to be merged into it."""
    tensors = {name: record.to_dict() for name, record in records.items()}
    return {KEY: json.dumps({"version": VERSION, "tensors": tensors}, separators=(",", ":"))}


def unpack(metadata: Mapping[str, str]) -> dict[str, Record]:
    """Inverse of ``pack``; empty for metadata without the key.

    Raises ContainerFormatError for whatever ``pack`` does not write.
    """
    if KEY not in metadata:
        return {}
    try:
        whole = json.loads(metadata[KEY])
    except (ValueError, RecursionError) as error:
        raise broken(f"it is not JSON ({error})") from None
    if not isinstance(whole, dict) or whole.get("version") != VERSION:
        raise broken(f"it is not of version {VERSION}, which is all that this release reads")
    tensors = whole.get("tensors")
    if not isinstance(tensors, dict):
        raise broken("it describes no tensors")
    return {name: _record(name, entry) for name, entry in tensors.items()}


def broken(what: str) -> ContainerFormatError:
    return ContainerFormatError(f"metadata {KEY}: {what}; quantise the original again")


def _record(name: str, entry: object) -> Record:
    if not isinstance(entry, dict) or not entry.keys() <= {f.name for f in fields(Record)}:
        raise broken(f"{name!r} is not described by an object with known keys")
    if entry.get("format") not in FORMATS or entry.get("dtype") not in FLOATS:
        raise broken(f"{name!r} has no known format and dtype")
    for key in ("scales", "codebook"):
        if not isinstance(entry.get(key, ""), str):
            raise broken(f"{name!r}: {key} is no name")
    step = entry.get("step", 0.0)
    if type(step) not in (int, float) or not (step == 0 or TINY <= step <= HUGE):
        raise broken(f"{name!r}: the step {step!r:.40} is no positive float32")
    states, group = entry.get("states", 0), entry.get("group", 0)
    if type(states) is not int or states not in (CODES if entry["format"] == "trellis" else (0,)):
        raise broken(f"{name!r}: no trellis has {states!r} states")
    if type(group) is not int or group not in (GROUPS if grouped(entry["format"]) else (0,)):
        raise broken(f"{name!r}: groups of {group!r} elements are not known")
    points = _numbers(name, entry.get("points", []), (int, float), MOST_POINTS)
    if not all(math.isfinite(p) and abs(p) <= 2 for p in points):
        raise broken(f"{name!r}: points further than two steps away")
    if entry["format"] == "trellis" and len(points) not in (0, MOST_POINTS):
        raise broken(f"{name!r}: a trellis has {MOST_POINTS} points or none")
    shape = _numbers(name, entry.get("shape", []), (int,), 32)
    if not all(0 <= n < 1 << 48 for n in shape) or (shape and entry["format"] != "int4"):
        raise broken(f"{name!r}: the shape {list(shape)} cannot be packed")
    if entry["format"] in ("uniform", "trellis", "int8"):
        one_of = (step > 0) != bool(entry.get("scales"))
    else:
        one_of = bool(entry.get("codebook" if entry["format"] == "quantile" else "scales"))
    if not one_of:
        raise broken(f"{name!r}: it takes a step, or else scales or a codebook")
    return Record(**{**entry, "step": float(step), "points": points, "shape": shape})


def grouped(format_: str) -> bool:
    return format_ in ("int4", "nf4")


def _numbers(name: str, value: object, types: tuple[type, ...], most: int) -> tuple[Any, ...]:
    if not isinstance(value, list) or len(value) > most or any(type(n) not in types for n in value):
        raise broken(f"{name!r}: {value!r:.60} are not up to {most} numbers")
    return tuple(value)
