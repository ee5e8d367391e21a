"""TensorFlow Lite models (LiteRT): the buffers of a flatbuffer that hold constant tensors.

Source: schema.fbs, version 3c, in tensorflow/lite/schema of github.com/tensorflow/tensorflow.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.flatbuffer import U32, Flatbuffer, Table
from nncodec.tensors.layout import Data, Span, broken, check_disjoint, count_elements, shown

MAGIC, MAGIC_AT = b"TFL3", 4
MAX_AXES = 64  # far more than any operator takes
I8, U64 = struct.Struct("<b"), struct.Struct("<Q")
SUBGRAPHS, BUFFERS = 2, 4  # fields of Model
TENSORS = 0  # of SubGraph
SHAPE, TYPE, BUFFER, NAME, SPARSITY = 0, 1, 2, 3, 6  # of Tensor
DATA, OFFSET, SIZE = 0, 1, 2  # of Buffer
TYPES = {
    0: Dtype.F32, 1: Dtype.F16, 2: Dtype.I32, 3: Dtype.U8, 4: Dtype.I64, 6: Dtype.BOOL,
    7: Dtype.I16, 8: Dtype.C64, 9: Dtype.I8, 10: Dtype.F64, 12: Dtype.U64, 15: Dtype.U32,
    16: Dtype.U16, 17: Dtype.I4, 18: Dtype.BF16,
}  # fmt: skip


def looks_like(data: Data) -> bool:
    return bytes(data[MAGIC_AT : MAGIC_AT + len(MAGIC)]) == MAGIC


def read(data: Data) -> list[Span]:
    """Spans of the constant tensors of a known type; raises ContainerFormatError.

    A buffer that several tensors use is the first one's. Names are those of the tensors, with
    ``@`` and the buffer's number behind a name that came before: the schema lets them repeat.
    """
    flatbuffer = Flatbuffer(data, "TFLite flatbuffer")
    model = flatbuffer.root()
    buffers = [_extent(flatbuffer.table(at)) for at in model.tables(BUFFERS)]
    check_disjoint(
        ((begin, end, f"buffer {i}") for i, (begin, end) in enumerate(buffers)), len(data)
    )
    spans: list[Span] = []
    used: set[int] = set()
    names: set[str] = set()
    for tensor in _tensors(flatbuffer, model):
        number = tensor.scalar(BUFFER, U32)
        if number >= len(buffers):
            raise broken(f"TFLite flatbuffer: buffer {number} is not one of {len(buffers)}")
        begin, end = buffers[number]
        dtype = TYPES.get(tensor.scalar(TYPE, I8))
        if begin == end or number in used or dtype is None:
            continue
        used.add(number)
        at = tensor.follow(NAME)
        name = "" if at is None else flatbuffer.text(at)
        if name in names:
            name = f"{name}@{number}"
        names.add(name)
        spans.append(_span(tensor, name, dtype, begin, end))
    return spans


def _tensors(flatbuffer: Flatbuffer, model: Table) -> Iterator[Table]:
    for subgraph in model.tables(SUBGRAPHS):
        for tensor in flatbuffer.table(subgraph).tables(TENSORS):
            yield flatbuffer.table(tensor)


def _extent(buffer: Table) -> tuple[int, int]:
    """Begin and end of a buffer's bytes, in the flatbuffer or behind it; (0, 0) if it has none."""
    at = buffer.follow(DATA)
    if at is not None:
        begin, size = buffer.buffer.vector(at, 1)
    else:
        begin, size = buffer.scalar(OFFSET, U64), buffer.scalar(SIZE, U64)
    return (begin, begin + size) if size else (0, 0)


def _span(tensor: Table, name: str, dtype: Dtype, begin: int, end: int) -> Span:
    flatbuffer, size = tensor.buffer, end - begin
    if tensor.field(SPARSITY) is not None:  # only some of its elements are there
        count = size // dtype.block_bytes * dtype.block_elements
        return Span(name, dtype, (count,), begin, begin + dtype.size(count))
    at = tensor.follow(SHAPE)
    shape = () if at is None else flatbuffer.integers(at, MAX_AXES)
    if min(shape, default=1) < 1:
        raise broken(f"{shown(name)}: a shape of {shape} cannot have {size} bytes")
    elements = count_elements(shape, 8 * len(flatbuffer.data))
    if dtype.size(elements) != size:
        raise broken(f"{shown(name)}: {elements} x {dtype.name} are not {size} bytes")
    return Span(name, dtype, shape, begin, end)
