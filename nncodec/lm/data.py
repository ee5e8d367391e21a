"""Corpora to batches: a seed and a cursor decide every batch, so a resumed run sees the same ones.

A corpus folder holds ``<domain>.bin`` (documents, each closed by one separator byte) and
``<domain>.idx`` (little-endian uint64 offsets: document i is ``bin[idx[i]:idx[i+1]-1]``), and the
same with ``.valid`` for held-out documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nncodec.config import BEGIN_OF_BLOCK

# Shares of the training bytes by domain: text first, because that is what people compress with a
# language model, but every kind in it.
DEFAULT_MIX = {
    "en_books": 0.17,
    "en_wiki": 0.17,
    "en_modern": 0.15,
    "code": 0.18,
    "docs": 0.09,
    "data": 0.11,
    "multi": 0.10,
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

    def window(self, at: int, length: int) -> npt.NDArray[np.int64]:
        """``length`` tokens: the block mark, then bytes from ``at`` with separators as marks."""
        body = self.data[at : at + length - 1].astype(np.int64)
        low, high = np.searchsorted(self.offsets, (at + 1, at + len(body) + 1))
        body[self.offsets[low:high] - 1 - at] = BEGIN_OF_BLOCK  # the byte that closes one
        tokens = np.full(length, BEGIN_OF_BLOCK, dtype=np.int64)
        tokens[1 : 1 + len(body)] = body
        return tokens


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
        data = np.memmap(path, dtype=np.uint8, mode="r")
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


def mix_for(domains: list[Domain]) -> dict[str, float]:
    """Weights of domains: the default ones if they cover all of them, else by size."""
    if all(d.name in DEFAULT_MIX for d in domains):
        return DEFAULT_MIX
    return {d.name: float(len(d.data)) for d in domains}


def with_crlf(tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The window as a DOS text file would have it, LF as CR LF, cut back to its length."""
    count = np.where(tokens == ord("\n"), 2, 1)
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
            raise ValueError(f"no weight for the domains {sorted(unknown)}; known: {sorted(mix)}")
        self.domains, self.batch_size, self.length, self.seed = domains, batch, length, seed
        self.crlf = crlf
        weights = np.array([mix[d.name] for d in domains])
        self.weights = weights / weights.sum()

    def batch(self, cursor: int) -> npt.NDArray[np.int64]:
        """(batch, length) tokens in [0, 256]. Windows start anywhere, a tenth at a document."""
        rng = np.random.Generator(np.random.Philox(key=self.seed, counter=cursor << 64))
        rows = []
        for pick in rng.choice(len(self.domains), self.batch_size, p=self.weights):
            domain = self.domains[pick]
            if rng.random() < 0.1:
                at = int(domain.offsets[rng.integers(len(domain.offsets) - 1)])
            else:
                at = int(rng.integers(max(1, len(domain.data) - self.length)))
            row = domain.window(at, self.length)
            if self.crlf and rng.random() < self.crlf and domain.name != "binary":
                row = with_crlf(row)
            rows.append(row)
        return np.stack(rows)
