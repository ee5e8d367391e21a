"""What workers do for an archive: one block each, of bytes, of tensors or of differences.

Tasks and what they are given may leave the process, so the codec may be given by its recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nncodec.blocks import Bytes
from nncodec.container import Block
from nncodec.frames import Coded, encode_chunk, encode_delta
from nncodec.lanes import Progress, no_progress
from nncodec.recipes import Recipe
from nncodec.tensors.delta_items import DeltaItem
from nncodec.tensors.items import Item

if TYPE_CHECKING:
    from nncodec.codec import Codec


@dataclass(frozen=True)
class BlockOfBytes:
    data: Bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def run(self, codec: Codec, progress: Progress) -> tuple[Block, bytes | None]:
        """Its row and payload; None for the block itself, which need not be sent back."""
        row, payload = codec.encode_block(self.data, progress)
        return row, payload if isinstance(payload, bytes) else None


@dataclass(frozen=True)
class ChunkOfTensors:
    data: Bytes
    items: tuple[Item, ...]
    way: str
    base_id: bytes | None

    @property
    def size(self) -> int:
        return len(self.data)

    def run(self, _codec: object, progress: Progress) -> Coded | None:
        coded = encode_chunk(self.data, self.items, self.way, self.base_id)
        progress(self.size)
        return coded


@dataclass(frozen=True)
class ChunkOfDeltas:
    data: Bytes
    items: tuple[DeltaItem, ...]
    old: Bytes
    base_id: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def run(self, _codec: object, progress: Progress) -> Coded | None:
        coded = encode_delta(self.data, self.items, self.old, self.base_id)
        progress(self.size)
        return coded


EncodeItem = BlockOfBytes | ChunkOfTensors | ChunkOfDeltas
Encoded = tuple[Block, bytes | None] | Coded | None


@dataclass(frozen=True)
class Encode:
    """What workers call with an item: with the ``codec`` of whoever asks, or one of a recipe."""

    codec: Codec | Recipe[Codec]
    progress: Progress = no_progress

    @property
    def gpus(self) -> int:
        """That a worker needs."""
        return self.codec.gpus if isinstance(self.codec, Recipe) else 0

    def __call__(self, item: EncodeItem) -> Encoded:
        codec = self.codec.load() if isinstance(self.codec, Recipe) else self.codec
        return item.run(codec, self.progress)
