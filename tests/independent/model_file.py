"""Files of model folders: JSON objects and safetensors (FORMAT-network.md, "Model folder")."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import Rejected

Tensors = dict[str, npt.NDArray[Any]]
Shapes = dict[str, tuple[str, list[int] | None]]
"""Name to dtype and shape; None is a list of any length."""
NUMPY_TYPES = {"I8": "i1", "U8": "u1", "I32": "<i4", "F32": "<f4"}
MOST_HEADER = 2**22


def require(condition: bool, what: str) -> None:
    if not condition:
        raise Rejected(f"model: {what}")


def is_number(value: object) -> bool:
    return type(value) is int and value >= 0


def read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Rejected(f"model: {error}") from error


def read_json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise Rejected(f"model: {error}") from error
    require(isinstance(value, dict), "no JSON object")
    return dict(value)


def read_numbers(fields: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Fields of config.json that are integers, or lists of them."""
    for name in names:
        require(name in fields, f"config.json lacks {name}")
        value = fields[name]
        require(all(map(is_number, value if isinstance(value, list) else [value])), name)
    return {name: fields[name] for name in names}


def read_tensors(data: bytes, shapes: Shapes) -> Tensors:
    """engine.safetensors, of which the tensors are exactly those of `shapes`, without gaps."""
    require(len(data) >= 8, "engine.safetensors ends early")
    (size,) = struct.unpack("<Q", data[:8])
    require(size <= min(MOST_HEADER, len(data) - 8), "engine.safetensors ends early")
    header = read_json(data[8 : 8 + size])
    header.pop("__metadata__", None)
    require(header.keys() == shapes.keys(), "other tensors than those that it must have")
    values = data[8 + size :]
    tensors: Tensors = {}
    at = 0  # tensors lie one after the other, in any order
    for name, entry in sorted(header.items(), key=lambda item: span(item[1])):
        begin, end = span(entry)
        dtype, shape = shapes[name]
        numpy_type = np.dtype(NUMPY_TYPES[dtype])
        if shape is None:
            shape = [(end - begin) // numpy_type.itemsize]
        require(entry.get("dtype") == dtype, f"{name}: dtype")
        require(repr(entry.get("shape")) == repr(shape), f"{name}: shape")  # no 128.0, no true
        require(begin == at and end - begin == math.prod(shape) * numpy_type.itemsize, "offsets")
        require(end <= len(values), "engine.safetensors ends early")
        tensors[name] = np.frombuffer(values[begin:end], numpy_type).reshape(shape)
        at = end
    require(at == len(values), "engine.safetensors has bytes left over")
    check_codes(tensors)
    return tensors


def span(entry: Any) -> tuple[int, int]:
    """data_offsets."""
    require(isinstance(entry, dict), "no tensor")
    offsets = entry.get("data_offsets")
    require(isinstance(offsets, list) and len(offsets) == 2, "offsets")
    require(all(map(is_number, offsets)) and offsets[0] <= offsets[1], "offsets")
    return offsets[0], offsets[1]


def check_codes(tensors: Tensors) -> None:
    for name, tensor in tensors.items():
        require(tensor.dtype != np.int8 or not np.any(tensor == -128), f"{name}: a value of -128")
