"""What the tests of the benchmark share: inputs, and commands made of Python programs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from nncodec.bench.codecs import Codec
from nncodec.bench.external import parse_command
from nncodec.bench.measure import Effort, Measured, measure
from nncodec.files import sha256

ONCE = Effort(runs=1, warm_up=0)
ECHO = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"


def program(code: str, *words: str) -> str:
    """The command that runs ``code`` with ``words`` behind it."""
    return shlex.join([sys.executable, "-S", "-c", code, *words])


def command(compress: str, decompress: str = program(ECHO), name: str = "x") -> str:
    return f"cmd:{name}={compress};{decompress}"


def measured(codec: Codec | str, path: Path, effort: Effort = ONCE) -> Measured:
    codec = parse_command(codec, 2) if isinstance(codec, str) else codec
    return measure(codec, path, sha256(path), effort)
