"""A network that learns while it codes: no byte is charged with hindsight, all come back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from helpers import TEXT

from nncodec._core import MixedDecoder, RangeDecoder
from nncodec.config import ModelConfig
from nncodec.errors import NNCodecError
from nncodec.lm.online import OnlineNetwork, Streams, online_code_length
from nncodec.lm.online_plan import OnlinePlan, plan_for

TINY = ModelConfig(
    d_model=32, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=64, windows=(16,),
    ngram_orders=(2, 3), ngram_bits=8, ngram_width=4,
)  # fmt: skip
PLAN = OnlinePlan(shape=TINY, streams=1, segment=8, context=8, warmup_steps=5, replay=1)
MIXED = replace(PLAN, table_bits=10)
SIDE_BY_SIDE = replace(MIXED, streams=3)
Bytes = npt.NDArray[np.uint8]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def as_bytes(data: bytes) -> Bytes:
    return np.frombuffer(data, np.uint8)


def decode(payload: bytes, size: int, plan: OnlinePlan) -> bytes:
    """What a decoder would do on this machine: a forward pass for each byte of a stream."""
    streams = Streams(size, plan)
    network = OnlineNetwork(streams, plan)
    lanes = len(streams.lengths)
    shape = (size, lanes, 0, plan.table_bits)
    decoder = MixedDecoder(*shape, payload, True, "") if plan.table_bits else RangeDecoder(payload)
    out = np.zeros(size, np.uint8)
    for step in range(streams.steps):
        places = streams.places(step)
        known = 0
        while known < len(places):
            streams.fill(step, out[places[:known]])
            time = known // lanes
            counts = np.ascontiguousarray(network.predict()[:, time])
            got = as_bytes(decoder.decode(counts[: len(places) - known]))
            out[places[known : known + len(got)]] = got
            known += len(got)
        streams.fill(step, out[places])
        network.predict()
        network.learn()
    decoder.finish()
    return out.tobytes()


@pytest.mark.parametrize("plan", [PLAN, MIXED, SIDE_BY_SIDE], ids=["network", "mixed", "streams"])
@pytest.mark.parametrize("size", [1, 2, 8, 233])
def test_a_decoder_gets_the_bytes_back(plan: OnlinePlan, size: int) -> None:
    data = TEXT[:size]
    assert decode(online_code_length(as_bytes(data), plan).payload, size, plan) == data


@pytest.mark.parametrize("plan", [PLAN, MIXED, SIDE_BY_SIDE], ids=["network", "mixed", "streams"])
@pytest.mark.parametrize("changed", [0, 150, 298])
def test_no_byte_is_charged_with_hindsight(plan: OnlinePlan, changed: int) -> None:
    """Another byte changes no cost of those coded before it, not in the last bit."""
    data = np.array(as_bytes(TEXT[:299]))
    streams = Streams(len(data), plan)
    order = np.concatenate([streams.places(step) for step in range(streams.steps)])
    assert sorted(order) == list(range(len(data)))
    before = online_code_length(data, plan).costs[order]
    at = int(np.flatnonzero(order == changed)[0])
    data[changed] ^= 64
    after = online_code_length(data, plan).costs[order]
    np.testing.assert_array_equal(before[:at], after[:at])
    assert (before[at:] != after[at:]).any()


def test_what_was_coded_is_learnt() -> None:
    """The other direction of the same: a change is felt by all bytes that weights predict later."""
    data = np.array(as_bytes(TEXT[:200]))
    before = online_code_length(data, PLAN).costs
    data[3] ^= 64
    after = online_code_length(data, PLAN).costs
    assert np.all(before[8:] != after[8:])


def test_costs_are_those_of_the_payload() -> None:
    for plan in (PLAN, MIXED, SIDE_BY_SIDE):
        result = online_code_length(as_bytes(TEXT), plan)
        bits = float(result.costs.sum())
        assert -56 < 8 * len(result.payload) - bits < 16  # as in test_mixed.py
        assert result.bits_per_byte == 8 * len(result.payload) / len(TEXT)


def test_a_file_of_nothing_and_of_one_byte() -> None:
    for plan in (PLAN, MIXED, SIDE_BY_SIDE, plan_for(0), plan_for(1)):
        assert online_code_length(as_bytes(b""), plan).payload == b""
        one = online_code_length(as_bytes(b"x"), plan)
        assert len(one.payload) <= 2
        # Nothing is known yet; context models are made to expect some bytes more than others.
        assert one.costs == pytest.approx([8], abs=8 if plan.table_bits else 1e-4)


def test_every_byte_stays_possible() -> None:
    """After much of one byte all the others still have counts, and can be coded."""
    data = as_bytes(b"a" * 800 + b"\xff" + b"a" * 7)
    streams = Streams(len(data), PLAN)
    network = OnlineNetwork(streams, PLAN)
    for step in range(streams.steps):
        streams.fill(step, data[streams.places(step)])
        counts = network.predict()
        assert counts.min() >= 1
        assert np.all(counts.sum(-1, dtype=np.int64) == 1 << 24)
        network.learn()
    costs = online_code_length(data, PLAN).costs
    assert 10 < costs[800] <= 24
    assert costs[600:800].mean() < 0.1
    assert 10 < online_code_length(data, MIXED).costs[800] < 128


def test_noise_costs_little_more_than_itself() -> None:
    noise = np.random.default_rng(0).integers(0, 256, 3000, dtype=np.uint8)
    assert 8 < online_code_length(noise, PLAN).costs.mean() < 8.8  # it goes on trying
    assert 8 < online_code_length(noise, MIXED).costs.mean() < 8.3  # it is not believed


def test_seeds_decide() -> None:
    data = as_bytes(TEXT)
    state = torch.random.get_rng_state()
    results = [online_code_length(data, replace(PLAN, seed=seed)) for seed in (0, 0, 1)]
    assert results[0].payload == results[1].payload != results[2].payload
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's numbers are touched


def test_repetition_is_learnt() -> None:
    data = as_bytes(TEXT * 4)
    alone = online_code_length(data, PLAN)
    mixed = online_code_length(data, MIXED)
    last = len(TEXT) * 3
    assert alone.costs[last:].mean() < 0.75 * alone.costs[: len(TEXT)].mean()
    assert mixed.costs[last:].mean() < 0.2
    assert alone.parameters == mixed.parameters > 10_000


def test_a_network_that_diverges_is_an_error() -> None:
    plan = replace(PLAN, adam_lr=1e30, warmup_steps=1)
    with pytest.raises(NNCodecError, match=r"diverged at step .* lower the rates"):
        online_code_length(as_bytes(TEXT), plan)


@pytest.mark.parametrize("size", [0, 1, 1000, 1 << 18, (1 << 18) + 1, 1 << 30])
def test_plans_by_size(size: int) -> None:
    plan, alone = plan_for(size, seed=3), plan_for(size, network_alone=True)
    assert plan.seed == 3
    assert alone.table_bits == 0 < plan.table_bits
    assert all(w >= plan.context + plan.segment for w in plan.shape.windows)
    small, large = (plan_for(size, parameters=n).shape for n in (100_000, 5_000_000))
    assert small.d_model < plan.shape.d_model < large.d_model
    assert 0 < plan.rate(0) < plan.rate(10) < plan.rate(10**6) == 1
