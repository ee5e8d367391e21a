"""Compressor and Decompressor: the bytes of one call, whatever the pieces; lzma's contract."""

from __future__ import annotations

import io
import lzma
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from random import Random

import numpy as np
import pytest
from helpers import CLI, TEXT, constant_archive, python_fails, raised_by, run_python, stored_archive
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

import nncodec
from nncodec.blocks import BLOCK_SIZE
from nncodec.container import SKIPPABLE_MAGIC, skippable_frame
from nncodec.errors import CorruptDataError, LimitError, NNCodecError, TruncatedError
from nncodec.frames import chain, stored_frame
from nncodec.parsing import read_frames
from nncodec.streaming import Compressor, Decompressor

USER = skippable_frame(3, b"for users")
DATA = TEXT * 16 + bytes(25000) + np.random.default_rng(1).bytes(3000)


@pytest.fixture(autouse=True)
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames of 16 KiB, so that little data has several."""
    monkeypatch.setattr("nncodec.codec.FRAME_BLOCKS", 4)
    monkeypatch.setattr("nncodec.codec.BLOCK_SIZE", 4096)


def archive_of(data: bytes) -> bytes:
    sink = io.BytesIO()
    nncodec.api.load_codec(1).compress_stream(io.BytesIO(data), sink)
    return sink.getvalue()


@pytest.fixture(scope="module")
def archive() -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nncodec.codec.FRAME_BLOCKS", 4)
        patch.setattr("nncodec.codec.BLOCK_SIZE", 4096)
        made = archive_of(DATA)
    assert len(read_frames(io.BytesIO(made))) == 3
    return made


def pieces_of(data: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        size = next(sizes)
        yield data[at : at + size]
        at += size


def compressed(pieces: Iterator[bytes], **options: int) -> bytes:
    compressor = Compressor(1, **options)
    return b"".join([compressor.compress(piece) for piece in pieces] + [compressor.flush()])


@pytest.mark.parametrize("size", [3, 777, 16384, 1 << 20])
def test_a_compressor_makes_the_bytes_of_a_stream(archive: bytes, size: int) -> None:
    assert compressed(pieces_of(DATA, iter(lambda: size, None))) == archive
    assert nncodec.compress(DATA, 1) == archive


def test_the_command_line_makes_the_same_bytes() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nncodec.codec.BLOCK_SIZE", BLOCK_SIZE)
        expected = compressed(iter([TEXT, b"", DATA]))
    result = run_python(CLI, "compress", "-1", input=TEXT + DATA)
    assert (result.returncode, result.stdout) == (0, expected), python_fails(result)


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 32768])
def test_ends_at_and_around_a_frame(size: int) -> None:
    data = DATA[:size]
    archive = compressed(iter([data]))
    assert archive == archive_of(data) == nncodec.compress(data, 1)
    assert len(read_frames(io.BytesIO(archive))) == max(1, -(-size // 16384))
    assert nncodec.decompress(archive) == data
    tidy = Compressor(1)
    assert (tidy.compress(data[:9]), tidy.compress(b"")) == (b"", b"")


def test_a_weight_file_within_a_frame_is_one() -> None:
    values = np.random.default_rng(2).normal(size=(32, 64)).astype(np.float32)
    data = save({"w": values})
    assert compressed(pieces_of(data, iter(lambda: 100, None))) == nncodec.compress(data, 1)
    assert "fields" in nncodec.info(nncodec.compress(data, 1)).blocks


def test_block_size_is_that_of_every_way() -> None:
    archive = compressed(iter([DATA]), block_size=1024)
    assert archive == nncodec.compress(DATA, 1, block_size=1024)
    frames = read_frames(io.BytesIO(archive))
    assert {frame.block_size for frame in frames} == {1024}
    assert max(frame.total for frame in frames) == 16384
    assert nncodec.decompress(archive) == DATA
    noise = np.random.default_rng(1).bytes(5000)
    stored = nncodec.compress(noise, 1, block_size=1024)
    assert nncodec.info(stored).blocks == {"stored": 5}
    for size in (0, 1023, BLOCK_SIZE + 1):
        with pytest.raises(NNCodecError, match=f"block size {size} is not one of 1024 to"):
            Compressor(1, block_size=size)


@given(st.data())
def test_pieces_and_lengths_of_any_size(archive: bytes, data: st.DataObject) -> None:
    """Laced with skippable frames and followed by anything."""
    random = Random(data.draw(st.integers(0, 1 << 32), label="seed"))
    rest = data.draw(st.one_of(st.binary(max_size=9), st.just(archive)), label="rest")
    most = random.choice((3, 100, 5000))
    source = io.BytesIO(USER + archive + rest)
    decoder, out = Decompressor(), bytearray()
    while not decoder.eof:
        length = random.choice((-1, 0, 1, random.randint(1, 9000)))
        piece = source.read(random.randint(0, most)) if decoder.needs_input else b""
        came = decoder.decompress(piece, length)
        assert length < 0 or len(came) <= length
        assert DATA.startswith(came, len(out))
        assert decoder.unused_data == b"" or decoder.eof
        out += came
    assert out == DATA
    assert decoder.unused_data + source.read() == rest
    assert not decoder.needs_input
    with pytest.raises(EOFError, match="Already at end of stream"):
        decoder.decompress(b"")


def test_concatenated_archives_need_an_object_each(archive: bytes) -> None:
    left, out = archive + USER + nncodec.compress(b"", 1) + stored_archive(b"abc"), []
    while left:
        decoder = Decompressor()
        out.append(decoder.decompress(left))
        assert decoder.eof
        left = decoder.unused_data
    assert out == [DATA, b"", b"abc"]


class OneCall:
    """Decompressor as a function of a whole archive, as ``nncodec.decompress``."""

    def __init__(self, sizes: Callable[[], int]) -> None:
        self.sizes = sizes

    def __call__(self, data: bytes) -> bytes:
        out = bytearray()
        while data:
            decoder, source = Decompressor(), io.BytesIO(data)
            while not decoder.eof:
                piece = source.read(self.sizes()) if decoder.needs_input else b""
                if decoder.needs_input and not piece:
                    raise TruncatedError("not at its end")
                out += decoder.decompress(piece, self.sizes())
            data = decoder.unused_data + source.read()
        return bytes(out)


@given(st.data())
def test_damage_is_the_error_of_one_call(data: st.DataObject) -> None:
    archive = stored_archive(b"abc") + USER + constant_archive(b"a" * 300)
    begin = data.draw(st.integers(0, len(archive)), label="begin")
    end = data.draw(st.integers(begin, len(archive)), label="end")
    damaged = archive[:begin] + data.draw(st.binary(max_size=5)) + archive[end:]
    random = Random(data.draw(st.integers(0, 1 << 32), label="seed"))
    piecewise = OneCall(lambda: random.randint(1, 30))
    whole = raised_by(lambda: nncodec.decompress(damaged))
    if whole is None:
        try:
            assert piecewise(damaged) == nncodec.decompress(damaged)
        except TruncatedError:  # skippable frames at the end begin an archive that lacks frames
            assert SKIPPABLE_MAGIC in damaged
        return
    error = raised_by(lambda: piecewise(damaged))
    skipped_only = "holds no frame" in whole[1] or damaged == b""
    assert error is not None or skipped_only
    if error and whole[0] is not CorruptDataError:
        assert error[0] is whole[0]


def test_errors_stay(archive: bytes) -> None:
    damaged = bytearray(archive)
    damaged[-1] ^= 1
    decoder = Decompressor()
    with pytest.raises(CorruptDataError) as first:
        decoder.decompress(damaged)
    for more in (b"", archive):
        with pytest.raises(CorruptDataError) as again:
            decoder.decompress(more)
        assert again.value is first.value
    assert not decoder.eof


def test_an_interrupted_call_is_no_lost_block(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = Decompressor()

    def interrupt(*_args: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nncodec.decoding.decode_block", interrupt)
        with pytest.raises(KeyboardInterrupt):
            decoder.decompress(stored_archive(b"abc"))
    with pytest.raises(NNCodecError, match="interrupted"):
        decoder.decompress(b"")


MISUSE: dict[str, Callable[[object, object], object]] = {
    "text to compress": lambda c, _: c.compress("text"),  # type: ignore[attr-defined]
    "a number to compress": lambda c, _: c.compress(5),  # type: ignore[attr-defined]
    "text to decompress": lambda _, d: d.decompress("text"),  # type: ignore[attr-defined]
    "no length": lambda _, d: d.decompress(b"", None),  # type: ignore[attr-defined]
    "compress behind flush": lambda c, _: (c.flush(), c.compress(b"")),  # type: ignore[attr-defined]
    "flush twice": lambda c, _: (c.flush(), c.flush()),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_refused_as_lzma_does(name: str) -> None:
    ours = raised_by(lambda: MISUSE[name](Compressor(1), Decompressor()))
    theirs = raised_by(lambda: MISUSE[name](lzma.LZMACompressor(), lzma.LZMADecompressor()))
    assert ours is not None
    assert theirs is not None
    assert ours[0] is theirs[0]


def test_wrong_types_leave_a_decompressor_usable() -> None:
    decoder = Decompressor()
    with pytest.raises(TypeError):
        decoder.decompress("text")  # type: ignore[arg-type]
    assert decoder.decompress(stored_archive(b"abc")) == b"abc"


def test_limits(archive: bytes) -> None:
    assert Decompressor(max_output_size=len(DATA)).decompress(archive) == DATA
    with pytest.raises(LimitError, match=f"{len(DATA)} bytes, {len(DATA) - 1} allowed"):
        Decompressor(max_output_size=len(DATA) - 1).decompress(archive)
    first = read_frames(io.BytesIO(archive))[0]
    decoder = Decompressor(max_output_size=first.total)
    kept = first.header_size + first.payload_size
    assert decoder.decompress(archive[:kept]) == DATA[: first.total]
    with pytest.raises(LimitError):  # by the next header, before its payloads
        decoder.decompress(archive[kept : kept + 60])
    with pytest.raises(LimitError, match="max_memory"):
        Decompressor(max_memory=5000).decompress(archive)


def test_bounded_memory() -> None:
    """Four frames of 16 KiB and blocks of 4 KiB: far less than all of it is held."""
    zeros, noise = bytes(1 << 20), np.random.default_rng(4).integers(0, 256, 1 << 20, np.uint8)
    frames = (stored_frame(noise[at : at + 16384]) for at in range(0, len(noise), 16384))
    packed = b"".join(chain(frames))
    tracemalloc.start()
    try:
        packed_zeros = compressed(pieces_of(zeros, iter(lambda: 1000, None)))
        assert tracemalloc.get_traced_memory()[1] < 150_000
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        decoder, at = Decompressor(), 0
        for begin in range(0, len(packed), 1000):
            came = decoder.decompress(packed[begin : begin + 1000])
            assert noise[at : at + len(came)].tobytes() == came
            at += len(came)
        assert tracemalloc.get_traced_memory()[1] - before < 100_000
    finally:
        tracemalloc.stop()
    assert decoder.eof
    assert at == len(noise)
    assert nncodec.decompress(packed_zeros) == zeros


def test_threads_share_one_codec(archive: bytes) -> None:
    results: list[bool] = []

    def work() -> None:
        packed = compressed(pieces_of(DATA, iter(lambda: 999, None)))
        results.append(packed == archive and Decompressor().decompress(packed) == DATA)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 3
