"""How files are opened: those that are packed, and archives. Archives may lie behind URLs."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO, cast

from nncodec.errors import PackError, RemoteChangedError, RemoteNotFoundError
from nncodec.remote.names import is_remote, plain

FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NOFOLLOW", 0)  # a link that took the file's place is none of what was found
    | getattr(os, "O_NONBLOCK", 0)  # a pipe that did would be waited for
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
# What costs the one object that it is raised of; other errors of a store end all.
LOST = (RemoteChangedError, RemoteNotFoundError, PackError)


def open_member(path: bytes) -> BinaryIO:
    """A regular file to be packed. Raises OSError, PackError if it is none any more."""
    handle = os.open(path, FLAGS)
    file = os.fdopen(handle, "rb", buffering=0)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        file.close()
        raise PackError("is no regular file any more")
    return file  # raw: whoever reads takes large pieces


def open_archive(name: str | os.PathLike[str]) -> BinaryIO:
    """A packed archive to be read, a path or a URL. Raises OSError, RemoteError, PackError."""
    if isinstance(name, str) and is_remote(name):
        from nncodec.remote.source import open_source

        source = open_source(name)
        if not source.seekable():
            source.close()
            raise PackError("its server sends no ranges: fetch it, and name the copy")
        return cast(BinaryIO, source)
    return open(plain(name) if isinstance(name, str) else name, "rb", buffering=0)
