"""The C++ range coder and its Python twin give the same bytes, near the ideal size, and never lie.

constriction is an independent oracle for the size only: its bytes are another format.
"""

from __future__ import annotations

from itertools import pairwise

import constriction
import numpy as np
import numpy.typing as npt
import pytest
from helpers import counts_from_weights, raised_by
from hypothesis import given
from hypothesis import strategies as st

from nncodec._core import PayloadError, RangeDecoder, RangeEncoder
from nncodec.coder import PythonRangeDecoder, PythonRangeEncoder
from nncodec.numerics import COUNT_TOTAL, WIDE_COUNT_TOTAL

Counts = npt.NDArray[np.int32]
Symbols = npt.NDArray[np.uint8]
ENCODERS = (RangeEncoder, PythonRangeEncoder)
UNIFORM = np.full((1, 256), COUNT_TOTAL // 256, dtype=np.int32)


def one_hot(symbol: int) -> Counts:
    """The most extreme row there is: 255 ones, the rest on one symbol."""
    row = np.ones((1, 256), dtype=np.int32)
    row[0, symbol] = COUNT_TOTAL - 255
    return row


def random_rows(rng: np.random.Generator, length: int, sharpness: float) -> Counts:
    rows = counts_from_weights(np.exp(sharpness * rng.standard_normal((length, 256))))
    for i in np.flatnonzero(rng.random(length) < 0.2):
        rows[i] = one_hot(int(rng.choice((0, 255, rng.integers(256)))))
    return rows


def draw_symbols(rng: np.random.Generator, rows: Counts, likely: float) -> Symbols:
    """Each symbol as its row says, or with probability 1 - ``likely`` any, ends preferred."""
    targets = rng.integers(0, COUNT_TOTAL, len(rows))
    fair = (rows.cumsum(1) <= targets[:, None]).sum(1)
    wild = rng.choice((0, 1, 254, 255, int(rng.integers(256))), len(rows))
    return np.where(rng.random(len(rows)) < likely, fair, wild).astype(np.uint8)


@st.composite
def wide_messages(draw: st.DrawFn) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32]]:
    """Rows of counts of 2^32, of any width from 2 on, and symbols of any probability."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, width = draw(st.integers(0, 60)), draw(st.integers(2, 400))
    weights = np.exp(draw(st.sampled_from((0.0, 1.0, 12.0))) * rng.standard_normal((n, width)))
    share = weights / weights.sum(1, keepdims=True)
    counts = 1 + np.floor(share * (WIDE_COUNT_TOTAL - width) * (1 - 1e-9)).astype(np.int64)
    counts[np.arange(n), share.argmax(1)] += WIDE_COUNT_TOTAL - counts.sum(1)
    symbols = np.where(rng.random(n) < 0.5, share.argmax(1), rng.integers(0, width, n))
    return counts.astype(np.uint32), symbols.astype(np.int32)


@given(wide_messages())
def test_wide_rows_have_one_payload_and_come_back(
    message: tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32]],
) -> None:
    rows, symbols = message
    payloads = set()
    for make in ENCODERS:
        encoder = make()
        encoder.encode_wide(rows, symbols)
        payloads.add(encoder.finish())
    (payload,) = payloads
    ideal = (32 - np.log2(rows[np.arange(len(rows)), symbols])).sum() / 8
    # Zeros at the end are not written, so that luck can save as many as are read behind it.
    assert ideal - 8 <= len(payload) <= ideal + 1 + 1e-5 * len(rows)
    for decoder in decoders(payload):
        assert (decoder.decode_wide(rows) == symbols).all()
        decoder.finish()


def test_wide_rows_that_are_none() -> None:
    half = np.full((1, 2), 1 << 31, np.uint32)
    good = np.array([1], np.int32)
    for rows, symbols in [
        (half - 1, good),
        (np.array([[0, 1 << 31, 1 << 31]], np.uint32), good),
        (half, np.array([2], np.int32)),
        (half, np.array([-1], np.int32)),
        (half, np.array([1, 1], np.int32)),
    ]:
        with pytest.raises(ValueError, match="count"):
            RangeEncoder().encode_wide(rows, symbols)
    with pytest.raises(ValueError, match="count"):
        RangeDecoder(np.zeros(8, np.uint8)).decode_wide(half - 1)
    with pytest.raises(ValueError, match="count"):
        RangeDecoder(np.zeros(8, np.uint8)).decode_wide(np.zeros((1, 0), np.uint32))


@st.composite
def messages(draw: st.DrawFn) -> tuple[Counts, Symbols]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = random_rows(rng, draw(st.integers(0, 300)), draw(st.sampled_from((0.0, 1.0, 4.0, 12.0))))
    return rows, draw_symbols(rng, rows, draw(st.sampled_from((0.0, 0.5, 1.0))))


def encode(make: type, rows: Counts, symbols: Symbols) -> bytes:
    encoder = make()
    encoder.encode(rows, symbols)
    return bytes(encoder.finish())


def decoders(payload: bytes) -> tuple[RangeDecoder, PythonRangeDecoder]:
    return RangeDecoder(np.frombuffer(payload, dtype=np.uint8)), PythonRangeDecoder(payload)


def check_both_ways(rows: Counts, symbols: Symbols) -> bytes:
    payload, twin = (encode(make, rows, symbols) for make in ENCODERS)
    assert payload == twin
    for decoder in decoders(payload):
        assert decoder.decode(rows) == symbols.tobytes()
        decoder.finish()
    return payload


def ideal_bytes(rows: Counts, symbols: Symbols) -> float:
    return float(np.log2(COUNT_TOTAL / rows[np.arange(len(rows)), symbols]).sum()) / 8


@given(messages())
def test_twins_agree_and_stay_near_the_ideal_size(message: tuple[Counts, Symbols]) -> None:
    payload = check_both_ways(*message)
    assert len(payload) <= ideal_bytes(*message) * 1.001 + 8


def test_empty_message_is_one_byte() -> None:
    assert check_both_ways(np.ones((0, 256), np.int32), np.zeros(0, np.uint8)) == b"\0"


@pytest.mark.parametrize("length", [0, 1, 2, 3, 299, 300])
@pytest.mark.parametrize("hot", [0, 255])
@pytest.mark.parametrize("symbol", [0, 1, 254, 255])
def test_extreme_rows(hot: int, symbol: int, length: int) -> None:
    rows = np.repeat(one_hot(hot), length, 0)
    payload = check_both_ways(rows, np.full(length, symbol, dtype=np.uint8))
    per_symbol = 1e-5 if symbol == hot else 3.0  # bytes: a count of 1 costs 24 bits
    assert abs(len(payload) - length * per_symbol) <= 8


def test_carry_runs_through_the_whole_payload() -> None:
    """Symbols that keep 0.7fff... inside the interval, then one that steps over 0.8000..."""
    rng = np.random.default_rng(4)
    rows = random_rows(rng, 200, 1.0)
    target = b"\x7f" + b"\xff" * 1000
    symbols = np.frombuffer(PythonRangeDecoder(target).decode(rows), dtype=np.uint8)
    last = one_hot(0)
    over = check_both_ways(np.concatenate((rows, last)), np.append(symbols, np.uint8(255)))
    assert over[:150] == b"\x80" + bytes(149)
    # Without that symbol, finish itself has to step over it where the interval has become narrow.
    ends = [check_both_ways(rows[:n], symbols[:n]) for n in range(20, 60)]
    assert {end[0] for end in ends} == {0x7F, 0x80}
    assert all(set(end[1:]) == {0} for end in ends if end[0] == 0x80)


def test_carry_stops_where_it_is_absorbed() -> None:
    rng = np.random.default_rng(5)
    rows = random_rows(rng, 100, 0.5)
    target = b"\x12\x34\x56\x78\x7f" + b"\xff" * 600
    symbols = np.frombuffer(PythonRangeDecoder(target).decode(rows), dtype=np.uint8)
    payload = check_both_ways(np.concatenate((rows, one_hot(0))), np.append(symbols, np.uint8(255)))
    assert payload[:40] == b"\x12\x34\x56\x78\x80" + bytes(35)


def test_calls_of_any_size_give_one_stream() -> None:
    rng = np.random.default_rng(6)
    rows = random_rows(rng, 90, 3.0)
    symbols = draw_symbols(rng, rows, 0.7)
    whole = encode(RangeEncoder, rows, symbols)
    cuts = [0, 0, 1, 2, 30, 89, 90]
    for make in ENCODERS:
        encoder = make()
        for a, b in pairwise(cuts):
            encoder.encode(rows[a:b], symbols[a:b])
        assert encoder.finish() == whole
    for decoder in decoders(whole):
        parts = [decoder.decode(rows[a:b]) for a, b in pairwise(cuts)]
        assert b"".join(parts) == symbols.tobytes()


@pytest.mark.parametrize("sharpness", [0.0, 1.0, 4.0])
def test_constriction_needs_as_many_bytes(sharpness: float) -> None:
    rng = np.random.default_rng(int(sharpness))
    rows = counts_from_weights(np.exp(sharpness * rng.standard_normal((3000, 256))))
    symbols = draw_symbols(rng, rows, 1.0)
    other = constriction.stream.queue.RangeEncoder()
    family = constriction.stream.model.Categorical(perfect=False)
    other.encode(symbols.astype(np.int32), family, rows / float(COUNT_TOTAL))
    theirs = 4 * len(other.get_compressed())
    ours = len(encode(RangeEncoder, rows, symbols))
    assert abs(ours - theirs) <= 8 + theirs / 1000
    assert abs(ours - ideal_bytes(rows, symbols)) <= 8 + theirs / 1000


BAD_VALUES = {
    "zero": {3: 0, 4: 2 * 65536},
    "negative": {3: -1, 4: 2 * 65536 + 1},
    "sum too small": {3: 65535},
    "sum too large": {3: 65537},
    "sum right modulo 2^32 only": {0: 2**31 - 1, 1: 2**31 - 1, 2: 2 + 3 * 65536},
}


@pytest.mark.parametrize("change", BAD_VALUES.values(), ids=BAD_VALUES)
def test_bad_counts_are_rejected(change: dict[int, int]) -> None:
    rows = UNIFORM.copy()
    for symbol, count in change.items():
        rows[0, symbol] = count
    with pytest.raises(ValueError, match="positive and sum to 2\\^24"):
        RangeEncoder().encode(rows, np.zeros(1, np.uint8))
    with pytest.raises(ValueError, match="positive and sum to 2\\^24"):
        RangeDecoder(np.zeros(8, np.uint8)).decode(rows)


BAD_ARRAYS = {
    "int64": UNIFORM.astype(np.int64),
    "int64 that wraps": UNIFORM.astype(np.int64) + 2**32,
    "uint32": UNIFORM.astype(np.uint32),
    "float64": UNIFORM.astype(np.float64),
    "float64 with fractions": UNIFORM + 0.9,
    "big-endian": UNIFORM.astype(">i4"),
    "255 symbols": UNIFORM[:, :255],
    "one dimension": UNIFORM[0],
    "three dimensions": UNIFORM[None],
    "Fortran order": np.asfortranarray(np.repeat(UNIFORM, 2, 0)),
    "strided": np.repeat(UNIFORM, 4, 0)[::2],
}


@pytest.mark.parametrize("rows", BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_bad_arrays_are_rejected(rows: npt.NDArray[np.generic]) -> None:
    """A silent conversion could change counts, or read them in another order."""
    symbols = np.zeros(len(rows) if rows.ndim == 2 else 1, np.uint8)
    with pytest.raises(TypeError):
        RangeEncoder().encode(rows, symbols)
    with pytest.raises(TypeError):
        RangeDecoder(np.zeros(8, np.uint8)).decode(rows)


def test_bad_symbols_are_rejected() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        RangeEncoder().encode(UNIFORM, np.zeros(2, np.uint8))
    for symbols in (np.zeros(1, np.int64), np.array([256]), np.zeros((1, 1), np.uint8)):
        with pytest.raises(TypeError):
            RangeEncoder().encode(UNIFORM, symbols)


def how_it_ends(decoder: RangeDecoder | PythonRangeDecoder, rows: Counts) -> tuple[bytes, object]:
    """The bytes that came out row by row, and the error that ended it, if any."""
    out = bytearray()

    def work() -> None:
        for row in rows:
            out.extend(decoder.decode(row[None]))
        decoder.finish()

    error = raised_by(work)
    return bytes(out), error


@given(messages(), st.data())
def test_damaged_payloads_end_alike(message: tuple[Counts, Symbols], data: st.DataObject) -> None:
    """Cut, lengthened or changed: both twins give the same bytes and stop at the same place."""
    rows, symbols = message
    payload = encode(RangeEncoder, rows, symbols)
    damaged = data.draw(
        st.one_of(
            st.integers(min(1, len(payload) - 1), len(payload) - 1).map(lambda n: payload[:n]),
            st.binary(min_size=1, max_size=20).map(lambda more: payload + more),
            st.tuples(st.integers(0, len(payload) - 1), st.integers(1, 255)).map(
                lambda p: payload[: p[0]] + bytes((payload[p[0]] ^ p[1],)) + payload[p[0] + 1 :]
            ),
            st.binary(min_size=1, max_size=40),
        ).filter(len)  # an empty one is refused at once: test_empty_payload
    )
    ours, twin = (how_it_ends(decoder, rows) for decoder in decoders(damaged))
    assert ours == twin
    assert ours[1] is None or ours[1][0] is PayloadError


def test_truncation_is_noticed() -> None:
    rows = np.repeat(UNIFORM, 100, 0)
    payload = encode(RangeEncoder, rows, np.arange(1, 101, dtype=np.uint8))
    for size in range(1, len(payload) - 7):  # at most 7 bytes are left out, as zeros
        for decoder in decoders(payload[:size]):
            with pytest.raises(PayloadError, match="ends too early"):
                decoder.decode(rows)


@pytest.mark.parametrize("decoder", [RangeDecoder, PythonRangeDecoder])
def test_empty_payload(decoder: type) -> None:
    """The encoder writes at least one byte, also for no symbols."""
    with pytest.raises(PayloadError, match="ends too early"):
        decoder(b"")


def test_left_over_bytes_are_noticed() -> None:
    rows = np.repeat(UNIFORM, 10, 0)
    payload = encode(RangeEncoder, rows, np.arange(10, dtype=np.uint8))
    for decoder in decoders(payload + bytes(9)):
        decoder.decode(rows)
        with pytest.raises(PayloadError, match="left over"):
            decoder.finish()
    for decoder in decoders(payload):  # fewer rows than were encoded
        decoder.decode(rows[:2])
        with pytest.raises(PayloadError, match="left over"):
            decoder.finish()


def test_all_ones_is_outside_every_interval() -> None:
    for decoder in decoders(b"\xff" * 8):
        with pytest.raises(PayloadError, match="damaged"):
            decoder.decode(UNIFORM)


def test_payload_error_is_a_value_error() -> None:
    assert issubclass(PayloadError, ValueError)
