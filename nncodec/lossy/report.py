"""What every tensor costs, coded in several ways, and how far it lies from the original."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nncodec.lossy import scalar, spec, trellis
from nncodec.lossy.allocate import Coder, archive_size
from nncodec.lossy.dequantize import as_rows, codes_of, values
from nncodec.lossy.quantize import snr_db
from nncodec.lossy.spec import Record
from nncodec.lossy.store import Checkpoint, Tensor, serialize

ZSTD_LEVEL = 19
DB_A_BIT = 20 * math.log10(2)


@dataclass(frozen=True)
class Row:
    """One tensor, or all of them. Sizes are bits a weight; None is what was not measured.

    ``order0`` and ``huffman`` are of the indices (given the quantiser, for a trellis), of the
    integers, or of the bytes of floats, plane by plane; without tables. ``coded`` is the archive
    of this tensor alone, with header; of the total, of the file. With an original: ``snr`` in dB;
    ``step_db``, the error over that of rounding uniform noise, step^2 / 12 (of a trellis, whose
    indices are two steps apart, (2 step)^2 / 12): 0 dB is what theory says of plain rounding at
    high rates; and ``gap_db``, what the coded size would give a Gaussian at the Shannon bound
    (6.02 dB a bit) minus ``snr``.
    """

    name: str
    dtype: str
    format: str
    weights: int
    stored: float
    sparsity: float
    order0: float
    huffman: float
    zstd: float | None
    coded: float
    snr: float | None = None
    error: float | None = None  # mean square
    step_db: float | None = None
    gap_db: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON has no infinities: they, and NaN, become None."""
        return {k: finite(v) for k, v in asdict(self).items()}


def finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def report(
    checkpoint: Checkpoint,
    original: Mapping[str, Tensor] | None = None,
    coder: Coder = archive_size,
) -> list[Row]:
    """A row for each tensor with elements, then the total, named ``total``.

    ``original`` has floats by name; tensors that are not in it have no SNR. Raises
    ContainerFormatError for metadata that contradicts the tensors.
    """
    records = spec.unpack(checkpoint.metadata)
    helpers = {name: owner for owner, r in records.items() for name in r.helpers}
    measured = [
        _Tensor(name, tensor, records.get(name), checkpoint.tensors, original or {}, coder)
        for name, tensor in checkpoint.tensors.items()
        if tensor.data.size
    ]
    rows = [m.row() for m in measured]
    # What is read back has the weights; scales and codebooks only add to their bits.
    weights = sum(m.weights for m in measured if m.name not in helpers)
    if not weights:
        return rows
    return [*rows, _total(measured, rows, weights, coder(_file(checkpoint)))]


def _file(checkpoint: Checkpoint) -> bytes:
    return serialize(checkpoint.tensors, checkpoint.metadata)


class _Tensor:
    def __init__(
        self,
        name: str,
        tensor: Tensor,
        record: Record | None,
        others: Mapping[str, Tensor],
        original: Mapping[str, Tensor],
        coder: Coder,
    ) -> None:
        self.name, self.tensor, self.record, self.others = name, tensor, record, others
        self.codes: npt.NDArray[Any] = (
            as_rows(tensor.data) if record is None else codes_of(record, tensor)
        )
        self.weights = self.codes.size
        metadata = {} if record is None else spec.pack({name: record})
        self.coded = 8 * coder(_file(Checkpoint({name: tensor}, metadata)))
        self.zstd = zstd_bits(np.ascontiguousarray(tensor.data).tobytes())
        self.order0, self.huffman = self.entropies()
        self.zeros = self.count_zeros()
        self.energy, self.error = self.compare(original.get(name))

    def entropies(self) -> tuple[float, float]:
        """Bits in all: order-0 entropy and Huffman code."""
        if self.tensor.is_float or self.tensor.dtype.startswith("F8"):
            raw = np.ascontiguousarray(self.tensor.data).view(np.uint8)
            planes: list[npt.NDArray[Any]] = list(raw.reshape(self.tensor.data.size, -1).T)
        elif self.record is not None and self.record.format == "trellis":
            quantisers = trellis.quantisers(self.codes, self.record.states)
            planes = [self.codes[quantisers == c] for c in (0, 1)]
        else:
            planes = [self.codes]
        entropy = sum(scalar.order0_bits(plane) for plane in planes)
        return entropy, float(sum(huffman_bits(plane) for plane in planes))

    def count_zeros(self) -> int:
        if self.record is None:
            if self.tensor.dtype == "BF16" or self.tensor.dtype.startswith("F8"):
                mask = (1 << 8 * self.tensor.data.itemsize - 1) - 1  # without the sign
                return int((self.tensor.data & mask == 0).sum())
            return int((self.tensor.data == 0).sum())
        return int((values(self.record, self.tensor, self.others) == 0).sum())

    def compare(self, original: Tensor | None) -> tuple[float | None, float | None]:
        """Energy of the original and squared error; None if there is none to compare."""
        if original is None or not original.is_float or not self.readable:
            return None, None
        back = self.tensor.floats() if self.record is None else values(
            self.record, self.tensor, self.others
        )  # fmt: skip
        if back.shape != original.shape:
            return None, None
        true = original.floats().astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            error = true - back
            return float(np.vdot(true, true)), float(np.vdot(error, error))

    @property
    def readable(self) -> bool:
        return self.record is not None or self.tensor.is_float

    def row(self) -> Row:
        size, coded = self.weights, self.coded / self.weights
        row = Row(
            name=self.name,
            dtype=self.tensor.dtype,
            format=self.record.format if self.record else "",
            weights=size,
            stored=8 * self.tensor.data.nbytes / size,
            sparsity=self.zeros / size,
            order0=self.order0 / size,
            huffman=self.huffman / size,
            zstd=None if self.zstd is None else self.zstd / size,
            coded=coded,
        )
        if self.error is None or self.energy is None:
            return row
        snr = snr_db(self.energy, self.error)
        step = 0.0
        if self.record is not None and self.record.step:
            step = self.record.step * (2 if self.record.format == "trellis" else 1)
        plain = step**2 / 12
        fields = asdict(row) | {
            "snr": snr,
            "error": self.error / size,
            "step_db": 10 * math.log10(self.error / size / plain) if plain and self.error else None,
            "gap_db": coded * DB_A_BIT - snr if self.error else None,
        }
        return Row(**fields)


def _total(measured: list[_Tensor], rows: list[Row], weights: int, file: int) -> Row:
    def mean(field: str) -> float | None:
        parts = [getattr(row, field) for row in rows]
        if any(part is None for part in parts):
            return None
        return float(
            sum(part * row.weights for part, row in zip(parts, rows, strict=True)) / weights
        )

    compared = [m for m in measured if m.error is not None and m.energy is not None]
    lossy = [m for m in compared if m.record is not None]
    chosen = lossy or compared
    energy = sum(m.energy or 0.0 for m in chosen)
    error = sum(m.error or 0.0 for m in chosen)
    size = sum(m.weights for m in chosen)
    return Row(
        name="total",
        dtype="",
        format="",
        weights=weights,
        stored=mean("stored") or 0.0,
        sparsity=sum(m.zeros for m in measured) / weights,
        order0=mean("order0") or 0.0,
        huffman=mean("huffman") or 0.0,
        zstd=mean("zstd"),
        coded=8 * file / weights,
        snr=snr_db(energy, error) if chosen else None,
        error=error / size if size else None,
    )


def huffman_bits(symbols: npt.NDArray[Any]) -> int:
    """Length of all symbols in an optimal prefix code; one symbol alone takes a bit each."""
    heap = scalar.symbol_counts(symbols).tolist()
    if len(heap) < 2:
        return int(sum(heap))
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:  # every merge adds a bit to what is below it
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


def zstd_bits(data: bytes) -> int | None:
    """Length at level 19; None where the package zstandard is not installed."""
    try:
        import zstandard  # type: ignore[import-not-found, unused-ignore]
    except ModuleNotFoundError:
        return None
    return 8 * len(zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data))
