"""What a byte of training costs, so that a speed can be compared with a device's peak."""

from __future__ import annotations

from nncodec.config import ModelConfig


def matrix_parameters(config: ModelConfig) -> int:
    """Weights that take part in products: no embedding, which is looked up, and no gains."""
    D, heads = config.d_model, config.n_heads * config.head_dim
    qkv = heads + 2 * config.n_kv_heads * config.head_dim
    ngrams = len(config.ngram_orders) * config.ngram_width
    return config.n_layers * D * (qkv + heads + 2 * config.d_ff) + (256 + ngrams) * D


def training_flops(config: ModelConfig) -> int:
    """Floating-point operations a byte, forwards and backwards: 6 a weight, and attention's 12 a
    channel and position seen (of which the first windows of a sequence need fewer)."""
    attention = 12 * config.n_heads * config.head_dim * sum(config.windows)
    return 6 * matrix_parameters(config) + attention
