"""The reference engine gives the same counts however its steps are cut, batched or threaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from helpers import (
    BAD_TOKENS,
    RECEPTIVE_FIELD,
    TEXT,
    TINY,
    Counts,
    Tokens,
    random_tokens,
    run_engine,
    tiny_float_model,
    with_begin,
)
from hypothesis import given
from hypothesis import strategies as st

from nncodec.config import ModelConfig
from nncodec.engine.reference import ReferenceEngine
from nncodec.engine_weights import EngineModel
from nncodec.lm.export import export
from nncodec.lm.model import ByteTransformer
from nncodec.numerics import COUNT_TOTAL


def assert_valid(counts: Counts) -> None:
    assert counts.dtype == np.int32
    assert (counts.sum(-1, dtype=np.int64) == COUNT_TOTAL).all()
    assert counts.min() >= 1


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
    st.integers(1, 80),
    st.lists(st.integers(0, 30), max_size=12),
)
def test_any_chunking_gives_the_parallel_counts(
    engine: ReferenceEngine, seed: int, lanes: int, length: int, chunks: list[int]
) -> None:
    tokens = random_tokens(seed, lanes, length)
    whole = run_engine(engine, tokens)
    assert_valid(whole)
    assert (run_engine(engine, tokens, chunks) == whole).all()


@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_stepwise_gives_the_parallel_counts(engine: ReferenceEngine, lanes: int) -> None:
    """Long enough for the caches to fill and be compacted several times."""
    tokens = random_tokens(lanes, lanes, 200)
    assert (run_engine(engine, tokens, [1] * 200) == run_engine(engine, tokens)).all()


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.data())
def test_lanes_do_not_see_each_other(
    engine: ReferenceEngine, seed: int, lanes: int, data: st.DataObject
) -> None:
    tokens = random_tokens(seed, lanes, 40)
    whole = run_engine(engine, tokens)
    order = data.draw(st.permutations(range(lanes)))
    assert (run_engine(engine, tokens[order]) == whole[order]).all()
    lane = order[0]
    assert (run_engine(engine, tokens[lane : lane + 1]) == whole[lane : lane + 1]).all()


@pytest.mark.parametrize("prefix", [0, 1, 3, 17, 50])
def test_fork_equals_running_the_prefix_in_every_lane(engine: ReferenceEngine, prefix: int) -> None:
    past, future = random_tokens(1, 1, prefix), random_tokens(2, 4, 40)
    state = engine.start()
    state.advance(past)
    state.fork(4)
    whole = run_engine(engine, np.concatenate((np.repeat(past, 4, 0), future), 1))
    assert (state.advance(future) == whole[:, prefix:]).all()


def test_fork_leaves_no_shared_memory(engine: ReferenceEngine) -> None:
    """A lane that writes its keys must not write another's."""
    past, future = random_tokens(1, 1, 3), random_tokens(3, 2, 1)
    state = engine.start()
    state.advance(past)
    state.fork(2)
    state.advance(future)
    after = state.advance(random_tokens(4, 2, 30))
    alone = engine.start()
    alone.advance(np.concatenate((past, future[:1]), 1))
    assert (alone.advance(random_tokens(4, 2, 30)[:1]) == after[:1]).all()


@contextmanager
def torch_setting(get: Callable[[], object], put: Callable[..., object], value: object) -> Iterator:
    before = get()
    put(value)
    try:
        yield
    finally:
        put(before)


def test_threads_do_not_change_counts(engine: ReferenceEngine) -> None:
    tokens = random_tokens(9, 5, 80)
    whole = run_engine(engine, tokens)
    with torch_setting(torch.get_num_threads, torch.set_num_threads, 2):
        assert (run_engine(engine, tokens) == whole).all()
        assert (run_engine(engine, tokens, [1] * 5) == whole).all()


SURROUNDINGS = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "float64 by default": lambda: torch_setting(
        torch.get_default_dtype, torch.set_default_dtype, torch.float64
    ),
    "low matmul precision": lambda: torch_setting(
        torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"
    ),
    "denormals flushed": lambda: torch_setting(lambda: False, torch.set_flush_denormal, True),
}


@pytest.mark.parametrize("surrounding", SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_what_else_runs_in_the_process_does_not_change_counts(
    tiny_model: EngineModel, surrounding: Callable[[], object]
) -> None:
    """A caller's global torch settings must not reach the arithmetic of an archive."""
    tokens = random_tokens(11, 2, 40)
    whole = run_engine(ReferenceEngine(tiny_model), tokens)
    with surrounding():
        assert (run_engine(ReferenceEngine(tiny_model), tokens) == whole).all()


def test_a_byte_beyond_the_windows_has_no_influence(engine: ReferenceEngine) -> None:
    length = RECEPTIVE_FIELD + 30
    tokens = random_tokens(5, 1, length)
    furthest = -1
    for value in range(20):
        changed = tokens.copy()
        changed[0, 0] = value
        before, after = run_engine(engine, tokens), run_engine(engine, changed)
        assert (before[:, RECEPTIVE_FIELD + 1 :] == after[:, RECEPTIVE_FIELD + 1 :]).all()
        differs = np.flatnonzero((before != after).any((0, 2)))
        furthest = max(furthest, *differs) if len(differs) else furthest
        assert len(differs) == 0 or differs[0] == 0
    assert furthest == RECEPTIVE_FIELD  # and up to there it has


@pytest.mark.parametrize("window", [1, 2, 7])
def test_window_of_one_layer(window: int) -> None:
    """A single layer sees exactly its window: position ``window`` no longer, the one before yes."""
    config = ModelConfig(
        d_model=32, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=64, windows=(window,)
    )
    engine = ReferenceEngine(export(tiny_float_model(3, config), random_tokens(0, 2, 32)))
    tokens, changed = random_tokens(6, 1, 20), random_tokens(6, 1, 20)
    changed[0, 0] = (tokens[0, 0] + 100) % 256
    differs = (run_engine(engine, tokens) != run_engine(engine, changed)).any((0, 2))
    assert differs.tolist() == [i < window for i in range(20)]


@pytest.mark.parametrize("heads", [(2, 2), (4, 2), (3, 1)])
def test_head_groups_match_the_float_model(heads: tuple[int, int]) -> None:
    """Every sharing of key/value heads: an exchanged axis would show as a large difference."""
    config = ModelConfig(
        d_model=24, n_heads=heads[0], n_kv_heads=heads[1], head_dim=8, d_ff=40, windows=(5, 9)
    )
    model = tiny_float_model(8, config)
    tokens = random_tokens(12, 2, 60)
    assert_close_to_float(ReferenceEngine(export(model, tokens)), model, tokens)


def assert_close_to_float(
    engine: ReferenceEngine, model: ByteTransformer, tokens: Tokens, bits: float = 0.02
) -> None:
    """Mean Kullback-Leibler divergence a byte, below ``bits``; quantisation alone remains."""
    with torch.no_grad():
        p = model(torch.from_numpy(tokens)).double().softmax(-1).numpy()
    q = run_engine(engine, tokens) / COUNT_TOTAL
    divergence = (p * np.log2(np.maximum(p, 1e-12) / q)).sum(-1)
    assert divergence.mean() < bits
    shuffled = (p * np.log2(np.maximum(p, 1e-12) / np.roll(q, 1, 1))).sum(-1)
    assert shuffled.mean() > 10 * bits  # the measure would notice counts at the wrong place


def test_counts_are_close_to_the_float_model(
    engine: ReferenceEngine, float_model: ByteTransformer
) -> None:
    text = np.frombuffer(TEXT, dtype=np.uint8)[None]
    assert_close_to_float(engine, float_model, with_begin(text))


@pytest.mark.gpu
@pytest.mark.parametrize("lanes", [1, 5])
def test_cuda_gives_the_same_counts(tiny_model: EngineModel, lanes: int) -> None:
    tokens = random_tokens(10, lanes, 150)
    whole = run_engine(ReferenceEngine(tiny_model), tokens)
    on_gpu = ReferenceEngine(tiny_model, "cuda")
    assert (run_engine(on_gpu, tokens) == whole).all()
    assert (run_engine(on_gpu, tokens, [1] * 150) == whole).all()


@pytest.mark.parametrize("tokens", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_bad_tokens_raise(engine: ReferenceEngine, tokens: Tokens) -> None:
    with pytest.raises(ValueError, match="tokens"):
        engine.start().advance(tokens)


def test_any_integer_type_will_do(engine: ReferenceEngine) -> None:
    tokens = random_tokens(1, 1, 9) % 100
    whole = run_engine(engine, tokens)
    for dtype in (np.uint8, np.int8, np.uint16, np.int32, np.uint64):
        assert (run_engine(engine, tokens.astype(dtype)) == whole).all()


def test_nothing_in_nothing_out(engine: ReferenceEngine) -> None:
    state = engine.start()
    assert state.advance(np.zeros((1, 0), np.int64)).shape == (1, 0, 256)
    assert (state.advance(np.array([[1]])) == run_engine(engine, np.array([[1]]))).all()


def test_only_one_lane_forks(engine: ReferenceEngine) -> None:
    state = engine.start()
    state.fork(3)
    with pytest.raises(ValueError, match="this one has 3"):
        state.fork(2)


def test_config_of_the_tests_has_two_windows() -> None:
    assert len(set(TINY.windows)) == 2
