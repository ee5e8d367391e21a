"""Names, overwriting, atomic writes and file attributes, as users of gzip and zstd expect them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from nncodec.cli.lines import program
from nncodec.errors import NNCodecError
from nncodec.files import atomic_file, make_readable

SUFFIX = ".nnc"
STDIO = "-"


class FileError(NNCodecError):
    """A file cannot be read, named or written as asked."""


@contextmanager
def open_input(name: str) -> Iterator[BinaryIO]:
    """Standard input for ``-``, or a regular file. Raises FileError saying why it is refused."""
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


def compressed_name(name: str, force: bool) -> Path:
    """``name.nnc``. Raises FileError if it already ends so and ``force`` is not given."""
    if name.endswith(SUFFIX) and not force:
        raise FileError(f"already has the suffix {SUFFIX}; use -f to compress it again")
    return Path(name + SUFFIX)


def decompressed_name(name: str) -> Path:
    """``name`` without ``.nnc``. Raises FileError if it has another suffix."""
    if not name.endswith(SUFFIX) or Path(name).name == SUFFIX:
        raise FileError(f"unknown suffix (expected {SUFFIX}); name the output with -o")
    return Path(name[: -len(SUFFIX)])


def check_terminal(force: bool) -> None:
    """Raises FileError if compressed data would go to a terminal."""
    if sys.stdout.isatty() and not force:
        raise FileError("refusing to write compressed data to a terminal; use -o or a pipe, or -f")


def check_overwrite(source: str, target: Path, force: bool) -> bool:
    """Ask on a terminal, refuse elsewhere. Raises FileError if ``target`` has to stay.

    Returns whether a file may be replaced, should one be there when the output is complete.
    """
    if not os.path.lexists(target):
        return force
    if target.exists() and source != STDIO and os.path.samefile(source, target):
        raise FileError("input and output are the same file")
    if force or (target.exists() and not target.is_file()):
        return True
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
    if source == STDIO:
        make_readable(target)
        return
    status = os.stat(source)
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):
            os.chown(target, status.st_uid, status.st_gid)
    os.chmod(target, stat.S_IMODE(status.st_mode) & 0o777)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
