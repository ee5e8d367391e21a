"""Blocks coded in C++ equal those of the readable twin, bit for bit, in both directions.

The twin is ``lanes.py``, over the native engine's own states or over the reference engine. Nothing
may depend on the instruction set, the threads, or how the work is cut into calls. Here the twin
codes counts as they are; test_mixing.py holds the context mixer to its own twin, and this file
asks that mixed blocks, too, come out the same however they are coded.
"""

from __future__ import annotations

import filecmp
import gc
import io
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from helpers import CLI, TEXT, TINY, python_fails, random_tokens, run_python, tiny_float_model
from hypothesis import given
from hypothesis import strategies as st

import nncodec
from nncodec._core import BlockCoder, PayloadError
from nncodec.blocks import Bytes, Geometry, lane_geometry
from nncodec.codec import Codec
from nncodec.config import ModelConfig
from nncodec.decoding import decompress_stream
from nncodec.engine.native import NativeContexts, NativeEngine, available_isas
from nncodec.engine.reference import ReferenceEngine
from nncodec.engine_weights import MAX_SCALE, EngineModel
from nncodec.lanes import decode_lanes, encode_lanes, no_progress
from nncodec.lm.export import export

ISAS = available_isas()  # the best one first
LARGEST = 70_000
STAGES = {"products", "attention", "norms", "counts", "coding"}


@lru_cache
def model_of(name: str) -> EngineModel:
    if name == "odd sizes":  # nothing is a multiple of a vector; n-grams reach across lane starts
        config = ModelConfig(
            d_model=37, n_heads=3, n_kv_heads=1, head_dim=10, d_ff=71, windows=(3, 9),
            rope_period=100, ngram_orders=(3, 8), ngram_bits=6, ngram_width=5,
        )  # fmt: skip
        return export(tiny_float_model(5, config), random_tokens(0, 2, 40))
    tiny = export(tiny_float_model(3, TINY), random_tokens(0, 2, 40))
    if name == "sure of itself":  # counts at both ends: a byte costs nothing, or 24 bits
        sure = np.full_like(tiny.tensors["head.scale"], MAX_SCALE)
        return EngineModel(tiny.config, {**tiny.tensors, "head.scale": sure})
    return tiny


MODELS = ("tiny", "odd sizes", "sure of itself")


@lru_cache
def native_of(isa: str, threads: int = 1, model: str = "tiny") -> NativeEngine:
    return NativeEngine(model_of(model), threads, isa)


@lru_cache
def reference_of(model: str = "tiny") -> ReferenceEngine:
    return ReferenceEngine(model_of(model))


def array_of(data: bytes) -> Bytes:
    return np.frombuffer(data, dtype=np.uint8)


def block_of(kind: str, seed: int, size: int) -> Bytes:
    """(size,) bytes of one kind; drawn byte by byte, tens of thousands would take too long."""
    rng = np.random.default_rng(seed)
    if kind == "random":
        return rng.integers(0, 256, size, dtype=np.uint8)
    if kind == "constant":
        return np.full(size, rng.integers(0, 256), dtype=np.uint8)
    if kind == "pattern":
        return np.resize(rng.integers(0, 256, rng.integers(2, 60), dtype=np.uint8), size)
    text = np.resize(np.roll(array_of(TEXT), rng.integers(len(TEXT))), size)
    if kind == "noisy text":
        noise = rng.integers(0, 256, size, dtype=np.uint8)
        return np.where(rng.random(size) < 0.05, noise, text)
    return text


KINDS = ("random", "text", "noisy text", "constant", "pattern")


@dataclass(frozen=True)
class Case:
    """A block and a geometry that fits it."""

    kind: str
    seed: int
    size: int
    lanes: int
    prefix: int
    table_bits: int = 0

    @property
    def data(self) -> Bytes:
        return block_of(self.kind, self.seed, self.size)

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.lanes, self.prefix, self.table_bits)


def coder_of(engine: NativeEngine, case: Case, source: Bytes, decode: bool) -> BlockCoder:
    """``source`` is the block, or its payload."""
    g = case.geometry
    return BlockCoder(engine.core, case.size, g.lanes, g.prefix, g.table_bits, source, decode)


@st.composite
def cases(draw: st.DrawFn, largest: int, tables: Sequence[int] = (0,)) -> Case:
    size = draw(st.integers(0, largest))
    prefix = draw(st.one_of(st.just(0), st.integers(0, min(size, 2000))))
    lanes = draw(st.integers(1, max(1, min(64, size - prefix))))
    kind, seed = draw(st.sampled_from(KINDS)), draw(st.integers(0, 2**32 - 1))
    return Case(kind, seed, size, lanes, prefix, draw(st.sampled_from(tables)))


TABLES = (0, 10, 12)  # bits; 0: no mixer


isas, threads_of, models = st.sampled_from(ISAS), st.integers(1, 3), st.sampled_from(MODELS)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("largest", [150, LARGEST])  # short ones: lanes end after a step or two
@given(data=st.data(), threads=threads_of, other=isas, more=threads_of, model=models)
def test_payloads_equal_the_twins(
    isa: str, largest: int, data: st.DataObject, threads: int, other: str, more: int, model: str
) -> None:
    """What one instruction set writes is what the twin writes, and any other one reads it."""
    case = data.draw(cases(largest))
    block = case.data
    writer, reader = native_of(isa, threads, model), native_of(other, more, model)
    done: list[int] = []
    payload = writer.encode(block, case.geometry, done.append)
    state = reader.start()
    assert payload == encode_lanes(block, case.lanes, case.prefix, state, no_progress)
    got = reader.decode(payload, case.size, case.geometry, done.append)
    assert got == block.tobytes()
    assert sum(done) == 2 * case.size
    assert all(count > 0 for count in done)


@given(case=cases(2500), isa=isas, threads=threads_of, other=isas, model=models)
def test_the_twin_reads_what_is_written_in_cpp(
    case: Case, isa: str, threads: int, other: str, model: str
) -> None:
    """Shorter blocks: the twin crosses from Python to C++ and back at every step."""
    data = case.data
    payload = native_of(isa, threads, model).encode(data, case.geometry, no_progress)
    state = native_of(other, 1, model).start()
    got = decode_lanes(payload, case.size, case.lanes, case.prefix, state, no_progress)
    assert got == data.tobytes()


@pytest.mark.parametrize("isa", ISAS)
@given(case=cases(100), threads=threads_of, model=models)
def test_both_ways_with_the_reference(isa: str, case: Case, threads: int, model: str) -> None:
    """The same, with an engine that shares no line of C++ but the range coder's."""
    data = case.data
    native, reference = native_of(isa, threads, model), reference_of(model)
    payload = reference.encode(data, case.geometry, no_progress)
    assert native.encode(data, case.geometry, no_progress) == payload
    for engine in (native, reference):
        got = engine.decode(payload, case.size, case.geometry, no_progress)
        assert got == data.tobytes()


@given(case=cases(3000, TABLES), writer=isas, threads=threads_of, reader=isas, more=threads_of)
def test_both_ways(case: Case, writer: str, threads: int, reader: str, more: int) -> None:
    """Mixed or not: one payload from whichever writes, the block for whichever reads."""
    data, done = case.data, list[int]()
    payload = native_of(writer, threads).encode(data, case.geometry, done.append)
    assert native_of(reader, more).encode(data, case.geometry, no_progress) == payload
    got = native_of(reader, more).decode(payload, case.size, case.geometry, done.append)
    assert got == data.tobytes()
    assert sum(done) == 2 * case.size


# The lanes end at different steps, windows wrap many times, run() is called several times.
LARGE = Case("noisy text", 11, LARGEST, 60, 301)


@pytest.fixture(scope="module")
def large_payload() -> bytes:
    """The reference engine's, which the twin can read."""
    data, state = LARGE.data, native_of(ISAS[0]).start()
    payload = reference_of().encode(data, LARGE.geometry, no_progress)
    back = decode_lanes(payload, LARGE.size, LARGE.lanes, LARGE.prefix, state, no_progress)
    assert back == data.tobytes()
    return payload


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", ISAS)
def test_a_large_block(isa: str, threads: int, large_payload: bytes) -> None:
    engine, data = native_of(isa, threads), LARGE.data
    encoded: list[int] = []
    decoded: list[int] = []
    assert engine.encode(data, LARGE.geometry, encoded.append) == large_payload
    got = engine.decode(large_payload, LARGE.size, LARGE.geometry, decoded.append)
    assert got == data.tobytes()
    for done in (encoded, decoded):  # in pieces: a bar moves, and Ctrl-C is heard between them
        assert sum(done) == LARGE.size
        assert len(done) > 1


@given(
    case=cases(4000, TABLES),
    pieces=st.lists(st.one_of(st.integers(0, 20), st.integers(0, 3000)), max_size=30),
    isa=isas,
    threads=threads_of,
)
def test_how_the_work_is_cut_does_not_matter(
    case: Case, pieces: list[int], isa: str, threads: int
) -> None:
    engine, data = native_of(isa, threads), case.data

    def code(source: Bytes, decode: bool) -> bytes:
        coder = coder_of(engine, case, source, decode)
        done = 0
        for piece in [*pieces, max(1, case.size)]:
            before, done = done, coder.run(piece)
            assert min(case.size, before + max(1, piece)) <= done <= case.size
        return coder.finish()

    payload = code(data, decode=False)
    assert payload == engine.encode(data, case.geometry, no_progress)
    assert code(array_of(payload), decode=True) == data.tobytes()


@pytest.fixture(scope="module", params=TABLES)
def codecs(request: pytest.FixtureRequest, tiny_model: EngineModel) -> dict[str, Codec]:
    """For each instruction set, one of the model that knows the text: its blocks get coded."""
    bits: int = request.param
    engines = {isa: NativeEngine(tiny_model, 2, isa) for isa in ISAS}
    return {isa: Codec(e, tiny_model.model_id, table_bits=bits) for isa, e in engines.items()}


ARTICLE = np.resize(array_of(TEXT), LARGEST).tobytes()


def decompress_with(codec: Codec, archive: bytes) -> bytes:
    sink = io.BytesIO()
    decompress_stream(io.BytesIO(archive), sink, {codec.model_id: codec.coder}.__getitem__)
    return sink.getvalue()


@pytest.mark.parametrize("writer", ISAS)
def test_archives_travel_between_instruction_sets(writer: str, codecs: dict[str, Codec]) -> None:
    archive = codecs[writer].compress(array_of(ARTICLE))
    kind = "mixed" if codecs[writer].table_bits else "coded"
    assert nncodec.info(archive).blocks == {kind: 1}
    assert lane_geometry(LARGEST).lanes > 1
    for codec in codecs.values():
        assert codec.compress(array_of(ARTICLE)) == archive
        assert decompress_with(codec, archive) == ARTICLE


def test_files_travel_between_instruction_sets(tmp_path: Path) -> None:
    """As users do it: written with ``portable``, read with the best, and the other way round."""
    source = tmp_path / "article"
    source.write_bytes(ARTICLE)

    def command(isa: str, *args: str | Path) -> None:
        environment = {**os.environ, "NNCODEC_ISA": isa}
        result = run_python(CLI, *map(str, args), "-T", "2", "-q", env=environment)
        assert result.returncode == 0, python_fails(result)

    ways = {"there": ("portable", ISAS[0]), "back": (ISAS[0], "portable")}
    for way, (writer, reader) in ways.items():
        archive, result = tmp_path / f"{way}.nnc", tmp_path / way
        command(writer, "compress", "-m", "tiny", source, "-o", archive)
        command(reader, "decompress", archive, "-o", result)
        assert filecmp.cmp(source, result, shallow=False)
    assert filecmp.cmp(tmp_path / "there.nnc", tmp_path / "back.nnc", shallow=False)
    assert nncodec.info((tmp_path / "back.nnc").read_bytes()).blocks == {"mixed": 1}


def outcome(decode: Callable[[], bytes]) -> bytes | str:
    """The bytes that come out, or what a PayloadError says; any other exception is a failure."""
    try:
        return decode()
    except PayloadError as error:
        return str(error)


def decoded_by_both(
    payload: bytes, size: int, lanes: int, prefix: int, isa: str, threads: int
) -> bytes | str:
    """What comes of a payload, in C++ and in the twin alike."""
    engine = native_of(isa, threads)
    got = outcome(lambda: engine.decode(payload, size, Geometry(lanes, prefix), no_progress))
    twin = native_of(ISAS[0])
    want = outcome(lambda: decode_lanes(payload, size, lanes, prefix, twin.start(), no_progress))
    assert got == want
    return got


@pytest.mark.parametrize("threads", [1, 2])
@given(case=cases(600), isa=isas, data=st.data())
def test_damage(threads: int, case: Case, isa: str, data: st.DataObject) -> None:
    """Found, or other bytes come out, which a checksum finds; at the same byte as in the twin."""
    original = case.data.tobytes()
    payload = native_of(isa, threads).encode(case.data, case.geometry, no_progress)
    geometry = (case.size, case.lanes, case.prefix)
    assert decoded_by_both(payload, *geometry, isa, threads) == original

    at = data.draw(st.integers(0, len(payload) - 1), label="at")
    flipped = bytearray(payload)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7), label="bit")
    result = decoded_by_both(bytes(flipped), *geometry, isa, threads)
    # The last byte may hold bits below the coded interval's precision; no bytes need none.
    assert result != original or at == len(payload) - 1 or not original

    assert decoded_by_both(payload[:at], *geometry, isa, threads) != original
    more = data.draw(st.binary(min_size=1, max_size=12), label="more")
    result = decoded_by_both(payload + more, *geometry, isa, threads)
    assert result != original or len(more) < 8  # the decoder reads that far ahead
    graft = payload[:at] + more + payload[at + len(more) :]
    decoded_by_both(graft, *geometry, isa, threads)
    decoded_by_both(more, *geometry, isa, threads)


@given(case=cases(600), wrong=cases(900), isa=isas, threads=threads_of)
def test_a_wrong_geometry_is_damage_like_any_other(
    case: Case, wrong: Case, isa: str, threads: int
) -> None:
    payload = native_of(isa, threads).encode(case.data, case.geometry, no_progress)
    decoded_by_both(payload, wrong.size, wrong.lanes, wrong.prefix, isa, threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_damaged_block_stays_damaged_and_its_engine_well(threads: int) -> None:
    engine, case = native_of(ISAS[0], threads), Case("random", 5, 3000, 20, 100)
    payload = engine.encode(case.data, case.geometry, no_progress)
    # Cut where a run() call has already gone well.
    coder = coder_of(engine, case, array_of(payload[:2000]), decode=True)
    assert coder.run(1000) >= 1000
    for _ in range(3):
        with pytest.raises(PayloadError, match=r"too early|damaged"):
            coder.run(3000)
    with pytest.raises(RuntimeError, match="end"):
        coder.finish()
    got = engine.decode(payload, case.size, case.geometry, no_progress)
    assert got == case.data.tobytes()


# size, lanes, prefix, bits of the table: a geometry that no block has
GEOMETRIES = {
    "no lanes": (100, 0, 0),
    "fewer than no lanes": (100, -1, 0),
    "a size below nothing": (-1, 1, 0),
    "a prefix below nothing": (100, 1, -1),
    "a prefix beyond the block": (100, 1, 101),
    "more lanes than bytes": (100, 101, 0),
    "more lanes than bytes behind the prefix": (100, 21, 80),
    "lanes behind a prefix that is all": (100, 2, 100),
    "lanes of no bytes": (0, 2, 0),
    "a size beyond 64 bits": (2**63, 1, 0),
    "lanes beyond 32 bits": (100, 2**31, 0),
    "lanes that look small in 32 bits": (100, 2**32 + 1, 0),
    "half a lane": (100, 0.5, 0),
    "a size in words": ("100", 1, 0),
    "a table below nothing": (100, 1, 0, -10),
    "a table of one line": (100, 1, 0, 1),
    "a table too small": (100, 1, 0, 9),
    "a table too large": (100, 1, 0, 23),
    "a table beyond 64 bits": (100, 1, 0, 64),
    "a table that looks small in 32 bits": (100, 1, 0, 2**32 + 10),
}


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_geometries_that_make_no_sense(geometry: tuple[Any, ...], decode: bool) -> None:
    case = Case("constant", 0, *geometry)
    block = np.zeros(case.size if case.size in range(101) else 100, dtype=np.uint8)
    why = r"lanes and prefix do not fit|table_bits is out of range|arguments"
    with pytest.raises((ValueError, TypeError), match=why):
        coder_of(native_of(ISAS[0]), case, block, decode)


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("geometry", [(2, 0, 10), (1, 1, 10), (1, 0, 0), (1, 0, 9), (1, 0, 23)])
def test_context_models_alone_know_no_lanes(geometry: tuple[int, int, int], decode: bool) -> None:
    lanes, prefix, table_bits = geometry
    with pytest.raises(ValueError, match=r"context models alone|table_bits is out of range"):
        BlockCoder(None, 100, lanes, prefix, table_bits, ZEROS, decode)


def test_the_engine_says_so_too() -> None:
    with pytest.raises(ValueError, match="lanes and prefix do not fit"):
        native_of(ISAS[0]).encode(array_of(TEXT[:63]), Geometry(64), no_progress)
    with pytest.raises(ValueError, match="lanes and prefix do not fit"):
        native_of(ISAS[0]).decode(TEXT, 63, Geometry(64), no_progress)


HUNDRED = Case("constant", 0, 100, 1, 50)


@pytest.mark.parametrize("length", [0, 99, 101])
def test_a_block_of_another_length(length: int) -> None:
    with pytest.raises(ValueError, match="as long as"):
        coder_of(native_of(ISAS[0]), HUNDRED, np.zeros(length, np.uint8), decode=False)


ZEROS = np.zeros(100, dtype=np.uint8)
INPUTS = {
    "signed": ZEROS.astype(np.int8),
    "two bytes an element": ZEROS.astype(np.uint16),
    "floats": ZEROS.astype(np.float32),
    "booleans": ZEROS.astype(np.bool_),
    "objects": ZEROS.astype(object),
    "no dimension": np.array(0, dtype=np.uint8),
    "two dimensions": ZEROS.reshape(1, 100),
    "every other element": np.zeros(200, dtype=np.uint8)[::2],
    "backwards": ZEROS[::-1],
    "a list": [0] * 100,
    "text": "0" * 100,
    "nothing": None,
}


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("bad", INPUTS.values(), ids=INPUTS)
def test_inputs_that_are_no_bytes(bad: npt.NDArray[np.uint8], decode: bool) -> None:
    """Refused, never copied into shape behind the caller's back."""
    with pytest.raises(TypeError):
        coder_of(native_of(ISAS[0]), HUNDRED, bad, decode)


def contexts_of(source: Bytes, size: int, decode: bool, table_bits: int = 10) -> BlockCoder:
    """Context models alone."""
    return BlockCoder(None, size, 1, 0, table_bits, source, decode)


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("table_bits", TABLES)
def test_nothing_comes_out_before_the_end(table_bits: int, decode: bool) -> None:
    hundred = replace(HUNDRED, table_bits=table_bits)
    assert_finish_waits(coder_of(native_of(ISAS[0]), hundred, ZEROS, decode))


@pytest.mark.parametrize("decode", [False, True])
def test_nor_from_context_models_alone(decode: bool) -> None:
    assert_finish_waits(contexts_of(ZEROS, 100, decode))


def assert_finish_waits(coder: BlockCoder) -> None:
    for piece in (50, 20):  # nothing is done; the prefix is; some of the rest
        with pytest.raises(RuntimeError, match="not coded to its end"):
            coder.finish()
        coder.run(piece)
    with pytest.raises(RuntimeError, match="not coded to its end"):
        coder.finish()


@pytest.mark.parametrize("threads", [1, 2])
def test_coders_of_one_engine_take_turns(threads: int) -> None:
    """Three blocks in flight: each keeps its own past, though they share the engine's buffers."""
    engine, alone = native_of(ISAS[0], threads), native_of(ISAS[-1])
    jobs = [
        Case("random", 1, 1500, 64, 77),
        Case("text", 2, 1100, 1, 0),
        Case("text", 3, 9, 9, 0),
        Case("text", 4, 1300, 7, 100, table_bits=10),
        Case("pattern", 5, 1400, 30, 9, table_bits=10),
    ]
    payloads = [alone.encode(job.data, job.geometry, no_progress) for job in jobs]
    coders = []
    for job, payload in zip(jobs, payloads, strict=True):
        coders.append(coder_of(engine, job, job.data, decode=False))
        coders.append(coder_of(engine, job, array_of(payload), decode=True))
    for _ in range(1500):  # a step at a time, round and round
        for coder in coders:
            coder.run(1)
    results = [coder.finish() for coder in coders]
    assert results[::2] == payloads
    assert results[1::2] == [job.data.tobytes() for job in jobs]


@pytest.mark.parametrize("threads", [1, 2])
def test_python_threads_share_an_engine(threads: int) -> None:
    """Coders and states at once: run() lets other Python threads go on while it works."""
    engine = native_of(ISAS[0], threads)
    jobs = [
        Case(KINDS[i % len(KINDS)], i, 3000 + i, 1 + 13 * i % 40, 30 * i, TABLES[i % 2])
        for i in range(6)
    ]
    alone, contexts = native_of(ISAS[-1]), Geometry(table_bits=10)
    want = [alone.encode(j.data, j.geometry, no_progress) for j in jobs]
    plain = [NativeContexts().encode(j.data, contexts, no_progress) for j in jobs]
    workers = 4
    together = threading.Barrier(workers, timeout=60)

    def work(first: int) -> None:
        together.wait()
        for i in range(len(jobs)):
            turn = (first + i) % len(jobs)
            job, payload = jobs[turn], want[turn]
            data, geometry = job.data, job.geometry
            assert engine.encode(data, geometry, no_progress) == payload
            assert engine.decode(payload, job.size, geometry, no_progress) == data.tobytes()
            if not job.table_bits:
                state = engine.start()
                assert encode_lanes(data, job.lanes, job.prefix, state, no_progress) == payload
            assert NativeContexts().encode(data, contexts, no_progress) == plain[turn]

    with ThreadPoolExecutor(workers) as pool:
        assert list(pool.map(work, range(workers))) == [None] * workers


@pytest.mark.parametrize("table_bits", TABLES)
def test_a_coder_outlives_the_names_of_its_engine_and_input(table_bits: int) -> None:
    """C++ must keep what it reads."""
    job = Case("text", 4, 5000, 40, 100, table_bits)
    payload = native_of(ISAS[0]).encode(job.data, job.geometry, no_progress)
    for decode, source, want in (
        (False, job.data, payload),
        (True, array_of(payload).copy(), job.data.tobytes()),
    ):
        engine = NativeEngine(model_of("tiny"), 2, ISAS[0])
        coder = coder_of(engine, job, source, decode)
        coder.run(1000)
        source[:] = 0
        del engine, source
        gc.collect()
        np.ones(10_000_000).sum()  # reuse memory that was freed too early
        coder.run(job.size)
        assert coder.finish() == want


def test_context_models_keep_their_input() -> None:
    data = Case("text", 4, 5000, 1, 0).data
    payload = NativeContexts().encode(data, Geometry(table_bits=10), no_progress)
    for decode, source, want in (
        (False, data.copy(), payload),
        (True, array_of(payload).copy(), data.tobytes()),
    ):
        coder = contexts_of(source, 5000, decode)
        coder.run(1000)
        source[:] = 0
        del source
        coder.run(5000)
        assert coder.finish() == want
        with pytest.raises(RuntimeError, match="finished already"):
            coder.finish()


@pytest.mark.parametrize("table_bits", [0, 10])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", ISAS)
def test_stages_are_timed(isa: str, threads: int, table_bits: int) -> None:
    engine = NativeEngine(model_of("tiny"), threads, isa)
    core, job = engine.core, Case("text", 6, 6000, 48, 500, table_bits)
    want = engine.encode(job.data, job.geometry, no_progress)
    assert core.stage_seconds() == dict.fromkeys(STAGES, 0.0)  # nobody asked

    def code(decode: bool) -> None:
        """The same bytes, measured or not."""
        if decode:
            got = engine.decode(want, job.size, job.geometry, no_progress)
            assert got == job.data.tobytes()
        else:
            assert engine.encode(job.data, job.geometry, no_progress) == want

    for decode in (False, True):
        core.measure(True)
        assert core.stage_seconds() == dict.fromkeys(STAGES, 0.0)
        begun = time.perf_counter()
        code(decode)
        wall = time.perf_counter() - begun
        seconds = core.stage_seconds()
        assert set(seconds) == STAGES
        assert all(value > 0 for value in seconds.values())
        assert sum(seconds.values()) <= threads * wall  # nothing is counted twice
        code(decode)
        assert all(value > seconds[stage] for stage, value in core.stage_seconds().items())
    core.measure(False)
    seconds = core.stage_seconds()
    code(decode=False)
    assert core.stage_seconds() == seconds
