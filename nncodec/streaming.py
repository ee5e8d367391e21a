"""Compressing and decompressing in pieces, with the contract of ``lzma``'s objects.

A ``Compressor`` makes the bytes that ``nncodec compress`` makes of the same data from a pipe, and
holds one frame of it, 64 MiB, at most. A ``Decompressor`` holds one block, 16 MiB at most: nothing
of a block is handed out before its checksum was compared.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from operator import index

from nncodec import api
from nncodec.codec import StreamEncoder
from nncodec.container import Frame
from nncodec.decoding import FrameDecoder
from nncodec.errors import NNCodecError
from nncodec.levels import DEFAULT_LEVEL
from nncodec.limits import Limits
from nncodec.parsing import PushParser


class Compressor:
    """``compress`` takes pieces of any size, ``flush`` ends the archive; join what they return.

    Raises what ``nncodec.compress`` does; after an error there is no archive.
    """

    def __init__(
        self,
        level: int = DEFAULT_LEVEL,
        *,
        model: str | None = None,
        threads: int | None = None,
        block_size: int | None = None,
    ) -> None:
        codec = api.load_codec(level, model, threads).with_block_size(block_size)
        self._encoder: StreamEncoder | None = StreamEncoder(codec)
        self._flushed = False
        self._lock = threading.Lock()

    def compress(self, data: api.Buffer) -> bytes:
        """What of the archive is complete with ``data``: nothing, until a frame is full."""
        with self._lock:
            encoder = self._take("Compressor has been flushed")
            packed = b"".join(encoder.write(memoryview(data)))
            self._encoder = encoder
        return packed

    def flush(self) -> bytes:
        """The rest of the archive, which is a whole one even if there was no data."""
        with self._lock:
            encoder = self._take("Repeated call to flush()")
            self._flushed = True
            return b"".join(encoder.finish())

    def _take(self, otherwise: str) -> StreamEncoder:
        """The encoder, which whoever succeeds gives back: after an error there is none."""
        encoder, self._encoder = self._encoder, None
        if encoder is None:
            raise ValueError(otherwise if self._flushed else "an earlier call failed: begin anew")
        return encoder


class BlockStream:
    """The blocks of archives that come in pieces: ``push`` some, then ``next`` until it gives None.

    After an error there is nothing but errors: a block may be lost, and whoever went on would get
    wrong bytes.
    """

    def __init__(self, decoder: FrameDecoder) -> None:
        self.parser, self.decoder = PushParser(), decoder
        self.failed: Exception | None = None

    def push(self, data: api.Buffer) -> None:
        self.parser.push(data)

    def next(self, concatenated: bool = True) -> bytes | None:
        """A block's bytes, verified; None if others have to come first.

        Or where an archive has ended, unless those that are ``concatenated`` are to be read, too.
        """
        with self._failing():
            while concatenated or not self.parser.archive_ended:
                event = self.parser.next()
                if event is None:
                    return None
                if not isinstance(event, Frame):
                    return self.decoder.decode(*event)
                self.decoder.begin(event)
            return None

    def finish(self) -> None:
        """No more bytes will come. Raises TruncatedError if there should."""
        with self._failing():
            self.parser.finish()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        if self.failed is not None:
            raise self.failed
        try:
            yield
        except NNCodecError as error:
            self.failed = error
            raise
        except BaseException:
            self.failed = NNCodecError("an earlier call was interrupted: begin anew")
            raise


class Decompressor:
    """Decodes one archive, which may be one frame or a chain of them.

    Where archives are concatenated the next one needs another object, which begins with
    ``unused_data``. Skippable frames before and inside the archive are passed over. ``base`` is
    what ``nncodec.compress`` was given as such; the limits are in bytes.
    """

    def __init__(
        self,
        *,
        model: str | None = None,
        threads: int | None = None,
        max_output_size: int | None = None,
        max_memory: int | None = None,
        base: api.Buffer | None = None,
    ) -> None:
        find, limits = api.CoderFinder(model, threads), Limits(max_output_size, max_memory)
        self._stream = BlockStream(FrameDecoder(find, api.base_of(base), limits))
        self._lock = threading.Lock()
        self._ready = memoryview(b"")  # decoded, and not handed out yet
        self._needs_input, self._eof, self._unused = True, False, b""

    @property
    def eof(self) -> bool:
        """Whether the archive is complete, and all of it was handed out."""
        return self._eof

    @property
    def needs_input(self) -> bool:
        """Whether ``decompress`` has nothing to hand out before it is given more bytes."""
        return self._needs_input

    @property
    def unused_data(self) -> bytes:
        """What came behind the end of the archive."""
        return self._unused

    def decompress(self, data: api.Buffer, max_length: int = -1) -> bytes:
        """The bytes that are complete with ``data``; of a negative ``max_length`` all of them.

        Else at most so many: the others wait for the next call, which may be given no data. Raises
        EOFError once ``eof`` is set, and what ``nncodec.decompress`` does, but no TruncatedError:
        more may come. After an error there is nothing but that error.
        """
        with self._lock:
            if self._eof:
                raise EOFError("Already at end of stream")
            left = index(max_length)
            self._stream.push(data)
            out: list[memoryview] = []
            while left and (len(self._ready) or self._advance()):
                piece = self._ready if left < 0 else self._ready[:left]
                self._ready = self._ready[len(piece) :]
                left = max(left - len(piece), -1)
                out.append(piece)
            parser = self._stream.parser
            if parser.archive_ended and not len(self._ready):
                self._eof, self._unused = True, parser.pieces.rest()
            self._needs_input = left != 0 and not self._eof
            return b"".join(out)

    def _advance(self) -> bool:
        """Make another block ready; False if bytes have to come first, or there is none."""
        block = self._stream.next(concatenated=False)
        self._ready = memoryview(block or b"")
        return block is not None
