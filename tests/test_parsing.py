"""The one parser, pulled and pushed: the same frames, payloads and errors, whatever the pieces."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random

import pytest
from helpers import CLI, TEXT, constant_archive, forge, python_fails, run_python, stored_archive
from hypothesis import given, settings
from hypothesis import strategies as st

import nncodec
from nncodec.blocks import Geometry
from nncodec.container import MAX_TOTAL, Block, Frame, Kind, skippable_frame, varint
from nncodec.errors import CorruptDataError, NNCodecError, TruncatedError
from nncodec.parsing import PIECE, FrameReader, PushParser, each_frame, read_exactly, read_frames

USER = skippable_frame(0, b"for users")
EMPTY_SKIPPED = skippable_frame(255, b"")
LONG = skippable_frame(7, bytes(PIECE + 5))
TEXT_ARCHIVE = nncodec.compress(TEXT * 2, 1)
ARCHIVES = {
    "stored": stored_archive(b"abc"),
    "constant": constant_archive(b"a" * 300),
    "contexts": TEXT_ARCHIVE,
    "concatenated": stored_archive(b"abc") + nncodec.compress(b"", 1) + constant_archive(b"aa"),
    "skippable": USER + stored_archive(b"abc") + EMPTY_SKIPPED + constant_archive(b"aa") + USER,
}
Event = tuple[str, object]
Outcome = tuple[list[Event], tuple[type[NNCodecError], str] | None]


def outcome(events: Iterator[Event]) -> Outcome:
    """What was read, and the error that ended it."""
    seen: list[Event] = []
    try:
        seen.extend(events)
    except NNCodecError as error:
        return seen, (type(error), str(error))
    return seen, None


def pulled(data: bytes) -> Iterator[Event]:
    source = io.BytesIO(data)
    for frame in each_frame(source):
        yield "frame", frame
        for row in frame.blocks:
            yield "block", (row, bytes(read_exactly(source, row.payload_size, "a block")))


def pushed(data: bytes, sizes: Iterator[int]) -> Iterator[Event]:
    parser, at = PushParser(), 0
    while at < len(data):
        size = next(sizes)
        parser.push(bytearray(data[at : at + size]))
        at += size
        yield from events_of(parser)
    parser.finish()


def events_of(parser: PushParser) -> Iterator[Event]:
    while (event := parser.next()) is not None:
        if isinstance(event, Frame):
            yield "frame", event
        else:
            yield "block", (event[0], bytes(event[1]))


def every(size: int) -> Iterator[int]:
    while True:
        yield size


@pytest.mark.parametrize("archive", ARCHIVES.values(), ids=ARCHIVES)
def test_every_prefix_is_read_alike(archive: bytes) -> None:
    whole = outcome(pulled(archive))
    assert whole[1] is None
    for end in range(len(archive) + 1):
        expected = outcome(pulled(archive[:end]))
        for size in (1, 3, 1 << 20):
            assert outcome(pushed(archive[:end], every(size))) == expected
        if expected[1]:
            assert expected[1][0] is TruncatedError
        assert expected[0] == whole[0][: len(expected[0])]


@settings(max_examples=200)
@given(st.sampled_from(list(ARCHIVES.values())), st.data())
def test_pieces_of_any_size_and_any_damage(archive: bytes, data: st.DataObject) -> None:
    """Flips, cuts and grafts: pulled and pushed, the same comes before the same error."""
    for _ in range(data.draw(st.integers(0, 2), label="damages")):
        begin = data.draw(st.integers(0, len(archive)), label="begin")
        end = data.draw(st.integers(begin, len(archive)), label="end")
        graft = data.draw(st.one_of(st.binary(max_size=6), st.just(USER)), label="graft")
        archive = archive[:begin] + graft + archive[end:]
    random = Random(data.draw(st.integers(0, 1 << 32), label="seed"))
    most = random.choice((1, 5, 40, 1000))
    sizes = iter(lambda: random.randint(0, most), None)
    assert outcome(pushed(archive, sizes)) == outcome(pulled(archive))


def rows_frame(rows: int) -> Frame:
    row = Block(Kind.CONTEXTS, 1024, 700, 1 << 60, Geometry(table_bits=10))
    return Frame(rows * 1024, 1024, (row,) * rows)


def steps_of(archive: bytes, size: int) -> int:
    """How many times the parser was asked, and bytes were moved, to read a header."""
    parser, steps = PushParser(), 0
    cut = parser.pieces.cut

    def counted(wanted: int) -> memoryview:
        nonlocal steps
        steps += 1
        return cut(wanted)

    parser.pieces.cut = counted  # type: ignore[method-assign]
    for at in range(0, len(archive), size):
        parser.push(archive[at : at + size])
        parser.next()
    return steps


def test_a_long_header_byte_by_byte_takes_linear_work() -> None:
    """Twice the rows, twice the work, and no more of it than there are bytes."""
    one, two = rows_frame(500).pack(), rows_frame(1000).pack()
    assert steps_of(one, 1) == len(one)
    assert steps_of(two, 1) == len(two)
    many = rows_frame(100_000)
    parser, packed = PushParser(), many.pack()
    events = []
    for at in range(0, len(packed), 100):
        parser.push(packed[at : at + 100])
        events.append(parser.next())
    assert events == [None] * (len(events) - 1) + [many]


LIES: dict[str, Callable[[], bytes]] = {
    "rows": lambda: forge(varint(MAX_TOTAL) + b"\x01" + b"\x01\x01" + bytes(8)),
    "a skippable frame": lambda: skippable_frame(0, b"")[:-1] + varint(MAX_TOTAL) + b"some",
    "an environment": lambda: forge(varint(4096) + b"some", flags=16),
    "a payload": lambda: stored_archive(bytes(1 << 24))[:64],
}


@pytest.mark.parametrize("name", LIES)
def test_no_allocation_that_the_input_has_not_earned(name: str) -> None:
    archive = LIES[name]()
    tracemalloc.start()
    try:
        for events in (pulled(archive), pushed(archive, every(5))):
            assert outcome(events)[1] is not None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_skippable_frames_are_skipped_wherever_a_frame_may_begin() -> None:
    data = bytes(range(256)) * 40
    codec = nncodec.api.load_codec(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nncodec.codec.FRAME_BLOCKS", 1)
        patch.setattr("nncodec.codec.BLOCK_SIZE", 4096)
        sink = io.BytesIO()
        codec.compress_stream(io.BytesIO(data), sink)
    source = io.BytesIO(sink.getvalue())
    assert len(read_frames(source)) == 3
    source.seek(0)
    whole = sink.getvalue()
    frames = each_frame(source)
    starts = [0, *(source.seek(frame.payload_size, io.SEEK_CUR) for frame in frames)]
    pieces = [whole[a:b] for a, b in pairwise(starts)]
    laced = USER + b"".join(piece + EMPTY_SKIPPED + USER for piece in pieces) + LONG
    assert nncodec.decompress(laced) == data
    info = nncodec.info(laced)
    assert info.skipped_bytes == len(laced) - len(whole)
    assert info.compressed_size == len(laced)
    assert info.uncompressed_size == len(data)
    reader = FrameReader(io.BytesIO(laced))
    for frame in reader:
        read_exactly(reader.source, frame.payload_size, "payloads")
    assert reader.skipped_bytes == info.skipped_bytes
    for end in (len(laced) - 1, len(laced) - PIECE, len(laced) - len(LONG) + 4):
        for read in (nncodec.decompress, nncodec.info):
            with pytest.raises(TruncatedError):
                read(laced[:end])


@pytest.mark.parametrize("archive", [USER, EMPTY_SKIPPED * 2, LONG])
def test_skippable_frames_alone_are_no_archive(archive: bytes) -> None:
    for read in (nncodec.decompress, nncodec.info):
        with pytest.raises(TruncatedError, match="holds no frame"):
            read(archive)


def test_garbage_behind_a_skippable_frame() -> None:
    with pytest.raises(CorruptDataError, match="trailing garbage"):
        nncodec.decompress(USER + b"garbage")
    with pytest.raises(CorruptDataError, match="not in its shortest form"):
        nncodec.decompress(USER[:5] + b"\x89\x00" + USER[6:])


def test_the_command_line_skips_and_counts() -> None:
    laced = USER + stored_archive(b"abc") + LONG
    result = run_python(CLI, "decompress", "-v", input=laced)
    assert (result.returncode, result.stdout) == (0, b"abc"), python_fails(result)
    assert f"{len(laced)} => 3 bytes".encode() in result.stderr
