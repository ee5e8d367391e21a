"""What the commands do with each file: codec, files and progress bar put together."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

import numpy as np

import nncodec
from nncodec import api
from nncodec.causal.options import DEFAULT, CausalOptions
from nncodec.cli import files
from nncodec.cli.progress import progress_bar
from nncodec.decoding import decompress_stream
from nncodec.engine.native import available_isas, choose_isa, usable_cores
from nncodec.lanes import Progress
from nncodec.limits import NO_LIMITS, Limits
from nncodec.numerics import NUMERIC_VERSION
from nncodec.parallel import Workers
from nncodec.reader import ArchiveReader
from nncodec.remote.names import is_remote, plain
from nncodec.tensors.base import Base

if TYPE_CHECKING:
    from nncodec.remote.store import Store

Sizes = tuple[int, int]  # bytes in, bytes out
Work = Callable[[BinaryIO, BinaryIO, Progress], Sizes]
Row = Mapping[str, Any]
Shown = TypeVar("Shown")


def transform(
    name: str,
    target: Path | Store | None,
    total: int | None,
    force: bool,
    quiet: bool,
    work: Work,
    ahead: bool = True,
) -> Sizes:
    """Run ``work`` from one file into another, or into standard output for ``target`` None.

    ``ahead`` as of ``files.open_input``.
    """
    with files.open_input(name, ahead) as source:
        if target is not None:
            replace = files.check_overwrite(name, target, force)
        with progress_bar(name, total, quiet) as progress:
            check = getattr(source, "check_unchanged", lambda: None)  # of a remote file
            if target is None:
                sizes = to_stdout(source, work, progress)
                check()
                return sizes
            with files.output(target, name, replace) as sink:
                sizes = work(source, sink, progress)
                check()
                return sizes


def to_stdout(source: BinaryIO, work: Work, progress: Progress) -> Sizes:
    """Run ``work`` into standard output, which may be unbuffered: raw writes may fall short."""
    out: BinaryIO = sys.stdout.buffer
    if not isinstance(out, io.RawIOBase):
        sizes = work(source, out, progress)
        out.flush()
        return sizes
    buffered = io.BufferedWriter(out)
    try:
        sizes = work(source, buffered, progress)
        buffered.flush()
    finally:
        buffered.detach()
    return sizes


def open_base(name: str | None) -> Base | None:
    """A remote one is read whole, into memory."""
    if name is None or not is_remote(name := plain(name)):
        return Base.open(name) if name else None
    with files.open_input(name) as source:
        return Base(np.frombuffer(source.read(), np.uint8))


def encoder(
    level: int,
    model: str | None,
    threads: int | None,
    base: Base | None = None,
    options: CausalOptions = DEFAULT,
    notify: Callable[[str], object] = api.print_nothing,
    block_size: int | None = None,
    workers: Workers | None = None,
) -> Work:
    def work(source: BinaryIO, sink: BinaryIO, progress: Progress) -> Sizes:
        codec = api.load_codec(level, model, threads, options, notify)
        codec = codec.with_block_size(block_size).with_workers(workers)
        if base is None and is_remote(str(getattr(source, "name", ""))):
            from nncodec.remote.tensors import compress_remote

            return compress_remote(codec, source, sink, progress)
        return codec.compress_stream(source, sink, progress, base)

    return work


no_note = api.print_nothing


def print_note(text: str) -> None:
    print(f"nncodec: {text}", file=sys.stderr, flush=True)


def decoder(
    model: str | None,
    threads: int | None,
    base: Base | None = None,
    options: CausalOptions = DEFAULT,
    limits: Limits = NO_LIMITS,
    workers: Workers | None = None,
) -> Work:
    find = api.CoderFinder(model, threads, options)

    def work(source: BinaryIO, sink: BinaryIO, progress: Progress) -> Sizes:
        cores = threads or usable_cores()
        return decompress_stream(source, sink, find, progress, limits, cores, base, workers)

    return work


class RangeDecoder:
    """Decodes bytes ``begin`` to ``end`` of an archive that can be seeked, and counts its blocks.

    What is beyond its end is not there. The limit of output is that of the range.
    """

    def __init__(
        self,
        begin: int,
        end: int | None,
        model: str | None,
        threads: int | None,
        base: Base | None = None,
        options: CausalOptions = DEFAULT,
        limits: Limits = NO_LIMITS,
    ) -> None:
        self.begin, self.end, self.base, self.limits = begin, end, base, limits
        self.find = api.CoderFinder(model, threads, options)
        self.decoded = self.blocks = 0

    def __call__(self, source: BinaryIO, sink: BinaryIO, progress: Progress) -> Sizes:
        if not source.seekable():
            raise files.FileError(
                "--range needs a file, not a pipe: save the archive to one, "
                "or decompress all of it and cut (head, tail)"
            )
        begin_of_archive = source.tell()
        memory = Limits(max_memory=self.limits.max_memory)
        reader = ArchiveReader(source, self.find, base=self.base, limits=memory)
        packed = source.tell() - begin_of_archive
        end = reader.size if self.end is None else min(self.end, reader.size)
        self.blocks, written = len(reader.index), 0
        self.limits.check_output(max(0, end - self.begin))
        for piece in reader.pieces(self.begin, end):
            sink.write(piece)
            progress(len(piece))
            written += len(piece)
        self.decoded = reader.blocks_decoded
        return packed, written


def file_size(name: str) -> int | None:
    """Bytes that compressing will read, where they are known before; of a URL only for a bar."""
    if is_remote(name) and sys.stderr.isatty():
        from nncodec.remote.store import Store

        size: int | None = Store(name).info()["size"]
        return size
    if name == files.STDIO or is_remote(name):
        return None
    path = Path(name)
    return path.stat().st_size if path.is_file() else None


def archive_total(name: str) -> int | None:
    """Uncompressed size from the headers, where the input can be read twice at no cost."""
    if name == files.STDIO or is_remote(name) or not Path(name).is_file():
        return None
    with files.open_input(name) as source:
        return api.read_info(source).uncompressed_size


def verify(
    name: str,
    model: str | None,
    threads: int | None,
    quiet: bool,
    base: Base | None = None,
    options: CausalOptions = DEFAULT,
    limits: Limits = NO_LIMITS,
    workers: Workers | None = None,
) -> Sizes:
    """Decode an archive into nothing; every block's checksum is compared on the way."""
    with (
        files.open_input(name) as source,
        progress_bar(name, archive_total(name), quiet) as progress,
        open(os.devnull, "wb") as nothing,
    ):
        decode = decoder(model, threads, base, options, limits, workers)
        return decode(source, nothing, progress)


def remove_verified(
    original: files.Original | files.RemoteOriginal,
    target: Path | Store,
    model: str | None,
    threads: int | None,
    quiet: bool,
    base: Base | None = None,
) -> None:
    """Remove a file whose archive, as it lies under its name, decodes to that very file.

    So it stays if it was written to meanwhile, or if another process replaced the archive. Raises
    FileError and what decoding does.
    """
    name = original.name
    with (
        files.open_input(str(target)) as source,
        files.open_input(name) as wanted,
        progress_bar(str(target), archive_total(str(target)), quiet) as progress,
    ):
        sink = files.Comparison(wanted)
        decoder(model, threads, base)(source, cast(BinaryIO, sink), progress)
        sink.finish()
        if not is_same(source, target):
            raise files.FileError(f"{target} was replaced by another process; it is kept")
    original.remove()


def is_same(source: BinaryIO, target: Path | Store) -> bool:
    """Whether an open file is still the one of its name."""
    if isinstance(target, Path):
        return os.path.samestat(os.fstat(source.fileno()), os.stat(target))
    from nncodec.remote.source import RemoteSource
    from nncodec.remote.store import identity

    return isinstance(source, RemoteSource) and identity(target.info()) == source.version


def engine_info(threads: int | None) -> Row:
    """The native engine as it would start here. Raises NNCodecError for a wrong NNCODEC_ISA."""
    return {
        "isa": choose_isa(),
        "available_isas": available_isas(),
        "threads": threads or usable_cores(),
        "numeric_version": NUMERIC_VERSION,
        "version": nncodec.__version__,
    }


def summary(name: str, sizes: Sizes, target: Path | Store) -> str:
    """``name: 3.12 bits/byte, 2.56x (1000000 => 390000 bytes, name.nnc)``."""
    size, packed = sizes
    bits = f"{8 * packed / size:.2f} bits/byte, " if size else ""
    return f"{name}: {bits}{size / packed:.2f}x ({size} => {packed} bytes, {target})"


def show_table(rows: Sequence[Shown], columns: Mapping[str, Callable[[Shown], str]]) -> None:
    """Aligned columns on standard output."""
    cells = [list(columns), *([column(row) for column in columns.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    for row in cells:
        show_row(row, widths)


def show_row(cells: Sequence[str], widths: Sequence[int]) -> None:
    """One line of a table, seen at once where rows take their time."""
    line = "  ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True))
    print(line.rstrip(), flush=True)


def block_kinds(blocks: Mapping[str, int]) -> str:
    """``2 mixed, 1 stored``."""
    return ", ".join(f"{n} {kind}" for kind, n in blocks.items()) or "none"


def environments(row: Row) -> str:
    """``torch 2.9.0, cpu AMD EPYC AVX2, float32, 2 threads``: what has to be the same."""
    return "; ".join(
        f"torch {e['torch']}, {e['device']} {e['hardware']} {e['capability']}, {e['dtype']}, "
        f"{e['threads']} threads"
        for e in row["environments"]
    )


INFO_COLUMNS: dict[str, Callable[[Row], str]] = {
    "compressed": lambda r: f"{r['compressed_size']}",
    "uncompressed": lambda r: f"{r['uncompressed_size']}",
    "bits/byte": lambda r: f"{r['bits_per_byte']:.3f}",
    "ratio": lambda r: f"{r['ratio']:.2f}x",
    "blocks": lambda r: block_kinds(r["blocks"]),
    "model": lambda r: ", ".join(m[:8] for m in r["models"]) or "-",
    "base": lambda r: ", ".join(b[:8] for b in r["bases"]) or "-",
    "portable": lambda r: "yes" if r["portable"] else f"no ({environments(r)})",
    "name": lambda r: r["name"],
}

ENGINE_COLUMNS: dict[str, Callable[[Row], str]] = {
    "in use": lambda r: r["isa"],
    "available": lambda r: ", ".join(r["available_isas"]),
    "threads": lambda r: f"{r['threads']}",
    "numeric version": lambda r: f"{r['numeric_version']}",
    "nncodec": lambda r: r["version"],
}
