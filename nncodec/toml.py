"""TOML on every Python: in the standard library since 3.11, tomli of an extra before."""

from __future__ import annotations

import sys
from typing import Any

from nncodec.errors import MissingPackageError


def load_toml(data: bytes, extra: str) -> dict[str, Any]:
    """Raises ValueError for what is no TOML, MissingPackageError that names ``extra``."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                f"needs tomli: install it with pip install 'nncodec-lm[{extra}]'"
            ) from error
    return tomllib.loads(data.decode())  # its errors and those of UTF-8 are ValueErrors
