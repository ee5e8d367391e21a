"""Patterns and folders behind URLs: the files that they mean, sorted by name.

A pattern is expanded as shells do it: ``*`` and ``?`` stop at slashes, ``**`` does not, and a name
that no file matches may be a file itself. HTTP has no listings, and ``?`` begins a query there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from nncodec.errors import RemoteNotFoundError
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
        files = {store.url_of(path) for path in names}
        if recursive:
            folders = [path for path in found if found[path]["type"] == "directory"]
            files.update(*(below(store, path) for path in folders))
    return sorted(files) or missing(store)


def below(store: Store, path: str) -> list[str]:
    """The files in a folder, to any depth; a store's marks of folders are none."""
    return [store.url_of(name) for name in sorted(store.fs.find(path)) if not name.endswith("/")]


def missing(store: Store) -> list[str]:
    """The pattern itself, if that is a file's name."""
    if store.is_file():
        return [store.url]
    raise RemoteNotFoundError(store.url, "no file matches")


def find(store: Store) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Of every file that the store's URL means, with all below folders: the folder or file that
    was named or matched, the file's path, and what the store tells of it.

    A listing is held as a whole, of one folder at a time if a pattern matches folders. Raises
    RemoteNotFoundError if there is no file, RemoteError.
    """
    matched = {store.path: info_of(store)}
    if not matched[store.path] and MAGIC.search(store.url):
        with store.explaining():
            matched = store.fs.glob(store.path, detail=True)
    found = False
    for top, info in sorted(matched.items()):
        files = {top: info}
        if info.get("type") == "directory":
            with store.explaining():
                files = store.fs.find(top, detail=True)
        for path in sorted(files):
            if files[path].get("type") == "file" and not path.endswith("/"):
                found = True
                yield top, path, files[path]
    if not found:
        raise RemoteNotFoundError(store.url, "no file matches")


def info_of(store: Store) -> dict[str, Any]:
    """What is there under the very name; nothing if nothing is."""
    with store.explaining():
        store.fs.invalidate_cache()  # others may have written since
    try:
        info = store.info()
    except RemoteNotFoundError as error:
        if "bucket" in error.why:
            raise
        return {}
    folder = store.url.endswith("/") and not is_read_only(store.url)
    return {**info, "type": "directory"} if folder else info
