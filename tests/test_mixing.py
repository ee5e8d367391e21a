"""Context mixing: C++ equals the readable twin to the byte, and the pieces are what they claim.

The twin is ``mixing.py`` through ``lanes.encode_mixed``: about a millisecond a byte, so blocks are
short here. Sizes and constants are the twin's own; nothing here is a literal of the format.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from helpers import BINARY, JSON, TEXT, HashEngine, random_tokens, tiny_float_model
from hypothesis import given
from hypothesis import strategies as st

import nncodec
from nncodec._core import PayloadError
from nncodec.blocks import MIN_TABLE_BITS, Bytes, Geometry, active_lanes
from nncodec.coder import PythonRangeDecoder, PythonRangeEncoder
from nncodec.engine.native import NativeContexts, NativeEngine, available_isas
from nncodec.engine.reference import ReferenceEngine
from nncodec.engine_weights import EngineModel
from nncodec.lanes import (
    PythonContexts,
    State,
    bit_tree,
    code_mixed,
    decode_mixed,
    encode_mixed,
    no_progress,
)
from nncodec.lm.export import export
from nncodec.mixing import (
    CONTEXTS,
    FAST_RATE,
    HISTORY_LIMIT,
    INPUTS,
    MATCH_LIMIT,
    MAX_LOGIT,
    ONE,
    ORDER0_LIMIT,
    RECORD_TERM,
    SET_SIZES,
    SLOW_RATE,
    VERIFIED,
    WEIGHT_MAX,
    AdaptiveBit,
    ContextMixer,
    LaneHistory,
    LanePart,
    RecordFinder,
    common_length,
    histories,
    history_bound,
    match_bucket,
    squash,
    stretch,
    train,
)
from nncodec.numerics import COUNT_BITS, COUNT_TOTAL

ISAS = available_isas()
SAMPLES = Path(__file__).resolve().parent.parent / "corpora" / "samples"
TABLES = st.sampled_from((MIN_TABLE_BITS, MIN_TABLE_BITS + 1, 14))


# C++ against its twin.


@lru_cache
def random_model() -> EngineModel:
    """Says a lot, and nothing of use: the mixer has to learn to hear the context models."""
    return export(tiny_float_model(3), random_tokens(0, 2, 40))


@lru_cache
def native_of(isa: str, threads: int = 1) -> NativeEngine:
    return NativeEngine(random_model(), threads, isa)


def array_of(data: bytes) -> Bytes:
    return np.frombuffer(data, dtype=np.uint8)


def counter(start: int, step: int, width: int, count: int) -> bytes:
    """Numbers of ``width`` bytes, one after the other, as in an index."""
    mask = (1 << 8 * width) - 1
    return b"".join((start + i * step & mask).to_bytes(width, "big") for i in range(count))


def table(seed: int, rows: int) -> bytes:
    """Lines with columns, some of them the same in every line."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 50, (rows, 2)).tolist()
    return b"".join(b"%3d;ok;%02d.%d\n" % (a, b, a % 7) for a, b in values)


def repeated(piece: bytes, times: int, between: bytes) -> bytes:
    return (piece + between) * times


numbers = st.integers(0, 2**32 - 1)
pieces = st.one_of(
    st.binary(max_size=60),
    st.binary(min_size=1, max_size=1).map(lambda b: b * 70),
    st.integers(0, len(TEXT) - 80).map(lambda at: TEXT[at : at + 80]),
    st.integers(0, len(JSON) - 80).map(lambda at: JSON[at : at + 80]),
    st.integers(0, len(BINARY) - 80).map(lambda at: BINARY[at : at + 80]),
    st.builds(
        repeated, st.binary(min_size=1, max_size=25), st.integers(2, 9), st.binary(max_size=2)
    ),
    st.builds(table, numbers, st.integers(1, 12)),
    st.builds(counter, numbers, st.integers(0, 300), st.integers(1, 5), st.integers(1, 30)),
)


def blocks(largest: int) -> st.SearchStrategy[bytes]:
    """Pieces of several kinds, some of them more than once."""

    def arrange(found: list[bytes], order: list[int]) -> bytes:
        return b"".join(found[i % len(found)] for i in order)[:largest]

    order = st.lists(st.integers(0, 3), max_size=12)
    return st.builds(arrange, st.lists(pieces, min_size=1, max_size=4), order)


@st.composite
def jobs(draw: st.DrawFn, largest: int) -> tuple[bytes, Geometry]:
    """A block, and lanes and a table for it."""
    data = draw(blocks(largest))
    prefix = draw(st.integers(0, min(len(data), 60)))
    lanes = draw(st.integers(1, max(1, min(20, len(data) - prefix))))
    return data, Geometry(lanes, prefix, draw(TABLES))


@st.composite
def echoes(draw: st.DrawFn, largest: int) -> tuple[bytes, Geometry]:
    """Everything comes again, often just where the next lane begins or has got to."""
    size = draw(st.integers(1, largest))
    prefix = draw(st.integers(0, min(size - 1, 300)))
    lanes = draw(st.integers(1, min(64, size - prefix)))
    by_lane = st.integers(-2, 2).map(lambda near: max(1, (size - prefix) // lanes + near))
    period = draw(st.one_of(st.integers(1, 200), by_lane))
    rng = np.random.default_rng(draw(numbers))
    data = np.resize(rng.integers(0, 256, period, dtype=np.uint8), size)
    data[rng.random(size) < draw(st.sampled_from((0.0, 0.001, 0.03)))] ^= 1
    return data.tobytes(), Geometry(lanes, prefix, MIN_TABLE_BITS)


@given(data=blocks(600), table_bits=TABLES)
def test_contexts_equal_their_twin(data: bytes, table_bits: int) -> None:
    geometry, native, twin = Geometry(table_bits=table_bits), NativeContexts(), PythonContexts()
    done: list[int] = []
    payload = twin.encode(array_of(data), geometry, done.append)
    assert native.encode(array_of(data), geometry, done.append) == payload
    assert native.decode(payload, len(data), geometry, done.append) == data
    assert sum(done) == 3 * len(data)


@given(data=blocks(300), table_bits=TABLES)
def test_the_contexts_twin_reads_what_is_written_in_cpp(data: bytes, table_bits: int) -> None:
    geometry = Geometry(table_bits=table_bits)
    payload = NativeContexts().encode(array_of(data), geometry, no_progress)
    assert PythonContexts().decode(payload, len(data), geometry, no_progress) == data


@pytest.mark.parametrize("isa", ISAS)
def test_contexts_on_every_instruction_set(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    geometry, samples = Geometry(table_bits=MIN_TABLE_BITS), (TEXT + BINARY, JSON * 30, b"x", b"")
    monkeypatch.delenv("NNCODEC_ISA", raising=False)
    payloads = [NativeContexts().encode(array_of(d), geometry, no_progress) for d in samples]
    monkeypatch.setenv("NNCODEC_ISA", isa)
    for data, payload in zip(samples, payloads, strict=True):
        assert NativeContexts().encode(array_of(data), geometry, no_progress) == payload
        assert NativeContexts().decode(payload, len(data), geometry, no_progress) == data


def test_context_models_obey_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNCODEC_ISA", "sse9")
    with pytest.raises(nncodec.NNCodecError, match="sse9"):
        nncodec.compress(TEXT, 1)


@pytest.mark.parametrize("isa", ISAS)
@given(job=st.one_of(jobs(400), echoes(300)))
def test_network_and_contexts_equal_their_twin(isa: str, job: tuple[bytes, Geometry]) -> None:
    data, geometry = job
    want = encode_mixed(array_of(data), geometry, twin_state(), no_progress)
    for threads in (1, 2):
        engine, done = native_of(isa, threads), list[int]()
        assert engine.encode(array_of(data), geometry, done.append) == want
        assert engine.decode(want, len(data), geometry, done.append) == data
        assert sum(done) == 2 * len(data)


def twin_state() -> State:
    """Any engine's would do; this one is fast, and another than most of those compared."""
    return native_of(ISAS[0]).start()


@given(job=jobs(250), isa=st.sampled_from(ISAS), threads=st.integers(1, 2))
def test_the_twin_reads_what_is_written_in_cpp(
    job: tuple[bytes, Geometry], isa: str, threads: int
) -> None:
    data, geometry = job
    payload = native_of(isa, threads).encode(array_of(data), geometry, no_progress)
    assert decode_mixed(payload, len(data), geometry, twin_state(), no_progress) == data


@given(job=jobs(60))
def test_both_ways_with_the_reference(job: tuple[bytes, Geometry]) -> None:
    """An engine that shares nothing with the native one mixes to the same bytes."""
    data, geometry = job
    native, reference = native_of(ISAS[0]), ReferenceEngine(random_model())
    payload = reference.encode(array_of(data), geometry, no_progress)
    assert native.encode(array_of(data), geometry, no_progress) == payload
    for engine in (native, reference):
        assert engine.decode(payload, len(data), geometry, no_progress) == data


@pytest.mark.parametrize(
    ("length", "geometry"), [(13, Geometry(4, 200, 12)), (300, Geometry(16, 600, 20))], ids=str
)
def test_records_are_found_alike(length: int, geometry: Geometry) -> None:
    """Long enough for two elections, which all lanes of a block vote in."""
    rng = np.random.default_rng(5)
    rows = np.resize(rng.permutation(256).astype(np.uint8), (8600 // length, length))
    rows[:, : length // 2] = rng.permutation(256)[: length // 2]
    data = rows.tobytes()
    payload = encode_mixed(array_of(data), geometry, twin_state(), no_progress)
    native = native_of(ISAS[-1], 2)
    assert native.encode(array_of(data), geometry, no_progress) == payload
    assert native.decode(payload, len(data), geometry, no_progress) == data


# 2 KB of each: matches grow long, records are found, the table fills, weights wander far.
REAL = {
    "prose.txt": Geometry(table_bits=MIN_TABLE_BITS),
    "table.bin": Geometry(5, 300, 12),
    "events.json": Geometry(16, 1024, 11),
}


@pytest.mark.parametrize("name", REAL)
def test_real_data_alike(name: str, tiny_model: EngineModel) -> None:
    geometry = REAL[name]
    alone = Geometry(table_bits=geometry.table_bits)
    data = array_of((SAMPLES / name).read_bytes()[:2000])
    payload = PythonContexts().encode(data, alone, no_progress)
    assert NativeContexts().encode(data, alone, no_progress) == payload
    assert NativeContexts().decode(payload, len(data), alone, no_progress) == data.tobytes()

    state = NativeEngine(tiny_model, 1, ISAS[0]).start()
    payload = encode_mixed(data, geometry, state, no_progress)
    for isa in ISAS:
        for threads in (1, 2):
            engine = NativeEngine(tiny_model, threads, isa)
            assert engine.encode(data, geometry, no_progress) == payload
            got = engine.decode(payload, len(data), geometry, no_progress)
            assert got == data.tobytes()


def outcome(decode: Callable[[bytes], bytes], payload: bytes) -> bytes | str:
    """The bytes that come out, or what a PayloadError says; any other exception is a failure."""
    try:
        return decode(payload)
    except PayloadError as error:
        return str(error)


@given(job=jobs(120), network=st.booleans(), data=st.data())
def test_damage_is_the_same_to_both(
    job: tuple[bytes, Geometry], network: bool, data: st.DataObject
) -> None:
    """Whatever comes of it, it comes of it in C++ and in the twin; and mostly it is found."""
    block, geometry = job
    if not network:
        geometry = Geometry(table_bits=geometry.table_bits)
    native = native_of(ISAS[0]) if network else NativeContexts()
    payload = native.encode(array_of(block), geometry, no_progress)

    at = data.draw(st.integers(0, len(payload) - 1), label="at")
    more = data.draw(st.binary(min_size=1, max_size=12), label="more")
    flipped = bytearray(payload)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7), label="bit")

    def decode_twin(damaged: bytes) -> bytes:
        state = twin_state() if network else None
        return decode_mixed(damaged, len(block), geometry, state, no_progress)

    def decode(damaged: bytes) -> bytes:
        return native.decode(damaged, len(block), geometry, no_progress)

    for damaged in (bytes(flipped), payload[:at], payload + more, more):
        assert outcome(decode, damaged) == outcome(decode_twin, damaged)


# What decoders cannot know, encoders must not use.


@given(job=echoes(4000), threads=st.integers(1, 2))
def test_matches_look_only_at_what_is_coded(job: tuple[bytes, Geometry], threads: int) -> None:
    """Encoding, all is at hand; decoding, what is ahead is still zero."""
    data, geometry = job
    engine = native_of(ISAS[0], threads)
    payload = engine.encode(array_of(data), geometry, no_progress)
    assert engine.decode(payload, len(data), geometry, no_progress) == data


@given(job=st.one_of(jobs(150), echoes(250)), junk=numbers)
def test_the_twin_looks_only_at_what_is_coded(job: tuple[bytes, Geometry], junk: int) -> None:
    """It decodes into any leftovers, with several lanes and no network too."""
    data, geometry = job
    payload = PythonContexts().encode(array_of(data), geometry, no_progress)
    decoder = PythonRangeDecoder(payload)
    symbols = bytearray(np.random.default_rng(junk).bytes(len(data)))

    def code_bit(ones: int, _bit: int) -> int:
        return decoder.decode_bit(ones)

    code_mixed(code_bit, symbols, geometry, None, no_progress)
    assert symbols == data


@given(st.integers(1, 60), st.integers(0, 20), st.integers(1, 12))
def test_what_is_known_is_what_is_coded_before(size: int, begin: int, lanes: int) -> None:
    part = LanePart(begin, size, min(lanes, size))
    order = [
        (lane, step)
        for step in range(max(part.lengths))
        for lane in range(active_lanes(size, part.lanes, step))
    ]
    assert sorted(part.at(*place) for place in order) == list(range(begin, begin + size))
    coded = set(range(begin))
    for lane, step in order:
        at = part.at(lane, step)
        assert part.lane_of(at) == lane
        known = {p for p in range(begin + size + 3) if part.known(p, lane, step)}
        assert known == coded
        coded.add(at)


@given(blocks(200), st.integers(0, 30), st.integers(1, 9), st.data())
def test_matches_are_compared_within_runs(
    data: bytes, begin: int, lanes: int, draw: st.DataObject
) -> None:
    """Only bytes that lanes code one after the other, so that all of them are known."""
    begin = min(begin, len(data))
    size = len(data) - begin
    if size == 0:
        return
    part = LanePart(begin, size, min(lanes, size))
    lane = draw.draw(st.integers(0, part.lanes - 1))
    step = draw.draw(st.integers(0, part.lengths[lane] - 1))
    at = part.at(lane, step)
    places = [p for p in range(1, len(data) + 1) if p - 1 < begin or part.known(p - 1, lane, step)]
    for candidate in places:
        n = common_length(data, part, lane, step, candidate)
        assert 0 <= n <= min(VERIFIED, step + 1)
        assert data[candidate - n : candidate] == data[at + 1 - n : at + 1]
        # All bytes compared with were known when this one was coded.
        assert all(part.known(p, lane, step) for p in range(candidate - n, candidate))


# The pieces.


def probability(logit: float) -> float:
    return ONE / (1 + math.exp(-logit / 256))


def test_squash_is_the_logistic_function_rounded() -> None:
    table = [squash(x) for x in range(-MAX_LOGIT, MAX_LOGIT + 1)]
    for x, p in zip(range(-MAX_LOGIT, MAX_LOGIT + 1), table, strict=True):
        assert abs(p - probability(x)) < 0.51
        assert p + squash(-x) == ONE
    assert table == sorted(table)
    assert (table[0], table[MAX_LOGIT], table[-1]) == (1, ONE // 2, ONE - 1)
    for beyond in (MAX_LOGIT + 1, 10**6):
        assert squash(beyond) == ONE - 1
        assert squash(-beyond) == 1


def test_stretch_is_its_inverse() -> None:
    table = [stretch(p) for p in range(ONE + 1)]
    assert all(a <= b + 2 for a, b in pairwise(table))  # where fine steps meet coarse ones
    assert (table[0], table[-1]) == (-MAX_LOGIT, MAX_LOGIT)
    for p in range(1, ONE):
        x = table[p]
        assert abs(x) <= MAX_LOGIT
        slope = p * (ONE - p) / ONE / 256  # of squash: probabilities a logit
        step = 8 if min(p, ONE - p) >= 1024 else 0  # in the middle, half of 16
        assert abs(squash(x) - p) <= step + slope + 1
        if min(p, ONE - p) < 200:  # where logits are finer than probabilities
            assert squash(x) == p
    for p in range(1024):
        assert table[ONE - p] == -table[p]
        assert squash(table[p]) >= p
        assert table[p] == -MAX_LOGIT or squash(table[p] - 1) < p


def test_stretch_is_the_logit() -> None:
    for p in range(200, ONE - 200):
        exact = 256 * math.log(p / (ONE - p))
        assert abs(stretch(p) - exact) <= 1 + 9 * 256 * ONE / (p * (ONE - p))


def test_histories_are_bytes_in_order_of_what_they_know() -> None:
    states, following = histories()
    assert len(states) <= 256
    assert len(set(states)) == len(states) == len(following)
    assert states[0][:2] == (0, 0)
    totals = [zeros + ones for zeros, ones, _ in states]
    assert totals == sorted(totals)  # a smaller number makes room first
    assert totals.count(0) == 1  # 0 is what was never seen
    for zeros, ones, last in states:
        assert zeros <= history_bound(ones)
        assert ones <= history_bound(zeros)
        assert last in (0, 1)
        if zeros == 0 or ones == 0:
            assert last == int(ones > 0)


def test_histories_follow_each_other() -> None:
    states, following = histories()
    for state, after in zip(states, following, strict=True):
        for bit, number in enumerate(after):
            assert 1 <= number < len(states)  # never unseen again
            new = states[number]
            assert new[2] == bit
            assert new[1 - bit] <= state[1 - bit]  # the other count may be cut
            assert new[1 - bit] >= min(state[1 - bit], 1) or new[bit] > history_bound(1)
            assert 1 <= new[bit] <= state[bit] + 1
            # It grows, unless the bounds forbid it.
            assert new[bit] == state[bit] + 1 or state[bit] + 1 > history_bound(new[1 - bit])


def test_most_histories_come_about() -> None:
    _, following = histories()
    reached, new = {0}, {0}
    while new:
        new = {n for state in new for n in following[state]} - reached
        reached |= new
    assert len(reached) > 0.7 * len(following)


@pytest.mark.parametrize("bit", [0, 1])
def test_a_history_of_one_bit_grows_to_its_bound(bit: int) -> None:
    states, following = histories()
    number = 0
    for n in range(1, 100):
        number = following[number][bit]
        assert states[number][bit] == min(n, history_bound(0))
        assert states[number][1 - bit] == 0


LIMITS = st.sampled_from((HISTORY_LIMIT, ORDER0_LIMIT, MATCH_LIMIT))


@given(
    st.one_of(st.integers(0, ONE - 1), st.sampled_from((0, 1, ONE - 1))),
    LIMITS,
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 3000)), max_size=8),
)
def test_adaptive_bits_stay_within_22_bits(
    start: int, limit: int, runs: list[tuple[int, int]]
) -> None:
    """C++ keeps them in a part of a word: one step too far would turn certainty around."""
    learner = AdaptiveBit(start)
    for bit, count in runs:
        for _ in range(count):
            before = learner.p
            learner.update(bit, limit)
            assert 0 <= learner.p < 1 << 22
            assert learner.p >= before if bit else learner.p <= before
            assert learner.n <= limit
        assert 0 <= learner.p16() < ONE


@given(st.floats(0.01, 0.99), numbers)
def test_adaptive_bits_learn_the_frequency(p: float, seed: int) -> None:
    bits = np.random.default_rng(seed).random(1000) < p
    learner = AdaptiveBit()
    for bit in bits.tolist():
        learner.update(int(bit), MATCH_LIMIT)
    assert abs(learner.p16() / ONE - (bits.sum() + 0.25) / (len(bits) + 0.5)) < 0.002


@given(numbers)
def test_adaptive_bits_follow_a_change(seed: int) -> None:
    rng = np.random.default_rng(seed)
    learner = AdaptiveBit()
    for p in (0.9, 0.1):
        for bit in (rng.random(3000) < p).tolist():
            learner.update(int(bit), HISTORY_LIMIT)
        assert abs(learner.p16() / ONE - p) < 0.12


def test_match_lengths_fall_into_buckets() -> None:
    buckets = [match_bucket(n) for n in range(2000)]
    assert buckets == sorted(buckets)
    assert buckets[0] == 0
    assert buckets[1] == 1
    assert set(buckets) == set(range(SET_SIZES[0] // 8))  # times eight kinds of misses


def elected(data: bytes) -> list[int]:
    """The record's length after every 4,096 bytes of ``data``."""
    finder, history, found = RecordFinder(), LaneHistory(), []
    for at, c in enumerate(data):
        finder.add(c, history.repeated_gap(c, at))
        if at % RECORD_TERM == RECORD_TERM - 1:
            found.append(finder.record)
    return found


@pytest.mark.parametrize("length", [2, 3, 4, 13, 63, 64, 200, 500])
def test_records_are_elected(length: int) -> None:
    rng = np.random.default_rng(length)
    rows = rng.integers(0, 256, (6 * RECORD_TERM // length + 1, length), dtype=np.uint8)
    fixed = (length + 1) // 2
    rows[:, :fixed] = rng.permutation(256)[:fixed]
    assert elected(rows.tobytes()[: 6 * RECORD_TERM])[-1] == length


def test_records_are_forgotten_and_text_has_none() -> None:
    records = counter(7, 1, 13, 2 * RECORD_TERM // 13 + 1)[: 2 * RECORD_TERM]
    noise = np.random.default_rng(1).integers(0, 256, 8 * RECORD_TERM, dtype=np.uint8).tobytes()
    found = elected(records + noise)
    assert found[1] == 13
    assert found[-1] == 0
    prose = (SAMPLES / "prose.txt").read_bytes()
    assert set(elected(prose)) == {0}
    lines = b"".join(b"%099d\n" % (n * 7919) for n in range(3 * RECORD_TERM // 100))
    assert all(length < 64 for length in elected(lines))  # lines of one length are no records


def test_fields_stay_aligned() -> None:
    """The place in the line before is that of the same field, whatever the lengths before it."""
    first, second = b"alpha=1, beta=22, c=3\n", b"a=12345, beta=67, c=8\n"
    text, history = first + second, LaneHistory()
    expected = {}
    for at, c in enumerate(text):
        if history.line == len(first) and history.aligned < history.line:
            expected[at - len(first)] = first[history.aligned : history.aligned + 1]
        history.follow_line(text, c, at)
    assert expected[0] == b"a"
    assert expected[second.index(b"1")] == b"1"
    assert expected[second.index(b"beta")] == b"b"
    assert expected[second.index(b"67")] == b"2"
    assert expected[second.index(b"c=")] == b"c"


def test_a_match_outlives_a_miss() -> None:
    """One byte that differs does not end it; eight in a row do."""
    piece = bytes(np.random.default_rng(3).integers(0, 256, 60, dtype=np.uint8))
    changed = bytearray(piece)
    changed[30] ^= 1
    changed[45:53] = bytes(b ^ 1 for b in changed[45:53])
    data, history = piece + bytes(changed), LaneHistory()
    mixer, part = ContextMixer(MIN_TABLE_BITS, network=False), LanePart(0, 2 * len(piece), 1)
    predicted = []
    for step, symbol in enumerate(data):
        mixer.begin(data, part, 0, step, history)
        predicted.append(mixer.expected)
        for shift in range(7, -1, -1):
            mixer.predict(ONE // 2)
            mixer.update(symbol >> shift & 1)
        mixer.end(data, part, 0, step, history)
    second = predicted[len(piece) :]
    assert second[5:53] == list(piece[5:53])  # five bytes until it is found
    assert second[53] == -1


@given(numbers, st.floats(0, 12))
def test_bit_tree(seed: int, sharpness: float) -> None:
    """Its probabilities multiply to each symbol's share."""
    rng = np.random.default_rng(seed)
    weights = np.exp(sharpness * rng.standard_normal(256))
    counts = (1 + np.floor(weights / weights.sum() * (COUNT_TOTAL - 256))).astype(int)
    counts[weights.argmax()] += COUNT_TOTAL - counts.sum()
    tree = bit_tree(counts.tolist())
    assert tree[1] == COUNT_TOTAL
    for symbol in (0, 255, int(weights.argmax()), int(rng.integers(256))):
        node, share = 1, 1.0
        for shift in range(7, -1, -1):
            bit = symbol >> shift & 1
            ones = tree[2 * node + 1] / tree[node]
            share *= ones if bit else 1 - ones
            node = 2 * node + bit
        assert tree[node] == counts[symbol]
        assert share == pytest.approx(counts[symbol] / COUNT_TOTAL)


@given(
    st.lists(st.integers(-MAX_LOGIT, MAX_LOGIT), min_size=1, max_size=8),
    st.lists(st.integers(-126_976, 126_976), max_size=40),
)
def test_weights_stay_within_their_bounds(inputs: list[int], errors: list[int]) -> None:
    weights = [0] * len(inputs)
    for error in errors:
        before = list(weights)
        train(weights, inputs, error)
        for old, new, x in zip(before, weights, inputs, strict=True):
            assert abs(new) <= WEIGHT_MAX
            assert abs(new - old) <= abs(x * error) / ONE + 1
            assert (new - old) * x * error >= 0 or abs(x * error) < ONE


def test_bounds_leave_32_bits_alone() -> None:
    """What C++ computes in 32 bits: an input times a weight, and an input times an error."""
    assert max(MAX_LOGIT, ONE >> 6) * WEIGHT_MAX < 2**31
    largest_error = ONE * (SLOW_RATE + FAST_RATE) >> 8
    assert max(MAX_LOGIT, ONE >> 6) * largest_error + (1 << 15) < 2**31
    assert INPUTS == 2 * CONTEXTS + 6
    assert INPUTS <= 48  # kMixInputs
    assert SET_SIZES[4] == 8 * 16  # a bit's number, and one of 16 degrees of sureness


class Stubborn:
    """A network that is as sure as counts can be, of what its own past alone decides."""

    def __init__(self, symbols: bytes) -> None:
        self.symbols = symbols

    def fork(self, lanes: int) -> None:
        pass

    def advance(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        counts = np.ones((*tokens.shape, 256), dtype=np.int32)
        for place in np.ndindex(tokens.shape):
            favoured = self.symbols[int(tokens[place]) % len(self.symbols)]
            counts[(*place, favoured)] += COUNT_TOTAL - 256
        return counts


@given(job=jobs(100), sure=st.binary(min_size=1, max_size=257))
def test_no_bit_is_impossible(job: tuple[bytes, Geometry], sure: bytes) -> None:
    """However sure and wrong the network is, each probability is 1..65535, of 16 bits."""
    data, geometry = job
    assert_probabilities(data, geometry, Stubborn(sure))
    assert_probabilities(data, Geometry(table_bits=geometry.table_bits), None)


def assert_probabilities(data: bytes, geometry: Geometry, state: State | None) -> None:
    seen: list[int] = []

    def code_bit(ones: int, bit: int) -> int:
        seen.append(ones)
        return bit

    code_mixed(code_bit, bytearray(data), geometry, state, no_progress)
    assert len(seen) == 8 * len(data)
    for ones in seen:
        p, rest = divmod(ones, 1 << (COUNT_BITS - 16))
        assert rest == 0
        assert 1 <= p <= ONE - 1


def test_a_wrong_network_is_unlearnt() -> None:
    """Bits cost at most 16 each at first, and soon what they cost without it."""
    data = array_of(b"x" * 600)
    geometry = Geometry(table_bits=MIN_TABLE_BITS)
    wrong = encode_mixed(data, geometry, Stubborn(b"\x87"), no_progress)  # 8 bits other than x
    alone = encode_mixed(data, geometry, None, no_progress)
    assert len(wrong) < len(alone) + 120


def test_a_right_network_is_heard() -> None:
    data = HashEngine().start().next_bytes(400)
    geometry = Geometry(table_bits=MIN_TABLE_BITS)
    heard = HashEngine().encode(array_of(data), geometry, no_progress)
    alone = PythonContexts().encode(array_of(data), geometry, no_progress)
    assert len(heard) < 0.5 * len(alone)  # it says one bit a byte, the past nothing
    assert len(heard) < 2 * len(data) / 8 + 60


def test_the_mixers_own_state_stays_within_bounds() -> None:
    """After data that is as one-sided as can be, and then its opposite."""
    symbols = b"\0" * 700 + b"\xff" * 300
    mixer = ContextMixer(MIN_TABLE_BITS, network=True)
    part, history = LanePart(0, len(symbols), 1), LaneHistory()
    for step, symbol in enumerate(symbols):
        mixer.begin(symbols, part, 0, step, history)
        for shift in range(7, -1, -1):
            bit = symbol >> shift & 1
            assert 1 <= mixer.predict(0 if bit else ONE - 1) <= ONE - 1  # wrong every time
            assert len(mixer.inputs) == INPUTS
            assert max(map(abs, mixer.inputs)) <= MAX_LOGIT
            mixer.update(bit)
        mixer.end(symbols, part, 0, step, history)
    weights = [w for one_set in mixer.weights for row in one_set for w in row]
    weights += [w for row in mixer.final_weights for w in row]
    assert max(map(abs, weights)) <= WEIGHT_MAX
    cells = [c for table in mixer.refine for row in table.values() for c in row]
    assert min(cells) >= 0
    assert max(cells) < ONE


# The range coder, bit by bit.


@given(st.lists(st.tuples(st.integers(1, COUNT_TOTAL - 1), st.integers(0, 1)), max_size=300))
def test_bits_come_back(bits: list[tuple[int, int]]) -> None:
    encoder = PythonRangeEncoder()
    for ones, bit in bits:
        encoder.encode_bit(ones, bit)
    payload = encoder.finish()
    decoder = PythonRangeDecoder(payload)
    assert [decoder.decode_bit(ones) for ones, _ in bits] == [bit for _, bit in bits]
    decoder.finish()
    shares = ((ones if bit else COUNT_TOTAL - ones) / COUNT_TOTAL for ones, bit in bits)
    ideal = -sum(map(math.log2, shares)) / 8
    assert len(payload) <= ideal * 1.001 + 8


@pytest.mark.parametrize("ones", [1, 2, COUNT_TOTAL // 2, COUNT_TOTAL - 1])
@pytest.mark.parametrize("bit", [0, 1])
def test_extreme_bits(ones: int, bit: int) -> None:
    encoder = PythonRangeEncoder()
    for _ in range(500):
        encoder.encode_bit(ones, bit)
    payload = encoder.finish()
    share = (ones if bit else COUNT_TOTAL - ones) / COUNT_TOTAL
    assert abs(len(payload) - 500 * -math.log2(share) / 8) <= 8
    decoder = PythonRangeDecoder(payload)
    assert {decoder.decode_bit(ones) for _ in range(500)} == {bit}
    decoder.finish()


# What it is for.


@pytest.mark.parametrize("path", sorted(SAMPLES.iterdir()), ids=lambda path: path.name)
def test_contexts_alone_beat_zlib_and_both_together_beat_either(path: Path) -> None:
    data = path.read_bytes()
    alone, both = nncodec.compress(data, 1), nncodec.compress(data, model="nano")
    nano = nncodec.api.load_codec(model="nano")
    network = nncodec.codec.Codec(nano.coder, nano.model_id, table_bits=0).compress(array_of(data))
    assert len(alone) < len(zlib.compress(data, 9))
    slack = 1.01 if path.name == "code.bin" else 1  # calls, of which the network knows nothing
    assert len(both) < min(slack * len(alone), len(network))


@pytest.mark.parametrize("kind", ["counter", "records", "lines"])
def test_regular_data_is_nearly_free(kind: str) -> None:
    data = {
        "counter": counter(5, 3, 4, 8000),
        "records": repeated(bytes(range(40, 77)), 900, b""),
        "lines": b"".join(b"line %06d of the log, all is well\n" % i for i in range(900)),
    }[kind]
    packed = nncodec.compress(data, 1)
    assert len(packed) < len(data) / 20
    assert nncodec.decompress(packed) == data


def test_payloads_of_several_blocks_do_not_depend_on_each_other() -> None:
    geometry = Geometry(table_bits=MIN_TABLE_BITS)
    engine, data = native_of(ISAS[0]), array_of(TEXT)
    first = engine.encode(data, geometry, no_progress)
    engine.encode(array_of(BINARY), geometry, no_progress)
    assert engine.encode(data, geometry, no_progress) == first


def test_logits_are_monotone_in_what_contexts_have_seen() -> None:
    """First probabilities of histories: more ones among as many bits, a likelier one."""
    mixer = ContextMixer(MIN_TABLE_BITS, network=False)
    states, _ = histories()
    first = [(ones / (zeros + ones), mixer.history_maps[0][i].p16())
             for i, (zeros, ones, _) in enumerate(states) if zeros + ones == 6]  # fmt: skip
    assert all(a[1] <= b[1] for a, b in pairwise(sorted(first)))
