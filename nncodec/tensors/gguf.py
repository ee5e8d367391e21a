"""GGUF versions 2 and 3, little-endian: counts, metadata, tensor infos, aligned tensor data.

Source: docs/gguf.md of github.com/ggml-org/ggml; ggml-common.h there for the blocks.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.layout import Cursor, Data, Span, broken, check_disjoint, count_elements, shown

MAGIC = b"GGUF"
HEADER = struct.Struct("<4sIQQ")  # magic, version, tensors, pairs of metadata
VERSIONS = (2, 3)  # version 1 had 32-bit counts
U32, U64, ARRAY = struct.Struct("<I"), struct.Struct("<Q"), struct.Struct("<IQ")
UINT32_VALUE, STRING_VALUE, ARRAY_VALUE = 4, 8, 9
VALUES = {
    kind: struct.Struct("<" + code)
    for kind, code in zip((0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "BbHhIif?Qqd", strict=True)
}
MAX_NESTING = 8  # of arrays in arrays; ggml itself reads none
MIN_PAIR, MIN_INFO = 8 + 4 + 1, 8 + 4 + 4 + 8  # bytes of the shortest ones
MAX_AXES = 4
DEFAULT_ALIGNMENT = 32
TYPES = {
    0: Dtype.F32, 1: Dtype.F16, 30: Dtype.BF16, 28: Dtype.F64,
    24: Dtype.I8, 25: Dtype.I16, 26: Dtype.I32, 27: Dtype.I64,
    2: Dtype.Q4_0, 3: Dtype.Q4_1, 6: Dtype.Q5_0, 7: Dtype.Q5_1, 8: Dtype.Q8_0,
    12: Dtype.Q4_K, 13: Dtype.Q5_K, 14: Dtype.Q6_K,
}  # fmt: skip


@dataclass(frozen=True)
class Info:
    """A tensor of type ``kind`` at bytes ``begin`` to ``end``; ``dims`` begin with the fastest."""

    name: str
    dims: tuple[int, ...]
    kind: int
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """``metadata`` has the values that are text or one number, not the arrays."""

    tensors: list[Info]
    metadata: dict[str, str | int | float | bool]


def read(data: Data) -> list[Span]:
    """Spans of all tensors that are not empty and of a known type; raises ContainerFormatError."""
    return [
        Span(info.name, TYPES[info.kind], info.dims[::-1], info.begin, info.end)
        for info in read_header(data).tensors
        if info.kind in TYPES and info.begin < info.end
    ]


def read_header(data: Data) -> Header:
    """All tensors, also those that are empty or of no known type; raises ContainerFormatError."""
    cursor = Cursor(data, 0, len(data), "GGUF header")
    _, version, tensors, pairs = cursor.fields(HEADER)
    if version not in VERSIONS:
        raise broken(f"GGUF header: version {version} is not one of {VERSIONS}, little-endian")
    _expect(cursor, pairs, MIN_PAIR, "pairs of metadata")
    metadata, alignment = _read_metadata(cursor, pairs)
    _expect(cursor, tensors, MIN_INFO, "tensors")
    infos = [_read_info(cursor) for _ in range(tensors)]
    start = -(-cursor.at // alignment) * alignment
    listed = []
    for name, dims, kind, offset in infos:
        if offset % alignment:
            raise broken(f"{shown(name)}: offset {offset} is no multiple of {alignment}")
        elements = count_elements(dims, 8 * len(data))
        begin, dtype = start + offset, TYPES.get(kind)
        size = min(elements, 1)  # as much as is known of a type that is not; it stays bytes
        if dtype and elements:
            if dims and dims[0] % dtype.block_elements:
                raise broken(f"{shown(name)}: rows of {dims[0]} are not whole {dtype.name} blocks")
            size = dtype.size(elements)
        listed.append(Info(name, dims, kind, begin, begin + size))
    check_disjoint(((t.begin, t.end, t.name) for t in listed if t.begin < t.end), len(data))
    return Header(listed, metadata)


def _expect(cursor: Cursor, count: int, size: int, what: str) -> None:
    if count * size > cursor.left:
        raise broken(f"{cursor.where}: {cursor.left} bytes cannot hold {count} {what}")


def _string(cursor: Cursor) -> str:
    return cursor.text(*cursor.fields(U64))


def _read_metadata(cursor: Cursor, pairs: int) -> tuple[dict[str, str | int | float | bool], int]:
    """The pairs that are no arrays, and the alignment."""
    alignment = DEFAULT_ALIGNMENT
    keys: set[str] = set()
    metadata: dict[str, str | int | float | bool] = {}
    for _ in range(pairs):
        key = _string(cursor)
        if key in keys:
            raise broken(f"GGUF header: the key {shown(key)} is given twice")
        keys.add(key)
        (kind,) = cursor.fields(U32)
        if key != "general.alignment":
            if kind in VALUES:
                (metadata[key],) = cursor.fields(VALUES[kind])
            elif kind == STRING_VALUE:
                metadata[key] = cursor.take(*cursor.fields(U64)).decode(errors="replace")
            else:
                _skip_value(cursor, kind)
            continue
        if kind != UINT32_VALUE:
            raise broken(f"GGUF header: general.alignment has type {kind}, not {UINT32_VALUE}")
        (alignment,) = cursor.fields(U32)
        if alignment == 0 or alignment % 8:
            raise broken(f"GGUF header: general.alignment {alignment} is no multiple of 8")
    return metadata, alignment


def _skip_value(cursor: Cursor, kind: int, nesting: int = 0) -> None:
    if kind in VALUES:
        cursor.skip(VALUES[kind].size)
    elif kind == STRING_VALUE:
        cursor.skip(*cursor.fields(U64))
    elif kind == ARRAY_VALUE and nesting < MAX_NESTING:
        inner, count = cursor.fields(ARRAY)
        if inner in VALUES:
            cursor.skip(count * VALUES[inner].size)
            return
        _expect(cursor, count, U64.size if inner == STRING_VALUE else ARRAY.size, "values")
        for _ in range(count):
            _skip_value(cursor, inner, nesting + 1)
    else:
        raise broken(f"GGUF header: value type {kind} before byte {cursor.at}, nesting {nesting}")


def _read_info(cursor: Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """Name, dims (fastest first), type and offset."""
    name = _string(cursor)
    (axes,) = cursor.fields(U32)
    if axes > MAX_AXES:
        raise broken(f"{shown(name)}: {axes} axes are more than {MAX_AXES}")
    dims = cursor.fields(struct.Struct(f"<{axes}Q"))
    kind, offset = cursor.fields(ARRAY)  # the same two fields as an array's head
    return name, dims, kind, offset
