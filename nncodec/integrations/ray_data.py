"""Ray Data: columns of a dataset and folders of files, coded by actors that load a model once.

``CompressColumn`` and ``DecompressColumn`` are classes for ``map_batches``: Ray Data makes actors
of them, places them (``num_gpus``), restarts them, holds back what nobody takes yet and shows the
progress. Every value is an archive of its own, which any nncodec reads.

``compress_files`` is for many files, and for large ones by the frame of 64 MiB: actors read ranges
themselves, by fsspec, so what is compressed never passes through the driver, which writes the
archives; they are those of ``nncodec compress``.
"""

from __future__ import annotations

import posixpath
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nncodec.api import compress, decompress, load_codec
from nncodec.blocks import check_block_size
from nncodec.codec import frame_bytes
from nncodec.errors import ContainerFormatError, NNCodecError, WorkerError
from nncodec.extras import need
from nncodec.files import atomic_file
from nncodec.integrations.names import SUFFIX
from nncodec.levels import DEFAULT_LEVEL, check_level
from nncodec.parallel.cluster import Cluster, first_line
from nncodec.parallel.ray import reason
from nncodec.tensors.spans import recognise

RETRIES = 3  # of a range, when its actors are lost
HEAD = 1 << 16  # bytes of a large file by which one of tensors is known
Batch = Any  # a dict of arrays, a pyarrow.Table or a pandas.DataFrame: what map_batches hands over


@dataclass(frozen=True)
class Column:
    """Replaces the values of ``column`` in batches of any format, or adds them as ``into``."""

    column: str
    into: str | None = None

    def replace(self, batch: Batch, change: Callable[[Any], Any]) -> Batch:
        """Nulls stay what they are. Raises NNCodecError if there is no such column."""
        into = self.into or self.column
        names = list(batch.column_names if hasattr(batch, "column_names") else batch)
        if self.column not in names:
            raise NNCodecError(f"no column {self.column!r}: there are {', '.join(map(str, names))}")
        values = batch[self.column]
        if hasattr(values, "to_pylist"):  # pyarrow
            values = values.to_pylist()
        changed = [None if is_null(value) else change(value) for value in values]
        if hasattr(batch, "set_column"):
            column = need("pyarrow", "ray").array(changed)
            if into in names:
                return batch.set_column(names.index(into), into, column)
            return batch.append_column(into, column)
        if hasattr(batch, "assign"):  # pandas
            return batch.assign(**{into: changed})
        array = np.empty(len(changed), dtype=object)
        array[:] = changed
        return {**batch, into: array}


def is_null(value: Any) -> bool:
    """None, or pandas' NaN and NA. Raises NNCodecError for what is neither bytes nor a text."""
    if isinstance(value, str | bytes | bytearray | memoryview):
        return False
    if value is None or type(value).__name__ == "NAType" or value != value:
        return True
    raise NNCodecError(f"a column of texts or bytes is needed, not of {type(value).__name__}")


class CompressColumn:
    """Texts (as UTF-8) or bytes -> archives: ``ds.map_batches(CompressColumn, ...)``.

    ``level``, ``model`` and ``block_size`` are ``nncodec.compress``'s, ``column`` and ``into`` the
    names; without ``into`` the column is replaced. A worker has one core unless ``threads`` says
    otherwise (tell Ray with ``num_cpus``, too). Raises what ``nncodec.compress`` does.
    """

    def __init__(
        self,
        column: str,
        *,
        into: str | None = None,
        level: int = DEFAULT_LEVEL,
        model: str | None = None,
        block_size: int | None = None,
        threads: int = 1,
    ) -> None:
        self.column = Column(column, into)
        self.options = {"model": model, "block_size": block_size, "threads": threads}
        self.level = level
        load_codec(level, model, threads)  # now, not with the first batch

    def __call__(self, batch: Batch) -> Batch:
        return self.column.replace(batch, self.archive)

    def archive(self, value: str | bytes) -> bytes:
        data = value.encode() if isinstance(value, str) else value
        return compress(data, self.level, **self.options)  # type: ignore[arg-type]


class DecompressColumn:
    """Archives -> bytes, or with ``text`` strings of UTF-8. Raises ``nncodec.decompress``'s errors.

    ``max_output_size`` refuses values that promise more bytes.
    """

    def __init__(
        self,
        column: str,
        *,
        into: str | None = None,
        text: bool = False,
        model: str | None = None,
        max_output_size: int | None = None,
        threads: int = 1,
    ) -> None:
        self.column, self.text = Column(column, into), text
        self.options = {"model": model, "max_output_size": max_output_size, "threads": threads}

    def __call__(self, batch: Batch) -> Batch:
        return self.column.replace(batch, self.value)

    def value(self, archive: bytes) -> str | bytes:
        data = decompress(archive, **self.options)  # type: ignore[arg-type]
        return data.decode() if self.text else data


@dataclass(frozen=True)
class Range:
    """A frame's bytes of a file, or all of a file; where it comes among the others."""

    file: int
    path: str  # a URL of fsspec, or a local path
    begin: int
    end: int
    size: int  # of the file


class CompressRange:
    """The actors of ``compress_files``: a range in, its frames out."""

    def __init__(self, level: int, model: str | None, block_size: int | None) -> None:
        self.codec = load_codec(level, model, 1).with_block_size(block_size)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        archives = np.empty(len(batch["path"]), dtype=object)
        for i in range(len(archives)):
            archives[i] = self.encode(Range(**{name: batch[name][i] for name in FIELDS}))
        return {"file": batch["file"], "archive": archives}

    def encode(self, piece: Range) -> bytes:
        system, path = need("fsspec", "ray").url_to_fs(str(piece.path))
        begin, end = int(piece.begin), int(piece.end)
        data = np.frombuffer(system.cat_file(path, begin, end) if end else b"", dtype=np.uint8)
        if len(data) != end - begin or system.size(path) != piece.size:
            raise NNCodecError(f"{piece.path} changed while it was read; compress it again")
        if end - begin == piece.size:
            return self.codec.compress(data)
        more = end < piece.size
        return b"".join(self.codec.encode_pieces([data], continues=begin > 0, more=more))


FIELDS = tuple(Range.__dataclass_fields__)


def compress_files(
    paths: Sequence[str],
    output: str,
    *,
    level: int = DEFAULT_LEVEL,
    model: str | None = None,
    block_size: int | None = None,
    workers: int | None = None,
    num_gpus: float = 0,
    progress: bool = True,
) -> list[str]:
    """Compress files to ``output``/name.nnc; returns their names. Both may be URLs of fsspec.

    Archives are those of ``nncodec compress``, whatever ``workers`` is (by default the cluster's
    cores). A file appears when it is complete; those that an error comes after stay. Files over
    64 MiB are divided; one of tensors is not, because its parts depend on its headers, and takes
    its size in memory of one worker. Raises NNCodecError for names that would be one, for what
    cannot be read, what ``nncodec.compress`` raises, and WorkerError if Ray fails.
    """
    check_level(level)
    check_block_size(block_size)
    targets = [posixpath.join(output, f"{posixpath.basename(path)}.{SUFFIX}") for path in paths]
    if len(set(targets)) < len(targets):
        raise NNCodecError("two of the files have one name: compress them to different folders")
    ranges = [piece for number, path in enumerate(paths) for piece in plan(number, path)]
    if not ranges:
        return []
    with closing(Cluster(workers)) as cluster:
        try:
            options = (level, model, block_size)
            coded = encoded(ranges, options, workers or cluster.cores(), num_gpus, progress)
            write(targets, coded.iter_rows())
        except Exception as error:
            raise cause(error) from error
    return targets


def encoded(
    ranges: list[Range],
    options: tuple[int, str | None, int | None],
    workers: int,
    num_gpus: float,
    progress: bool,
) -> Any:
    """The dataset of archives, one block a range, in their order."""
    data = need("ray.data", "ray")
    dataset = data.from_items([asdict(piece) for piece in ranges], override_num_blocks=len(ranges))
    dataset.context.execution_options.preserve_order = True
    dataset.context.enable_progress_bars = progress
    with warnings.catch_warnings():  # of retries, which have no other name: without end otherwise
        warnings.simplefilter("ignore", DeprecationWarning)
        return dataset.map_batches(
            CompressRange,
            fn_constructor_args=options,
            compute=data.ActorPoolStrategy(size=workers),
            batch_size=1,
            batch_format="numpy",
            num_cpus=1,
            num_gpus=num_gpus,
            max_task_retries=RETRIES,
        )


def plan(number: int, path: str) -> Iterator[Range]:
    """The ranges of a file that are coded one by one. Reads no more than the head of it."""
    system, inner = need("fsspec", "ray").url_to_fs(path)
    try:
        size = system.info(inner)["size"]
        whole = size <= frame_bytes() or is_container(system.cat_file(inner, 0, HEAD))
    except OSError as error:
        raise NNCodecError(f"cannot read {path}: {first_line(error)}") from error
    step = size if whole else frame_bytes()
    for begin in range(0, size, step) if size else (0,):
        yield Range(number, path, begin, min(size, begin + step), size)


def is_container(head: bytes) -> bool:
    """Whether a file that begins so may be one of tensors."""
    try:
        recognise(memoryview(head))
    except ContainerFormatError:
        return False
    return True


def write(targets: list[str], rows: Iterator[dict[str, Any]]) -> None:
    """The archives, from rows in the order of their files."""
    for number, pieces in groupby(rows, itemgetter("file")):
        with complete_file(targets[number]) as file:
            for piece in pieces:
                file.write(piece["archive"])


@contextmanager
def complete_file(target: str) -> Iterator[BinaryIO]:
    """A file of any file system that appears when it is complete; its folders are made."""
    system, path = need("fsspec", "ray").url_to_fs(target)
    system.makedirs(posixpath.dirname(path), exist_ok=True)
    if "file" in system.protocol:  # where fsspec writes elsewhere first, and moves it
        with atomic_file(Path(path)) as file:
            yield file
        return
    with system.transaction, system.open(path, "wb") as file:
        yield file


def cause(error: BaseException) -> BaseException:
    """What a task raised, out of what Ray wraps around it."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, NNCodecError | MemoryError):
            return inner
        inner = getattr(inner, "cause", None) or inner.__cause__
    if isinstance(error, need("ray", "ray").exceptions.RayActorError):
        return WorkerError(
            f"{RETRIES} workers were lost to one range; the last was {reason(error)}"
        )
    return WorkerError(f"Ray Data failed: {first_line(error)}")
