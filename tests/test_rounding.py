"""Rounding in the loop: same places and levels, straight gradients, and it mends what it should."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import JSON, TEXT, TINY, random_tokens, run_engine, tiny_float_model, with_begin

from nncodec.engine.reference import ReferenceEngine
from nncodec.lm.export import export
from nncodec.lm.model import ByteTransformer
from nncodec.lm.plan import TrainConfig
from nncodec.lm.rounding import rounded, set_rounding
from nncodec.lm.train import byte_loss, make_optimizers
from nncodec.numerics import COUNT_TOTAL

GRAMS = replace(TINY, ngram_orders=(2, 5), ngram_bits=5, ngram_width=6)


def test_rounded_has_255_levels_and_a_straight_gradient() -> None:
    x = torch.linspace(-3, 3, 2001).view(1, -1).requires_grad_()
    y = rounded(x, 1)
    assert len(y.unique()) == 255
    assert (y - x).abs().max() <= 3 / 127 / 2 * 1.001
    torch.autograd.backward(y.square().sum())
    assert x.grad is not None
    assert torch.equal(x.grad, 2 * y.detach())


def test_zeros_stay_zeros() -> None:
    assert torch.equal(rounded(torch.zeros(3, 4), 1), torch.zeros(3, 4))


def int8_step(model: ByteTransformer, name: str, weight: torch.Tensor) -> torch.Tensor:
    """What one level is worth: one step a row of a matrix, one a table, folded into its matrix."""
    if "ngrams" not in name:
        return (weight.abs().amax(1, keepdim=True) / 127).expand_as(weight)
    units = model.ngrams.steps()
    if "table" in name:
        return units.expand(-1, len(weight) // len(units), weight.shape[1]).flatten(0, 1)
    columns = units.flatten().repeat_interleave(model.config.ngram_width)
    return (weight * columns).abs().amax(1, keepdim=True) / 127 / columns


def test_every_matrix_and_table_is_rounded() -> None:
    """A change below half a step of any weight but the largest is not heard; unrounded, it is."""
    model = tiny_float_model(2, GRAMS)
    tokens = torch.from_numpy(random_tokens(1, 2, 30))
    for on in (False, True):
        set_rounding(model, on)
        with torch.no_grad():
            before = model(tokens)
            for name, weight in model.named_parameters():
                if weight.ndim < 2:
                    continue
                kept = weight.clone()
                step = int8_step(model, name, weight)
                inner = weight.abs() < 126 * step
                weight[inner] = ((weight / step).round() * step)[inner]
                onto_grid = model(tokens)
                weight[inner] += 0.3 * step[inner]
                heard = not torch.allclose(model(tokens), onto_grid, atol=1e-4)
                weight.copy_(kept)
                assert heard != on, name
            assert torch.equal(model(tokens), before)


def test_rounding_changes_as_much_as_the_engine_does() -> None:
    """Divergence from the plain model: the same size by rounding in the loop and by the engine."""
    model, tokens = tiny_float_model(8, GRAMS), random_tokens(3, 2, 200)
    engine = run_engine(ReferenceEngine(export(model, tokens)), tokens) / COUNT_TOTAL
    with torch.no_grad():
        plain = model(torch.from_numpy(tokens)).double().softmax(-1).numpy()
        set_rounding(model, True)
        looped = model(torch.from_numpy(tokens)).double().softmax(-1).numpy()

    def divergence(q: np.ndarray) -> float:
        return float((plain * np.log(plain / q)).sum(-1).mean())

    assert 0.5 < divergence(looped) / divergence(engine) < 2


def engine_bits(model: ByteTransformer, data: bytes) -> float:
    """Bits a byte of the exported model on ``data``, calibrated on it."""
    symbols = np.frombuffer(data, dtype=np.uint8)[None].astype(np.int64)
    tokens = with_begin(symbols)
    counts = run_engine(ReferenceEngine(export(deepcopy(model), tokens)), tokens)
    p = np.take_along_axis(counts, symbols[..., None], -1) / COUNT_TOTAL
    return float(-np.log2(p).mean())


@pytest.mark.parametrize("seed", [1, 2])
def test_training_with_rounding_mends_a_model_that_rounds_badly(seed: int) -> None:
    """One loud hidden unit leaves no levels to the others. Same steps, same data: rounding in the
    loop ends with the better engine."""
    start = tiny_float_model(seed, GRAMS)
    with torch.no_grad():
        for block in start.blocks:
            block.mlp.up.weight[0] *= 20
            block.mlp.down.weight[:, 0] = 0
    data = TEXT + JSON
    tokens = torch.from_numpy(with_begin(np.frombuffer(data, dtype=np.uint8)[None]))
    whole = torch.cat((tokens, torch.tensor([[data[-1]]])), 1)
    bits = {}
    for on in (False, True):
        model = deepcopy(start)
        set_rounding(model, on)
        optimizers = make_optimizers(model, TrainConfig(bytes=1))
        for _ in range(60):
            torch.autograd.backward(byte_loss(model, whole))
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
        set_rounding(model, False)
        bits[on] = engine_bits(model, data)
    assert bits[True] < bits[False] - 0.01, bits
