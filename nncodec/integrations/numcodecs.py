"""A numcodecs codec, so also a compressor of zarr's format 2. Found by its entry point."""

from __future__ import annotations

from typing import Any

from numcodecs.abc import Codec
from numcodecs.compat import ensure_contiguous_ndarray, ndarray_copy
from numcodecs.registry import register_codec

from nncodec.api import compress, decompress
from nncodec.integrations.names import NAME
from nncodec.levels import DEFAULT_LEVEL, check_level


class NNCodec(Codec):  # type: ignore[misc]  # numcodecs has no types
    """Chunks as archives, each on its own. ``level`` is 1 to 9.

    The level is all the configuration there is: an archive says what else decoding needs. Raises
    NNCodecError for a level that does not exist.
    """

    codec_id = NAME

    def __init__(self, level: int = DEFAULT_LEVEL) -> None:
        check_level(level)
        self.level = level

    def encode(self, buf: Any) -> bytes:
        """The archive of any contiguous buffer, in the order of its memory."""
        return compress(ensure_contiguous_ndarray(buf).view("u1").data, self.level)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The bytes, in ``out`` if it is given, which must have their size.

        Raises what ``nncodec.decompress`` does; more than ``out`` holds is not even decoded.
        """
        archive = ensure_contiguous_ndarray(buf).view("u1").data
        if out is None:
            return decompress(archive)
        room = ensure_contiguous_ndarray(out)
        data = decompress(archive, max_output_size=room.nbytes)
        if len(data) != room.nbytes:
            raise ValueError(f"{len(data)} bytes were decoded for an output of {room.nbytes}")
        return ndarray_copy(data, out)


def register() -> None:
    register_codec(NNCodec)
