"""External programs as codecs, by templates of their command lines; no shell ever sees them.

``{in}`` and ``{out}`` are files in a folder of the run's own, in which the command is started;
a template without one of them reads its standard input, writes its standard output. ``{threads}``
is what -T says. ``commands.py`` runs them; ``peers.py`` has templates of known programs.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nncodec.bench.codecs import AbsentError, Probe
from nncodec.errors import BenchError
from nncodec.files import sha256

FORM = "write cmd:NAME=COMPRESS;DECOMPRESS"
PLAIN = re.compile(r"[\w@%+:,./={}-]+", re.ASCII)  # needs no quotes, nor do braces
COMMAND = "cmd:"
THREADS = "{threads}"


@dataclass(frozen=True)
class CommandCodec:
    """``compress`` and ``decompress`` are words; the first of each is a program."""

    spec: str
    compress: tuple[str, ...]
    decompress: tuple[str, ...]
    cores: int
    known_threads: int | None = None
    version: tuple[str, ...] = ()  # a command; none: the program's hash stands for it
    link: str = ""
    model: str = ""  # a file that the other side must have, too
    archives: bool = True

    @property
    def threads(self) -> str:
        if self.known_threads:
            return str(self.known_threads)
        used = any(THREADS in word for word in (*self.compress, *self.decompress))
        return str(self.cores) if used else ""

    def probe(self) -> Probe:
        program = self.program(self.compress)
        self.program(self.decompress)
        version = (self.ask_version() if self.version else "") or hash_of(program)
        if not self.spec.startswith(COMMAND):  # which say the template themselves
            version = f"{version}, template {self.template_hash()}"
        return Probe(version, *self.find_model())

    def template_hash(self) -> str:
        """A peer's name stays when its template is changed; its figures do not."""
        return hashlib.sha256(repr((self.compress, self.decompress)).encode()).hexdigest()[:8]

    def find_model(self) -> tuple[str, int]:
        """A model's hash and bytes. Raises AbsentError if there is none, or BenchError."""
        if not self.model:
            return "", 0
        path = Path(os.path.expanduser(self.model))
        if not path.exists():
            raise AbsentError(f"no model {self.model} for {self.spec}")
        if not path.is_file():
            raise BenchError(f"the model {self.model} for {self.spec} is no regular file")
        try:
            return sha256(path)[:32], path.stat().st_size
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise BenchError(f"cannot read the model {self.model}: {why}") from error

    def program(self, words: tuple[str, ...]) -> str:
        """The absolute path of a command's program. Raises AbsentError."""
        found = shutil.which(os.path.expanduser(words[0]))
        if found is None:
            where = f": {self.link}" if self.link else ""
            raise AbsentError(f"no program {words[0]} on the PATH{where}")
        return os.path.abspath(found)

    def ask_version(self) -> str:
        """The first line with a number of what its version command says, "" if there is none."""
        try:
            said = subprocess.run(
                [self.program(self.version), *self.version[1:]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=20,
                check=False,
            ).stdout.decode(errors="replace")
        except (OSError, subprocess.TimeoutExpired):
            return ""
        lines = (" ".join(line.split()) for line in said.splitlines())
        return next((line[:80] for line in lines if re.search("[0-9]", line)), "")

    def job(self, direction: str) -> Mapping[str, Any]:
        words = self.compress if direction == "compress" else self.decompress
        model = os.path.abspath(os.path.expanduser(self.model)) if self.model else ""
        rest = (w.replace(THREADS, str(self.cores)).replace("{model}", model) for w in words[1:])
        command = [self.program(words), *rest]
        return {"module": "nncodec.bench.commands", "command": command}


def hash_of(program: str) -> str:
    """In place of a version; "" if it can be run and not read."""
    try:
        return f"sha256 {sha256(Path(program))[:16]}"
    except OSError:
        return ""


def parse_command(text: str, cores: int) -> CommandCodec:
    """``cmd:NAME=COMPRESS;DECOMPRESS``. Raises BenchError."""
    name, equals, commands = text.removeprefix(COMMAND).partition("=")
    if not equals or not re.fullmatch(r"[\w.+-]+", name):
        raise BenchError(f"{text}: {FORM}; a name has letters, digits, and . + - _")
    pair = split_commands(text, commands)
    spec = f"cmd:{name}=" + ";".join(map(join, pair))
    return CommandCodec(spec, tuple(pair[0]), tuple(pair[1]), cores)


def split_commands(text: str, commands: str) -> tuple[list[str], list[str]]:
    """The words of both, which a semicolon outside of quotes parts. Raises BenchError."""
    pieces, begin = [], 0
    for end in [m.start() for m in re.finditer(";", commands)] + [len(commands)]:
        try:
            words = shlex.split(commands[begin:end])
        except ValueError as error:  # the semicolon is in quotes: an earlier piece goes on
            if end == len(commands):
                raise BenchError(f"{text}: {str(error).lower()} in a command") from error
            continue
        pieces.append(words)
        begin = end + 1
    if len(pieces) != 2 or not all(pieces):
        raise BenchError(f"{text}: {FORM}, two commands with one semicolon outside of quotes")
    return pieces[0], pieces[1]


def join(words: list[str]) -> str:
    return " ".join(word if PLAIN.fullmatch(word) else shlex.quote(word) for word in words)
