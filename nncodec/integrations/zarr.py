"""A codec of zarr's format 3, from bytes to bytes.

In metadata it is ``{"name": "nncodec", "configuration": {"level": 6}}``. Found by its entry point.
Chunks are coded in threads; with ``ShardingCodec`` it codes inner ones.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zarr.abc.codec import BytesBytesCodec
from zarr.core.common import JSON, parse_named_configuration
from zarr.registry import register_codec

from nncodec.api import compress, decompress
from nncodec.errors import NNCodecError
from nncodec.integrations.names import NAME
from nncodec.levels import DEFAULT_LEVEL, check_level

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer


@dataclass(frozen=True)
class NNCodec(BytesBytesCodec):
    """Chunks as archives, each on its own. ``level`` is 1 to 9.

    Raises NNCodecError for a level that does not exist, and when chunks are read what
    ``nncodec.decompress`` does.
    """

    is_fixed_size = False

    level: int = DEFAULT_LEVEL

    def __post_init__(self) -> None:
        check_level(self.level)

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> NNCodec:
        _, settings = parse_named_configuration(data, NAME, require_configuration=False)
        settings = settings or {}
        if settings.keys() - {"level"}:
            raise NNCodecError(f"nncodec's configuration is a level, not {sorted(settings)}")
        level = settings.get("level", DEFAULT_LEVEL)
        return cls(level)  # type: ignore[arg-type]  # checked when it is made

    def to_dict(self) -> dict[str, JSON]:
        return {"name": NAME, "configuration": {"level": self.level}}

    def compute_encoded_size(self, _input_byte_length: int, _chunk_spec: ArraySpec) -> int:
        """zarr asks only codecs of a fixed size; as zarr's own compressors have it."""
        raise NotImplementedError("the size of an archive depends on the bytes")

    def _encode(self, chunk: Buffer, spec: ArraySpec) -> Buffer:
        data = compress(chunk.to_bytes(), self.level)
        return spec.prototype.buffer.from_bytes(data)

    def _decode(self, chunk: Buffer, spec: ArraySpec) -> Buffer:
        return spec.prototype.buffer.from_bytes(decompress(chunk.to_bytes()))

    async def _encode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode, chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._decode, chunk_data, chunk_spec)


def register() -> None:
    register_codec(NAME, NNCodec)
