"""What a chunk of tensors holds, as the coder sees it: matrices of one kind of number each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class TensorKind(IntEnum):
    """How the bits of an element are cut. The numbers are part of the format."""

    BYTES = 0  # no numbers: gaps between tensors
    FLOAT32 = 1
    FLOAT16 = 2
    BFLOAT16 = 3
    FLOAT8_E4M3 = 4
    FLOAT8_E5M2 = 5
    INT8 = 6
    UINT8 = 7

    @property
    def bytes(self) -> int:
        """Of one element."""
        return {1: 4, 2: 2, 3: 2}.get(self, 1)


@dataclass(frozen=True)
class Item:
    """``rows`` times ``cols`` elements, a row after the other.

    ``role`` (0 to 255) is equal for tensors of one use, such as the same layer's of every block.
    """

    kind: TensorKind
    role: int
    rows: int
    cols: int

    @property
    def size(self) -> int:
        """In bytes."""
        return self.rows * self.cols * self.kind.bytes
