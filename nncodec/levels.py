"""Compression levels 1 to 9: which model, how lanes are cut, how large a context table at most.

Tensors of weight files are coded "fast" (docs/weights-fast.md) up to level 3, "max" from there on.

Level 1 has no network: one lane, context models alone. From there on more lanes run faster, fewer
lanes and larger tables compress better: lanes learn side by side what one after the other would
know already. What a level chose is written in the archive, so this table may change without a new
format. Its figures are in docs/mixing.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from nncodec.errors import NNCodecError

DEFAULT_LEVEL = 6
MIXED_TENSORS = 4  # the first level that codes tensors by context mixing


@dataclass(frozen=True)
class Level:
    """``model`` is a name, "default", "largest", or None: context models alone.

    A block has at most ``lanes`` lanes of at least ``lane_bytes`` bytes, and the context mixer's
    table at most ``2**table_bits`` lines of 64 bytes.
    """

    model: str | None
    lanes: int
    lane_bytes: int
    table_bits: int
    tensors: str = "max"


LEVELS = {
    1: Level(None, 1, 0, 20, "fast"),
    2: Level("nano", 64, 1 << 14, 16, "fast"),
    3: Level("nano", 64, 1 << 14, 18, "fast"),
    4: Level("nano", 64, 1 << 15, 20),
    5: Level("default", 64, 1 << 15, 20),
    6: Level("default", 64, 1 << 16, 21),
    7: Level("default", 16, 1 << 17, 21),
    8: Level("largest", 8, 1 << 18, 21),
    9: Level("largest", 1, 0, 22),
}


def check_level(level: int) -> None:
    """Raises NNCodecError for one that does not exist."""
    if type(level) is not int or level not in LEVELS:  # metadata of hosts may hold anything
        raise NNCodecError(f"no level {level}: choose one of {min(LEVELS)} to {max(LEVELS)}")
