"""Files as a whole: their hashes, and writing them so that a kill leaves the old one or the new."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nncodec.errors import NNCodecError


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomically(path: Path, data: bytes) -> None:
    """Replace ``path``, with the permissions of any file one makes; it lasts through a crash."""
    with replacing(path) as file:
        file.write(data)


@contextmanager
def atomic_file(
    target: Path, finish: Callable[[str], None] | None = None, *, replace: bool = True
) -> Iterator[BinaryIO]:
    """A file that appears under its name only when complete.

    Everything is written to a file without a name, or where the system has none to a private
    temporary one beside it; synced, and given the name. Before that ``finish`` may set its
    attributes by a path, which are those of any new file otherwise. On any exception nothing is
    left. Without ``replace`` a file that came there in the meantime stays. Raises NNCodecError if
    none can be made, synced or named, or if one is there that is not to be replaced.
    """
    entered = False
    try:
        with replacing(target, finish, replace) as file:
            entered = True
            yield file
            entered = False
    except FileExistsError as error:
        if entered:
            raise
        raise NNCodecError(f"{target} already exists; use -f to overwrite") from error
    except OSError as error:
        if entered:  # of what the caller does, not of ours
            raise
        why = (error.strerror or str(error)).lower()
        raise NNCodecError(f"cannot write {target}: {why}") from error


@contextmanager
def replacing(
    target: Path, finish: Callable[[str], None] | None = None, replace: bool = True
) -> Iterator[BinaryIO]:
    """``atomic_file``, with the system's own errors."""
    handle, name = open_temporary(target.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            (finish or make_readable)(name or descriptor_path(file.fileno()))
            os.fsync(file.fileno())
            if name is None:
                publish_unnamed(file, target, replace)
        if name is not None:
            publish(name, target, replace)
    except BaseException:
        if name is not None:
            remove_temporary(name)
        raise
    temporaries.discard(name or "")
    sync_folder(target.parent)


# Names of temporary files that exist now, for whoever ends the process without unwinding.
temporaries: set[str] = set()
unfinished: set[Callable[[], object]] = set()  # and what to call then, of any thread
PREFIX, SUFFIX = ".nncodec-", ".part"  # what tells a temporary file of a killed process


def open_temporary(folder: Path) -> tuple[int, str | None]:
    """A new file in ``folder`` for reading and writing: its descriptor, and its name if it has one.

    One without a name is gone when the process is, however that ends. Linux has them on most file
    systems (O_TMPFILE); they get their name through /proc.
    """
    if hasattr(os, "O_TMPFILE") and os.path.isdir(descriptor_path()):
        with contextlib.suppress(OSError):  # an old file system; what else is wrong recurs below
            return os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), None
    handle, name = tempfile.mkstemp(SUFFIX, PREFIX, folder)
    temporaries.add(name)
    return handle, name


def remove_temporary(name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)
    temporaries.discard(name)


def descriptor_path(handle: int | str = "") -> str:
    """By which the file of a descriptor can be named, on Linux."""
    return f"/proc/self/fd/{handle}"


def publish_unnamed(file: BinaryIO, target: Path, replace: bool) -> None:
    """Give a file without a name the name ``target``.

    Where nothing is there that is one step. Else it takes two: the file has a temporary name for
    a moment, because a link never replaces. Raises FileExistsError.
    """
    try:
        link_descriptor(file.fileno(), target)
    except FileExistsError:
        if not replace:
            raise
    except OSError:  # links are forbidden, as on Android: copied to a file that has a name
        copy_named(file, target, replace)
        return
    else:
        return
    while True:
        name = str(target.parent / f"{PREFIX}{secrets.token_hex(4)}{SUFFIX}")
        with contextlib.suppress(FileExistsError):
            temporaries.add(name)
            link_descriptor(file.fileno(), name)
            break
    try:
        publish(name, target, replace)
    except BaseException:
        remove_temporary(name)
        raise


def link_descriptor(handle: int, name: str | Path) -> None:
    """linkat(2) with AT_SYMLINK_FOLLOW, which Python calls only if there is a folder's descriptor.

    (Without one it calls link(2), which does not follow /proc's link to the file.)
    """
    root = os.open("/", os.O_PATH)
    try:
        os.link(descriptor_path(handle), os.path.abspath(name), src_dir_fd=root)
    finally:
        os.close(root)


def copy_named(file: BinaryIO, target: Path, replace: bool) -> None:
    handle, name = tempfile.mkstemp(SUFFIX, PREFIX, target.parent)
    temporaries.add(name)
    try:
        with os.fdopen(handle, "wb") as copy:
            file.seek(0)
            shutil.copyfileobj(file, copy, 1 << 20)
            copy.flush()
            shutil.copystat(descriptor_path(file.fileno()), name)
            os.fsync(copy.fileno())
        publish(name, target, replace)
    except BaseException:
        remove_temporary(name)
        raise


def publish(name: str, target: Path, replace: bool) -> None:
    """Rename a complete file. Raises FileExistsError."""
    if replace:
        os.replace(name, target)
    elif os.name == "nt":
        os.rename(name, target)  # which never replaces there
    else:
        try:
            os.link(name, target)
        except FileExistsError:
            raise
        except OSError:  # a file system without links, such as FAT: nearly as good
            if os.path.lexists(target):
                raise FileExistsError(f"{target} exists") from None
            os.replace(name, target)
        else:
            os.unlink(name)
    temporaries.discard(name)


def make_readable(path: str | Path) -> None:
    """The mode that any new file or folder gets: a temporary one is its maker's alone."""
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, (0o777 if os.path.isdir(path) else 0o666) & ~mask)


def sync_folder(folder: Path) -> None:
    """Make a rename durable where the system allows a folder to be synced. Raises OSError if it
    does and fails."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows; a folder that may be written but not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)
