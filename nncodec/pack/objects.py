"""Files behind URLs that are packed: found by listings, read by few requests.

A *small* object is one GET, a few of them side by side, and what is read so first is held for the
second reading as far as it fits 64 MiB. Its range ends a byte behind the size that was listed: what
comes is all of one version, or of another size. Longer ones are ``RemoteSource``s, of which
every range is of one version. A file of tensors is coded as a local one is, from memory, so only up
to 64 MiB; a longer one is packed as bytes.

An object that is another when it is read again, or gone, or may not be read costs itself alone. A
network that is gone ends all: with a local output the same command goes on later.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from nncodec.errors import (
    PackError,
    RemoteChangedError,
    RemoteNotFoundError,
    RemotePermissionError,
)
from nncodec.pack.chunks import read_chunks
from nncodec.pack.files import LOST
from nncodec.pack.index import NOBODY
from nncodec.pack.names import LONGEST
from nncodec.pack.survey import LEAST_TENSORS, Read
from nncodec.pack.tree import Entry, Kind, Selection, Warn
from nncodec.remote.listing import find
from nncodec.remote.names import is_read_only
from nncodec.remote.source import RemoteSource, open_stored
from nncodec.remote.store import LISTING, Store
from nncodec.remote.tensors import find_remote_spans
from nncodec.tensors.spans import find_spans

SMALL = 1 << 20  # bytes of an object that is read by one request
ABREAST = 16  # of those at a time
WAITING = 1000  # entries that are looked at for them
HELD = 1 << 26  # bytes of small objects that are held between the readings
MOST_TENSORS = 1 << 26  # bytes of a file that is held to be coded as tensors
MODE = 0o644
BUCKETS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "obs", "cos"}
TIMES = ("LastModified", "mtime", "updated", "last_modified", "modified", "created")


def find_objects(url: str, selection: Selection, warn: Warn) -> Iterator[Entry]:
    """The entries of the files that ``url`` means. Raises RemoteError, MissingPackageError."""
    store = Store(url)
    for top, path, info in find(store):
        key, below = key_of(store, path), len(key_of(store, top))
        name = os.fsencode(key)
        parts = key.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in key or len(name) > LONGEST:
            warn(f"{store.url_of(path)}: cannot be the name of a member; left out")
            continue
        ends = [at for at, sign in enumerate(key) if sign == "/" and at >= below]
        if any(selection.excludes(key[:end]) for end in (*ends, len(key))):
            continue
        output = selection.store
        if output is not None and output.fs is store.fs and output.path == path:
            continue
        size, mtime = int(info.get("size") or 0), mtime_of(info)
        yield Entry(
            name, os.fsencode(path), Kind.FILE, size, MODE, mtime, NOBODY, NOBODY, 0, 0, b"", store
        )


def key_of(store: Store, path: str) -> str:
    """A path without what stands for the host: the bucket, the server, the root."""
    if is_read_only(store.url):
        return unquote(urlsplit(path).path).strip("/")
    if store.scheme in BUCKETS:
        return path.partition("/")[2]
    return path[1:] if path.startswith("/") else path


def mtime_of(info: dict[str, Any]) -> int:
    """Nanoseconds since 1970; 0 if the store does not tell."""
    from datetime import datetime, timezone

    for key in TIMES:
        value = info.get(key)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value.replace("Z", "+00:00"))
            except ValueError:
                continue
        if isinstance(value, datetime):
            value = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
            since = value - datetime(1970, 1, 1, tzinfo=timezone.utc)
            return ((since.days * 86400 + since.seconds) * 10**6 + since.microseconds) * 1000
        if isinstance(value, (int, float)):
            return round(value * 10**6) * 1000  # which a float holds
    return 0


def open_object(entry: Entry, ahead: bool = False) -> RemoteSource:
    """Raises RemoteError; PackError if its server sends no ranges."""
    assert entry.store is not None
    source = open_stored(entry.store.at(os.fsdecode(entry.path)), ahead=ahead)
    if not isinstance(source, RemoteSource):
        source.close()
        raise PackError("its server sends no ranges: fetch it, and pack the copy")
    return source


def get(entry: Entry) -> bytes:
    """All of a small object. Raises RemoteError; PackError if it has another size by now."""
    store, path = entry.store, os.fsdecode(entry.path)
    assert store is not None
    if entry.size == 0 and not is_read_only(store.url):
        return b""
    if store.scheme in (*LISTING, "memory") and "::" not in store.url:
        with store.at(path).explaining():
            data: bytes = store.fs.cat_file(path, start=0, end=entry.size + 1)
        if len(data) == entry.size:
            return data
    with open_object(entry) as source:  # which knows a version from a connection cut off
        if source.size != entry.size:
            raise PackError("changed while it was read")
        data = source.fetch(0, source.size)
        source.check_unchanged()
    return data


def is_small(entry: Entry) -> bool:
    return entry.store is not None and entry.kind == Kind.FILE and entry.size <= SMALL


class Objects:
    """Both readings of objects. One thread at a time may use it."""

    def __init__(self) -> None:
        self.held: dict[bytes, bytes] = {}  # contents of small ones by member
        self.room = HELD
        self.soon: dict[bytes, Future[bytes]] = {}
        self.pool = ThreadPoolExecutor(ABREAST, "nncodec-pack-get")
        self.kept: tuple[bytes, BinaryIO] | None = None  # what was read last, for the next piece

    def ahead(self, entries: list[Entry]) -> Iterator[Entry]:
        """Entries in order, the small objects among the next ones on their way."""
        waiting: deque[Entry] = deque()
        for entry in entries:
            waiting.append(entry)
            if is_small(entry):
                self.ask(entry)
            while waiting and (len(self.soon) >= ABREAST or len(waiting) > WAITING):
                yield waiting.popleft()
        yield from waiting

    def ask(self, entry: Entry) -> None:
        there = entry.name in self.held or entry.name in self.soon
        if self.kept is not None and self.kept[0] == entry.name:
            there = True
        if entry.store is not None and entry.store.concurrent and not there:
            self.soon[entry.name] = self.pool.submit(get, entry)

    def content(self, entry: Entry) -> bytes:
        """Of a small object, and it is no longer held. Raises RemoteError, PackError."""
        data = self.held.pop(entry.name, None)
        if data is not None:
            self.room += len(data)
            return data
        soon = self.soon.pop(entry.name, None)
        return soon.result() if soon is not None else get(entry)

    def read(self, entry: Entry) -> Read:
        """The first reading. Raises PackError if it costs the object, else RemoteError."""
        try:
            return self.read_small(entry) if is_small(entry) else read_long(entry)
        except RemoteChangedError as error:
            raise PackError("changed while it was read") from error
        except (RemoteNotFoundError, RemotePermissionError) as error:
            raise PackError(error.why) from error

    def read_small(self, entry: Entry) -> Read:
        data = self.content(entry)
        if len(data) >= LEAST_TENSORS and find_spans(memoryview(data)):
            found = Read.whole_of(io.BytesIO(data), len(data))
        else:
            found = Read.chunks_of(read_chunks(cast(BinaryIO, io.BytesIO(data))))
        if len(data) <= self.room:
            self.held[entry.name] = data
            self.room -= len(data)
        return found

    def prepare(self, entries: list[Entry]) -> None:
        """These will be read next."""
        size = 0
        for entry in filter(is_small, entries):
            size += entry.size
            if size > HELD:
                return
            self.ask(entry)

    def open(self, entry: Entry) -> BinaryIO | None:
        """For the second reading; None for what is another, or gone. Raises RemoteError."""
        try:
            if self.kept is None or self.kept[0] != entry.name:
                self.leave()
                if is_small(entry):
                    self.kept = entry.name, io.BytesIO(self.content(entry))
                else:
                    self.kept = entry.name, cast(BinaryIO, open_object(entry))
            return self.kept[1]
        except LOST:
            return None

    def leave(self) -> None:
        if self.kept is not None:
            self.kept[1].close()
        self.kept = None

    def close(self) -> None:
        self.leave()
        self.pool.shutdown(wait=False, cancel_futures=True)
        self.held.clear()
        self.soon.clear()


def read_long(entry: Entry) -> Read:
    with open_object(entry, ahead=True) as source:
        if source.size != entry.size:
            raise PackError("changed while it was read")
        file = cast(BinaryIO, source)
        if source.size <= MOST_TENSORS and find_remote_spans(source):
            found = Read.whole_of(file, source.size)
        else:
            found = Read.chunks_of(read_chunks(file))
        source.check_unchanged()
    return found
