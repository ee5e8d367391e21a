"""The weights of a compressed model as parameters that can be trained.

Every float tensor of a file has a parameter. What is quantised goes through its own quantiser on
the way to the model, and the gradient passes straight through (Bengio, Léonard and Courville,
"Estimating or Propagating Gradients Through Stochastic Neurons", 2013); factors are multiplied;
zeros that a mask holds stay zero.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nncodec.errors import QuantizationError
from nncodec.lossy import lowrank, spec, store
from nncodec.lossy.dequantize import dequantize
from nncodec.lossy.quantize import Quantized, Settings, quantize
from nncodec.lossy.spec import Record


@dataclass(frozen=True)
class Scheme:
    """What ``quantize`` is called with to make the file's format again."""

    settings: Settings
    steps: Mapping[str, float]

    def reach(self, name: str) -> float:
        """How far from its value a weight may lie that was quantised so: about a cell."""
        return self.steps.get(name, 0.0) * (2 if self.settings.format == "trellis" else 1)


def scheme_of(checkpoint: store.Checkpoint, rdo: float = 1.0) -> Scheme | None:
    """How a file was quantised, by its records; None if it is not.

    Raises QuantizationError for tensors in formats that ``quantize`` does not mix.
    """
    records = spec.unpack(checkpoint.metadata)
    if not records:
        return None
    every = list(records.values())
    formats = {r.format for r in every}
    if formats == {"trellis", "uniform"}:
        formats = {"trellis"}  # whose short rows are uniform
    shapes = {(bool(r.scales), r.group, bool(r.shape)) for r in every}
    states = {r.states for r in every if r.format == "trellis"}
    if len(formats) > 1 or len(shapes) > 1 or len(states) > 1:
        raise QuantizationError(
            "tensors are quantised in several ways, which cannot be tuned: quantise all in one"
        )
    helpers = {name for r in every for name in r.helpers}
    others = [re.escape(n) for n in checkpoint.tensors if n not in records and n not in helpers]
    (format_,), ((scaled, group, packed),) = formats, shapes
    settings = Settings(
        format_,
        states=states.pop() if states else Settings.states,
        per_row=scaled and format_ in ("uniform", "trellis", "int8"),
        rdo=rdo,
        points=any(r.points for r in every),
        group=group,
        packed=packed,
        least=1,
        keep=rf"\A(?:{'|'.join(others)})\Z" if others else "",
    )
    return Scheme(settings, {name: _step(r, checkpoint) for name, r in records.items()})


def _step(record: Record, checkpoint: store.Checkpoint) -> float:
    """What lies between two levels, on average; of tables of 16 about an eighth of their size."""
    if record.step:
        return record.step
    sizes = checkpoint.tensors[record.scales or record.codebook].floats().astype(np.float64)
    size = float(np.sqrt(np.square(sizes).mean()))
    return size / 8 if record.format in ("nf4", "quantile") else size


class Student:
    """A file's weights in training.

    ``parameters`` are float32, by the names in the file. ``masks`` (True where a weight may differ
    from zero) and ``original`` (weights by name, before they were quantised) may name any of them:
    a parameter starts where the original lies in its quantiser's cell, else at the cell's value.
    """

    def __init__(
        self,
        checkpoint: store.Checkpoint,
        masks: Mapping[str, Tensor] | None = None,
        original: Mapping[str, Tensor] | None = None,
        rdo: float = 1.0,
    ) -> None:
        self.checkpoint, self.scheme = checkpoint, scheme_of(checkpoint, rdo)
        plain = dequantize(checkpoint.tensors, checkpoint.metadata)
        self.rest = {n: t for n, t in plain.items() if not t.is_float}
        self.dtypes = {n: t.dtype for n, t in plain.items() if t.is_float}
        self.masks = {n: m.to(torch.float32) for n, m in (masks or {}).items()}
        self.shapes = {n: shape for n, (shape, _) in lowrank.records(checkpoint.metadata).items()}
        self.parameters: dict[str, nn.Parameter] = {}
        self.drift: dict[str, Tensor] = {}  # quantised less latent, as of the last ``refresh``
        for name in self.dtypes:
            start = torch.from_numpy(np.array(plain[name].floats()))
            self._check_mask(name, start)
            reach = self.scheme.reach(name) if self.scheme else 0.0
            if original and name in original and original[name].shape == start.shape and reach:
                start = original[name].clamp(start - reach, start + reach)
            self.parameters[name] = nn.Parameter(self._masked(name, start).clone())

    def _check_mask(self, name: str, values: Tensor) -> None:
        mask = self.masks.get(name)
        if mask is not None and mask.shape != values.shape:
            raise QuantizationError(
                f"the mask of {name!r} is {tuple(mask.shape)}, the tensor {tuple(values.shape)}"
            )

    def _masked(self, name: str, values: Tensor) -> Tensor:
        mask = self.masks.get(name)
        return values if mask is None else values * mask

    @torch.no_grad()
    def refresh(self) -> None:
        """Quantise the latent weights as they are now."""
        if self.scheme is None:
            return
        made = self._quantized()
        values = dequantize(made.tensors, spec.pack(made.records))
        for name in made.records:
            back = torch.from_numpy(np.array(values[name].floats()))
            self.drift[name] = back - self._masked(name, self.parameters[name])

    def _latents(self) -> dict[str, store.Tensor]:
        out = dict(self.rest)
        for name, dtype in self.dtypes.items():
            values = self._masked(name, self.parameters[name].detach()).numpy() + np.float32(0)
            quantised = self.scheme is not None and name in self.scheme.steps
            out[name] = store.from_floats(values, "F32" if quantised else dtype)
        return out

    def _quantized(self) -> Quantized:
        assert self.scheme is not None
        tensors = {n: t for n, t in self._latents().items() if n in self.scheme.steps}
        return quantize(tensors, self.scheme.settings, steps=self.scheme.steps)

    def weights(self) -> dict[str, Tensor]:
        """What the model takes, by its names; gradients flow to ``parameters``."""
        out = {}
        for name, parameter in self.parameters.items():
            value = self._masked(name, parameter)
            out[name] = value + self.drift[name] if name in self.drift else value
        for name, shape in self.shapes.items():
            left, right = out.pop(name + lowrank.LEFT), out.pop(name + lowrank.RIGHT)
            out[name] = (left @ right).reshape(shape)
        return out

    def trainable(self) -> Iterator[nn.Parameter]:
        yield from self.parameters.values()

    def result(self) -> store.Checkpoint:
        """A file like the one it began as, with the weights as they are now."""
        latents = self._latents()
        if self.scheme is None:
            return self._ordered(latents, self.checkpoint.metadata)
        made = quantize(latents, self.scheme.settings, steps=self.scheme.steps)
        old = spec.unpack(self.checkpoint.metadata)
        records = {  # latents are float32; what they are restored to is not
            name: Record(**{**vars(record), "dtype": old[name].dtype})
            for name, record in made.records.items()
        }
        return self._ordered(made.tensors, {**self.checkpoint.metadata, **spec.pack(records)})

    def _ordered(
        self, tensors: Mapping[str, store.Tensor], metadata: Mapping[str, str]
    ) -> store.Checkpoint:
        names = [n for n in self.checkpoint.tensors if n in tensors]
        names += [n for n in tensors if n not in self.checkpoint.tensors]
        return store.Checkpoint({n: tensors[n] for n in names}, metadata)
