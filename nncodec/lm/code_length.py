"""The ideal code length of data under a float model: what arithmetic without any loss would give.

Lanes and their common prefix are cut as in an archive, so that the figure can be compared with
a real payload. ``scripts/measure_overheads.py`` and ``nncodec sweep`` measure with it.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from nncodec.blocks import Geometry, lane_lengths
from nncodec.config import BEGIN_OF_BLOCK, ModelConfig
from nncodec.lm.model import ByteTransformer

PIECE = 4096  # positions evaluated together: what bounds memory


def reach(config: ModelConfig) -> int:
    """How many positions back a prediction can depend on, through all layers and n-grams."""
    return sum(window - 1 for window in config.windows) + max(config.ngram_orders, default=1) - 1


@torch.inference_mode()
def float_bits(
    model: ByteTransformer, data: npt.NDArray[np.uint8], geometry: Geometry, piece: int = PIECE
) -> float:
    """Bits of (n,) ``data``: every lane sees the prefix and itself, as the engine's lanes do.

    Long lanes are evaluated in pieces, each behind as many positions as can reach into it, which
    are not counted twice: the same as in one go, to rounding.
    """
    prefix = geometry.prefix
    head = np.concatenate(([BEGIN_OF_BLOCK], data[:prefix].astype(np.int64)))
    total, start = 0.0, prefix
    for number, length in enumerate(lane_lengths(len(data) - prefix, geometry.lanes)):
        lane = data[start : start + length].astype(np.int64)
        start += length
        tokens = torch.from_numpy(np.concatenate((head, lane)))
        total += sequence_bits(model, tokens, 0 if number == 0 else prefix, piece)
    return total


def sequence_bits(model: ByteTransformer, tokens: torch.Tensor, first: int, piece: int) -> float:
    """Bits of ``tokens[first + 1:]`` given those before; (T,) int64, ``first`` < T."""
    total = 0.0
    for begin in range(first, len(tokens) - 1, piece):
        end = min(begin + piece, len(tokens) - 1)
        seen = max(0, begin - reach(model.config))
        logits = model(tokens[None, seen:end], start=seen)[0, begin - seen :]
        chosen = logits.log_softmax(-1).gather(1, tokens[begin + 1 : end + 1, None])
        total -= float(chosen.double().sum()) / math.log(2)
    return total
