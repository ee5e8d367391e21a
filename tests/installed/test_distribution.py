"""What a wheel installs, and what importing and starting it needs: the core packages alone.

These tests need pytest and the installed package, nothing else of the repository, so that they run
against any wheel on any machine (docs/packaging.md).
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

import nncodec
from nncodec.container import VERSION
from nncodec.numerics import NUMERIC_VERSION

HERE = Path(nncodec.__file__).resolve().parent
try:
    INSTALLED = importlib.metadata.distribution("nncodec-lm")
except importlib.metadata.PackageNotFoundError:
    INSTALLED = None
OURS = INSTALLED is not None and Path(str(INSTALLED.locate_file("nncodec"))).resolve() == HERE
of_a_wheel = pytest.mark.skipif(not OURS, reason="nncodec is imported from a source tree")


def files() -> list[PurePosixPath]:
    assert INSTALLED
    return [PurePosixPath(path.as_posix()) for path in INSTALLED.files or ()]


def run(*arguments: str, data: bytes = b"", **variables: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, *arguments]
    env = {**os.environ, **variables}
    return subprocess.run(command, input=data, capture_output=True, check=False, env=env)


@of_a_wheel
def test_types_models_and_no_sources() -> None:
    names = {path.as_posix() for path in files()}
    assert {"nncodec/py.typed", "nncodec/_core.pyi"} <= names
    models = {path.as_posix() for path in files() if path.match("nncodec/models/*/*.safetensors")}
    assert {path.rpartition("/")[2] for path in models} == {"engine.safetensors"}
    assert not {path.suffix for path in files()} & {".cc", ".h", ".inl", ".nnc", ".csv"}
    assert not [name for name in names if name.startswith(("tests", "docs", "scripts", "corpora"))]


@of_a_wheel
def test_share_has_the_manual_and_completions() -> None:
    shared = {path.as_posix().partition("share/")[2] for path in files() if "share/" in str(path)}
    assert INSTALLED
    commands = INSTALLED.entry_points.select(group="console_scripts")
    assert {f"man/man1/{command.name}.1" for command in commands} <= shared
    assert "bash-completion/completions/nncodec" in shared
    assert "zsh/site-functions/_nncodec" in shared
    assert "fish/vendor_completions.d/nncodec.fish" in shared


@of_a_wheel
def test_entry_points() -> None:
    assert INSTALLED
    found = {(entry.group, entry.name): entry.value for entry in INSTALLED.entry_points}
    assert found["console_scripts", "nncodec"] == "nncodec.cli:main"
    assert found["numcodecs.codecs", "nncodec"] == "nncodec.integrations.numcodecs:NNCodec"
    assert found["zarr.codecs", "nncodec"] == "nncodec.integrations.zarr:NNCodec"
    for script in (entry for group, entry in found.items() if group[0] == "console_scripts"):
        module, _, function = script.partition(":")
        assert callable(getattr(importlib.import_module(module), function))


@of_a_wheel
def test_versions_agree() -> None:
    assert INSTALLED
    assert INSTALLED.version == nncodec.__version__


def test_nothing_optional_is_imported() -> None:
    optional = "torch transformers fsspec joblib numcodecs zarr constriction tokenizers pandas"
    found = f"{{*sys.modules}} & set('{optional}'.split())"
    assert (
        run("-c", f"import sys, nncodec, nncodec.integrations; print({found})").stdout.strip()
        == b"set()"
    )


def test_version_names_the_engine() -> None:
    line = run("-m", "nncodec", "--version").stdout.decode()
    versions = f"format {VERSION}, numeric version {NUMERIC_VERSION}"
    assert line.startswith(f"nncodec {nncodec.__version__}, {versions}, engine ")


@pytest.mark.parametrize("level", ["-1", "-2", "-6"])
def test_a_pipe_there_and_back(level: str) -> None:
    data = Path(__file__).read_bytes() + bytes(range(256)) * 20
    packed = run("-m", "nncodec", "compress", level, data=data)
    assert (packed.returncode, packed.stderr) == (0, b"")
    assert packed.stdout == nncodec.compress(data, int(level[1:]))
    back = run("-m", "nncodec", "decompress", data=packed.stdout)
    assert (back.returncode, back.stdout) == (0, data)


def test_a_damaged_archive_is_one_line() -> None:
    packed = bytearray(nncodec.compress(b"precious " * 40, 1))
    packed[12] ^= 1
    result = run("-m", "nncodec", "decompress", data=bytes(packed))
    assert (result.returncode, result.stdout) == (1, b"")
    assert len(result.stderr.splitlines()) == 1
