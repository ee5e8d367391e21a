"""Files that are read here and there, wherever they lie."""

from __future__ import annotations

import os
from typing import BinaryIO, cast

from nncodec.errors import RemoteError
from nncodec.remote.names import is_remote, plain


def open_seekable(name: str | os.PathLike[str]) -> BinaryIO:
    """A path or a URL. Raises OSError; RemoteError, also if its server sends no ranges."""
    if not isinstance(name, str) or not is_remote(name := plain(name)):
        return open(name, "rb")
    from nncodec.remote.source import open_source

    source = open_source(name)
    if not source.seekable():
        source.close()
        raise RemoteError(name, "its server sends no ranges: fetch it, and name the copy")
    return cast(BinaryIO, source)
