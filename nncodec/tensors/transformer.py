"""An experiment: a Transformer over the symbols of weights as one more input of the mixer.

The exact engine of the byte Transformer reads the stream of ``symbols.py`` one byte at a time, in
both directions, so that whoever decodes makes the same predictions. Only the first symbol of a
weight (a float's exponent, an integer's upper nibble) has the input; the rest is coded as ever.
docs/weights-transformer.md says what it brings, and why archives do not use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from nncodec.config import BEGIN_OF_BLOCK
from nncodec.lanes import Engine, bit_tree
from nncodec.mixing import stretch
from nncodec.tensors import model
from nncodec.tensors.items import Item
from nncodec.tensors.model import Cut, Place, TensorRun
from nncodec.tensors.nibbles import CONTEXTS, BitCoder, Stage
from nncodec.tensors.symbols import (
    ROW_MARK,
    first_symbol,
    leaves,
    scale_class,
    symbol_byte,
)

# Of 65536. The network was trained and the contexts begin with nothing, so it leads at first.
CONTEXT_WEIGHT, NETWORK_WEIGHT = 1500, 60000


class NetworkStage(Stage):
    """The mixer's contexts, its constant, and the network."""

    first_weights = (*[CONTEXT_WEIGHT] * CONTEXTS, 0, NETWORK_WEIGHT)

    def __init__(self, bits: Sequence[int]) -> None:
        super().__init__(bits)
        self.tree = bit_tree([1] * 16)

    def others(self, node: int) -> list[int]:
        return [stretch((self.tree[2 * node + 1] << 16) // self.tree[node])]


class TransformerRun(TensorRun):
    """A chunk on its way through the coder, with a network that reads along.

    The network starts anew with every item: one tensor says little about another.
    """

    def __init__(self, coder: BitCoder, data: bytearray, engine: Engine) -> None:
        super().__init__(coder, data)
        self.engine = engine
        self.network = NetworkStage([mask.bit_length() for mask in self.symbols.masks])
        self.symbols = self.network

    def item(self, item: Item) -> None:
        self.state = self.engine.start()
        self.at_start = True
        super().item(item)

    def symbol_contexts(
        self, p: Place, up: Cut, up_left: Cut, up_right: Cut, expected: int
    ) -> tuple[int, ...]:
        """Called once a weight, before anything of it is coded: the network goes one weight on."""
        floating = self.exponent_bits > 0
        if self.at_start:
            tokens = [BEGIN_OF_BLOCK, ROW_MARK]
            self.at_start = False
        else:
            symbol, scale = first_symbol(self.left, floating), scale_class(p.scale, floating)
            tokens = [symbol_byte(symbol, scale)] + [ROW_MARK] * p.row_start
        counts = self.state.advance(np.array([tokens]))[0, -1]
        self.network.tree = bit_tree(leaves(counts, floating).tolist())
        return super().symbol_contexts(p, up, up_left, up_right, expected)


def encode(items: Sequence[Item], chunk: bytes, engine: Engine) -> bytes:
    """The payload of ``chunk``, which holds the items one after the other."""
    return model.encode(items, chunk, partial(TransformerRun, engine=engine))


def decode(items: Sequence[Item], payload: bytes, engine: Engine) -> bytes:
    """Inverse of ``encode``, with the same engine. Raises PayloadError if damage is found."""
    return model.decode(items, payload, partial(TransformerRun, engine=engine))
