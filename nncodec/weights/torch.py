"""Twins of ``safetensors.torch`` whose files are archives.

What ``save_file`` writes is what ``nncodec compress`` makes of the file that safetensors writes, so
``nncodec decompress`` gives that file. Needs torch: importing this raises MissingPackageError.
"""

from __future__ import annotations

import io
import os
from typing import Any

from nncodec.api import compress
from nncodec.extras import need
from nncodec.levels import DEFAULT_LEVEL
from nncodec.weights import reader
from nncodec.weights.save import compress_file

need("torch", "train")
Tensors = dict[str, Any]
Name = str | os.PathLike[str]


def load_file(
    filename: Name,
    device: Any = "cpu",
    *,
    threads: int | None = None,
    dequantize: bool = True,
    base: Name | None = None,
) -> Tensors:
    """The tensors of an archive, of any container that ``nncodec.weights.open`` reads.

    ``dequantize`` and ``base`` are those of ``open``, which says what is raised, too.
    """
    with reader.open(
        filename, "pt", device, threads=threads, dequantize=dequantize, base=base
    ) as file:
        return file.get_tensors()


def load(data: bytes, *, threads: int | None = None, dequantize: bool = True) -> Tensors:
    """``load_file`` for an archive in memory."""
    with reader.open(io.BytesIO(data), "pt", threads=threads, dequantize=dequantize) as file:
        return file.get_tensors()


def save_file(
    tensors: Tensors,
    filename: Name,
    metadata: dict[str, str] | None = None,
    *,
    level: int = DEFAULT_LEVEL,
    threads: int | None = None,
) -> None:
    """Write an archive of the tensors; it takes the place of ``filename`` once it is complete.

    Raises as ``safetensors.torch.save_file``: RuntimeError that names tensors which share memory,
    ValueError for one that is not contiguous or not dense; NNCodecError for an unknown level.
    """
    from safetensors.torch import save_file

    compress_file(lambda path: save_file(tensors, path, metadata), filename, level, threads)


def save(
    tensors: Tensors,
    metadata: dict[str, str] | None = None,
    *,
    level: int = DEFAULT_LEVEL,
    threads: int | None = None,
) -> bytes:
    """``save_file`` into memory."""
    from safetensors.torch import save

    return compress(save(tensors, metadata), level, threads=threads)
