"""Matrices as products of two thin ones, by the singular value decomposition.

The best approximation of a rank, in squared error, is the sum of the largest singular triples
(C. Eckart, G. Young, "The approximation of one matrix by another of lower rank", Psychometrika 1,
1936). The tensor NAME becomes NAME.u (rows, rank) and NAME.v (rank, columns), each with the root of
the singular values, and ``nncodec.lowrank`` in the metadata says so:

    {"version": 1, "tensors": {NAME: {"shape": [...]}}}

Factors are tensors like any others: they can be pruned and quantised. Tensors of more than two axes
are taken as (first axis, rest). Trained dense layers are near full rank, so this pays seldom.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nncodec.errors import ContainerFormatError, QuantizationError
from nncodec.lossy import spec
from nncodec.lossy.store import FLOATS, Checkpoint, Tensor, from_floats

KEY = "nncodec.lowrank"
VERSION = 1
LEFT, RIGHT = ".u", ".v"

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class RankConfig:
    """How the rank is chosen; one of the three is given.

    ``energy``: the smallest rank whose squared singular values are that share of all, in (0, 1].
    ``rank``: this one, or all there is. ``size_fraction``: the largest rank whose factors have at
    most that share of the matrix's elements, in (0, 1). ``only``: a regular expression that a
    tensor's name has to contain.
    """

    energy: float | None = None
    rank: int | None = None
    size_fraction: float | None = None
    only: str = ""

    def __post_init__(self) -> None:
        if sum(way is not None for way in (self.energy, self.rank, self.size_fraction)) != 1:
            raise QuantizationError(
                "the rank follows from one thing: energy, rank or size fraction"
            )
        if self.energy is not None and not 0 < self.energy <= 1:
            raise QuantizationError(f"an energy of {self.energy} is not a share above 0, up to 1")
        if self.rank is not None and self.rank < 1:
            raise QuantizationError(f"a rank of {self.rank} leaves nothing: take 1 or more")
        if self.size_fraction is not None and not 0 < self.size_fraction < 1:
            raise QuantizationError(f"a size fraction of {self.size_fraction} is not in 0 to 1")
        try:
            re.compile(self.only)
        except re.error as error:
            raise QuantizationError(f"{self.only!r} is no regular expression: {error}") from None

    def of(self, singular: npt.NDArray[np.float64], rows: int, cols: int) -> int:
        """The rank for a matrix whose singular values, largest first, are given."""
        full = len(singular)
        if self.rank is not None:
            return min(self.rank, full)
        if self.size_fraction is not None:
            return min(max(int(self.size_fraction * rows * cols / (rows + cols)), 1), full)
        assert self.energy is not None
        sums = np.cumsum(np.square(singular))
        return min(int(np.searchsorted(sums, self.energy * sums[-1] * (1 - 1e-12))) + 1, full)


@dataclass(frozen=True)
class Factored:
    """What became of one matrix; ``kept`` is False where its factors would not be smaller."""

    rank: int
    full: int
    energy: float
    kept: bool


def factor(checkpoint: Checkpoint, config: RankConfig) -> tuple[Checkpoint, dict[str, Factored]]:
    """Factors instead of matrices wherever they have fewer elements, and what became of each.

    Raises QuantizationError for quantised tensors, factors of factors, and names that are taken.
    """
    if spec.KEY in checkpoint.metadata:
        raise QuantizationError("the weights are quantised: factor the original, then quantise it")
    if KEY in checkpoint.metadata:
        raise QuantizationError("the weights are factored already: take the original")
    tensors: dict[str, Tensor] = {}
    report: dict[str, Factored] = {}
    records: dict[str, Any] = {}
    for name, tensor in checkpoint.tensors.items():
        tensors[name] = tensor
        if not (tensor.is_float and len(tensor.shape) > 1 and re.search(config.only, name)):
            continue
        if not tensor.data.size or not np.isfinite(tensor.floats()).all():
            continue
        left, right, report[name] = _split(tensor, config)
        if not report[name].kept:
            continue
        for suffix, values in ((LEFT, left), (RIGHT, right)):
            if name + suffix in checkpoint.tensors:
                raise QuantizationError(f"{name + suffix!r} is there already: rename that tensor")
            tensors[name + suffix] = from_floats(values, tensor.dtype)
        del tensors[name]
        records[name] = {"shape": list(tensor.shape), "dtype": tensor.dtype}
    if not records:
        return Checkpoint(tensors, checkpoint.metadata), report
    text = json.dumps({"version": VERSION, "tensors": records}, separators=(",", ":"))
    return Checkpoint(tensors, {**checkpoint.metadata, KEY: text}), report


def _split(tensor: Tensor, config: RankConfig) -> tuple[Matrix, Matrix, Factored]:
    import torch

    matrix = torch.from_numpy(np.array(tensor.floats())).double().flatten(1)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    rows, cols = matrix.shape
    rank = config.of(s.numpy(), rows, cols)
    total = float(s.square().sum())
    root = s[:rank].sqrt()
    energy = float(s[:rank].square().sum()) / total if total else 1.0
    kept = rank * (rows + cols) < rows * cols
    left, right = (u[:, :rank] * root).float(), (root[:, None] * v[:rank]).float()
    return left.numpy(), right.numpy(), Factored(rank, len(s), energy, kept)


def records(metadata: Mapping[str, str]) -> dict[str, tuple[tuple[int, ...], str]]:
    """(shape, dtype) of every tensor that is stored as factors. Raises ContainerFormatError."""
    if KEY not in metadata:
        return {}
    try:
        whole = json.loads(metadata[KEY])
    except (json.JSONDecodeError, RecursionError) as error:
        raise broken(f"it is not JSON ({error})") from None
    if not isinstance(whole, dict) or whole.get("version") != VERSION:
        raise broken(f"it is not of version {VERSION}, which is all that this release reads")
    tensors = whole.get("tensors")
    if not isinstance(tensors, dict):
        raise broken("it describes no tensors")
    found = {}
    for name, entry in tensors.items():
        shape = entry.get("shape") if isinstance(entry, dict) else None
        sizes = shape if isinstance(shape, list) else []
        if not 2 <= len(sizes) <= 32 or any(type(n) is not int or n < 1 for n in sizes):
            raise broken(f"{name!r} has no shape of two axes or more")
        if entry.get("dtype") not in FLOATS:
            raise broken(f"{name!r} has no known dtype")
        found[name] = (tuple(sizes), entry["dtype"])
    return found


def restore(checkpoint: Checkpoint) -> Checkpoint:
    """Products in place of factors, computed in float64 and rounded to the tensors' dtype.

    Dequantise first. Raises ContainerFormatError if factors are missing or do not fit.
    """
    tensors = dict(checkpoint.tensors)
    for name, (shape, dtype) in records(checkpoint.metadata).items():
        left, right = (tensors.pop(name + suffix, None) for suffix in (LEFT, RIGHT))
        if name in tensors:
            raise broken(f"{name!r} is there beside its factors")
        tensors[name] = product(name, left, right, shape, dtype)
    metadata = {key: value for key, value in checkpoint.metadata.items() if key != KEY}
    return Checkpoint(tensors, metadata)


def product(
    name: str, left: Tensor | None, right: Tensor | None, shape: tuple[int, ...], dtype: str
) -> Tensor:
    """Of the factors of the tensor ``name``. Raises ContainerFormatError if they do not fit."""
    a, b = _factor(name, left), _factor(name, right)
    if a.shape[0] != shape[0] or a.shape[1] != b.shape[0]:
        raise broken(f"the factors of {name!r} do not fit each other")
    if b.shape[1] != math.prod(shape[1:]):
        raise broken(f"the factors of {name!r} do not make a tensor of {shape}")
    values = (a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32)
    return from_floats(values.reshape(shape), dtype)


def _factor(name: str, tensor: Tensor | None) -> Matrix:
    if tensor is None or not tensor.is_float or len(tensor.shape) != 2:
        raise broken(f"{name!r} lacks a factor that is a matrix of floats")
    return tensor.floats()


def broken(what: str) -> ContainerFormatError:
    return ContainerFormatError(f"metadata {KEY}: {what}; factor the original again")
