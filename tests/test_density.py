"""Which blocks the models are spared: literal judgements, and none that could cost much."""

from __future__ import annotations

import lzma
import zlib

import numpy as np
import pytest
from helpers import TEXT
from hypothesis import given
from hypothesis import strategies as st

import nncodec
from nncodec.blocks import Bytes
from nncodec.codec import Codec
from nncodec.density import ANCHOR, SMALL, Density, density, has_repeats
from nncodec.engine.native import NativeContexts

RANDOM = np.random.default_rng(0).bytes(1_000_000)


def judge(data: bytes) -> Density:
    return density(np.frombuffer(data, dtype=np.uint8))


def skewed(decay: float, size: int = 200_000) -> Bytes:
    """(size,) bytes, each value a little rarer than the one before, as in JPEG's entropy code."""
    weights = np.exp(-decay * np.arange(256) / 256)
    rng = np.random.default_rng(1)
    return rng.choice(256, size, p=weights / weights.sum()).astype(np.uint8)


def numbers(count: int) -> bytes:
    """Text that packs to something long."""
    values = np.random.default_rng(2).integers(0, 10**6, count)
    return "\n".join(map(str, values.tolist())).encode()


def hidden_copy(size: int, at: int, length: int) -> bytes:
    """Noise in which ``length`` bytes from the start come again ``at`` bytes later."""
    data = bytearray(RANDOM[:size])
    data[at : at + length] = data[:length]
    return bytes(data)


PLAIN, DENSE, RANDOM_KIND = Density.PLAIN, Density.DENSE, Density.RANDOM
REPEATED = Density.REPEATED
JUDGED = {
    "nothing": (b"", PLAIN),
    "a byte": (b"x", PLAIN),
    "noise too short to judge": (RANDOM[: SMALL - 1], PLAIN),
    "text": (TEXT * 1000, PLAIN),
    "zeros": (bytes(100_000), PLAIN),
    "one value": (b"\xff" * SMALL, PLAIN),
    "two values": (b"\0\xff" * SMALL, PLAIN),
    "hexadecimal": (RANDOM[:100_000].hex().encode(), PLAIN),
    "noise of 7 bits": (bytes(b & 0x7F for b in RANDOM[:100_000]), PLAIN),
    "every value, in order": (bytes(range(256)) * 400, REPEATED),  # flat, but it comes again
    "skewed bytes": (skewed(1.2).tobytes(), DENSE),
    "bytes more skewed": (skewed(2.5).tobytes(), PLAIN),
    "noise": (RANDOM, RANDOM_KIND),
    "noise of the least length to be sure": (RANDOM[:20_000], RANDOM_KIND),
    "noise twice": (RANDOM[:100_000] * 2, REPEATED),
    "noise twice, a disk's block apart": (RANDOM[: 1 << 18] * 2, REPEATED),
    "noise twice, a byte apart": (RANDOM[:100_000] + b"." + RANDOM[:100_000], REPEATED),
    "noise twice at any distance": (hidden_copy(1_000_000, 654_321, 20_000), REPEATED),
    "noise with a small repeat": (hidden_copy(1_000_000, 654_321, 2000), RANDOM_KIND),
    "zlib": (zlib.compress(numbers(150_000), 9), RANDOM_KIND),
    "xz": (lzma.compress(numbers(100_000)), RANDOM_KIND),
    "zlib twice": (zlib.compress(numbers(50_000), 9) * 2, REPEATED),
}


@pytest.mark.parametrize(("data", "want"), JUDGED.values(), ids=JUDGED)
def test_judgements(data: bytes, want: Density) -> None:
    assert judge(data) == want


@given(st.integers(0, 2**32 - 1), st.integers(SMALL, 200_000))
def test_noise_is_never_plain(seed: int, size: int) -> None:
    """Short noise may look a little uneven, and then context models look at it in vain."""
    noise = np.random.default_rng(seed).bytes(size)
    assert judge(noise) == Density.RANDOM


@given(st.integers(0, 2**32 - 1), st.integers(0, 2 * ANCHOR), st.integers(1, 3))
def test_repeats_are_found_at_any_distance(seed: int, more: int, copies: int) -> None:
    """Also a whole number of anchors away, as in the blocks of tar archives and disks."""
    noise = np.random.default_rng(seed).bytes(40_000 + more)  # a multiple of 64 and of 8
    whole = np.frombuffer(noise * (1 + copies), dtype=np.uint8)
    assert not has_repeats(np.frombuffer(noise, dtype=np.uint8))
    assert has_repeats(whole)
    assert density(whole) == Density.REPEATED


@pytest.mark.parametrize("size", [8, 9, 63, 64, 65, ANCHOR * 3 + 1])
def test_repeats_of_short_blocks(size: int) -> None:
    assert not has_repeats(np.frombuffer(RANDOM[:size], dtype=np.uint8))
    assert has_repeats(np.zeros(max(size, 16), dtype=np.uint8))


def test_uneven_bytes_are_plain_however_long() -> None:
    """64-bit sums: 16 MiB of them do not overflow, and are judged like few."""
    for size in (SMALL, 1 << 24):
        data = np.zeros(size, dtype=np.uint8)
        data[:: size // 100] = 1
        assert density(data) == Density.PLAIN


def test_without_a_table_there_are_no_context_models() -> None:
    """Dense data is theirs; a codec of the network's counts alone stores it."""
    codec = Codec(NativeContexts(), bytes(16), table_bits=0, contexts=NativeContexts())
    data = np.frombuffer(skewed(1.2).tobytes(), dtype=np.uint8)
    assert density(data) == Density.DENSE
    assert nncodec.info(codec.compress(data)).blocks == {"stored": 1}
