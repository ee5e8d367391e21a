"""An experiment: a Transformer over the symbols of weights as one more input of the mixer.

The exact engine of the byte Transformer reads the stream of ``symbols.py`` one byte at a time, in
both directions, so that whoever decodes makes the same predictions. Only the first symbol of a
weight (a float's exponent, an integer's upper bits) has the input; the rest is coded as ever, and
so are whole planes that the network does not read (``symbols.is_read``).
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
from nncodec.tensors.model import TensorRun
from nncodec.tensors.nibbles import CONTEXTS, BitCoder, Stage
from nncodec.tensors.parts import Cut, Place
from nncodec.tensors.symbols import (
    ROW_MARK,
    first_symbol,
    is_read,
    leaves,
    scale_class,
    symbol_byte,
)

# Of 65536. The network was trained and the contexts begin with nothing, so it leads at first.
CONTEXT_WEIGHT, NETWORK_WEIGHT = 1500, 60000


class NetworkStage(Stage):
    """The mixer's contexts, its constant, and the network."""

    first_weights = (*[CONTEXT_WEIGHT] * CONTEXTS, 0, NETWORK_WEIGHT)

    tree: list[int]  # of the leaves' counts, set before a weight is coded

    def others(self, node: int) -> list[int]:
        return [stretch((self.tree[2 * node + 1] << 16) // self.tree[node])]


def led_by_network(stage: Stage) -> NetworkStage:
    """With the same contexts as ``stage``, and nothing learned."""
    return NetworkStage(stage.bits)


class TransformerRun(TensorRun):
    """A chunk on its way through the coder, with a network that reads along.

    The network starts anew with every plane that it reads: one tensor says little about another.
    Planes that it does not read are coded by the stages of ``TensorRun``.
    """

    def __init__(self, coder: BitCoder, engine: Engine) -> None:
        super().__init__(coder)
        self.engine = engine
        self.plain = self.floats.symbols, self.integers.high
        self.led = led_by_network(self.floats.symbols), led_by_network(self.integers.high)

    def code_row(self, row: int) -> None:
        if row == 0:  # all is known of the plane but its elements
            self.begin_network()
        super().code_row(row)

    def begin_network(self) -> None:
        self.reads = is_read(self)
        self.floats.symbols, self.integers.high = self.led if self.reads else self.plain
        if self.is_float:
            self.floats.symbols.bound(self.floats.table_bits)
        else:
            self.integers.high.bound(self.integers.table_bits)
        if self.reads:
            self.state, self.at_start = self.engine.start(), True

    def code_element(self, known: Cut, p: Place) -> Cut:
        if self.reads:
            self.read_on(p)
        return super().code_element(known, p)

    def read_on(self, p: Place) -> None:
        """Before anything of a weight is coded: the network goes one weight on."""
        if self.at_start:
            tokens = [BEGIN_OF_BLOCK, ROW_MARK]
            self.at_start = False
        else:
            symbol = first_symbol(self.around.left, self.is_float)
            tokens = [symbol_byte(symbol, scale_class(p.scale, self.is_float))]
            tokens += [ROW_MARK] * p.row_start
        counts = self.state.advance(np.array([tokens]))[0, -1]
        self.led[not self.is_float].tree = bit_tree(leaves(counts, self.is_float).tolist())


def encode(items: Sequence[Item], chunk: bytes, engine: Engine) -> bytes:
    """The payload of ``chunk``, which holds the items one after the other."""
    return model.encode(items, chunk, partial(TransformerRun, engine=engine))


def decode(items: Sequence[Item], payload: bytes, engine: Engine) -> bytes:
    """Inverse of ``encode``, with the same engine. Raises PayloadError if damage is found."""
    return model.decode(items, payload, partial(TransformerRun, engine=engine))
