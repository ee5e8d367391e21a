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
    LimitError,
    ModelNotFoundError,
    NNCodecError,
    TruncatedError,
    UnsupportedVersionError,
    WorkerError,
)

reject_namesake()
register_with_transformers()

if TYPE_CHECKING:
    from nncodec import pack, weights
    from nncodec.fileobject import NNCodecFile, open
    from nncodec.parallel import Workers, open_workers
    from nncodec.recovery import Recovery, recover
    from nncodec.streaming import Compressor, Decompressor

from nncodec.api import compress, decompress, info  # noqa: E402  (the checks come first)

__version__ = "0.1.0"

__all__ = [
    "Compressor",
    "CorruptDataError",
    "Decompressor",
    "InvalidModelError",
    "LimitError",
    "ModelNotFoundError",
    "NNCodecError",
    "NNCodecFile",
    "Recovery",
    "TruncatedError",
    "UnsupportedVersionError",
    "WorkerError",
    "Workers",
    "__version__",
    "compress",
    "decompress",
    "info",
    "open",
    "open_workers",
    "pack",
    "recover",
    "weights",
]

LAZY = {  # name: the module that has it, imported when it is first used
    "Compressor": "nncodec.streaming",
    "Decompressor": "nncodec.streaming",
    "NNCodecFile": "nncodec.fileobject",
    "Recovery": "nncodec.recovery",
    "Workers": "nncodec.parallel",
    "open": "nncodec.fileobject",
    "open_workers": "nncodec.parallel",
    "recover": "nncodec.recovery",
}


def __getattr__(name: str) -> object:
    if name in ("pack", "weights"):
        return importlib.import_module(f"nncodec.{name}")
    if name in LAZY:
        return getattr(importlib.import_module(LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
