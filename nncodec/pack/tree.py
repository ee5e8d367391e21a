"""What is to be packed: the entries below the names that were given, sorted, each of them once.

Names of members are those that ``tar`` would give: the path as it was given, without what leads to
the root (``/``) or above it (``..``). They are bytes, as the system has them; text is made of them
with surrogateescape. Symbolic links are entries, not followed; of hard links each is a file.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from nncodec.errors import PackError
from nncodec.remote.names import is_remote, plain

if TYPE_CHECKING:
    from nncodec.remote.store import Store

SLASH = 0x2F


class Kind(IntEnum):
    """What a member is."""

    FILE = 0
    DIRECTORY = 1
    SYMLINK = 2


@dataclass(slots=True)
class Entry:
    """Something to pack. ``path`` opens it, ``name`` is the member's."""

    name: bytes
    path: bytes
    kind: Kind
    size: int  # of a file, in bytes
    mode: int
    mtime_ns: int
    uid: int
    gid: int
    device: int
    inode: int
    target: bytes = b""  # of a symbolic link
    store: Store | None = None  # whose path it is, if it is behind a URL

    @property
    def label(self) -> str:
        """What it is called where people read it."""
        path = os.fsdecode(self.path)
        return path if self.store is None else self.store.url_of(path)

    def is_same(self, other: Entry) -> bool:
        """Whether it is one file with another entry."""
        if self.store is None or other.store is None:
            here = self.store is other.store
            return here and (self.device, self.inode) == (other.device, other.inode)
        return self.store.fs is other.store.fs and self.path == other.path

    def take(self, status: os.stat_result) -> None:
        """What the system says of it now."""
        self.size, self.mode = status.st_size, stat.S_IMODE(status.st_mode)
        self.mtime_ns, self.uid, self.gid = status.st_mtime_ns, status.st_uid, status.st_gid
        self.device, self.inode = status.st_dev, status.st_ino


Warn = Callable[[str], None]


@dataclass(frozen=True)
class Selection:
    """Which entries there are. ``excluded`` are shell patterns, of names or of last parts of them;
    what is in an excluded directory is excluded. ``outputs`` are files that packing writes, or
    ``store`` is the one behind a URL."""

    excluded: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    store: Store | None = None

    def excludes(self, name: str) -> bool:
        last = name.rpartition("/")[2]
        return any(
            fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(last, pattern)
            for pattern in self.excluded
        )

    def keeps(self, name: bytes, path: bytes) -> bool:
        if self.excluded and self.excludes(os.fsdecode(name)):
            return False
        return not any(is_same(path, output) for output in self.outputs)


def is_same(path: bytes, other: str) -> bool:
    """Whether two paths are one, also if one leads through links to folders."""
    folder, last = os.path.split(os.fsdecode(path))
    if last != os.path.basename(other):  # as of nearly all: the system need not be asked
        return False
    return os.path.realpath(folder or ".") == os.path.realpath(os.path.dirname(other) or ".")


def find_entries(names: Iterable[str], selection: Selection, warn: Warn) -> list[Entry]:
    """The entries of files, of directories with all below them, and of patterns, here and behind
    URLs; by name.

    ``warn`` hears of what is left out: what cannot be read, sockets, devices, pipes. Raises
    PackError for a name that is not there, and if two different files have one name; RemoteError.
    """
    entries: list[Entry] = []
    for given in names:
        given = plain(given)
        if is_remote(given):
            from nncodec.pack.objects import find_objects

            entries += find_objects(given, selection, warn)
            continue
        for path in expand(given):
            entries += walk(os.fsencode(path), selection, warn)
    entries.sort(key=lambda entry: entry.name)
    unique: list[Entry] = []
    for entry in entries:
        if not unique or unique[-1].name != entry.name:
            unique.append(entry)
        elif not unique[-1].is_same(entry):
            first, second = unique[-1].label, entry.label
            raise PackError(
                f"{first} and {second} would both be the member {os.fsdecode(entry.name)}; "
                "pack them on their own, or from a folder above both"
            )
    return without_folders(unique, warn) if any(e.store is not None for e in unique) else unique


def without_folders(entries: list[Entry], warn: Warn) -> list[Entry]:
    """Without objects whose names go on behind another file's, which no directory can hold."""
    files = {entry.name for entry in entries if entry.kind != Kind.DIRECTORY}
    kept: list[Entry] = []
    for entry in entries:
        ends = (at for at, byte in enumerate(entry.name) if byte == SLASH)
        if entry.store is not None and any(entry.name[:end] in files for end in ends):
            warn(f"{entry.label}: lies below what is a file itself; left out")
        else:
            kept.append(entry)
    return kept


def expand(given: str) -> list[str]:
    """The names that a pattern stands for; any other name is its own. Raises PackError."""
    if os.path.lexists(given):
        return [given]
    if glob.has_magic(given) and (found := sorted(glob.glob(given, recursive=True))):
        return found
    raise PackError(f"{given}: no such file or directory")


def member_name(path: bytes) -> bytes:
    """``../a//b/`` -> ``a/b``; empty for the working directory and those above it."""
    if os.name == "nt":
        path = os.path.splitdrive(path)[1].replace(b"\\", b"/")
    parts = os.path.normpath(path).replace(os.fsencode(os.sep), b"/").split(b"/")
    return b"/".join(part for part in parts if part not in (b"", b".", b".."))


def walk(path: bytes, selection: Selection, warn: Warn) -> Iterator[Entry]:
    """The entry of ``path`` and of all below it, in no order that matters."""
    waiting = [(member_name(path), path)]
    while waiting:
        name, path = waiting.pop()
        if name and not selection.keeps(name, path):
            continue
        entry = look_at(name, path, warn)
        if entry is None:
            continue
        if name:
            yield entry
        if entry.kind != Kind.DIRECTORY:
            continue
        try:
            below = os.listdir(path)
        except OSError as error:
            warn(f"{os.fsdecode(path)}: {why(error)}; what is in it is left out")
            continue
        prefix = name + b"/" if name else b""
        waiting += [(prefix + last, os.path.join(path, last)) for last in below]


def look_at(name: bytes, path: bytes, warn: Warn) -> Entry | None:
    """The entry at a path; None, with a warning, for what cannot be packed."""
    try:
        status = os.lstat(path)
        form = stat.S_IFMT(status.st_mode)
        kind = FORMS.get(form)
        target = os.readlink(path) if kind == Kind.SYMLINK else b""
    except OSError as error:
        warn(f"{os.fsdecode(path)}: {why(error)}; left out")
        return None
    if kind is None:
        warn(f"{os.fsdecode(path)}: is a {OTHERS.get(form, 'special file')}; left out")
        return None
    entry = Entry(name, path, kind, 0, 0, 0, 0, 0, 0, 0, target)
    entry.take(status)
    return entry


FORMS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
}
OTHERS = {
    stat.S_IFSOCK: "socket",
    stat.S_IFIFO: "named pipe",
    stat.S_IFBLK: "block device",
    stat.S_IFCHR: "character device",
}


def why(error: OSError) -> str:
    """What the system says, without its number."""
    return (error.strerror or str(error)).lower()
