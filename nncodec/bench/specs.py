"""Codecs by their specs: ``xz:9e``, ``nncodec:small:level=7``, ``zpaq``, ``cmd:NAME=...;...``.

A family of codecs is a name and a function that reads what stands behind it. Levels of other
people's codecs are always part of the shortest form, as their defaults are theirs to change.
"""

from __future__ import annotations

import difflib
import importlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nncodec.bench.codecs import LIBRARIES, Codec, parse_library
from nncodec.bench.external import COMMAND, FORM, parse_command
from nncodec.bench.own import parse_own
from nncodec.bench.peers import Peer, peer_codec
from nncodec.engine.native import usable_cores
from nncodec.errors import BenchError

DEFAULTS = ("nncodec", "nncodec:level=1", "gzip:9", "bz2:9", "xz:9e", "zstd:19", "brotli:11")


@dataclass(frozen=True)
class Settings:
    """What holds for all codecs of a run."""

    threads: int | None = None  # None: all cores
    peers: Mapping[str, Peer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.peers:
            if name in FAMILIES or name in LIBRARIES:
                raise BenchError(f"{name} is a codec's name already; give the peer another one")

    @property
    def cores(self) -> int:
        return self.threads or usable_cores()


Parse = Callable[[str, Settings], Codec]  # takes what stands behind "name:", "" if nothing does


def own(options: str, settings: Settings) -> Codec:
    return parse_own(options, settings.threads)


def online(options: str, settings: Settings) -> Codec:
    parse: Parse = importlib.import_module("nncodec.bench.online").parse
    return parse(options, settings)


FAMILIES: dict[str, Parse] = {"nncodec": own, "online": online}


def split_values(values: Sequence[str]) -> list[str]:
    """The specs of all --codecs: commas part them, but ``cmd:`` takes a value of its own."""
    specs: list[str] = []
    for value in values:
        if value.startswith(COMMAND):
            specs.append(value)
            continue
        parts = [part.strip() for part in value.split(",")]
        if any(part.startswith(COMMAND) for part in parts):
            raise BenchError(f"{value}: cmd: takes a --codecs of its own, as commands have commas")
        specs += filter(None, parts)
    if not specs:
        raise BenchError("--codecs names no codec")
    return specs


def parse_specs(specs: Sequence[str], settings: Settings) -> list[Codec]:
    """Each codec once, in the order given. Raises BenchError."""
    found: dict[str, Codec] = {}
    names: dict[str, str] = {}
    for text in specs:
        codec = parse_spec(text, settings)
        found.setdefault(codec.spec, codec)
        if names.setdefault(label(codec.spec), codec.spec) != codec.spec:
            raise BenchError(f"{text}: another command has that name; choose a new one")
    return list(found.values())


def parse_spec(text: str, settings: Settings) -> Codec:
    """Raises BenchError that says what there is."""
    if text.startswith(COMMAND):
        return parse_command(text, settings.cores)
    name, colon, options = text.partition(":")
    if colon and not options:
        raise BenchError(f"{text}: ends in a colon; write {name} or {name}:LEVEL")
    if name in FAMILIES:
        return FAMILIES[name](options, settings)
    if name in LIBRARIES:
        return parse_library(name, options)
    if name in settings.peers:
        return peer_codec(name, settings.peers[name], options, settings.cores)
    there = [*FAMILIES, *LIBRARIES, *settings.peers]
    near = difflib.get_close_matches(name, there, 1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    raise BenchError(f"no codec {name!r}{meant}: there are {', '.join(there)}; or {FORM}")


def names_of(specs: Iterable[str]) -> dict[str, str]:
    """What to call each in a table; two commands of one name keep their templates."""
    names = {spec: label(spec) for spec in specs}
    shared = Counter(names.values())
    return {spec: name if shared[name] == 1 else spec for spec, name in names.items()}


def label(spec: str) -> str:
    """What to call it in a table: of a command its name alone."""
    return spec.removeprefix(COMMAND).partition("=")[0] if spec.startswith(COMMAND) else spec
