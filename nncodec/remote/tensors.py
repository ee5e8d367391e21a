"""Files of tensors behind URLs: planned from their headers, and coded as their bytes come.

A local file is mapped, which a URL cannot be; but its archive has to be the same. So the headers
are read by ranges as a container's readers ask for them, and the array that the codec cuts into
parts is one that fetches what is cut out of it. Nothing is kept: a part that does not shrink is
fetched twice, and a run of such parts is held as a whole, as its frame is.
"""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING, BinaryIO, cast, overload

import numpy as np

from nncodec.blocks import Bytes
from nncodec.codec import Codec, frame_bytes
from nncodec.errors import ContainerFormatError
from nncodec.lanes import Progress
from nncodec.remote.source import PIECE, RemoteSource
from nncodec.tensors.spans import Span, read_container, recognise

if TYPE_CHECKING:
    from typing_extensions import Self

MEMBERS = re.compile(r"\.npy$|/data\.pkl$")  # of which a zip with tensors has one
HELD = 1 << 26  # bytes, more than is coded at once; a longer part is fetched as it is cut further


def compress_remote(
    codec: Codec, source: BinaryIO, sink: BinaryIO, progress: Progress
) -> tuple[int, int]:
    """``codec.compress_stream`` of a remote source, but for the container that it may be.

    One that fits a frame is found by ``compress_stream`` itself.
    """
    long = isinstance(source, RemoteSource) and source.size > frame_bytes()
    spans = find_remote_spans(source) if isinstance(source, RemoteSource) and long else []
    if not isinstance(source, RemoteSource) or not spans:
        return codec.compress_stream(source, sink, progress)
    written = 0
    for piece in codec.encode(cast(Bytes, RemoteArray(source)), progress, spans=spans):
        sink.write(piece)
        written += len(piece)
    return source.size, written


class RemoteData:
    """``layout.Data`` of a source: what a container's readers touch."""

    def __init__(self, source: RemoteSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return self.source.size

    @overload
    def __getitem__(self, at: int, /) -> int: ...
    @overload
    def __getitem__(self, at: slice, /) -> bytes: ...
    def __getitem__(self, at: int | slice, /) -> int | bytes:
        if isinstance(at, int):
            return self[at : at + 1][0]
        begin, end, _ = at.indices(self.source.size)
        self.source.seek(begin)
        return self.source.read(max(0, end - begin))


def find_remote_spans(source: RemoteSource) -> list[Span]:
    """What ``find_spans`` finds in the same file, mapped. Raises RemoteError alone."""
    data = RemoteData(source)
    source.expect(0, 0)
    try:
        if recognise(data) == "zip" and not has_tensors(source):
            return []
        return read_container(data)
    except ContainerFormatError:
        return []
    finally:
        source.expect(0, source.size if source.ahead else 0)
        source.seek(0)


def has_tensors(source: RemoteSource) -> bool:
    """Whether a zip's directory names tensors: the headers of its members are a request each."""
    try:
        members = zipfile.ZipFile(cast(BinaryIO, source)).infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return True  # the readers will say
    return any(MEMBERS.search(member.orig_filename) for member in members)


class RemoteArray:
    """A part of a source as the codec uses its (n,) bytes: cut, or all of them."""

    def __init__(self, source: RemoteSource, begin: int = 0, end: int | None = None) -> None:
        self.source, self.begin = source, begin
        self.end = source.size if end is None else end

    def __len__(self) -> int:
        return self.end - self.begin

    def __getitem__(self, at: slice, /) -> Bytes | Self:
        begin, end, _ = at.indices(len(self))
        part = type(self)(self.source, self.begin + begin, self.begin + max(begin, end))
        return part if len(part) > HELD else part.array

    @property
    def array(self) -> Bytes:
        """All of them, fetched."""
        whole = np.empty(len(self), np.uint8)
        for begin in range(self.begin, self.end, PIECE):
            piece = self.source.fetch(begin, min(begin + PIECE, self.end))
            at = begin - self.begin
            whole[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
        return whole

    @property
    def data(self) -> memoryview:
        return self.array.data
