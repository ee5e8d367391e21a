"""The model that training begins with."""

from __future__ import annotations

from pathlib import Path

import torch

from nncodec.config import ModelConfig
from nncodec.lm.grow import grow
from nncodec.lm.model import ByteTransformer


def starting_model(seed: int, shape: Path | None, start: Path | None) -> ByteTransformer:
    """Random weights, or the model in the folder ``start``, grown if ``shape`` is larger.

    ``shape`` is a folder with a config.json; without one it is the model's own, or the default.
    """
    torch.manual_seed(seed)
    if start:
        old = ByteTransformer.from_pretrained(start)
        return grow(old, ModelConfig.load(shape) if shape else old.config)
    return ByteTransformer(ModelConfig.load(shape) if shape else ModelConfig())
