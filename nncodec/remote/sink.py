"""Writing a URL: parts of an upload go out as they fill, and become a file all at once, or never.

A part is 16 MiB, and larger far behind (S3 takes 10,000 of them); one is under way while the next
one fills. What fits one part is put in one request. A thread of its own does the work, so that a
signal never falls between an upload's beginning and the knowledge of its name: ``abort`` waits for
the request under way and then calls the upload off. Stores without uploads that can be called off
get a temporary file beside, which is renamed.
"""

from __future__ import annotations

import contextlib
import errno
import io
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from nncodec.errors import RemoteError, RemoteExistsError
from nncodec.files import PREFIX, SUFFIX, unfinished
from nncodec.remote.store import Store

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PART = 1 << 24  # bytes
GROWS, MOST_PART = 1000, 1 << 29  # after so many parts they double, up to so many bytes
PATIENCE = 10  # seconds that ``abort`` waits


class Upload(io.RawIOBase):
    """A file of the ``store`` that is there once ``finish`` returned, and not after ``abort``.

    Without ``replace`` a file that came there in the meantime stays. Raises RemoteError.
    """

    def __init__(self, store: Store, replace: bool = True) -> None:
        store.check_writable()
        self.store, self.replace, self.name = store, replace, store.url
        self._held = bytearray()
        self._pool = ThreadPoolExecutor(1, "nncodec-upload")
        self._sending: Future[None] | None = None
        self._file: Any = None
        self._temporary: str | None = None
        self._parts, self._part = 0, PART
        self._finished = False
        self._discarding: Future[None] | None = None
        self._lock = threading.Lock()

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            room = self._part - len(self._held)
            self._held += view[done : done + room]
            done += min(room, len(view) - done)
            if len(self._held) == self._part:
                self._send()
        return len(view)

    def _send(self) -> None:
        """Hand what is held to the thread, once it has sent what it was given before."""
        self._wait()
        part, self._held = bytes(self._held), bytearray()
        self._sending = self._pool.submit(self._send_part, part)
        self._parts += 1
        if self._parts % GROWS == 0 and not getattr(self.store.fs, "fixed_upload_size", False):
            self._part = min(2 * self._part, MOST_PART)

    def _wait(self) -> None:
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.result()

    def _send_part(self, part: bytes) -> None:
        with self.store.explaining():
            if self._file is None:
                self._begin()
            self._file.blocksize = max(len(part), PART)  # which it waits for before it sends
            self._file.write(part)

    def _begin(self) -> None:
        from fsspec.spec import AbstractBufferedFile

        fs, path = self.store.fs, self.store.path
        if self.store.concurrent:
            mode = "wb" if self.replace else "xb"
            file = fs.open(path, mode, autocommit=False, block_size=PART)
            if type(file).discard is not AbstractBufferedFile.discard:
                self._file = file
                return
            file.closed = True
        folder, _, name = path.rpartition("/")
        temporary = f"{folder}/{PREFIX}{secrets.token_hex(4)}-{name}{SUFFIX}"
        self._file = fs.open(temporary, "wb")
        self._temporary = temporary

    def finish(self) -> None:
        """Make it a file. Raises RemoteError, and RemoteExistsError if one is there."""
        self._wait()
        with self._lock:
            if self._discarding is not None:
                raise RemoteError(self.name, "was called off")
            self._sending = self._pool.submit(self._commit)
        self._wait()
        self._finished = True
        self._pool.shutdown()
        self.close()

    def _commit(self) -> None:
        rest, self._held = bytes(self._held), bytearray()
        if self._file is None and self._puts_at_once():
            self._put(rest)
            return
        self._send_part(rest)
        with self.store.explaining():
            self._file.close()
        if self._temporary is None:
            self._complete()
            return
        if not self.replace:
            self._check_absent()
        with self.store.explaining():
            self.store.fs.mv(self._temporary, self.store.path)
        self._temporary = None

    def _puts_at_once(self) -> bool:
        """Whether the store makes a file of one request, which is there or not."""
        return self.store.concurrent or self.store.scheme == "memory"

    def _put(self, data: bytes) -> None:
        fs, path = self.store.fs, self.store.path
        with self.store.explaining():
            if self.replace:
                fs.pipe_file(path, data)
                return
            try:
                fs.pipe_file(path, data, mode="create")
            except (OSError, NotImplementedError) as error:
                if not lacks_conditions(error):
                    raise
                self._check_absent()
                fs.pipe_file(path, data)

    def _complete(self) -> None:
        with self.store.explaining():
            try:
                self._file.commit()
            except OSError as error:
                if self.replace or not lacks_conditions(error):
                    raise
                self._check_absent()
                self._file.mode = "wb"
                self._file.commit()

    def _check_absent(self) -> None:
        """Where a store writes without conditions: the last look before."""
        if self.store.exists():
            raise RemoteExistsError(self.name, "already exists; use -f to overwrite")

    def abort(self) -> None:
        """Leave nothing. Any thread may call it, and again to wait for it; nothing is raised."""
        with self._lock:
            if self._finished:
                return
            if self._discarding is None:
                self._discarding = self._pool.submit(self._discard)
        with contextlib.suppress(Exception):
            self._discarding.result(PATIENCE)
        self._pool.shutdown(wait=False)
        self._held = bytearray()
        self.close()

    def _discard(self) -> None:
        file, self._file = self._file, None
        if file is None:
            return
        if self._temporary is None:
            try:
                file.discard()
            finally:
                file.closed = True  # or it would upload what it holds when it is collected
            return
        with contextlib.suppress(Exception):
            file.close()
        self.store.fs.rm_file(self._temporary)


def lacks_conditions(error: Exception) -> bool:
    """Whether a store does not know of writes on condition that nothing is there."""
    return isinstance(error, NotImplementedError) or getattr(error, "errno", None) == errno.ENOSYS


@contextmanager
def uploading(store: Store, replace: bool = True) -> Iterator[BinaryIO]:
    """An ``Upload`` that is finished at the end, and called off by an exception or a signal."""
    upload = Upload(store, replace)
    unfinished.add(upload.abort)
    try:
        yield cast(BinaryIO, upload)
        upload.finish()
    except BaseException:
        upload.abort()
        raise
    finally:
        unfinished.discard(upload.abort)
