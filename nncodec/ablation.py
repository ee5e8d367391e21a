"""What the network and the context models are worth, alone and both: ``nncodec bench --ablate``.

Nothing is estimated: every size is that of a real payload, every archive the one that the codec
writes. Sizes are the same on every machine.
"""

from __future__ import annotations

from collections import Counter
from copy import copy
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np

from nncodec._core import xxh64
from nncodec.api import read_info
from nncodec.blocks import BLOCK_SIZE, Bytes, Geometry, lane_geometry
from nncodec.codec import Codec, frame_bytes
from nncodec.errors import NNCodecError
from nncodec.lanes import Coder, Progress
from nncodec.parsing import read_up_to

SIZES = ("network", "contexts", "both", "archive")
CODINGS = 3  # times that every byte is coded


@dataclass(frozen=True)
class Ablation:
    """Sizes in bytes, summed over blocks; ``+`` sums files. Headers count in ``archive`` alone."""

    bytes: int = 0
    lanes: int = 0  # of ``network`` and ``both``: the most of any block; ``contexts`` has one lane
    table_bits: int = 0  # of ``contexts`` and ``both``: the most of any block
    network: int = 0
    contexts: int = 0
    both: int = 0
    archive: int = 0
    blocks: Counter[str] = field(default_factory=Counter)  # of the archive: how many by name

    def __add__(self, other: Ablation) -> Ablation:
        return Ablation(
            self.bytes + other.bytes,
            max(self.lanes, other.lanes),
            max(self.table_bits, other.table_bits),
            self.network + other.network,
            self.contexts + other.contexts,
            self.both + other.both,
            self.archive + other.archive,
            self.blocks + other.blocks,
        )

    def bits_per_byte(self, size: str) -> float:
        """Of one of ``SIZES``."""
        return 8 * int(getattr(self, size)) / self.bytes if self.bytes else 0.0

    @property
    def gain_pct(self) -> float:
        """How much smaller both are than the better of the two alone, on all bytes together."""
        best = min(self.network, self.contexts)
        return 100 * (1 - self.both / best) if best else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {
            **{name: getattr(self, name) for name in ("bytes", "lanes", "table_bits")},
            **{f"{size}_bytes": getattr(self, size) for size in SIZES},
            **{f"{size}_bits_per_byte": round(self.bits_per_byte(size), 4) for size in SIZES},
            "gain_pct": round(self.gain_pct, 3),
            "blocks": dict(self.blocks),
        }


class Remembering:
    """A coder that codes nothing twice: the codec gets the payloads that were measured before."""

    def __init__(self, coder: Coder) -> None:
        self.coder = coder
        self.payloads: dict[tuple[int, Geometry], bytes] = {}

    def encode(self, data: Bytes, geometry: Geometry, progress: Progress) -> bytes:
        key = xxh64(data), geometry
        if key not in self.payloads:
            self.payloads[key] = self.coder.encode(data, geometry, progress)
        return self.payloads[key]

    def decode(self, payload: bytes, size: int, geometry: Geometry, progress: Progress) -> bytes:
        return self.coder.decode(payload, size, geometry, progress)


class Ablator:
    """Measures a level's codec. Raises NNCodecError if it is one without a network."""

    def __init__(self, codec: Codec) -> None:
        if getattr(codec.coder, "of_tokens", False):
            raise NNCodecError("models of tokens cannot be ablated: give one of nncodec's own")
        if codec.model_id is None or codec.contexts is None:
            raise NNCodecError("there is no network to ablate: take level 2 or more, or a model")
        self.codec = copy(codec)
        self.codec.coder = self.both = Remembering(codec.coder)
        self.codec.contexts = self.contexts = Remembering(codec.contexts)
        self.network = codec.coder

    def measure(self, source: BinaryIO, progress: Progress) -> Ablation:
        """Code all of ``source``, in frames as the codec cuts them."""
        total = Ablation()
        while piece := read_up_to(source, frame_bytes()):
            total += self.measure_frame(np.frombuffer(piece, dtype=np.uint8), progress)
        return total

    def measure_frame(self, data: Bytes, progress: Progress) -> Ablation:
        starts = range(0, len(data), BLOCK_SIZE)
        blocks = [self.measure_block(data[s : s + BLOCK_SIZE], progress) for s in starts]
        archive = self.codec.compress(data)
        self.both.payloads.clear()
        self.contexts.payloads.clear()
        kinds = Counter(read_info(BytesIO(archive)).blocks)
        return sum(blocks, Ablation(archive=len(archive), blocks=kinds))

    def measure_block(self, data: Bytes, progress: Progress) -> Ablation:
        """Each alone and both, whatever kind of block the codec would choose.

        All code what the codec's transform makes of the block, if it chooses one.
        """
        codec, size = self.codec, len(data)
        _, data = codec.choose_transform(data, codec.judge(data))
        progress(CODINGS * (size - len(data)))
        geometry = lane_geometry(len(data), codec.lanes, codec.table_bits, codec.lane_bytes)
        alone = lane_geometry(len(data), 1, codec.table_bits)  # as level 1 and dense data are coded
        return Ablation(
            bytes=size,
            lanes=geometry.lanes,
            table_bits=geometry.table_bits,
            network=len(self.network.encode(data, replace(geometry, table_bits=0), progress)),
            contexts=len(self.contexts.encode(data, alone, progress)),
            both=len(self.both.encode(data, geometry, progress)),
        )
