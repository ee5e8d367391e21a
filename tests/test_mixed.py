"""Context models beside counts from outside: C++ equals the readable twin, and both come back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from helpers import BINARY, TEXT, counts_from_weights
from hypothesis import given, settings
from hypothesis import strategies as st

from nncodec._core import MixedDecoder, MixedEncoder, PayloadError
from nncodec.blocks import Geometry, active_lanes
from nncodec.engine.native import available_isas
from nncodec.lanes import encode_mixed, no_progress
from nncodec.mixed import PythonMixedDecoder, PythonMixedEncoder
from nncodec.mixing import LanePart
from nncodec.numerics import COUNT_TOTAL

Counts = npt.NDArray[np.int32]


def coding_order(size: int, geometry: Geometry) -> list[int]:
    """Positions of a block as they are coded, from the definition."""
    places = []
    for part in (
        LanePart(0, geometry.prefix, 1),
        LanePart(geometry.prefix, size - geometry.prefix, geometry.lanes),
    ):
        for step in range(max(part.lengths)):
            active = active_lanes(part.size, part.lanes, step)
            places += [part.at(lane, step) for lane in range(active)]
    return places


def some_counts(symbols: npt.NDArray[np.uint8], seed: int) -> Counts:
    """Of a predictor that is often right, and then more or less sure of it."""
    rng = np.random.default_rng(seed)
    weights = rng.exponential(size=(len(symbols), 256)) ** 4
    right = rng.random(len(symbols)) < 0.5
    weights[right, symbols[right]] += rng.choice([1.0, 100.0, 1e6], size=int(right.sum()))
    return counts_from_weights(weights)


def geometries(size: int) -> st.SearchStrategy[Geometry]:
    prefix = st.integers(0, size)
    return prefix.flatmap(
        lambda p: st.builds(
            Geometry, st.integers(1, max(1, size - p)), st.just(p), st.sampled_from([10, 12])
        )
    )


JOBS = st.binary(max_size=150).flatmap(lambda b: st.tuples(st.just(b), geometries(len(b))))


def both_ways(data: bytes, geometry: Geometry, learning: bool, seed: int, pieces: int) -> None:
    shape = (len(data), geometry.lanes, geometry.prefix, geometry.table_bits)
    order = coding_order(len(data), geometry)
    symbols = np.frombuffer(data, np.uint8)[order]
    counts = some_counts(symbols, seed)
    native = MixedEncoder(*shape, learning, "portable")
    twin = PythonMixedEncoder(*shape, learning)
    costs = []
    for at in range(0, len(data), pieces):
        piece = slice(at, at + pieces)
        costs.append(native.encode(counts[piece], np.ascontiguousarray(symbols[piece])))
        np.testing.assert_array_equal(costs[-1], twin.encode(counts[piece], symbols[piece]))
    payload = native.finish()
    assert payload == twin.finish()
    bits = sum(int(c.sum()) for c in costs) / (1 << 24)
    # The stream's end: a number that ends in zeros may lie in the interval, and saves them.
    assert -56 < 8 * len(payload) - bits < 16
    for decoder in (
        MixedDecoder(*shape, payload, learning, available_isas()[0]),
        PythonMixedDecoder(*shape, payload, learning),
    ):
        got = b"".join(decoder.decode(counts[i : i + 1]) for i in range(len(data)))
        decoder.finish()
        assert got == symbols.tobytes()


@settings(max_examples=12, deadline=None)
@given(JOBS, st.booleans(), st.integers(0, 9))
def test_twin_and_core_write_and_read_the_same(
    job: tuple[bytes, Geometry], learning: bool, seed: int
) -> None:
    both_ways(*job, learning, seed, pieces=37)


@pytest.mark.parametrize(
    ("geometry", "learning"), [(Geometry(1, 0, 14), True), (Geometry(5, 90, 12), False)]
)
def test_real_data_alike(geometry: Geometry, learning: bool) -> None:
    data = BINARY[-200:] + Path(__file__).read_bytes()[:300]
    both_ways(data, geometry, learning, 3, pieces=100)


def test_it_is_what_an_archive_does_with_a_network() -> None:
    """The same counts through an archive's block coder give the same payload."""

    class Replay:
        """A model that knows its counts by position: one lane."""

        def __init__(self, counts: Counts) -> None:
            self.counts, self.at = counts, 0

        def advance(self, tokens: npt.NDArray[np.integer]) -> Counts:
            self.at += tokens.shape[1]
            return self.counts[None, self.at - tokens.shape[1] : self.at]

        def fork(self, lanes: int) -> None:
            raise AssertionError("one lane")

    symbols = np.frombuffer(TEXT, np.uint8)
    counts = some_counts(symbols, 1)
    encoder = MixedEncoder(len(TEXT), 1, 0, 12, False, "")
    encoder.encode(counts, symbols)
    want = encode_mixed(symbols, Geometry(1, 0, 12), Replay(counts), no_progress)
    assert encoder.finish() == want


def test_a_good_predictor_is_heard_and_a_bad_one_is_not_believed() -> None:
    symbols = np.frombuffer(Path(__file__).read_bytes()[:4000], np.uint8)
    uniform = np.full((len(symbols), 256), COUNT_TOTAL // 256, np.int32)
    sizes = {}
    for learning in (False, True):
        for name, counts in (
            ("nothing", uniform),
            ("right", some_counts(symbols, 1)),
            ("wrong", some_counts(symbols ^ 1, 1)),
        ):
            encoder = MixedEncoder(len(symbols), 1, 0, 14, learning, "")
            encoder.encode(counts, symbols)
            sizes[name, learning] = len(encoder.finish())
        assert sizes["right", learning] < 0.9 * sizes["nothing", learning]
        assert sizes["wrong", learning] < 1.1 * sizes["nothing", learning]
    # A network that has to earn its weight does less harm.
    assert sizes["wrong", True] < sizes["wrong", False]


def test_what_makes_no_sense_is_refused() -> None:
    uniform = np.full((3, 256), COUNT_TOTAL // 256, np.int32)
    symbols = np.zeros(3, np.uint8)
    encoder = MixedEncoder(2, 1, 0, 10, False, "portable")
    with pytest.raises(ValueError, match="more bytes than the block has left"):
        encoder.encode(uniform, symbols)
    broken = uniform[:2].copy()
    broken[1, 7] -= 1
    with pytest.raises(ValueError, match=r"sum to 2\^24"):
        encoder.encode(broken, symbols[:2])
    with pytest.raises(ValueError, match="differ in length"):
        encoder.encode(uniform, symbols[:2])
    with pytest.raises(RuntimeError, match="not coded to its end"):
        encoder.finish()
    encoder.encode(uniform[:2], symbols[:2])  # nothing was coded by the calls that failed
    assert encoder.done == 2
    encoder.finish()
    with pytest.raises(RuntimeError, match="finished already"):
        encoder.finish()
    for size, lanes, prefix, bits in ((4, 5, 0, 10), (4, 0, 0, 10), (4, 1, 5, 10), (4, 1, 0, 9)):
        with pytest.raises(ValueError, match=r"do not fit|out of range"):
            MixedEncoder(size, lanes, prefix, bits, False, "portable")


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_damage_is_an_error_or_other_bytes(data: st.DataObject) -> None:
    symbols = np.frombuffer(TEXT[:200], np.uint8)
    counts = some_counts(symbols, 2)
    encoder = MixedEncoder(200, 3, 0, 10, True, "portable")
    encoder.encode(counts, symbols)
    payload = bytearray(encoder.finish())
    at = data.draw(st.integers(0, len(payload) - 2))  # the last byte may hold spare bits
    payload[at] ^= data.draw(st.integers(1, 255))
    try:
        decoder = MixedDecoder(200, 3, 0, 10, bytes(payload), True, "portable")
        got = decoder.decode(counts)
        decoder.finish()
    except PayloadError:
        return
    assert got != symbols.tobytes()
