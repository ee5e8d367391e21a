"""Tensors as numpy holds them, from safetensors files, folders of them and archives, and back."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nncodec import api
from nncodec.engine_weights import WEIGHTS_FILE
from nncodec.errors import ContainerFormatError, QuantizationError
from nncodec.files import write_atomically
from nncodec.tensors import safetensors as headers

SUFFIX = ".safetensors"
ARCHIVE = ".nnc"
# What numpy holds a dtype of safetensors in; bfloat16 and the small floats as their bits.
HOLDERS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "F8_E4M3": "u1", "F8_E5M2": "u1",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
}  # fmt: skip
FLOATS = ("F64", "F32", "F16", "BF16")  # that are quantised
OF_NUMPY = {np.dtype(v): k for k, v in HOLDERS.items() if k not in ("BF16", "F8_E4M3", "F8_E5M2")}


@dataclass(frozen=True)
class Tensor:
    """``dtype`` is safetensors' name; ``data`` has the tensor's shape and ``HOLDERS[dtype]``."""

    dtype: str
    data: npt.NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def is_float(self) -> bool:
        return self.dtype in FLOATS

    def floats(self) -> npt.NDArray[np.float32]:
        """The values of a float tensor as float32; raises QuantizationError for another dtype."""
        if self.dtype == "BF16":
            return (self.data.astype(np.uint32) << 16).view(np.float32)
        if not self.is_float:
            raise QuantizationError(f"a tensor of {self.dtype} is not one of {', '.join(FLOATS)}")
        with np.errstate(over="ignore"):
            return self.data.astype(np.float32)


def from_numpy(array: npt.ArrayLike) -> Tensor:
    """Raises QuantizationError for a dtype that safetensors lacks, such as complex numbers."""
    data = np.asarray(array)
    if data.dtype.newbyteorder("<") not in OF_NUMPY:
        raise QuantizationError(f"tensors of {data.dtype} are not known: convert them to float32")
    return Tensor(OF_NUMPY[data.dtype.newbyteorder("<")], data)


def from_floats(values: npt.NDArray[np.float32], dtype: str) -> Tensor:
    """Float32 rounded to ``dtype``, to the nearest, ties to even."""
    if dtype == "BF16":
        bits = values.view(np.uint32)
        rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
        return Tensor(dtype, np.where(np.isnan(values), bits >> 16 | 64, rounded).astype(np.uint16))
    if dtype not in FLOATS:
        raise QuantizationError(f"{dtype} is not one of {', '.join(FLOATS)}")
    with np.errstate(over="ignore"):
        return Tensor(dtype, values.astype(HOLDERS[dtype]))


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and what a header says beside them."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]


def parse(data: bytes | memoryview) -> Checkpoint:
    """A safetensors file's content; raises ContainerFormatError if it is none, or at fault."""
    view = memoryview(data)
    if not headers.looks_like(view):
        raise ContainerFormatError("not a safetensors file: convert it to one first")
    spans = headers.read(view)
    (size,) = struct.unpack_from("<Q", view)
    header = json.loads(bytes(view[8 : 8 + size]))
    tensors = {
        span.name: _shaped(span.name, span.dtype.name, span.shape, view[span.begin : span.end])
        for span in spans
    }
    for name, entry in header.items():
        if name == "__metadata__" or name in tensors:
            continue
        dtype, shape = entry["dtype"], entry["shape"]
        if dtype not in HOLDERS:
            raise ContainerFormatError(f"{name!r} has the dtype {dtype}, which is not known here")
        tensors[name] = _shaped(name, dtype, shape, view[:0])  # no span: it has no elements
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ContainerFormatError("safetensors header: __metadata__ is not text by name")
    ordered = {name: tensors[name] for name in header if name != "__metadata__"}
    return Checkpoint(ordered, metadata)


def _shaped(name: str, dtype: str, shape: Sequence[int], data: memoryview) -> Tensor:
    try:
        return Tensor(dtype, np.frombuffer(data, HOLDERS[dtype]).reshape(shape))
    except ValueError:  # more axes than numpy has, or an endless one beside one of length zero
        raise ContainerFormatError(f"{name!r} has a shape that no array can have") from None


def serialize(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file: wide dtypes first, so that all are aligned, else in the order given."""
    order = sorted(tensors.items(), key=lambda entry: -np.dtype(HOLDERS[entry[1].dtype]).itemsize)
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    parts, end = [], 0
    for name, tensor in order:
        part = np.asarray(tensor.data, HOLDERS[tensor.dtype]).tobytes()
        offsets = [end, end + len(part)]
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": offsets}
        parts.append(part)
        end += len(part)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *parts])


def read(path: Path) -> Checkpoint:
    """A safetensors file, its archive, or all safetensors files of a folder but our engine's.

    Raises ContainerFormatError, the errors of archives, and OSError.
    """
    if not path.is_dir():
        return parse(read_bytes(path))
    parts = sorted(part for part in path.glob(f"*{SUFFIX}") if part.name != WEIGHTS_FILE)
    if not parts:
        raise ContainerFormatError(f"the folder {path} holds no file *{SUFFIX}")
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for part in parts:
        found = parse(part.read_bytes())
        if both := tensors.keys() & found.tensors.keys():
            raise ContainerFormatError(
                f"{min(both)!r} is in two files of {path}: remove one of them"
            )
        tensors.update(found.tensors)
        metadata.update(found.metadata)
    return Checkpoint(tensors, metadata)


def read_bytes(path: Path) -> bytes:
    """A file's bytes; an archive's content."""
    data = path.read_bytes()
    return api.decompress(data) if path.suffix == ARCHIVE else data


def encode(path: Path, checkpoint: Checkpoint, level: int, threads: int | None = None) -> bytes:
    """The bytes of a safetensors file, or for a path ``*.nnc`` of its archive."""
    data = serialize(checkpoint.tensors, checkpoint.metadata)
    return api.compress(data, level, threads=threads) if path.suffix == ARCHIVE else data


def write(path: Path, checkpoint: Checkpoint, level: int, threads: int | None = None) -> int:
    """``encode`` into a file, which appears only when it is complete; returns its bytes."""
    data = encode(path, checkpoint, level, threads)
    write_atomically(path, data)
    return len(data)
