"""Names with a scheme, and what is called after them. Imports nothing: every command asks here."""

from __future__ import annotations

import os
import re

from nncodec.errors import RemoteError

SCHEME = r"[a-z0-9+.-]{2,}"  # one letter is a drive of Windows
URL = re.compile(rf"(?:{SCHEME}::)*({SCHEME})://")
LOCAL = re.compile("(?:file|local)://")
STORES = (  # at the end of a chain: `::` behind them is part of a name
    *("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "http", "https", "memory", "hf"),
    *("sftp", "ssh", "ftp", "smb", "hdfs", "webhdfs", "file", "local"),
)
READ_ONLY = ("http", "https")  # what servers make of a PUT is theirs alone


def is_remote(name: str) -> bool:
    """Whether a name is a URL, or a chain of them, as ``simplecache::s3://bucket/key``."""
    return URL.match(name) is not None


def is_read_only(name: str) -> bool:
    match = URL.match(name)
    return match is not None and match[1] in READ_ONLY


def is_inside(name: str) -> bool:
    """Whether a URL names what is inside another file, as ``zip://member::s3://bucket/x.zip``."""
    match = URL.match(name)
    return match is not None and match[1] not in STORES and "::" in name[match.end() :]


def plain(name: str) -> str:
    """The path of a ``file://`` URL, which is a local file like any other; other names as is."""
    match = LOCAL.match(name)
    if match is None:
        return name
    path = name[match.end() :]
    if os.name == "nt" and re.match("/[A-Za-z]:", path):
        path = path[1:]
    return path or "/"


def last_part(url: str) -> str:
    """The file's name in a URL, without a query. Raises RemoteError if it has none."""
    from urllib.parse import unquote, urlsplit

    match = URL.match(url)
    path = urlsplit(url[match.start(1) :] if match else url).path
    name = re.split(r"[/\\]", unquote(path))[-1]
    if name in ("", ".", ".."):
        raise RemoteError(url, "names no file to call the output after; use -o")
    return name
