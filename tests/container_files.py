"""Files of tensors written by hand: GGUF, rwkv.cpp's, safetensors from any text, torch zips."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Iterable, Mapping, Sequence

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
