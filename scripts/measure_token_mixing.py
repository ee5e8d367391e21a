"""Whether context models help a language model over tokens, byte by byte: docs/causal-lm.md.

usage: python scripts/measure_token_mixing.py HF_FOLDER [--bytes 30000] FILE...

In one lane. Token by token: the model's probabilities of the tokens that came. By bytes: with the
vocabulary sorted, the tokens that begin with what a token has so far are a range, and the next
bytes are parts of it; each goes through the context mixer with the model's counts beside the
context models. "The token ends here" is coded apart, by what its probability has meant so far.
Bytes of payloads, but for tokens and ends, which are code lengths. Only text that the vocabulary
can spell whole is measured.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nncodec._core import MixedEncoder
from nncodec.blocks import lane_geometry
from nncodec.causal.folder import CausalFolder
from nncodec.causal.predictor import CausalModel, Settings
from nncodec.causal.tokenize import load_tokenizer, tokenize
from nncodec.engine.native import NativeContexts, choose_isa
from nncodec.lanes import no_progress
from nncodec.numerics import COUNT_TOTAL

TABLE_BITS = 21
LEAST = 2.0**-24  # the probability of a token that a coder could still code

Shares = npt.NDArray[np.float64]


@dataclass
class Steps:
    """A text as the model saw it."""

    token_bits: float = 0.0
    rows: list[npt.NDArray[np.int32]] = field(default_factory=list)  # counts of each byte
    ends: list[tuple[float, bool]] = field(default_factory=list)  # probability, and what came


class Vocabulary:
    """Tokens sorted by their bytes; ``node`` gives what can follow a token's first bytes."""

    def __init__(self, words: list[bytes]) -> None:
        self.order = sorted(range(len(words)), key=lambda i: words[i])
        self.words = [words[i] for i in self.order]
        self.node = lru_cache(maxsize=None)(self.find)

    def find(self, prefix: bytes) -> tuple[int, int, int, npt.NDArray[np.int64]]:
        """Range of the tokens with a prefix, where those that are it end, next bytes of others."""
        begin = next(i for i, word in enumerate(self.words) if word.startswith(prefix))
        end = begin
        while end < len(self.words) and self.words[end].startswith(prefix):
            end += 1
        whole = begin
        while whole < end and self.words[whole] == prefix:
            whole += 1
        following = [word[len(prefix)] for word in self.words[whole:end]]
        return begin, whole, end, np.array(following, np.int64)


def counts(shares: Shares) -> npt.NDArray[np.int32]:
    """(256,) shares of any sum to counts of at least 1 that sum to COUNT_TOTAL."""
    shares = shares + 1e-12
    found = 1 + np.floor(shares / shares.sum() * (COUNT_TOTAL - 256)).astype(np.int32)
    found[shares.argmax()] += COUNT_TOTAL - found.sum()
    return found


def walk(model: CausalModel, data: bytes) -> Steps:
    """Raises SystemExit for text that the vocabulary cannot spell."""
    tokens = tokenize(model.table, load_tokenizer(model.folder.path), data)
    if tokens.side:
        raise SystemExit("holds bytes that the vocabulary cannot spell: give other text")
    vocabulary = Vocabulary([model.table.bytes_of[i] or b"" for i in model.usable])
    steps = Steps()
    with model.running():
        session = model.start(1, np.zeros(0, np.int32))
        for token in tokens.ids:
            row = session.probabilities()[0]
            steps.token_bits -= math.log2(max(row[model.rank[token]], LEAST))
            word = model.table.bytes_of[token] or b""
            add_word(steps, vocabulary, row[vocabulary.order], word)
            session.take(np.array([token], np.int32))
    return steps


def add_word(steps: Steps, vocabulary: Vocabulary, shares: Shares, word: bytes) -> None:
    for i in range(len(word) + 1):
        begin, whole, end, following = vocabulary.node(word[:i])
        if i and begin < whole < end:
            p = shares[begin:whole].sum() / shares[begin:end].sum()
            steps.ends.append((min(max(float(p), 1e-6), 1 - 1e-6), i == len(word)))
        if i < len(word):
            steps.rows.append(counts(np.bincount(following, shares[whole:end], 256)))


def end_bits(ends: list[tuple[float, bool]]) -> Iterator[float]:
    """Each decision by the mean of its probability and of what such ones have come to."""
    cells: dict[int, list[float]] = {}
    for p, ended in ends:
        place = round(min(max(2 * math.log(p / (1 - p)), -16), 16))
        cell = cells.setdefault(place, [2.4 - 2 * p, 0.4 + 2 * p])
        mixed = (cell[1] / sum(cell) + p) / 2
        yield -math.log2(mixed if ended else 1 - mixed)
        cell[ended] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--bytes", type=int, default=30_000)
    arguments = parser.parse_args()
    model = CausalModel(CausalFolder(arguments.folder), Settings(threads=1))
    print("text | bytes | token by token | by bytes, mixed | of which ends | context models alone")
    for path in arguments.files:
        data = path.read_bytes()[: arguments.bytes]
        steps, symbols = walk(model, data), np.frombuffer(data, np.uint8)
        geometry = lane_geometry(len(data), 1, TABLE_BITS)
        encoder = MixedEncoder(len(data), 1, 0, geometry.table_bits, False, choose_isa())
        encoder.encode(np.array(steps.rows, np.int32), symbols)
        ends = math.ceil(sum(end_bits(steps.ends)) / 8)
        mixed = len(encoder.finish()) + ends
        alone = len(NativeContexts().encode(symbols, geometry, no_progress))
        tokens = math.ceil(steps.token_bits / 8)
        print(path.name, len(data), tokens, mixed, ends, alone, sep=" | ", flush=True)


if __name__ == "__main__":
    main()
