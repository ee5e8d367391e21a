"""A folder of a model, as the Hugging Face hub has them, with archives in the place of weights.

``NAME`` becomes ``NAME.nnc`` for every file of weights; all others are copied as they are, to any
depth, and what symbolic links point to in place of the links. ``unpack`` gives the folder back byte
for byte; every block is verified on the way.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nncodec.api import CoderFinder, load_codec
from nncodec.decoding import decompress_stream
from nncodec.engine.native import usable_cores
from nncodec.errors import FolderError, NNCodecError
from nncodec.files import atomic_file, make_readable, sync_folder
from nncodec.lanes import Progress, no_progress
from nncodec.levels import DEFAULT_LEVEL

SUFFIX = ".nnc"
PACKED_SUFFIX = ".nnc-dir"
WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".npy", ".npz", ".tflite")
Name = str | os.PathLike[str]


@dataclass(frozen=True)
class Done:
    """A file that became an archive, or one that came out of it; sizes in bytes."""

    name: str  # in the folder, of what is not an archive
    size: int
    packed: int


def pack(
    source: Name,
    out: Name | None = None,
    *,
    level: int = DEFAULT_LEVEL,
    model: str | None = None,
    threads: int | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> list[Done]:
    """Pack a folder, or a repository's folder in the hub's cache, into ``out``.

    ``out`` is by default ``source`` with ``.nnc-dir`` behind its name. It appears once it is
    complete; one that is there and not empty is refused, or with ``force`` written into: files of
    the same names are replaced, others stay. Raises FolderError, OSError, and what ``compress``
    does.
    """
    folder = snapshot_of(Path(source))
    target = Path(out) if out is not None else packed_name(Path(source))
    found = files_of(folder)
    taken = [name for name in found if name.endswith(SUFFIX)]
    if taken:
        raise FolderError(f"holds {taken[0]}, an archive already: unpack or remove it first")
    if not any(is_weights(name) for name in found):
        raise FolderError(f"holds no file of weights ({', '.join(WEIGHTS)}): give a model's folder")
    codec = load_codec(level, model, threads)
    done = []
    with staged(folder, target, force) as stage:
        make_folders(folder, stage)
        for name, path in found.items():
            if not is_weights(name):
                copy(path, stage / name)
                continue
            with path.open("rb") as plain, new_file(stage / (name + SUFFIX), path) as sink:
                done.append(Done(name, *codec.compress_stream(plain, sink, progress)))
    return done


def unpack(
    source: Name,
    out: Name | None = None,
    *,
    threads: int | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> list[Done]:
    """Give back the folder that was packed; ``out`` and ``force`` as in ``pack``.

    Raises FolderError, OSError, and what ``decompress`` does.
    """
    folder = Path(source)
    target = Path(out) if out is not None else unpacked_name(folder)
    found = files_of(folder)
    archives = [name for name in found if name.endswith(SUFFIX)]
    if not archives:
        raise FolderError(f"holds no archives (*{SUFFIX}): give a folder that was packed")
    both = next((name for name in archives if name.removesuffix(SUFFIX) in found), None)
    if both:
        raise FolderError(f"holds both {both} and {both.removesuffix(SUFFIX)}: remove one")
    done = []
    with staged(folder, target, force) as stage:
        make_folders(folder, stage)
        for name, path in found.items():
            if name not in archives:
                copy(path, stage / name)
                continue
            plain = name.removesuffix(SUFFIX)
            with path.open("rb") as file, new_file(stage / plain, path) as sink:
                try:
                    packed, size = decompress_stream(
                        file,
                        sink,
                        CoderFinder(threads=threads),
                        progress,
                        threads=threads or usable_cores(),
                    )
                except NNCodecError as error:
                    error.args = (f"{name}: {error}",)
                    raise
            done.append(Done(plain, size, packed))
    return done


def is_weights(name: str) -> bool:
    return name.endswith(WEIGHTS)


def packed_name(folder: Path) -> Path:
    folder = folder.absolute()  # "." has no name
    return folder.with_name(folder.name + PACKED_SUFFIX)


def unpacked_name(folder: Path) -> Path:
    """Raises FolderError for a name that does not say it."""
    if not folder.name.endswith(PACKED_SUFFIX) or folder.name == PACKED_SUFFIX:
        raise FolderError(f"its name does not end with {PACKED_SUFFIX}: name the output")
    return folder.with_name(folder.name.removesuffix(PACKED_SUFFIX))


def snapshot_of(folder: Path) -> Path:
    """The folder itself, or of a repository in the hub's cache the revision that ``main`` is.

    Raises FolderError if there are several and none is.
    """
    snapshots = folder / "snapshots"
    if not folder.name.startswith("models--") or not snapshots.is_dir():
        return folder
    main = folder / "refs" / "main"
    revisions = sorted(entry.name for entry in snapshots.iterdir())
    wanted = main.read_text().strip() if main.is_file() else ""
    if wanted in revisions:
        return snapshots / wanted
    if len(revisions) == 1:
        return snapshots / revisions[0]
    raise FolderError(f"has the revisions {', '.join(revisions) or 'none'}: give snapshots/<one>")


def files_of(folder: Path) -> dict[str, Path]:
    """All files by their names in the folder, with / between; links are followed.

    Raises FolderError for what is no file, a link that leads nowhere and one that leads back up.
    """
    if not folder.is_dir():
        raise FolderError("is no folder; compress and decompress take files")
    found: dict[str, Path] = {}

    def walk(path: Path, prefix: str, above: tuple[str, ...]) -> None:
        here = os.path.realpath(path)
        if here in above:
            raise FolderError(f"{prefix} is a link to a folder that holds it: remove it")
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            name = prefix + entry.name
            if entry.is_dir():
                walk(Path(entry.path), f"{name}/", (*above, here))
            elif entry.is_file():
                found[name] = Path(entry.path)
            else:
                what = "a link that leads nowhere" if entry.is_symlink() else "no regular file"
                raise FolderError(f"{name} is {what}: restore or remove it")

    walk(folder, "", ())
    return found


def make_folders(folder: Path, target: Path) -> None:
    """The folders below, the empty ones too. ``files_of`` has found that links make no circle."""
    for path, folders, _ in os.walk(folder, followlinks=True):
        for name in folders:
            (target / os.path.relpath(path, folder) / name).mkdir(exist_ok=True)


@contextmanager
def staged(source: Path, target: Path, force: bool) -> Iterator[Path]:
    """A folder that becomes ``target`` at the end, or is removed if there is no such end."""
    resolved, other = target.resolve(), source.resolve()
    if resolved == other or other in resolved.parents or resolved in other.parents:
        raise FolderError(f"{target} lies in what it is made of, or around it: name another output")
    fresh = not os.path.lexists(target) or (target.is_dir() and not any(target.iterdir()))
    if not fresh and not target.is_dir():
        raise FolderError(f"{target} exists and is no folder: name another output")
    if not fresh and not force:
        raise FolderError(
            f"{target} already exists and is not empty; use -f (force) to write into it"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(".part", ".nncodec-", target.parent))
    try:
        yield stage
        make_readable(stage)
        if fresh:
            if target.exists():
                target.rmdir()
            os.replace(stage, target)
        else:
            move_into(stage, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(stage)
        raise
    sync_folder(target.parent)


def move_into(stage: Path, target: Path) -> None:
    """Each file over the one of its name. Raises FolderError where that is a folder."""
    names = files_of(stage)
    for name in names:
        place = target / name
        above = [target / parent for parent in Path(name).parents]
        if place.is_dir() or any(p.exists() and not p.is_dir() for p in above):
            raise FolderError(f"{place} is in the way, a file for a folder or a folder for a file")
    make_folders(stage, target)
    for name, path in names.items():
        os.replace(path, target / name)
    shutil.rmtree(stage)


@contextmanager
def new_file(path: Path, like: Path) -> Iterator[BinaryIO]:
    """A file in a stage, synced, with the mode and times of ``like``."""
    with atomic_file(path, lambda temporary: shutil.copystat(like, temporary)) as file:
        yield file


def copy(source: Path, target: Path) -> None:
    with source.open("rb") as file, new_file(target, source) as sink:
        shutil.copyfileobj(file, sink)
