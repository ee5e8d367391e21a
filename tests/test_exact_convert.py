"""Conversion of Llama-family models: the integer twin says what the float model says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exact_models import (
    SHAPES,
    converted,
    counts_of,
    families,
    float_log2,
    float_model,
    random_model,
    symbols,
)

from nncodec.causal.exact.balance import choose, pair_factors, rounded
from nncodec.causal.exact.config import ExactConfig
from nncodec.causal.exact.convert import convert, shape_of
from nncodec.causal.exact.native import NativeEngine
from nncodec.causal.exact.reference import ReferenceEngine
from nncodec.causal.exact.weights import ExactModel, token_tensors
from nncodec.errors import InvalidModelError

FAMILIES = list(families())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_integer_twin_says_what_the_float_model_says(family: str) -> None:
    """On text that neither saw: random weights lose more than trained ones, and these are wild."""
    model = converted(family)
    ids = np.random.default_rng(7).integers(0, 90, (4, 90))
    ids[:, 0] = 1
    p = float_log2(float_model(family), ids)[..., model.tensors["tokens.ids"]]
    counts = counts_of(ReferenceEngine(model), ids)
    q = np.log2(counts / 2.0**32)
    entropy = -(np.exp2(p) * p).sum(-1).mean()
    divergence = (np.exp2(p) * (p - q)).sum(-1).mean()
    assert 2 < entropy < 6.4
    assert divergence < 0.002 * entropy
    assert (counts_of(NativeEngine(model, 2), ids) == counts).all()


def test_channels_that_tower_over_others_are_balanced() -> None:
    rng = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 32, generator=rng)
    rows[:, 3] *= 100
    weight = torch.randn(64, 32, generator=rng)
    want = rows @ weight.T
    factor = choose(rows, weight)

    def error(factor: torch.Tensor) -> float:
        return float((rounded(rows * factor) @ rounded(weight / factor).T - want).norm())

    assert error(factor) < 0.3 * error(torch.ones(32))
    assert factor[3] < 0.3 * factor.median()


def test_both_channels_of_a_rotary_pair_have_one_factor() -> None:
    queries, keys = torch.rand(2, 8) + 0.1, torch.rand(2, 8) * 50 + 0.1
    factor = pair_factors(queries, keys)
    assert (factor[:, :4] == factor[:, 4:]).all()
    top_q, top_k = queries * factor, keys / factor
    ratio = torch.maximum(top_q[:, :4], top_q[:, 4:]) / torch.maximum(top_k[:, :4], top_k[:, 4:])
    assert torch.allclose(ratio, ratio[:, :1], rtol=1e-3)  # as far as they go, they are even


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model_type": "gpt2"}, "gpt2"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "yarn"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "part of each head"),
        ({"vocab_size": 3}, "exceed"),
        ({"max_position_embeddings": 1}, "context"),
    ],
)
def test_what_the_engine_does_not_compute_is_refused(changes: dict[str, Any], why: str) -> None:
    config = families()["Llama 2"]
    values = config.to_dict() | {"model_type": "llama"} | changes
    stand_in = type("Config", (), values)()
    with pytest.raises(InvalidModelError, match=why):
        shape_of(stand_in, symbols(90), 1, None, torch.ones(6) / 7)


def test_windows_and_lengths_bound_the_context() -> None:
    turns = torch.ones(10) / 7
    assert shape_of(families()["Mistral"], symbols(90), 1, None, turns).context == 100
    assert shape_of(families()["Mistral"], symbols(90), 1, 40, turns).context == 40
    with pytest.raises(InvalidModelError, match=r"2\.\.100"):
        shape_of(families()["Mistral"], symbols(90), 1, 101, turns)


@pytest.mark.parametrize("what", ["NaN", "a bias of the output"])
def test_checkpoints_that_cannot_be_converted(what: str) -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig

    config = LlamaConfig(**{**families()["Llama 2"].to_dict(), "attention_bias": True})
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        attention = model.model.layers[1].self_attn
        if what == "NaN":
            attention.k_proj.weight[3, 4] = float("nan")
        else:
            attention.o_proj.bias[2] = 1
    with pytest.raises(InvalidModelError, match=r"layers\.1\.self_attn\.[ko]_proj"):
        convert(model, symbols(90), 1, np.ones((1, 4), np.int64))


def test_a_folder_keeps_the_model(tmp_path: Path) -> None:
    model = random_model("biases")
    model.save(tmp_path)
    again = ExactModel.load(tmp_path)
    assert again.model_id == model.model_id
    assert again.symbol_bytes == sorted(again.symbol_bytes)
    assert again.symbol_of[again.tensors["tokens.ids"]].tolist() == list(range(83))
    assert (again.symbol_of < 0).sum() == 7


@pytest.mark.parametrize("name", SHAPES)
def test_the_id_of_a_model_is_its_own(name: str) -> None:
    ids = {random_model(n).model_id for n in SHAPES} | {random_model(name, 1).model_id}
    assert len(ids) == len(SHAPES) + 1


def test_every_tensor_is_in_the_id() -> None:
    model = random_model("biases")
    for name, value in model.tensors.items():
        changed = value.copy()
        flat = changed.reshape(-1)
        if name == "tokens.ids":
            flat[:2] = flat[1::-1]
        elif name == "tokens.lengths":
            flat[0], flat[1] = flat[0] + 1, flat[1] - 1
        else:
            flat[0] = flat[0] / 2 if value.dtype == np.float32 else (flat[0] ^ 1) % 100
        assert ExactModel(model.config, {**model.tensors, name: changed}).model_id != (
            model.model_id
        ), name


def broken(name: str, value: np.ndarray) -> dict[str, np.ndarray]:
    return {**random_model("biases").tensors, name: value}


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("eps", np.array([-1e-3, 1e-3], np.float32), "eps"),
        ("eps", np.array([0, 1e-3], np.float32), "eps"),
        ("head.balance", np.full(32, np.nan, np.float32), "balance"),
        ("head.balance", np.full(31, 1, np.float32), "balance"),
        ("blocks.0.qkv.bias", np.full(96, 2.0**21, np.float32), "bias"),
        ("blocks.0.qkv.bias", np.full(96, np.nan, np.float32), "bias"),
        ("blocks.0.qkv.bias", np.full(96, 2.0**-41, np.float32), "bias"),
        ("blocks.1.down.weight", np.full((32, 48), -128, np.int8), "-128"),
        ("tokens.ids", np.zeros(83, np.int32), "different"),
        ("tokens.ids", np.arange(83, dtype=np.int32) + 8, "different"),
        ("tokens.ids", np.arange(83, dtype=np.int32) - 1, "different"),
        ("tokens.lengths", np.zeros(83, np.int32), "lengths"),
        ("tokens.lengths", np.full(83, 9, np.int32), "tokens.bytes"),
        ("extra", np.zeros(1, np.int8), "extra"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(name: str, value: np.ndarray, why: str) -> None:
    with pytest.raises(InvalidModelError, match=why):
        ExactModel(random_model("biases").config, broken(name, value))


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_size": 1 << 19}, {"n_symbols": 1}, {"n_symbols": 91}, {"begin": 90},
        {"head_dim": 15}, {"n_kv_heads": 3}, {"overlap": 64}, {"overlap": 0}, {"context": 4097},
        {"n_layers": 129}, {"rope_period": 6}, {"qkv_bias": 2}, {"d_model": 0}, {"d_ff": True},
        {"rope_multipliers": (1,) * 7}, {"rope_multipliers": (4096,) * 8}, {"d_model": "32"},
        {"model_type": "llama"}, {"context": None},
    ],
)  # fmt: skip
def test_configs_out_of_range_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    from dataclasses import asdict

    values = {"model_type": "nncodec-exact", **asdict(SHAPES["shared heads"])}
    assert ExactConfig.from_dict(values) == SHAPES["shared heads"]
    with pytest.raises(InvalidModelError, match="config"):
        ExactConfig.from_dict(values | changes)
    del values["overlap"]
    with pytest.raises(InvalidModelError, match="overlap"):
        ExactConfig.from_dict(values)
    with pytest.raises(InvalidModelError, match="cannot read"):
        ExactModel.load(tmp_path)


def test_a_vocabulary_without_bytes_is_refused() -> None:
    with pytest.raises(InvalidModelError, match="no token"):
        token_tensors([None, b"", None])
