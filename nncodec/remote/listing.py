"""Patterns and folders behind URLs: the files that they mean, sorted by name.

A pattern is expanded as shells do it: ``*`` and ``?`` stop at slashes, ``**`` does not, and a name
that no file matches may be a file itself. HTTP has no listings, and ``?`` begins a query there.
"""

from __future__ import annotations

import re

from nncodec.errors import RemoteError, RemoteNotFoundError
from nncodec.remote.names import is_read_only
from nncodec.remote.store import Store

MAGIC = re.compile(r"[*?\[]")


def expand(url: str, recursive: bool = False) -> list[str]:
    """The files that ``url`` means: those of a pattern, or with ``recursive`` those in a folder.

    Raises RemoteNotFoundError if no file matches, RemoteError.
    """
    if is_read_only(url) or not (MAGIC.search(url) or recursive):
        return [url]
    store = Store(url)
    with store.explaining():
        store.fs.invalidate_cache()  # others may have written since
        if not MAGIC.search(url):
            return below(store, store.path) if store.fs.isdir(store.path) else [url]
        found = store.fs.glob(store.path, detail=True)
        names = [path for path in found if found[path]["type"] == "file" and path[-1] != "/"]
        files = {whole(store, path) for path in names}
        if recursive:
            folders = [path for path in found if found[path]["type"] == "directory"]
            files.update(*(below(store, path) for path in folders))
    return sorted(files) or missing(store)


def below(store: Store, path: str) -> list[str]:
    """The files in a folder, to any depth; a store's marks of folders are none."""
    return [whole(store, name) for name in sorted(store.fs.find(path)) if not name.endswith("/")]


def whole(store: Store, path: str) -> str:
    """The URL of a path of the same file system: the schemes and the host are the pattern's."""
    start, given = store.url.rstrip("/"), store.path.rstrip("/")
    if not start.endswith(given):
        raise RemoteError(store.url, "has no files that can be named; name them one by one")
    return start[: len(start) - len(given)] + path


def missing(store: Store) -> list[str]:
    """The pattern itself, if that is a file's name."""
    if store.is_file():
        return [store.url]
    raise RemoteNotFoundError(store.url, "no file matches")
