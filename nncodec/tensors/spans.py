"""Where the tensors of a file lie: its container is recognised by its first bytes.

safetensors, GGUF, npy, npz, torch.save's zip, TensorFlow Lite and rwkv.cpp's files; each has a
module that names its specification. What belongs to no span (headers, padding, tensors of other
dtypes, compressed members) is for others to keep.
"""

from __future__ import annotations

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
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.layout import Data, Span, checked

__all__ = ["Dtype", "Span", "find_spans", "read_container"]


MAGICS = {
    gguf.MAGIC: "GGUF",
    ggml_legacy.MAGIC: "rwkv.cpp",
    numpy_files.MAGIC: "npy",
    zip_members.MAGIC: "zip",
}


def find_spans(data: memoryview) -> list[Span]:
    """As ``read_container``, but empty for whatever that raises: no bytes are an error here."""
    try:
        return read_container(data)
    except ContainerFormatError:
        return []


def read_container(data: Data) -> list[Span]:
    """The tensors in ``data`` (bytes, one dimension): by begin, disjoint, inside it, named once.

    Time and memory are linear in the size of the headers, whatever they claim. Raises
    ContainerFormatError if it is no known container, or a header contradicts itself or the data.
    """
    return checked(_read(data), len(data))


def _read(data: Data) -> list[Span]:
    container = recognise(data)
    if container == "zip":
        members = zip_members.read_members(data)
        if torch_zip.is_torch(members):
            return torch_zip.read(data, members)
        return numpy_files.read_npz(data, members)
    return READERS[container](data)


READERS = {
    "GGUF": gguf.read,
    "rwkv.cpp": ggml_legacy.read,
    "npy": numpy_files.read,
    "TensorFlow Lite": tflite.read,
    "safetensors": safetensors.read,
}


def recognise(data: Data) -> str:
    """The container by its first bytes: a key of ``READERS``, or zip for torch's and npz.

    Raises ContainerFormatError if it is none of them.
    """
    start = bytes(data[:8])
    for magic, container in MAGICS.items():
        if start.startswith(magic):
            return container
    if tflite.looks_like(data):
        return "TensorFlow Lite"
    if safetensors.looks_like(data):
        return "safetensors"
    raise ContainerFormatError(
        f"a file that starts with {start!r} is no container of tensors known here: "
        "convert it to safetensors, GGUF, npy, npz or a zip of torch.save"
    )
