"""Random access: any range, by the blocks that hold it and no others."""

from __future__ import annotations

import io
import threading
from functools import partial
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from helpers import TEXT, constant_archive, raised_by, stored_archive
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

import nncodec
from nncodec.api import base_of, load_coder
from nncodec.container import Kind, skippable_frame
from nncodec.errors import (
    BaseFileError,
    CorruptDataError,
    LimitError,
    NNCodecError,
    UnsupportedVersionError,
)
from nncodec.frames import chain, stored_frame
from nncodec.limits import Limits, decoding_memory
from nncodec.parsing import read_frames
from nncodec.reader import ArchiveReader, BlockIndex

USER = skippable_frame(3, b"for users")
NOISE = np.random.default_rng(1).bytes(5000)
SIZE = 1024


@pytest.fixture(scope="module")
def made() -> tuple[bytes, bytes]:
    """An archive of several chains, models and kinds of blocks, laced with skippable frames."""
    coded = TEXT * 7
    pieces = (
        (nncodec.compress(coded, 1, block_size=SIZE), coded),
        (nncodec.compress(b"", 1), b""),
        (nncodec.compress(NOISE, 1, block_size=SIZE), NOISE),
        (constant_archive(b"a" * 300), b"a" * 300),
        (nncodec.compress(TEXT, model="tiny"), TEXT),
    )
    archive = b"".join(USER + piece for piece, _ in pieces) + USER
    return archive, b"".join(data for _, data in pieces)


def stored_blocks(data: bytes) -> bytes:
    frame = stored_frame(np.frombuffer(data, dtype=np.uint8), None, SIZE)
    return b"".join(chain([frame]))


def reader_of(archive: bytes, limits: Limits | None = None) -> ArchiveReader:
    return ArchiveReader(io.BytesIO(archive), load_coder, limits=limits or Limits())


@given(st.data())
def test_any_range_by_the_blocks_that_hold_it(
    made: tuple[bytes, bytes], data: st.DataObject
) -> None:
    archive, plain = made
    reader = reader_of(archive)
    assert reader.size == len(plain)
    starts = np.cumsum([0] + [row.block.size for row in reader.index])
    last = -1
    random = Random(data.draw(st.integers(0, 1 << 32), label="seed"))
    for _ in range(4):
        begin = random.randrange(len(plain) + 20)
        end = begin + random.choice((-3, 0, 1, 700, 5000))
        before = reader.blocks_decoded
        assert reader.read_range(begin, max(end, 0)) == plain[begin : max(end, 0)]
        touched = [
            n
            for n, (a, b) in enumerate(pairwise(starts))
            if a < min(end, len(plain)) and b > begin and begin < end
        ]
        assert reader.blocks_decoded - before == len(touched) - (touched[:1] == [last])
        last = touched[-1] if touched else last


def test_rows_are_those_of_the_headers(made: tuple[bytes, bytes]) -> None:
    archive, plain = made
    index = BlockIndex(io.BytesIO(archive))
    frames = read_frames(io.BytesIO(archive))
    assert [row.block for row in index] == [block for frame in frames for block in frame.blocks]
    assert [row.model_id for row in index] == [f.model_id for f in frames for _ in f.blocks]
    assert [index.size_of(n) for n in range(len(index))] == [row.block.size for row in index]
    assert (index.size, index.skipped_bytes) == (len(plain), 6 * len(USER))
    for row in index:
        if row.block.kind == Kind.STORED:
            stored = archive[row.payload_at : row.payload_at + row.block.size]
            assert plain[row.begin : row.end] == stored
    with pytest.raises(IndexError):
        index[len(index)]


def test_from_where_the_source_stands(made: tuple[bytes, bytes]) -> None:
    source = io.BytesIO(b"something else" + made[0])
    source.seek(14)
    reader = ArchiveReader(source, load_coder)
    source.seek(3)
    assert reader.read_range(0, 10**9) == made[1]


def test_positions_are_not_negative(made: tuple[bytes, bytes]) -> None:
    for span in ((-1, 5), (0, -5)):
        with pytest.raises(ValueError, match="counted from the beginning"):
            reader_of(made[0]).read_range(*span)


def test_an_empty_archive() -> None:
    reader = reader_of(nncodec.compress(b"", 1))
    assert (reader.size, reader.read_range(0, 100), reader.blocks_decoded) == (0, b"", 0)


def test_every_prefix_is_the_error_of_decompress() -> None:
    archive = USER + stored_blocks(NOISE[:1500]) + stored_archive(b"abc")
    for size in range(len(archive)):
        cut = archive[:size]
        ours, whole = (raised_by(partial(f, cut)) for f in (reader_of, nncodec.decompress))
        assert (ours and ours[0]) == (whole and whole[0])
        if whole is None:
            assert reader_of(cut).read_range(0, 9999) == nncodec.decompress(cut)
        elif "in the middle of a block" not in whole[1]:  # the reader has headers alone to tell by
            assert ours == whole


@given(st.data())
def test_damage_is_never_unnoticed(data: st.DataObject) -> None:
    plain, archive = NOISE[:1500], USER + stored_blocks(NOISE[:1500]) + constant_archive(b"aaa")
    damaged = bytearray(archive)
    at = data.draw(st.integers(0, len(archive) - 1), label="at")
    damaged[at] ^= data.draw(st.integers(1, 255), label="flip")
    try:
        came = reader_of(bytes(damaged)).read_range(0, 9999)
    except (CorruptDataError, UnsupportedVersionError):
        with pytest.raises(NNCodecError):
            nncodec.decompress(damaged)
        return
    assert came == plain + b"aaa"  # in a skippable frame


def test_a_damaged_block_leaves_the_others(made: tuple[bytes, bytes]) -> None:
    archive, plain = made
    rows = list(BlockIndex(io.BytesIO(archive)))
    stored = next(row for row in rows if row.block.kind == Kind.STORED)
    damaged = bytearray(archive)
    damaged[stored.payload_at] ^= 1
    reader = reader_of(bytes(damaged))
    assert reader.read_range(0, stored.begin) == plain[: stored.begin]
    for _ in range(2):
        with pytest.raises(CorruptDataError, match="checksum"):
            reader.read_range(stored.begin, stored.begin + 1)
    assert reader.read_range(stored.end, 10**9) == plain[stored.end :]


def test_deltas_need_their_base() -> None:
    values = np.random.default_rng(3).normal(size=(200, 300)).astype(np.float32)
    old = save({"w": values})
    new = save({"w": values * np.float32(1.001)})
    archive = nncodec.compress(new, base=old)
    assert "delta" in nncodec.info(archive).blocks
    reader = ArchiveReader(io.BytesIO(archive), load_coder, base=base_of(old))
    assert reader.read_range(1000, 2000) == new[1000:2000]
    assert reader.read_range(0, len(new)) == new
    for wrong in (None, base_of(new)):
        with pytest.raises(BaseFileError):
            ArchiveReader(io.BytesIO(archive), load_coder, base=wrong)


def test_limits(made: tuple[bytes, bytes]) -> None:
    archive, plain = made
    assert reader_of(archive, Limits(len(plain))).size == len(plain)
    with pytest.raises(LimitError, match=f"{len(plain)} bytes, {len(plain) - 1} allowed"):
        reader_of(archive, Limits(len(plain) - 1))
    rows = list(BlockIndex(io.BytesIO(archive)))
    stored = next(row for row in rows if row.block.kind == Kind.STORED)
    reader = reader_of(archive, Limits(max_memory=decoding_memory(stored.block)))
    assert reader.read_range(stored.begin, stored.end) == plain[stored.begin : stored.end]
    with pytest.raises(LimitError, match="max_memory"):
        reader.read_range(0, 1)
    assert reader.blocks_decoded == 1


def test_many_blocks_cost_little() -> None:
    """An archive's rows and some 24 bytes a block, however they are read."""
    noise = np.random.default_rng(5).bytes(1 << 20)
    archive = (
        nncodec.api.load_codec(1)
        .with_block_size(1 << 17)
        .compress(np.frombuffer(noise, dtype=np.uint8))
    )
    index = BlockIndex(io.BytesIO(archive * 50))
    assert len(index) == 400
    held = len(index._table) + sum(
        a.itemsize * len(a) for a in (index.begins, index._payloads, index._rows)
    )
    assert held < 400 * 40
    assert len(index._names) == 1


def test_threads_share_a_reader(made: tuple[bytes, bytes]) -> None:
    archive, plain = made
    reader = reader_of(archive)
    good: list[bool] = []

    def work(seed: int) -> None:
        random = Random(seed)
        for _ in range(10):
            begin = random.randrange(len(plain))
            good.append(reader.read_range(begin, begin + 900) == plain[begin : begin + 900])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert good == [True] * 40
