"""Bytes anywhere in a file, for whoever asks, side by side where the system can."""

from __future__ import annotations

import io
import os
import threading
from typing import BinaryIO

from nncodec.errors import TruncatedError


class ReadAt:
    """Bytes anywhere in a file, for several threads and processes at once."""

    def __init__(self, source: BinaryIO) -> None:
        self.source, self._lock = source, threading.Lock()
        self._handle: int | None = None
        self._fetch = getattr(source, "fetch", None)  # of what lies behind a URL
        if hasattr(os, "pread") and isinstance(source, (io.FileIO, io.BufferedReader)):
            self._handle = source.fileno()

    def read(self, at: int, size: int) -> bytes:
        """Raises TruncatedError if they are not there."""
        if self._fetch is not None and at + size <= self.source.size:  # type: ignore[attr-defined]
            return bytes(self._fetch(at, at + size))
        pieces, left = [], size
        while left:
            if self._handle is not None:
                piece = os.pread(self._handle, left, at + size - left)
            else:
                with self._lock:
                    self.source.seek(at + size - left)
                    piece = self.source.read(left)
            if not piece:
                raise TruncatedError(f"archive ends in the middle of a frame, {left} bytes short")
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)
