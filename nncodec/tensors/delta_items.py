"""What a chunk of deltas holds: tensors, each with how it is coded and where its base lies."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from nncodec.tensors.items import Item


class Mode(IntEnum):
    """How a tensor is coded, given its base; the codes are the format's."""

    EQUAL = 0  # to its base: nothing is coded
    MOVED = 1  # along directions that its rows share
    GIVEN = 2  # each number on its own, given the base's


@dataclass(frozen=True, slots=True)
class DeltaItem:
    """``tensor`` and the as many bytes from ``offset`` of the base's file on."""

    tensor: Item
    mode: Mode
    offset: int = 0

    @property
    def size(self) -> int:
        """In bytes."""
        return self.tensor.size
