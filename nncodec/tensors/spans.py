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
from nncodec.tensors.layout import Span, checked

__all__ = ["Dtype", "Span", "find_spans", "read_container"]


def find_spans(data: memoryview) -> list[Span]:
    """As ``read_container``, but empty for whatever that raises: no bytes are an error here."""
    try:
        return read_container(data)
    except ContainerFormatError:
        return []


def read_container(data: memoryview) -> list[Span]:
    """The tensors in ``data`` (bytes, one dimension): by begin, disjoint, inside it, named once.

    Time and memory are linear in the size of the headers, whatever they claim. Raises
    ContainerFormatError if it is no known container, or a header contradicts itself or the data.
    """
    return checked(_read(data), len(data))


def _read(data: memoryview) -> list[Span]:
    start = bytes(data[:8])
    if start.startswith(gguf.MAGIC):
        return gguf.read(data)
    if start.startswith(ggml_legacy.MAGIC):
        return ggml_legacy.read(data)
    if start.startswith(numpy_files.MAGIC):
        return numpy_files.read(data)
    if start.startswith(zip_members.MAGIC):
        members = zip_members.read_members(data)
        if torch_zip.is_torch(members):
            return torch_zip.read(data, members)
        return numpy_files.read_npz(data, members)
    if tflite.looks_like(data):
        return tflite.read(data)
    if safetensors.looks_like(data):
        return safetensors.read(data)
    raise ContainerFormatError(
        f"a file that starts with {start!r} is no container of tensors known here: "
        "convert it to safetensors, GGUF, npy, npz or a zip of torch.save"
    )
