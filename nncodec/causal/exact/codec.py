"""A codec whose network is an exact model over tokens; context models code what is no text.

Both are tried and the smaller is kept, as for float models (``causal/codec.py``). Nothing is
verified by decoding: equal integers are a promise here.
"""

from __future__ import annotations

from pathlib import Path

from nncodec.blocks import DEFAULT_TABLE_BITS, Bytes, Geometry
from nncodec.causal.codec import LANES, MOST_ESCAPED_PCT
from nncodec.causal.exact.blocks import ExactTokens
from nncodec.causal.exact.coding import token_geometry
from nncodec.causal.exact.native import NativeEngine
from nncodec.causal.exact.weights import ExactModel
from nncodec.causal.payload import most_side
from nncodec.codec import CODED_FIELDS, Codec
from nncodec.container import Block, Kind
from nncodec.engine.native import NativeContexts, usable_cores
from nncodec.lanes import Progress, no_progress
from nncodec.levels import LEVELS


class ExactCodec(Codec):
    """Higher levels have fewer lanes; ``lanes`` bounds them instead."""

    def __init__(
        self,
        model: ExactModel,
        folder: Path,
        level: int,
        threads: int | None = None,
        lanes: int | None = None,
    ) -> None:
        plan = LEVELS[level]
        self.tokens = ExactTokens(model, NativeEngine(model, threads), folder)
        super().__init__(
            self.tokens, model.model_id, threads=threads or usable_cores(), tensors=plan.tensors
        )
        bits = max(plan.table_bits, DEFAULT_TABLE_BITS)
        self.alone = Codec(NativeContexts(), None, 1, bits)  # for all that is not text
        self.most_lanes = lanes or LANES[level][0]

    def encode_block(self, data: Bytes, progress: Progress) -> tuple[Block, bytes | memoryview]:
        row, payload = self.alone.encode_block(data, no_progress)
        if row.kind in (Kind.STORED, Kind.CONTEXTS) and row.size > 0:
            with self.turn:
                tried = self.try_tokens(data, progress)
            if tried and len(tried[1]) + CODED_FIELDS < row.payload_size:
                geometry, coded = tried
                return Block(Kind.TOKENS, len(data), len(coded), row.checksum, geometry), coded
            return row, payload
        progress(len(data))
        return row, payload

    def try_tokens(self, data: Bytes, progress: Progress) -> tuple[Geometry, bytes] | None:
        """Geometry and payload; None where there is little text."""
        tokens = self.tokens.tokenize(data.tobytes())
        escaped = len(tokens.side)
        if escaped * 100 > len(data) * MOST_ESCAPED_PCT or escaped > most_side(len(data)):
            progress(len(data))
            return None
        geometry = token_geometry(len(tokens.ids), self.tokens.model.config, self.most_lanes)
        left = len(data)

        def count(size: int) -> None:
            nonlocal left
            left -= size
            progress(size)

        payload = self.tokens.encode_tokens(tokens, geometry, count)
        progress(left)  # of the side stream
        return geometry, payload
