"""``nncodec weights``: folders of models, and single tensors out of archives.

The commands are functions; ``COMMANDS`` is the one place that registers them, also those of the
other modules of this kind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from nncodec.cli import files, weights_lossy, weights_tune
from nncodec.cli.common import AsJson, each, show
from nncodec.cli.options import BaseFile, Level, Model, Quiet, Threads
from nncodec.errors import NNCodecError
from nncodec.files import atomic_file
from nncodec.levels import DEFAULT_LEVEL
from nncodec.remote.names import is_remote, plain

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A model's folder.")]
Force = Annotated[bool, typer.Option("-f", "--force", help="Replace what has the same name.")]
Out = Annotated[Optional[Path], typer.Option("-o", "--output", help="The folder to make.")]


def pack(
    folder: Folder,
    output: Out = None,
    force: Force = False,
    level: Level = DEFAULT_LEVEL,
    model: Model = None,
    threads: Threads = 0,
    quiet: Quiet = 0,
) -> None:
    """Pack a model's folder into DIR.nnc-dir: weights compressed, all other files as they are."""

    def work(_name: str) -> None:
        from nncodec.cli.progress import progress_bar
        from nncodec.weights.folder import files_of, is_weights, packed_name, snapshot_of
        from nncodec.weights.folder import pack as pack_folder

        found = files_of(snapshot_of(folder))
        total = sum(path.stat().st_size for name, path in found.items() if is_weights(name))
        target = output or packed_name(folder)
        with progress_bar(str(folder), total, bool(quiet)) as progress:
            done = pack_folder(
                folder,
                target,
                level=level,
                model=model,
                threads=threads or None,
                force=force,
                progress=progress,
            )
        if not quiet:
            tell(done, target)

    each([str(folder)], work)


def unpack(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that was packed.")],
    output: Out = None,
    force: Force = False,
    threads: Threads = 0,
    quiet: Quiet = 0,
) -> None:
    """Give back the folder that was packed, byte for byte; DIR.nnc-dir becomes DIR without -o."""

    def work(_name: str) -> None:
        from nncodec.api import read_info
        from nncodec.cli.progress import progress_bar
        from nncodec.weights.folder import SUFFIX, files_of, unpacked_name
        from nncodec.weights.folder import unpack as unpack_folder

        target = output or unpacked_name(folder)
        total = 0
        for name, path in files_of(folder).items():
            if name.endswith(SUFFIX):
                with path.open("rb") as file:
                    total += read_info(file).uncompressed_size
        with progress_bar(str(folder), total, bool(quiet)) as progress:
            done = unpack_folder(
                folder, target, threads=threads or None, force=force, progress=progress
            )
        if not quiet:
            tell(done, target, "unpacked to")

    each([str(folder)], work)


def tell(done: list[Any], target: Path, verb: str = "packed into") -> None:
    """A line for each file of weights, and one in all."""
    from nncodec.cli.models import shown

    for file in done:
        ratio = f", {file.size / file.packed:.2f}x" if file.size else ""
        print(f"{shown(file.name)}: {file.size} | {file.packed} bytes{ratio}", file=sys.stderr)
    size, packed = sum(file.size for file in done), sum(file.packed for file in done)
    print(f"{verb} {target}: weights {size} | {packed} bytes", file=sys.stderr)


def _bits(row: Mapping[str, Any]) -> str:
    return f"{'' if row['exact'] else '~'}{row['bits_per_weight']:.3f}" if row["bytes"] else "-"


def _coded(row: Mapping[str, Any]) -> str:
    return f"{'' if row['exact'] else '~'}{row['coded_bytes']:.0f}"


def _shape(row: Mapping[str, Any]) -> str:
    return " x ".join(map(str, row["shape"])) or "scalar"


def _name(row: Mapping[str, Any]) -> str:
    from nncodec.cli.models import shown

    return shown(row["name"])


COLUMNS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "dtype": lambda r: r["dtype"],
    "shape": _shape,
    "bytes": lambda r: str(r["bytes"]),
    "coded": _coded,
    "bits": _bits,
    "blocks": lambda r: str(len(r["blocks"])),
    "name": _name,
}


def ls(
    inputs: Annotated[list[str], typer.Argument(metavar="FILE...", help="Archives, or folders.")],
    base: BaseFile = None,
    as_json: AsJson = False,
) -> None:
    """List the tensors in archives, and what each costs: bytes coded and bits a weight.

    Tensors that share a block (~) are given their share of it by size.
    """
    rows: list[dict[str, Any]] = []
    names = [file for name in inputs for file in archives_below(name)]

    def work(name: str) -> None:
        from nncodec.weights.reader import open as open_weights
        from nncodec.weights.sizes import costs

        with open_weights(existing(name), dequantize=False, base=base) as file:
            rows.extend({"file": name, **cost.to_dict()} for cost in costs(file))

    columns = COLUMNS if len(names) == 1 else {**COLUMNS, "file": lambda r: r["file"]}
    show(names, work, rows, columns, as_json)


def archives_below(name: str) -> list[str]:
    """The archives in a folder; any other name as it is."""
    if not Path(name).is_dir():
        return [name]
    return [file for file in files.files_below(name) if file.endswith(files.SUFFIX)] or [name]


def existing(name: str) -> str:
    """Raises FileError for what cannot be read at random; of a URL opening it tells."""
    if is_remote(name := plain(name)):
        return name
    with files.open_input(name) as source:
        if not source.seekable():
            raise files.FileError("single tensors need a file, not a pipe")
    return name


def get(
    file: Annotated[str, typer.Argument(metavar="FILE", help="An archive.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tensor; ls lists them.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A .npy or a .safetensors file.")],
    rows: Annotated[
        Optional[str], typer.Option(metavar="BEGIN:END", help="Only these rows of axis 0.")
    ] = None,
    base: BaseFile = None,
    force: Force = False,
    threads: Threads = 0,
) -> None:
    """Decode one tensor, or some of its rows, into a file; of the rest nothing is decoded."""
    from nncodec.weights.export import WRITERS

    writer = WRITERS.get(output.suffix)
    if writer is None:
        raise typer.BadParameter(f"-o names a file that ends with {' or '.join(WRITERS)}")
    part = parse_rows(rows) if rows is not None else slice(None)

    def work(file_name: str) -> None:
        from nncodec.weights.reader import open as open_weights

        path = existing(file_name)
        files.check_overwrite(file_name, output, force)
        opened = open_weights(path, threads=threads or None, dequantize=False, base=base)
        with opened as weights:
            found = weights.get_slice(name)
            try:
                raw = found.raw(part if rows is not None else ...)
            except IndexError as error:
                raise NNCodecError(f"{name}: {error}") from error
            with atomic_file(output) as sink:
                writer(raw, found.entry, sink)

    each([file], work)


def parse_rows(text: str) -> slice:
    begin, colon, end = text.partition(":")
    try:
        if colon:
            return slice(int(begin) if begin else None, int(end) if end else None)
    except ValueError:
        pass
    raise typer.BadParameter(f"--rows takes BEGIN:END, not {text!r}")


COMMANDS: tuple[Callable[..., None], ...] = (
    *(pack, unpack, ls, get),
    *weights_lossy.COMMANDS,
    *weights_tune.COMMANDS,
)

app = typer.Typer(no_args_is_help=True, help="Pack models, get single tensors, quantise, report.")
for command in COMMANDS:
    app.command()(command)
