"""Tensors to indices and what is needed to read them back: one step or scale rule for all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from nncodec.errors import QuantizationError
from nncodec.lossy import scalar, spec, tables, trellis
from nncodec.lossy.dequantize import as_rows, values
from nncodec.lossy.spec import Record
from nncodec.lossy.store import Checkpoint, Tensor, from_numpy

Matrix = npt.NDArray[np.float32]
ENTROPY_CODED = ("uniform", "trellis")
QUANTILES = 16


@dataclass(frozen=True)
class Settings:
    """How tensors are quantised. Steps are absolute; equal steps are best at equal total error.

    ``format`` is one of ``spec.FORMATS``. uniform and trellis take a ``step``, the others none.
    ``per_row``: uniform and trellis scale the step by each row's size, int8 has a scale a row.
    ``rdo``: 0 takes the nearest index, 1 the one that is worth its bits. ``points``: levels next
    to zero move to the mean of what they stand for. ``packed``: two int4 a byte. Left as they are:
    tensors of fewer than ``least`` elements or two axes, whose name matches ``keep``, with NaN or
    infinities, and all that are no floats.
    """

    format: str = "trellis"
    step: float = 0.0
    states: int = trellis.DEFAULT_STATES
    per_row: bool = False
    rdo: float = 1.0
    points: bool = True
    group: int = 0  # of int4 and nf4; 0: 128 and 64
    packed: bool = False
    least: int = 1024
    keep: str = ""

    def __post_init__(self) -> None:
        if self.format not in spec.FORMATS:
            raise QuantizationError(
                f"no format {self.format!r}: choose one of {', '.join(spec.FORMATS)}"
            )
        if self.format == "trellis":
            trellis.code(self.states)
        if self.group and (not spec.grouped(self.format) or self.group not in spec.GROUPS):
            raise QuantizationError(f"no {self.format} of groups of {self.group}: {spec.GROUPS}")
        if self.packed and self.format != "int4":
            raise QuantizationError(f"{self.format} is not packed: int4 is")
        if not 0 <= self.rdo <= 4:
            raise QuantizationError(f"rdo is {self.rdo}; it lies in 0 to 4")
        try:
            re.compile(self.keep)
        except re.error as error:
            raise QuantizationError(f"keep: {self.keep!r} is no pattern ({error})") from None


@dataclass(frozen=True)
class Quantized:
    """What ``quantize`` made: all tensors, quantised or not, and the records of those that are.

    ``error`` and ``energy`` are sums of squares over the quantised ones, ``bits`` the order-0
    entropy of their indices (given the quantiser, for a trellis) and the bits of their helpers.
    """

    tensors: Mapping[str, Tensor]
    records: Mapping[str, Record]
    metadata: Mapping[str, str] = field(default_factory=dict)  # of the original
    weights: int = 0  # quantised elements
    error: float = 0.0
    energy: float = 0.0
    bits: float = 0.0

    @property
    def checkpoint(self) -> Checkpoint:
        """As a file holds it."""
        return Checkpoint(self.tensors, {**self.metadata, **spec.pack(self.records)})

    @property
    def snr_db(self) -> float:
        """10 log10 of energy over error, over all quantised tensors; inf without error."""
        return snr_db(self.energy, self.error)


def snr_db(energy: float, error: float) -> float:
    """Infinite without error, NaN without energy too."""
    if error == 0:
        return float("inf") if energy else float("nan")
    return float(10 * np.log10(energy / error)) if energy else float("-inf")


def chosen(tensors: Mapping[str, Tensor], settings: Settings) -> dict[str, Matrix]:
    """The matrices that ``settings`` quantise, by name, with the last axis as columns."""
    keep = re.compile(settings.keep) if settings.keep else None
    out: dict[str, Matrix] = {}
    for name, tensor in tensors.items():
        if (
            not tensor.is_float
            or len(tensor.shape) < 2
            or tensor.data.size < max(settings.least, 1)
        ):
            continue
        if keep and keep.search(name):
            continue
        values = tensor.floats()
        if np.isfinite(values).all():
            out[name] = as_rows(values)
    return out


def quantize(
    tensors: Mapping[str, Tensor | npt.NDArray[np.generic]],
    settings: Settings | None = None,
    *,
    steps: Mapping[str, float] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Quantized:
    """Quantise every matrix of ``tensors`` as ``settings`` say.

    ``steps`` replaces ``settings.step`` by one for each tensor. Raises QuantizationError for a
    step that is no positive number or makes indices beyond 16 bits.
    """
    settings = settings or Settings()
    whole = {n: t if isinstance(t, Tensor) else from_numpy(t) for n, t in tensors.items()}
    matrices = chosen(whole, settings)
    out = dict(whole)
    records: dict[str, Record] = {}
    sums = np.zeros(3)
    for name, matrix in matrices.items():
        step = (steps or {}).get(name, settings.step)
        original = replace(settings, step=step)
        names = _Names(name, out)
        made = _quantize_one(matrix, whole[name], original, names)
        records[name] = made.record
        out.update({**made.helpers, name: made.codes})
        sums += made.error, made.energy, made.bits
    weights = sum(matrix.size for matrix in matrices.values())
    return Quantized(out, records, metadata or {}, weights, *(float(s) for s in sums))


@dataclass(frozen=True)
class _Made:
    codes: Tensor
    helpers: dict[str, Tensor]
    record: Record
    error: float
    energy: float
    bits: float


class _Names:
    """Names for a tensor's helpers that no other tensor has."""

    def __init__(self, name: str, taken: Mapping[str, Tensor]) -> None:
        self.name, self.taken = name, taken

    def __call__(self, suffix: str) -> str:
        name = f"{self.name}.{suffix}"
        while name in self.taken:
            name += "_"
        return name


def _quantize_one(matrix: Matrix, tensor: Tensor, settings: Settings, names: _Names) -> _Made:
    short = matrix.shape[1] < scalar.SHORTEST_ROW
    if settings.format == "trellis" and short:  # rows start anew: a trellis would gain nothing
        settings = replace(settings, format="uniform")
    coding = _entropy_coded if settings.format in ENTROPY_CODED else _fixed
    codes, helpers, record, bits = coding(matrix, tensor, settings, names)
    packed = bool(record.shape)
    shape = (*tensor.shape[:-1], codes.shape[1]) if packed else tensor.shape
    stored = from_numpy(codes.reshape(shape))
    back = values(record, stored, helpers).reshape(matrix.shape)
    difference = matrix.astype(np.float64) - back
    side = sum(8 * helper.data.nbytes for helper in helpers.values())
    energy = float(np.vdot(matrix.astype(np.float64), matrix))
    return _Made(
        stored, helpers, record, float(np.vdot(difference, difference)), energy, bits + side
    )


_Coded = tuple[npt.NDArray[np.integer], dict[str, Tensor], Record, float]


def _entropy_coded(matrix: Matrix, tensor: Tensor, settings: Settings, names: _Names) -> _Coded:
    """Uniform or by a trellis, with a step or with scales of rows."""
    step = np.float32(settings.step)
    if not spec.TINY <= step <= spec.HUGE:
        raise QuantizationError(f"the step {settings.step!r} is no positive float32; give one")
    helpers: dict[str, Tensor] = {}
    record = Record(settings.format, tensor.dtype, step=float(step))
    scales = np.full((1, 1), step)
    if settings.per_row:
        size = np.sqrt(np.square(matrix.astype(np.float64)).mean(axis=1, keepdims=True))
        mean = np.sqrt(np.square(size).mean())
        scales = np.where(size > 0, size / (mean or 1) * step, step).astype(np.float32)
        scales = np.maximum(scales, np.float32(spec.TINY))
        name = names("scale")
        helpers[name] = from_numpy(scales)
        record = replace(record, step=0.0, scales=name)
    positions = matrix.astype(np.float64) / scales
    classes = None
    if settings.format == "trellis":
        indices = scalar.quantize_trellis(positions, settings.states, settings.rdo)
        classes = trellis.quantisers(indices, settings.states)
        levels = trellis.level(indices, classes)
        record = replace(record, states=settings.states)
    else:
        levels = indices = scalar.quantize_uniform(positions, settings.rdo)
    if settings.points:
        sizes = np.abs(indices)
        points: tuple[float, ...] = ()
        for mask in (
            [sizes] if classes is None else [np.where(classes == c, sizes, 0) for c in (0, 1)]
        ):
            points = (*points, *scalar.centroids(positions, levels, mask))
        record = replace(record, points=points if any(points) else ())
    wide = np.int8 if np.abs(indices).max(initial=0) <= 127 else np.int16
    return indices.astype(wide), helpers, record, scalar.order0_bits(indices, classes)


def _fixed(matrix: Matrix, tensor: Tensor, settings: Settings, names: _Names) -> _Coded:
    """int8, int4, NF4 or quantile codes."""
    dtype = tensor.dtype
    if settings.format == "int8":
        codes, scales = tables.int8(matrix, settings.per_row)
        if not settings.per_row:
            record = Record("int8", dtype, step=float(scales[0, 0]))
            return codes, {}, record, scalar.order0_bits(codes)
        record = Record("int8", dtype, scales=names("scale"))
        return codes, {record.scales: from_numpy(scales)}, record, scalar.order0_bits(codes)
    if settings.format == "quantile":
        codes, book = tables.quantile(matrix, QUANTILES)
        record = Record("quantile", dtype, codebook=names("codebook"))
        return codes, {record.codebook: from_numpy(book)}, record, scalar.order0_bits(codes)
    group = settings.group or (128 if settings.format == "int4" else tables.NF4_GROUP)
    make = tables.int4 if settings.format == "int4" else tables.nf4
    codes, halves = make(matrix, group)
    record = Record(settings.format, dtype, scales=names("scale"), group=group)
    bits = scalar.order0_bits(codes)
    helpers = {record.scales: from_numpy(halves)}
    if settings.packed:
        packed = tables.pack_nibbles(codes)
        return packed, helpers, replace(record, shape=tensor.shape), bits
    return codes, helpers, record, bits
