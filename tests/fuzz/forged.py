"""Archives whose checksums are right, whatever else is wrong: past them, to what they guard."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from unittest.mock import patch

import numpy as np
from archive_fields import blocks_of, fields_of
from fields import Fields, attempt

import nncodec
from nncodec import api
from nncodec._core import xxh64
from nncodec.container import MAGIC, NUMERIC_VERSION, VERSION, Kind, header_checksum
from nncodec.container import varint as packed
from nncodec.engine.native import NativeContexts
from nncodec.errors import ModelNotFoundError, NNCodecError
from nncodec.lanes import Coder
from nncodec.tensors.base import Base
from nncodec.tensors.items import CODES

MOST_OUTPUT = 1 << 20
BASE = Base(np.frombuffer(bytes(range(256)) * 16, np.uint8))
CODES_OF_ITEMS = [*CODES, 1, 255]
WIDE = (1 << 7, 1 << 14, 1 << 24, (1 << 24) + 1, (1 << 31) - 1, 1 << 32, (1 << 63) - 1)


@dataclass
class Forger:
    """Writes frames field by field; now and then a number is not what it should be."""

    fields: Fields
    models: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        self.lie = self.fields.byte()  # which varint is replaced; most archives have fewer

    def varint(self, value: int) -> bytes:
        self.lie -= 1
        if self.lie == 0:
            way = self.fields.byte()
            value = WIDE[way % len(WIDE)] if way < 200 else self.fields.number(7)
        return packed(value)

    def archive(self) -> bytes:
        return b"".join(self.frame() for _ in range(1 + self.fields.byte() % 2))

    def frame(self) -> bytes:
        f = self.fields
        flags = f.byte()
        named = self.models[flags >> 6 & 1 :][:1] if flags & 1 else ()
        flags = flags & 0x1E | len(named)
        if f.byte() < 200:
            flags &= ~0x1C  # frames that stand alone, in no environment
        head = MAGIC + bytes((VERSION | NUMERIC_VERSION << 4, flags)) + b"".join(named)
        if flags & 2:
            head += BASE.id
        if flags & 16:
            environment = f.bytes(f.byte() % 64)
            head += self.varint(len(environment)) + environment
        count, size = 1 + f.byte() % 3, 1 + f.below(1500)
        last = 1 + f.below(size)
        head += self.varint(size * (count - 1) + last) + self.varint(size if count > 1 else last)
        payloads = []
        for i in range(count):
            row, payload = self.block(size if i < count - 1 else last)
            head += row
            payloads.append(payload)
        return head + header_checksum(head) + b"".join(payloads)

    def block(self, size: int) -> tuple[bytes, bytes]:
        f = self.fields
        kind = f.byte() % 10
        transform = f.byte() % 5 if f.byte() < 80 else 0
        payload = f.bytes(f.below(min(size, 300)) if kind > 1 else (size, 1)[kind])
        payload += bytes((size, 1)[kind] - len(payload)) if kind < 2 else b""
        checksum = xxh64(payload * size if kind == Kind.CONSTANT else payload)
        row = bytes((kind | transform << 4,)) + self.varint(len(payload))
        row += checksum.to_bytes(8, "little")
        if kind in (Kind.CODED, Kind.MIXED, Kind.TOKENS):
            row += self.varint(1 + f.byte() % 9) + self.varint(f.below(min(size, 200)))
        if kind in (Kind.MIXED, Kind.CONTEXTS, Kind.TOKENS):
            row += self.varint(0 if kind == Kind.TOKENS and f.byte() < 250 else 10)
        if transform:
            row += self.varint(size if transform == 1 else 1 + f.below(size))
        if kind in (Kind.TENSORS, Kind.FIELDS, Kind.DELTA):
            row += self.items(size, kind)
        return row, payload

    def items(self, size: int, kind: int) -> bytes:
        f = self.fields
        out, count, left = b"", 0, size
        while left > 0 and count < 4:
            code = f.pick(CODES_OF_ITEMS)
            dtype = CODES.get(code)
            width = dtype.block_bytes if dtype else 1
            if count == 3 or left < width or f.byte() & 1:
                code, width = 0, 1
            elements = left // width if f.byte() & 1 else max(1, left // width // 2)
            rows = max(1, min(f.byte(), elements))
            cols = elements // rows
            if width == 1 and count == 3:
                rows, cols = 1, left
            out += bytes((code, f.byte())) + self.varint(rows) + self.varint(cols)
            if kind == Kind.DELTA:
                out += bytes((f.byte() % 4,)) + self.varint(f.below(3000))
            left -= rows * cols * width
            count += 1
        return self.varint(count) + out


def repaired(archive: bytes, edited: bytes, header: int) -> bytes:
    """``edited``, which was ``archive`` with its first frame's header of so many bytes, with the
    right checksum where the header's end should be."""
    end = header - 4 + len(edited) - len(archive)
    if end < 6:
        return edited
    return edited[:end] + header_checksum(edited[:end]) + edited[end + 4 :]


@lru_cache
def header_size(archive: bytes) -> int:
    return fields_of(archive)[0].header_end


def decode(
    archive: bytes, coders: dict[bytes, Coder] | None = None, most: int | None = MOST_OUTPUT
) -> bytes:
    def find(model_id: bytes | None) -> Coder:
        if model_id is None:
            return NativeContexts()
        if model_id not in (coders or {}):
            raise ModelNotFoundError(f"no model {model_id.hex()}")
        return (coders or {})[model_id]

    with patch.object(api, "load_coder", lambda model_id, *_: find(model_id)):
        return nncodec.decompress(archive, max_output_size=most, threads=1, base=BASE.data)


def check(archive: bytes, coders: dict[bytes, Coder] | None = None) -> bytes | None:
    """An error or a decode: what comes out has the length and the checksums that it was to have."""
    data = attempt(lambda: decode(archive, coders))
    info = attempt(lambda: nncodec.info(archive))
    if data is None:
        return None
    assert info is not None
    assert info.uncompressed_size == len(data)
    at = 0
    for size, checksum in blocks_of(archive):
        assert xxh64(data[at : at + size]) == checksum
        at += size
    assert at == len(data)
    return data


__all__ = ["BASE", "Forger", "NNCodecError", "check", "decode", "header_size", "repaired"]
