"""Recovering damaged archives: nothing wrong is written, and every block that is intact is saved.

The archives are small and made of blocks of every kind that needs no model; the damage is real:
bytes changed, sectors zeroed, pieces cut out, put in and moved.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from helpers import TEXT, HashEngine, constant_archive, forge, stored_archive
from hypothesis import given
from hypothesis import strategies as st
from test_cli import Result, cli, names

import nncodec
from nncodec import damaged
from nncodec.api import load_codec
from nncodec.container import MAGIC, WITH_MODEL, Frame, skippable_frame, varint
from nncodec.errors import (
    BaseFileError,
    CorruptDataError,
    ModelNotFoundError,
    NNCodecError,
    UnsupportedVersionError,
)
from nncodec.lanes import no_progress
from nncodec.recovery import Missing, Recovery

SIZE = 96  # of a block


@dataclass(frozen=True)
class Place:
    """Of a block: its frame's header and its payload in the archive, its bytes in the original."""

    header: range
    payload: range
    begin: int
    data: bytes


@dataclass(frozen=True)
class Sample:
    archive: bytes
    data: bytes
    places: tuple[Place, ...]


def noise(seed: int, size: int = SIZE) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def text(number: int, size: int = SIZE) -> bytes:
    return (f"line {number} of {number}; " * size).encode()[:size]


def make(frames: list[list[bytes]], model: str | None = None, links: bool = True) -> Sample:
    """A chain of frames, or archives one after the other; all blocks but the last are of SIZE."""
    codec = load_codec(1 if model is None else 6, model)
    archive, data, places = b"", b"", []
    for number, blocks in enumerate(frames):
        coded = [codec.encode_block(np.frombuffer(b, np.uint8), no_progress) for b in blocks]
        more, continues = links and number + 1 < len(frames), links and number > 0
        rows = tuple(row for row, _ in coded)
        named = codec.model_id if any(row.kind in WITH_MODEL for row in rows) else None
        total = sum(map(len, blocks))
        packed = Frame(total, min(SIZE, total), rows, named, None, more, continues).pack()
        header = range(len(archive), len(archive) + len(packed))
        archive += packed
        for block, (_, payload) in zip(blocks, coded, strict=True):
            place = range(len(archive), len(archive) + len(payload))
            places.append(Place(header, place, len(data), block))
            archive, data = archive + payload, data + block
    assert nncodec.decompress(archive) == data
    return Sample(archive, data, tuple(places))


FRAMES = [
    [noise(1), text(1), b"a" * SIZE, text(2)],
    [text(3), noise(2), noise(3, 50)],
    [b"b" * SIZE, text(4), text(5), noise(4), text(6, 70)],
]
CHAIN = make(FRAMES)
SEVERAL = make(FRAMES, links=False)


def recover(archive: bytes, **options: object) -> tuple[bytes, Recovery]:
    sink = io.BytesIO()
    recovery = nncodec.recover(io.BytesIO(archive), sink, **options)  # type: ignore[arg-type]
    return sink.getvalue(), recovery


def check(sample: Sample, archive: bytes) -> tuple[bytes, Recovery]:
    """Nothing is said to be saved that is not the original's, at its place if that is known."""
    try:
        output, recovery = recover(archive)
    except CorruptDataError:
        nothing = Missing(0, None, "no frame", 0)
        return b"", Recovery(0, 0, 0, 0, (nothing,), ((0, len(archive)),))
    assert len(output) == recovery.size
    at = after = 0
    exact = True
    for m in (*recovery.missing, None):
        end = m.begin if m else len(output)
        piece = output[at:end]
        if exact:
            assert piece == sample.data[at:end]
        elif piece:
            found = sample.data.find(piece, after)
            assert found >= 0, "bytes that are not the original's, or not in order"
            after = found
        if m is None:
            break
        at = end + (m.size or 0)
        assert output[end:at] == bytes(m.size or 0)
        exact, after = exact and m.size is not None, max(after, at if exact else 0)
    assert sum(m.size or 0 for m in recovery.missing) + recovery.saved == len(output)
    return output, recovery


def test_nothing_is_missing() -> None:
    for sample in (CHAIN, SEVERAL):
        output, recovery = recover(sample.archive)
        assert output == sample.data
        assert recovery.complete
        assert (recovery.saved, recovery.blocks_saved) == (len(sample.data), len(sample.places))
        assert (recovery.blocks_lost, recovery.size) == (0, len(sample.data))


def test_every_byte_changed() -> None:
    """In a payload that block is lost, and no other; in a header nothing at all."""
    sample = make([[noise(1), b"a" * SIZE], [text(1), noise(2, 50)]])
    rng = np.random.default_rng(0)
    headers = {at for place in sample.places for at in place.header}
    for at in sorted(headers.union(range(0, len(sample.archive), 5))):
        archive = bytearray(sample.archive)
        archive[at] ^= int(rng.integers(1, 256))
        output, recovery = check(sample, bytes(archive))
        hit = [place for place in sample.places if at in place.payload]
        if not hit:
            assert output == sample.data, f"byte {at} of a header"
            assert recovery.missing == ()
            continue
        (place,) = hit
        if recovery.missing:  # the last byte of a coded payload may not matter
            (missing,) = recovery.missing
            assert (missing.begin, missing.size) == (place.begin, len(place.data))
            assert "damaged" in missing.reason
        else:
            assert at == place.payload[-1]
            assert output == sample.data


def untouched(place: Place, hole: range) -> bool:
    return all(r.stop <= hole.start or hole.stop <= r.start for r in (place.header, place.payload))


@given(st.data())
def test_overwritten(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from((CHAIN, SEVERAL)))
    at = data.draw(st.integers(0, len(sample.archive) - 1))
    size = data.draw(st.integers(1, 300))
    piece = data.draw(st.sampled_from((bytes(size), noise(at, size), MAGIC * size)))[:size]
    hole = range(at, min(at + size, len(sample.archive)))
    archive = sample.archive[:at] + piece[: len(hole)] + sample.archive[hole.stop :]
    output, _ = check(sample, archive)
    for place in sample.places:
        if untouched(place, hole):
            assert place.data in output


@given(st.data())
def test_cut_out_and_put_in(data: st.DataObject) -> None:
    """Of a chain: whose next frame is known by its link, wherever it is now."""
    at = data.draw(st.integers(0, len(CHAIN.archive)))
    cut = data.draw(st.integers(0, 300))
    piece = data.draw(st.one_of(st.binary(max_size=300), st.just(CHAIN.archive[:70])))
    hole = range(at, min(at + cut, len(CHAIN.archive)))
    archive = CHAIN.archive[:at] + piece + CHAIN.archive[hole.stop :]
    if piece == CHAIN.archive[:70]:  # another frame, which stands for itself: it may come out, too
        with contextlib.suppress(CorruptDataError):
            recover(archive)
        return
    output, _ = check(CHAIN, archive)
    saved = [place for place in CHAIN.places if place.data in output]
    whole = [p for p in CHAIN.places if untouched(p, hole) and not inside(p, at)]
    assert {p.begin for p in whole} <= {p.begin for p in saved}


def test_a_header_that_runs_into_the_next_frame() -> None:
    """Cut short within its table, it seems to go on in the header behind it: at every place."""
    first, second, third = sorted({(p.header.start, p.header.stop) for p in CHAIN.places})
    last = [place for place in CHAIN.places if place.header.start == third[0]]
    for begin in range(second[0] + 1, second[1] + 1, 7):
        for end in range(third[0] - 25, third[1], 4):
            if end - begin == third[0] - second[0]:
                continue  # a whole frame, or all but: what is left fits as if it had not been
            output, _ = check(CHAIN, CHAIN.archive[:begin] + CHAIN.archive[end:])
            assert output.startswith(CHAIN.data[: 4 * SIZE])
            assert end > third[0] or all(place.data in output for place in last)
    assert first[0] == 0


def inside(place: Place, at: int) -> bool:
    """Whether something put in at ``at`` parts a block's own bytes or those of its header."""
    return any(r.start < at < r.stop for r in (place.header, place.payload))


@given(st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=40)), max_size=4))
def test_many_wounds(wounds: list[tuple[int, bytes]]) -> None:
    archive = bytearray(CHAIN.archive)
    for at, piece in wounds:
        at %= len(archive)
        archive[at : at + len(piece)] = piece
    check(CHAIN, bytes(archive))


@pytest.mark.parametrize("size", range(0, len(CHAIN.archive), 23))
def test_truncated(size: int) -> None:
    if size < 5:
        with pytest.raises(CorruptDataError):
            recover(CHAIN.archive[:size])
        return
    output, recovery = check(CHAIN, CHAIN.archive[:size])
    whole = [p for p in CHAIN.places if p.payload.stop <= size]
    assert output.startswith(b"".join(p.data for p in whole))
    assert not recovery.complete
    frames = [p.header for p in CHAIN.places]
    if size >= frames[0].stop:  # the headers that are there tell how much the rest was
        assert recovery.size == max(
            p.begin + len(p.data) for p in CHAIN.places if p.header.stop <= size
        )
    last = frames[-1].stop
    assert any(m.size is None for m in recovery.missing) == (size < last)


def test_sectors_of_zeros(tmp_path: Path) -> None:
    """Of 512 bytes and of 4 KiB, on an archive of many frames."""
    sample = make([[noise(100 * f + b) for b in range(8)] for f in range(40)])
    for sector in (512, 4096):
        for at in range(0, len(sample.archive) - sector, 7 * sector):
            archive = bytearray(sample.archive)
            archive[at : at + sector] = bytes(sector)
            output, recovery = check(sample, bytes(archive))
            hole = range(at, at + sector)
            assert all(p.data in output for p in sample.places if untouched(p, hole))
            assert recovery.blocks_saved >= sum(untouched(p, hole) for p in sample.places)


def test_garbage_before_between_and_after() -> None:
    first, second = stored_archive(b"first"), stored_archive(b"second")
    archive = noise(1) + first + noise(2) + second + noise(3)
    output, recovery = recover(archive)
    assert output == b"firstsecond"
    assert [(m.begin, m.size) for m in recovery.missing] == [(0, None), (5, None), (11, None)]
    assert [end - begin for begin, end in recovery.skipped] == [SIZE] * 3
    assert not recovery.complete


def test_a_chain_that_lacks_frames() -> None:
    headers = sorted({(p.header.start, p.header.stop) for p in CHAIN.places})
    one, two, three = (
        CHAIN.archive[a:b]
        for a, b in zip([h[0] for h in headers], [*[h[0] for h in headers[1:]], None], strict=True)
    )
    sizes = [sum(map(len, blocks)) for blocks in FRAMES]
    cases = {
        "begins in the middle": (two + three, [0]),
        "ends early: more": (one + two, [sizes[0] + sizes[1]]),
        "before another one ends early": (one + one, [sizes[0], 2 * sizes[0]]),
    }
    for message, (archive, places) in cases.items():
        output, recovery = recover(archive)
        assert [m.begin for m in recovery.missing] == places
        assert all(m.size is None for m in recovery.missing)
        assert message in recovery.missing[0].reason
        assert len(output) == recovery.saved
    # A frame missing between two cannot be noticed: its neighbours' links fit each other.
    assert recover(one + three)[1].complete


def test_an_archive_within_an_archive_is_no_frame() -> None:
    """Stored as it is; also when the block that holds it, or the magic behind it, is damaged."""
    inner = stored_archive(noise(9, 40))
    blocks = [noise(1), inner + noise(8, SIZE - len(inner)), noise(2)]
    sample = make([blocks, [noise(3)]])
    for at in (sample.places[1].payload[-1], sample.places[3].header.start):
        archive = bytearray(sample.archive)
        archive[at] ^= 0x55
        check(sample, bytes(archive))
    cut = sample.archive[: sample.places[1].payload.stop - 1]
    output, _ = check(sample, cut)
    assert output.startswith(blocks[0])
    alone = make([blocks])
    output, recovery = check(alone, alone.archive[: alone.places[1].payload.stop - 1])
    assert output == blocks[0] + bytes(2 * SIZE)
    assert recovery.blocks_saved == 1


def test_skip_leaves_missing_bytes_out() -> None:
    archive = bytearray(CHAIN.archive)
    archive[CHAIN.places[1].payload[3]] ^= 1
    output, recovery = recover(bytes(archive), skip=True)
    assert output == CHAIN.data[:SIZE] + CHAIN.data[2 * SIZE :]
    assert [(m.begin, m.size) for m in recovery.missing] == [(SIZE, SIZE)]
    assert recovery.size == len(CHAIN.data)


def test_a_model() -> None:
    sample = make([[TEXT[:SIZE], TEXT[96 : 96 + SIZE]], [TEXT[200:290]]], model="tiny")
    assert nncodec.info(sample.archive).models
    for place in sample.places:
        archive = bytearray(sample.archive)
        archive[place.payload[2]] ^= 0xFF
        _, recovery = check(sample, bytes(archive))
        assert [m.begin for m in recovery.missing] == [place.begin]
    frame = bytearray(sample.archive)
    frame[sample.places[2].header.start + 6 : sample.places[2].header.start + 22] = bytes(16)
    assert recover(bytes(frame))[0] == sample.data  # by the model of the other frame


def test_a_model_that_is_missing_is_an_error_before_anything() -> None:
    body = HashEngine.model_id + b"\x03\x03" + bytes((2, 1)) + bytes(8) + b"\x01\x00"
    sink = io.BytesIO()
    with pytest.raises(ModelNotFoundError):
        nncodec.recover(io.BytesIO(stored_archive(b"x") + forge(body, flags=1) + b"!"), sink)
    assert sink.getvalue() == b""


def test_deltas_need_their_base() -> None:
    base = np.random.default_rng(1).normal(size=20000).astype(np.float32)
    tuned = base.copy()
    tuned[::7] *= 1.001

    def tensor_file(values: np.ndarray) -> bytes:
        from safetensors.numpy import save

        return save({"w": values.reshape(100, 200)})

    old, new = tensor_file(base), tensor_file(tuned)
    archive = bytearray(nncodec.compress(new, base=old))
    assert nncodec.info(bytes(archive)).bases
    with pytest.raises(BaseFileError, match="--base"):
        recover(bytes(archive))
    output, recovery = recover(bytes(archive), base=old)
    assert (output, recovery.complete) == (new, True)
    archive[-100] ^= 1
    output, recovery = recover(bytes(archive), base=old)
    assert recovery.blocks_lost == 1
    assert recovery.size == len(new)


def test_what_is_no_archive_and_what_a_later_release_made() -> None:
    with pytest.raises(CorruptDataError, match="not an nncodec archive"):
        recover(noise(1, 10_000))
    with pytest.raises(UnsupportedVersionError, match="version 9"):
        recover(forge(stored_archive(b"x")[6:-5], version=9) + b"x")
    assert recover(bytes.fromhex("894e4e4301000000de1f9a4f"))[1].complete  # of an empty file


def test_limit() -> None:
    archive = constant_archive(b"a" * 300)
    with pytest.raises(NNCodecError, match="max_output_size: 300 bytes, 299 allowed"):
        recover(archive, max_output_size=299)


def hostile_archives() -> dict[str, bytes]:
    start = MAGIC + b"\x01\x00"
    rows = b"\x00\x01" + bytes(8)
    return {
        "magics": MAGIC * 5_000,
        "starts": start * 5_000,
        "starts that promise": (start + varint(1 << 40) + varint(1)) * 2_000,
        "rows in rows": (start + varint(1 << 20) + varint(1) + rows * 3) * 1_000,
        "tiny archives": stored_archive(b"") * 2_000,
        "one long table": start + varint(1 << 60) + varint(1) + rows * 3_000,
        "tables of nothing": (start + b"\x10\x01" + b"\x00\x01" + b"\x89NNC\x01\0\x10\x01") * 2_000,
    }


@pytest.mark.parametrize("archive", hostile_archives().values(), ids=hostile_archives())
def test_hostile(archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error or a report. With a tenth of the work allowed, the same things happen sooner."""
    for name in ("MOST_HEADER", "HASH_TRIALS", "PARSED_IN_ALL"):
        monkeypatch.setattr(damaged, name, getattr(damaged, name) // 10)
    try:
        output, recovery = recover(archive, max_output_size=1 << 20)
    except NNCodecError:
        return
    assert (output, recovery.saved) == (bytes(len(output)), 0)


def test_memory_does_not_grow_with_what_a_header_promises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(damaged, "PARSED_IN_ALL", 10_000)  # tracing takes its time
    archive = hostile_archives()["one long table"]
    tracemalloc.start()
    try:
        output, _ = recover(archive)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert output == b""
    assert peak < 200 * len(archive)


def test_work_on_false_starts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what is allowed spent, the search ends, and what is left is said to be skipped."""
    monkeypatch.setattr(damaged, "READ_AGAIN", 0)
    monkeypatch.setattr(damaged, "MOST_HEADER", 10_000)
    archive = stored_archive(b"first") + hostile_archives()["starts"] + stored_archive(b"last")
    output, recovery = recover(archive)
    assert output == b"first"
    assert [(m.begin, m.size) for m in recovery.missing] == [(5, None)]


@pytest.fixture
def wounded(tmp_path: Path) -> Path:
    archive = bytearray(CHAIN.archive)
    archive[CHAIN.places[5].payload[3]] ^= 1
    path = tmp_path / "data.nnc"
    path.write_bytes(archive)
    return path


def test_command(wounded: Path, tmp_path: Path) -> None:
    before = wounded.read_bytes()
    result = cli("recover", wounded)
    place = CHAIN.places[5]
    assert (result.rc, result.out) == (1, b"")
    last = place.begin + SIZE - 1
    lost = f"bytes {place.begin} to {last} ({SIZE}) are missing, zeros: a block is damaged"
    saved = f"{len(CHAIN.data) - SIZE} bytes saved, 11 of 12 blocks, {SIZE} bytes missing"
    assert result.errors == [
        f"nncodec: {wounded}: {lost} (its checksum does not match)",
        f"{wounded}: {saved} => {tmp_path / 'data.recovered'}",
    ]
    output = (tmp_path / "data.recovered").read_bytes()
    assert output == CHAIN.data[: place.begin] + bytes(SIZE) + CHAIN.data[place.begin + SIZE :]
    assert names(tmp_path) == ["data.nnc", "data.recovered"]
    assert wounded.read_bytes() == before


def test_command_refuses(wounded: Path, tmp_path: Path) -> None:
    def refused(result: Result, why: str) -> None:
        assert (result.rc, len(result.errors)) == (1, 1)
        assert why in result.err

    (tmp_path / "there").write_bytes(b"keep")
    refused(cli("recover", wounded, "-o", tmp_path / "there"), "already exists")
    refused(cli("recover", wounded, "-o", wounded), "same file")
    refused(cli("recover", tmp_path / "none.nnc"), "no such file")
    (tmp_path / "other").write_bytes(noise(1, 1000))
    refused(cli("recover", tmp_path / "other"), "not an nncodec archive")
    hopeless = bytearray(stored_archive(b"precious"))
    hopeless[-1] ^= 1
    (tmp_path / "hopeless.nnc").write_bytes(hopeless)
    refused(cli("recover", tmp_path / "hopeless.nnc"), "nothing could be saved: a block is damaged")
    assert cli("recover").rc == 2
    assert (tmp_path / "there").read_bytes() == b"keep"
    assert names(tmp_path) == ["data.nnc", "hopeless.nnc", "other", "there"]


def test_command_to_standard_output_and_json(wounded: Path, tmp_path: Path) -> None:
    result = cli("recover", wounded, "-o", "-", "-q", "--skip")
    assert (result.rc, result.err) == (1, "")
    assert len(result.out) == len(CHAIN.data) - SIZE
    result = cli("recover", wounded, "-q", "-o", tmp_path / "out", "--json")
    report = json.loads(result.out)
    assert result.rc == 1
    assert report["missing"][0]["begin"] == CHAIN.places[5].begin
    assert (report["complete"], report["blocks_lost"]) == (False, 1)
    (tmp_path / "whole.nnc").write_bytes(CHAIN.archive)
    result = cli("recover", tmp_path / "whole.nnc", "-o", tmp_path / "whole")
    assert result.rc == 0
    assert (tmp_path / "whole").read_bytes() == CHAIN.data


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="counts the blocks of a file on Linux")
def test_holes_take_no_room(tmp_path: Path) -> None:
    zeros = bytes(1 << 24)
    archive = bytearray(constant_archive(zeros) * 4 + stored_archive(noise(1)))
    one = len(constant_archive(zeros))
    for frame in range(4):
        archive[(frame + 1) * one - 1] ^= 1
    (tmp_path / "a.nnc").write_bytes(archive + archive[:one])
    assert cli("recover", tmp_path / "a.nnc", "-q").rc == 1
    status = (tmp_path / "a.recovered").stat()
    assert status.st_size == 5 * len(zeros) + SIZE
    assert status.st_blocks * 512 < 1 << 20


def test_skippable_frames_are_no_damage() -> None:
    """Before, between and behind the frames; also where the frame before one is damaged."""
    note = skippable_frame(200, bytes(40))
    first, second = stored_archive(b"first" * 20), stored_archive(b"second" * 20)
    archive = note + first + note + second + note
    sink = io.BytesIO()
    assert nncodec.recover(io.BytesIO(archive), sink).complete
    assert sink.getvalue() == b"first" * 20 + b"second" * 20
    damaged_first = note + first[:-1] + b"?" + note + second
    sink = io.BytesIO()
    recovery = nncodec.recover(io.BytesIO(damaged_first), sink)
    assert not recovery.complete
    assert sink.getvalue() == bytes(100) + b"second" * 20
