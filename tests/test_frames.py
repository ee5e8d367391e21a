"""Parts that do not shrink share frames: how much longer than a file its archive can be."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
import pytest
from safetensors.numpy import save

import nncodec
from nncodec import codec
from nncodec.api import load_codec
from nncodec.blocks import BLOCK_SIZE, MIN_TABLE_BITS, Geometry
from nncodec.container import (
    MAGIC,
    Block,
    Frame,
    Kind,
)
from nncodec.errors import CorruptDataError, NNCodecError, TruncatedError
from nncodec.frames import MOST_HELD, SPLIT, Coded, chain, join_parts, stored_frame
from nncodec.parsing import read_frames
from nncodec.tensors import chunks
from nncodec.tensors.chunks import Part


def parts_of(size: int, step: int) -> list[Part]:
    return [Part(begin, min(size, begin + step)) for begin in range(0, size, step)]


def frame_of(part: Part, size: int) -> Coded:
    """One that takes ``size`` bytes; nothing is to be decoded."""
    length = part.end - part.begin
    for payload in range(max(0, size - 40), size):
        row = Block(Kind.CONTEXTS, length, payload, 0, Geometry(table_bits=MIN_TABLE_BITS))
        found = Coded(Frame(length, length, (row,)), (bytes(payload),))
        if found.size == size:
            return found
    raise AssertionError(size)


def archive_of(frames: Iterable[Coded]) -> bytes:
    return b"".join(chain(frames))


def test_noise_of_48_mib_adds_less_than_64_bytes() -> None:
    data = np.zeros(3 * BLOCK_SIZE, dtype=np.uint8)  # what is stored is not looked at
    archive = archive_of(join_parts(data, [(p, None) for p in parts_of(len(data), 1 << 23)]))
    assert len(data) + 39 < len(archive) <= len(data) + 64
    (frame,) = read_frames(io.BytesIO(archive))
    assert [block.kind for block in frame.blocks] == [Kind.STORED] * 3
    assert nncodec.decompress(archive) == data.tobytes()


@pytest.mark.parametrize("gain", [0, 1, SPLIT - 1, SPLIT, SPLIT + 1, 1000])
def test_frames_that_gain_little_do_not_add_up(gain: int) -> None:
    """Noise and frames in turn: never longer than one stored frame."""
    step = 2 * MOST_HELD
    data = np.zeros(20 * step, dtype=np.uint8)
    parts = parts_of(len(data), step)
    coded = [(p, None if i % 2 else frame_of(p, step - gain)) for i, p in enumerate(parts)]
    archive = archive_of(join_parts(data, coded))
    assert len(archive) <= stored_frame(data).size
    assert len(archive) <= len(data) - 10 * (gain - SPLIT) + 64


def test_small_frames_are_kept_where_they_are_shorter() -> None:
    data = np.zeros(300, dtype=np.uint8)
    parts = Part(0, 100), Part(100, 300)
    short = [(part, frame_of(part, size)) for part, size in zip(parts, (90, 190), strict=True)]
    assert list(join_parts(data, short)) == [frame for _, frame in short]
    long = [(part, frame_of(part, size)) for part, size in zip(parts, (140, 190), strict=True)]
    assert [c.frame for c in join_parts(data, long)] == [stored_frame(data).frame]


def chained(monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, bytes, list[int]]:
    """A file of five chunks, its archive, and where its frames begin."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1 << 12)
    values = np.random.default_rng(2).normal(size=(64, 64)).astype(np.float32)
    data = save({"w": values, "x": values[::-1].copy()})
    archive = nncodec.compress(data, 1)
    begins = [at for at in range(len(archive)) if archive.startswith(MAGIC, at)]
    assert len(begins) == len(read_frames(io.BytesIO(archive))) > 3
    return data, archive, begins


def refused(archive: bytes, error: type[NNCodecError]) -> None:
    for read in (nncodec.decompress, nncodec.info):
        with pytest.raises(error, match=r"archive (begins|ends|before)"):
            read(archive)
    with pytest.raises(error):
        nncodec.weights.open(io.BytesIO(archive))


def test_a_chain_of_frames_is_whole_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    data, archive, begins = chained(monkeypatch)
    assert nncodec.decompress(archive) == data
    assert nncodec.decompress(archive * 2) == 2 * data  # cat a.nnc a.nnc
    flags = [(f.continues, f.more) for f in read_frames(io.BytesIO(archive))]
    assert flags == [(False, True), *[(True, True)] * (len(begins) - 2), (True, False)]
    for begin in begins[1:]:
        refused(archive[:begin], TruncatedError)
        refused(archive[:begin] + archive, TruncatedError)
        refused(archive[begin:], CorruptDataError)
        refused(archive + archive[begin:], CorruptDataError)


def test_a_stream_of_many_frames_is_whole_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "FRAME_BLOCKS", 1)
    monkeypatch.setattr(codec, "BLOCK_SIZE", 1 << 12)
    for size in (0, 1, 4095, 4096, 4097, 3 * 4096, 3 * 4096 + 1):
        data = np.random.default_rng(3).integers(97, 105, size, dtype=np.uint8).tobytes()
        sink = io.BytesIO()
        assert load_codec(1).compress_stream(io.BytesIO(data), sink) == (size, len(sink.getvalue()))
        archive = sink.getvalue()
        assert nncodec.decompress(archive) == data
        assert len(read_frames(io.BytesIO(archive))) == max(1, -(-size // 4096))
        begins = [at for at in range(len(archive)) if archive.startswith(MAGIC, at)]
        for cut in {*range(0, len(archive), 211), *begins, len(archive) - 1}:
            with pytest.raises(NNCodecError):
                nncodec.decompress(archive[:cut])


def test_an_empty_file_has_a_frame() -> None:
    archive = nncodec.compress(b"", 1)
    assert [frame.total for frame in read_frames(io.BytesIO(archive))] == [0]
    assert nncodec.decompress(archive) == b""


@pytest.mark.parametrize("dtype", ["u1", "f4", "f2"])
def test_noise_in_a_weight_file(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1 << 14)
    noise = np.random.default_rng(1).integers(0, 256, 1 << 17, dtype=np.uint8)
    data = save({"w": noise.view(dtype).reshape(128, -1)})
    archive = nncodec.compress(data, 1)
    assert nncodec.decompress(archive) == data
    assert len(archive) <= len(data) + 40
    kinds = [block.kind for frame in read_frames(io.BytesIO(archive)) for block in frame.blocks]
    if dtype == "u1":
        assert kinds == [Kind.STORED]
