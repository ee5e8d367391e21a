"""A URL's file system and path there; what went wrong there, in words that name the remedy.

The libraries below raise what they like: botocore its own exceptions, fsspec the system's, aiohttp
both, and HTTP's 403 may arrive as a FileNotFoundError. ``explain`` maps them all, by what they and
their causes are called, so that no library has to be imported to name its exceptions.
"""

from __future__ import annotations

import copy
import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nncodec.errors import (
    MissingPackageError,
    NNCodecError,
    RemoteChangedError,
    RemoteError,
    RemoteExistsError,
    RemoteNotFoundError,
    RemotePermissionError,
)
from nncodec.extras import need
from nncodec.remote.names import READ_ONLY, STORES, URL, is_inside, is_read_only

PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"} | dict.fromkeys(
    READ_ONLY, "aiohttp"
)
LISTING = ("s3", "s3a", "gs", "gcs")  # they remember listings, in which others' changes lack
BUCKETS = (*LISTING, "abfs", "abfss", "az")  # paths there begin with one
NO_CREDENTIALS = {
    *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"),
    *("DefaultCredentialsError", "RefreshError"),  # Google's
}
UNREACHABLE = {"EndpointConnectionError", "ClientConnectorError", "ConnectionRefusedError"}
TOO_SLOW = {"FSTimeoutError", "ConnectTimeoutError", "ReadTimeoutError", "TimeoutError"}
CUT_OFF = {
    "ClientPayloadError",
    "ConnectionClosedError",
    "ConnectionResetError",
    "FlexibleChecksumError",
    "IncompleteRead",
    "IncompleteReadError",
    "ResponseStreamingError",
    "ServerDisconnectedError",
}
CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; "
    """for a public bucket FSSPEC_S3='{"anon": true}'""",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS",
}
ENDPOINTS = {"s3": "check the network and FSSPEC_S3_ENDPOINT_URL or AWS_ENDPOINT_URL"}
# Of what a file system tells of a file: what is another when the file is.
IDENTITY = (
    *("size", "ETag", "etag", "generation", "md5Hash", "content_md5", "Content-MD5", "Digest"),
    *("VersionId", "mtime", "LastModified", "last_modified", "Last-Modified", "updated", "created"),
)


class Store:
    """Where ``url`` lies. Raises MissingPackageError, or RemoteError for a scheme nobody knows.

    ``fs`` is the store itself. Of a chain that keeps copies ``cache`` is what reads through them;
    nothing else does, since they may be older than what is there.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        match = URL.match(url)
        self.scheme = match[1] if match else ""
        self.chained = bool(match and match.start(1)) or is_inside(url)
        self.cache: Any = None
        need("fsspec", "remote")
        with self.explaining():
            self.fs, self.path = self._open_chain() if self.chained else self._open_one()

    def _open_one(self) -> tuple[Any, str]:
        """Without splitting at ``::``, which keys may have in them, and addresses of IPv6."""
        from fsspec.core import get_filesystem_class

        kind = get_filesystem_class(self.scheme)
        options = {**kind._get_kwargs_from_urls(self.url), **self._fresh()}
        path: str = kind._strip_protocol(self.url)
        return kind(**options), path

    def _open_chain(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs
        from fsspec.implementations.cached import CachingFileSystem

        for part in self.url.split("::")[:-1]:
            if part.partition("://")[0] in STORES and "://" in part:
                raise RemoteError(self.url, "no chain reaches a name with :: in it; name it alone")
        fs, path = url_to_fs(self.url, **{self.scheme: self._fresh()})
        if isinstance(fs, CachingFileSystem):
            self.cache = fs
        while isinstance(fs, CachingFileSystem):
            fs = fs.fs
        return fs, path

    def _fresh(self) -> dict[str, Any]:
        return {"use_listings_cache": False} if self.scheme in LISTING else {}

    def __str__(self) -> str:
        return self.url

    def at(self, path: str) -> Store:
        """Another file of the same file system. Raises RemoteError if it has no URL."""
        other = copy.copy(self)
        other.url, other.path = self.url_of(path), path
        return other

    def url_of(self, path: str) -> str:
        """The schemes and the host are this one's. Raises RemoteError."""
        start, given = self.url.rstrip("/"), self.path.rstrip("/")
        if not start.endswith(given):
            raise RemoteError(self.url, "has no files that can be named; name them one by one")
        return start[: len(start) - len(given)] + path

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Errors of the libraries below, as ``explain`` puts them."""
        try:
            yield
        except NNCodecError:
            raise
        except Exception as error:
            raise explain(self.url, self.scheme, error) from error

    @property
    def concurrent(self) -> bool:
        """Whether several threads may ask the store for ranges at once."""
        return bool(getattr(self.fs, "async_impl", False))

    def info(self) -> dict[str, Any]:
        """Raises RemoteError."""
        with self.explaining():
            found: dict[str, Any] = self.fs.info(self.path)
        return found

    def exists(self, *, blind: bool = False) -> bool:
        """Raises RemoteError if that cannot be told, or if there is no such bucket.

        ``blind``: what one may not look at counts as absent. S3 denies a look at what is not there
        to whoever may write but not list.
        """
        try:
            self.info()
        except RemotePermissionError:
            if not blind:
                raise
            return False
        except RemoteNotFoundError as error:
            if "bucket" in error.why:
                raise
            return False
        return True

    def is_file(self) -> bool:
        try:
            return bool(self.info()["type"] == "file")
        except RemoteNotFoundError:
            return False

    def check_writable(self) -> None:
        """Raises RemoteError for what is read-only by its scheme, or is no file's name."""
        if is_read_only(self.url):
            raise RemoteError(self.url, f"{self.scheme} is for reading; write to a file or a store")
        if is_inside(self.url):
            raise RemoteError(self.url, "is inside another file; write to a file or a store")
        if self.scheme in BUCKETS and "/" not in self.path.strip("/"):
            raise RemoteError(self.url, "is a bucket; name a file in it")

    def remove(self) -> None:
        """Raises RemoteError."""
        with self.explaining():
            self.fs.rm_file(self.path)


def identity(info: dict[str, Any]) -> tuple[str, ...]:
    """What tells a file from another one, or from a later one of its name."""
    return tuple(f"{key}={info[key]}" for key in IDENTITY if info.get(key) is not None)


def causes(error: BaseException | None) -> list[BaseException]:
    """An exception and those that it came of."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def called(errors: list[BaseException], names: set[str]) -> bool:
    return any(kind.__name__ in names for error in errors for kind in type(error).__mro__)


def is_transient(error: Exception, scheme: str) -> bool:
    """Whether the same request may succeed a moment later, and nobody else has tried.

    Over HTTP nobody has; the libraries of stores try for minutes.
    """
    again = CUT_OFF | TOO_SLOW if scheme in READ_ONLY else {"FlexibleChecksumError"}
    return called([error], again)


def explain(url: str, scheme: str, error: Exception) -> NNCodecError:
    """What to raise instead of a library's ``error``."""
    errors = causes(error)
    statuses = {vars(e).get("status", vars(e).get("code")) for e in errors}
    said = " ".join(str(error).split()) or type(error).__name__
    kin = {"s3a": "s3", "gcs": "gs"}.get(scheme, scheme)
    if isinstance(error, ImportError):
        if scheme in PACKAGES:
            package = PACKAGES[scheme]
            said = f"needs {package}: install it with pip install 'nncodec-lm[remote]'"
        return MissingPackageError(f"{url}: {said}")
    if isinstance(error, ValueError) and said.startswith("Protocol not known"):
        return RemoteError(url, f"unknown protocol {scheme}; s3, gs, https and fsspec's others are")
    if isinstance(error, ValueError) and "non key-like" in said:
        return RemoteError(url, "is a bucket; name a file in it, or -r takes all of them")
    if called(errors, NO_CREDENTIALS):
        return RemotePermissionError(url, f"no credentials; {CREDENTIALS.get(kin, said)}")
    if called(errors, {"FileExpired"}) or 412 in statuses:
        return RemoteChangedError(url, "was replaced while it was read; begin again")
    if called(errors, UNREACHABLE):
        endpoint = ENDPOINTS.get(kin, "check the address and the network")
        return RemoteError(url, f"nothing answers there; {endpoint}")
    if called(errors, CUT_OFF | TOO_SLOW):
        return RemoteError(url, f"the connection failed ({said}); try again")
    if isinstance(error, PermissionError) or statuses & {401, 403} or said.startswith("Forbidden"):
        may = CREDENTIALS.get(kin, "check that you may")
        return RemotePermissionError(url, f"permission denied ({said}); {may}")
    if failed := sorted(s for s in statuses if isinstance(s, int) and s >= 500):
        return RemoteError(url, f"the server fails (HTTP status {failed[0]}); try again later")
    if isinstance(error, FileNotFoundError):
        if "bucket" in said.lower() and "not exist" in said.lower():
            return RemoteNotFoundError(url, "no such bucket; make it first, or check its name")
        return RemoteNotFoundError(url, "no such file; check its name")
    if isinstance(error, FileExistsError):
        return RemoteExistsError(url, "already exists; use -f to overwrite")
    if isinstance(error, OSError) and error.errno == getattr(errno, "EREMCHG", None):
        return RemoteError(url, f"lies in another region ({said}); set AWS_DEFAULT_REGION to it")
    return RemoteError(url, f"{type(error).__name__}: {said}")
