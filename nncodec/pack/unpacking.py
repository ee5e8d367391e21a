"""Unpacking: members as files below a folder, and nothing anywhere else.

Members' names are relative and without ``..`` (the index is refused otherwise). Links that lead out
of the folder are refused, and made last, when nothing is written any more; a folder on the way to a
member that is a link already is refused, too. A file has its name only once it is complete.
Members are decoded in the order of the content, so every block is decoded once.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nncodec import files
from nncodec.api import print_nothing
from nncodec.engine.native import usable_cores
from nncodec.errors import CorruptDataError, MemberNotFoundError, NNCodecError, PackError
from nncodec.lanes import Progress, no_progress
from nncodec.pack.decoding import Ahead
from nncodec.pack.links import leads_out, turns_behind_others
from nncodec.pack.reader import Member, PackedArchive
from nncodec.pack.tree import Kind, Warn, why
from nncodec.parallel import Workers, sharing

PERMISSIONS = 0o777  # set-user-id and its like only for those who ask for owners, too


@dataclass(frozen=True)
class Options:
    """``replace`` files that are there; give ``owners`` as the archive has them; ``any_links``:
    also those that lead out of the folder."""

    replace: bool = False
    owners: bool = False
    any_links: bool = False


DEFAULT = Options()


def unpack(
    archive: PackedArchive,
    folder: str | os.PathLike[str] = ".",
    names: Sequence[str | int] = (),
    options: Options = DEFAULT,
    *,
    workers: Workers | None = None,
    warn: Warn = print_nothing,
    note: Warn = print_nothing,
    progress: Progress = no_progress,
) -> bool:
    """Write members below ``folder``, all or those that ``names``, patterns or numbers select.

    A directory's name selects what is below it, too. ``workers`` decode the blocks, None: threads.
    ``warn`` hears of each member that could not be written or is damaged; returns whether there was
    none. ``note`` is given the name of each that was. Raises MemberNotFoundError if one of
    ``names`` selects nothing, LimitError, ModelNotFoundError.
    """
    chosen = select(archive, names)
    unpacker = Unpacker(archive, Path(folder), options, warn, note)
    if workers is not None:
        return unpacker.run(chosen, workers, progress)
    with sharing(archive.blocks.find_coder.threads or usable_cores()) as own:
        return unpacker.run(chosen, own, progress)


def chosen_size(archive: PackedArchive, chosen: Sequence[int]) -> int:
    """Bytes of members by their numbers."""
    return sum(archive.extents(number).size for number in chosen)


def select(archive: PackedArchive, patterns: Sequence[str | int]) -> list[int]:
    """Numbers of the members. Raises MemberNotFoundError."""
    if not patterns:
        return list(range(len(archive)))
    chosen: set[int] = set()
    for pattern in patterns:
        if isinstance(pattern, int):
            chosen.add(pattern)
            continue
        name = os.fsencode(pattern).rstrip(b"/")
        found = list(archive.names.below(name))
        number = archive.names.find(name)
        found += [] if number is None else [number]
        if not found:
            found = [i for i, n in enumerate(archive.names) if fnmatch.fnmatchcase(n, pattern)]
        if not found:
            raise MemberNotFoundError(
                f"no member {pattern!r}: nncodec ls shows those that there are"
            )
        chosen.update(found)
    return sorted(chosen)


class Unpacker:
    """Writes members of one archive below one folder."""

    def __init__(
        self, archive: PackedArchive, folder: Path, options: Options, warn: Warn, note: Warn
    ) -> None:
        self.archive, self.folder, self.options = archive, folder, options
        self.warn, self.note = warn, note
        self.complete = True
        self.known: set[str] = set()  # folders that were found to be some, or made

    def run(self, chosen: list[int], workers: Workers, progress: Progress) -> bool:
        """All of ``chosen``; returns whether all could be written."""
        archive, kinds = self.archive, self.archive.kinds
        folders = [i for i in chosen if kinds[i] == Kind.DIRECTORY]
        regular = [i for i in chosen if kinds[i] == Kind.FILE]
        links = [i for i in chosen if kinds[i] == Kind.SYMLINK]
        for number in folders:
            with self.attempt(number) as member:
                self.make_folder(self.path_of(member))
        free = []
        for number in sorted(regular, key=archive.first_byte):
            with self.attempt(number, silent=True) as member:
                self.check_free(self.path_of(member))
                free.append(number)
        with closing(Ahead(archive, free, workers)) as ahead:
            for number in free:
                with self.attempt(number) as member, closing(ahead.pieces(number)) as pieces:
                    self.write(member, pieces, progress)
        if links:
            targets = archive.link_targets()
            for number in links:
                with self.attempt(number) as member:
                    self.make_link(member, targets)
        for number in reversed(folders):  # last, and children first: writing changes times
            with self.attempt(number, silent=True) as member:
                path = self.path_of(member)
                if str(path) in self.known:
                    self.set_attributes(member, str(path))
        return self.complete

    @contextmanager
    def attempt(self, number: int, silent: bool = False) -> Iterator[Member]:
        """An error of one member is a warning, also damage of its blocks; the others go on."""
        member = self.archive.members[number]
        try:
            yield member
        except (PackError, CorruptDataError) as error:
            self.fail(member, str(error))
        except OSError as error:
            if isinstance(error, NNCodecError):
                raise
            self.fail(member, why(error))
        else:
            if not silent:
                self.note(member.name)

    def fail(self, member: Member, reason: str) -> None:
        self.complete = False
        self.warn(f"{member.name}: {reason}")

    def path_of(self, member: Member) -> Path:
        """Where it goes; the folders on the way are there, and none of them is a link.

        Raises PackError.
        """
        parts = member.name.split("/")
        if not set(parts).isdisjoint(("", ".", "..")):  # no index with such names is read
            raise PackError("would lie outside the folder")
        if os.name == "nt" and any(set(part) & set('\\:*?"<>|') for part in parts):
            raise PackError("has a name that this system cannot have")
        if str(self.folder) not in self.known:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.known.add(str(self.folder))
        path = self.folder
        for part in parts[:-1]:
            path = path / part
            self.make_folder(path)
        return path / parts[-1]

    def make_folder(self, path: Path) -> None:
        """Raises PackError if something else is there."""
        if str(path) in self.known:
            return
        try:
            mode = os.lstat(path).st_mode
        except FileNotFoundError:
            path.mkdir()
        else:
            if stat.S_ISLNK(mode):
                raise PackError(f"{path} is a symbolic link: nothing is written through it")
            if not stat.S_ISDIR(mode):
                raise PackError(f"{path} is there and no directory")
        self.known.add(str(path))

    def write(self, member: Member, pieces: Iterator[memoryview], progress: Progress) -> None:
        """A file, complete at once."""
        path = self.path_of(member)
        self.check_free(path)

        def finish(name: str) -> None:
            self.set_attributes(member, name)

        with placing(path, finish, self.options.replace) as file:
            for piece in pieces:
                file.write(piece)
                progress(len(piece))

    def check_free(self, path: Path) -> None:
        """Raises PackError if something is there that must stay."""
        if not os.path.lexists(path):
            return
        if path.is_dir() and not path.is_symlink():
            raise PackError("is a directory here")
        if not self.options.replace:
            raise PackError("already exists; use -f to overwrite")

    def make_link(self, member: Member, targets: dict[bytes, bytes]) -> None:
        assert member.target is not None
        if not self.options.any_links and leads_out(os.fsencode(member.name), targets):
            raise PackError(
                f"is a link to {member.target}, out of the folder; --any-links makes it anyway"
            )
        path = self.path_of(member)
        name, target = os.fsencode(member.name), os.fsencode(member.target)
        if not self.options.any_links and turns_behind_others(
            os.fsencode(self.folder), name, target
        ):
            raise PackError(
                f"is a link to {member.target}, which other links may lead out of the folder: its "
                "'..' comes behind what is no directory here; --any-links makes it anyway"
            )
        self.check_free(path)
        if os.path.lexists(path):
            path.unlink()
        os.symlink(member.target, path)
        if self.options.owners:
            self.set_owner(member, str(path))
        if member.mtime_ns is not None and os.utime in os.supports_follow_symlinks:
            with contextlib.suppress(OSError, OverflowError):
                os.utime(path, ns=(member.mtime_ns, member.mtime_ns), follow_symlinks=False)

    def set_attributes(self, member: Member, path: str) -> None:
        """Owner, mode and time of a file or folder, in this order: a new owner clears mode bits."""
        if self.options.owners:
            self.set_owner(member, path)
        os.chmod(path, member.mode if self.options.owners else member.mode & PERMISSIONS)
        if member.mtime_ns is not None:
            try:
                os.utime(path, ns=(member.mtime_ns, member.mtime_ns))
            except OverflowError:
                raise PackError("has a time that this system does not know") from None

    def set_owner(self, member: Member, path: str) -> None:
        """By name, where the name is known here, else by number; links themselves."""
        if member.uid is None or member.gid is None or not hasattr(os, "chown"):
            return
        import grp
        import pwd

        uid, gid = member.uid, member.gid
        with contextlib.suppress(KeyError):
            uid = pwd.getpwnam(member.user).pw_uid if member.user else uid
        with contextlib.suppress(KeyError):
            gid = grp.getgrnam(member.group).gr_gid if member.group else gid
        os.chown(path, uid, gid, follow_symlinks=member.kind != Kind.SYMLINK)


@contextmanager
def placing(target: Path, finish: Callable[[str], None], replace: bool) -> Iterator[BinaryIO]:
    """A file that has its name once it is complete and ``finish`` has set its attributes by a path.

    As ``nncodec.files.replacing``, but not synced: of thousands of small files that would take
    longer than decoding them.
    """
    handle, name = files.open_temporary(target.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            finish(name or files.descriptor_path(handle))
            if name is None:
                files.publish_unnamed(file, target, replace)
        if name is not None:
            files.publish(name, target, replace)
    except FileExistsError:
        raise PackError("already exists; use -f to overwrite") from None
    finally:
        if name is not None:
            files.remove_temporary(name)
