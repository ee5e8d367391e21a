"""What coding a byte costs: C++ and its readable twin give the same trace, and it adds up."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
from helpers import JSON, TEXT
from hypothesis import given
from hypothesis import strategies as st
from test_block_coder import ISAS, block_of, native_of, reference_of

from nncodec._core import BlockCoder
from nncodec.blocks import Bytes, Geometry
from nncodec.engine.native import NativeContexts, NativeEngine
from nncodec.lanes import encode_lanes, encode_mixed, no_progress
from nncodec.trace import COST_ONE, Integers, Trace, log2_fixed

ENDING = 64  # bits: by so much the coder's last bytes may differ from the sum of costs


def assert_same(trace: Trace, want: Trace) -> None:
    for field in fields(Trace):
        got, expected = getattr(trace, field.name), getattr(want, field.name)
        assert got.dtype == expected.dtype, field.name
        np.testing.assert_array_equal(got, expected, field.name)


def bits_of(costs: Integers) -> float:
    return int(costs.sum(dtype=np.uint64)) / COST_ONE


def twin_of(data: Bytes, geometry: Geometry, model: str | None) -> tuple[bytes, Trace]:
    state = reference_of(model).start() if model else None
    trace = Trace.empty(len(data), network=bool(model), mixer=geometry.table_bits > 0)
    if geometry.table_bits:
        return encode_mixed(data, geometry, state, no_progress, trace), trace
    assert state
    lanes, prefix = geometry.lanes, geometry.prefix
    return encode_lanes(data, lanes, prefix, state, no_progress, trace), trace


@given(x=st.integers(1, 2**64 - 1))
def test_logarithms(x: int) -> None:
    assert 0 <= math.log2(x) - log2_fixed(x) / COST_ONE < 2 / COST_ONE + 1e-12


def test_logarithms_of_powers_are_exact() -> None:
    assert [log2_fixed(1 << i) for i in range(64)] == [i * COST_ONE for i in range(64)]


@pytest.mark.parametrize("table_bits", [0, 10])
@pytest.mark.parametrize("model", ["tiny", "odd sizes", "sure of itself"])
@pytest.mark.parametrize("isa", ISAS)
def test_trace_of_the_twin(isa: str, model: str, table_bits: int) -> None:
    data = np.concatenate((block_of("text", 1, 90), block_of("noisy text", 1, 200)))
    geometry = Geometry(3, 20, table_bits)
    payload, trace = native_of(isa, 1, model).encode_traced(data, geometry, no_progress)
    want, by_hand = twin_of(data, geometry, model)
    assert payload == want
    assert_same(trace, by_hand)


def test_trace_of_context_models_alone() -> None:
    data = np.frombuffer(JSON[:400], np.uint8)
    payload, trace = NativeContexts().encode_traced(data, Geometry(1, 0, 10), no_progress)
    want, by_hand = twin_of(data, Geometry(1, 0, 10), None)
    assert payload == want
    assert_same(trace, by_hand)
    assert (trace.expected >= 0).any()
    assert trace.match_length.max() > 8
    assert trace.network.size == trace.top.size == 0


@pytest.mark.parametrize("size", [0, 1, 2])
def test_blocks_of_nearly_nothing(size: int) -> None:
    data = np.frombuffer(b"ab"[:size], np.uint8)
    payload, trace = native_of(ISAS[0]).encode_traced(data, Geometry(1, 0, 10), no_progress)
    want, by_hand = twin_of(data, Geometry(1, 0, 10), "tiny")
    assert payload == want
    assert_same(trace, by_hand)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("lanes", "prefix", "bits"), [(1, 0, 14), (4, 100, 14), (4, 100, 0)])
@pytest.mark.parametrize("kind", ["text", "random", "constant"])
def test_costs_sum_to_the_payload(
    kind: str, lanes: int, prefix: int, bits: int, threads: int
) -> None:
    data, geometry = block_of(kind, 3, 20_000), Geometry(lanes, prefix, bits)
    engine = native_of(ISAS[0], threads)
    payload, trace = engine.encode_traced(data, geometry, no_progress)
    assert payload == engine.encode(data, geometry, no_progress)
    assert abs(8 * len(payload) - bits_of(trace.cost)) < ENDING
    alone = engine.encode(data, Geometry(lanes, prefix), no_progress)
    assert abs(8 * len(alone) - bits_of(trace.network)) < ENDING


def test_candidates() -> None:
    data = np.frombuffer(TEXT, np.uint8)
    _, trace = native_of(ISAS[0]).encode_traced(data, Geometry(1, 0, 12), no_progress)
    assert (np.diff(trace.top_p.astype(int), axis=1) <= 0).all()
    likely = trace.rank < 5
    found = trace.top[np.flatnonzero(likely), trace.rank[likely]]
    np.testing.assert_array_equal(found, data[likely])
    p = trace.top_p[np.flatnonzero(likely), trace.rank[likely]] / 65536
    bits = trace.network[likely] / COST_ONE
    assert (2.0**-bits - p < 1 / 65536).all()
    assert (2.0**-bits - p > -1e-6).all()


def test_decoding_is_not_traced() -> None:
    engine: NativeEngine = native_of(ISAS[0])
    with pytest.raises(ValueError, match="only encoding is traced"):
        BlockCoder(engine.core, 3, 1, 0, 10, np.zeros(3, np.uint8), True, "", True)


def test_no_trace_unasked() -> None:
    coder = BlockCoder(None, 3, 1, 0, 10, np.zeros(3, np.uint8), False)
    coder.run(3)
    coder.finish()
    with pytest.raises(RuntimeError, match="no trace"):
        coder.take_trace()
