"""Models of the Llama family for tests: integer ones of random weights, and float ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from nncodec.causal.exact.coding import Engine
from nncodec.causal.exact.config import ExactConfig
from nncodec.causal.exact.convert import convert
from nncodec.causal.exact.weights import ExactModel, expected_shapes, token_tensors

Ids = npt.NDArray[np.int64]


def shape(**fields: Any) -> ExactConfig:
    """A small config; ``fields`` replace its own."""
    small: dict[str, Any] = {
        "vocab_size": 90, "n_symbols": 83, "begin": 1, "d_model": 32, "n_layers": 2, "n_heads": 4,
        "n_kv_heads": 2, "head_dim": 16, "d_ff": 48, "context": 64, "overlap": 16,
        "rope_period": 1 << 12,
    }  # fmt: skip
    small |= fields
    pairs = small["head_dim"] // 2
    fastest = small["rope_period"] / 6.28
    turns = [round(fastest ** (1 - i / pairs)) for i in range(pairs)]
    return ExactConfig(**{"rope_multipliers": tuple(turns), **small})


SHAPES = {
    "shared heads": shape(),
    "biases": shape(qkv_bias=1, n_kv_heads=1),
    "norms of heads": shape(qk_norm=1, n_kv_heads=4, head_dim=8),
    "all odd": shape(
        d_model=37, d_ff=71, head_dim=10, n_heads=6, n_kv_heads=2, n_symbols=61, qkv_bias=1,
        qk_norm=1, rope_period=100, context=33,
    ),
    "many tokens": shape(vocab_size=5003, n_symbols=4999, n_layers=1),
    "tiniest": shape(
        vocab_size=2, n_symbols=2, d_model=1, d_ff=1, head_dim=2, n_heads=1, n_kv_heads=1,
        n_layers=1, context=2, overlap=1, rope_period=4, begin=0,
    ),
    "sums beyond 24 bits": shape(
        d_model=1100, d_ff=1100, head_dim=256, n_heads=1, n_kv_heads=1, n_layers=1, context=8,
        overlap=2,
    ),
    "a long context": shape(d_model=16, head_dim=8, n_layers=1, context=1500),
}  # fmt: skip


def symbols(n: int) -> list[bytes | None]:
    """Bytes for n ids, no two alike, neither the shortest first nor sorted."""
    return [bytes([i * 7 % 251, i % 256, i // 256])[i % 2 :] for i in range(n)]


@lru_cache
def random_model(name: str, seed: int = 0) -> ExactModel:
    """An integer model of weights that no training ever saw."""
    return fill(SHAPES[name], seed)


def fill(config: ExactConfig, seed: int) -> ExactModel:
    rng = np.random.default_rng(seed)
    tokens = symbols(config.vocab_size)
    for i in rng.permutation(config.vocab_size)[config.n_symbols :]:
        tokens[i] = None
    tensors = token_tensors(tokens)
    for tensor, (dtype, size) in expected_shapes(config).items():
        if dtype is np.int8:
            tensors[tensor] = rng.integers(-127, 128, size, np.int8)
        elif dtype is np.float32:
            values = rng.uniform(0.5, 2.0, size)
            if tensor.endswith(".scale"):
                values *= 0.02 * tensors[tensor.replace("scale", "weight")].shape[1] ** -0.5
            if tensor.endswith("qkv.scale"):
                values[-config.n_kv_heads * config.head_dim :] *= 60  # codes of values
            if tensor.endswith("bias"):
                values = rng.normal(0, 3, size)
            if tensor == "eps":
                values *= 1e-4
            tensors[tensor] = values.astype(np.float32)
    return ExactModel(config, tensors)


def random_ids(config: ExactConfig, seed: int, lanes: int, length: int) -> Ids:
    return np.random.default_rng(seed).integers(0, config.vocab_size, (lanes, length))


def counts_of(engine: Engine, ids: Ids, chunks: Sequence[int] = ()) -> npt.NDArray[np.uint32]:
    """(B, T) ids -> (B, T, K) counts; ``chunks`` are lengths, the rest comes in one call."""
    state = engine.start()
    if len(ids) > 1:
        state.fork(len(ids))
    ends = np.minimum(np.cumsum(chunks, dtype=np.int64), ids.shape[1])
    return np.concatenate([state.advance(part) for part in np.split(ids, ends, 1)], 1)


def families() -> dict[str, Any]:
    """Configs of transformers that exact mode reads, each with something of its own."""
    from transformers import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

    small: dict[str, Any] = {
        "vocab_size": 90, "hidden_size": 48, "intermediate_size": 100, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
        "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    rope = {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32, "rope_theta": 500000.0,
    }  # fmt: skip
    return {
        "Llama 2": LlamaConfig(**small),
        "Llama 3": LlamaConfig(**small, rope_parameters=rope, tie_word_embeddings=True),
        "Mistral": MistralConfig(**small, head_dim=20, sliding_window=100),
        "Qwen2": Qwen2Config(**small),
        "Qwen3": Qwen3Config(**small, head_dim=32),
    }


@lru_cache
def float_model(family: str) -> Any:
    """A float model with gains, biases and one channel that towers over the others."""
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(5)
        model = AutoModelForCausalLM.from_config(families()[family], dtype=torch.float32)
        for name, p in model.named_parameters():
            if "norm" in name:
                p.copy_(torch.exp(0.3 * torch.randn_like(p)))
            elif name.endswith("bias"):
                p.normal_(0, 8 if "k_proj" in name else 1)  # Qwen2's keys are like that
            else:
                p.normal_(0, 1 if "embed" in name else p.shape[1] ** -0.5)
        model.model.embed_tokens.weight[:, 5] *= 10
        gain = model.model.norm.weight
        gain *= 0.1 if model.config.tie_word_embeddings else 2
        gain[5] /= 10
    return model.eval()


def float_log2(model: Any, ids: Ids) -> npt.NDArray[np.float64]:
    """(B, T) ids -> (B, T, V) log2 of the probabilities behind each."""
    with torch.no_grad():
        z = model(torch.from_numpy(ids)).logits.double()
    return (z.log_softmax(-1) / np.log(2)).numpy()


@lru_cache
def converted(family: str) -> ExactModel:
    """The integer twin of ``float_model``, in which every id stands for bytes."""
    ids = np.random.default_rng(1).integers(0, 90, (4, 96))
    return convert(float_model(family), symbols(90), 1, ids)
