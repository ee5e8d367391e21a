"""Tables are the same on every machine: no entry is close to a rounding boundary."""

from __future__ import annotations

import hashlib
from decimal import Decimal, localcontext

import numpy as np
import pytest

from nncodec.config import ModelConfig
from nncodec.numerics import LOG2_TABLE, ROPE_BITS, code_length, rope_table

PERIOD = ModelConfig().rope_period
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


def cosine(x: Decimal) -> Decimal:
    """Taylor's series; x below 2 needs few terms."""
    total = term = Decimal(1)
    k = 0
    while abs(term) > Decimal("1e-45"):
        k += 2
        term = -term * x * x / (k * (k - 1))
        total += term
    return total


def exact_quarter(period: int) -> list[Decimal]:
    """2^14 cos(2 pi j / period) for the first quarter turn."""
    with localcontext() as context:
        context.prec = 50
        scale = Decimal(1 << ROPE_BITS)
        return [scale * cosine(2 * PI * j / period) for j in range(period // 4)]


def test_entries_are_rounded_right_and_far_from_boundaries() -> None:
    cos, _ = rope_table(PERIOD)
    for j, true in enumerate(exact_quarter(PERIOD)):
        code = int(cos[j] * (1 << ROPE_BITS))
        assert abs(true - code) < Decimal("0.5") - Decimal("1e-9"), j


@pytest.mark.parametrize("period", [4, 8, 12, 100, PERIOD])
def test_symmetries(period: int) -> None:
    cos, sin = rope_table(period)
    assert cos.dtype == sin.dtype == np.float32
    assert cos.shape == sin.shape == (period,)
    j = np.arange(period)
    assert (cos == cos[-j % period]).all()
    assert (cos == -cos[(j + period // 2) % period]).all()
    assert (sin == -sin[-j % period]).all()
    assert (sin[(j + period // 4) % period] == cos).all()
    assert (cos[0], sin[0], cos[period // 4], sin[period // 4]) == (1, 0, 0, 1)
    assert np.abs(cos - np.cos(2 * np.pi * j / period)).max() <= 2.0**-15 + 1e-9
    assert np.abs(sin - np.sin(2 * np.pi * j / period)).max() <= 2.0**-15 + 1e-9


def test_table_is_what_it_always_was() -> None:
    """The table decides bits of every archive: a new value here needs a new NUMERIC_VERSION."""
    cos, sin = rope_table(4096)
    codes = np.concatenate((cos, sin)) * np.float32(1 << ROPE_BITS)
    digest = hashlib.sha256(codes.astype("<i4").tobytes()).hexdigest()
    assert digest == "fbb0cd09b8a8802c8c92b6d9edfed7a2b468aebcb5585ee50d2e80966509d6ff"


def test_log2_table_is_rounded_right_and_far_from_boundaries() -> None:
    with localcontext() as context:
        context.prec = 40
        for i, code in enumerate(LOG2_TABLE.tolist()):
            true = 256 * (1 + Decimal(i) / 256).ln() / Decimal(2).ln()
            assert abs(true - code) < Decimal("0.5") - Decimal("1e-9"), i


def test_code_length_is_near_the_logarithm() -> None:
    counts = np.unique(np.geomspace(1, 1 << 24, 5000).astype(np.int32))
    exact = 256 * (24 - np.log2(counts))
    assert np.abs(code_length(counts) - exact).max() < 2
    assert code_length(np.array([1 << 24, 1 << 16, 1], dtype=np.int32)).tolist() == [0, 2048, 6144]
