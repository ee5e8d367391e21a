"""NumPy's npy files, versions 1 to 3, and the stored members of npz archives.

Source: NEP 1 and numpy.lib.format. The header is a Python literal; what numpy writes is
matched, nothing is evaluated. Big-endian, structured and object arrays stay bytes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from nncodec.errors import ContainerFormatError
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.layout import Cursor, Data, Span, broken, count_elements, shown
from nncodec.tensors.zip_members import Member

MAGIC = b"\x93NUMPY"
SUFFIX = ".npy"
LENGTHS = {1: struct.Struct("<H"), 2: struct.Struct("<I"), 3: struct.Struct("<I")}
MAX_HEADER = 10_000  # numpy's own limit for files it does not trust
MAX_DIGITS = 19
HEADER = re.compile(  # every run of spaces has one reading, so no match takes long
    r"\s*\{\s*'descr'\s*:\s*(?:'([^']*)'|\[.*\])\s*,"
    r"\s*'fortran_order'\s*:\s*(True|False)\s*,"
    r"\s*'shape'\s*:\s*\(([\d\s,]*)\)\s*(?:,\s*)?\}\s*",
    re.DOTALL | re.ASCII,
)
DESCRS = {
    "<f8": Dtype.F64, "<f4": Dtype.F32, "<f2": Dtype.F16, "|b1": Dtype.BOOL,
    "<c8": Dtype.C64,
    "|i1": Dtype.I8, "|u1": Dtype.U8, "<i2": Dtype.I16, "<u2": Dtype.U16,
    "<i4": Dtype.I32, "<u4": Dtype.U32, "<i8": Dtype.I64, "<u8": Dtype.U64,
}  # fmt: skip


def read(data: Data) -> list[Span]:
    """The one array of an npy file, called ``array``, or none; raises ContainerFormatError."""
    return _read_array(data, 0, len(data), "array")


def read_npz(data: Data, members: Sequence[Member]) -> list[Span]:
    """Arrays of the stored members, called as numpy.load calls them; compressed ones stay bytes.

    Raises ContainerFormatError if one is broken or the archive has none at all.
    """
    return [
        span
        for m in array_members(members)
        for span in _read_array(data, m.begin, m.end, m.name.removesuffix(SUFFIX))
    ]


def array_members(members: Sequence[Member]) -> list[Member]:
    """The stored members of an npz; raises ContainerFormatError if it has no arrays at all."""
    arrays = [m for m in members if m.name.endswith(SUFFIX)]
    if not arrays:
        raise ContainerFormatError(
            f"a zip without {SUFFIX} or data.pkl members holds no tensors: convert to safetensors"
        )
    return [m for m in arrays if m.stored]


@dataclass(frozen=True)
class Array:
    """What an npy header says; ``descr`` is "" if structured, elements begin at ``start``."""

    descr: str
    fortran: bool
    shape: tuple[int, ...]
    start: int


def _read_array(data: Data, begin: int, end: int, name: str) -> list[Span]:
    array = read_header(data, begin, end, name)
    dtype, shape = DESCRS.get(array.descr), array.shape
    if dtype is None:
        return []
    cursor = Cursor(data, array.start, end, f"npy array {shown(name)}")
    elements = count_elements(shape, 8 * len(data))
    start = cursor.skip(dtype.size(elements))
    if not elements:
        return []
    return [Span(name, dtype, shape[::-1] if array.fortran else shape, start, cursor.at)]


def read_header(data: Data, begin: int, end: int, name: str) -> Array:
    """The header of an npy file at bytes ``begin`` to ``end``; raises ContainerFormatError."""
    where = f"npy header of {shown(name)}"
    cursor = Cursor(data, begin, end, where)
    if cursor.take(len(MAGIC)) != MAGIC:
        raise broken(f"{where}: it does not start with {MAGIC!r}")
    major, minor = cursor.take(2)
    if major not in LENGTHS or minor:
        raise broken(f"{where}: version {major}.{minor} is unknown")
    (size,) = cursor.fields(LENGTHS[major])
    if size > MAX_HEADER:
        raise broken(f"{where}: {size} bytes are more than {MAX_HEADER}")
    return Array(*_parse(cursor.take(size).decode("latin-1"), where), cursor.at)


def _parse(text: str, where: str) -> tuple[str, bool, tuple[int, ...]]:
    """``{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }``; no descr but '' for others.

    Raises ContainerFormatError where keys come in another order: numpy always sorts them.
    """
    match = HEADER.fullmatch(text)
    if match is None:
        raise broken(f"{where}: {shown(text)} is not what numpy writes")
    descr, fortran, numbers = match.groups()
    sizes = [number.strip() for number in numbers.split(",")]
    if sizes[-1] == "":  # behind the last comma, and () has none
        sizes.pop()
    elif len(sizes) == 1:
        raise broken(f"{where}: the shape ({numbers}) is no tuple")
    if not all(n.isdigit() and len(n) <= MAX_DIGITS for n in sizes):
        raise broken(f"{where}: the shape {shown(numbers)} is not one of numbers")
    return descr or "", fortran == "True", tuple(map(int, sizes))
