"""Columns of Arrow tables as bytes: what a row's member holds.

Text is its UTF-8, binary what it is. A nested value, such as the ``messages`` of a conversation, is
its JSON in UTF-8. Anything else is an error, as it has no bytes that everybody would expect. Needs
pyarrow; importing this raises MissingPackageError without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from nncodec.errors import PackError
from nncodec.extras import need

need("pyarrow", "data")

import pyarrow as pa  # noqa: E402
from pyarrow import compute, types  # noqa: E402

STEP_BYTES = 1 << 22  # of a column that are Python's objects at once, about

Values = list[bytes | None]


def check_type(kind: Any, what: str, *, key: bool = False) -> None:
    """Raises PackError for a column of a type whose values are no text and no bytes."""
    base = base_type(kind)
    good = types.is_integer(base) if key else is_nested(base)
    if not (good or is_text(base) or is_binary(base) or types.is_null(base)):
        wanted = "text, bytes or integers" if key else "text, bytes or nested values"
        raise PackError(f"{what} is of type {kind}: give a column of {wanted}")


def base_type(kind: Any) -> Any:
    """What is stored, of dictionaries and extensions."""
    if isinstance(kind, pa.BaseExtensionType):
        return base_type(kind.storage_type)
    return base_type(kind.value_type) if types.is_dictionary(kind) else kind


def is_text(kind: Any) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def is_binary(kind: Any) -> bool:
    return bool(
        types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    )


def is_nested(kind: Any) -> bool:
    return bool(types.is_nested(kind))


def find_field(schema: Any, name: str, where: str) -> tuple[str, ...]:
    """The path to a column: its name, or ``field.below`` in structs. Raises PackError."""
    if name in schema.names:
        return (name,)
    first, *below = name.split(".")
    if first in schema.names and below:
        kind = schema.field(first).type
        for part in below:
            if not types.is_struct(kind) or kind.get_field_index(part) < 0:
                break
            kind = kind.field(part).type
        else:
            return (first, *below)
    raise no_column(name, schema.names, where)


def no_column(name: str, names: list[str], where: str) -> PackError:
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return PackError(f"{where} has no column {name!r}: it has {shown or 'none'}")


def field_type(schema: Any, path: tuple[str, ...]) -> Any:
    kind = schema.field(path[0]).type
    for part in path[1:]:
        kind = kind.field(part).type
    return kind


def column_of(batch: Any, path: tuple[str, ...]) -> Any:
    """The array at a path in a record batch; below a null struct it is null."""
    array = batch.column(path[0])
    return compute.struct_field(array, list(path[1:])) if path[1:] else array


def steps(batch: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """A record batch in slices, in each of which the column has a few megabytes, or one row."""
    size = max(column_of(batch, path).nbytes, 1)
    rows = max(batch.num_rows * STEP_BYTES // size, 1)
    for begin in range(0, batch.num_rows, rows):
        yield batch.slice(begin, rows)


def values(array: Any, what: str) -> Values:
    """The bytes of every row, None where it is null. Raises PackError."""
    while isinstance(array, (pa.ExtensionArray, pa.DictionaryArray)):
        is_extension = isinstance(array, pa.ExtensionArray)
        array = array.storage if is_extension else array.dictionary_decode()
    if is_text(array.type) or types.is_binary_view(array.type):
        # Cast to bytes: text that is no valid UTF-8 passes as it is, as everything else does.
        array = array.cast(pa.large_string()) if types.is_string_view(array.type) else array
        array = array.cast(pa.large_binary())
    if types.is_integer(array.type):
        return [None if value is None else b"%d" % value for value in array.to_pylist()]
    found: list[Any] = array.to_pylist()
    if is_nested(array.type):
        return [None if value is None else to_json(value, what) for value in found]
    return found


def to_json(value: Any, what: str) -> bytes:
    """Raises PackError for what JSON cannot say."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise PackError(f"{what}: a nested value is not to be had as JSON: {error}") from error
