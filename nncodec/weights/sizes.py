"""What each tensor of an archive costs, from the block table alone: nothing of it is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nncodec.weights.archive import ArchiveView
from nncodec.weights.index import Entry
from nncodec.weights.reader import WeightsFile


@dataclass(frozen=True)
class Piece:
    """A block with ``held`` of a tensor's bytes, and ``size`` in all, in ``payload`` bytes."""

    number: int
    kind: str
    held: int
    size: int
    payload: int


@dataclass(frozen=True)
class Cost:
    """A tensor's coded bytes.

    A block that holds other bytes too counts by the tensor's share; ``exact`` if none does.
    """

    entry: Entry
    pieces: tuple[Piece, ...]

    @property
    def exact(self) -> bool:
        return all(piece.held == piece.size for piece in self.pieces)

    @property
    def coded(self) -> float:
        """Bytes."""
        return sum(piece.payload * piece.held / piece.size for piece in self.pieces)

    @property
    def bits(self) -> float:
        """Bits a weight; 0 for a tensor without any."""
        return 8 * self.coded / self.entry.elements if self.entry.elements else 0.0

    def to_dict(self) -> dict[str, Any]:
        entry = self.entry
        return {
            "name": entry.name,
            "dtype": entry.dtype,
            "shape": list(entry.shape),
            "bytes": entry.end - entry.begin,
            "coded_bytes": round(self.coded, 3),
            "bits_per_weight": round(self.bits, 4),
            "exact": self.exact,
            "blocks": [vars(piece) for piece in self.pieces],
        }


def costs(file: WeightsFile) -> list[Cost]:
    """Of every tensor, by their places in the file."""
    entries = (file.entry(name) for name in file.offset_keys())
    return [Cost(entry, tuple(_pieces(file.view, entry))) for entry in entries]


def _pieces(view: ArchiveView, entry: Entry) -> list[Piece]:
    pieces = []
    for number in view.rows.overlapping(entry.begin, entry.end):
        row = view.rows[number]
        held = min(row.end, entry.end) - max(row.begin, entry.begin)
        block = row.block
        pieces.append(Piece(number, block.name, held, block.size, block.payload_size))
    return pieces
