"""Safetensors: u64 length of a JSON header, the header, the tensors.

Source: the format section of github.com/huggingface/safetensors (README.md) and the limits of its
reader. More lenient than that reader in two things: bytes that belong to no tensor are allowed,
and so are several names for one range.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import NoReturn, TypeGuard

from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.layout import Cursor, Data, Span, broken, check_disjoint, count_elements, shown

MAX_HEADER = 100_000_000  # the limit of the safetensors library
MAX_DIGITS = 19  # of a number below 2^63; longer ones cost quadratic time to convert
LENGTH = struct.Struct("<Q")
FIELDS = ("dtype", "shape", "data_offsets")
DTYPES = {
    name: Dtype[name]
    for name in (
        *("F64", "F32", "F16", "BF16", "C64", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"),
        *("F8_E8M0", "F6_E2M3", "F6_E3M2", "F4", "BOOL"),
        *("I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64"),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What a file says of its tensors: by name (dtype, shape, first byte, end), in its order."""

    tensors: dict[str, tuple[str, tuple[int, ...], int, int]]
    metadata: dict[str, str]


def looks_like(data: Data) -> bool:
    """There is no magic; but the header starts with a brace, and its length fits."""
    if len(data) < LENGTH.size + 2 or data[LENGTH.size] != ord("{"):
        return False
    (size,) = LENGTH.unpack(data[: LENGTH.size])
    return bool(size <= MAX_HEADER)


def read(data: Data) -> list[Span]:
    """Spans of all tensors that are not empty and of a known dtype; raises ContainerFormatError.

    Of tied tensors, which have one range, the first.
    """
    spans: dict[tuple[int, int], Span] = {}
    for name, (dtype, shape, begin, end) in read_header(data).tensors.items():
        if dtype in DTYPES and begin < end:
            spans.setdefault((begin, end), Span(name, DTYPES[dtype], shape, begin, end))
    return list(spans.values())


def read_header(data: Data) -> Header:
    """All tensors, also those that are empty or of no known dtype; raises ContainerFormatError."""
    cursor = Cursor(data, 0, len(data), "safetensors header")
    (size,) = cursor.fields(LENGTH)
    if size > MAX_HEADER:
        raise broken(f"safetensors header: {size} bytes are more than {MAX_HEADER}")
    header = _parse(cursor.text(size))
    start = cursor.at
    notes = header.pop("__metadata__", None)
    tensors = {}
    ranges = {}  # tied tensors may have one range, which counts once
    for name, entry in header.items():
        dtype, shape, (begin, end) = _entry(name, entry)
        elements = count_elements(shape, 8 * len(data))
        known = DTYPES.get(dtype)  # a tensor of any other dtype stays bytes
        if known and known.size(elements) != end - begin:
            raise broken(f"{shown(name)}: {elements} x {dtype} are not {end - begin} bytes")
        place = start + begin, start + end
        ranges[place] = name
        tensors[name] = dtype, tuple(shape), *place
    check_disjoint(((*place, name) for place, name in ranges.items()), len(data))
    pairs = notes.items() if isinstance(notes, dict) else ()
    return Header(tensors, {k: v for k, v in pairs if isinstance(v, str)})


def _parse(text: str) -> dict[str, object]:
    try:
        header = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except RecursionError:
        raise broken("safetensors header: JSON nested too deeply") from None
    except json.JSONDecodeError as error:
        raise broken(f"safetensors header: {error}") from None
    if not isinstance(header, dict):
        raise broken("safetensors header: not a JSON object")
    return header


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    built = dict(pairs)
    if len(built) < len(pairs):
        raise broken("safetensors header: a key is given twice")
    return built


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS or digits.startswith("-"):
        _no_number(digits)
    return int(digits)


def _no_number(digits: str) -> NoReturn:
    raise broken(f"safetensors header: {shown(digits)} is no size or offset")


def _entry(name: str, entry: object) -> tuple[str, list[int], list[int]]:
    if not isinstance(entry, dict):
        raise broken(f"safetensors header: {shown(name)} is not described by an object")
    dtype, shape, offsets = (entry.get(field) for field in FIELDS)
    if not isinstance(dtype, str) or not _integers(shape) or not _integers(offsets):
        raise broken(f"safetensors header: {shown(name)} lacks one of {', '.join(FIELDS)}")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise broken(f"safetensors header: {shown(name)} has no begin and end in its offsets")
    return dtype, shape, offsets


def _integers(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(n) is int for n in value)  # True is no size
