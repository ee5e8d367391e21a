"""Exact mode's engines: the reference keeps its promises, the native one equals it bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from exact_models import SHAPES, counts_of, fill, random_ids, random_model, shape
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from nncodec.causal.exact import arithmetic
from nncodec.causal.exact.native import NativeEngine
from nncodec.causal.exact.reference import ReferenceEngine
from nncodec.causal.exact.weights import MAX_BIAS, ExactModel
from nncodec.engine.native import available_isas
from nncodec.engine_weights import MAX_SCALE, MIN_SCALE
from nncodec.errors import NNCodecError
from nncodec.numerics import WIDE_COUNT_TOTAL, attention_one

ISAS = available_isas()
SMALL = [name for name in SHAPES if name not in ("sums beyond 24 bits", "a long context")]


@pytest.mark.parametrize("name", SMALL)
def test_any_chunking_gives_the_parallel_counts(name: str) -> None:
    model = random_model(name)
    engine, ids = (
        ReferenceEngine(model),
        random_ids(model.config, 1, 3, min(30, model.config.context)),
    )
    whole = counts_of(engine, ids)
    assert whole.min() >= 1
    assert (whole.sum(-1, dtype=np.uint64) == WIDE_COUNT_TOTAL).all()
    assert (counts_of(engine, ids, [1] * 40) == whole).all()
    assert (counts_of(engine, ids, [7, 0, 2]) == whole).all()
    assert len(np.unique(whole)) > 1  # it says something


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", SHAPES)
def test_native_equals_reference(name: str, isa: str) -> None:
    model = random_model(name)
    ids = random_ids(model.config, 2, 3, min(60, model.config.context))
    want = counts_of(ReferenceEngine(model), ids)
    for threads in (1, 2):
        engine = NativeEngine(model, threads, isa)
        assert engine.isa == isa
        assert (counts_of(engine, ids) == want).all()
        assert (counts_of(engine, ids, [1] * 60) == want).all()


@pytest.mark.parametrize("isa", ISAS)
def test_a_full_long_context(isa: str) -> None:
    """Weights of 13 bits over 1500 positions, whose weighted sums fill 31 bits."""
    model = random_model("a long context")
    ids = random_ids(model.config, 3, 1, 1500)
    want = counts_of(ReferenceEngine(model), ids)
    assert (counts_of(NativeEngine(model, 1, isa), ids, [700, 1, 1, 300]) == want).all()


@given(
    st.sampled_from(ISAS),
    st.sampled_from(("shared heads", "all odd")),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 30),
    st.lists(st.integers(0, 9), max_size=8),
)
def test_any_lanes_and_threads(
    isa: str, name: str, threads: int, seed: int, lanes: int, length: int, chunks: list[int]
) -> None:
    model = random_model(name)
    ids = random_ids(model.config, seed, lanes, length)
    want = counts_of(ReferenceEngine(model), ids)
    assert (counts_of(NativeEngine(model, threads, isa), ids, chunks) == want).all()


@pytest.mark.parametrize("engine_of", [ReferenceEngine, lambda m: NativeEngine(m, 2)])
def test_fork_and_the_last_counts_alone(engine_of: type[ReferenceEngine]) -> None:
    model = random_model("biases")
    past, future = random_ids(model.config, 4, 1, 9), random_ids(model.config, 5, 20, 30)
    whole = np.concatenate((np.repeat(past, 20, 0), future), 1)
    want = counts_of(ReferenceEngine(model), whole)[:, 9:]
    state = engine_of(model).start()
    assert state.advance(past, 0).shape == (1, 0, model.config.n_symbols)
    state.fork(20)
    assert (state.advance(future[:, :20], 3) == want[:, 17:20]).all()
    assert (state.advance(future[:, 20:]) == want[:, 20:]).all()
    with pytest.raises(ValueError, match="lane"):
        state.fork(2)


@pytest.mark.parametrize("engine_of", [ReferenceEngine, NativeEngine])
def test_what_cannot_be_advanced(engine_of: type[ReferenceEngine]) -> None:
    model = random_model("shared heads")
    state = engine_of(model).start()
    for bad in (np.array([[-1]]), np.array([[90]]), np.array([[2**32]]), np.zeros((2, 1), int)):
        with pytest.raises(ValueError, match="tokens"):
            state.advance(bad)
    with pytest.raises(ValueError, match="wanted"):
        state.advance(np.zeros((1, 2), int), 3)
    state.advance(random_ids(model.config, 1, 1, 60))
    with pytest.raises(ValueError, match="context"):
        state.advance(np.zeros((1, 5), int))
    assert state.advance(np.zeros((1, 4), int)).shape == (1, 4, 83)


def extremes() -> dict[str, ExactModel]:
    """Weights at the ends of what a model folder may hold."""
    plain = fill(shape(qkv_bias=1, qk_norm=1, n_layers=3), 3)
    codes = {k: v for k, v in plain.tensors.items() if v.dtype == np.int8}
    floats = {k: v for k, v in plain.tensors.items() if v.dtype == np.float32}
    biases = {k for k in floats if k.endswith("bias")}

    def scales(size: float, bias: float) -> ExactModel:
        changed = {
            k: np.full_like(v, bias if k in biases else abs(size) if k == "eps" else size)
            for k, v in floats.items()
        }
        return ExactModel(plain.config, {**plain.tensors, **changed})

    def weights(code: int) -> ExactModel:
        changed = {k: np.full_like(v, code) for k, v in codes.items()}
        return ExactModel(plain.config, {**plain.tensors, **changed})

    return {
        "largest weights": weights(127),
        "smallest weights": weights(-127),
        "no weights": weights(0),
        "largest scales": scales(MAX_SCALE, MAX_BIAS),
        "smallest scales": scales(-MIN_SCALE, -MAX_BIAS),
        "smallest of all": scales(MIN_SCALE, 0.0),
    }


@pytest.mark.parametrize("kind", ["largest weights", "smallest weights", "no weights",
                         "largest scales", "smallest scales", "smallest of all"])  # fmt: skip
def test_extreme_models(kind: str) -> None:
    model = extremes()[kind]
    ids = random_ids(model.config, 6, 2, 30)
    want = counts_of(ReferenceEngine(model), ids)
    assert (want.sum(-1, dtype=np.uint64) == WIDE_COUNT_TOTAL).all()
    with torch.no_grad():
        state = ReferenceEngine(model).start()
        state.fork(2)
        assert state.logits(torch.from_numpy(ids), 30).isfinite().all()
    for isa in ISAS:
        assert (counts_of(NativeEngine(model, 1, isa), ids) == want).all()


@pytest.mark.parametrize("context", [1, 2, 255, 256, 257, 1024, 4095, 4096])
def test_attention_weights_of_a_context_sum_below_24_bits(context: int) -> None:
    assert attention_one(context) * context < 1 << 24
    assert attention_one(context) == 65535 or (attention_one(context) + 2) * context > 1 << 24


FLOATS = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=1, max_dims=1, min_side=2, max_side=50),
    elements=st.floats(-(2.0**60), 2.0**60, width=32),
)


@given(FLOATS)
def test_wide_counts_are_a_distribution(z: np.ndarray) -> None:
    counts = arithmetic.wide_counts(torch.from_numpy(z)).numpy()
    assert counts.min() >= 1
    assert counts.sum() == WIDE_COUNT_TOTAL
    # What rounding leaves goes to the first of the largest masses, which close logits may share.
    assert z.max() - z[counts.argmax()] < 1e-6
    order = np.argsort(z, kind="stable")
    assert (np.diff(counts[order]) >= 0).all() or z[order][-1] - z[order][-2] < 1e-6
    p = np.exp2((z - z.max()).astype(np.float64))
    assert np.abs(counts / 2.0**32 - p / p.sum()).max() < 2e-4


@given(FLOATS)
def test_the_inverse_root_is_that_of_the_mean_square(x: np.ndarray) -> None:
    eps = torch.tensor(1e-5 * len(x))
    got = float(arithmetic.inverse_rms(torch.from_numpy(x), eps))
    want = (np.square(x.astype(np.float64)).mean() + 1e-5) ** -0.5
    assert got == pytest.approx(want, rel=1e-3)


@given(FLOATS)
def test_silu_is_that_of_the_books(x: np.ndarray) -> None:
    got = arithmetic.silu(torch.from_numpy(x)).double()
    want = torch.nn.functional.silu(torch.from_numpy(x).double())
    # Below -16.6, e^x counts as 2^-24.
    assert (
        (got - want).abs() <= 1e-3 * want.abs() + 1.1e-7 * torch.from_numpy(x).abs() + 1e-6
    ).all()


def test_engines_of_bytes_and_of_tokens_are_not_mixed_up() -> None:
    from nncodec import _core

    engine = NativeEngine(random_model("tiniest"), 1)
    with pytest.raises(ValueError, match="tokens"):
        engine.start().core.advance(np.zeros((1, 1), np.int32))
    with pytest.raises(ValueError, match="bytes"):
        _core.BlockCoder(engine.core, 1, 1, 0, 0, np.zeros(1, np.uint8), False)
    with pytest.raises(NNCodecError, match="sse9"):
        NativeEngine(random_model("tiniest"), 1, "sse9")
