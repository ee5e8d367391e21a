"""Nibbles of tensors' symbols, predicted bit by bit: the readable twin of csrc/tensor_mixer.h.

Every context selects a line of learners, the nodes of the nibble's binary tree; their logits go
into two gated logistic mixers (Mattern 2012; Mahoney's paq8), whose outputs are averaged. Integers
only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from nncodec.mixing import MAX_LOGIT as MOST
from nncodec.mixing import ONE, AdaptiveBit, clamp, squash, stretch, train

CONTEXTS = 15
INPUTS = CONTEXTS + 1  # the last is a constant
LIMIT, RATE, WARM = 1023, 24, 32
FIRST_WEIGHT = 5000  # of 65536
MASK = (1 << 32) - 1


class BitCoder(Protocol):
    """Codes decisions; an encoder is told them, a decoder finds them out."""

    knows: bool

    def code(self, bit: int, p16: int) -> int:
        """``bit``, which is 1 with the probability ``p16`` / 65536; decoders look at no ``bit``."""


class Stage:
    """One kind of symbol: its tables of ``2**bits`` lines a context, and its weights."""

    first_weights = (FIRST_WEIGHT,) * INPUTS

    def __init__(self, bits: Sequence[int]) -> None:
        self.bits = tuple(bits)
        self.bound(max(bits))
        self.tables: list[defaultdict[int, defaultdict[int, AdaptiveBit]]] = [
            defaultdict(lambda: defaultdict(AdaptiveBit)) for _ in bits
        ]
        self.lines = [self.tables[i][0] for i in range(CONTEXTS)]
        self.weights: defaultdict[tuple[str, int, int], list[int]] = defaultdict(
            lambda: list(self.first_weights)
        )
        self.seen: defaultdict[tuple[int, int], int] = defaultdict(int)

    def bound(self, bits: int) -> None:
        """From now on no more than ``2**bits`` lines of each table."""
        self.masks = [(1 << min(b, bits)) - 1 for b in self.bits]

    def select(self, contexts: Sequence[int]) -> None:
        """The lines for the nibble to come."""
        for i, (index, mask) in enumerate(zip(contexts, self.masks, strict=True)):
            self.lines[i] = self.tables[i][index & mask]

    def others(self, _node: int) -> list[int]:
        """Logits that come from elsewhere, one a weight beyond the ``INPUTS``."""
        return []

    def code(self, coder: BitCoder, nibble: int, bits: int, set_a: int, set_b: int) -> int:
        """Code ``bits`` bits, high first. ``set_a``, ``set_b`` choose the mixers' weights."""
        node = 1
        for depth in range(bits):
            learners = [line[node] for line in self.lines]
            x = [stretch(learner.p16()) for learner in learners] + [256] + self.others(node)
            weights = self.weights["a", set_a, node], self.weights["b", set_b, depth]
            logits = [clamp(dot(x, w), MOST) for w in weights]
            bit = coder.code(nibble >> (bits - 1 - depth) & 1, squash(sum(logits) >> 1))
            seen = self.seen[set_a, node]
            rate = RATE + RATE * WARM * 16 // (16 + seen)
            self.seen[set_a, node] = min(seen + 1, 4095)
            for w, logit in zip(weights, logits, strict=True):
                train(w, x, (bit * ONE - squash(logit)) * rate >> 6)
            for learner in learners:
                learner.update(bit, LIMIT)
            node = node * 2 + bit
        return node - (1 << bits)


def dot(x: Sequence[int], weights: Sequence[int]) -> int:
    return sum(a * b >> 8 for a, b in zip(x, weights, strict=True)) >> 8


def mix(a: int, b: int) -> int:
    """32 bits from two numbers of 32 bits."""
    h = (a * 0x9E3779B1 ^ (b + 0x7F4A7C15) * 0x85EBCA6B) & MASK
    h ^= h >> 15
    h = h * 0x2C1B3C6D & MASK
    return h ^ h >> 13


def hashed(*values: int) -> int:
    """Of two or three."""
    h = mix(values[0], values[1])
    return mix(h, values[2]) if len(values) == 3 else h
