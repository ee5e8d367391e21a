"""Unpacking what somebody made to harm: nothing is written outside the folder."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import cli

from nncodec import pack
from nncodec.errors import CorruptDataError
from nncodec.pack import indexfile, writer
from nncodec.pack.index import index_frame
from nncodec.pack.links import leads_out
from nncodec.pack.names import Names
from nncodec.pack.tree import Entry, Kind


def forged(
    monkeypatch: pytest.MonkeyPatch,
    members: dict[str, tuple[str, bytes]],
    target: Path,
    block_size: int = 1 << 17,
) -> None:
    """An archive with any members: name -> (file, link or directory; contents or target)."""
    sources = target.parent / "sources"
    sources.mkdir(exist_ok=True)
    entries = []
    for number, (name, (kind, data)) in enumerate(sorted(members.items())):
        path = sources / f"{number}"
        path.write_bytes(data)
        status = path.stat()
        entry = Entry(name.encode(), bytes(path), Kind[kind], 0, 0, 0, 0, 0, 0, 0)
        entry.take(status)
        if entry.kind == Kind.SYMLINK:
            entry.target = data
        entries.append(entry)
    with monkeypatch.context() as patch:
        patch.setattr(writer, "find_entries", lambda *_: entries)
        pack.pack([], target, replace=True, block_size=block_size)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_bytes(b"precious")
    return tmp_path


def untouched(place: Path) -> bool:
    outside = place / "outside"
    held = {path.name: path.read_bytes() for path in outside.iterdir()}
    return held == {"precious": b"precious"}


@pytest.mark.parametrize("name", ["../outside/new", "/tmp/new", "a/../../outside/new", "a/./b"])
def test_names_that_lead_out(place: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    forged(monkeypatch, {name: ("FILE", b"evil")}, place / "c.nnc")
    with pytest.raises(CorruptDataError, match="no name that a member may have"):
        pack.PackedArchive(place / "c.nnc")
    assert cli("unpack", "c.nnc", "-C", "out").rc == 1
    monkeypatch.setattr(indexfile, "check_names", lambda _names: None)
    assert "outside the folder" in cli("unpack", "c.nnc", "-C", "out").err
    assert untouched(place)


LINKS = {
    "absolute": {"link": ("SYMLINK", b"/etc")},
    "above": {"link": ("SYMLINK", b"../outside")},
    "deep": {"a/b/link": ("SYMLINK", b"../../../outside")},
    "through itself": {"link": ("SYMLINK", b"link")},
    "in a ring": {"a": ("SYMLINK", b"b"), "b": ("SYMLINK", b"a")},
    "through another": {"a/b/c/top": ("SYMLINK", b"../../.."), "out": ("SYMLINK", b"a/b/c/top/..")},
    "before another": {"z/y/x/top": ("SYMLINK", b"../../.."), "out": ("SYMLINK", b"z/y/x/top/..")},
}


@pytest.mark.parametrize("what", LINKS)
def test_links_that_lead_out(place: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    forged(monkeypatch, {**LINKS[what], "fine": ("FILE", b"fine")}, place / "c.nnc")
    result = cli("unpack", "c.nnc", "-C", "out")
    assert result.rc == 1
    assert "out of the folder" in result.errors[0]
    assert (place / "out" / "fine").read_bytes() == b"fine"
    bad = [name for name in LINKS[what] if not name.endswith("top")]
    assert not any(os.path.lexists(place / "out" / name) for name in bad)
    assert untouched(place)
    assert cli("unpack", "c.nnc", "-C", "out2", "--any-links").rc == 0
    assert all(os.path.islink(place / "out2" / name) for name in bad)


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_links_of_two_archives_that_lead_out_together(
    place: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """Each stays in the folder on its own, whichever comes first."""
    forged(monkeypatch, {"d/e/a": ("SYMLINK", b"../..")}, place / "a.nnc")
    forged(monkeypatch, {"z": ("SYMLINK", b"d/e/a/../outside")}, place / "b.nnc")
    results = {name: cli("unpack", f"{name}.nnc", "-C", "out") for name in order}
    assert results["a"].rc == 0, results["a"].err
    assert results["b"].rc == 1
    assert "'..' comes behind what is no directory here" in results["b"].err
    assert not os.path.lexists(place / "out" / "z")
    assert cli("unpack", "b.nnc", "-C", "out", "--any-links").rc == 0
    assert (place / "out" / "z" / "precious").read_bytes() == b"precious"  # it would have


def test_links_through_folders_are_made(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {
        "a/b/file": ("FILE", b"file"),
        "a/b/up": ("SYMLINK", b"../../a/b/../b/./file"),
        "down": ("SYMLINK", b"a/b/up"),
    }
    forged(monkeypatch, members, place / "c.nnc")
    result = cli("unpack", "c.nnc", "-C", "out")
    assert result.rc == 0, result.err
    assert (place / "out" / "down").read_bytes() == b"file"


def test_nothing_is_written_through_a_link(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one of the archive nor one that is there."""
    members = {"link": ("SYMLINK", b"../outside"), "link/new": ("FILE", b"evil")}
    forged(monkeypatch, members, place / "c.nnc")
    result = cli("unpack", "c.nnc", "-C", "out", "--any-links", "-f")
    assert result.rc == 1
    assert untouched(place)
    (place / "two").mkdir()
    (place / "two" / "link").symlink_to(place / "outside")
    result = cli("unpack", "c.nnc", "-C", "two", "-f")
    assert result.rc == 1
    assert "is a symbolic link: nothing is written through it" in result.err
    assert untouched(place)


def test_a_link_that_is_there_is_replaced_itself(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged(monkeypatch, {"file": ("FILE", b"new")}, place / "c.nnc")
    (place / "file").symlink_to(place / "outside" / "precious")
    assert cli("unpack", "c.nnc").rc == 1
    assert cli("unpack", "c.nnc", "-f").rc == 0
    assert (place / "file").read_bytes() == b"new"
    assert not (place / "file").is_symlink()
    assert untouched(place)


def test_members_in_each_others_way(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {"a": ("FILE", b"file"), "a/b": ("FILE", b"below"), "c": ("FILE", b"c")}
    forged(monkeypatch, members, place / "c.nnc")
    result = cli("unpack", "c.nnc", "-C", "out")
    assert result.rc == 1
    assert len(result.errors) == 1
    assert (place / "out" / "c").read_bytes() == b"c"
    assert not [name for name in os.listdir(place / "out") if name.startswith(".nncodec")]


def test_damage_leaves_no_half_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = os.urandom(30_000)
    members = {"a": ("FILE", noise), "c": ("FILE", b"c" * 50_000)}
    forged(monkeypatch, members, place / "c.nnc", block_size=1 << 15)
    archive = bytearray((place / "c.nnc").read_bytes())
    archive[15_000] ^= 1
    (place / "c.nnc").write_bytes(archive)
    result = cli("unpack", "c.nnc", "-C", "out")
    assert result.rc == 1
    assert len(result.errors) == 1
    assert result.errors[0].startswith("nncodec: a: a block is damaged")
    assert os.listdir(place / "out") == ["c"]
    assert (place / "out" / "c").read_bytes() == b"c" * 50_000


def test_a_time_beyond_all_calendars(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forged(monkeypatch, {"a": ("FILE", b"a"), "b": ("FILE", b"b")}, place / "c.nnc")
    columns, _ = indexfile.read_index(io.BytesIO((place / "c.nnc").read_bytes()))
    size = len(index_frame(columns))
    columns.seconds[0] = (1 << 63) - 1
    archive = (place / "c.nnc").read_bytes()[:-size] + index_frame(columns)
    (place / "c.nnc").write_bytes(archive)
    result = cli("unpack", "c.nnc", "-C", "out")
    assert result.errors in ([], ["nncodec: a: has a time that this system does not know"])
    assert (place / "out" / "b").read_bytes() == b"b"
    assert cli("ls", "-l", "c.nnc").out.splitlines()[0].endswith(b" @9223372036854775807 a")


def test_limits(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forged(monkeypatch, {"a": ("FILE", bytes(1 << 20))}, place / "c.nnc")
    result = cli("unpack", "c.nnc", "-C", "out", "--max-output", "1000")
    assert result.rc == 1
    assert "max_output_size" in result.err
    assert cli("unpack", "c.nnc", "-C", "out", "--memory", "1000").rc == 1
    assert not (place / "out" / "a").exists()


relative = st.lists(st.sampled_from(["a", "b", "c", "..", "."]), min_size=1, max_size=5)


@given(st.dictionaries(relative.filter(lambda p: not {"..", "."} & set(p)).map("/".join), relative))
def test_what_is_said_of_links_is_what_the_system_does(
    tmp_path_factory: pytest.TempPathFactory, links: dict[str, list[str]]
) -> None:
    """Of links in real folders: whoever is not said to lead out does not."""
    root = tmp_path_factory.mktemp("links") / "1" / "2" / "3" / "4" / "5" / "root"
    root.mkdir(parents=True)
    made = {}
    for name, target in links.items():
        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.parent.resolve() == path.parent:
                path.symlink_to("/".join(target))
                made[name.encode()] = "/".join(target).encode()
        except (FileExistsError, NotADirectoryError, RuntimeError, OSError):
            continue
    for name in made:
        if not leads_out(name, made):
            found = os.path.realpath(root / name.decode())
            assert found == str(root) or found.startswith(f"{root}/"), (name, made)
    assert Names.of(sorted(made)).joined.count(b"\0") == len(made)
