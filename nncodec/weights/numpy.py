"""Twins of ``safetensors.numpy`` whose files are archives.

What ``save_file`` writes is what ``nncodec compress`` makes of the file that safetensors writes, so
``nncodec decompress`` gives that file.
"""

from __future__ import annotations

import io
import os
from typing import Any

from nncodec.api import compress
from nncodec.levels import DEFAULT_LEVEL
from nncodec.weights import reader
from nncodec.weights.save import compress_file

Tensors = dict[str, Any]
Name = str | os.PathLike[str]


def load_file(
    filename: Name,
    *,
    threads: int | None = None,
    dequantize: bool = True,
    base: Name | None = None,
) -> Tensors:
    """The tensors of an archive, of any container that ``nncodec.weights.open`` reads.

    ``dequantize`` and ``base`` are those of ``open``, which says what is raised, too.
    """
    with reader.open(filename, threads=threads, dequantize=dequantize, base=base) as file:
        return file.get_tensors()


def load(data: bytes, *, threads: int | None = None, dequantize: bool = True) -> Tensors:
    """``load_file`` for an archive in memory."""
    with reader.open(io.BytesIO(data), threads=threads, dequantize=dequantize) as file:
        return file.get_tensors()


def save_file(
    tensor_dict: Tensors,
    filename: Name,
    metadata: dict[str, str] | None = None,
    *,
    level: int = DEFAULT_LEVEL,
    threads: int | None = None,
) -> None:
    """Write an archive of the tensors; it takes the place of ``filename`` once it is complete.

    Raises as ``safetensors.numpy.save_file``; NNCodecError for an unknown level.
    """
    from safetensors.numpy import save_file

    compress_file(lambda path: save_file(tensor_dict, path, metadata), filename, level, threads)


def save(
    tensor_dict: Tensors,
    metadata: dict[str, str] | None = None,
    *,
    level: int = DEFAULT_LEVEL,
    threads: int | None = None,
) -> bytes:
    """``save_file`` into memory."""
    from safetensors.numpy import save

    return compress(save(tensor_dict, metadata), level, threads=threads)
