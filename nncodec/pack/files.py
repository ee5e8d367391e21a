"""How files that are packed are opened."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from nncodec.errors import PackError, RemoteChangedError, RemoteNotFoundError

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
