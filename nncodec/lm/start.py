"""The model that training begins with."""

from __future__ import annotations

from pathlib import Path

import torch

from nncodec.config import ModelConfig
from nncodec.lm.grow import grow
from nncodec.lm.model import ByteTransformer


def starting_model(seed: int, shape: Path | None, start: Path | None) -> ByteTransformer:
    """Random weights, or the model in the folder ``start``, grown if ``shape`` is larger.

    ``shape`` is a folder with a config.json, which may leave out what is as nano's; without one it
    is the model's own, or nano's.
    """
    torch.manual_seed(seed)
    config = ModelConfig.design(shape) if shape else None
    if not start:
        return ByteTransformer(config or ModelConfig())
    old = ByteTransformer.from_pretrained(start)
    return old if config in (None, old.config) else grow(old, config)
