"""The table of known external programs, ``peers.toml``, and tables that users add to it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path

from nncodec.bench.external import CommandCodec
from nncodec.errors import BenchError
from nncodec.toml import load_toml


@dataclass(frozen=True)
class Peer:
    """A program by its templates, in which ``{level}`` is to be filled in."""

    compress: str
    decompress: str
    what: str = ""
    link: str = ""
    version: str = ""  # a command
    level: str = ""  # unless another is asked for; "": it has none
    levels: str = ""  # a regular expression
    model: str = ""  # a file: its bytes count, and {model} is its path
    threads: int = 0  # how many it takes, if it is not asked to take {threads}


Peers = Mapping[str, Peer]


def known_peers(extra: Path | None = None) -> dict[str, Peer]:
    """Those that come with the package, and those of a file, which go first. Raises BenchError."""
    shipped = resources.files(__package__) / "peers.toml"
    peers = read_peers(shipped.read_bytes(), "peers.toml")
    if extra is not None:
        if extra.exists() and not extra.is_file():
            raise BenchError(f"cannot read {extra}: no regular file")
        try:
            data = extra.read_bytes()
        except OSError as error:
            raise BenchError(f"cannot read {extra}: {(error.strerror or '').lower()}") from error
        peers |= read_peers(data, str(extra))
    return peers


def read_peers(data: bytes, name: str) -> dict[str, Peer]:
    try:
        table = load_toml(data, "bench")
    except ValueError as error:
        raise BenchError(f"{name} is no TOML: {error}") from error
    return {peer: parse_peer(values, f"{name}: [{peer}]", peer) for peer, values in table.items()}


def parse_peer(values: object, where: str, name: str) -> Peer:
    types = {field.name: int if field.name == "threads" else str for field in fields(Peer)}
    if not isinstance(values, dict) or not re.fullmatch(r"[\w.+-]+", name):
        raise BenchError(f"{where}: a peer is a table, its name letters, digits, and . + - _")
    for key, value in values.items():
        if key not in types:
            raise BenchError(f"{where} has {key}, which no peer has: {', '.join(types)}")
        if type(value) is not types[key]:
            raise BenchError(f"{where}: {key} is to be a {types[key].__name__}")
    for key in ("compress", "decompress"):
        if not values.get(key):
            raise BenchError(f"{where} lacks {key}, the command as a template")
    peer = Peer(**values)
    try:
        re.compile(peer.levels)
        commands = [shlex.split(text) for text in (peer.compress, peer.decompress, peer.version)]
    except (re.error, ValueError) as error:
        raise BenchError(f"{where}: {error}") from error
    if not all(commands[:2]):
        raise BenchError(f"{where}: a command is empty")
    return peer


def peer_codec(name: str, peer: Peer, level: str, cores: int) -> CommandCodec:
    """Raises BenchError for a level that it does not have."""
    if level and not (peer.level and re.fullmatch(peer.levels or ".+", level)):
        has = f"levels match {peer.levels}" if peer.levels else "it has no levels"
        raise BenchError(f"{name}:{level}: {has}")
    level = level or peer.level

    def words(template: str) -> tuple[str, ...]:
        return tuple(word.replace("{level}", level) for word in shlex.split(template))

    return CommandCodec(
        spec=f"{name}:{level}" if level else name,
        compress=words(peer.compress),
        decompress=words(peer.decompress),
        cores=cores,
        known_threads=peer.threads or None,
        version=words(peer.version),
        link=peer.link,
        model=peer.model,
    )
