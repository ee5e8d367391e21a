"""Specs of codecs: what they mean, their shortest form, and what is said of wrong ones."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncodec.bench.codecs import LIBRARIES, AbsentError
from nncodec.bench.external import CommandCodec, parse_command
from nncodec.bench.own import OwnCodec
from nncodec.bench.peers import known_peers
from nncodec.bench.specs import (
    DEFAULTS,
    FAMILIES,
    Settings,
    label,
    names_of,
    parse_spec,
    parse_specs,
    split_values,
)
from nncodec.engine.native import usable_cores
from nncodec.errors import BenchError

PEERS = known_peers()
SETTINGS = Settings(threads=3, peers=PEERS)

SHORTEST = [
    ("nncodec", "nncodec"),
    ("nncodec:level=6", "nncodec"),
    ("nncodec:level=1", "nncodec:level=1"),
    ("nncodec:level=9:small", "nncodec:small:level=9"),
    ("nncodec:threads=2:small:level=6", "nncodec:small:threads=2"),
    ("nncodec:/a folder/with:colon:level=8", "nncodec:/a folder/with:colon:level=8"),
    ("gzip", "gzip:6"),
    ("gzip:9", "gzip:9"),
    ("bz2", "bz2:9"),
    ("xz", "xz:6"),
    ("xz:9e", "xz:9e"),
    ("zstd", "zstd:3"),
    ("zstd:22", "zstd:22"),
    ("zstd:-5", "zstd:-5"),
    ("brotli", "brotli:11"),
    ("lz4", "lz4:0"),
    ("lz4:12", "lz4:12"),
    ("copy", "copy"),
    ("zpaq", "zpaq:5"),
    ("paq8px:12L", "paq8px:12L"),
    ("cmix", "cmix"),
    ("cmd:a=x  {in}   {out};y", "cmd:a=x {in} {out};y"),
    ("cmd:a=x 'p q;r, s' ;y \"1\"", "cmd:a=x 'p q;r, s';y 1"),
    ("cmd:a=x '' a\\;b;y", "cmd:a=x '' 'a;b';y"),
]


@pytest.mark.parametrize(("text", "shortest"), SHORTEST)
def test_the_shortest_form(text: str, shortest: str) -> None:
    spec = parse_spec(text, SETTINGS).spec
    assert spec == shortest
    assert parse_spec(spec, SETTINGS) == parse_spec(text, SETTINGS)


WRONG = [
    ("gzp", "did you mean gzip.*nncodec, online, gzip, bz2.*zpaq.*cmd:NAME"),
    ("zpak:5", "did you mean zpaq"),
    ("gzip:0", "levels are 1 to 9"),
    ("gzip:10", "levels are 1 to 9"),
    ("xz:9f", "0e to 9e"),
    ("zstd:23", "1 to 22, or below 0"),
    ("zstd:0", "1 to 22, or below 0"),
    ("brotli:12", "0 to 11"),
    ("copy:1", "levels are none"),
    ("gzip:", "ends in a colon"),
    ("nncodec:level=0", "levels are 1 to 9"),
    ("nncodec:level=x", "nncodec:MODEL:level=N"),
    ("nncodec:small:level=1", "level 1 has no model"),
    ("nncodec:small::level=2", None),
    ("zpaq:6", "levels match"),
    ("cmix:3", "no levels"),
    ("cmd:a", "write cmd:NAME"),
    ("cmd:a b=x;y", "write cmd:NAME"),
    ("cmd:=x;y", "write cmd:NAME"),
    ("cmd:a=x", "one semicolon"),
    ("cmd:a=x;y;z", "one semicolon"),
    ("cmd:a=;y", "one semicolon"),
    ("cmd:a=x;", "one semicolon"),
    ("cmd:a='x;y", "no closing quotation"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_wrong_specs(text: str, message: str | None) -> None:
    if message is None:  # a model's folder may have any name but an empty one
        assert isinstance(parse_spec(text, SETTINGS), OwnCodec)
        return
    with pytest.raises(BenchError, match=f"(?s)^.*{message}"):
        parse_spec(text, SETTINGS)


def test_values_and_commas() -> None:
    command = "cmd:x=a,b 1;c , d"
    assert split_values(["gzip:9, xz", command, "bz2,"]) == ["gzip:9", "xz", command, "bz2"]
    with pytest.raises(BenchError, match="--codecs of its own"):
        split_values(["gzip,cmd:x=a;b"])
    with pytest.raises(BenchError, match="names no codec"):
        split_values([" , "])


def test_each_codec_once() -> None:
    codecs = parse_specs(["xz:6", "gzip", "xz", "gzip:6", "gzip:9"], SETTINGS)
    assert [codec.spec for codec in codecs] == ["xz:6", "gzip:6", "gzip:9"]
    with pytest.raises(BenchError, match="another command has that name"):
        parse_specs(["cmd:a=x;y", "cmd:a=x;z"], SETTINGS)


def test_labels() -> None:
    assert [label(s) for s in ("xz:9e", "cmd:paq=x=1;y")] == ["xz:9e", "paq"]


def test_the_defaults_are_known() -> None:
    assert [codec.spec for codec in parse_specs(DEFAULTS, SETTINGS)] == list(DEFAULTS)


def test_threads() -> None:
    assert parse_spec("nncodec", SETTINGS).threads == "3"
    assert parse_spec("nncodec:threads=2", SETTINGS).threads == "2"
    assert parse_spec("nncodec", Settings()).threads == str(usable_cores())
    assert parse_spec("gzip", SETTINGS).threads == "1"
    assert parse_spec("zpaq", SETTINGS).threads == "3"
    assert parse_spec("cmd:a=x;y -t{threads}", SETTINGS).threads == "3"
    assert parse_spec("cmd:a=x;y", SETTINGS).threads == ""


def test_names_of_commands_are_short_unless_two_share_one() -> None:
    specs = ["cmd:a=x;y", "cmd:b=x;y", "cmd:b=x;z", "gzip:9"]
    assert list(names_of(specs).values()) == ["a", *specs[1:]]


WORDS = st.lists(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
    min_size=1,
    max_size=4,
)


@given(WORDS, WORDS)
def test_commands_keep_their_words(compress: list[str], decompress: list[str]) -> None:
    """Whatever the words are, quoted as a shell would have them."""
    text = f"cmd:a={shlex.join(compress)} ; {shlex.join(decompress)}"
    codec = parse_command(text, 1)
    assert (codec.compress, codec.decompress) == (tuple(compress), tuple(decompress))
    assert parse_command(codec.spec, 1) == codec


LEVELS = {
    **{name: st.from_regex(library.levels, fullmatch=True) for name, library in LIBRARIES.items()},
    **{
        name: st.from_regex(peer.levels, fullmatch=True) if peer.levels else st.just("")
        for name, peer in PEERS.items()
    },
}
PLAIN = st.sampled_from(sorted(LEVELS)).flatmap(
    lambda name: LEVELS[name].map(lambda level: f"{name}:{level}" if level else name)
)
OWN = st.permutations(["level=7", "threads=4", "small"]).flatmap(
    lambda options: st.integers(0, 3).map(lambda n: ":".join(["nncodec", *options[:n]]))
)


@given(PLAIN | OWN)
def test_the_shortest_form_is_a_fixed_point(text: str) -> None:
    codec = parse_spec(text, SETTINGS)
    assert parse_spec(codec.spec, SETTINGS) == codec
    assert len(codec.spec) <= len(text) + len(":11")


def test_peers_that_come_with_the_package() -> None:
    wanted = {"paq8px", "cmix", "lpaq8", "zpaq", "mcm", "bzip3", "ppmd", "kanzi", "bsc"}
    assert wanted <= PEERS.keys()
    assert not PEERS.keys() & {*FAMILIES, *LIBRARIES}
    for name, peer in PEERS.items():
        assert peer.what, name
        assert peer.link.startswith("https://"), name
        assert peer.version, name
        codec = parse_spec(name, SETTINGS)
        assert isinstance(codec, CommandCodec)
        assert "{level}" not in " ".join((*codec.compress, *codec.decompress)), name


def test_an_absent_peer_says_where_it_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AbsentError, match="no program paq8px on the PATH: https://"):
        parse_spec("paq8px", SETTINGS).probe()


def write_peers(folder: Path, text: str) -> Path:
    path = folder / "peers.toml"
    path.write_text(text)
    return path


def test_peers_of_a_user(tmp_path: Path) -> None:
    text = (
        '[zpaq]\ncompress = "other {in} {out} -m{level}"\ndecompress = "other"\nlevel = "x"\n'
        f'[mine]\ncompress = "mine -m {{model}}"\ndecompress = "mine"\nmodel = "{tmp_path}/m"\n'
    )
    peers = known_peers(write_peers(tmp_path, text))
    settings = Settings(1, peers)
    zpaq = parse_spec("zpaq:anything", settings)
    assert isinstance(zpaq, CommandCodec)
    assert zpaq.compress == ("other", "{in}", "{out}", "-manything")
    assert "bzip3" in peers
    with pytest.raises(AbsentError, match="no program mine"):
        parse_spec("mine", settings).probe()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[x", "is no TOML"),
        ("x = 1", "a peer is a table"),
        ('[x]\ncompress = "a"', "lacks decompress"),
        ('[x]\ncompress = "a"\ndecompress = "\'"', "No closing quotation"),
        ('[x]\ncompress = " "\ndecompress = "b"', "a command is empty"),
        ('[x]\ncompress = "a"\ndecompress = "b"\nlevles = "1"', "has levles, which no peer has"),
        ('[x]\ncompress = "a"\ndecompress = "b"\nthreads = "1"', "threads is to be a int"),
        ('[x]\ncompress = "a"\ndecompress = "b"\nlevels = "("', r"peers.toml: \[x\]"),
        ('[gzip]\ncompress = "a"\ndecompress = "b"', "gzip is a codec's name already"),
    ],
)
def test_wrong_peers(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        Settings(1, known_peers(write_peers(tmp_path, text)))


def test_peers_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"cannot read .*none.toml: no such file"):
        known_peers(tmp_path / "none.toml")
