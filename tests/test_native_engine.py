"""The native engine equals the reference bit for bit, on any instruction set and threads."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import pytest
from helpers import BAD_TOKENS, Tokens, python_fails, random_tokens, run_engine, run_python
from helpers import tiny_float_model as float_model_of
from hypothesis import given
from hypothesis import strategies as st

from nncodec.config import ModelConfig
from nncodec.engine.native import NativeEngine, available_isas
from nncodec.engine.reference import ReferenceEngine
from nncodec.engine_weights import MAX_SCALE, MIN_SCALE, EngineModel
from nncodec.errors import NNCodecError
from nncodec.lm.export import export

ISAS = available_isas()
SHAPES = {
    "nano's heads": ModelConfig(d_model=64, d_ff=96, windows=(8, 32)),
    "shared heads": ModelConfig(
        d_model=48, n_heads=4, n_kv_heads=2, head_dim=24, d_ff=80, windows=(5, 1, 17)
    ),
    "odd sizes": ModelConfig(
        d_model=37, n_heads=3, n_kv_heads=1, head_dim=10, d_ff=71, windows=(3, 9), rope_period=100
    ),
    "n-grams": ModelConfig(
        d_model=37,
        n_heads=2,
        n_kv_heads=1,
        head_dim=10,
        d_ff=71,
        windows=(3, 9),
        ngram_orders=(2, 1, 8),
        ngram_bits=5,
        ngram_width=7,
    ),
    "more n-grams than width": ModelConfig(
        d_model=8,
        n_heads=1,
        n_kv_heads=1,
        head_dim=8,
        d_ff=8,
        windows=(2,),
        ngram_orders=(3, 4, 5, 6),
        ngram_bits=3,
        ngram_width=64,
    ),
    "tiniest": ModelConfig(
        d_model=1, n_heads=1, n_kv_heads=1, head_dim=2, d_ff=1, windows=(1,), rope_period=4
    ),
    "sums beyond 24 bits": ModelConfig(
        d_model=1100, n_heads=1, n_kv_heads=1, head_dim=16, d_ff=1100, windows=(2,)
    ),
    "window beyond 24 bits": ModelConfig(
        d_model=16, n_heads=1, n_kv_heads=1, head_dim=8, d_ff=16, windows=(600,)
    ),
}


@lru_cache
def model_of(shape: str) -> EngineModel:
    return export(float_model_of(3, SHAPES[shape]), random_tokens(0, 2, 40))


@lru_cache
def reference_of(shape: str) -> ReferenceEngine:
    return ReferenceEngine(model_of(shape))


@lru_cache
def native_of(shape: str, isa: str, threads: int = 1) -> NativeEngine:
    return NativeEngine(model_of(shape), threads, isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", SHAPES)
def test_native_equals_reference(shape: str, isa: str) -> None:
    tokens = random_tokens(1, 3, 60)
    want = run_engine(reference_of(shape), tokens)
    native = native_of(shape, isa)
    assert native.isa == isa
    assert (run_engine(native, tokens) == want).all()
    assert (run_engine(native, tokens, [1] * 60) == want).all()


@pytest.mark.parametrize("isa", ISAS)
def test_a_full_long_window(isa: str) -> None:
    """More keys than float32 can sum weights times values for in one piece."""
    shape = "window beyond 24 bits"
    tokens = random_tokens(2, 1, 1300)
    want = run_engine(reference_of(shape), tokens)
    assert (run_engine(native_of(shape, isa), tokens, [700, 1, 1, 300]) == want).all()


@given(
    st.sampled_from(ISAS),
    st.sampled_from(("nano's heads", "shared heads", "odd sizes")),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 60),
    st.lists(st.integers(0, 30), max_size=10),
)
def test_any_chunking_lanes_and_threads(
    isa: str, shape: str, threads: int, seed: int, lanes: int, length: int, chunks: list[int]
) -> None:
    tokens = random_tokens(seed, lanes, length)
    want = run_engine(reference_of(shape), tokens)
    assert (run_engine(native_of(shape, isa, threads), tokens, chunks) == want).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("prefix", [1, 9, 40])
def test_fork(isa: str, prefix: int) -> None:
    past, future = random_tokens(3, 1, prefix), random_tokens(4, 5, 50)
    whole = np.concatenate((np.repeat(past, 5, 0), future), 1)
    want = run_engine(reference_of("shared heads"), whole)[:, prefix:]
    state = native_of("shared heads", isa).start()
    state.advance(past)
    state.fork(5)
    got = np.concatenate([state.advance(part) for part in np.split(future, [1, 2, 30], 1)], 1)
    assert (got == want).all()


def extreme_models() -> dict[str, EngineModel]:
    """Weights at the ends of what a model folder may hold."""
    plain = model_of("odd sizes")
    floats = {k: v for k, v in plain.tensors.items() if v.dtype == np.float32}
    codes = {k: v for k, v in plain.tensors.items() if v.dtype == np.int8}
    return {
        "largest weights": EngineModel(
            plain.config, {**floats, **{k: np.full_like(v, 127) for k, v in codes.items()}}
        ),
        "smallest weights": EngineModel(
            plain.config, {**floats, **{k: np.full_like(v, -127) for k, v in codes.items()}}
        ),
        "no weights": EngineModel(
            plain.config, {**floats, **{k: np.zeros_like(v) for k, v in codes.items()}}
        ),
        "largest scales": EngineModel(
            plain.config, {**codes, **{k: np.full_like(v, MAX_SCALE) for k, v in floats.items()}}
        ),
        "smallest scales": EngineModel(
            plain.config, {**codes, **{k: np.full_like(v, -MIN_SCALE) for k, v in floats.items()}}
        ),
    }


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", ["largest weights", "smallest weights", "no weights",
                                  "largest scales", "smallest scales"])  # fmt: skip
def test_extreme_models(kind: str, isa: str) -> None:
    model = extreme_models()[kind]
    tokens = random_tokens(6, 2, 30)
    want = run_engine(ReferenceEngine(model), tokens)
    assert (want.sum(-1) == 2**24).all()
    assert (run_engine(NativeEngine(model, 1, isa), tokens) == want).all()


def test_states_of_one_engine_in_several_threads() -> None:
    engine = native_of("shared heads", ISAS[0], 2)
    jobs = [random_tokens(seed, 1 + seed % 3, 80) for seed in range(6)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda tokens: run_engine(engine, tokens, [3] * 26), jobs))
    for tokens, got in zip(jobs, results, strict=True):
        assert (got == run_engine(reference_of("shared heads"), tokens)).all()


def test_unknown_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NNCodecError, match="sse9"):
        NativeEngine(model_of("tiniest"), 1, "sse9")
    monkeypatch.setenv("NNCODEC_ISA", "sse9")
    with pytest.raises(NNCodecError, match="sse9"):
        NativeEngine(model_of("tiniest"), 1)
    monkeypatch.setenv("NNCODEC_ISA", "portable")
    assert NativeEngine(model_of("tiniest"), 1).isa == "portable"


@pytest.mark.parametrize("tokens", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_bad_tokens_raise(tokens: Tokens) -> None:
    with pytest.raises((ValueError, TypeError), match=r"tokens|arguments"):
        native_of("tiniest", ISAS[0]).start().advance(tokens)


def test_nothing_in_nothing_out() -> None:
    state = native_of("tiniest", ISAS[0]).start()
    assert state.advance(np.zeros((1, 0), np.int64)).shape == (1, 0, 256)


def test_only_one_lane_forks() -> None:
    state = native_of("tiniest", ISAS[0]).start()
    state.fork(3)
    with pytest.raises(ValueError, match="lane"):
        state.fork(2)


def test_a_state_outlives_the_names_of_its_engine_and_model() -> None:
    """C++ must keep what it reads."""
    state = NativeEngine(model_of("odd sizes"), 2, ISAS[-1]).start()
    tokens = random_tokens(8, 1, 20)
    want = run_engine(reference_of("odd sizes"), tokens)
    np.ones(10_000_000).sum()  # reuse memory that was freed too early
    assert (state.advance(tokens) == want).all()


FORK = """
import multiprocessing, nncodec
def work(data):
    return nncodec.compress(data, model="tiny", threads=2)
if __name__ == "__main__":
    text = bytes.fromhex("{text}") * 2
    before = work(text)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(work, (text,)).get(20) == before
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_can_compress() -> None:
    """The pool's threads stay behind in the parent; the child must not wait for them."""
    code = FORK.replace("{text}", b"some text, not too short".hex())
    try:
        result = run_python(code)
    except subprocess.TimeoutExpired:
        pytest.fail("the child hangs")
    assert result.returncode == 0, python_fails(result)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the hazard that this tests
def test_a_forked_child_can_go_on(tiny_model: EngineModel) -> None:
    """Worker pools fork processes; the engine's threads do not come along."""
    engine = NativeEngine(tiny_model, threads=2)
    tokens = np.arange(40, dtype=np.int64).reshape(20, 2)
    state = engine.start()
    state.fork(20)
    want = state.advance(tokens)
    child = os.fork()
    if child == 0:
        state = engine.start()
        state.fork(20)
        os._exit(0 if (state.advance(tokens) == want).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
