"""Parts that do not shrink share frames: how much longer than a file its archive can be."""

from __future__ import annotations

import io

import numpy as np
import pytest
from safetensors.numpy import save

import nncodec
from nncodec.blocks import BLOCK_SIZE
from nncodec.container import Kind, read_frames
from nncodec.frames import MOST_HELD, SPLIT, join_parts, stored_frame
from nncodec.tensors import chunks
from nncodec.tensors.chunks import Part


def parts_of(size: int, step: int) -> list[Part]:
    return [Part(begin, min(size, begin + step)) for begin in range(0, size, step)]


def test_noise_of_48_mib_adds_less_than_64_bytes() -> None:
    data = np.zeros(3 * BLOCK_SIZE, dtype=np.uint8)  # what is stored is not looked at
    archive = b"".join(join_parts(data, [(p, ()) for p in parts_of(len(data), 1 << 23)]))
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
    frame = (bytes(9), bytes(step - gain - 9))
    coded = [(part, () if i % 2 else frame) for i, part in enumerate(parts)]
    archive = b"".join(join_parts(data, coded))
    assert len(archive) <= len(data) + len(stored_frame(data).pack())
    assert len(archive) <= len(data) - 10 * (gain - SPLIT) + 64


def test_small_frames_are_kept_where_they_are_shorter() -> None:
    data = np.zeros(300, dtype=np.uint8)
    coded = [(Part(0, 100), (b"a", bytes(89))), (Part(100, 300), (bytes(190),))]
    assert list(join_parts(data, coded)) == [b"a", bytes(89), bytes(190)]
    longer = [(Part(0, 100), (bytes(140),)), (Part(100, 300), (bytes(190),))]
    header = stored_frame(data).pack()
    assert b"".join(join_parts(data, longer)) == header + data.tobytes()


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
