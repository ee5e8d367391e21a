"""Every tensor of a container by its own name and in its own shape, for those who ask for one.

``tensors.spans`` finds what is worth coding as numbers; this lists what can be had, so tensors too
that are empty, of other dtypes, strided, or on a storage that they share. The same readers and
checks of headers. Names and metadata are the container's own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from nncodec.errors import ContainerFormatError
from nncodec.tensors import (
    ggml_legacy,
    gguf,
    numpy_files,
    safetensors,
    tflite,
    torch_zip,
    zip_members,
)
from nncodec.tensors.layout import Cursor, Data, broken, count_elements, shown
from nncodec.tensors.spans import recognise
from nncodec.tensors.torch_objects import View, paths
from nncodec.tensors.torch_pickle import read_objects
from nncodec.tensors.zip_members import Member

PLAIN_DESCR = re.compile(r"[<>|=][biufc](\d{1,2})")  # what numpy reads besides DESCRS


@dataclass(frozen=True)
class Entry:
    """A tensor: its elements lie in bytes ``begin`` to ``end`` of the file, as far as is known.

    ``dtype`` is as safetensors calls it (``BF16``), for blocks as ggml does (``Q4_0``), and for
    what neither knows as the container does. ``strides`` count elements; None: one row after the
    other, the last axis contiguous.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int
    strides: tuple[int, ...] | None = None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Index:
    """``container`` is safetensors, GGUF, npy, npz, torch, rwkv.cpp or TensorFlow Lite."""

    container: str
    entries: dict[str, Entry]
    metadata: dict[str, str] = field(default_factory=dict)


def read_index(data: Data) -> Index:
    """What ``data`` holds. Raises ContainerFormatError if it is no container, or a broken one."""
    container = recognise(data)
    if container == "safetensors":
        header = safetensors.read_header(data)
        entries = (Entry(name, *about) for name, about in header.tensors.items())
        return Index(container, _by_name(entries), header.metadata)
    if container == "GGUF":
        return _gguf(data)
    if container in ("rwkv.cpp", "TensorFlow Lite"):
        spans = (ggml_legacy if container == "rwkv.cpp" else tflite).read(data)
        entries = (Entry(s.name, s.dtype.name, s.shape, s.begin, s.end) for s in spans)
        return Index(container, _by_name(entries))
    if container == "npy":
        return Index(container, _by_name([_array(data, 0, len(data), "array")]))
    members = zip_members.read_members(data)
    if torch_zip.is_torch(members):
        return Index("torch", _by_name(_views(data, members)))
    arrays = numpy_files.array_members(members)
    names = (m.name.removesuffix(numpy_files.SUFFIX) for m in arrays)
    named = zip(arrays, names, strict=True)
    return Index("npz", _by_name(_array(data, m.begin, m.end, name) for m, name in named))


def _by_name(entries: Iterable[Entry]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for entry in entries:
        if entry.name in found:
            raise broken(f"two tensors are called {shown(entry.name)}")
        found[entry.name] = entry
    return found


def _gguf(data: Data) -> Index:
    header = gguf.read_header(data)
    entries = (
        Entry(
            info.name,
            gguf.TYPES[info.kind].name if info.kind in gguf.TYPES else f"ggml type {info.kind}",
            info.dims[::-1],
            info.begin,
            info.end if info.kind in gguf.TYPES else info.begin,
        )
        for info in header.tensors
    )
    metadata = {key: str(value) for key, value in header.metadata.items()}
    return Index("GGUF", _by_name(entries), metadata)


def _array(data: Data, begin: int, end: int, name: str) -> Entry:
    array = numpy_files.read_header(data, begin, end, name)
    shape, known = array.shape, numpy_files.DESCRS.get(array.descr)
    plain = PLAIN_DESCR.fullmatch(array.descr)
    size = known.block_bytes if known else int(plain[1]) if plain else 0
    cursor = Cursor(data, array.start, end, f"npy array {shown(name)}")
    cursor.skip(size * count_elements(shape, 8 * len(data)))
    dtype = known.name if known else array.descr or "structured"
    strides = _dense_strides(shape) if array.fortran else None
    return Entry(name, dtype, shape, array.start, cursor.at, strides)


def _dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of Fortran's order: the first axis is the contiguous one."""
    return tuple(math.prod(shape[:axis]) for axis in range(len(shape)))


def _views(data: Data, members: list[Member]) -> Iterator[Entry]:
    """Tensors of a torch zip by their paths; one on several paths is there several times."""
    storages, _, root = read_objects(torch_zip.pickle_of(data, members))
    homes = torch_zip.storage_members(storages, members)
    found = [("tensor", root)] if isinstance(root, View) else paths(root)
    names: set[str] = set()
    for name, view in found:
        member = homes[view.storage.key]
        if not member.stored or name in names:
            continue
        names.add(name)
        elements = count_elements(view.shape, 8 * len(data))
        if view.dtype is None:
            kind = view.storage.kind.removeprefix("torch.")
            yield Entry(name, kind, view.shape, member.begin, member.begin)
            continue
        steps = zip(view.shape, view.stride, strict=True)
        reach = 1 + sum((length - 1) * stride for length, stride in steps) if elements else 0
        begin = member.begin + view.dtype.size(view.offset)
        end = begin + view.dtype.size(reach)
        if elements and end > member.end:
            raise broken(f"torch zip: {shown(name)} reaches beyond {shown(member.name)}")
        sizes = zip(view.shape, view.stride, strict=True)
        strides = None if _in_rows(view) else tuple(s if n > 1 else 0 for n, s in sizes)
        yield Entry(name, view.dtype.name, view.shape, begin, end, strides)


def _in_rows(view: View) -> bool:
    elements = 1
    for length, stride in zip(reversed(view.shape), reversed(view.stride), strict=True):
        if length > 1 and stride != elements:
            return False
        elements *= length
    return True


__all__ = ["ContainerFormatError", "Entry", "Index", "read_index"]
