"""XXH64 against the ``xxhash`` package and against published values."""

from __future__ import annotations

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from nncodec._core import xxh64


def test_published_values() -> None:
    assert xxh64(b"") == 0xEF46DB3751D8E999
    assert xxh64(b"abc") == 0x44BC2CF5AD770999
    # From the specification's own test program: xxhsum -H1 of this sentence.
    text = b"Nobody inspects the spammish repetition"
    assert xxh64(text) == 0xFBCEA83C8A378BF1


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_every_length_around_the_stripes(seed: int) -> None:
    data = np.random.default_rng(0).bytes(200)
    for size in range(201):
        assert xxh64(data[:size], seed) == xxhash.xxh64_intdigest(data[:size], seed), size


@given(st.binary(max_size=200), st.integers(0, 2**64 - 1), st.integers(0, 7))
def test_any_bytes_any_seed_any_alignment(data: bytes, seed: int, skip: int) -> None:
    array = np.frombuffer(bytes(skip) + data, dtype=np.uint8)[skip:]
    assert xxh64(array, seed) == xxhash.xxh64_intdigest(data, seed)
