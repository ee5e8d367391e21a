"""Packing: survey, plan, pieces through the codec into ``OUT.partial``, index, a new name.

A kill at any moment leaves ``OUT.partial``, and the same command goes on with it; the archive's
bytes are those of a run without a kill. Behind a URL nothing is left, and nothing to go on with.
Memory is bounded by a few pieces and about 200 bytes a member and 100 a chunk (64 KiB of a large
file) of what is packed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

import nncodec
from nncodec import api
from nncodec.blocks import check_block_size
from nncodec.codec import Codec
from nncodec.container import VERSION
from nncodec.errors import PackError, RemoteExistsError
from nncodec.files import make_readable, publish, sync_folder
from nncodec.lanes import Progress, no_progress
from nncodec.numerics import NUMERIC_VERSION
from nncodec.pack import partial
from nncodec.pack.index import Columns, index_frame
from nncodec.pack.names import Names
from nncodec.pack.partial import Progressed
from nncodec.pack.plan import Plan, Settings, make_plan
from nncodec.pack.source import Pieces, Void
from nncodec.pack.survey import survey
from nncodec.pack.tree import Entry, Kind, Selection, Warn, find_entries
from nncodec.parallel import Workers
from nncodec.remote.names import is_remote, last_part, plain

if TYPE_CHECKING:
    from nncodec.pack.objects import Objects
    from nncodec.remote.store import Store

LEVEL = 1  # packed archives' default: a member is there at once
BLOCK_SIZE = 80 << 10  # bytes: a block of it is decoded in 0.1 to 0.25 s at level 1
FRAME_SIZE = 1 << 22  # bytes of content between two checkpoints
LEAST_FRAME_SIZE = 1 << 10


@dataclass(frozen=True)
class Summary:
    """What was packed; sizes in bytes. ``complete``: nothing had to be left out."""

    members: int
    files: int
    size: int  # of all files
    content: int  # of them without what is there twice: what was compressed
    packed: int  # of the archive
    resumed: int  # of the content: what an earlier run had done
    complete: bool


Bars = Callable[[str, int], AbstractContextManager[Progress]]


def pack(
    names: Sequence[str],
    output: str | os.PathLike[str],
    *,
    level: int = LEVEL,
    model: str | None = None,
    threads: int | None = None,
    workers: Workers | None = None,
    block_size: int = BLOCK_SIZE,
    frame_size: int = FRAME_SIZE,
    dedup: bool = True,
    metadata: bool = True,
    exclude: Sequence[str] = (),
    replace: bool = False,
    warn: Warn = api.print_nothing,
    note: Warn = api.print_nothing,
    added: Warn = api.print_nothing,
    progress: Bars | None = None,
) -> Summary:
    """Pack files, directories and patterns into the archive ``output``; sizes in bytes. All of them
    may be behind URLs, and the archive: then it is uploaded as it is made, and there once complete.

    Blocks of ``block_size`` bytes are what reading a member decodes; ``workers`` code them, and the
    archive never depends on who does. About every ``frame_size`` bytes of content what was done is
    made to last; it is kept in ``output.partial`` when the process ends early, and the same call
    goes on from there, unless ``output`` is a URL. ``dedup``: bytes that are there twice are kept
    once. Without ``metadata`` the archive depends on names, contents, links and whether files can
    be executed, alone.
    ``warn`` hears of what is left out, ``note`` of what is done, ``added`` of each member's name;
    ``progress(name, total)`` is a context of a callable that takes finished bytes. Raises
    PackError, OSError, RemoteError, and what ``nncodec.compress`` does.
    """
    check_sizes(block_size, frame_size)
    target = target_of(output, replace)
    losses: list[str] = []

    def warned(text: str) -> None:
        losses.append(text)
        warn(text)

    codec = api.load_codec(level, model, threads).with_block_size(block_size)
    codec = codec.with_workers(workers)
    settings = Settings(block_size, frame_size, dedup, metadata, coder_name(codec, level))
    entries = find_entries(names, selection_of(exclude, target), warned)
    bars = progress or no_bars
    size = sum(entry.size for entry in entries if entry.kind == Kind.FILE)
    with opened_objects(entries) as objects:
        with bars("reading", size) as advance:
            found = survey(entries, advance, warned, objects)
        for entry in found.entries:
            added(os.fsdecode(entry.name))
        plan = make_plan(found, settings)
        run = Run(plan, codec, Pieces(plan, warned, objects=objects))
        name = target.name if isinstance(target, Path) else last_part(target.url)
        with closing(run.pieces), bars(name, plan.content_size) as advance:
            if isinstance(target, Path):
                resumed, columns = write_file(run, target, replace, note, advance)
            else:
                resumed, columns = 0, upload(run, target, replace, advance)
    files = int((columns.kinds == Kind.FILE).sum())
    sizes = int(columns.sizes.sum()), plan.content_size, run.size
    return Summary(len(columns.names), files, *sizes, resumed, not losses)


def target_of(output: str | os.PathLike[str], replace: bool) -> Path | Store:
    """Where the archive will be. Raises PackError, RemoteError if it cannot be there."""
    name = plain(os.fspath(output))
    if is_remote(name):
        from nncodec.remote.store import Store

        store = Store(name)
        store.check_writable()
        if name.endswith("/"):
            raise PackError(f"{name} is a directory")
        if store.exists(blind=replace) and not replace:
            raise RemoteExistsError(name, "already exists; use -f to overwrite")
        return store
    target = Path(name)
    check_target(target, replace)
    return target


def check_sizes(block_size: int, frame_size: int) -> None:
    """Raises NNCodecError."""
    check_block_size(block_size)
    if frame_size < LEAST_FRAME_SIZE:
        raise PackError(f"frame size {frame_size} is below {LEAST_FRAME_SIZE} bytes")


def check_target(target: Path, replace: bool) -> None:
    """Raises PackError if something is there that stays."""
    if os.path.lexists(target) and not replace:
        raise PackError(f"{target} already exists; use -f to overwrite")
    if target.is_dir():
        raise PackError(f"{target} is a directory")


def selection_of(exclude: Sequence[str], target: Path | Store) -> Selection:
    """All but what is excluded, and the archive itself."""
    if isinstance(target, Path):
        return Selection(tuple(exclude), (str(target), str(unfinished(target))))
    return Selection(tuple(exclude), store=target)


def unfinished(target: Path) -> Path:
    return target.with_name(target.name + partial.ENDING)


@contextmanager
def opened_objects(entries: list[Entry]) -> Iterator[Objects | None]:
    """What reads those behind URLs, if there are any."""
    if all(entry.store is None for entry in entries):
        yield None
        return
    from nncodec.pack.objects import Objects

    with closing(Objects()) as objects:
        yield objects


def write_file(
    run: Run, target: Path, replace: bool, note: Warn, advance: Progress
) -> tuple[int, Columns]:
    """Returns how much of the content was done before, and the index."""
    path = unfinished(target)
    with open_partial(path) as file:
        resumed = run.start(file, path, note)
        advance(resumed)
        run.write(advance)
        columns = run.finish()
        make_readable(path)
        os.fsync(file.fileno())
        if os.name != "nt":  # while it is locked
            give_name(path, target, replace)
    if os.name == "nt":  # where no open file is renamed
        give_name(path, target, replace)
    sync_folder(target.parent)
    return resumed, columns


def give_name(path: Path, target: Path, replace: bool) -> None:
    """Raises PackError if another process made something of that name meanwhile."""
    try:
        publish(str(path), target, replace)
    except FileExistsError as error:
        raise PackError(f"{target} already exists; use -f to overwrite") from error


def upload(run: Run, target: Store, replace: bool, advance: Progress) -> Columns:
    """The same bytes in parts, which are a file once all are there; nothing of them is kept if not.

    Raises RemoteError.
    """
    from nncodec.remote.sink import uploading

    with uploading(target, replace) as file:
        run.begin(file)
        run.write(advance)
        return run.finish()


def coder_name(codec: Codec, level: int) -> str:
    """What besides the plan decides bytes: the releases and the model."""
    model = codec.model_id.hex() if codec.model_id else "none"
    versions = f"{nncodec.__version__}, format {VERSION}, numeric {NUMERIC_VERSION}"
    environment = codec.environment.hex() if codec.environment else "none"
    return f"nncodec {versions}, level {level}, model {model}, environment {environment}"


@contextmanager
def no_bars(_name: str, _total: int) -> Iterator[Progress]:
    yield no_progress


@contextmanager
def open_partial(path: Path) -> Iterator[BinaryIO]:
    """The partial archive, for reading and writing, and for this process alone.

    Raises PackError if it cannot be had.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    while True:
        try:
            handle = os.open(path, flags, 0o600)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise PackError(f"cannot write {path}: {reason}") from error
        with os.fdopen(handle, "r+b") as file:
            partial.lock(file, str(path))
            if is_partial(handle, path):
                yield file
                return


def is_partial(handle: int, path: Path) -> bool:
    """Whether a file that was locked is the partial archive, and no complete one by now."""
    status = os.fstat(handle)
    try:
        if not os.path.samestat(status, os.stat(path)):
            return False
    except FileNotFoundError:  # renamed by another process before it was locked here
        return False
    if status.st_nlink > 1:  # killed while it was renamed: the archive is complete
        os.unlink(path)
        return False
    return True


class Run:
    """The pieces of a plan, from files to an archive: a partial one, or one that is uploaded."""

    def __init__(self, plan: Plan, codec: Codec, pieces: Pieces) -> None:
        self.plan, self.codec, self.pieces = plan, codec, pieces
        self.marks = partial.checkpoints(plan.ends, plan.whole, plan.frame_size)
        self.sync: Callable[[BinaryIO], None] = partial.sync
        self.size = 0  # of the archive, once it is finished
        self.file: BinaryIO
        self.done: Progressed

    def start(self, file: BinaryIO, path: Path, note: Warn) -> int:
        """Go on with what is there, or begin; returns how much of the content is done."""
        plan, self.file = self.plan, file
        done = partial.resume(file, plan.fingerprint, plan.ends, self.marks)
        if done is not None:
            note(
                f"going on with {path}: {done.table.content} of {plan.content_size} bytes are done"
            )
        elif file.seek(0, os.SEEK_END):
            note(f"{path} is of other files or options, or was just begun: begun anew")
        self.done = done or partial.begin(file, plan.fingerprint)
        return self.done.table.content

    def begin(self, file: BinaryIO) -> None:
        """In a file that is only written, and syncs itself."""
        self.file, self.sync = file, lambda _file: None
        self.done = partial.begin_frames(file, self.plan.fingerprint)

    def write(self, progress: Progress) -> None:
        """All pieces that are not done yet. At a checkpoint all is synced before more follows."""
        first, last = self.done.pieces, len(self.plan.ends)
        if first == last and last:
            return
        source = (self.pieces.read(number) for number in range(first, last))
        pieces = source if last else iter([np.zeros(0, np.uint8)])  # of nothing: an empty frame
        table, number = self.done.table, first
        for data in self.codec.encode_pieces(pieces, progress, continues=first > 0):
            self.file.write(data)
            table.feed(data)
            while number < last and table.content >= self.plan.ends[number] and table.between:
                self.end_piece(number)
                number += 1
        if number != last:
            raise PackError("the archive does not hold what was planned; this is a bug, report it")

    def end_piece(self, number: int) -> None:
        voids = self.pieces.finish(number)
        if voids:
            frame = partial.void_frame(voids)
            self.file.write(frame)
            self.done.table.at += len(frame)
            self.done.voids += voids
        if self.marks[number]:
            self.sync(self.file)

    def finish(self) -> Columns:
        """Write the index, without members that have void bytes; returns it."""
        columns, lost = without(self.plan.columns, self.done.voids)
        for number in lost:
            self.pieces.leave_out(number)
        self.done.table.into(columns)
        frame = index_frame(columns)
        self.file.write(frame)
        self.size = self.done.table.at + len(frame)
        self.sync(self.file)
        return columns


def without(columns: Columns, voids: list[Void]) -> tuple[Columns, list[int]]:
    """An index without the members that have bytes in ``voids``, and these."""
    if not voids:
        return columns, []
    owners = np.repeat(np.arange(len(columns.names)), columns.extents.astype(np.int64))
    ends = columns.begins + columns.sizes
    hit = np.zeros(len(columns.begins), bool)
    for begin, end in voids:
        hit |= (columns.begins < np.uint64(end)) & (ends > np.uint64(begin))
    keep = np.ones(len(columns.names), bool)
    keep[owners[hit]] = False
    kept = keep[owners]
    names = Names.of(columns.names.raw(int(i)) for i in np.flatnonzero(keep))
    columns.begins, columns.sizes = columns.begins[kept], columns.sizes[kept]
    for name in ("kinds", "modes", "extents", "seconds", "nanoseconds", "uids", "gids"):
        column = getattr(columns, name)
        setattr(columns, name, column[keep] if len(column) else column)
    columns.names = names
    return columns, np.flatnonzero(~keep).tolist()
