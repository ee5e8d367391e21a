"""``nncodec bench``: options; the work is in ``bench_codecs``, ``_engine`` and ``_ablate``."""

from __future__ import annotations

import math
from typing import Annotated, Optional

import typer

from nncodec.blocks import BLOCK_SIZE
from nncodec.cli import files
from nncodec.cli.common import each
from nncodec.cli.options import Level, Model, Threads
from nncodec.levels import DEFAULT_LEVEL

CODECS, ENGINE, ABLATE = "codecs", "engine", "ablate"
# The options that not every mode has: what they are called, and which modes have them.
NEEDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "specs": ("--codecs", (CODECS,)),
    "online": ("--online", (CODECS,)),
    "model": ("--model", (ENGINE, ABLATE)),
    "level": ("--level", (ABLATE,)),
    "table": ("--csv", (CODECS, ABLATE)),
    "page": ("--html", (CODECS,)),
    "isa": ("--isa", (ENGINE,)),
    "size": ("--bytes", (ENGINE,)),
    "runs": ("--runs", (CODECS, ENGINE)),
    "warm_up": ("--warm-up", (CODECS,)),
    "most_seconds": ("--most-seconds", (CODECS,)),
    "timeout": ("--timeout", (CODECS,)),
    "again": ("--again", (CODECS,)),
    "peers": ("--peers", (CODECS,)),
    "quoted": ("--quoted", (CODECS,)),
}


def bench(
    context: typer.Context,
    inputs: Annotated[
        Optional[list[str]],
        typer.Argument(help="Files, and folders of them; for --engine and --ablate - is stdin."),
    ] = None,
    specs: Annotated[
        Optional[list[str]],
        typer.Option(
            "--codecs",
            metavar="SPEC,SPEC",
            help="nncodec:MODEL:level=N, gzip:9, bz2, xz:9e, zstd:19, brotli:11, lz4, copy, "
            "zpaq:5 and other programs known by name, or cmd:NAME=COMPRESS;DECOMPRESS, which "
            "takes an option of its own.",
        ),
    ] = None,
    online: Annotated[
        bool,
        typer.Option("--online", help="Add the codec online: a model trained while it codes."),
    ] = False,
    engine: Annotated[
        bool,
        typer.Option("--engine", help="Measure speed: kernels, stages. No file: sample text."),
    ] = False,
    ablate: Annotated[
        bool,
        typer.Option("--ablate", help="Measure size: network, context models, and both."),
    ] = False,
    table: Annotated[
        Optional[str],
        typer.Option("--csv", help="Write the rows to this file; codecs: those there are kept."),
    ] = None,
    json_file: Annotated[
        Optional[str],
        typer.Option("--json", metavar="FILE", help="Write one JSON document; - is stdout."),
    ] = None,
    page: Annotated[
        Optional[str],
        typer.Option("--html", help="Write a page for browsers, figures and the CSV beside it."),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, max=1000, help="Take the median of so many.")] = 3,
    warm_up: Annotated[
        int, typer.Option(min=0, max=1000, help="Runs before those that count.")
    ] = 1,
    most_seconds: Annotated[
        float,
        typer.Option(min=0, help="Repeat nothing once so many have gone into a direction."),
    ] = 30.0,
    timeout: Annotated[
        Optional[float],
        typer.Option(min=0.001, help="A run that takes more seconds has failed."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Measure also what the table has already.")
    ] = False,
    peers: Annotated[
        Optional[str], typer.Option(metavar="FILE.toml", help="More programs known by name.")
    ] = None,
    quoted: Annotated[
        Optional[str],
        typer.Option(
            metavar="FILE.csv",
            help="Figures of others, where there is none of here: "
            "file,bytes,codec,compressed_bytes,source.",
        ),
    ] = None,
    threads: Threads = 0,
    model: Model = None,
    level: Level = DEFAULT_LEVEL,
    isa: Annotated[
        str,
        typer.Option(help="--engine: instruction set; default: NNCODEC_ISA, or the best here."),
    ] = "",
    size: Annotated[
        int,
        typer.Option("--bytes", min=1, max=BLOCK_SIZE, help="--engine: code that many at most."),
    ] = 1_000_000,
) -> None:
    """Measure codecs on files: size, speed, memory; or nncodec's engine, or its parts."""
    if engine and ablate:
        raise typer.BadParameter("say what to measure: either --engine or --ablate")
    mode = ENGINE if engine else ABLATE if ablate else CODECS
    given = [
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
    ]
    outputs = {"--csv": table, "--json": json_file, "--html": page}
    for option, file in outputs.items():
        if file is not None and not (option == "--json" and file == files.STDIO):
            check_name(option, file)
    for option, seconds in {"--most-seconds": most_seconds, "--timeout": timeout}.items():
        if seconds is not None and not math.isfinite(seconds):
            raise typer.BadParameter(f"{option} is to be a number of seconds")
    for name in given:
        option, modes = NEEDS.get(name, ("", (mode,)))
        if mode not in modes:
            where = " or ".join("files alone" if m == CODECS else f"--{m}" for m in modes)
            raise typer.BadParameter(f"{option} goes with {where}")
    if engine and len(inputs or []) > 1:
        raise typer.BadParameter("--engine takes one file at most")
    if ablate and not inputs:
        raise typer.BadParameter("--ablate needs files or folders")
    if mode == CODECS and not inputs and set(given) != {"table", "page"}:
        raise typer.BadParameter("give files or folders; or --csv and --html alone, for its page")

    def measure_engine(name: str) -> None:
        from nncodec.cli import bench_engine

        file = name if inputs else None
        if file and file != files.STDIO:
            files.check_regular(file)
        if json_file and json_file != files.STDIO:
            files.check_outputs([json_file], inputs or [])
        report = bench_engine.measure_engine(file, model, threads or None, isa, size, runs)
        if json_file:
            files.write_json(json_file, report)
        if json_file != files.STDIO:
            bench_engine.show_engine(report)

    def measure_parts(_name: str) -> None:
        from nncodec.cli import bench_ablate

        names = [file for name in inputs or [] for file in files.files_below(name)]
        outputs = [file for file in (table, json_file) if file and file != files.STDIO]
        files.check_outputs(outputs, [*(inputs or []), *names])
        plan = (level, model, threads or None)
        with bench_ablate.ablation_report(*plan, table, json_file) as add:
            each(names, add)

    def measure_codecs(_name: str) -> None:
        from nncodec.bench.measure import Effort
        from nncodec.cli import bench_codecs

        bench_codecs.run(
            bench_codecs.Request(
                inputs=inputs or [],
                specs=specs or [],
                online=online,
                table=table,
                json_file=json_file,
                page=page,
                effort=Effort(runs, warm_up, most_seconds, timeout),
                again=again,
                peers=peers,
                quoted=quoted,
                threads=threads or None,
            )
        )

    if engine:
        each(inputs or ["engine"], measure_engine)
    else:
        each([mode], measure_parts if ablate else measure_codecs)


def check_name(option: str, file: str) -> None:
    """An option in place of a file's name was left without its value."""
    if not file or file.startswith("-"):
        raise typer.BadParameter(f"{option} takes a file's name, not {file!r}; ./{file or 'NAME'}?")
