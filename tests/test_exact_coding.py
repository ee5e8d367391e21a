"""Tokens coded by exact models: every engine, thread count and number of lanes, the same bytes."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from exact_models import fill, random_model, shape
from hypothesis import given
from hypothesis import strategies as st

from nncodec._core import PayloadError
from nncodec.blocks import Geometry
from nncodec.causal.exact.coding import Contexts, ExactCoder, token_geometry
from nncodec.causal.exact.config import ExactConfig
from nncodec.causal.exact.native import NativeEngine
from nncodec.causal.exact.reference import ReferenceEngine
from nncodec.causal.exact.weights import ExactModel
from nncodec.engine.native import available_isas

ONE, THREE = Geometry(), Geometry(3, 5)
SMALL = shape(context=24, overlap=5, n_layers=1)


@lru_cache
def small_model() -> ExactModel:
    return fill(SMALL, 0)


@lru_cache
def coder(kind: str = "", threads: int = 1) -> ExactCoder:
    model = small_model()
    engine = NativeEngine(model, threads, kind) if kind else ReferenceEngine(model)
    return ExactCoder(model, engine)


def text(seed: int, size: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(small_model().tensors["tokens.ids"], size)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 130),
    st.integers(1, 9),
    st.sampled_from(available_isas()),
    st.integers(1, 2),
)
def test_what_one_engine_writes_the_others_read(
    seed: int, size: int, lanes: int, isa: str, threads: int
) -> None:
    ids, lanes = text(seed, size), min(lanes, max(size, 1))
    cut = Geometry(lanes, min(seed % 9, size))
    payload = coder(isa, threads).encode(ids, cut)
    assert coder().encode(ids, cut) == payload
    for one in (coder(), coder(isa, threads), coder("portable")):
        assert (one.decode(payload, size, cut) == ids).all()


def test_the_payload_is_as_small_as_the_model_says() -> None:
    """A model's own text costs its entropy: contexts that end, lanes and all."""
    engine, ids = ReferenceEngine(small_model()), []
    contexts, rng, cost = Contexts(engine), np.random.default_rng(0), 0.0
    last = np.array([[SMALL.begin]], np.int32)
    for _ in range(300):
        counts = contexts.feed(last)[0, 0].astype(np.float64)
        symbol = rng.choice(len(counts), p=counts / counts.sum())
        cost += 32 - np.log2(counts[symbol])
        last = np.array([[small_model().tensors["tokens.ids"][symbol]]], np.int32)
        ids.append(int(last[0, 0]))
    payload = coder().encode(np.array(ids, np.int32), ONE)
    assert abs(8 * len(payload) - cost) < 40
    assert cost < 0.95 * 300 * np.log2(83)


def test_a_full_context_makes_way_for_the_last_tokens() -> None:
    """Counts behind a new beginning are those of ``begin`` and the overlap, and of nothing else."""
    contexts, ids = Contexts(ReferenceEngine(small_model())), text(1, 60)
    first = np.array([[SMALL.begin]], np.int32)
    fed = [contexts.feed(first), *(contexts.feed(ids[None, i : i + 1]) for i in range(59))]
    fresh = ReferenceEngine(small_model()).start()
    # 24 positions: begin and 23 tokens; the 24th token comes to a new context, with 4 before it.
    again = np.concatenate((first, ids[None, 19:24]), 1)
    assert (fresh.advance(again, 1) == fed[24]).all()
    assert (fresh.advance(ids[None, 24:25]) == fed[25]).all()


def test_an_overlap_of_all_but_one_slides() -> None:
    model = fill(shape(context=6, overlap=5, n_layers=1), 0)
    ids = np.random.default_rng(0).choice(model.tensors["tokens.ids"], 30)
    payload = ExactCoder(model, NativeEngine(model, 1)).encode(ids, THREE)
    assert (ExactCoder(model, ReferenceEngine(model)).decode(payload, 30, THREE) == ids).all()


@pytest.mark.parametrize("size", [0, 1, 2, 7])
def test_blocks_of_hardly_anything(size: int) -> None:
    ids = text(2, size)
    payload = coder().encode(ids, ONE)
    assert len(payload) <= 3 + size
    assert (coder(available_isas()[0]).decode(payload, size, ONE) == ids).all()


def test_progress_counts_every_token_once() -> None:
    seen: list[np.ndarray] = []
    ids, cut = text(3, 100), Geometry(4, 7)
    payload = coder().encode(ids, cut, seen.append)
    assert sorted(np.concatenate(seen)) == sorted(ids)
    seen.clear()
    coder().decode(payload, 100, cut, seen.append)
    assert sorted(np.concatenate(seen)) == sorted(ids)
    assert len(seen) > 20


@pytest.mark.parametrize(
    ("ids", "why"), [([0, 90], "0..89"), ([-1], "0..89"), ([None], "stands for no bytes")]
)
def test_tokens_that_are_not_coded(ids: list[int | None], why: str) -> None:
    unusable = int(np.flatnonzero(small_model().symbol_of < 0)[0])
    with pytest.raises(ValueError, match=why):
        coder().encode(np.array([unusable if i is None else i for i in ids], np.int32), ONE)


@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_damage_is_found_or_gives_other_tokens(seed: int, how: int) -> None:
    rng, ids = np.random.default_rng(seed), text(4, 40)
    payload = bytearray(coder("portable").encode(ids, THREE))
    if how == 0:
        payload = payload[: rng.integers(len(payload))]
    elif how == 1:
        payload += bytes(9)
    else:
        payload[rng.integers(len(payload))] ^= 1 << rng.integers(8)
    try:
        got = coder("portable").decode(bytes(payload), 40, THREE)
    except PayloadError:
        return
    assert how > 1  # lengths are always noticed
    assert len(got) == 40
    assert got.min() >= 0


@pytest.mark.parametrize(
    ("lanes", "prefix", "table"),
    [(0, 0, 0), (257, 0, 0), (41, 0, 0), (1, 41, 0), (1, -1, 0), (1, 0, 10)],
)
def test_a_geometry_that_makes_no_sense(lanes: int, prefix: int, table: int) -> None:
    cut = Geometry(lanes, prefix, table)
    with pytest.raises(PayloadError, match="cut"):
        coder().decode(bytes(9), 40, cut)
    with pytest.raises(ValueError, match="cut"):
        coder().encode(text(0, 40), cut)


def test_a_size_that_the_payload_has_not_earned() -> None:
    payload = coder("portable").encode(text(5, 40), ONE)
    with pytest.raises(PayloadError, match="early"):
        coder("portable").decode(payload, 1 << 40, ONE)


def test_lanes_are_bounded_by_what_they_remember() -> None:
    assert token_geometry(0, SMALL) == token_geometry(2047, SMALL) == ONE
    assert token_geometry(2048, SMALL) == Geometry(2)
    assert token_geometry(10**6, SMALL).lanes == 32
    large = ExactConfig(**{**vars(random_model("biases").config), "n_layers": 100,
                            "context": 4096, "head_dim": 256,
                            "rope_multipliers": (1,) * 128})  # fmt: skip
    assert (1 << 30) // large.cache_bytes == 5
    assert token_geometry(10**6, large).lanes == 4


def test_a_vocabulary_of_thousands() -> None:
    model = random_model("many tokens")
    ids = np.random.default_rng(5).choice(model.tensors["tokens.ids"], 150)
    payload = ExactCoder(model, NativeEngine(model, 2)).encode(ids, THREE)
    assert (ExactCoder(model, ReferenceEngine(model)).decode(payload, 150, THREE) == ids).all()
