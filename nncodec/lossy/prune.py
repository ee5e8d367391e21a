"""Zeros where weights matter least, chosen by ``torch.nn.utils.prune``.

    l1             the smallest of every tensor
    ln-structured  whole rows (or slices of another axis) of the smallest norm
    global         the smallest of all tensors together
    N:M            all but the N largest of every M that follow each other in a row, as "2:4", which
                   GPUs multiply at twice the speed (Mishra et al., "Accelerating Sparse Deep
                   Neural Networks", 2021)

Tensors of less than two axes (norms, biases) are few and matter much: they are left alone. What
comes out is an ordinary file of weights in the dtypes it had.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from nncodec.errors import QuantizationError
from nncodec.lossy import spec
from nncodec.lossy.store import Checkpoint, Tensor

KEY = "nncodec.pruning"  # of the metadata: the method, and how much of it was asked for
METHODS = ("l1", "ln-structured", "global")
PATTERN = re.compile(r"([1-9]\d{0,2}):([1-9]\d{0,2})")

Masks = dict[str, npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class PruneConfig:
    """``amount`` in [0, 1) is the share that becomes zero; N:M has none.

    ``norm`` and ``axis`` say what ``ln-structured`` compares: the norm of slices along an axis.
    ``only`` is a regular expression that a tensor's name has to contain.
    """

    method: str = "l1"
    amount: float = 0.0
    norm: float = 2.0
    axis: int = 0
    only: str = ""

    def __post_init__(self) -> None:
        if self.method not in METHODS and self.pattern is None:
            raise QuantizationError(
                f"no pruning method {self.method!r}: take {', '.join(METHODS)} or N:M, as 2:4"
            )
        if self.pattern is not None and self.amount:
            raise QuantizationError(f"{self.method} says how much is pruned: leave the amount out")
        if self.pattern is None and not 0 < self.amount < 1:
            raise QuantizationError(f"an amount of {self.amount} is not between 0 and 1")
        if not self.norm > 0:
            raise QuantizationError(f"a norm of order {self.norm} ranks nothing: take 1 or 2")
        try:
            re.compile(self.only)
        except re.error as error:
            raise QuantizationError(f"{self.only!r} is no regular expression: {error}") from None

    @property
    def pattern(self) -> tuple[int, int] | None:
        """(N, M) of the method N:M. Raises QuantizationError where N is not below M."""
        match = PATTERN.fullmatch(self.method)
        if match is None:
            return None
        n, m = map(int, match.groups())
        if n >= m:
            raise QuantizationError(f"{self.method} prunes nothing: keep fewer than {m} of {m}")
        return n, m


class KeepLargest(torch_prune.BasePruningMethod):
    """Of every ``m`` elements along the last axis the ``n`` largest stay; of a shorter rest, n."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, n: int, m: int) -> None:
        self.n, self.m = n, m

    def compute_mask(self, t: torch.Tensor, default_mask: torch.Tensor) -> torch.Tensor:
        sizes = (t.abs() * default_mask).flatten(0, -2)  # what is pruned already ranks last
        short = -sizes.shape[-1] % self.m
        wide = nn.functional.pad(sizes, (0, short), value=-1.0)
        groups = wide.reshape(len(wide), -1, self.m)
        kept = groups.argsort(dim=-1, descending=True, stable=True)[..., : self.n]
        mask = torch.zeros_like(groups).scatter_(-1, kept, 1.0).flatten(-2)
        return mask[:, : t.shape[-1]].reshape(t.shape) * default_mask


def prune(checkpoint: Checkpoint, config: PruneConfig) -> Checkpoint:
    """The same tensors with zeros; the metadata says how.

    Raises QuantizationError if nothing can be pruned, or if the tensors are quantised already.
    """
    if spec.KEY in checkpoint.metadata:
        raise QuantizationError("the weights are quantised: prune the original, then quantise it")
    names = prunable(checkpoint, config.only)
    masks = choose(checkpoint, names, config)
    tensors = {
        name: masked(tensor, masks[name]) if name in masks else tensor
        for name, tensor in checkpoint.tensors.items()
    }
    record = {"method": config.method} | ({"amount": config.amount} if config.amount else {})
    return Checkpoint(tensors, {**checkpoint.metadata, KEY: json.dumps(record)})


def prunable(checkpoint: Checkpoint, only: str = "") -> list[str]:
    """Float tensors of two axes or more. Raises QuantizationError if there are none."""
    names = [
        name
        for name, tensor in checkpoint.tensors.items()
        if tensor.is_float and len(tensor.shape) > 1 and tensor.data.size and re.search(only, name)
    ]
    if not names:
        wanted = f" with a name like {only!r}" if only else ""
        raise QuantizationError(f"no float tensor of two axes or more{wanted}: nothing to prune")
    return names


def choose(checkpoint: Checkpoint, names: Iterable[str], config: PruneConfig) -> Masks:
    """True where a weight stays."""
    holders = {name: _holder(checkpoint.tensors[name]) for name in names}
    if config.method == "global":
        pairs = [(holder, "weight") for holder in holders.values()]
        torch_prune.global_unstructured(pairs, torch_prune.L1Unstructured, amount=config.amount)
    else:
        apply = _one_tensor(config)
        for name, holder in holders.items():
            if (
                config.method == "ln-structured"
                and not -holder.weight.ndim <= config.axis < holder.weight.ndim
            ):
                raise QuantizationError(
                    f"{name!r} has no axis {config.axis}: its shape is {tuple(holder.weight.shape)}"
                )
            apply(holder)
    return {name: holder.weight_mask.numpy() != 0 for name, holder in holders.items()}


def _holder(tensor: Tensor) -> Any:
    """A module with one parameter, ``weight``: what ``torch.nn.utils.prune`` works on."""
    holder = nn.Module()
    values = torch.from_numpy(np.array(tensor.floats()))
    holder.weight = nn.Parameter(values.nan_to_num(torch.inf), requires_grad=False)  # NaN stays
    return holder


def _one_tensor(config: PruneConfig) -> Callable[[nn.Module], object]:
    if config.pattern is not None:
        n, m = config.pattern
        return lambda holder: KeepLargest.apply(holder, "weight", n, m)  # type: ignore[no-untyped-call]
    if config.method == "ln-structured":
        return lambda holder: torch_prune.ln_structured(  # type: ignore[no-untyped-call]
            holder, "weight", config.amount, n=config.norm, dim=config.axis
        )
    return lambda holder: torch_prune.l1_unstructured(holder, "weight", config.amount)  # type: ignore[no-untyped-call]


def masked(tensor: Tensor, mask: npt.NDArray[np.bool_]) -> Tensor:
    """+0 where the mask is False (a product would leave -0, which costs a sign), else the bits."""
    zero = np.zeros((), tensor.data.dtype)
    return Tensor(tensor.dtype, np.where(mask, tensor.data, zero))


def zeros(checkpoint: Checkpoint) -> tuple[int, int]:
    """(zeros, elements) of the float tensors of two axes or more."""
    tensors = [checkpoint.tensors[name] for name in prunable(checkpoint)]
    return (
        sum(int((tensor.floats() == 0).sum()) for tensor in tensors),
        sum(tensor.data.size for tensor in tensors),
    )
