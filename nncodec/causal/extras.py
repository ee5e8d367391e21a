"""Optional packages of the hf extra, imported where they are needed and named if missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from nncodec.errors import MissingPackageError


def need(name: str) -> ModuleType:
    """The package. Raises MissingPackageError with the way to install it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != name:
            raise
        raise MissingPackageError(
            f"needs {name}: install it with pip install 'nncodec-lm[hf]'"
        ) from error
