"""Reading a URL in ranges: far ahead where all of it is wanted, elsewhere what is asked for.

``ahead``: pieces of 8 MiB are fetched in order, three of them at a time, and one is held besides.
Otherwise a read fetches itself; if it is small, a window of 4 KiB, in which the next small reads
find theirs, and which grows while they go on in order. ``expect`` names a range all of which will
be read: it is fetched as pieces ahead, and not a byte beyond it.

Every range must be of the same file. S3 sees to that itself (``If-Match``), other servers are told
the same where they have strong ETags, and ``check_unchanged`` asks those who do not.
"""

from __future__ import annotations

import io
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from nncodec.errors import RemoteChangedError, RemoteError
from nncodec.remote.names import READ_ONLY
from nncodec.remote.store import Store, explain, identity, is_transient

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PIECE, IN_FLIGHT = 1 << 23, 3  # bytes that are fetched at once, and how often
WINDOW, MOST_WINDOW = 1 << 12, 1 << 16  # bytes around a small read
KEPT = 8  # windows
TRIES, PAUSE = 4, 0.1  # of a range that does not come, and seconds before the next one
OPEN = 16  # files that ``fetch`` keeps open


class RemoteStream(io.BufferedIOBase):
    """A file that can only be read from its beginning on, as a pipe."""

    def __init__(self, store: Store, file: Any) -> None:
        self.store, self._file, self.name = store, file, store.url

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """All that is asked for, unless the file ends. Raises RemoteError."""
        pieces: list[bytes] = []
        left = -1 if size is None or size < 0 else size
        while left:
            with self.store.explaining():
                piece = self._file.read(min(left, PIECE) if left > 0 else PIECE)
            if not piece:
                break
            pieces.append(piece)
            left -= len(piece) if left > 0 else 0
        return b"".join(pieces)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def check_unchanged(self) -> None:
        """It came as one answer."""


class RemoteSource(io.BufferedIOBase):
    """A file of ``size`` bytes that is read by ranges; ``version`` is what tells it from others.

    ``fetch`` may be called by several threads; the rest by one at a time.
    """

    def __init__(
        self,
        store: Store,
        read: Callable[[int, int], bytes],
        info: dict[str, Any],
        *,
        pinned: bool,
        ahead: bool = False,
        file: Any = None,
    ) -> None:
        self.store, self.name, self.size = store, store.url, int(info["size"])
        self.version, self.pinned, self.ahead = identity(info), pinned, ahead
        self._read = read
        self._file = file  # which ``read`` seeks in, and which is closed at the end
        self._turn = threading.Lock() if file or not store.concurrent else None
        self._pool: ThreadPoolExecutor | None = None
        self._at = 0
        self._windows: deque[tuple[int, bytes]] = deque(maxlen=KEPT)
        self._window = WINDOW
        self._until = self.size if ahead else 0  # where what is expected ends
        self._from = 0  # and begins
        self._coming: deque[tuple[int, int, Future[bytes]]] = deque()

    def fetch(self, begin: int, end: int) -> bytes:
        """The bytes ``begin`` to ``end`` <= ``size``, all of them. Raises RemoteError."""
        pieces: list[bytes] = []
        at, tries = begin, 0
        while at < end:
            piece, why = b"", "nothing came"
            try:
                piece = self._one_read(at, end)
            except Exception as error:
                scheme = self.store.scheme
                if not is_transient(error, scheme) or tries + 1 >= TRIES:
                    raise explain(self.name, scheme, error) from error
                why = str(error)
            if len(piece) > end - at:
                raise RemoteError(self.name, f"sent more than the bytes {at} to {end}")
            if piece:
                pieces.append(piece)
                at, tries = at + len(piece), 0
                continue
            tries += 1
            if tries >= TRIES:
                raise RemoteError(self.name, f"bytes {at} to {end} do not come: {why}; try again")
            time.sleep(PAUSE * 2**tries)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def fetch_inside(self, begin: int, end: int) -> bytes:
        """``fetch``, which raises RemoteError for bytes that the file does not have."""
        if not 0 <= begin <= end <= self.size:
            raise RemoteError(self.name, f"bytes {begin} to {end} are not inside its {self.size}")
        return self.fetch(begin, end)

    def _one_read(self, begin: int, end: int) -> bytes:
        if self._turn is None:
            return self._read(begin, end)
        with self._turn:
            return self._read(begin, end)

    def check_unchanged(self) -> None:
        """Raises RemoteChangedError if another file has its name now, where ranges do not tell."""
        if not self.pinned and identity(self.store.info()) != self.version:
            raise RemoteChangedError(self.name, "was replaced while it was read; begin again")

    def expect(self, begin: int, end: int) -> None:
        """All of the bytes ``begin`` to ``end`` will be read, in order, and none behind them."""
        self._drop()
        self._from, self._until = begin, min(end, self.size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Costs nothing: only reading does."""
        origin = (0, self._at, self.size)[whence]
        if origin + offset < 0:
            raise ValueError(f"seek to {origin + offset}: positions are counted from the beginning")
        self._at = origin + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """All that is asked for, unless the file ends. Raises RemoteError."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        left = max(0, self.size - self._at)
        left = left if size is None or size < 0 else min(size, left)
        pieces: list[bytes | memoryview] = []
        while left:
            piece = self._some(self._at, left)
            pieces.append(piece)
            self._at += len(piece)
            left -= len(piece)
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def _some(self, at: int, size: int) -> memoryview:
        """One byte or more from ``at`` on, at most ``size``."""
        for begin, data in reversed(self._windows):
            if begin <= at < begin + len(data):
                return memoryview(data)[at - begin : at - begin + size]
        if self._from <= at < self._until:
            begin, data = at, self._expected(at)
        else:
            begin, data = at, self._scattered(at, size)
        self._windows.append((begin, data))
        return memoryview(data)[:size]

    def _scattered(self, at: int, size: int) -> bytes:
        """At least what is asked for, and little more."""
        goes_on = bool(self._windows) and sum_of(self._windows[-1]) == at
        self._window = min(2 * self._window, MOST_WINDOW) if goes_on else WINDOW
        if size > MOST_WINDOW:  # windows hold a few bytes each; this much is held once
            self._windows.clear()
        return self.fetch(at, min(at + max(size, self._window), self.size))

    def _expected(self, at: int) -> bytes:
        if not self._coming or self._coming[0][0] != at:
            self._drop()
            self._ask(at)
        self._windows.clear()
        _, end, coming = self._coming.popleft()
        try:
            data = coming.result()
        except BaseException:
            self._drop()
            raise
        self._ask(self._coming[-1][1] if self._coming else end)
        return data

    def _ask(self, at: int) -> None:
        """For the pieces from ``at`` on, as many as may be under way."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(IN_FLIGHT, "nncodec-fetch")
        while at < self._until and len(self._coming) < IN_FLIGHT:
            end = min(at + PIECE, self._until)
            self._coming.append((at, end, self._pool.submit(self.fetch, at, end)))
            at = end

    def _drop(self) -> None:
        for _, _, coming in self._coming:
            coming.cancel()
        self._coming.clear()

    def close(self) -> None:
        if not self.closed:
            self._drop()
            self._windows.clear()
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
            if self._file is not None and self._turn is not None:
                with self._turn:
                    self._file.close()
        super().close()


def sum_of(window: tuple[int, bytes]) -> int:
    """Where a window ends."""
    return window[0] + len(window[1])


def open_source(url: str, *, ahead: bool = False) -> RemoteSource | RemoteStream:
    """The file behind ``url``; a stream only if its server sends no ranges or knows no size.

    ``ahead`` if all of it will be read in order. Raises RemoteError, MissingPackageError.
    """
    return open_stored(Store(url), ahead=ahead)


def open_stored(store: Store, *, ahead: bool = False) -> RemoteSource | RemoteStream:
    """``open_source`` of a file that is looked up."""
    with store.explaining():
        if store.chained:
            return open_chain(store, ahead)
        return open_http(store, ahead) if store.scheme in READ_ONLY else open_any(store, ahead)


def open_chain(store: Store, ahead: bool) -> RemoteSource:
    """What caches and archives open is not known; but it can be seeked, by one at a time."""
    info = store.info()
    if info["type"] != "file":
        raise RemoteError(store.url, "is a directory; -r takes the files in it")
    file = (store.cache or store.fs).open(store.path, "rb")
    size = file.seek(0, io.SEEK_END)
    if info.get("size") not in (None, size):
        file.close()
        raise RemoteChangedError(store.url, "its copy is of another file; remove that")

    def read(begin: int, end: int) -> bytes:
        file.seek(begin)
        found: bytes = file.read(end - begin)
        return found

    info = {**info, "size": size}
    return RemoteSource(store, read, info, pinned=False, ahead=ahead, file=file)


def open_any(store: Store, ahead: bool) -> RemoteSource:
    from fsspec.spec import AbstractBufferedFile

    file = store.fs.open(store.path, "rb", cache_type="none") if store.concurrent else None
    if isinstance(file, AbstractBufferedFile):  # knows the file's version, and asks for no other
        info, read = file.details, file._fetch_range
    else:
        info = store.fs.info(store.path)

        def read(begin: int, end: int) -> bytes:
            found: bytes = store.fs.cat_file(store.path, start=begin, end=end)
            return found

    if info["type"] != "file":
        raise RemoteError(store.url, "is a directory; -r takes the files in it")
    pinned = "IfMatch" in getattr(file, "read_kw", {})
    return RemoteSource(store, read, info, pinned=pinned, ahead=ahead)


def open_http(store: Store, ahead: bool) -> RemoteSource | RemoteStream:
    """Ranges if the server sends them, which a first one tells."""
    fs, url = store.fs, store.path
    headers = {**fs.kwargs.get("headers", {}), "Accept-Encoding": "identity"}
    info = fs.info(url)
    if info["size"] is not None and info.get("partial", True):
        tag = info.get("ETag") or "W/"
        same = {} if tag.startswith("W/") else {"If-Match": tag}
        options = {"size": info["size"] or 1, "cache_type": "none", "headers": headers | same}
        file = fs.open(url, "rb", **options)
        try:
            if info["size"] > 1:
                file._fetch_range(1, 2)
            return RemoteSource(store, file._fetch_range, info, pinned=False, ahead=ahead)
        except ValueError:  # all of the file came
            file.close()
    return RemoteStream(store, fs.open(url, "rb", block_size=0, size=info["size"], headers=headers))


@lru_cache(OPEN)
def opened(url: str, process: int) -> RemoteSource:
    """``process``: a fork shares no connections."""
    source = open_source(url)
    if not isinstance(source, RemoteSource):
        raise RemoteError(url, "the server sends no ranges; fetch the file first")
    return source


def fetch(url: str, begin: int, end: int, version: tuple[str, ...] | None = None) -> bytes:
    """The bytes ``begin`` to ``end`` of a file, in any process; the last few stay open.

    ``version`` is a ``RemoteSource``'s: raises RemoteChangedError if that is no longer the file's.
    Otherwise RemoteError, also for a range that the file does not have.
    """
    source = opened(url, os.getpid())
    if version is not None and source.version != version:
        source = opened_again(url)  # it may be the one here that is old
        if source.version != version:
            raise RemoteChangedError(url, "was replaced while it was read; begin again")
    try:
        return source.fetch_inside(begin, end)
    except RemoteChangedError:
        if version is not None:
            raise
    return opened_again(url).fetch_inside(begin, end)


def opened_again(url: str) -> RemoteSource:
    opened.cache_clear()
    return opened(url, os.getpid())
