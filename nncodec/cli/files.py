"""Names, overwriting, atomic writes and file attributes, as users of gzip and zstd expect them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from nncodec.cli.lines import program
from nncodec.errors import NNCodecError
from nncodec.files import atomic_file, make_readable
from nncodec.remote.names import is_inside, is_read_only, is_remote, last_part, plain

if TYPE_CHECKING:
    from nncodec.remote.store import Store

SUFFIX = ".nnc"
STDIO = "-"


class FileError(NNCodecError):
    """A file cannot be read, named or written as asked."""


def target_of(name: str) -> Path | Store:
    """What is to be written under a name. Raises FileError for a folder behind a URL, RemoteError
    for what is read-only."""
    if not is_remote(name):
        return Path(name)
    if name.endswith("/"):
        raise FileError(f"cannot write {name}: is a directory; name a file in it")
    from nncodec.remote.store import Store

    store = Store(name)
    store.check_writable()
    return store


@contextmanager
def open_input(name: str, ahead: bool = True) -> Iterator[BinaryIO]:
    """Standard input for ``-``, a regular file, or one behind a URL.

    Of that much is fetched ``ahead``, if all of it will be read in order. Raises FileError saying
    why it is refused, RemoteError.
    """
    if is_remote(name):
        from nncodec.remote.source import open_source

        with open_source(name, ahead=ahead) as remote:
            yield cast(BinaryIO, remote)
        return
    if name == STDIO:
        if sys.stdin.isatty():
            raise FileError("refusing to read from a terminal; give a file or use a pipe")
        yield sys.stdin.buffer
        return
    path = Path(name)
    try:
        if path.is_dir():
            raise FileError("is a directory; give files (tar packs directories)")
        file = path.open("rb")
    except OSError as error:
        raise FileError((error.strerror or str(error)).lower()) from error
    with file:
        yield file


def files_below(name: str) -> list[str]:
    """The files in a folder, to any depth; any other name as it is.

    A folder without a file, or one that cannot be listed, is named itself: opening it says so.
    """
    if name == STDIO or not os.path.isdir(name):
        return [name]
    found: list[str] = []

    def unreadable(error: OSError) -> None:
        found.append(error.filename)

    for folder, folders, names in os.walk(name, onerror=unreadable):
        folders.sort()
        paths = (os.path.join(folder, file) for file in sorted(names))
        found += filter(os.path.isfile, paths)
    return found or [name]


def expand(name: str, recursive: bool = False, packed: bool | None = None) -> list[str]:
    """The files that a name means: a URL's pattern or, if ``recursive``, what is in a folder.

    In a folder only archives are meant if ``packed``, or only what is none if it is False; links
    are not. Raises FileError for a folder that is not asked for, RemoteError.
    """
    name = plain(name)
    if is_remote(name):
        if name.endswith("/") and not recursive and not is_read_only(name):
            raise FileError("is a directory; -r takes the files in it")
        from nncodec.remote.listing import expand as expand_url

        found = expand_url(name, recursive)
    elif recursive and name != STDIO and os.path.isdir(name):
        found = [path for path in files_below(name) if not os.path.islink(path)]
    else:
        return [name]
    if not recursive or packed is None or found == [name]:
        return found
    return [path for path in found if path.endswith(SUFFIX) == packed]


def compressed_name(name: str, force: bool) -> Path | Store:
    """``name.nnc``. Raises FileError if it already ends so and ``force`` is not given."""
    name = named_here(name)
    if name.endswith(SUFFIX) and not force:
        raise FileError(f"already has the suffix {SUFFIX}; use -f to compress it again")
    return target_of(name + SUFFIX)


def decompressed_name(name: str) -> Path | Store:
    """``name`` without ``.nnc``. Raises FileError if it has another suffix."""
    name = named_here(name)
    if not name.endswith(SUFFIX) or re.split(r"[/\\]", name)[-1] == SUFFIX:
        raise FileError(f"unknown suffix (expected {SUFFIX}); name the output with -o")
    return target_of(name[: -len(SUFFIX)])


def named_here(name: str) -> str:
    """By what an output is called: of a URL that cannot be written a file here, as curl -O does.

    Raises FileError for what is inside another file, beside which nothing can be written.
    """
    if is_inside(name):
        raise FileError("is inside another file; name the output with -o")
    return last_part(name) if is_read_only(name) else name


def check_terminal(force: bool) -> None:
    """Raises FileError if compressed data would go to a terminal."""
    if sys.stdout.isatty() and not force:
        raise FileError("refusing to write compressed data to a terminal; use -o or a pipe, or -f")


def check_overwrite(source: str, target: Path | Store, force: bool) -> bool:
    """Ask on a terminal, refuse elsewhere. Raises FileError if ``target`` has to stay.

    Returns whether a file may be replaced, should one be there when the output is complete.
    """
    if isinstance(target, Path):
        if not os.path.lexists(target):
            return force
        is_local = source != STDIO and not is_remote(source)
        if target.exists() and is_local and os.path.samefile(source, target):
            raise FileError("input and output are the same file")
        if force or (target.exists() and not target.is_file()):
            return True
    else:
        if source == target.url:
            raise FileError("input and output are the same file")
        if not target.exists(blind=force) or force:  # asks first: there may be no such bucket
            return force
    if sys.stdin.isatty() and sys.stderr.isatty() and source != STDIO:
        print(
            f"{program()}: {target} exists; overwrite (y/n)? ", end="", file=sys.stderr, flush=True
        )
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return True
    raise FileError(f"{target} already exists; use -f to overwrite")


def check_regular(name: str) -> None:
    """Raises FileError for what would hang or never end: pipes, sockets, devices.

    What is not there is left to those who open it; folders, too.
    """
    with contextlib.suppress(OSError):
        mode = os.stat(name).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise FileError("is no regular file but a pipe, a socket or a device")


def check_outputs(outputs: Iterable[str], inputs: Iterable[str]) -> None:
    """Before anything is done: raises FileError if one of ``outputs`` could not be written then,
    if two of them are one file, or if writing one would change what is to be read."""
    there, known = list(inputs), set()
    for name in outputs:
        check_apart(name, there)
        if os.path.realpath(name) in known:
            raise FileError(f"{name} would be written twice; name different files")
        known.add(os.path.realpath(name))
        with writing(name), tempfile.TemporaryFile(dir=Path(name).parent):
            pass  # a file can be made where it is to be replaced


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Gives errors of the system the name of the file that was to be written."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise FileError(f"cannot write {name}: {why}") from error


def check_apart(output: str, inputs: Iterable[str]) -> None:
    """Raises FileError if writing ``output`` would change what is to be read, or cannot be done."""
    path = Path(output)
    if path.is_dir():
        raise FileError(f"cannot write {output}: is a directory")
    if path.exists() and not path.is_file():
        raise FileError(f"cannot write {output}: is no regular file")
    if not path.parent.is_dir():
        raise FileError(f"cannot write {output}: there is no folder {path.parent}")
    for name in inputs:
        if os.path.isdir(name):
            if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(name)):
                raise FileError(f"{output} would lie among the files to measure; write elsewhere")
        elif path.exists() and os.path.exists(name) and os.path.samefile(path, name):
            raise FileError(f"{output} is one of the files to measure; write elsewhere")


def write_json(output: str, document: Any) -> None:
    """Indented, to a file that appears when it is complete, or to standard output for ``-``."""
    text = json.dumps(document, indent=2) + "\n"
    if output == STDIO:
        print(text, end="")
        return
    with writing(output), atomic_file(Path(output)) as file:
        file.write(text.encode())


def output(
    target: Path | Store, like: str, replace: bool = True
) -> AbstractContextManager[BinaryIO]:
    """A file that appears under its name only when complete."""
    if isinstance(target, Path):
        return atomic_output(target, like, replace)
    from nncodec.remote.sink import uploading

    return uploading(target, replace)


@contextmanager
def atomic_output(target: Path, like: str, replace: bool = True) -> Iterator[BinaryIO]:
    """A file that appears under its name only when complete, with ``like``'s mode and times.

    ``nncodec.files.atomic_file`` says how; devices and pipes are written directly.
    """
    if target.exists() and not target.is_file():
        with target.open("wb") as device:
            yield device
        return

    def finish(temporary: str) -> None:
        copy_attributes(like, temporary)

    with atomic_file(target, finish, replace=replace) as file:
        yield file


class Original:
    """A file that is to be removed when its output is safe, as it was when it was first read."""

    def __init__(self, name: str) -> None:
        self.name, self.status = name, os.stat(name)

    def check(self) -> None:
        """Raises FileError if another file has its name now, or if it was written to."""
        now = os.stat(self.name)
        for field in ("st_dev", "st_ino", "st_size", "st_mtime_ns"):
            if getattr(now, field) != getattr(self.status, field):
                raise FileError("changed while it was read; it is kept")

    def remove(self) -> None:
        """Raises what ``check`` does."""
        self.check()
        os.unlink(self.name)


class RemoteOriginal:
    """The same of a file behind a URL, which no archive takes the place of where it is read-only.

    Raises RemoteError.
    """

    def __init__(self, name: str) -> None:
        from nncodec.remote.store import Store, identity

        self.name, self.store = name, Store(name)
        self.store.check_writable()
        if self.store.cache is not None:
            raise FileError(
                "what is read is a copy; --rm takes the file's own URL, without a cache"
            )
        self.identity = identity
        self.status = identity(self.store.info())

    def check(self) -> None:
        """Raises FileError."""
        if self.identity(self.store.info()) != self.status:
            raise FileError("changed while it was read; it is kept")

    def remove(self) -> None:
        """Raises what ``check`` does."""
        self.check()
        self.store.remove()


def original_of(name: str) -> Original | RemoteOriginal | None:
    """What may be removed later; None for what is no file."""
    if is_remote(name):
        return RemoteOriginal(name)
    return Original(name) if name != STDIO and Path(name).is_file() else None


class Comparison(io.RawIOBase):
    """A sink that takes nothing but the bytes of ``original``, in their order."""

    def __init__(self, original: BinaryIO) -> None:
        self.original = original

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Raises FileError."""
        view = memoryview(data).cast("B")
        for begin in range(0, len(view), 1 << 20):
            piece = view[begin : begin + (1 << 20)]
            if self.original.read(len(piece)) != piece:
                raise FileError("differs from what its archive holds; it is kept")
        return len(view)

    def finish(self) -> None:
        """Raises FileError if bytes are left over."""
        if self.original.read(1):
            raise FileError("is longer than what its archive holds; it is kept")


def copy_attributes(source: str, target: str) -> None:
    """Mode, times and, where permitted, owner of ``source``; a fresh file's mode for a pipe."""
    if source == STDIO or is_remote(source):
        make_readable(target)
        return
    status = os.stat(source)
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):
            os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, stat.S_IMODE(status.st_mode) & 0o777)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
