"""The index: what is written is read, and nothing else is believed."""

from __future__ import annotations

import base64
import io
import lzma
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import cli

from nncodec import pack
from nncodec._core import xxh64
from nncodec.container import skippable_frame
from nncodec.errors import (
    CorruptDataError,
    LimitError,
    NNCodecError,
    TruncatedError,
    UnsupportedVersionError,
)
from nncodec.limits import Limits
from nncodec.pack import index, indexfile, names
from nncodec.pack.extents import Extents
from nncodec.pack.index import Columns, index_frame, mtime_of, seconds_of
from nncodec.pack.indexfile import parse_frame, read_index
from nncodec.pack.names import Names, check_names, first_unsorted

parts = st.binary(min_size=1, max_size=9).filter(
    lambda part: not set(part) & {0, 0x2F} and part not in (b".", b"..")
)
paths = st.lists(parts, min_size=1, max_size=3).map(b"/".join)


@st.composite
def indexes(draw: st.DrawFn) -> Columns:
    """Any index that a writer could make, of up to a few members and frames."""
    listed = sorted(draw(st.sets(paths, max_size=12)))
    count = len(listed)
    metadata = draw(st.booleans())

    def column(least: int, most: int, size: int = count) -> np.ndarray:
        values = draw(st.lists(st.integers(least, most), min_size=size, max_size=size))
        return np.array(values, np.uint64)

    kinds = column(0, 2)
    frames = draw(st.integers(1, 4))
    contents, sizes = column(0, 1 << 20, frames), column(12, 1 << 30, frames)
    gaps = column(0, 50, frames)
    ends = np.cumsum(gaps + sizes)
    total = int(contents.sum())
    extents = np.where(kinds == 0, column(0, 3 if total else 0), 0).astype(np.uint64)
    runs = [
        sorted((draw(st.integers(0, total - 1)), draw(st.integers(1, total))))
        for _ in range(int(extents.sum()))
    ]
    runs = [(begin, end) if begin < end else (0, total) for begin, end in runs]
    targets = [draw(parts) for _ in range(int((kinds == 2).sum()))]
    none = np.zeros(0, np.uint64)
    return Columns(
        names=Names.of(listed),
        kinds=kinds,
        modes=column(0, 0o7777),
        seconds=column(0, 2**64 - 1) if metadata else none,
        nanoseconds=column(0, 999_999_999) if metadata else none,
        uids=column(0, 2**32 - 1) if metadata else none,
        gids=column(0, 2**32 - 1) if metadata else none,
        extents=extents,
        begins=np.array([begin for begin, _ in runs], np.uint64),
        sizes=np.array([end - begin for begin, end in runs], np.uint64),
        frame_ats=ends - sizes,
        frame_sizes=sizes,
        header_sizes=np.minimum(column(12, 500, frames), sizes),
        content_sizes=contents,
        targets=b"".join(target + b"\0" for target in targets),
        users=b"0\0root\0",
        groups=b"",
        archive_size=int(ends[-1]) + draw(st.integers(0, 9)),
        metadata=metadata,
    )


def same(one: Columns, other: Columns) -> bool:
    """Whether two indexes say the same."""
    for field in fields(Columns):
        first, second = getattr(one, field.name), getattr(other, field.name)
        if isinstance(first, Names):
            first, second = first.joined, second.joined
        if not np.array_equal(first, second):
            return False
    return True


@given(indexes(), st.binary(max_size=30))
def test_round_trip(columns: Columns, before: bytes) -> None:
    frame = index_frame(columns)
    assert same(parse_frame(frame), columns)
    archive = bytes(min(columns.archive_size, 1 << 20)) + frame
    if columns.archive_size < 1 << 20:
        found, start = read_index(io.BytesIO(before + archive))
        assert (start, same(found, columns)) == (len(before), True)


@given(st.integers(-(2**63), 2**63 - 1))
def test_times(mtime_ns: int) -> None:
    assert mtime_of(*seconds_of(mtime_ns)) == mtime_ns


@given(st.lists(paths, max_size=30), paths)
def test_names_are_found(listed: list[bytes], other: bytes) -> None:
    ordered = sorted(set(listed))
    found = Names.of(ordered)
    check_names(found)
    assert [found.raw(i) for i in range(len(found))] == ordered
    assert [found.find(name) for name in ordered] == list(range(len(ordered)))
    assert (found.find(other) is None) == (other not in ordered)
    below = [i for i, name in enumerate(ordered) if name.startswith(other + b"/")]
    assert list(found.below(other)) == below


@given(st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\0", b"")), max_size=20))
def test_order_is_seen_at_once(listed: list[bytes]) -> None:
    joined = b"".join(name + b"\0" for name in listed)
    text = np.frombuffer(joined, np.uint8)
    starts = np.cumsum([0, *(len(name) + 1 for name in listed)])[:-1]
    wrong = [i for i in range(1, len(listed)) if listed[i - 1] >= listed[i]]
    found = first_unsorted(text, starts)
    assert (found in wrong) if wrong else found is None


BAD_NAMES = [b"", b"/a", b"a//b", b"a/", b".", b"..", b"a/./b", b"a/../b", b"../a", b"a/.."]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_no_member_may_have(name: bytes) -> None:
    with pytest.raises(CorruptDataError, match="is no name that a member may have"):
        check_names(Names(name + b"\0"))
    check_names(Names(b"a/...\0a/..b\0a/.b\0"))


def test_names_twice_or_unended() -> None:
    for joined in (b"a\0a\0", b"b\0a\0", b"a\0a/b\0a\0"):
        with pytest.raises(CorruptDataError, match="out of order, or there twice"):
            check_names(Names(joined))
    with pytest.raises(CorruptDataError, match="no end"):
        check_names(Names(b"a\0b"))
    with pytest.raises(CorruptDataError, match="longer"):
        check_names(Names(b"a" * (names.LONGEST + 1) + b"\0"))


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    top = tmp_path_factory.mktemp("packed")
    for name, data in {"a": b"aaaa", "b": b"some text", "c": bytes(range(99))}.items():
        (top / name).write_bytes(data)
    (top / "link").symlink_to("a")
    pack.pack([str(top / "*")], top / "c.nnc", exclude=["c.nnc*"])
    return (top / "c.nnc").read_bytes()


def contents(archive: bytes) -> dict[str, object]:
    """All members, read; another archive if its index is another."""
    reader = pack.PackedArchive(io.BytesIO(archive))
    found: dict[str, object] = {}
    for member in reader.members:
        held = reader.read(member.name) if member.is_file else member.target
        found[member.name.rpartition("/")[2]] = held
    return found


def test_every_prefix_is_an_error(packed: bytes) -> None:
    assert contents(packed)["b"] == b"some text"
    for size in range(len(packed)):
        with pytest.raises(CorruptDataError):
            contents(packed[:size])


def test_every_flip_is_an_error_or_gives_the_right_bytes(packed: bytes) -> None:
    """The plan's fingerprint is no part of what is read."""
    right, read = contents(packed), 0
    for at in range(len(packed)):
        for bit in (0, 3, 7):
            damaged = bytearray(packed)
            damaged[at] ^= 1 << bit
            try:
                found = contents(bytes(damaged))
            except NNCodecError:
                continue
            assert found == right, at
            read += 1
    assert read <= 3 * 40


def test_an_archive_without_its_begin(packed: bytes) -> None:
    with pytest.raises(TruncatedError, match="lacks its first 10 bytes"):
        contents(packed[10:])


def sealed(frame: bytes, **fields_: int) -> bytes:
    """A frame whose checksum is right, whatever else is wrong with it."""
    out = bytearray(frame)
    for at, value in fields_.items():
        out[int(at[1:]) - index.TRAILER] = value
    out[-index.TRAILER + 8 : -index.TRAILER + 16] = bytes(8)
    out[-index.TRAILER + 8 : -index.TRAILER + 16] = xxh64(bytes(out)).to_bytes(8, "little")
    return bytes(out)


def frame_of(raw: bytes, size: int | None = None, method: int = index.STORED) -> bytes:
    """A frame that holds any columns."""
    body = (len(raw) if size is None else size).to_bytes(8, "little") + raw
    frame = skippable_frame(index.INDEX_TYPE, body + bytes(index.TRAILER))
    trailer = len(frame).to_bytes(8, "little") + bytes(8)
    trailer += index.VERSION.to_bytes(2, "little") + bytes((method,)) + bytes(5) + index.SIGNATURE
    return sealed(frame[: -index.TRAILER] + trailer)


def test_hostile_frames(packed: bytes) -> None:
    columns, _ = read_index(io.BytesIO(packed))
    frame = index_frame(columns)
    with pytest.raises(UnsupportedVersionError, match="index of version 2"):
        parse_frame(sealed(frame, t16=2))
    with pytest.raises(CorruptDataError, match="method 7"):
        parse_frame(sealed(frame, t18=7))
    with pytest.raises(CorruptDataError, match="reserved"):
        parse_frame(sealed(frame, t20=1))
    with pytest.raises(CorruptDataError, match="checksum"):
        parse_frame(frame[:20] + bytes((frame[20] ^ 1,)) + frame[21:])
    bomb = lzma.compress(bytes(50 << 20), lzma.FORMAT_RAW, filters=index.FILTERS)
    with pytest.raises(CorruptDataError, match="are said to be in"):
        parse_frame(frame_of(bomb, 50 << 20, index.LZMA))
    with pytest.raises(CorruptDataError, match="not the 100 bytes"):
        parse_frame(frame_of(bomb, 100, index.LZMA))
    with pytest.raises(CorruptDataError, match="damaged"):
        parse_frame(frame_of(b"\xff" * 50, 100, index.LZMA))
    with pytest.raises(CorruptDataError, match="shorter than its counts"):
        parse_frame(frame_of(b"abc"))
    huge = (1 << 60).to_bytes(8, "little")
    for at in range(2, 9):
        raw = bytearray(8 * len(index.HEAD))
        raw[8 * at : 8 * at + 8] = huge
        with pytest.raises(CorruptDataError, match="for what takes"):
            parse_frame(frame_of(bytes(raw)))
    with pytest.raises(LimitError, match="of memory allowed"):
        read_index(io.BytesIO(packed), Limits(max_memory=10))


def test_an_index_that_takes_much_memory(
    packed: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Refused before it is decoded, if LZMA made it smaller than it does honest ones."""
    honest = packed[-int.from_bytes(packed[-index.TRAILER : 8 - index.TRAILER], "little") :]
    columns, _ = read_index(io.BytesIO(packed))
    count = 20_000
    extents = np.where(np.arange(4) == 0, count, 0).astype(U64)
    begins, sizes = np.zeros(count, U64), np.ones(count, U64)
    sizes[:1000] = np.random.default_rng(5).integers(1, 5, 1000)  # a thousand times is stored
    large = replace(columns, extents=extents, begins=begins, sizes=sizes)
    archive = packed[: -len(honest)] + index_frame(large)
    assert len(archive) < 10_000
    (tmp_path / "c.nnc").write_bytes(archive)
    with pack.PackedArchive(tmp_path / "c.nnc") as opened:  # below the bound anything is taken
        assert len(opened.members[0].extents) == count
        assert opened.members[0].size == sizes.sum()
    monkeypatch.setattr(indexfile, "MEMORY", 1 << 20)
    parse_frame(honest)
    for arguments in (["ls", tmp_path / "c.nnc"], ["cat", tmp_path / "c.nnc", "x"]):
        refused = cli(*arguments)
        assert refused.rc == 1
        assert "1048576 of memory allowed; raise it (--memory)" in refused.err
        assert "memory allowed" not in cli(*arguments, "--memory", "4M").err
    monkeypatch.setattr(indexfile, "MEMORY", 0)
    parse_frame(honest)


def test_extents_are_made_when_they_are_asked_for() -> None:
    begins, sizes = np.arange(10_000, dtype=U64) * U64(3), np.arange(1, 10_001, dtype=U64)
    extents = Extents(begins, sizes)
    pairs = [(3 * i, i + 1) for i in range(10_000)]
    assert list(extents) == pairs
    assert (extents[7], extents[-1], list(extents[5:9])) == (pairs[7], pairs[-1], pairs[5:9])
    assert (len(extents), extents.size) == (10_000, sum(size for _, size in pairs))
    assert extents == Extents(begins.copy(), sizes.copy())
    assert hash(extents) == hash(Extents(begins.copy(), sizes.copy()))
    assert extents != Extents(begins + U64(1), sizes)
    assert extents != extents[1:]


U64 = np.uint64
WRONG: dict[str, tuple[dict[str, object], str]] = {
    "kind": ({"kinds": np.array([0, 0, 0, 3], U64)}, "unknown kind"),
    "extents": ({"extents": np.array([1, 1, 2, 0], U64)}, "extents that no file has"),
    "extents of a link": ({"extents": np.array([1, 1, 0, 1], U64)}, "extents that no file has"),
    "target": ({"targets": b"a\0b\0"}, "targets"),
    "no target": ({"targets": b"\0"}, "targets"),
    "extent": ({"begins": np.array([0, 4, 100], U64)}, "beyond the content"),
    "extent that wraps": ({"begins": np.array([0, 4, 2**64 - 9], U64)}, "beyond the content"),
    "empty extent": ({"sizes": np.array([4, 0, 9], U64)}, "beyond the content"),
    "huge": ({"sizes": np.array([2**63, 2**63, 1], U64)}, "out of bounds"),
    "time": ({"nanoseconds": np.array([1, 2, 3, 10**9], U64)}, "a time is out of bounds"),
    "owner": ({"users": b"x\0root\0"}, "owners"),
    "owner of 33 bits": ({"users": b"4294967296\0root\0"}, "owners"),
    "long owner": ({"groups": b"9" * 5000 + b"\0root\0"}, "owners"),
    "frame": ({"frame_sizes": np.array([2**40], U64)}, "one behind the other"),
    "header": ({"header_sizes": np.array([5], U64)}, "header is not in it"),
    "larger header": ({"header_sizes": np.array([2**30], U64)}, "header is not in it"),
}


@pytest.mark.parametrize("what", WRONG)
def test_columns_that_do_not_fit_together(packed: bytes, what: str) -> None:
    columns, _ = read_index(io.BytesIO(packed))
    assert len(columns.frame_ats) == 1
    changes, message = WRONG[what]
    with pytest.raises(CorruptDataError, match=message):
        parse_frame(index_frame(replace(columns, **changes)))  # type: ignore[arg-type]


def test_a_frame_that_is_not_the_one_of_the_index(packed: bytes) -> None:
    columns, _ = read_index(io.BytesIO(packed))
    frame = index_frame(columns)
    body = packed[: -len(frame)]
    wrong = replace(columns, content_sizes=columns.content_sizes + U64(1))
    with pytest.raises(CorruptDataError, match="not the one that the index says"):
        contents(body + index_frame(wrong))
    moved = replace(columns, frame_ats=columns.frame_ats - U64(1))
    with pytest.raises(CorruptDataError, match="does not lie where the index says"):
        contents(body + index_frame(moved))


def test_indexes_are_small(tmp_path: Path) -> None:
    """Of 5,000 members in order: some bytes each, most of them of names."""
    count = 5000
    zeros, sizes = np.zeros(count, U64), np.full(count, 1000, U64)
    columns = Columns(
        names=Names.of(b"project/src/module/file%05d.py" % i for i in range(count)),
        kinds=zeros,
        modes=np.full(count, 0o644, U64),
        seconds=np.full(count, 1_700_000_000, U64),
        nanoseconds=zeros,
        uids=zeros,
        gids=zeros,
        extents=np.ones(count, U64),
        begins=np.cumsum(sizes) - sizes,
        sizes=sizes,
        frame_ats=np.array([50], U64),
        frame_sizes=np.array([1 << 20], U64),
        header_sizes=np.array([50], U64),
        content_sizes=np.array([count * 1000], U64),
        targets=b"",
        users=b"",
        groups=b"",
        archive_size=50 + (1 << 20),
    )
    frame = index_frame(columns)
    assert same(parse_frame(frame), columns)
    assert len(frame) < 3 * count


# What the first release wrote of a.txt; b.txt, the same, mode 750; none, empty; link, to a.txt.
FIRST = base64.b64decode("""
iU5OUwIgFDaJLKvwhlKWrLiVPDnRVEMu+RaaIHRJsmQm1cMk9H6JTk5DAQASEgASo6p0zniFVsi0HLq3aGVsbG8g
aGVsbG8gaGVsbG8KiU5OUwGSAUMBAAAAAAAA4AFCAGIDAACAQItzsHJ/O+MVq9EAioDKAyTCGpD0v6wpcoBotenj
plKRJNW7/1duoK/3rh6A00WiMrrIeEANZrUR+BCVB28koHVUghlhG5giBlLt3UC+rr/lBP1TKDBG0yR/PVmSj9PO
AJkAAAAAAAAA46M+xGn/3RIBAAEAAAAAAIlOTlANChoK
""")


def test_what_the_first_release_wrote() -> None:
    archive = pack.PackedArchive(io.BytesIO(FIRST))
    assert list(archive.names) == ["t", "t/a.txt", "t/b.txt", "t/link", "t/none"]
    assert [archive.read(f"t/{n}") for n in ("a.txt", "b.txt", "none")] == [HELLO, HELLO, b""]
    assert {member.mtime_ns for member in archive.members} == {981173106_000000007}
    assert [member.mode for member in archive.members[1:3]] == [0o644, 0o750]
    assert archive.member("t/link").target == "a.txt"
    assert archive.member("t").user == "root"


HELLO = b"hello hello hello\n"


def column(raw: bytes, at: int, width: int, rows: int) -> tuple[list[int], int]:
    """A column by the document, and where the next one begins."""
    planes = [raw[at + rows * i : at + rows * (i + 1)] for i in range(width)]
    numbers = [sum(planes[i][row] << 8 * i for i in range(width)) for row in range(rows)]
    return numbers, at + width * rows


def stepped(written: list[int], steps: list[int]) -> list[int]:
    numbers: list[int] = []
    for row, difference in enumerate(written):
        before = numbers[row - 1] + steps[row - 1] if row else 0
        numbers.append((before + difference) % 2**64)
    return numbers


def test_the_document_is_enough_to_read_by() -> None:
    """docs/FORMAT-pack.md, step by step, with nothing of the reader's."""
    trailer = FIRST[-32:]
    assert trailer[-8:] == bytes.fromhex("89 4E 4E 50 0D 0A 1A 0A")
    size = int.from_bytes(trailer[:8], "little")
    frame = FIRST[-size:]
    assert xxh64(frame[:-24] + bytes(8) + frame[-16:]) == int.from_bytes(trailer[8:16], "little")
    assert (trailer[16:18], trailer[18], trailer[19:24]) == (b"\1\0", 1, bytes(5))
    assert frame[:5] == bytes.fromhex("89 4E 4E 53 01")
    assert (frame[5] & 0x7F) + (frame[6] << 7) == size - 7
    lzma2 = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 24, "lc": 3, "lp": 0, "pb": 0}]
    raw = lzma.decompress(frame[15:-32], lzma.FORMAT_RAW, filters=lzma2)
    assert len(raw) == int.from_bytes(frame[7:15], "little")
    counts = [int.from_bytes(raw[8 * i : 8 * i + 8], "little") for i in range(9)]
    flags, before, members, extents, frames, *sizes = counts
    assert (flags, before, members, extents, frames) == (1, len(FIRST) - size, 5, 2, 1)
    at, texts = 72, []
    for length in sizes:
        texts.append(raw[at : at + length])
        at += length
    assert texts == [
        b"t\0t/a.txt\0t/b.txt\0t/link\0t/none\0",
        b"a.txt\0",
        b"0\0root\0",
        b"0\0root\0",
    ]
    columns = []
    for width, rows in ((1, 5), (4, 5), (2, 5), (8, 5), (4, 5), (4, 5), (4, 5), (8, 2), (8, 2)):
        found, at = column(raw, at, width, rows)
        columns.append(found)
    kinds, of, modes, seconds, nanoseconds, uids, gids, begins, lengths = columns
    assert (kinds, of) == ([1, 0, 0, 2, 0], [0, 1, 1, 0, 0])
    assert modes == [0o755, 0o644, 0o750, 0o777, 0o644]
    assert stepped(seconds, [0] * 5) == [981173106] * 5
    assert (nanoseconds, uids, gids) == ([7] * 5, [0] * 5, [0] * 5)
    assert (stepped(begins, lengths), lengths) == ([0, 0], [18, 18])
    places = []
    for _ in range(4):
        found, at = column(raw, at, 8, 1)
        places += found
    assert at == len(raw)
    assert places == [38, 40, 22, 18]
    assert FIRST[38 + 22 : 38 + 40] == HELLO
