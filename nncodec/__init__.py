"""nncodec: lossless compression of any data by a small byte Transformer with exact arithmetic.

archive = nncodec.compress(data)
assert nncodec.decompress(archive) == data
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from nncodec._compat import register_with_transformers, reject_namesake
from nncodec.errors import (
    CorruptDataError,
    InvalidModelError,
    ModelNotFoundError,
    NNCodecError,
    TruncatedError,
    UnsupportedVersionError,
)

reject_namesake()
register_with_transformers()

if TYPE_CHECKING:
    from nncodec import weights
    from nncodec.recovery import Recovery, recover

from nncodec.api import compress, decompress, info  # noqa: E402  (the checks come first)

__version__ = "0.1.0"

__all__ = [
    "CorruptDataError",
    "InvalidModelError",
    "ModelNotFoundError",
    "NNCodecError",
    "Recovery",
    "TruncatedError",
    "UnsupportedVersionError",
    "__version__",
    "compress",
    "decompress",
    "info",
    "recover",
    "weights",
]


def __getattr__(name: str) -> object:
    """``weights``, ``recover`` and ``Recovery``, imported when they are first used."""
    if name == "weights":
        return importlib.import_module("nncodec.weights")
    if name in ("Recovery", "recover"):
        return getattr(importlib.import_module("nncodec.recovery"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
