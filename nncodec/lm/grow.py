"""A larger model that begins as a smaller one: training goes on where that one's stopped.

Function-preserving growth (Chen, Goodfellow and Shlens, "Net2Net", 2016; Gong et al., "Efficient
Training of BERT by Progressively Stacking", 2019), in its simplest form: what is old is copied,
what is new is read by nobody yet. New channels, heads, hidden units and layers start with small
random inputs and zero outputs, so the larger model says nearly what the smaller one said, and every
new weight has a gradient from the first or second step on.
"""

from __future__ import annotations

from typing import cast

import torch

from nncodec.config import ModelConfig
from nncodec.lm.model import Block, ByteTransformer

NEW_CHANNELS = 0.25  # standard deviation of new embedding channels, as a share of the old ones'


def layer_places(old: int, new: int) -> list[int]:
    """Where each of ``old`` layers goes among ``new``: new ones stand in the middle."""
    return [i if i < old // 2 else i + new - old for i in range(old)]


def grow(old: ByteTransformer, config: ModelConfig) -> ByteTransformer:
    """A model of the shape ``config`` that starts as ``old``; windows may be longer than before.

    Raises ValueError if a size of ``config`` is smaller than the old one, or if heads, key/value
    heads or the vocabulary do not fit.
    """
    small = old.config
    pairs = {
        "d_model": (small.d_model, config.d_model),
        "d_ff": (small.d_ff, config.d_ff),
        "n_heads": (small.n_heads, config.n_heads),
        "layers": (len(small.windows), len(config.windows)),
    }
    for name, (before, after) in pairs.items():
        if after < before:
            raise ValueError(f"{name} cannot shrink from {before} to {after}")
    same = ["n_kv_heads", "head_dim", "vocab_size", "rope_period", "rope_multipliers"]
    if small.ngram_orders:  # tables can be added, not reshaped
        same += ["ngram_orders", "ngram_bits", "ngram_width"]
    for name in same:
        if getattr(small, name) != getattr(config, name):
            raise ValueError(f"{name} cannot change: {getattr(small, name)}")
    if small.n_kv_heads != 1:
        raise ValueError("models with several key/value heads cannot grow: their groups change")
    new = ByteTransformer(config)
    d, f, q = small.d_model, small.d_ff, small.n_heads * small.head_dim
    # RMSNorm divides by the root of the mean over all channels; the new ones are nearly silent.
    scale = (d / config.d_model) ** 0.5
    with torch.no_grad():
        new.embed.weight *= NEW_CHANNELS * old.embed.weight.std()
        new.embed.weight[:, :d] = old.embed.weight
        new.head.weight.zero_()
        new.head.weight[:, :d] = old.head.weight * scale
        if old.ngrams is not None and new.ngrams is not None:
            new.ngrams.table.weight.copy_(old.ngrams.table.weight)
            new.ngrams.proj.weight[:d] = old.ngrams.proj.weight
            new.ngrams.proj.weight[d:] = 0
        places = layer_places(len(small.windows), len(config.windows))
        for number, place in enumerate(places):
            source, target = cast(Block, old.blocks[number]), cast(Block, new.blocks[place])
            qkv, copied = target.attention.qkv.weight, source.attention.qkv.weight * scale
            qkv[:, d:] = 0
            qkv[:q, :d] = copied[:q]
            qkv[config.n_heads * config.head_dim :, :d] = copied[q:]
            target.attention.gain[: small.n_heads] = source.attention.gain
            target.attention.out.weight.zero_()
            target.attention.out.weight[:d, :q] = source.attention.out.weight
            target.mlp.up.weight[:, d:] = 0
            target.mlp.up.weight[:f, :d] = source.mlp.up.weight * scale
            target.mlp.down.weight.zero_()
            target.mlp.down.weight[:d, :f] = source.mlp.down.weight
    return new
