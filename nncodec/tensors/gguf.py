"""GGUF versions 2 and 3, little-endian: counts, metadata, tensor infos, aligned tensor data.

Source: docs/gguf.md of github.com/ggml-org/ggml; ggml-common.h there for the blocks.
"""

from __future__ import annotations

import struct

from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.layout import Cursor, Span, broken, check_disjoint, count_elements, shown

MAGIC = b"GGUF"
HEADER = struct.Struct("<4sIQQ")  # magic, version, tensors, pairs of metadata
VERSIONS = (2, 3)  # version 1 had 32-bit counts
U32, U64, ARRAY = struct.Struct("<I"), struct.Struct("<Q"), struct.Struct("<IQ")
UINT32_VALUE, STRING_VALUE, ARRAY_VALUE = 4, 8, 9
VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
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


def read(data: memoryview) -> list[Span]:
    """Spans of all tensors that are not empty and of a known type; raises ContainerFormatError."""
    cursor = Cursor(data, 0, len(data), "GGUF header")
    _, version, tensors, pairs = cursor.fields(HEADER)
    if version not in VERSIONS:
        raise broken(f"GGUF header: version {version} is not one of {VERSIONS}, little-endian")
    _expect(cursor, pairs, MIN_PAIR, "pairs of metadata")
    alignment = _read_metadata(cursor, pairs)
    _expect(cursor, tensors, MIN_INFO, "tensors")
    infos = [_read_info(cursor) for _ in range(tensors)]
    start = -(-cursor.at // alignment) * alignment
    spans, ranges = [], []
    for name, dims, kind, offset in infos:
        if offset % alignment:
            raise broken(f"{shown(name)}: offset {offset} is no multiple of {alignment}")
        elements = count_elements(dims, 8 * len(data))
        if not elements:
            continue
        begin, dtype = start + offset, TYPES.get(kind)
        if dtype is None:  # its tensor stays bytes; one is as much as is known of its size
            ranges.append((begin, begin + 1, name))
            continue
        if dims and dims[0] % dtype.block_elements:
            raise broken(f"{shown(name)}: rows of {dims[0]} are not whole {dtype.name} blocks")
        end = begin + dtype.size(elements)
        ranges.append((begin, end, name))
        spans.append(Span(name, dtype, dims[::-1], begin, end))
    check_disjoint(ranges, len(data))
    return spans


def _expect(cursor: Cursor, count: int, size: int, what: str) -> None:
    if count * size > cursor.left:
        raise broken(f"{cursor.where}: {cursor.left} bytes cannot hold {count} {what}")


def _string(cursor: Cursor) -> str:
    return cursor.text(*cursor.fields(U64))


def _read_metadata(cursor: Cursor, pairs: int) -> int:
    """Step over all pairs; returns the alignment."""
    alignment = DEFAULT_ALIGNMENT
    keys: set[str] = set()
    for _ in range(pairs):
        key = _string(cursor)
        if key in keys:
            raise broken(f"GGUF header: the key {shown(key)} is given twice")
        keys.add(key)
        (kind,) = cursor.fields(U32)
        if key != "general.alignment":
            _skip_value(cursor, kind)
            continue
        if kind != UINT32_VALUE:
            raise broken(f"GGUF header: general.alignment has type {kind}, not {UINT32_VALUE}")
        (alignment,) = cursor.fields(U32)
        if alignment == 0 or alignment % 8:
            raise broken(f"GGUF header: general.alignment {alignment} is no multiple of 8")
    return alignment


def _skip_value(cursor: Cursor, kind: int, nesting: int = 0) -> None:
    if kind in VALUE_BYTES:
        cursor.skip(VALUE_BYTES[kind])
    elif kind == STRING_VALUE:
        cursor.skip(*cursor.fields(U64))
    elif kind == ARRAY_VALUE and nesting < MAX_NESTING:
        inner, count = cursor.fields(ARRAY)
        if inner in VALUE_BYTES:
            cursor.skip(count * VALUE_BYTES[inner])
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
