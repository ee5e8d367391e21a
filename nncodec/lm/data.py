"""Corpora to batches: a seed and a cursor decide every batch, so a resumed run sees the same ones.

A corpus folder holds ``<domain>.bin`` (documents, each closed by one separator byte) and
``<domain>.idx`` (little-endian uint64 offsets: document i is ``bin[idx[i]:idx[i+1]-1]``), and the
same with ``.valid`` for held-out documents.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nncodec.config import BEGIN_OF_BLOCK
from nncodec.errors import UnknownDomainError

# Shares of the training bytes by domain: text first, because that is what people compress with a
# language model, but every kind in it.
DEFAULT_MIX = {
    "en_books": 0.17,
    "en_wiki": 0.17,
    "en_modern": 0.13,
    "code": 0.17,
    "docs": 0.08,
    "data": 0.11,
    "multi": 0.14,
    "binary": 0.03,
}


@dataclass(frozen=True)
class Domain:
    """One memory-mapped stream of documents, each closed by a separator byte.

    ``offsets`` (n + 1) bound the documents: number i is ``data[offsets[i] : offsets[i + 1] - 1]``.
    """

    name: str
    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]

    def window(self, at: int, length: int, chance: Callable[[], float]) -> npt.NDArray[np.int64]:
        """(length,) tokens: a mark, then the bytes from ``at`` to the end of their document.

        A mark and another document follow until the window is full. ``chance`` names each of them
        by a number in [0, 1): neighbours in a corpus are often alike, which archives' are not.
        """
        tokens = np.empty(length, dtype=np.int64)
        self.fill(tokens, at, chance)
        return tokens

    def fill(self, tokens: npt.NDArray[np.int64], at: int, chance: Callable[[], float]) -> None:
        """``window`` into an array that is there."""
        length = len(tokens)
        tokens[0] = BEGIN_OF_BLOCK
        end = int(self.offsets[self.offsets.searchsorted(at, "right")])
        filled = 1
        while True:
            size = min(end - at, length - filled)
            tokens[filled : filled + size] = self.data[at : at + size]
            filled += size
            if at + size == end:
                tokens[filled - 1] = BEGIN_OF_BLOCK  # in place of the byte that closes a document
            if filled == length:
                return
            number = int(chance() * (len(self.offsets) - 1))
            at, end = int(self.offsets[number]), int(self.offsets[number + 1])


def load_domains(folder: Path, split: str = "train") -> list[Domain]:
    """Map every domain of a corpus folder. ``split`` is ``train`` or ``valid``.

    Raises FileNotFoundError naming the folder if it holds none, ValueError if an index is damaged.
    """
    domains = []
    suffix = ".valid.bin" if split == "valid" else ".bin"
    for path in sorted(folder.glob(f"*{suffix}")):
        name = path.name[: -len(suffix)]
        if split == "train" and name.endswith(".valid"):
            continue
        offsets = np.fromfile(path.with_suffix(".idx"), dtype="<u8").astype(np.int64)
        data = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))  # plain arrays slice faster
        if (
            len(offsets) < 2
            or offsets[0] != 0
            or offsets[-1] != len(data)
            or (np.diff(offsets) < 1).any()
        ):
            raise ValueError(f"{path.with_suffix('.idx')}: offsets do not cover {path.name}")
        domains.append(Domain(name, data, offsets))
    if not domains:
        raise FileNotFoundError(f"{folder}: no *{suffix} files; unpack the training corpora there")
    return domains


def parse_mix(text: str) -> dict[str, float]:
    """``domain=weight,...`` as a dictionary. Raises ValueError naming the part that is not so."""
    mix = {}
    for part in text.split(","):
        name, separator, number = part.partition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if not (name and separator and 0 <= weight < math.inf):
            raise ValueError(f"the mix has {part!r}; write domain=weight with a weight from 0 on")
        mix[name] = weight
    if not any(mix.values()):
        raise ValueError(f"the mix {text!r} gives every domain the weight 0")
    return mix


def mix_for(domains: list[Domain], asked: dict[str, float] | None = None) -> dict[str, float]:
    """Weights of the domains to draw from: those ``asked`` for; without, the default ones if they
    cover all domains, else by size. Raises UnknownDomainError."""
    names = [d.name for d in domains]
    if asked:
        if unknown := sorted(asked.keys() - set(names)):
            raise UnknownDomainError(f"no domain {', '.join(unknown)}; the corpus has {names}")
        return {name: weight for name, weight in asked.items() if weight > 0}
    if all(name in DEFAULT_MIX for name in names):
        return {name: DEFAULT_MIX[name] for name in names}
    return {d.name: float(len(d.data)) for d in domains}


def with_crlf(tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The window as a DOS text file would have it, LF as CR LF, cut back to its length."""
    bare = tokens == ord("\n")
    bare[1:] &= tokens[:-1] != ord("\r")  # one that has its CR keeps it
    count = np.where(bare, 2, 1)
    wide = np.repeat(tokens, count)
    wide[(np.cumsum(count) - 2)[count == 2]] = ord("\r")
    return wide[: len(tokens)]


class BatchSampler:
    """Batches as a pure function of (seed, cursor): ``batch(i)`` never depends on earlier calls.

    ``crlf`` is the share of windows, binary ones aside, whose line ends become CR LF.
    """

    def __init__(
        self,
        domains: list[Domain],
        mix: dict[str, float],
        batch: int,
        length: int,
        seed: int,
        crlf: float = 0.0,
    ) -> None:
        unknown = {d.name for d in domains} - set(mix)
        if unknown:
            raise UnknownDomainError(
                f"no weight for the domains {sorted(unknown)}; known: {sorted(mix)}"
            )
        self.domains, self.batch_size, self.length, self.seed = domains, batch, length, seed
        self.crlf = crlf
        cumulative = np.cumsum([mix[d.name] for d in domains])
        self.cumulative = cumulative / cumulative[-1]

    def batch(self, cursor: int, rows: slice = slice(None)) -> npt.NDArray[np.int64]:
        """(batch, length) tokens in [0, 256], or only those ``rows`` of them.

        A window starts at any byte of its domain, a tenth at a document's first.
        """
        first = np.random.Generator(self._random(cursor, 0))
        chances = first.random((4, self.batch_size))
        picks = self.cumulative.searchsorted(chances[0], "right")
        numbers = range(self.batch_size)[rows]
        batch = np.empty((len(numbers), self.length), dtype=np.int64)
        for tokens, row in zip(batch, numbers, strict=True):
            domain = self.domains[picks[row]]
            place = float(chances[2, row])
            if chances[1, row] < 0.1:
                at = int(domain.offsets[int(place * (len(domain.offsets) - 1))])
            else:
                at = int(place * len(domain.data))
            domain.fill(tokens, at, self._chance(cursor, row))
            if chances[3, row] < self.crlf and domain.name != "binary":
                tokens[:] = with_crlf(tokens)
        return batch

    def _random(self, cursor: int, stream: int) -> np.random.Philox:
        """Stream 0 draws where the windows start, stream 1 + row that row's further documents."""
        return np.random.Philox(key=self.seed, counter=(stream << 128) + (cursor << 64))

    def _chance(self, cursor: int, row: int) -> Callable[[], float]:
        """Numbers in [0, 1) for one row. Most rows need none: the generator is made late."""
        generator: np.random.Generator | None = None

        def draw() -> float:
            nonlocal generator
            if generator is None:
                generator = np.random.Generator(self._random(cursor, 1 + row))
            return generator.random()

        return draw
