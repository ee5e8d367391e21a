"""Low rank: how the rank is chosen, factors in a file and back, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pytest

from nncodec.errors import ContainerFormatError, QuantizationError
from nncodec.lossy import Checkpoint, Settings, Tensor, from_numpy, plain, quantize
from nncodec.lossy.lowrank import KEY, RankConfig, factor, restore
from nncodec.lossy.store import from_floats, parse, serialize


def of_rank(rank: int, rows: int = 40, cols: int = 30, seed: int = 1) -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, cols))).astype(np.float32)


def one(values: npt.NDArray[np.float32], dtype: str = "F32") -> Checkpoint:
    others = {
        "bias": from_numpy(np.ones(3, np.float32)),
        "n": from_numpy(np.ones((2, 2), np.int32)),
    }
    return Checkpoint({"w": from_floats(values, dtype), **others}, {"format": "pt"})


class TestRank:
    singular = np.array([4.0, 2.0, 1.0, 1.0])

    @pytest.mark.parametrize(
        ("energy", "rank"), [(0.5, 1), (0.75, 2), (20 / 22, 2), (0.95, 3), (1, 4)]
    )
    def test_by_energy(self, energy: float, rank: int) -> None:
        assert RankConfig(energy=energy).of(self.singular, 9, 4) == rank

    @pytest.mark.parametrize(("wanted", "rank"), [(1, 1), (3, 3), (99, 4)])
    def test_by_rank(self, wanted: int, rank: int) -> None:
        assert RankConfig(rank=wanted).of(self.singular, 9, 4) == rank

    @pytest.mark.parametrize(("share", "rank"), [(0.01, 1), (0.8, 2), (0.73, 2), (0.99, 2)])
    def test_by_size(self, share: float, rank: int) -> None:
        assert RankConfig(size_fraction=share).of(self.singular, 9, 4) == rank


@pytest.fixture(autouse=True)
def _torch(request: pytest.FixtureRequest) -> None:
    if request.cls is not TestRank:
        pytest.importorskip("torch", reason="SVD needs torch: pip install 'nncodec-lm[train]'")


def test_a_matrix_of_low_rank_comes_back() -> None:
    before = one(of_rank(5))
    made, report = factor(before, RankConfig(energy=0.999999))
    assert (report["w"].rank, report["w"].full, report["w"].kept) == (5, 30, True)
    assert made.tensors["w.u"].shape == (40, 5)
    assert made.tensors["w.v"].shape == (5, 30)
    assert "w" not in made.tensors
    back = restore(parse(serialize(made.tensors, made.metadata)))
    assert np.allclose(back.tensors["w"].floats(), before.tensors["w"].floats(), atol=1e-4)
    assert back.tensors.keys() == before.tensors.keys()
    assert back.metadata == before.metadata


def test_the_error_is_that_of_the_values_left_out() -> None:
    values = np.random.default_rng(3).normal(size=(24, 50)).astype(np.float32)
    made, report = factor(one(values), RankConfig(rank=6))
    left_out = np.linalg.svd(values.astype(np.float64), compute_uv=False)[6:]
    error = restore(made).tensors["w"].floats().astype(np.float64) - values
    assert np.square(error).sum() == pytest.approx(np.square(left_out).sum(), rel=1e-5)
    assert report["w"].energy == pytest.approx(
        1 - np.square(left_out).sum() / np.square(values.astype(np.float64)).sum()
    )


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_dtype_and_shape_are_kept(dtype: str) -> None:
    before = one(of_rank(3, 16, 60).reshape(16, 4, 15), dtype)
    made, _ = factor(before, RankConfig(rank=3))
    assert made.tensors["w.u"].dtype == dtype
    back = restore(made).tensors["w"]
    assert (back.dtype, back.shape) == (dtype, (16, 4, 15))
    near = before.tensors["w"].floats()
    assert np.abs(back.floats() - near).max() < 0.05 * np.abs(near).max()


def test_factors_that_are_no_smaller_are_not_kept() -> None:
    before = one(of_rank(30))
    made, report = factor(before, RankConfig(energy=0.9999999))
    assert not report["w"].kept
    assert made.tensors == before.tensors
    assert KEY not in made.metadata


def test_factors_can_be_quantised() -> None:
    before = one(of_rank(6, 64, 64))
    made, _ = factor(before, RankConfig(rank=6))
    small = quantize(made.tensors, Settings("uniform", step=0.02, least=1), metadata=made.metadata)
    assert set(small.records) == {"w.u", "w.v"}
    back = restore(plain(small.checkpoint)).tensors["w"].floats()
    near = before.tensors["w"].floats()
    assert 0 < np.abs(back - near).max() < 0.1 * np.abs(near).max()


def test_what_cannot_be_meant_is_refused() -> None:
    for wrong in (
        {},
        {"energy": 0.5, "rank": 3},
        {"energy": 0.0},
        {"rank": 0},
        {"size_fraction": 1.0},
        {"rank": 2, "only": "["},
    ):
        with pytest.raises(QuantizationError):
            RankConfig(**wrong)  # type: ignore[arg-type]
    before = one(of_rank(3))
    made, _ = factor(before, RankConfig(rank=3))
    with pytest.raises(QuantizationError, match="factored already"):
        factor(made, RankConfig(rank=3))
    taken = Checkpoint({**before.tensors, "w.u": before.tensors["bias"]}, {})
    with pytest.raises(QuantizationError, match=r"'w\.u' is there already"):
        factor(taken, RankConfig(rank=3))
    quantised = quantize(before.tensors, Settings("uniform", step=0.1, least=1)).checkpoint
    with pytest.raises(QuantizationError, match="factor the original"):
        factor(quantised, RankConfig(rank=3))


def damaged(made: Checkpoint, record: object = None, **tensors: Tensor | None) -> Checkpoint:
    whole = {name.replace("_", "."): tensor for name, tensor in tensors.items()}
    kept = {k: v for k, v in {**made.tensors, **whole}.items() if v is not None}
    return Checkpoint(kept, made.metadata if record is None else {KEY: json.dumps(record)})


def test_damage_is_named() -> None:
    made, _ = factor(one(of_rank(3)), RankConfig(rank=3))
    entry = {"shape": [40, 30], "dtype": "F32"}
    ok = {"version": 1, "tensors": {"w": entry}}
    assert restore(damaged(made, ok)).tensors["w"].shape == (40, 30)
    flat, ints = made.tensors["bias"], made.tensors["n"]
    for wrong in (
        damaged(made, w_u=None),
        damaged(made, w_v=flat),
        damaged(made, w_u=ints),
        damaged(made, w_u=made.tensors["w.v"]),
        damaged(made, w=flat),
        damaged(made, {**ok, "version": 2}),
        damaged(made, [1]),
        damaged(made, {"version": 1, "tensors": [1]}),
        damaged(made, {"version": 1, "tensors": {"w": {**entry, "shape": [40, 31]}}}),
        damaged(made, {"version": 1, "tensors": {"w": {**entry, "shape": [1200]}}}),
        damaged(made, {"version": 1, "tensors": {"w": {**entry, "shape": [40, "30"]}}}),
        damaged(made, {"version": 1, "tensors": {"w": {**entry, "dtype": "I8"}}}),
        damaged(made, {"version": 1, "tensors": {"w": 3}}),
        Checkpoint(made.tensors, {KEY: "{"}),
        Checkpoint(made.tensors, {KEY: "[" * 100_000}),
    ):
        with pytest.raises(ContainerFormatError, match=r"nncodec\.lowrank"):
            restore(wrong)
