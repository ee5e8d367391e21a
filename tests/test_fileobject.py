"""``nncodec.open``: what ``lzma.open`` does, call by call, with archives of our own."""

from __future__ import annotations

import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import TEXT, raised_by, stored_archive
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

import nncodec
from nncodec.container import skippable_frame
from nncodec.errors import CorruptDataError, LimitError, TruncatedError
from nncodec.frames import chain, stored_frame
from nncodec.parsing import read_frames

USER = skippable_frame(3, b"for users")
LINES = b"".join(b"line %d %s\n" % (i, b"x" * (i * 7 % 90)) for i in range(700))


def archive_of(data: bytes, block: int = 3000) -> bytes:
    """Stored blocks, some to a frame: reading is what is tested here."""
    array = np.frombuffer(data, dtype=np.uint8)
    frames = (stored_frame(array[at : at + 9000], None, block) for at in range(0, len(data), 9000))
    return b"".join(chain(frames))


ARCHIVE = USER + archive_of(LINES[:20000]) + USER + archive_of(LINES[20000:]) + USER
XZ = lzma.compress(LINES[:20000]) + lzma.compress(LINES[20000:])


class Pipe(io.RawIOBase):
    """Cannot be seeked, and gives a little at a time."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.data.read(min(len(buffer), 700))
        buffer[: len(piece)] = piece
        return len(piece)


def result_of(call: Callable[[Any], Any], file: Any) -> Any:
    try:
        return call(file)
    except Exception as error:
        return type(error), str(error)


class Reading(RuleBasedStateMachine):
    """The same calls on both; counts that the contract leaves open may differ."""

    seekable = True

    @initialize()
    def begin(self) -> None:
        sources = [io.BytesIO(ARCHIVE), io.BytesIO(XZ)]
        if not self.seekable:
            sources = [Pipe(ARCHIVE), Pipe(XZ)]  # type: ignore[list-item]
        self.ours = nncodec.NNCodecFile(sources[0])
        self.theirs = lzma.LZMAFile(sources[1])  # noqa: SIM115

    def same(self, call: Callable[[Any], Any]) -> Any:
        ours, theirs = (result_of(call, file) for file in (self.ours, self.theirs))
        assert ours == theirs
        return ours

    @rule(size=st.one_of(st.none(), st.integers(-2, 30000)))
    def read(self, size: int | None) -> None:
        self.same(lambda file: file.read(size))

    @rule(size=st.integers(0, 9000))
    def readinto(self, size: int) -> None:
        def call(file: Any) -> tuple[int, bytes]:
            buffer = bytearray(size)
            return file.readinto(buffer), bytes(buffer)

        self.same(call)

    @rule(size=st.integers(-1, 200))
    def readline(self, size: int) -> None:
        self.same(lambda file: file.readline(size))

    @rule(hint=st.integers(-1, 3000))
    def readlines(self, hint: int) -> None:
        self.same(lambda file: file.readlines(hint))

    @rule()
    def iterate(self) -> None:
        self.same(lambda file: next(iter(file), None))

    @rule(size=st.integers(-1, 100))
    def peek(self, size: int) -> None:
        ours, theirs = self.ours.peek(size), self.theirs.peek(size)
        assert bool(ours) == bool(theirs)
        assert ours.startswith(theirs) or theirs.startswith(ours)

    @precondition(lambda self: self.seekable)
    @rule(size=st.integers(-1, 20000))
    def read1(self, size: int) -> None:
        at = self.ours.tell()
        ours, theirs = self.ours.read1(size), self.theirs.read1(size)
        assert bool(ours) == bool(theirs)
        assert ours == LINES[at : at + len(ours)]
        assert self.ours.tell() == at + len(ours)
        self.same(lambda file: file.seek(at + min(len(ours), len(theirs))))

    @rule(
        offset=st.one_of(st.integers(-100, 100), st.integers(-40000, 40000)),
        whence=st.sampled_from((0, 0, 1, 2, 3)),
    )
    def seek(self, offset: int, whence: int) -> None:
        if whence == 3:
            self.same(lambda file: raised_by(lambda: file.seek(offset, 3)))
        else:
            self.same(lambda file: file.seek(offset, whence))

    @rule()
    def tell(self) -> None:
        self.same(lambda file: file.tell())

    @rule()
    def ask(self) -> None:
        for name in ("seekable", "readable", "writable"):
            self.same(lambda file, name=name: getattr(file, name)())
        self.same(lambda file: (file.closed, file.isatty()))

    @rule()
    def misuse(self) -> None:
        self.same(lambda file: file.write(b"x"))
        self.same(lambda file: file.truncate())
        self.same(lambda file: raised_by(file.fileno))

    @rule()
    def close(self) -> None:
        self.same(lambda file: file.close())
        for name, call in CALLS.items():
            kinds = [raised_by(lambda f=f, c=call: c(f)) for f in (self.ours, self.theirs)]
            assert [name, *(kind and kind[0] for kind in kinds)] == [name, ValueError, ValueError]
        self.same(lambda file: file.close())
        self.begin()


CALLS: dict[str, Callable[[Any], Any]] = {
    "read": lambda file: file.read(1),
    "readline": lambda file: file.readline(),
    "peek": lambda file: file.peek(),
    "seek": lambda file: file.seek(0),
    "tell": lambda file: file.tell(),
    "write": lambda file: file.write(b"x"),
    "readable": lambda file: file.readable(),
    "writable": lambda file: file.writable(),
    "seekable": lambda file: file.seekable(),
    "fileno": lambda file: file.fileno(),
    "enter": lambda file: file.__enter__(),
    "next": lambda file: next(file),
}


class ReadingForward(Reading):
    seekable = False


TestReading = Reading.TestCase
TestReading.settings = settings(max_examples=25, stateful_step_count=30)
TestReadingForward = ReadingForward.TestCase
TestReadingForward.settings = settings(max_examples=15, stateful_step_count=20)


def test_seeking_costs_the_block_that_is_read() -> None:
    file = nncodec.open(io.BytesIO(ARCHIVE))
    raw = file._buffer.raw  # type: ignore[union-attr]
    for at in (25000, 100, 25010):
        file.seek(at)
        assert file.read(50) == LINES[at : at + 50]
    assert 3 <= raw.archive.blocks_decoded <= 9  # a buffer may reach into the next ones
    assert raw.archive.blocks_decoded < len(raw.archive.index) - 3


@pytest.mark.parametrize("mode", ["w", "wb", "x", "xb"])
def test_writing(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.nnc"
    with nncodec.open(path, mode, level=1, block_size=1024) as file:  # type: ignore[call-overload]
        assert (file.mode, file.name, file.writable(), file.readable()) == (
            "wb", str(path), True, False,
        )  # fmt: skip
        assert file.write(TEXT) == len(TEXT)
        assert file.write(memoryview(np.arange(4, dtype=np.uint32))) == 16
        assert file.tell() == len(TEXT) + 16
        assert file.fileno() >= 0
        file.flush()
    data = TEXT + np.arange(4, dtype=np.uint32).tobytes()
    assert path.read_bytes() == nncodec.compress(data, 1, block_size=1024)
    with nncodec.open(path) as file:
        assert (file.mode, file.name) == ("rb", str(path))
        assert file.read() == data
    if "x" in mode:
        with pytest.raises(FileExistsError):
            nncodec.open(path, mode)
    assert nncodec.decompress(path.read_bytes()) == data


def test_nothing_written_is_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.nnc"
    nncodec.open(path, "w", level=1).close()
    assert path.read_bytes() == nncodec.compress(b"", 1)
    assert nncodec.open(path).read() == b""


def test_appending_adds_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.nnc"
    for piece, mode in ((b"one\n", "a"), (b"two\n", "ab"), (b"", "a"), (b"three\n", "a")):
        with nncodec.open(path, mode, level=1) as file:  # type: ignore[call-overload]
            assert file.tell() == 0
            file.write(piece)
    assert len(read_frames(io.BytesIO(path.read_bytes()))) == 4
    with nncodec.open(path, "rt") as text:
        assert text.readlines() == ["one\n", "two\n", "three\n"]


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_paths_of_any_kind(tmp_path: Path, kind: Callable[[str], Any]) -> None:
    path = kind(str(tmp_path / "ä.nnc"))
    with nncodec.open(path, "wt", level=1, encoding="utf-8", newline="\r\n") as file:
        file.write("a\nü\n")
    with nncodec.open(path, "rb") as binary:
        assert binary.read() == "a\r\nü\r\n".encode()
    with nncodec.open(path, "rt", encoding="ascii", errors="replace") as file:
        assert file.read() == "a\n\ufffd\ufffd\n"


def test_a_file_object_stays_open() -> None:
    sink = io.BytesIO()
    with nncodec.NNCodecFile(sink, "w", level=1) as file:
        file.write(b"abc")
    assert not sink.closed
    sink.seek(0)
    with nncodec.NNCodecFile(sink) as file:
        assert file.read() == b"abc"
        with pytest.raises(AttributeError):
            _ = file.name
    assert not sink.closed


class Raw(io.RawIOBase):
    """Takes a little at a time, as a full pipe does."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += bytes(data[:7])
        return len(data[:7])


def test_writing_to_what_takes_a_part() -> None:
    raw = Raw()
    with nncodec.open(raw, "w", level=1) as file:  # type: ignore[arg-type]
        file.write(TEXT)
    assert nncodec.decompress(raw.data) == TEXT


MISUSE: dict[str, Callable[[Any], Any]] = {
    "no mode": lambda m: m.open(io.BytesIO(), ""),
    "unknown mode": lambda m: m.open(io.BytesIO(), "z"),
    "both ways": lambda m: m.open(io.BytesIO(), "rw"),
    "plus": lambda m: m.open(io.BytesIO(), "r+"),
    "text and binary": lambda m: m.open(io.BytesIO(), "rbt"),
    "encoding without text": lambda m: m.open(io.BytesIO(), "rb", encoding="utf-8"),
    "errors without text": lambda m: m.open(io.BytesIO(), "w", errors="strict"),
    "newline without text": lambda m: m.open(io.BytesIO(), "x", newline=""),
    "a number": lambda m: m.open(7),
    "nothing": lambda m: m.open(None),
    "no file": lambda m: m.open("/no such folder/file"),
    "text written": lambda m: m.open(io.BytesIO(), "w").write("text"),
    "read while writing": lambda m: m.open(io.BytesIO(), "w").read(),
    "peek while writing": lambda m: m.open(io.BytesIO(), "w").peek(),
    "seek while writing": lambda m: m.open(io.BytesIO(), "w").seek(0),
    "nothing to read": lambda m: m.open(io.BytesIO()).read(),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_refused_as_lzma_does(name: str) -> None:
    """By the same class of error, or one that is it."""
    ours, theirs = (raised_by(lambda m=m: MISUSE[name](m)) for m in (nncodec, lzma))
    if name == "nothing to read":  # lzma takes nothing for a whole file
        assert ours is not None
        assert issubclass(ours[0], EOFError)
        return
    assert ours is not None
    assert theirs is not None
    assert ours[0] is theirs[0]


@pytest.mark.parametrize("source", [io.BytesIO, Pipe])
def test_an_early_end_is_an_error_each_time(source: Callable[[bytes], Any]) -> None:
    for size in (*range(1, len(USER) + 40), *range(len(ARCHIVE) - 40, len(ARCHIVE) - len(USER))):
        file = nncodec.NNCodecFile(source(ARCHIVE[:size]))
        for _ in range(2):
            with pytest.raises((TruncatedError, EOFError)):
                file.read()


def test_what_is_good_comes_before_an_error() -> None:
    damaged = bytearray(archive_of(LINES))
    damaged[-1] ^= 1
    for source in (io.BytesIO(damaged), Pipe(bytes(damaged))):
        file, came = nncodec.NNCodecFile(source), b""
        while (error := raised_by(file.peek)) is None:
            came += file.read1(5000)
        assert error[0] is CorruptDataError
        assert LINES.startswith(came)
        assert len(LINES) - len(came) <= 3000 + 8192
        with pytest.raises(CorruptDataError):
            file.read()


def test_garbage_and_other_files() -> None:
    for source in (io.BytesIO, Pipe):
        for data, error in ((b"garbage", "signature"), (ARCHIVE + b"garbage", "trailing garbage")):
            with pytest.raises(CorruptDataError, match=error):
                nncodec.NNCodecFile(source(data)).read()


def test_limits() -> None:
    for source in (io.BytesIO, Pipe):
        with nncodec.open(source(ARCHIVE), max_output_size=len(LINES)) as file:
            assert file.read() == LINES
        with pytest.raises(LimitError, match="max_output_size"):
            nncodec.open(source(ARCHIVE), max_output_size=len(LINES) - 1).read()
        with pytest.raises(LimitError, match="max_memory"):
            nncodec.open(source(ARCHIVE), max_memory=5999).read()


def test_a_wrong_level_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(nncodec.NNCodecError, match="level"):
        nncodec.open(tmp_path / "a.nnc", "w", level=77)
    assert not (tmp_path / "a.nnc").exists()


def test_a_tar_within(tmp_path: Path) -> None:
    """A use of all of it: tarfile seeks, tells and reads."""
    (tmp_path / "file").write_bytes(LINES)
    with (
        nncodec.open(tmp_path / "a.tar.nnc", "w", level=1, block_size=1 << 14) as sink,
        tarfile.open(fileobj=sink, mode="w") as tar,
    ):
        tar.add(tmp_path / "file", "file")
    with (
        nncodec.open(tmp_path / "a.tar.nnc") as source,
        tarfile.open(fileobj=source, mode="r") as tar,
    ):
        extracted = tar.extractfile("file")
        assert extracted is not None
        assert extracted.read() == LINES


def test_concatenated_stored_archives_read_as_one() -> None:
    with nncodec.open(io.BytesIO(stored_archive(b"ab\nc") + stored_archive(b"d\ne"))) as file:
        assert list(file) == [b"ab\n", b"cd\n", b"e"]
