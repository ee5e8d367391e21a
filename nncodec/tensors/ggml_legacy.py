"""rwkv.cpp's container, magic 'ggmf', versions 100 and 101: header, then tensors to the end.

Source: docs/FILE_FORMAT.md and rwkv_file_format.inc of github.com/RWKV/rwkv.cpp. llama.cpp's old
files of the same magic have version 1 and another header; they are not read.
"""

from __future__ import annotations

import struct

from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.layout import Cursor, Data, Span, broken, count_elements, shown

MAGIC = b"fmgg"  # 0x67676d66, little-endian
HEADER = struct.Struct("<6I")  # magic, version, vocabulary, width, layers, data type
TENSOR = struct.Struct("<3I")  # axes, bytes of the name, data type
PLAIN = {0: Dtype.F32, 1: Dtype.F16}
BLOCKS = {2: Dtype.Q4_0, 3: Dtype.Q4_1, 7: Dtype.Q5_0, 8: Dtype.Q5_1, 9: Dtype.Q8_0}
TYPES = {100: PLAIN, 101: PLAIN | BLOCKS}  # the blocks of version 100 were other ones
MAX_AXES = 4


def read(data: Data) -> list[Span]:
    """Spans of all tensors that are not empty; raises ContainerFormatError."""
    cursor = Cursor(data, 0, len(data), "rwkv.cpp file")
    _, version, *_ = cursor.fields(HEADER)
    types = TYPES.get(version)
    if types is None:
        raise broken(f"rwkv.cpp file: version {version} is not one of {tuple(TYPES)}")
    spans = []
    while cursor.left:
        axes, name_bytes, kind = cursor.fields(TENSOR)
        if not 1 <= axes <= MAX_AXES:
            raise broken(f"rwkv.cpp file: a tensor of {axes} axes before byte {cursor.at}")
        dims = cursor.fields(struct.Struct(f"<{axes}I"))  # fastest first
        name = cursor.text(name_bytes)
        dtype = types.get(kind)
        if dtype is None:  # its size is unknown, so what follows cannot be found
            raise broken(f"{shown(name)}: data type {kind} is none of version {version}")
        if dims[0] % dtype.block_elements:
            raise broken(f"{shown(name)}: rows of {dims[0]} are not whole {dtype.name} blocks")
        elements = count_elements(dims, 8 * len(data))
        begin = cursor.skip(dtype.size(elements))
        if elements:
            spans.append(Span(name, dtype, dims[::-1], begin, cursor.at))
    return spans
