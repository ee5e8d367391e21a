"""The engine's primitives against rational arithmetic and scalar twins, not other libraries."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nncodec.engine import exact
from nncodec.numerics import COUNT_TOTAL, SCALE_FLOOR

f32 = np.float32
Floats = npt.NDArray[np.float32]


def assert_correctly_rounded_root(x: float, root: np.float32) -> None:
    """|root - sqrt(x)| is below half a unit in the last place; a tie is impossible."""
    half = Fraction(float(np.spacing(root))) / 2
    low = Fraction(float(root)) - half
    assert low**2 < Fraction(x) < (low + 2 * half) ** 2, x


def normal_floats(rng: np.random.Generator, size: int, exponent: int) -> Floats:
    return np.ldexp(rng.uniform(1, 2, size), rng.integers(-exponent, exponent, size)).astype(f32)


def test_sqrt_is_correctly_rounded() -> None:
    rng = np.random.default_rng(0)
    roots = normal_floats(rng, 3000, 20).astype(np.float64)
    # Hard cases: squares of numbers halfway between two floats, rounded to a float.
    halfway = (roots + np.spacing(roots.astype(f32)).astype(np.float64) / 2) ** 2
    x = np.concatenate((normal_floats(rng, 6000, 60), halfway.astype(f32)))
    for value, root in zip(x, exact.sqrt(torch.from_numpy(x)).numpy(), strict=True):
        assert_correctly_rounded_root(float(value), root)
    assert exact.sqrt(torch.tensor([0.0, 1.0, 4.0, 2.25])).tolist() == [0.0, 1.0, 2.0, 1.5]


@pytest.mark.parametrize("scalar", [None, 1.0, 127.0])
def test_divide_is_correctly_rounded(scalar: float | None) -> None:
    rng = np.random.default_rng(1)
    a, b = (normal_floats(rng, 6000, 30) for _ in range(2))
    q = exact.divide(torch.from_numpy(a) if scalar is None else scalar, torch.from_numpy(b))
    tops = a if scalar is None else np.full_like(a, scalar)
    for n, d, got in zip(tops.tolist(), b.tolist(), q.numpy(), strict=True):
        error = abs(Fraction(float(got)) - Fraction(n) / Fraction(d))
        assert error <= Fraction(float(np.spacing(got))) / 2, (n, d)


def integers(rng: np.random.Generator, largest: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(rng.integers(-largest, largest + 1, shape).astype(f32))


def int64_product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Exact, and rounded once."""
    return torch.from_numpy((a.numpy().astype(np.int64) @ b.numpy().astype(np.int64)).astype(f32))


@pytest.mark.parametrize("depth", [1, 17, 1040, 1041, 2080, 2081, 5000])
def test_matmul_is_an_integer_product(depth: int) -> None:
    rng = np.random.default_rng(depth)
    codes, weight = integers(rng, 127, (2, 3, depth)), integers(rng, 127, (5, depth))
    codes[0, 0], weight[0], weight[1] = 127, 127, -127  # the largest sums there are
    assert torch.equal(exact.matmul(codes, weight), int64_product(codes, weight.T))


@pytest.mark.parametrize("depth", [1, 518, 519, 1037, 4351])
def test_product_with_attention_weights(depth: int) -> None:
    rng = np.random.default_rng(depth)
    weights, values = integers(rng, 255, (2, 4, depth)), integers(rng, 127, (2, depth, 6))
    weights[0, 0], values[0, :, 0], values[0, :, 1] = 255, 127, -127
    got = exact.product(weights, values, 255 * 127)
    assert torch.equal(got, int64_product(weights, values))


COEFFICIENTS = ("0x1.fff692p-1", "0x1.62f31ap-1", "0x1.f0de1ap-3", "0x1.c3f754p-5")


def scalar_exp2(x: np.float32) -> np.float32:
    """One rounding a line, as docs/FORMAT-network.md spells it out."""
    c0, c1, c2, c3 = (f32(float.fromhex(c)) for c in COEFFICIENTS)
    x = max(x, f32(-24.0))
    whole = np.rint(x)
    f = f32(x - whole)
    y = f32(f * c3)
    y = f32(y + c2)
    y = f32(y * f)
    y = f32(y + c1)
    y = f32(y * f)
    y = f32(y + c0)
    return f32(np.ldexp(y, int(whole)))


def exponents() -> Floats:
    rng = np.random.default_rng(2)
    edges = np.array([0.0, -0.5, -1.0, -1.5, -2.5, -23.5, -24.0, -24.5, -1e6, -np.inf], dtype=f32)
    near = np.concatenate((np.nextafter(edges, f32(-1)), np.nextafter(edges, f32(-30))))
    return np.concatenate((edges, near, rng.uniform(-25, 0, 3000).astype(f32)))


def test_exp2_equals_its_scalar_twin() -> None:
    x = exponents()
    got = exact.exp2(torch.from_numpy(x)).numpy()
    want = np.array([scalar_exp2(v) for v in x], dtype=f32)
    assert got.tobytes() == want.tobytes()


def test_exp2_is_close_to_the_truth_and_monotone() -> None:
    x = np.linspace(-24, 0, 400_001).astype(f32)
    y = exact.exp2(torch.from_numpy(x)).numpy().astype(np.float64)
    assert np.abs(y / 2.0 ** x.astype(np.float64) - 1).max() < 1e-4
    assert (np.diff(y) >= 0).all()


finite = st.floats(-(2.0**40), 2.0**40, width=32, allow_subnormal=False)
vectors = st.lists(finite, min_size=1, max_size=40).map(lambda v: torch.tensor(v))


@given(vectors)
def test_quantize_reaches_127_and_stays_within_half_a_step(x: torch.Tensor) -> None:
    codes, top = exact.quantize(x)
    assert torch.equal(codes, codes.round())
    assert float(top) == max(float(x.abs().max()), SCALE_FLOOR)
    assert codes.abs().max() == (127 if x.abs().max() >= SCALE_FLOOR else codes.abs().max())
    assert codes.abs().max() <= 127
    steps = x.double() / top.double() * 127
    assert (codes.double() - steps).abs().max() <= 0.5 + 1e-4


@given(vectors, st.integers(-20, 20))
def test_normalize_codes_do_not_depend_on_scale(x: torch.Tensor, shift: int) -> None:
    codes, scale = exact.normalize(x)
    if x.abs().max() >= 2.0**-20:
        again = exact.normalize(x * 2.0**shift)
        assert torch.equal(again[0], codes)
        assert torch.equal(again[1], scale)
    squares = int((codes.double() ** 2).sum())
    n_over = Fraction(float(f32(x.numel()) / f32(max(1, squares))))
    assert_correctly_rounded_root(float(n_over), scale.numpy()[0])


@pytest.mark.parametrize("x", [[0.0] * 5, [1e-30, -1e-30], [SCALE_FLOOR / 300] * 3])
def test_a_vector_of_nothing_is_zeros(x: list[float]) -> None:
    codes, scale = exact.normalize(torch.tensor(x))
    assert not codes.any()
    assert scale.isfinite().all()
    codes, top = exact.quantize(torch.tensor(x))
    assert not codes.any()
    assert float(top) == SCALE_FLOOR


def integer_counts(z: Floats) -> list[int]:
    """``counts_from_logits`` for one row in Python integers."""
    z = z.astype(f32)
    differences = [f32(v - z.max()) for v in z]
    mass = [round(Fraction(float(scalar_exp2(d))) * 2**23) for d in differences]
    share = ((2**24 - 256) * 2**32) // sum(mass)
    counts = [1 + (m * share >> 32) for m in mass]
    counts[mass.index(max(mass))] += 2**24 - sum(counts)
    return counts


def row(**changes: float) -> Floats:
    z = np.zeros(256, dtype=f32)
    for key, value in changes.items():
        z[int(key[1:])] = value
    return z


RNG = np.random.default_rng(3)
LOGITS = {
    "equal": row(),
    "equal and large": row() + f32(1e6),
    "one hot": row(_9=1e6),
    "one cold": row(_9=-1e6),
    "first hot": row(_0=1e6),
    "last hot": row(_255=1e6),
    "two tie": row(_7=3.0, _200=3.0),
    "all apart": np.arange(256, dtype=f32) * f32(1e4),
    "at the floor": row(_1=24.0),
    "just above the floor": row(_1=23.99),
    "half bits": np.arange(256, dtype=f32) * f32(-0.5),
    **{f"normal {s}": (RNG.standard_normal(256) * s).astype(f32) for s in (0.1, 1, 5, 30)},
}


@pytest.mark.parametrize("z", LOGITS.values(), ids=LOGITS)
def test_counts(z: Floats) -> None:
    counts = exact.counts_from_logits(torch.from_numpy(z))
    assert counts.tolist() == integer_counts(z)
    assert int(counts.sum()) == COUNT_TOTAL
    assert int(counts.min()) >= 1
    order = np.argsort(z, kind="stable")
    assert (np.diff(counts.numpy()[order])[np.diff(z[order]) > 0] >= 0).all()


def test_counts_of_ties_and_extremes() -> None:
    # Every count is truncated, and the first symbol gets what that leaves.
    assert exact.counts_from_logits(torch.zeros(256)).tolist() == [65535 + 256] + [65535] * 255
    hot = exact.counts_from_logits(torch.from_numpy(row(_9=1e6))).tolist()
    assert hot[9] == COUNT_TOTAL - 255
    two = exact.counts_from_logits(torch.from_numpy(row(_7=40.0, _200=40.0))).tolist()
    assert two[7] > two[200]  # the rest goes to the lower of equals
    assert two[7] - two[200] <= 256


@given(st.integers(0, 2**32 - 1), st.sampled_from((0.01, 0.5, 3.0, 12.0, 1e3)))
def test_counts_of_random_rows(seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    z = (rng.standard_normal((2, 3, 256)) * spread).astype(f32)
    z[0, 0] = np.round(z[0, 0])  # many ties
    counts = exact.counts_from_logits(torch.from_numpy(z))
    assert (counts.sum(-1) == COUNT_TOTAL).all()
    assert int(counts.min()) >= 1
    assert counts[0, 0].tolist() == integer_counts(z[0, 0])
    assert counts[1, 2].tolist() == integer_counts(z[1, 2])
