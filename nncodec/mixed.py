"""Context models beside any predictor, byte by byte: the readable twin of ``csrc/mixed_coder.h``.

Whoever predicts hands over its counts row by row, in coding order, and gets bits well spent: the
context mixer weighs its own models and those counts against each other. The order is that of a
block with this geometry: the prefix, then step by step all lanes that still have a byte, so the
decoder's predictor knows, for every row, all bytes that were returned before. The network of an
archive does not come through here but through ``lanes.py``; what does is a predictor that is
made of something else, such as ``nncodec.lm.online``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from nncodec.blocks import Geometry, active_lanes
from nncodec.coder import PythonRangeDecoder, PythonRangeEncoder
from nncodec.lanes import bit_tree, code_byte
from nncodec.mixing import ContextMixer, LaneHistory, LanePart
from nncodec.trace import byte_cost


class MixedBlock:
    """A block in progress: what both directions share."""

    def __init__(self, size: int, geometry: Geometry, learning: bool) -> None:
        self.geometry, self.symbols = geometry, bytearray(size)
        self.mixer = ContextMixer(geometry.table_bits, network=True, learning=learning)
        self.histories = [LaneHistory()]
        self.done = 0
        self.begin_part(LanePart(0, geometry.prefix, 1))

    def begin_part(self, part: LanePart) -> None:
        """All lanes have the prefix behind them."""
        self.part, self.step, self.lane = part, 0, 0
        self.histories = [replace(self.histories[0]) for _ in range(part.lanes)]
        for start, history in zip(part.starts, self.histories, strict=True):
            history.start_run(start)

    def code(
        self, code_bit: Callable[[int, int], int], row: list[int], known: int
    ) -> tuple[int, int]:
        """Code the next byte by its row of counts; the byte, and what it cost."""
        if self.step == max(self.part.lengths):  # the prefix is done, or there is none
            prefix, lanes = self.geometry.prefix, self.geometry.lanes
            self.begin_part(LanePart(prefix, len(self.symbols) - prefix, lanes))
        place = (self.symbols, self.part, self.lane, self.step, self.histories[self.lane])
        self.mixer.begin(*place)
        byte, given = code_byte(code_bit, self.mixer, bit_tree(row), known)
        self.symbols[self.part.at(self.lane, self.step)] = byte
        self.mixer.end(*place)
        self.done, self.lane = self.done + 1, self.lane + 1
        if self.lane == active_lanes(self.part.size, self.part.lanes, self.step):
            self.lane, self.step = 0, self.step + 1
        return byte, byte_cost(given)


class PythonMixedEncoder:
    """Interface and bytes of ``_core.MixedEncoder``."""

    def __init__(self, size: int, lanes: int, prefix: int, table_bits: int, learning: bool) -> None:
        self.block = MixedBlock(size, Geometry(lanes, prefix, table_bits), learning)
        self.coder = PythonRangeEncoder()

    def encode(
        self, counts: npt.NDArray[np.int32], symbols: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.uint32]:
        """Code (n,) symbols by (n, 256) counts; what each cost, in units of 2^-24 bits."""

        def code_bit(ones: int, bit: int) -> int:
            self.coder.encode_bit(ones, bit)
            return bit

        rows = zip(counts.tolist(), symbols.tolist(), strict=True)
        costs = [self.block.code(code_bit, row, symbol)[1] for row, symbol in rows]
        return np.array(costs, dtype=np.uint32)

    def finish(self) -> bytes:
        return self.coder.finish()


class PythonMixedDecoder:
    """Interface and bytes of ``_core.MixedDecoder``."""

    def __init__(
        self, size: int, lanes: int, prefix: int, table_bits: int, payload: bytes, learning: bool
    ) -> None:
        self.block = MixedBlock(size, Geometry(lanes, prefix, table_bits), learning)
        self.coder = PythonRangeDecoder(payload)

    def decode(self, counts: npt.NDArray[np.int32]) -> bytes:
        """The next n bytes, by (n, 256) counts. Raises PayloadError if the payload is damaged."""

        def code_bit(ones: int, _bit: int) -> int:
            return self.coder.decode_bit(ones)

        return bytes(self.block.code(code_bit, row, 0)[0] for row in counts.tolist())

    def finish(self) -> None:
        self.coder.finish()
