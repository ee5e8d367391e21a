"""``nncodec bench``: options; the work is in ``bench_engine`` and ``bench_ablate``."""

from __future__ import annotations

import json
from typing import Annotated, Optional

import typer

from nncodec.blocks import BLOCK_SIZE
from nncodec.cli import files
from nncodec.cli.common import AsJson, each
from nncodec.cli.options import Level, Model, Threads
from nncodec.levels import DEFAULT_LEVEL


def bench(
    context: typer.Context,
    inputs: Annotated[
        Optional[list[str]],
        typer.Argument(help="Data to code, and for --ablate folders; - is stdin."),
    ] = None,
    engine: Annotated[
        bool,
        typer.Option("--engine", help="Measure speed: kernels, stages. No file: sample text."),
    ] = False,
    ablate: Annotated[
        bool,
        typer.Option("--ablate", help="Measure size: network, context models, and both."),
    ] = False,
    model: Model = None,
    threads: Threads = 0,
    level: Level = DEFAULT_LEVEL,
    table: Annotated[
        Optional[str], typer.Option("--csv", help="--ablate: write the rows to this file too.")
    ] = None,
    isa: Annotated[
        str,
        typer.Option(help="--engine: instruction set; default: NNCODEC_ISA, or the best here."),
    ] = "",
    size: Annotated[
        int,
        typer.Option("--bytes", min=1, max=BLOCK_SIZE, help="--engine: code that many at most."),
    ] = 1_000_000,
    runs: Annotated[
        int, typer.Option(min=1, max=1000, help="--engine: take the median of so many.")
    ] = 3,
    as_json: AsJson = False,
) -> None:
    """Measure the engine's speed on this machine, or what each part of a level is worth."""
    if engine == ablate:
        raise typer.BadParameter("say what to measure: either --engine or --ablate")
    if engine and len(inputs or []) > 1:
        raise typer.BadParameter("--engine takes one file at most")
    if ablate and not inputs:
        raise typer.BadParameter("--ablate needs files or folders")
    for name in ("isa", "size", "runs") if ablate else ("level", "table"):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = {"size": "--bytes", "table": "--csv"}.get(name, f"--{name}")
            raise typer.BadParameter(f"{option} goes with --{'engine' if ablate else 'ablate'}")

    def measure_engine(name: str) -> None:
        from nncodec.cli import bench_engine

        file = name if inputs else None
        report = bench_engine.measure_engine(file, model, threads or None, isa, size, runs)
        if as_json:
            print(json.dumps(report, indent=2))
        else:
            bench_engine.show_engine(report)

    def measure_parts(_name: str) -> None:
        from nncodec.cli import bench_ablate

        names = [file for name in inputs or [] for file in files.files_below(name)]
        plan = (level, model, threads or None)
        with bench_ablate.ablation_report(names, *plan, table, as_json) as add:
            each(names, add)

    if engine:
        each(inputs or ["engine"], measure_engine)
    else:
        each(["ablate"], measure_parts)
