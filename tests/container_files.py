"""Files of tensors written by hand: GGUF, rwkv.cpp's, safetensors of any text, torch, TFLite."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

Tensor = tuple[str, int, Sequence[int], bytes]  # name, type code, dims (fastest first), data


def string(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def pair(key: str, kind: int, value: bytes) -> bytes:
    return string(key) + struct.pack("<I", kind) + value


def array(kind: int, values: Sequence[bytes]) -> bytes:
    return struct.pack("<IQ", kind, len(values)) + b"".join(values)


METADATA = [
    pair("u8", 0, b"\1"),
    pair("i8", 1, b"\1"),
    pair("u16", 2, bytes(2)),
    pair("i16", 3, bytes(2)),
    pair("u32", 4, bytes(4)),
    pair("i32", 5, bytes(4)),
    pair("f32", 6, bytes(4)),
    pair("bool", 7, b"\1"),
    pair("text", 8, string("a name")),
    pair("u64", 10, bytes(8)),
    pair("i64", 11, bytes(8)),
    pair("f64", 12, bytes(8)),
    pair("numbers", 9, array(2, [bytes(2)] * 5)),
    pair("tokens", 9, array(8, [string("ab"), string(""), string("\u00e4")])),
    pair("nested", 9, array(9, [array(0, [b"\1"]), array(8, [string("x")]), array(9, [])])),
]


def gguf(
    tensors: Iterable[Tensor],
    metadata: Sequence[bytes] = (),
    alignment: int | None = None,
    version: int = 3,
    offsets: Mapping[str, int] | None = None,
) -> bytes:
    """Data padded to the alignment; ``offsets`` overrides some of what the infos say."""
    metadata = list(metadata)
    if alignment is not None:
        metadata.append(pair("general.alignment", 4, struct.pack("<I", alignment)))
    align = alignment or 32
    infos, body = [], b""
    for name, kind, dims, data in tensors:
        offset = (offsets or {}).get(name, len(body))
        infos.append(
            string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)
        )
        body += data + bytes(-len(data) % align)
    head = struct.pack("<4sIQQ", b"GGUF", version, len(infos), len(metadata))
    head += b"".join(metadata) + b"".join(infos)
    return head + bytes(-len(head) % align) + body


def ggmf(tensors: Iterable[Tensor], version: int = 101) -> bytes:
    out = struct.pack("<6I", 0x67676D66, version, 256, 64, 12, 7)
    for name, kind, dims, data in tensors:
        out += struct.pack("<3I", len(dims), len(name.encode()), kind)
        out += struct.pack(f"<{len(dims)}I", *dims) + name.encode() + data
    return out


def safetensors_file(header: object, data: bytes = b"") -> bytes:
    """``header`` is bytes as they are, or anything that json writes."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def entry(dtype: object, shape: object, begin: object, end: object) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def zip_of(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return file.getvalue()


def torch_zip(pickle: bytes, storages: Mapping[str, bytes], **members: bytes) -> bytes:
    data = {f"archive/data/{key}": raw for key, raw in storages.items()}
    others = {f"archive/{name}": raw for name, raw in members.items()}
    return zip_of({"archive/data.pkl": pickle, **data, **others})


class Flatbuffer:
    """Writes tables front to back; what they refer to follows them. Nothing is aligned."""

    def __init__(self) -> None:
        self.data = bytearray()

    def table(self, fields: Mapping[int, bytes | Callable[[], int]]) -> int:
        """Fields by number: bytes lie in the table, a function writes what is referred to."""
        slots, size = [0] * (max(fields, default=-1) + 1), 4
        for number, value in fields.items():
            slots[number] = size
            size += len(value) if isinstance(value, bytes) else 4
        head = struct.pack(f"<HH{len(slots)}H", 4 + 2 * len(slots), size, *slots)
        at = len(self.data) + len(head)
        self.data += head + struct.pack("<i", len(head)) + bytes(size - 4)
        for number, value in fields.items():
            place = at + slots[number]
            if isinstance(value, bytes):
                self.data[place : place + len(value)] = value
            else:
                self.refer(place, value())
        return at

    def refer(self, place: int, target: int) -> None:
        struct.pack_into("<I", self.data, place, target - place)

    def vector(self, length: int, elements: bytes) -> int:
        at = len(self.data)
        self.data += struct.pack("<I", length) + elements
        return at

    def tables(self, members: Sequence[Callable[[], int]]) -> int:
        at = self.vector(len(members), bytes(4 * len(members)))
        for i, member in enumerate(members):
            self.refer(at + 4 + 4 * i, member())
        return at


class LiteTensor(NamedTuple):
    """A tensor of TensorFlow Lite, by the numbers of the schema."""

    name: str | bytes
    kind: int
    shape: Sequence[int]
    buffer: int
    sparse: bool = False


def tflite(
    subgraphs: Sequence[Sequence[LiteTensor]],
    buffers: Sequence[bytes | None],
    outside: Mapping[int, bytes] | None = None,
) -> bytes:
    """A model; None is a buffer without data, and those of ``outside`` lie behind all else."""
    out = Flatbuffer()
    out.data += b"\0\0\0\0TFL3"
    places = {}

    def raw(text: str | bytes) -> bytes:
        return text.encode() if isinstance(text, str) else text

    def tensor(t: LiteTensor) -> int:
        fields: dict[int, bytes | Callable[[], int]] = {
            0: lambda: out.vector(len(t.shape), struct.pack(f"<{len(t.shape)}i", *t.shape)),
            1: struct.pack("<b", t.kind),
            2: struct.pack("<I", t.buffer),
            3: lambda: out.vector(len(raw(t.name)), raw(t.name) + b"\0"),
        }
        if t.sparse:
            fields[6] = lambda: out.table({})
        return out.table(fields)

    def subgraph(tensors: Sequence[LiteTensor]) -> int:
        members = [lambda t=t: tensor(t) for t in tensors]
        return out.table({0: lambda: out.tables(members)})

    def buffer(number: int, data: bytes | None) -> int:
        if number in (outside or {}):
            at = out.table({1: bytes(8), 2: bytes(8)})
            places[number] = at + 4
            return at
        return out.table({} if data is None else {0: lambda: out.vector(len(data), data)})

    graphs = [lambda g=g: subgraph(g) for g in subgraphs]
    rows = [lambda i=i, b=b: buffer(i, b) for i, b in enumerate(buffers)]
    root = out.table({2: lambda: out.tables(graphs), 4: lambda: out.tables(rows)})
    out.refer(0, root)
    for number, data in (outside or {}).items():
        struct.pack_into("<QQ", out.data, places[number], len(out.data), len(data))
        out.data += data
    return bytes(out.data)
