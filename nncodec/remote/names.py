"""Names with a scheme, and what is called after them. Imports nothing: every command asks here."""

from __future__ import annotations

import os
import re

from nncodec.errors import RemoteError

SCHEME = r"[a-z0-9+.-]{2,}"  # one letter is a drive of Windows
URL = re.compile(rf"(?:{SCHEME}::)*({SCHEME})://")
LOCAL = re.compile("(?:file|local)://")
READ_ONLY = ("http", "https")  # what servers make of a PUT is theirs alone


def is_remote(name: str) -> bool:
    """Whether a name is a URL, or a chain of them, as ``simplecache::s3://bucket/key``."""
    return URL.match(name) is not None


def is_read_only(name: str) -> bool:
    match = URL.match(name)
    return match is not None and match[1] in READ_ONLY


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

    name = re.split(r"[/\\]", unquote(urlsplit(url).path))[-1]
    if name in ("", ".", ".."):
        raise RemoteError(url, "names no file to call the output after; use -o")
    return name
