"""Texts that are read one by one: windows of tokens, and bits per byte over all of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from nncodec.errors import QuantizationError
from nncodec.lossy.evaluate import CausalLM

BATCH = 16  # windows at once: a part of the measure, as sums of floats depend on it a little
IGNORED = -100  # a target that does not count


def read(path: Path) -> list[bytes]:
    """A text file, cut at NUL bytes as the training corpora are.

    Raises QuantizationError if it is empty.
    """
    found = [piece for piece in path.read_bytes().split(b"\0") if piece]
    if not found:
        raise QuantizationError(f"{path} holds no text: give a file with words in it")
    return found


def windows(model: CausalLM, documents: Sequence[bytes]) -> list[list[int]]:
    """Tokens in runs that do not overlap, of at most ``model.window``, each behind the begin."""
    head = [] if model.begin is None else [model.begin]
    size = model.window - len(head)
    rows = []
    for text in documents:
        ids = model.tokens(text)
        rows += [head + ids[at : at + size] for at in range(0, len(ids), size)]
    return [row for row in rows if len(row) > 1]


def padded(rows: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Rows to inputs and targets, (B, T) int64 each; the targets of padding are ``IGNORED``."""
    longest = max(map(len, rows))
    tokens = torch.full((len(rows), longest), IGNORED)
    for line, row in zip(tokens, rows, strict=True):
        line[: len(row)] = torch.tensor(row)
    return tokens[:, :-1].clamp(min=0), tokens[:, 1:]


@torch.no_grad()
def bits_per_byte(model: CausalLM, documents: Sequence[bytes]) -> float:
    """Cross entropy of all documents' tokens, in bits, over the bytes of their text."""
    rows = sorted(windows(model, documents), key=len)  # of like length together: less padding
    nats = 0.0
    for at in range(0, len(rows), BATCH):
        inputs, targets = padded(rows[at : at + BATCH])
        losses = F.cross_entropy(
            model.logits(inputs).flatten(0, 1),
            targets.flatten(),
            ignore_index=IGNORED,
            reduction="none",
        )
        nats += losses.double().sum().item()
    return nats / math.log(2) / sum(map(len, documents))
