"""The commands and their options; the work is in ``commands``, imported when it is needed."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, Optional

import typer

from nncodec.causal.options import CausalOptions
from nncodec.cli import (
    bench,
    explain,
    files,
    models,
    pack,
    packed,
    recover,
    sweep,
    training,
    weights,
)
from nncodec.cli.common import AsJson, each, expanded, show
from nncodec.cli.engines import ChosenWorkers
from nncodec.cli.options import (
    AnyEnvironment,
    BaseFile,
    BlockSize,
    Context,
    Device,
    Dtype,
    Engine,
    Files,
    Force,
    Keep,
    Lanes,
    Level,
    MaxOutput,
    Memory,
    Model,
    NoVerify,
    OtherModel,
    Output,
    Quiet,
    Range,
    Recursive,
    Remove,
    Stdout,
    Threads,
    Verbose,
    WorkerCount,
)
from nncodec.cli.sizes import parse_block_size, parse_range, parse_size
from nncodec.levels import DEFAULT_LEVEL
from nncodec.limits import Limits
from nncodec.remote.names import plain

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Lossless compression of any file by a small neural network with exact arithmetic.",
)
app.add_typer(models.app, name="models")
app.add_typer(sweep.app, name="sweep")
app.add_typer(weights.app, name="weights")


def check_outputs(names: list[str], output: str | None, stdout: bool) -> None:
    if output is not None and stdout:
        raise typer.BadParameter("give either -o or -c, not both")
    if output is not None and len(names) > 1:
        raise typer.BadParameter(f"-o names one output for {len(names)} inputs")


def to_stdout(name: str, output: str | None, stdout: bool) -> bool:
    return stdout or output == files.STDIO or (name == files.STDIO and output is None)


def limits_of(max_output: str | None, memory: str | None) -> Limits:
    return Limits(parse_size(max_output, "--max-output"), parse_size(memory, "--memory"))


@app.command()
def compress(
    inputs: Files = None,
    output: Output = None,
    stdout: Stdout = False,
    keep: Keep = False,
    rm: Remove = False,
    force: Force = False,
    level: Level = DEFAULT_LEVEL,
    model: Model = None,
    base: BaseFile = None,
    threads: Threads = 0,
    lanes: Lanes = None,
    context: Context = None,
    dtype: Dtype = None,
    device: Device = None,
    no_verify: NoVerify = False,
    block_size: BlockSize = None,
    engine: Engine = None,
    workers: WorkerCount = None,
    recursive: Recursive = False,
    quiet: Quiet = 0,
    verbose: Verbose = 0,
    decode: Annotated[bool, typer.Option("-d", "--decompress", hidden=True)] = False,
) -> None:
    """Compress files to FILE.nnc; stdin to stdout without files."""
    if decode:  # tar -I 'nncodec compress' asks for decompression with -d
        streams = (inputs, output, stdout, keep, rm, force)
        who = {"engine": engine, "workers": workers}
        how = {"recursive": recursive, "quiet": quiet, "verbose": verbose}
        decompress(*streams, model, base, threads, **who, **how)  # type: ignore[arg-type,misc]
        return
    output = output and plain(output)
    names, failed = expanded(inputs or [files.STDIO], recursive, None if force else False)
    check_outputs(names, output, stdout)
    options = CausalOptions(dtype, device, lanes, context, verify=not no_verify)
    blocks = parse_block_size(block_size)
    chosen = ChosenWorkers(engine, workers)

    def work(name: str) -> None:
        from nncodec.cli import commands

        target = None
        if to_stdout(name, output, stdout):
            files.check_terminal(force)
        else:
            target = files.target_of(output) if output else files.compressed_name(name, force)
        old = commands.open_base(base)
        notify = commands.no_note if quiet else commands.print_note
        of = (level, model, threads or None, old, options, notify, blocks, chosen())
        encode = commands.encoder(*of)
        total = commands.file_size(name)
        original = files.original_of(name) if rm and not keep else None
        sizes = commands.transform(name, target, total, force, bool(quiet), encode)
        if target is None:
            return
        if not quiet:
            print(commands.summary(name, sizes, target), file=sys.stderr)
        if original and target.is_file():
            commands.remove_verified(original, target, model, threads or None, bool(quiet), old)
            if verbose:
                print(f"{name}: verified {target}, removed", file=sys.stderr)

    with chosen:
        each(names, work, failed)


@app.command()
def decompress(
    inputs: Files = None,
    output: Output = None,
    stdout: Stdout = False,
    keep: Keep = False,
    rm: Remove = False,
    force: Force = False,
    model: OtherModel = None,
    base: BaseFile = None,
    threads: Threads = 0,
    any_environment: AnyEnvironment = False,
    span: Range = None,
    max_output: MaxOutput = None,
    memory: Memory = None,
    engine: Engine = None,
    workers: WorkerCount = None,
    recursive: Recursive = False,
    quiet: Quiet = 0,
    verbose: Verbose = 0,
) -> None:
    """Give back the files that FILE.nnc were made from."""
    output = output and plain(output)
    names, failed = expanded(inputs or [files.STDIO], recursive, True)
    check_outputs(names, output, stdout)
    limits = limits_of(max_output, memory)
    chosen = ChosenWorkers(engine, workers)
    begin, end = parse_range(span)
    if span and rm:
        raise typer.BadParameter("--rm would remove what --range leaves out")
    if span and (engine is not None or workers is not None):
        raise typer.BadParameter(
            "--range decodes its few blocks here: leave --engine, --workers out"
        )

    def work(name: str) -> None:
        from nncodec.cli import commands

        target = None
        if not to_stdout(name, output, stdout or (span is not None and output is None)):
            target = files.target_of(output) if output else files.decompressed_name(name)
        options = CausalOptions(any_environment=any_environment)
        common = (model, threads or None, commands.open_base(base), options, limits)
        if span:
            part = commands.RangeDecoder(begin, end, *common)
            _, size = commands.transform(name, target, None, force, bool(quiet), part, ahead=False)
            if verbose:
                counts = f"decoded {part.decoded} of {part.blocks} blocks"
                print(f"{name}: {size} bytes, {counts}", file=sys.stderr)
            return
        total = commands.archive_total(name)
        original = files.original_of(name) if rm and not keep else None
        decode = commands.decoder(*common, chosen())
        packed, size = commands.transform(name, target, total, force, bool(quiet), decode)
        if verbose:
            print(f"{name}: {packed} => {size} bytes", file=sys.stderr)
        if original and target is not None and target.is_file():
            original.remove()

    with chosen:
        each(names, work, failed)


@app.command()
def test(
    inputs: Files = None,
    model: OtherModel = None,
    base: BaseFile = None,
    threads: Threads = 0,
    any_environment: AnyEnvironment = False,
    max_output: MaxOutput = None,
    memory: Memory = None,
    engine: Engine = None,
    workers: WorkerCount = None,
    recursive: Recursive = False,
    quiet: Quiet = 0,
    verbose: Verbose = 0,
) -> None:
    """Decode archives without writing anything; errors are reported as for decompress."""
    limits = limits_of(max_output, memory)
    chosen = ChosenWorkers(engine, workers)

    def work(name: str) -> None:
        from nncodec.cli import commands

        old = commands.open_base(base)
        options = CausalOptions(any_environment=any_environment)
        common = (bool(quiet), old, options, limits, chosen())
        packed, size = commands.verify(name, model, threads or None, *common)
        if not quiet:
            detail = f" ({packed} => {size} bytes)" if verbose else ""
            print(f"{name}: OK{detail}", file=sys.stderr)

    names, failed = expanded(inputs or [files.STDIO], recursive, True)
    with chosen:
        each(names, work, failed)


@app.command()
def info(
    inputs: Annotated[Optional[list[str]], typer.Argument(help="Archives.")] = None,
    engine: Annotated[
        bool, typer.Option("--engine", help="Show the engine of this machine.")
    ] = False,
    threads: Threads = 0,
    as_json: AsJson = False,
) -> None:
    """Show what archives contain, without decoding them, or how the engine would run here."""
    from nncodec.api import read_info
    from nncodec.cli import commands

    if engine == bool(inputs):
        raise typer.BadParameter("give archives, or --engine without archives")

    rows: list[dict[str, Any]] = []

    def work(name: str) -> None:
        with files.open_input(name, ahead=False) as source:
            if not source.seekable():
                raise files.FileError("info needs a file, not a pipe")
            rows.append({"name": name, **read_info(source).to_dict()})

    def show_engine(_name: str) -> None:
        row = commands.engine_info(threads or None)
        if as_json:
            print(json.dumps(row, indent=2))
        else:
            commands.show_table([row], commands.ENGINE_COLUMNS)

    if engine:
        each(["engine"], show_engine)
    else:
        names, failed = expanded(inputs or [])
        show(names, work, rows, commands.INFO_COLUMNS, as_json, failed)


app.command()(pack.pack)
app.command()(pack.unpack)
app.command()(packed.ls)
app.command()(packed.cat)
app.command()(bench.bench)
app.command()(explain.explain)
app.command()(recover.recover)
app.command()(training.train)
app.command()(training.export)


def show_version(value: bool) -> None:
    """One line: the release, what its archives say of themselves, and what runs the model here."""
    if value:
        each(["version"], lambda _name: print(version_line()))
        raise typer.Exit


def version_line() -> str:
    """Raises NNCodecError if NNCODEC_ISA asks for what is not here."""
    import nncodec
    from nncodec.container import VERSION
    from nncodec.engine.native import available_isas, choose_isa
    from nncodec.numerics import NUMERIC_VERSION

    return (
        f"nncodec {nncodec.__version__}, format {VERSION}, numeric version {NUMERIC_VERSION}, "
        f"engine {choose_isa()} (of {', '.join(available_isas())})"
    )


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Holds the options that come before a command."""
