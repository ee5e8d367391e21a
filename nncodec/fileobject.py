"""Archives as file objects: ``nncodec.open`` and ``NNCodecFile``, with the contract of ``lzma``'s.

A file that can be seeked is read through its block table (``reader``): a seek costs the block it
leads to. Any other is read forward, block by block, and cannot be seeked. What is written is an
archive once it is closed; nothing is renamed into place, as with any file that Python opens.
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Literal, cast, overload

from nncodec import api
from nncodec.codec import FrameDecoder
from nncodec.container import Block
from nncodec.lanes import Coder
from nncodec.levels import DEFAULT_LEVEL
from nncodec.limits import Limits
from nncodec.parsing import FrameReader, read_exactly
from nncodec.reader import ArchiveReader
from nncodec.streaming import Compressor
from nncodec.tensors.base import Base

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

READ, WRITE = "rb", "wb"  # as ``NNCodecFile.mode`` says them
WAYS = {"r": READ, "w": WRITE, "x": WRITE, "a": WRITE}

File = str | bytes | os.PathLike[str] | os.PathLike[bytes] | IO[bytes]
