"""Members that come as a stream, and columns of text: Parquet files, Arrow tables, data sets."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import assert_one_error, cli

import nncodec
from nncodec.errors import CorruptDataError, MissingPackageError, PackError
from nncodec.pack import PackedArchive, PackWriter, pack_dataset, pack_table
from nncodec.pack import stream as streams
from nncodec.pack.content import Content
from nncodec.pack.digests import FIRST_SLOTS, Digests
from nncodec.parallel import Inline, ThreadWorkers

pa = pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'nncodec-lm[data]'")
from pyarrow import parquet  # noqa: E402

SMALL = {"block_size": 1 << 10, "frame_size": 1 << 11}
WORDS = ["the", "codec", "is", "a", "promise", "über", "日本", "\n"]


def texts(count: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randrange(60))) for _ in range(count)]


def rows() -> list[str | None]:
    """Nulls, empty strings, duplicates near and far, and one text larger than a block."""
    found: list[str | None] = [*texts(120), *texts(20)]
    found[3] = found[77] = None
    found[5] = found[6] = ""
    found[50] = " ".join(texts(90, 1))
    return found


def members(path: str | Path) -> dict[str, bytes]:
    with PackedArchive(path) as archive:
        assert list(archive.names) == sorted(archive.names)
        return {name: archive.read(name) for name in archive.names}


def numbered(values: list[str | None], table: str) -> dict[str, bytes]:
    named = enumerate(values)
    return {f"{table}/{i:010d}": text.encode() for i, text in named if text is not None}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- streams of members


def stream_of(count: int, seed: int = 0) -> list[tuple[str, bytes]]:
    return [(f"m/{i:05d}", text.encode()) for i, text in enumerate(texts(count, seed))]


def packed(name: str, given: list[tuple[str, bytes]], **options: Any) -> bytes:
    with PackWriter(name, **{**SMALL, **options}) as writer:
        writer.extend(given)
    return Path(name).read_bytes()


@settings(max_examples=12)
@given(
    st.dictionaries(
        st.text("abc/", min_size=1, max_size=6).filter(
            lambda name: all(part.strip("/") for part in name.split("/"))
        ),
        st.binary(max_size=30) | st.integers(900, 3000).map(lambda size: bytes(range(250)) * 12),
        max_size=12,
    ),
    st.booleans(),
)
def test_whatever_is_added_comes_back(found: dict[str, bytes], at_once: bool) -> None:
    with PackWriter("any.nnc", replace=True, **SMALL) as writer:
        if at_once:
            writer.extend(found.items())
        else:
            for name, data in found.items():
                writer.add(name, data)
        summary = writer.finish()
    assert members("any.nnc") == found
    archive = Path("any.nnc").read_bytes()
    assert summary.packed == len(archive)
    assert summary.size == sum(map(len, found.values()))
    distinct = dict.fromkeys(found.values())  # in the order in which they came
    assert nncodec.decompress(archive) == b"".join(distinct)
    assert summary.content == sum(map(len, distinct))


def test_bytes_depend_neither_on_how_members_are_given_nor_on_workers() -> None:
    given = stream_of(150)
    expected = packed("one.nnc", given, workers=Inline())
    with ThreadWorkers(2) as workers:
        assert packed("two.nnc", given, workers=workers) == expected
    with PackWriter("three.nnc", **SMALL) as writer:
        for name, data in given[:70]:
            writer.add(name.encode(), bytearray(data))
        writer.extend((name, memoryview(data)) for name, data in given[70:])
    assert Path("three.nnc").read_bytes() == expected


def test_members_are_pulled_as_they_are_coded() -> None:
    given, most = stream_of(300), 0
    with PackWriter("c.nnc", workers=Inline(), **SMALL) as writer:

        def pulled() -> Iterator[tuple[str, bytes]]:
            nonlocal most
            for number, (name, data) in enumerate(given):
                ahead = sum(len(d) for _, d in given[:number]) - writer._table.content
                most = max(most, ahead)
                yield name, data

        writer.extend(pulled())
    largest = max(len(data) for _, data in given)
    assert 0 < most <= 4 * (SMALL["block_size"] + largest)


def test_a_small_member_is_one_block() -> None:
    given = stream_of(200)
    packed("c.nnc", given, dedup=False)
    for name, data in random.Random(0).sample(given, 20):
        with PackedArchive("c.nnc") as archive:
            assert archive.read(name) == data
            assert archive.blocks_decoded == (1 if data else 0)


def interrupted(name: str, given: list[tuple[str, bytes]], after: int) -> None:
    def cut() -> Iterator[tuple[str, bytes]]:
        yield from given[:after]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), PackWriter(name, **SMALL) as writer:
        writer.extend(cut())
    assert not Path(name).exists()


def test_a_run_that_was_cut_anywhere_is_gone_on_with() -> None:
    given = stream_of(120)
    expected = packed("whole.nnc", given)
    interrupted("c.nnc", given, 115)
    left = Path("c.nnc.partial").read_bytes()
    rng, most = random.Random(1), 0
    for size in [len(left), len(left) - 1, 0, 1, *(rng.randrange(len(left)) for _ in range(8))]:
        Path("c.nnc.partial").write_bytes(left[:size])
        coded: list[int] = []
        with PackWriter("c.nnc", replace=True, progress=coded.append, **SMALL) as writer:
            writer.extend(given)
            summary = writer.finish()
        assert Path("c.nnc").read_bytes() == expected
        assert sum(coded) == summary.content
        assert summary.resumed <= summary.content * size // len(left) + SMALL["frame_size"]
        most = max(most, summary.resumed)
    assert most > sum(len(data) for _, data in given) // 2


def test_what_was_coded_is_not_coded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given = stream_of(120)
    interrupted("c.nnc", given, 115)
    fed: list[int] = []
    counted = streams.PackWriter._counted

    def counting(self: PackWriter, pieces: Any) -> Any:
        for data in counted(self, pieces):
            fed.append(len(data))
            yield data

    monkeypatch.setattr(streams.PackWriter, "_counted", counting)
    with PackWriter("c.nnc", **SMALL) as writer:
        writer.extend(given)
        summary = writer.finish()
    assert summary.resumed > summary.content // 2
    assert sum(fed) == summary.content - summary.resumed


@pytest.mark.parametrize("at", [0, 40, 90, 114])
def test_other_members_are_never_mixed_with_those_of_an_earlier_run(at: int) -> None:
    interrupted("c.nnc", stream_of(120), 115)
    other = stream_of(120)
    other[at] = (other[at][0], b"another text")
    assert packed("c.nnc", other) == packed("whole.nnc", other)


@pytest.mark.parametrize(("count", "options"), [(30, {}), (0, {}), (120, {"block_size": 2048})])
def test_fewer_members_or_other_options(count: int, options: dict[str, int]) -> None:
    interrupted("c.nnc", stream_of(120), 115)
    given = stream_of(120)[:count]
    assert packed("c.nnc", given, **options) == packed("whole.nnc", given, **options)


def test_two_processes_do_not_write_one_archive() -> None:
    with PackWriter("c.nnc") as writer:
        writer.add("a", b"1")
        with pytest.raises(PackError, match=r"c\.nnc\.partial is being written"):
            PackWriter("c.nnc")
    assert members("c.nnc") == {"a": b"1"}


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("", "/a", "a/", "a//b", "./a", "a/../b", "a\0b", "x" * 70_000):
        with PackWriter("c.nnc") as writer:
            with pytest.raises(PackError, match="no name that a member may have"):
                writer.add(wrong, b"")
            writer.close()
    given = [(f"{i * 7 % 100}", b"%d" % i) for i in range(100)]  # out of order
    packed("c.nnc", given)
    assert members("c.nnc") == dict(given)
    for again in ("0", "93"):
        with pytest.raises(PackError, match=f"{again}: two members have this name"):
            packed("d.nnc", [*given, (again, b"")])


def test_what_is_there_stays() -> None:
    Path("c.nnc").write_bytes(b"mine")
    with pytest.raises(PackError, match=r"c\.nnc already exists; use -f"):
        PackWriter("c.nnc")
    with PackWriter("d.nnc") as writer:
        writer.add("a", b"1")
        Path("d.nnc").write_bytes(b"mine")
        with pytest.raises(PackError, match="already exists"):
            writer.finish()
    assert Path("d.nnc").read_bytes() == b"mine"
    with pytest.raises(ValueError, match="the writer was closed"):
        writer.add("b", b"")


def test_digests() -> None:
    rng, seen, twin = random.Random(0), Digests(), dict[bytes, int]()
    for _ in range(3 * FIRST_SLOTS):
        digest = rng.randrange(2 * FIRST_SLOTS).to_bytes(8, "little") + bytes(24)
        assert seen.number(digest) == twin.setdefault(digest, len(twin))
    assert len(seen) == len(twin)
    assert len(seen.slots) >= 2 * len(seen)


def test_names_of_rows_are_small_in_an_index() -> None:
    content = Content(1 << 17, 1 << 22, True)
    for number in range(20_000):
        for _piece in content.add(b"data.parquet/%010d" % number, b"x" * (number % 50)):
            pass
    from nncodec.pack.index import index_frame

    assert len(index_frame(content.columns())) < 2 * 20_000


# --- tables


def write(name: str, columns: dict[str, Any], row_group_size: int = 30) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table(columns), name, row_group_size=row_group_size)


def test_a_column_of_text() -> None:
    found = rows()
    write("data.parquet", {"n": list(range(140)), "text": found})
    result = cli("pack", "data.parquet", "--column", "text", "-o", "c.nnc", "--block-size", "1K")
    assert result.rc == 0, result.err
    assert result.errors[0] == "nncodec: c.nnc: 2 rows are null and no members"
    assert result.errors[1].startswith("c.nnc: 138 rows, ")
    expected = numbered(found, "data.parquet")
    assert members("c.nnc") == expected
    distinct = b"".join(dict.fromkeys(expected.values()))
    assert cli("decompress", "-c", "c.nnc").out == distinct
    assert cli("ls", "c.nnc").out.decode().split() == list(expected)
    name = "data.parquet/0000000050"
    assert cli("cat", "c.nnc", name).out == expected[name]


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.large_binary(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.string_view(),
        pa.binary_view(),
    ],
    ids=str,
)
def test_types_of_columns(kind: Any) -> None:
    found = rows()[:60]
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or kind == pa.binary_view()
    given = [t.encode() if t is not None and binary else t for t in found]
    table = pa.table({"text": pa.array(given, pa.binary() if binary else pa.string()).cast(kind)})
    pack_dataset(table, "c.nnc", "text", **SMALL)
    assert members("c.nnc") == numbered(found, "rows")
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(7))
    pack_dataset(reader, "d.nnc", "text", **SMALL)
    assert Path("d.nnc").read_bytes() == Path("c.nnc").read_bytes()


def test_bytes_of_any_kind_and_text_that_is_none() -> None:
    raw = [b"\xff\xfe", b"", bytes(range(256)) * 9, None, b"\xff\xfe"]
    write("b.parquet", {"b": pa.array(raw), "f": pa.array([b"abcd"] * 5, pa.binary(4))})
    pack_table("b.parquet", "b.nnc", "b")
    assert list(members("b.nnc").values()) == [data for data in raw if data is not None]
    pack_table("b.parquet", "f.nnc", "f")
    assert set(members("f.nnc").values()) == {b"abcd"}
    buffers = pa.array([b"ok", b"\xff"]).buffers()
    wrong = pa.table({"t": pa.Array.from_buffers(pa.string(), 2, buffers)})
    pack_dataset(wrong, "w.nnc", "t")
    assert list(members("w.nnc").values()) == [b"ok", b"\xff"]


def test_nested_values_are_json() -> None:
    chats = [[{"role": "user", "content": "日本"}], None, [], [{"role": "a", "content": None}]]
    write("m.parquet", {"messages": chats, "meta": [{"t": {"x": f"v{i}"}} for i in range(4)]})
    pack_table("m.parquet", "m.nnc", "messages")
    found = {int(name[-2:]): json.loads(data) for name, data in members("m.nnc").items()}
    assert found == {i: chat for i, chat in enumerate(chats) if chat is not None}
    assert "日本".encode() in members("m.nnc")["m.parquet/0000000000"]
    pack_table("m.parquet", "t.nnc", "meta.t.x")
    assert list(members("t.nnc").values()) == [b"v0", b"v1", b"v2", b"v3"]
    dates = pa.table({"d": pa.array([[0]], pa.list_(pa.date32()))})
    with pytest.raises(PackError, match="not to be had as JSON"):
        pack_dataset(dates, "d.nnc", "d")


def test_several_files_patterns_and_folders() -> None:
    values = {name: texts(9, seed) for seed, name in enumerate(("s/b", "s/a/x", "s/c"))}
    for name, found in values.items():
        write(f"{name}.parquet", {"text": found}, 4)
    Path("s/notes.txt").write_text("not a table")
    expected = {}
    for name, found in values.items():
        expected |= numbered(list(found), f"{name}.parquet")
    pack_table("s", "dir.nnc", "text")
    assert members("dir.nnc") == expected
    pack_table(["s/[bc]*.parquet", Path("s/a")], "glob.nnc", "text")
    assert members("glob.nnc") == expected
    order = nncodec.decompress(Path("glob.nnc").read_bytes())
    assert order == b"".join(
        dict.fromkeys(t.encode() for name in ("s/b", "s/c", "s/a/x") for t in values[name])
    )


def test_keys_name_members() -> None:
    found = texts(40)
    names = [f"u/{i * 11 % 40}" for i in range(40)]
    names[7] = "https://example.org//x/"
    write("k.parquet", {"text": found, "id": names, "n": list(range(100, 140))})
    assert cli("pack", "k.parquet", "--column", "text", "--key=id", "-o", "k.nnc", "-q").rc == 0
    expected = dict(zip(names, found, strict=True))
    expected["https:/example.org/x"] = expected.pop("https://example.org//x/")
    assert {n: d.decode() for n, d in members("k.nnc").items()} == expected
    pack_table("k.parquet", "n.nnc", "text", key="n")
    assert list(members("n.nnc")) == [str(n) for n in range(100, 140)]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"text": ["a"]}, ["--column", "body"], "t.parquet has no column 'body': it has text"),
        ({"m": [{"a": "x"}]}, ["--column", "m.b"], "t.parquet has no column 'm.b': it has m"),
        ({"n": [1]}, ["--column", "n"], "t.parquet: column 'n' is of type int64: give a column of"),
        ({"t": ["a"], "k": [0.5]}, ["--column", "t", "--key", "k"], "column 'k' is of type double"),
        ({"t": ["a", "b"], "k": ["x", None]}, ["--column", "t", "--key", "k"], "row 1: its key No"),
        (
            {"t": ["a", "b"], "k": ["x", "x"]},
            ["--column", "t", "--key", "k"],
            "t.parquet: row 1: its key is another row's: x: two members have this name",
        ),
        ({"t": ["a"], "k": ["/"]}, ["--column", "t", "--key", "k"], "row 0: its key b'/' names no"),
    ],
)
def test_wrong_columns(columns: dict[str, Any], options: list[str], message: str) -> None:
    write("t.parquet", columns)
    result = cli("pack", "t.parquet", *options, "-o", "c.nnc", "-q")
    assert_one_error(result, "c.nnc", message)
    assert not Path("c.nnc").exists()


def test_wrong_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("text.txt").write_text("no table")
    Path("empty").mkdir()
    for name in ("a/t.parquet", "t.parquet"):
        write(name, {"t": ["x"]})
    for name, message in (
        ("text.txt", "text.txt: is no Parquet file"),
        ("absent", "absent: no such file or directory"),
        ("empty", r"empty: no Parquet file \(\*\.parquet\) in it"),
    ):
        with pytest.raises(PackError, match=message):
            pack_table(name, "c.nnc", "t")
    monkeypatch.chdir("a")
    with pytest.raises(PackError, match="would have the same names"):
        pack_table(["t.parquet", "../t.parquet"], "c.nnc", "t")
    with pytest.raises(PackError, match="list is no table: give"):
        pack_dataset(["a"], "c.nnc", "t")
    assert cli("pack", "t.parquet", "--key", "t", "-o", "c.nnc").rc == 2
    assert cli("pack", "t.parquet", "--column", "t", "--no-metadata", "-o", "c.nnc").rc == 2


def test_packages_that_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    write("t.parquet", {"t": ["x"]})
    Path("saved").mkdir()
    Path("saved/state.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackageError, match=r"needs datasets: .*nncodec-lm\[data\]"):
        pack_table("saved", "c.nnc", "t")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError, match=r"needs pyarrow: .*nncodec-lm\[data\]"):
        pack_table("t.parquet", "c.nnc", "t")


# --- data sets


@pytest.fixture
def datasets() -> Any:
    found = pytest.importorskip("datasets", reason="needs datasets: pip install 'nncodec-lm[data]'")
    found.disable_progress_bars()
    return found


def test_data_sets(datasets: Any) -> None:
    found = rows()
    data = datasets.Dataset.from_dict({"n": list(range(140)), "text": found})
    pack_dataset(data, "c.nnc", "text", **SMALL)
    assert members("c.nnc") == numbered(found, "rows")
    mixed = data.shuffle(seed=1).select(range(50))  # through indices
    pack_dataset(mixed, "m.nnc", "text", prefix="mixed", **SMALL)
    assert members("m.nnc") == numbered([found[i] for i in mixed["n"]], "mixed")


def test_streams_of_examples(datasets: Any) -> None:
    found = [None] * 600 + rows()  # of no type for a while

    def examples() -> Iterator[dict[str, Any]]:
        for number, text in enumerate(found):
            yield {"text": text, "n": number}

    data = datasets.IterableDataset.from_generator(examples)
    pack_dataset(data, "c.nnc", "text", prefix="rows", **SMALL)
    assert members("c.nnc") == numbered(found, "rows")
    with pytest.raises(PackError, match="stream has no column 'body': it has text, n"):
        pack_dataset(data, "d.nnc", "body")
    with pytest.raises(PackError, match="column 'n' is of type int64"):
        pack_dataset(data, "d.nnc", "n")


def test_saved_data_sets(datasets: Any) -> None:
    splits = {"train": rows(), "test": list[str | None](texts(9, 5))}
    made = {name: datasets.Dataset.from_dict({"text": found}) for name, found in splits.items()}
    datasets.DatasetDict(made).save_to_disk("saved")
    expected = numbered(splits["train"], "saved/train") | numbered(splits["test"], "saved/test")
    assert cli("pack", "saved", "--column", "text", "-o", "c.nnc", "-q").rc == 0
    assert members("c.nnc") == expected
    pack_dataset(datasets.DatasetDict(made), "d.nnc", "text", prefix="saved")
    assert members("d.nnc") == expected
    pack_dataset("saved/test", "t.nnc", "text")
    assert members("t.nnc") == numbered(splits["test"], "saved/test")


def test_an_archive_that_is_not_packed() -> None:
    Path("c.nnc").write_bytes(nncodec.compress(b"text", level=1))
    with pytest.raises(CorruptDataError, match="is no packed archive"):
        nncodec.pack.Samples("c.nnc")
