"""Where frames lie in bytes that are being written, or were: what the index says of them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from nncodec.container import MAGIC
from nncodec.errors import TruncatedError
from nncodec.header import parse_header
from nncodec.memory import View
from nncodec.pack.index import Columns, Numbers
from nncodec.parsing import pull

FIRST = 1 << 12  # bytes of a header that are looked at first


@dataclass
class FrameTable:
    """Frames so far: where in the archive, sizes, of their headers, of their content.

    ``feed`` takes the bytes of frames in pieces of any size; ``at`` counts them.
    """

    at: int = 0
    content: int = 0  # bytes of the frames that are complete
    ats: array[int] = field(default_factory=lambda: array("Q"))
    sizes: array[int] = field(default_factory=lambda: array("Q"))
    headers: array[int] = field(default_factory=lambda: array("Q"))
    contents: array[int] = field(default_factory=lambda: array("Q"))
    _head: bytes = b""  # of a header that is not complete
    _left: int = 0  # bytes of payloads
    _total: int = 0  # content of the frame that they belong to

    def add(self, at: int, size: int, header: int, content: int) -> None:
        self.ats.append(at)
        self.sizes.append(size)
        self.headers.append(header)
        self.contents.append(content)

    def read_frame(self, file: BinaryIO, at: int, size: int) -> bool:
        """One that begins ``at``, from behind its signature, if the file's ``size`` holds it whole.

        Leaves the file behind it. Raises what ``parse_header`` does.
        """
        frame = pull(parse_header(MAGIC), file)
        behind = at + frame.header_size + frame.payload_size
        if behind > size:
            return False
        self.add(at, behind - at, frame.header_size, frame.total)
        self.content += frame.total
        file.seek(behind)
        return True

    def feed(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        start, self.at = self.at, self.at + len(view)
        done = 0
        while done < len(view):
            if not self._left:
                done += self._parse(view[done:], start + done)
                continue
            step = min(self._left, len(view) - done)
            done, self._left = done + step, self._left - step
            self._end()

    def _parse(self, view: memoryview, at: int) -> int:
        """Take a header's bytes; returns how many of ``view`` belong to it."""
        before, size = len(self._head), FIRST
        while True:
            head = self._head + bytes(view[:size])
            try:
                frame = pull(parse_header(MAGIC), View(memoryview(head)[len(MAGIC) :]))
                break
            except TruncatedError:
                if size >= len(view):
                    self._head = head
                    return len(view)
                size *= 4
        self._head, self._left, self._total = b"", frame.payload_size, frame.total
        whole = frame.header_size + frame.payload_size
        self.add(at - before, whole, frame.header_size, frame.total)
        self._end()
        return frame.header_size - before

    def _end(self) -> None:
        if not self._left:
            self.content += self._total
            self._total = 0

    @property
    def between(self) -> bool:
        """Whether no frame is begun and not complete."""
        return not self._left and not self._head

    def into(self, columns: Columns) -> None:
        """Write them into an index."""

        def column(values: array[int]) -> Numbers:
            return np.array(values, np.uint64)

        columns.frame_ats, columns.frame_sizes = column(self.ats), column(self.sizes)
        columns.header_sizes, columns.content_sizes = column(self.headers), column(self.contents)
        columns.archive_size = self.at
