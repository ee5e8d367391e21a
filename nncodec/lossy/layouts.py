"""Folders that compressed-tensors wrote (what vLLM reads), as floats.

Layouts ``int-quantized`` (weight: int8, weight_scale, weight_zero_point) and ``pack-quantized``
(weight_packed: int32, weight_scale, weight_shape, weight_zero_point packed along the rows,
weight_g_idx). Source: github.com/vllm-project/compressed-tensors, compressors/naive_quantized and
compressors/pack_quantized of version 0.20. Scales are of a tensor, a row or a group of columns;
blocks are not read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nncodec.errors import ContainerFormatError
from nncodec.lossy import lowrank
from nncodec.lossy.dequantize import plain
from nncodec.lossy.store import Checkpoint, Tensor, from_floats, read

CONFIG = "config.json"
LAYOUTS = ("int-quantized", "pack-quantized", "naive-quantized")
PARTS = (
    "weight",
    "weight_packed",
    "weight_scale",
    "weight_shape",
    "weight_zero_point",
    "weight_g_idx",
)
WORD = 32  # bits
MOST_BITS = 8
Matrix = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int32]


def read_floats(path: Path) -> Checkpoint:
    """Tensors from a safetensors file, its archive or a folder: floats, ours or theirs.

    What is quantised is dequantised, what is stored as factors is multiplied.

    Raises ContainerFormatError for what contradicts itself or is of a layout not known here.
    """
    config = quantization_config(path)
    if config is None:
        return lowrank.restore(plain(read(path)))
    return Checkpoint(dequantize_layout(read(path).tensors, config), {})


def quantization_config(path: Path) -> dict[str, Any] | None:
    """What a folder's config.json says of compressed-tensors; None if nothing.

    Raises ContainerFormatError for another method's or a layout that is not in ``LAYOUTS``.
    """
    file = path / CONFIG
    if not file.is_file():
        return None
    try:
        whole = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ContainerFormatError(f"{file} is not JSON ({error}): get another copy") from None
    config = whole.get("quantization_config") if isinstance(whole, dict) else None
    if config is None:
        return None
    method = config.get("quant_method") if isinstance(config, dict) else None
    if method != "compressed-tensors":
        raise ContainerFormatError(
            f"{file}: quantised by {method!r}, only compressed-tensors is read"
        )
    if config.get("format") not in LAYOUTS:
        raise ContainerFormatError(
            f"{file}: the layout {config.get('format')!r} is not one of {', '.join(LAYOUTS)}"
        )
    return dict(config)


@dataclass(frozen=True)
class _Module:
    """The tensors of one linear layer."""

    name: str
    parts: Mapping[str, Tensor]

    def broken(self, what: str) -> ContainerFormatError:
        return ContainerFormatError(f"{self.name!r}: {what}; get another copy of the folder")


def dequantize_layout(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Weights for codes and scales, in the scales' dtype; other tensors as they are."""
    bits = bits_used(config)
    out: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        scaled = f"{layer}.weight_scale" in tensors
        if not scaled or part not in PARTS:
            out[name] = tensor
        elif part == "weight_scale":
            parts = {p: tensors[f"{layer}.{p}"] for p in PARTS if f"{layer}.{p}" in tensors}
            out[f"{layer}.weight"] = _weight(_Module(layer, parts), bits)
    return out


def bits_used(config: Mapping[str, Any]) -> set[int]:
    """The widths of weights in a config's groups. Raises ContainerFormatError if there are none."""
    groups = config.get("config_groups")
    found: set[int] = set()
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        bits = weights.get("num_bits") if isinstance(weights, dict) else None
        kind = weights.get("type", "int") if isinstance(weights, dict) else None
        if type(bits) is int and 1 <= bits <= MOST_BITS and kind == "int":
            found.add(bits)
    if not found:
        raise ContainerFormatError(
            f"no group of the config has integer weights of 1 to {MOST_BITS} bits"
        )
    return found


def _weight(module: _Module, bits: set[int]) -> Tensor:
    scale = module.parts["weight_scale"]
    if not scale.is_float or scale.data.size == 0:
        raise module.broken("weight_scale holds no floats")
    scales = scale.floats().reshape(scale.shape or (1,))
    if "weight_packed" in module.parts:
        codes, width = _unpacked(module, bits)
        zero = module.parts.get("weight_zero_point")
        shape = (len(codes), scales.shape[-1])
        zeros = (
            None if zero is None else _unpack(module, _words(module, zero).T, width, shape[::-1]).T
        )
    else:
        stored = module.parts.get("weight")
        if stored is None or stored.dtype != "I8" or len(stored.shape) != 2:
            raise module.broken("weight is no matrix of int8")
        codes = stored.data.astype(np.int32)
        zero = module.parts.get("weight_zero_point")
        zeros = None if zero is None else _small(module, zero, scales.shape)
    groups = _groups(module, codes.shape)
    values = codes if zeros is None else codes - _spread(module, zeros, codes.shape, groups)
    product = values.astype(np.float32) * _spread(module, scales, codes.shape, groups)
    return from_floats(product, scale.dtype)


def _unpacked(module: _Module, bits: set[int]) -> tuple[Codes, int]:
    """(rows, cols) codes, and the width of one: the one of the config that fits the words."""
    stated = module.parts.get("weight_shape")
    if stated is None or stated.dtype not in ("I64", "I32") or stated.data.size != 2:
        raise module.broken("weight_shape is not two integers")
    rows, cols = (int(n) for n in stated.data.ravel())
    words = _words(module, module.parts["weight_packed"])
    fitting = [b for b in sorted(bits) if words.shape == (rows, -(-cols * b // WORD))]
    if rows < 0 or cols < 0 or len(fitting) != 1:
        raise module.broken(
            f"{words.shape} words hold no {(rows, cols)} codes of {sorted(bits)} bits"
        )
    return _unpack(module, words, fitting[0], (rows, cols)), fitting[0]


def _words(module: _Module, tensor: Tensor) -> npt.NDArray[np.uint32]:
    if tensor.dtype != "I32" or len(tensor.shape) != 2:
        raise module.broken("packed codes are no matrix of int32")
    return np.ascontiguousarray(tensor.data, "<i4").view("<u4")


def _unpack(
    module: _Module, words: npt.NDArray[np.uint32], bits: int, shape: tuple[int, int]
) -> Codes:
    """Rows of codes, the first in the lowest bits; each lies 2^(bits - 1) above its value."""
    rows, cols = shape
    if words.shape != (rows, -(-cols * bits // WORD)):
        raise module.broken(f"{words.shape} words hold no {shape} codes of {bits} bits")
    stream = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1, bitorder="little")
    each = stream[:, : cols * bits].reshape(rows, cols, bits).astype(np.int32)
    codes: Codes = (each << np.arange(bits, dtype=np.int32)).sum(axis=2, dtype=np.int32)
    return codes - (1 << bits - 1)


def _small(module: _Module, zero: Tensor, shape: tuple[int, ...]) -> Codes:
    if zero.dtype not in ("I8", "U8", "I32") or zero.data.size != math.prod(shape):
        raise module.broken("weight_zero_point does not fit weight_scale")
    return zero.data.astype(np.int32).reshape(shape)


def _groups(module: _Module, shape: tuple[int, ...]) -> npt.NDArray[np.int64] | None:
    """The group of every column, if columns were reordered by activation."""
    order = module.parts.get("weight_g_idx")
    if order is None:
        return None
    if order.dtype not in ("I32", "I64") or order.shape != (shape[1],):
        raise module.broken("weight_g_idx does not name a group for every column")
    groups: npt.NDArray[np.int64] = order.data.astype(np.int64)
    return None if groups.size and groups.min() == -1 else groups  # -1: it is not used


def _spread(
    module: _Module,
    scales: npt.NDArray[Any],
    shape: tuple[int, ...],
    groups: npt.NDArray[np.int64] | None,
) -> npt.NDArray[Any]:
    """One for each weight of (rows, cols): of the tensor, of rows, or of their groups."""
    rows, cols = shape
    if scales.size == 1:
        return scales.reshape(1, 1)
    if scales.shape == (rows,):
        return scales[:, None]
    if scales.ndim != 2 or len(scales) != rows:
        raise module.broken(f"scales of the shape {scales.shape} for {shape} weights are not known")
    count = scales.shape[1]
    if count == 1:
        return scales
    if groups is not None:
        if groups.size and not (groups.min() >= 0 and groups.max() < count):
            raise module.broken(f"weight_g_idx names groups beyond {count}")
        return scales[:, groups]
    if cols % count:
        raise module.broken(f"{cols} columns are not {count} equal groups")
    return np.repeat(scales, cols // count, axis=1)
