"""What a benchmark knows of a codec before it runs, and the codecs of libraries.

Nothing here touches a file: ``Codec.job`` says which module does so in the child process.
"""

from __future__ import annotations

import importlib
import importlib.util
import platform
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from nncodec.errors import BenchError


class AbsentError(BenchError):
    """Not installed here: the message says what is missing, and how to get it."""


@dataclass(frozen=True)
class Probe:
    """What is installed."""

    version: str
    model_id: str = ""
    model_bytes: int = 0  # that the other side must have, too


class Codec(Protocol):
    """A codec with its options, whether it is installed or not."""

    @property
    def spec(self) -> str:
        """In its shortest form; no two codecs have the same."""

    @property
    def threads(self) -> str:
        """How many it uses; "": not known."""

    @property
    def archives(self) -> bool:
        """False: it has a code length, and ``code_length`` is its one direction."""

    def probe(self) -> Probe:
        """Raises AbsentError, and BenchError for what is there and of no use."""

    def job(self, direction: str) -> Mapping[str, Any]:
        """For the worker: ``module``, whose ``open_run`` takes it, and what that needs.

        With ``lean`` false, the module may import all of nncodec. With ``command``, it is one.
        """


@dataclass(frozen=True)
class Library:
    """One of ``coders.CODERS``. ``levels`` is a regular expression, ``hint`` says it in words."""

    levels: str
    hint: str
    default: str  # as the program of that name has it
    version: Callable[[], str]
    package: str = ""  # to be imported, where Python does not bring it


def of_python() -> str:
    return f"Python {platform.python_version()}"


def zstd_version() -> str:
    zstandard = importlib.import_module("zstandard")
    return "zstd " + ".".join(map(str, zstandard.ZSTD_VERSION))


def brotli_version() -> str:
    return f"brotli {importlib.import_module('brotli').__version__}"


def lz4_version() -> str:
    return f"lz4 {importlib.import_module('lz4').library_version_string()}"


BELOW_ZERO = "-[1-9][0-9]{0,4}"
LIBRARIES = {
    "gzip": Library("[1-9]", "1 to 9", "6", lambda: f"zlib {zlib.ZLIB_RUNTIME_VERSION}"),
    "bz2": Library("[1-9]", "1 to 9", "9", of_python),
    "xz": Library("[0-9]e?", "0 to 9, or 0e to 9e", "6", of_python),
    "zstd": Library(
        f"[1-9]|1[0-9]|2[0-2]|{BELOW_ZERO}", "1 to 22, or below 0", "3", zstd_version, "zstandard"
    ),
    "brotli": Library("[0-9]|1[01]", "0 to 11", "11", brotli_version, "brotli"),
    "lz4": Library(f"[0-9]|1[0-6]|{BELOW_ZERO}", "0 to 16, or below 0", "0", lz4_version, "lz4"),
    "copy": Library("", "none", "", of_python),
}


@dataclass(frozen=True)
class LibraryCodec:
    family: str
    level: str
    threads: str = "1"
    archives: bool = True

    @property
    def spec(self) -> str:
        return f"{self.family}:{self.level}" if self.level else self.family

    def probe(self) -> Probe:
        library = LIBRARIES[self.family]
        if library.package and importlib.util.find_spec(library.package) is None:
            raise AbsentError(
                f"no package {library.package}: install it with pip install 'nncodec-lm[bench]'"
            )
        try:
            return Probe(library.version())
        except ImportError as error:
            raise BenchError(f"{library.package} is installed and broken: {error}") from error

    def job(self, direction: str) -> Mapping[str, Any]:
        return {"module": "nncodec.bench.coders", "family": self.family, "level": self.level}


def parse_library(family: str, level: str) -> LibraryCodec:
    """Raises BenchError for a level that there is not."""
    library = LIBRARIES[family]
    if level and not re.fullmatch(library.levels, level):
        raise BenchError(f"{family}:{level}: its levels are {library.hint}")
    return LibraryCodec(family, level or library.default)
