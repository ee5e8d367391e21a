"""Files of any fsspec file system: ``fsspec.open("memory://x.nnc", compression="infer")``.

Reading is as random as ``NNCodecFile`` is: a seek decodes the blocks that are touched.
"""

from __future__ import annotations

from typing import BinaryIO

from fsspec.compression import register_compression

from nncodec.fileobject import NNCodecFile
from nncodec.integrations.names import NAME, SUFFIX


def open_compressed(file: BinaryIO, mode: str = "rb", **options: object) -> NNCodecFile:
    """``file``, which stays open, seen through the codec; options are ``NNCodecFile``'s."""
    return NNCodecFile(file, mode, **options)  # type: ignore[arg-type]  # fsspec's own are untyped


def register() -> None:
    register_compression(NAME, open_compressed, SUFFIX, force=True)
