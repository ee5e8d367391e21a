"""Float checkpoint -> integer model: int8 rows, folded scales, value ranges from calibration."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nncodec.engine_weights import MAX_SCALE, MIN_SCALE, EngineModel, Tensors
from nncodec.errors import InvalidModelError
from nncodec.lm.model import Block, ByteTransformer
from nncodec.lm.rounding import steps

LOG2_E = math.log2(math.e)
VALUE_HEADROOM = 1.1  # calibrated absmax of the attention values, times this, becomes code 127


def quantize_rows(weight: Tensor) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Symmetric int8 per output channel: (out, in) -> codes (out, in), scales (out,)."""
    scale = steps(weight, 1)
    codes = (weight / scale).round().clamp(-127, 127)
    return codes.to(torch.int8).numpy(), scale[:, 0].float().numpy()


def blocks(model: ByteTransformer) -> list[Block]:
    return cast(list[Block], list(model.blocks))


@torch.no_grad()
def value_ranges(model: ByteTransformer, tokens: Tensor) -> list[Tensor]:
    """Absmax of each layer's attention values by channel over (B, T) tokens: (G * C,) each."""
    ranges: list[Tensor] = []
    size = model.config.n_kv_heads * model.config.head_dim
    hooks = [
        block.attention.qkv.register_forward_hook(
            lambda _module, _args, out: ranges.append(out[..., -size:].abs().amax((0, 1)))
        )
        for block in blocks(model)
    ]
    try:
        model(tokens)
    finally:
        for hook in hooks:
            hook.remove()
    return ranges


@torch.no_grad()
def export(model: ByteTransformer, calibration: npt.NDArray[np.int64]) -> EngineModel:
    """Quantise ``model``; ``calibration`` is (B, T) tokens that look like the data to come.

    Raises InvalidModelError if a weight is NaN, infinite, or too large for exact arithmetic.
    """
    config = model.config
    model = model.float().cpu().eval()
    for name, p in model.named_parameters():
        if not p.isfinite().all():
            raise InvalidModelError(f"{name} holds NaN or infinity; the checkpoint is unusable")
    values = config.n_kv_heads * config.head_dim
    group = config.n_heads // config.n_kv_heads
    tensors: Tensors = {}

    def put(name: str, weight: Tensor, factor: Tensor | float = 1.0) -> None:
        codes, scale = quantize_rows(weight)
        tensors[f"{name}.weight"] = codes
        tensors[f"{name}.scale"] = (torch.from_numpy(scale) * factor).float().numpy()

    put("embed", model.embed.weight)
    put("head", model.head.weight, LOG2_E)
    if model.ngrams is not None:
        table, matrix = model.ngrams.fold()
        tensors["ngrams.table"] = table.round().clamp(-127, 127).to(torch.int8).numpy()
        put("ngrams.proj", matrix)
    ranges = value_ranges(model, torch.from_numpy(calibration))
    for i, (block, top) in enumerate(zip(blocks(model), ranges, strict=True)):
        qkv = block.attention.qkv.weight
        # Value of one code, by channel. A channel that was silent in calibration still needs a
        # scale (its row's, over this) that exact arithmetic allows.
        row_scale = steps(qkv[-values:], 1)[:, 0]
        step = torch.maximum(top * (VALUE_HEADROOM / 127), row_scale * (2 / MAX_SCALE))
        factor = torch.ones(len(qkv))
        factor[-values:] = 1 / step
        put(f"blocks.{i}.qkv", qkv, factor)
        by_head = step.view(config.n_kv_heads, 1, -1).expand(-1, group, -1).reshape(-1)
        put(f"blocks.{i}.out", block.attention.out.weight * by_head)
        put(f"blocks.{i}.up", block.mlp.up.weight)
        put(f"blocks.{i}.down", block.mlp.down.weight)
        gain = block.attention.gain * config.head_dim**-0.5 * LOG2_E
        sign = torch.where(gain < 0, -1.0, 1.0)
        tensors[f"blocks.{i}.gain"] = (sign * gain.abs().clamp(MIN_SCALE, MAX_SCALE)).numpy()
    return EngineModel(config, tensors)
