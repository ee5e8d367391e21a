"""Columns of text as input: Parquet files, Arrow tables and Hugging Face datasets, row by row.

Every row is a member ``TABLE/0000000012``, counted from 0 within its table, or is named by a key
column. A null row is no member, and its number is left out; an empty one is an empty member. Rows
are read by row groups and batches, a few megabytes at a time, in their order, and packed as
``PackWriter`` does: one pass, equal rows once, and a run that was killed is gone on with by reading
the rows again, not by coding them again.

Nothing is fetched and no code of a data set runs: local files and folders, or what the caller
holds.
"""

from __future__ import annotations

import glob
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from nncodec import api
from nncodec.errors import PackError
from nncodec.extras import need
from nncodec.lanes import Progress
from nncodec.pack.content import SameNameError, check_name
from nncodec.pack.stream import PackWriter
from nncodec.pack.tree import Warn, expand, member_name
from nncodec.pack.writer import Summary
from nncodec.parallel import Workers

if TYPE_CHECKING:
    from typing_extensions import Unpack

DIGITS = 10  # of a row's number, so that names sort as rows do
ROWS = 1 << 10  # that are asked for at once
STREAM_ROWS = 1 << 8  # of a stream, each of them an object
SAVED = ("state.json", "dataset_dict.json")  # of a data set that was saved to disk

Name = str | os.PathLike[str]
Path = tuple[str, ...]  # to a column, through structs


class Options(TypedDict, total=False):
    """Those of ``PackWriter``."""

    level: int
    model: str | None
    threads: int | None
    workers: Workers | None
    block_size: int
    frame_size: int
    dedup: bool
    replace: bool
    progress: Progress


@dataclass
class Rows:
    """The rows of tables as members. Counts those that are null, and knows the ``last`` given."""

    tables: Sequence[Table]
    column: str
    key: str | None = None
    nulls: int = field(default=0, init=False)
    last: tuple[str, int] = field(default=("", 0), init=False)  # its table, and which row of it

    def __post_init__(self) -> None:
        """Raises PackError if a table lacks a column, or has it of another type; and for names that
        two tables would share."""
        need("pyarrow", "data")
        seen: dict[str, str] = {}
        for table in self.tables:
            if self.key is None and seen.setdefault(table.name, table.where) != table.where:
                raise PackError(
                    f"the rows of {seen[table.name]} and {table.where} would have the same names; "
                    "pack them on their own, or name rows by --key"
                )
            if table.schema is not None:
                self.paths(table, table.schema)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        for table in self.tables:
            yield from self.of(table)

    def paths(self, table: Table, schema: Any) -> tuple[Path, Path | None]:
        """Where the two columns are. Raises PackError, also for their types."""
        from nncodec.pack import arrow

        found = []
        for name in (self.column, *([self.key] if self.key else [])):
            found.append(arrow.find_field(schema, name, table.where))
            kind, what = arrow.field_type(schema, found[-1]), f"{table.where}: column {name!r}"
            arrow.check_type(kind, what, key=len(found) > 1)
        return found[0], found[1] if self.key else None

    def of(self, table: Table) -> Iterator[tuple[bytes, bytes]]:
        from nncodec.pack import arrow

        what, prefix = f"{table.where}: column {self.column!r}", os.fsencode(table.name)
        number = 0
        for batch in table.batches([self.column, *([self.key] if self.key else [])]):
            path, key = self.paths(table, batch.schema)
            for part in arrow.steps(batch, path):
                found = arrow.values(arrow.column_of(part, path), what)
                if key:
                    names = arrow.values(arrow.column_of(part, key), f"{table.where}: key")
                for i, data in enumerate(found):
                    self.last = table.where, number + i
                    if data is None:
                        self.nulls += 1
                    elif not key:
                        yield row_name(prefix, number + i), data
                    else:
                        yield key_name(names[i], f"{table.where}: row {number + i}"), data
                number += len(found)


def row_name(prefix: bytes, number: int) -> bytes:
    name = b"%0*d" % (DIGITS, number)
    return prefix + b"/" + name if prefix else name


def key_name(key: bytes | None, what: str) -> bytes:
    """The member's name, as ``tar`` would have it: without a leading or a double ``/``."""
    name = b"/".join(part for part in (key or b"").split(b"/") if part not in (b"", b".", b".."))
    try:
        check_name(name)
    except PackError as error:
        raise PackError(f"{what}: its key {key!r} names no member: {error}") from error
    return name


@dataclass
class Table(ABC):
    """Something of rows: ``name`` is in front of theirs, ``where`` is for messages.

    Without a ``schema`` only its batches tell what it is of.
    """

    name: str
    where: str
    schema: Any

    @abstractmethod
    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """Record batches, in order, that have those columns (``field.below``) if there are such."""

    def roots(self, columns: Sequence[str], names: Sequence[str]) -> list[str]:
        """The columns of the top that those are in."""
        found = (name if name in names else name.partition(".")[0] for name in columns)
        return list(dict.fromkeys(found))


@dataclass
class ParquetTable(Table):
    """A file, one row group after the other."""

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        with open_parquet(self.where) as file:
            for group in range(file.num_row_groups):
                # In this thread alone: coding is what takes time, and it has the cores.
                yield from file.iter_batches(
                    ROWS, row_groups=[group], columns=list(columns), use_threads=False
                )


@dataclass
class ArrowTable(Table):
    """Record batches that the caller has, or reads: an iterable of them, once."""

    data: Iterable[Any]

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        return iter(self.data)


@dataclass
class DatasetTable(Table):
    """A ``Dataset``, in memory or mapped."""

    data: Any

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        data = self.data.select_columns(self.roots(columns, self.schema.names))
        for table in data.with_format("arrow").iter(batch_size=ROWS):
            yield from table.to_batches()


@dataclass
class StreamTable(Table):
    """An ``IterableDataset``: examples of which nobody may know the types before they come."""

    data: Any

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        import pyarrow as pa

        from nncodec.pack.arrow import no_column

        for batch in self.data.iter(batch_size=STREAM_ROWS):
            roots = self.roots(columns, list(batch))
            for root in roots:
                if root not in batch:
                    raise no_column(root, list(batch), self.where)
            try:
                yield pa.RecordBatch.from_pydict({root: batch[root] for root in roots})
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise PackError(f"{self.where}: values of different types: {error}") from error


def pack_table(
    sources: Sequence[Name] | Name,
    output: Name,
    column: str,
    *,
    key: str | None = None,
    note: Warn = api.print_nothing,
    **options: Unpack[Options],
) -> Summary:
    """Pack a column of Parquet files: names, patterns, folders of them, in that order.

    Folders that ``datasets`` saved are taken too. ``column`` may be ``field.below`` in a struct.
    Rows are named by the column ``key`` if it is given. ``note`` hears of null rows, which are left
    out. The rest is as of ``PackWriter``. Raises PackError, MissingPackageError, OSError and what
    ``nncodec.compress`` does.
    """
    names = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources)
    tables = [table for name in names for table in find_tables(os.fspath(name))]
    return pack_rows(Rows(tables, column, key), output, note, options)


def pack_dataset(
    data: Any,
    output: Name,
    column: str,
    *,
    key: str | None = None,
    prefix: str | None = None,
    note: Warn = api.print_nothing,
    **options: Unpack[Options],
) -> Summary:
    """Pack a column of a data set that the caller has.

    ``data`` is a ``Dataset``, ``IterableDataset``, or a dict of them by split; a pyarrow table,
    batch or reader of batches; or the path of a saved data set. ``prefix`` is in front of the rows'
    numbers: the split's name or ``rows`` unless it is given. The rest is as of ``pack_table``.
    """
    if isinstance(data, (str, os.PathLike)):
        return pack_table(data, output, column, key=key, note=note, **options)
    return pack_rows(Rows(list(tables_of(data, prefix)), column, key), output, note, options)


def pack_rows(rows: Rows, output: Name, note: Warn, options: Options) -> Summary:
    with PackWriter(output, note=note, **options) as writer:
        try:
            writer.extend(rows)
        except SameNameError as error:
            where, number = rows.last
            raise PackError(f"{where}: row {number}: its key is another row's: {error}") from error
        summary = writer.finish()
    if rows.nulls:
        what = "row is null and no member" if rows.nulls == 1 else "rows are null and no members"
        note(f"{output}: {rows.nulls} {what}")
    return summary


def find_tables(name: str) -> Iterator[Table]:
    """The tables of a name, a pattern or a folder, by name. Raises PackError, OSError."""
    for path in expand(name):
        if not os.path.isdir(path):
            yield parquet_table(path)
        elif any(os.path.exists(os.path.join(path, saved)) for saved in SAVED):
            yield from saved_tables(path)
        else:
            below = os.path.join(glob.escape(path), "**", "*.parquet")
            found = sorted(filter(os.path.isfile, glob.glob(below, recursive=True)))
            if not found:
                raise PackError(f"{path}: no Parquet file (*.parquet) in it, nor a saved data set")
            yield from map(parquet_table, found)


def parquet_table(path: str) -> Table:
    with open_parquet(path) as file:
        schema = file.schema_arrow
    return ParquetTable(os.fsdecode(member_name(os.fsencode(path))), path, schema)


def open_parquet(path: str) -> Any:
    """Raises PackError for another file, OSError."""
    need("pyarrow", "data")
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path, pre_buffer=False)
    except pa.ArrowInvalid as error:
        raise PackError(f"{path}: is no Parquet file, whose columns could be read") from error


def saved_tables(path: str) -> Iterator[Table]:
    """Of a folder of ``save_to_disk``: files are mapped, nothing of it runs. Raises PackError."""
    datasets = need("datasets", "data")
    try:
        data = datasets.load_from_disk(path)
    except (ValueError, KeyError, FileNotFoundError) as error:
        raise PackError(f"{path}: is no data set that can be loaded: {error}") from error
    return tables_of(data, os.fsdecode(member_name(os.fsencode(path))), where=path)


def tables_of(data: Any, prefix: str | None = None, *, where: str | None = None) -> Iterator[Table]:
    """Raises PackError for what is none of those that ``pack_dataset`` takes."""
    if isinstance(data, dict) and data:
        for split, each in data.items():
            name = f"{prefix}/{split}" if prefix else str(split)
            yield from tables_of(each, name, where=f"{where or 'data set'}, split {split}")
        return
    pa, datasets = sys.modules.get("pyarrow"), sys.modules.get("datasets")
    if pa and isinstance(data, (pa.Table, pa.RecordBatch, pa.RecordBatchReader)):
        batches = data.to_batches() if isinstance(data, pa.Table) else data
        batches = [data] if isinstance(data, pa.RecordBatch) else batches
        yield ArrowTable(name_of(prefix, "rows"), where or "table", data.schema, batches)
    elif datasets and isinstance(data, datasets.Dataset):
        name = name_of(prefix, str(data.split or "rows"))
        yield DatasetTable(name, where or "data set", data.features.arrow_schema, data)
    elif datasets and isinstance(data, datasets.IterableDataset):
        yield StreamTable(name_of(prefix, str(data.split or "rows")), where or "stream", None, data)
    else:
        raise PackError(
            f"{type(data).__name__} is no table: give a data set of Hugging Face's datasets, "
            "a pyarrow table, or a path"
        )


def name_of(prefix: str | None, otherwise: str) -> str:
    return otherwise if prefix is None else prefix
