"""The commands: options here, work elsewhere, imported when it is needed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, BinaryIO, Optional

import typer

from nncodec.cli import files
from nncodec.errors import NNCodecError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Lossless compression of any file by a small neural network with exact arithmetic.",
)

# typer reads these on Python 3.10 too, where X | None is not accepted at run time everywhere.
Files = Annotated[Optional[list[str]], typer.Argument(help="Files; - or none is stdin.")]  # noqa: UP045
Output = Annotated[Optional[str], typer.Option("-o", "--output", help="Write to this file.")]  # noqa: UP045
Stdout = Annotated[bool, typer.Option("-c", "--stdout", help="Write to standard output.")]
Keep = Annotated[bool, typer.Option("-k", "--keep", help="Keep the input (the default).")]
Remove = Annotated[bool, typer.Option("--rm", help="Remove the input once the output is verified.")]
Force = Annotated[bool, typer.Option("-f", "--force", help="Overwrite; compress .nnc again.")]
Model = Annotated[
    str, typer.Option("-m", "--model", envvar="NNCODEC_MODEL", help="A model's name or folder.")
]
Threads = Annotated[
    int, typer.Option("-T", "--threads", envvar="NNCODEC_THREADS", min=0, help="0: all cores.")
]
Quiet = Annotated[int, typer.Option("-q", "--quiet", count=True, help="No summary, no bar.")]
Verbose = Annotated[int, typer.Option("-v", "--verbose", count=True, help="Say more.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for scripts.")]


def each(names: list[str], work: Callable[[str], None]) -> None:
    """Do every file; a failure is one line naming it, the rest go on, and the exit code is 1."""
    failed = False
    for name in names:
        try:
            work(name)
        except BrokenPipeError:
            raise
        except (NNCodecError, OSError, MemoryError) as error:
            failed = True
            shown = "(standard input)" if name == files.STDIO else name
            why = " ".join(str(error).split()) or type(error).__name__
            print(f"nncodec: {shown}: {why}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def check_output_options(names: list[str], output: str | None, stdout: bool) -> None:
    if output is not None and stdout:
        raise typer.BadParameter("give either -o or -c, not both")
    if output is not None and output != files.STDIO and len(names) > 1:
        raise typer.BadParameter(f"-o names one output for {len(names)} inputs")


def thread_count(threads: int) -> int:
    return threads or os.cpu_count() or 1


def transform(
    name: str,
    target: Path | None,
    force: bool,
    keep: bool,
    quiet: bool,
    work: Callable[[BinaryIO, BinaryIO, Callable[[int], object]], tuple[int, int]],
    total: Callable[[BinaryIO], int | None],
    verify: Callable[[Path], None] | None = None,
) -> tuple[int, int]:
    """Run ``work`` from one file into another (None: standard output); (bytes in, bytes out)."""
    from nncodec.cli.progress import progress_bar

    with files.open_input(name) as source:
        if target is not None:
            files.check_overwrite(name, target, force)
        with progress_bar(name, total(source), quiet) as progress:
            if target is None:
                sizes = work(source, sys.stdout.buffer, progress)
                sys.stdout.buffer.flush()
                return sizes
            with files.atomic_output(target, name) as sink:
                sizes = work(source, sink, progress)
    if not keep and name != files.STDIO:
        if verify:
            verify(target)
        os.unlink(name)
    return sizes


def file_size(source: BinaryIO) -> int | None:
    return os.fstat(source.fileno()).st_size or None


@app.command()
def compress(
    inputs: Files = None,
    output: Output = None,
    stdout: Stdout = False,
    keep: Keep = False,
    rm: Remove = False,
    force: Force = False,
    model: Model = "nano",
    threads: Threads = 0,
    quiet: Quiet = 0,
    verbose: Verbose = 0,
    decompress_: Annotated[bool, typer.Option("-d", "--decompress", hidden=True)] = False,
) -> None:
    """Compress files to FILE.nnc; stdin to stdout without files."""
    if decompress_:  # tar -I 'nncodec compress' asks for decompression with -d
        return decompress(inputs, output, stdout, keep, rm, force, threads, quiet, verbose)
    names = inputs or [files.STDIO]
    check_output_options(names, output, stdout)

    def work(name: str) -> None:
        from nncodec import api

        to_stdout = stdout or output == files.STDIO or (name == files.STDIO and output is None)
        target = None
        if to_stdout:
            files.check_terminal(force)
        else:
            target = Path(output) if output else files.compressed_name(name, force)
        codec_work = lambda source, sink, progress: api.load_codec(  # noqa: E731
            model, thread_count(threads)
        ).compress_stream(source, sink, progress)
        sizes = transform(
            name,
            target,
            force,
            keep or not rm,
            bool(quiet),
            codec_work,
            file_size,
            verify=lambda path: verify_archive(str(path), threads),
        )
        if not quiet and target is not None:
            print(summary(name, *sizes, target), file=sys.stderr)
        if verbose:
            print(f"{name}: model {model}, {thread_count(threads)} threads", file=sys.stderr)

    return each(names, work)


def summary(name: str, size: int, packed: int, target: Path) -> str:
    """``name: 3.12 bits/byte, 2.56x (1000000 => 390000 bytes, name.nnc)``."""
    bits = f"{8 * packed / size:.2f} bits/byte, " if size else ""
    return f"{name}: {bits}{size / packed:.2f}x ({size} => {packed} bytes, {target})"


@app.command()
def decompress(
    inputs: Files = None,
    output: Output = None,
    stdout: Stdout = False,
    keep: Keep = False,
    rm: Remove = False,
    force: Force = False,
    threads: Threads = 0,
    quiet: Quiet = 0,
    verbose: Verbose = 0,
) -> None:
    """Give back the files that FILE.nnc were made from."""
    names = inputs or [files.STDIO]
    check_output_options(names, output, stdout)

    def work(name: str) -> None:
        to_stdout = stdout or output == files.STDIO or (name == files.STDIO and output is None)
        target = None
        if not to_stdout:
            target = Path(output) if output else files.decompressed_name(name)
        sizes = transform(
            name, target, force, keep or not rm, bool(quiet), decoder(threads), archive_total
        )
        if verbose:
            print(f"{name}: {sizes[0]} => {sizes[1]} bytes", file=sys.stderr)

    each(names, work)


def decoder(
    threads: int,
) -> Callable[[BinaryIO, BinaryIO, Callable[[int], object]], tuple[int, int]]:
    from nncodec import api
    from nncodec.codec import decompress_stream

    def work(
        source: BinaryIO, sink: BinaryIO, progress: Callable[[int], object]
    ) -> tuple[int, int]:
        find = lambda model_id: api.load_engine_by_id(model_id, thread_count(threads))  # noqa: E731
        return decompress_stream(source, sink, find, progress)

    return work


def archive_total(source: BinaryIO) -> int | None:
    """Uncompressed size from the headers, where the input can be read twice."""
    from nncodec.api import read_info

    if not source.seekable():
        return None
    start = source.tell()
    try:
        return read_info(source).uncompressed_size
    finally:
        source.seek(start)


def verify_archive(name: str, threads: int, quiet: bool = True) -> tuple[int, int]:
    """Decode an archive into nothing; every block's checksum is compared on the way."""
    from nncodec.cli.progress import progress_bar

    with (
        files.open_input(name) as source,
        progress_bar(name, archive_total(source), quiet) as progress,
        open(os.devnull, "wb") as nothing,
    ):
        return decoder(threads)(source, nothing, progress)


@app.command()
def test(
    inputs: Files = None, threads: Threads = 0, quiet: Quiet = 0, verbose: Verbose = 0
) -> None:
    """Decode archives without writing anything; errors are reported as for decompress."""

    def work(name: str) -> None:
        packed, size = verify_archive(name, threads, bool(quiet))
        if not quiet:
            detail = f" ({packed} => {size} bytes)" if verbose else ""
            print(f"{name}: OK{detail}", file=sys.stderr)

    each(inputs or [files.STDIO], work)


@app.command()
def info(
    inputs: Annotated[list[str], typer.Argument(help="Archives.")], as_json: AsJson = False
) -> None:
    """Show what archives contain, without decoding them."""
    from nncodec.api import read_info

    rows: list[dict[str, object]] = []

    def work(name: str) -> None:
        with files.open_input(name) as source:
            rows.append({"name": name, **read_info(source).to_dict()})

    try:
        each(inputs, work)
    finally:
        if as_json:
            print(json.dumps(rows, indent=2))
        elif rows:
            show_table(rows, INFO_COLUMNS)


INFO_COLUMNS = {
    "compressed": lambda r: f"{r['compressed_size']}",
    "uncompressed": lambda r: f"{r['uncompressed_size']}",
    "bits/byte": lambda r: f"{r['bits_per_byte']:.3f}",
    "ratio": lambda r: f"{r['ratio']:.2f}x",
    "blocks": lambda r: ", ".join(f"{n} {kind}" for kind, n in r["blocks"].items()) or "none",
    "model": lambda r: ", ".join(m[:8] for m in r["models"]) or "-",
    "name": lambda r: r["name"],
}


@app.command()
def models(as_json: AsJson = False) -> None:
    """List the installed models."""
    from nncodec import modelstore
    from nncodec.weights import EngineModel

    rows: list[dict[str, object]] = []

    def work(folder: str) -> None:
        model = EngineModel.load(Path(folder))
        size = sum(value.nbytes for value in model.tensors.values())
        rows.append(
            {
                "name": Path(folder).name,
                "id": model.model_id.hex(),
                "parameters": model.parameters,
                "bytes": size,
                "folder": folder,
            }
        )

    try:
        each([str(model.folder) for model in modelstore.installed()], work)
    finally:
        if as_json:
            print(json.dumps(rows, indent=2))
        elif rows:
            show_table(rows, MODEL_COLUMNS)


MODEL_COLUMNS = {
    "name": lambda r: r["name"],
    "parameters": lambda r: f"{r['parameters']}",
    "bytes": lambda r: f"{r['bytes']}",
    "id": lambda r: r["id"],
    "folder": lambda r: r["folder"],
}


def show_table(
    rows: list[dict[str, object]], columns: dict[str, Callable[[dict[str, object]], str]]
) -> None:
    """Aligned columns on stdout: numbers right, the last column free."""
    cells = [list(columns), *([column(row) for column in columns.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    for row in cells:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def show_version(value: bool) -> None:
    if value:
        import nncodec

        print(f"nncodec {nncodec.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Holds the options that come before a command."""


@app.command()
def train(
    corpus: Annotated[Path, typer.Argument(help="Folder with <domain>.bin and .idx files.")],
    run: Annotated[Path, typer.Option("-o", "--output", help="Run folder; resumed if it exists.")],
    minutes: Annotated[float, typer.Option(help="Budget in minutes of training.")] = 0.0,
    megabytes: Annotated[float, typer.Option(help="Budget in 10^6 bytes seen.")] = 0.0,
    shape: Annotated[
        Optional[Path], typer.Option(help="config.json of the model; nano's shape without it.")  # noqa: UP045
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Windows a step.")] = 16,
    length: Annotated[int, typer.Option(min=2, help="Tokens a window.")] = 512,
    seed: Annotated[int, typer.Option(help="Decides weights and batches.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda; by default what is there.")] = "",
    compile_: Annotated[bool, typer.Option("--compile/--no-compile")] = True,
) -> None:
    """Train a byte Transformer and export it; needs the train extra."""

    def work(name: str) -> None:
        from nncodec.lm.run import train_and_export

        train_and_export(
            Path(name),
            run,
            minutes,
            int(megabytes * 1e6),
            shape,
            batch,
            length,
            seed,
            device,
            compile_,
        )

    each([str(corpus)], work)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder with config.json and model.safetensors.")],
    corpus: Annotated[Path, typer.Option(help="Held-out files that set the value ranges.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The model's folder.")],
) -> None:
    """Turn a trained float checkpoint into the integer model that archives are made with."""

    def work(name: str) -> None:
        from nncodec.lm.run import export_folder

        print(export_folder(Path(name), corpus, output).hex())

    each([str(run)], work)
