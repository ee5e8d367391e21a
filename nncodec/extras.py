"""Optional packages, imported where they are needed and named where they are missing."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from nncodec.errors import MissingPackageError


def need(name: str, extra: str = "hf") -> ModuleType:
    """The package, which an ``extra`` of ours brings. Raises MissingPackageError that says so."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != name:
            raise
        raise missing(name, extra) from error


def find(name: str, extra: str) -> None:
    """Only look for the package, whose import takes long. Raises what ``need`` does."""
    if importlib.util.find_spec(name) is None:
        raise missing(name, extra)


def missing(name: str, extra: str) -> MissingPackageError:
    return MissingPackageError(f"needs {name}: install it with pip install 'nncodec-lm[{extra}]'")
