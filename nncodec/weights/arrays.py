"""A tensor's bytes as an array of NumPy or a tensor of torch; no value is ever changed.

Up to the last step an element is an integer of its size, so that what is cut and strided need not
know its dtype. That step names the dtype, of which NumPy lacks some.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nncodec.errors import ContainerFormatError, UnsupportedDtypeError
from nncodec.extras import need
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.layout import shown
from nncodec.weights.index import PLAIN_DESCR, Entry

Array = npt.NDArray[Any]

# As safetensors calls them: bytes of an element, and its name in NumPy and torch alike.
NUMPY = {
    "F64": (8, "float64"), "F32": (4, "float32"), "F16": (2, "float16"), "BOOL": (1, "bool"),
    "I64": (8, "int64"), "I32": (4, "int32"), "I16": (2, "int16"), "I8": (1, "int8"),
    "U64": (8, "uint64"), "U32": (4, "uint32"), "U16": (2, "uint16"), "U8": (1, "uint8"),
    "C64": (8, "complex64"),
}  # fmt: skip
ML_DTYPES = {  # in torch, and for NumPy in the package ml_dtypes
    "BF16": (2, "bfloat16"),
    "F8_E4M3": (1, "float8_e4m3fn"), "F8_E5M2": (1, "float8_e5m2"),
    "F8_E4M3FNUZ": (1, "float8_e4m3fnuz"), "F8_E5M2FNUZ": (1, "float8_e5m2fnuz"),
    "F8_E8M0": (1, "float8_e8m0fnu"),
}  # fmt: skip
SIZED = {**NUMPY, **ML_DTYPES}
RAW = {1: "i1", 2: "i2", 4: "i4", 8: "i8", 16: "c16"}


@dataclass(frozen=True)
class Layout:
    """How an entry's elements lie: ``item`` bytes each; of ggml's blocks the bytes are elements."""

    item: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None


def layout_of(entry: Entry) -> Layout:
    """Raises UnsupportedDtypeError for a dtype that is not known, ContainerFormatError for bytes
    that are not as many as its shape needs."""
    block = Dtype[entry.dtype] if entry.dtype in Dtype.__members__ else None
    plain = PLAIN_DESCR.fullmatch(entry.dtype)
    item, shape = 1, entry.shape
    if entry.dtype in SIZED:
        item = SIZED[entry.dtype][0]
    elif plain and int(plain[1]) in RAW:
        item = int(plain[1])
    elif block and block.name.startswith("Q") and shape:  # ggml's
        shape = (*shape[:-1], block.size(shape[-1]))
    else:
        raise UnsupportedDtypeError(
            f"{shown(entry.name)} has the dtype {entry.dtype}, which has no array here: "
            "decompress the file for a library that has one"
        )
    if entry.strides is None and math.prod(shape) * item != entry.end - entry.begin:
        raise ContainerFormatError(
            f"{shown(entry.name)}: {entry.end - entry.begin} bytes are not {list(shape)} of "
            f"{entry.dtype}; the file is damaged: get another copy"
        )
    return Layout(item, shape, entry.strides)


def raw_array(data: bytearray, layout: Layout) -> Array:
    """``data`` as integers of the elements' size, in the layout's shape; nothing is copied."""
    flat = np.frombuffer(data, dtype="<" + RAW[layout.item])
    if layout.strides is None or not flat.size:
        return flat.reshape(layout.shape)
    strides = tuple(layout.item * stride for stride in layout.strides)
    return np.lib.stride_tricks.as_strided(flat, layout.shape, strides)


def to_numpy(raw: Array, dtype: str, name: str) -> Array:
    """``raw`` as what it is. Raises UnsupportedDtypeError for a dtype that NumPy lacks."""
    if dtype in NUMPY:
        return raw.view(np.dtype(NUMPY[dtype][1]).newbyteorder("<"))
    if dtype in ML_DTYPES:
        kind = ML_DTYPES[dtype][1]
        try:
            ml_dtypes = importlib.import_module("ml_dtypes")
        except ModuleNotFoundError:
            raise UnsupportedDtypeError(
                f"{shown(name)} is {kind}, which NumPy lacks: pip install ml_dtypes, or open with "
                'framework="pt" for a tensor of torch'
            ) from None
        if not hasattr(ml_dtypes, kind):
            raise UnsupportedDtypeError(
                f"{shown(name)} is {kind}, which this ml_dtypes lacks: install a newer one"
            )
        return raw.view(getattr(ml_dtypes, kind))
    return raw.view(np.dtype(dtype if PLAIN_DESCR.fullmatch(dtype) else np.uint8))


def to_torch(raw: Array, dtype: str, name: str, device: Any) -> Any:
    """``raw`` as a tensor. Raises MissingPackageError, UnsupportedDtypeError."""
    torch = need("torch", "train")
    if dtype not in SIZED:
        native = to_numpy(raw, dtype, name)
        native = native.astype(native.dtype.newbyteorder("="), copy=False)
        return torch.from_numpy(native).to(device)
    kind = getattr(torch, SIZED[dtype][1], None)
    if kind is None:
        raise UnsupportedDtypeError(
            f"{shown(name)} is {SIZED[dtype][1]}, which this torch lacks: install a newer one"
        )
    if any(stride < 0 for stride in raw.strides):
        raw = raw.copy()
    return torch.from_numpy(raw).view(kind).to(device)
