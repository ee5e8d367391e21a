"""Archives as file objects: ``nncodec.open`` and ``NNCodecFile``, with the contract of ``lzma``'s.

A file that can be seeked is read through its block table (``reader``): a seek costs the block it
leads to. Any other is read forward, block by block, and cannot be seeked. What is written is an
archive once it is closed; nothing is renamed into place, as with any file that Python opens. Behind
a URL it is different: there a file appears when it is closed, and none does after an exception.
"""

from __future__ import annotations

import builtins
import io
import os
from typing import IO, TYPE_CHECKING, BinaryIO, Literal, TypedDict, cast, overload

from nncodec import api
from nncodec.decoding import FrameDecoder
from nncodec.errors import RemoteError, RemoteExistsError
from nncodec.levels import DEFAULT_LEVEL
from nncodec.limits import Limits
from nncodec.reader import ArchiveReader
from nncodec.remote.names import is_remote, plain
from nncodec.streaming import BlockStream, Compressor

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import ReadableBuffer, WriteableBuffer
    from typing_extensions import Unpack

    from nncodec.remote.sink import Upload

File = str | bytes | os.PathLike[str] | os.PathLike[bytes] | IO[bytes]
MODES = {mode + binary: mode for mode in "rwxa" for binary in ("", "b")}
BinaryMode = Literal["r", "rb", "w", "wb", "x", "xb", "a", "ab"]
TextMode = Literal["rt", "wt", "xt", "at"]


class SeekingReader(io.RawIOBase):
    """The bytes of an archive that can be seeked. Its headers are read when it first is."""

    def __init__(self, source: BinaryIO, decoder: FrameDecoder) -> None:
        self._source, self._decoder = source, decoder
        self._start, self._at = source.tell(), 0
        self._reader: ArchiveReader | None = None

    @property
    def archive(self) -> ArchiveReader:
        if self._reader is None:
            self._source.seek(self._start)
            of = self._decoder
            self._reader = ArchiveReader(
                self._source, of.find_coder, base=of.base, limits=of.limits
            )
        return self._reader

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """What one block has of it."""
        view = memoryview(buffer).cast("B")
        for piece in self.archive.pieces(self._at, self._at + len(view)):
            view[: len(piece)] = piece
            self._at += len(piece)
            return len(piece)
        return 0

    def readall(self) -> bytes:
        data = self.archive.read_range(self._at, self.archive.size)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As lzma has it, a place before the beginning is the beginning, one behind the end it."""
        if whence not in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
            raise ValueError(f"Invalid value for whence: {whence}")
        origin = (0, self._at, self.archive.size)[whence]
        self._at = min(max(origin + offset, 0), self.archive.size)
        return self._at

    def tell(self) -> int:
        return self._at


class ForwardReader(io.RawIOBase):
    """The bytes of archives that come from a pipe or the like, in their order."""

    def __init__(self, source: BinaryIO, decoder: FrameDecoder) -> None:
        self._source, self._stream = source, BlockStream(decoder)
        self._ready, self._at = memoryview(b""), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        """What one block has of it; None if a source that does not block has nothing yet."""
        view = memoryview(buffer).cast("B")
        while not len(self._ready) and len(view):
            block = self._stream.next()
            if block is None:
                came = self._source.read(io.DEFAULT_BUFFER_SIZE)
                if came is None:
                    return None
                if not came:
                    self._stream.finish()
                    return 0
                self._stream.push(came)
            self._ready = memoryview(block or b"")
        piece = self._ready[: len(view)]
        view[: len(piece)] = piece
        self._ready = self._ready[len(piece) :]
        self._at += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._at


class NNCodecFile(io.BufferedIOBase):
    """An archive as a binary file: what is read is decompressed, what is written is compressed.

    ``file`` is a path or a URL (docs/remote.md), or an open binary file, which stays open when this
    one is closed. ``mode`` is r, w, x (a new file) or, but for URLs, a (another archive behind what
    is there), with or without b. ``level``
    and ``block_size`` are for writing, the limits and ``base`` for reading; all are as of
    ``nncodec.compress`` and ``nncodec.decompress``, and so are the errors. Reading, headers are
    looked at first when bytes are asked for. An archive that is cut short or damaged is an error
    where that is met, never an early end. One thread at a time may write.
    """

    _fp: BinaryIO | None = None  # None: closed
    _buffer: io.BufferedReader | None = None
    _compressor: Compressor | None = None
    _upload: Upload | None = None  # what is written, behind a URL

    def __init__(
        self,
        file: File,
        mode: str = "rb",
        *,
        level: int = DEFAULT_LEVEL,
        model: str | None = None,
        threads: int | None = None,
        block_size: int | None = None,
        max_output_size: int | None = None,
        max_memory: int | None = None,
        base: api.Buffer | None = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"Invalid mode: {mode!r}")
        reading, self._owned, self._written = MODES[mode] == "r", False, 0
        if not reading:  # before there is a file: a level may be wrong
            compressor = Compressor(level, model=model, threads=threads, block_size=block_size)
        if isinstance(file, str) and is_remote(file := plain(file)):
            fp, self._upload = open_remote(file, MODES[mode])
            self._owned = True
        elif isinstance(file, (str, bytes, os.PathLike)):
            fp = cast(BinaryIO, builtins.open(file, MODES[mode] + "b"))  # noqa: SIM115
            self._owned = True
        elif hasattr(file, "read") or hasattr(file, "write"):
            fp = cast(BinaryIO, file)
        else:
            raise TypeError("file must be a str, bytes, file or PathLike object")
        self._fp = fp
        if not reading:
            self._compressor = compressor
            return

        find, limits = api.CoderFinder(model, threads), Limits(max_output_size, max_memory)
        decoder = FrameDecoder(find, api.base_of(base), limits)
        seekable = hasattr(fp, "seekable") and fp.seekable()
        raw = SeekingReader(fp, decoder) if seekable else ForwardReader(fp, decoder)
        self._buffer = io.BufferedReader(raw)

    def close(self) -> None:
        """Write the end of the archive, if one was written, and close. May be called again.

        Behind a URL the file is there then, or this raises RemoteError and nothing is.
        """
        if self._fp is None:
            return
        try:
            if self._compressor is not None:
                write_all(self._fp, self._compressor.flush())
            if self._upload is not None:
                self._upload.finish()
        finally:
            self.discard()

    def discard(self) -> None:
        """Close without an end: what was written behind a URL is gone, elsewhere cut short."""
        fp, self._fp, self._buffer, self._compressor = self._fp, None, None, None
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.abort()
        if fp is not None and self._owned:
            fp.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """After an exception nothing appears behind a URL; elsewhere the archive is ended."""
        if kind is not None and self._upload is not None:
            self.discard()
        self.close()

    def __del__(self) -> None:
        """What nobody closed does not appear behind a URL."""
        if self._upload is not None:
            self.discard()
        super().__del__()

    @property
    def closed(self) -> bool:
        return self._fp is None

    @property
    def name(self) -> str | bytes | int:
        """That of the file below."""
        name: str | bytes | int = self._file().name
        return name

    @property
    def mode(self) -> str:
        """``rb`` or ``wb``."""
        self._file()
        return "wb" if self._buffer is None else "rb"

    def _file(self) -> BinaryIO:
        if self._fp is None:
            raise ValueError("I/O operation on closed file")
        return self._fp

    def _reading(self) -> io.BufferedReader:
        self._file()
        if self._buffer is None:
            raise io.UnsupportedOperation("File not open for reading")
        return self._buffer

    def fileno(self) -> int:
        return self._file().fileno()

    def readable(self) -> bool:
        self._file()
        return self._buffer is not None

    def writable(self) -> bool:
        self._file()
        return self._buffer is None

    def seekable(self) -> bool:
        return self.readable() and self._reading().seekable()

    def peek(self, size: int = -1) -> bytes:
        """Some bytes, at least one before the end, that stay to be read."""
        return self._reading().peek(size)

    def read(self, size: int | None = -1, /) -> bytes:
        """``size`` bytes, or as many as there are; all that are left if negative or None."""
        return self._reading().read(size)

    def read1(self, size: int = -1, /) -> bytes:
        """As many as one block has, at most ``size``, or a buffer's worth if negative."""
        return self._reading().read1(io.DEFAULT_BUFFER_SIZE if size < 0 else size)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        return self._reading().readinto(buffer)

    def readinto1(self, buffer: WriteableBuffer, /) -> int:
        return self._reading().readinto1(buffer)

    def readline(self, size: int | None = -1, /) -> bytes:
        """A line with its newline, or ``size`` bytes of it at most."""
        return self._reading().readline(-1 if size is None else size)

    def write(self, data: ReadableBuffer, /) -> int:
        """Compress all of ``data``; returns its length in bytes. Frames are written when full."""
        fp = self._file()
        if self._compressor is None:
            raise io.UnsupportedOperation("File not open for writing")
        view = memoryview(data)
        write_all(fp, self._compressor.compress(view))
        self._written += view.nbytes
        return view.nbytes

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place in the uncompressed bytes, and return it; past an end means the end.

        Raises io.UnsupportedOperation if the file below cannot be seeked, or is written.
        """
        buffer = self._buffer
        if buffer is None:
            self._file()
            raise io.UnsupportedOperation("Seeking is only supported on files open for reading")
        if not buffer.seekable():
            raise io.UnsupportedOperation("The underlying file object does not support seeking")
        return buffer.seek(offset, whence)

    def tell(self) -> int:
        """The place in the uncompressed bytes; of a file that is written, how many were."""
        self._file()
        return self._written if self._buffer is None else self._buffer.tell()


def open_remote(url: str, mode: str) -> tuple[BinaryIO, Upload | None]:
    """A file to read, or one to write and how to end it. Raises RemoteError."""
    if mode == "r":
        from nncodec.remote.source import open_source

        return cast(BinaryIO, open_source(url)), None
    if mode == "a":
        raise RemoteError(url, "cannot be appended to; write another file (archives concatenate)")
    from nncodec.remote.sink import Upload
    from nncodec.remote.store import Store

    store = Store(url)
    store.check_writable()
    if store.exists(blind=mode == "w") and mode == "x":  # asks first: there may be no such bucket
        raise RemoteExistsError(url, "already exists")
    upload = Upload(store, replace=mode == "w")
    return cast(BinaryIO, upload), upload


class RemoteText(io.TextIOWrapper):
    """Text behind a URL, which an exception keeps from appearing there."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and isinstance(self.buffer, NNCodecFile):
            self.buffer.discard()
        self.close()

    def __del__(self) -> None:
        """As ``NNCodecFile``'s."""
        if isinstance(buffer := getattr(self, "buffer", None), NNCodecFile):
            buffer.discard()
        super().__del__()


def write_all(file: BinaryIO, data: bytes) -> None:
    """Raw files may take a part only; other objects than Python's may not say how much."""
    view = memoryview(data)
    while len(view) and (done := file.write(view)) is not None:
        view = view[done:]


if TYPE_CHECKING:

    class Options(TypedDict, total=False):
        """Of ``NNCodecFile``."""

        level: int
        model: str | None
        threads: int | None
        block_size: int | None
        max_output_size: int | None
        max_memory: int | None
        base: api.Buffer | None


if TYPE_CHECKING:  # only then: typing keeps what it registers beyond the interpreter's end

    @overload
    def open(
        file: File,
        mode: BinaryMode = ...,
        *,
        encoding: None = ...,
        errors: None = ...,
        newline: None = ...,
        **options: Unpack[Options],
    ) -> NNCodecFile: ...

    @overload
    def open(
        file: File,
        mode: TextMode,
        *,
        encoding: str | None = ...,
        errors: str | None = ...,
        newline: str | None = ...,
        **options: Unpack[Options],
    ) -> io.TextIOWrapper: ...

    @overload
    def open(
        file: File,
        mode: str,
        *,
        encoding: str | None = ...,
        errors: str | None = ...,
        newline: str | None = ...,
        **options: Unpack[Options],
    ) -> NNCodecFile | io.TextIOWrapper: ...


def open(
    file: File,
    mode: str = "rb",
    *,
    level: int = DEFAULT_LEVEL,
    model: str | None = None,
    threads: int | None = None,
    block_size: int | None = None,
    max_output_size: int | None = None,
    max_memory: int | None = None,
    base: api.Buffer | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> NNCodecFile | io.TextIOWrapper:
    """Open an archive as a file, as ``lzma.open`` does.

    ``mode`` is one of ``NNCodecFile``, or rt, wt, xt or at: then it is wrapped as text, of
    ``encoding``, ``errors`` and ``newline``, which are for text alone. The others are those of
    ``NNCodecFile``.
    """
    text = "t" in mode
    if text and "b" in mode:
        raise ValueError(f"Invalid mode: {mode!r}")
    for name, given in (("encoding", encoding), ("errors", errors), ("newline", newline)):
        if given is not None and not text:
            raise ValueError(f"Argument {name!r} not supported in binary mode")
    binary = NNCodecFile(
        file,
        mode.replace("t", "", 1),
        level=level,
        model=model,
        threads=threads,
        block_size=block_size,
        max_output_size=max_output_size,
        max_memory=max_memory,
        base=base,
    )
    if not text:
        return binary
    wrapper = io.TextIOWrapper if binary._upload is None else RemoteText
    return wrapper(binary, io.text_encoding(encoding), errors, newline)
