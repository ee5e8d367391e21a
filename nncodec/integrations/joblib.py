"""``joblib.dump(value, "x.nnc", compress=("nncodec", 6))``; ``joblib.load`` knows the signature.

What is compressed is joblib's pickle: load only files that you trust, as with joblib itself.
"""

from __future__ import annotations

from typing import BinaryIO

from joblib import register_compressor
from joblib.compressor import CompressorWrapper

from nncodec.container import MAGIC
from nncodec.fileobject import NNCodecFile
from nncodec.integrations.names import NAME, SUFFIX
from nncodec.levels import DEFAULT_LEVEL


class NNCodecWrapper(CompressorWrapper):  # type: ignore[misc]  # joblib has no types
    """joblib's way to open files through the codec."""

    def __init__(self) -> None:
        super().__init__(obj=NNCodecFile, prefix=MAGIC, extension=f".{SUFFIX}")

    def compressor_file(
        self, fileobj: str | BinaryIO, compresslevel: int | None = None
    ) -> NNCodecFile:
        return NNCodecFile(fileobj, "wb", level=compresslevel or DEFAULT_LEVEL)

    def decompressor_file(self, fileobj: str | BinaryIO) -> NNCodecFile:
        return NNCodecFile(fileobj, "rb")


def register() -> None:
    register_compressor(NAME, NNCodecWrapper(), force=True)
