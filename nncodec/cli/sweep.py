"""``nncodec sweep``: options; the work is in ``nncodec/sweep``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from typer.core import TyperGroup

from nncodec.cli.common import AsJson, each, needing_torch
from nncodec.cli.options import Threads
from nncodec.errors import NNCodecError


class RunByDefault(TyperGroup):
    """``sweep CONFIG`` means ``sweep run CONFIG``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=RunByDefault,
    no_args_is_help=True,
    help="Train and measure a grid of models; fit how size, data and compute pay. "
    "sweep CONFIG.toml is short for sweep run CONFIG.toml.",
)

Config = Annotated[Path, typer.Argument(help="The study: a TOML file.")]
Out = Annotated[
    Path, typer.Option("-o", "--output", help="Its folder; an interrupted study goes on.")
]


@app.command()
def run(config: Config, output: Out, threads: Threads = 0) -> None:
    """Train and measure the points of a study that are not done yet; needs the train extra."""

    def work(_name: str) -> None:
        from nncodec.sweep.config import load_study
        from nncodec.sweep.run import run_sweep

        study = load_study(config)
        if not study.grids:
            raise NNCodecError("has no [[grid]]; nncodec sweep search does its [search]")
        busy = run_sweep(study, output, threads or None, lambda line: print(line, flush=True))
        print(f"{output / 'results.csv'}" + (f"; {busy} points are others' still" * bool(busy)))

    each([str(config)], needing_torch(work))


@app.command()
def fit(
    results: Annotated[Path, typer.Argument(help="results.csv of a study.")],
    file_bytes: Annotated[
        Optional[list[int]],
        typer.Option("--file-bytes", min=1, help="Best model size for a file of so many bytes."),
    ] = None,
    measures: Annotated[
        Optional[list[str]],
        typer.Option("--of", help="held_out, network or archive; all by default."),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Of network: int8, or float for the ideal code length.")
    ] = "int8",
    file: Annotated[
        Optional[str], typer.Option(help="Of network and archive: this file alone, by name.")
    ] = None,
    size: Annotated[
        str, typer.Option(help="What counts as size: parameters or matrix_parameters.")
    ] = "parameters",
    flops: Annotated[
        float, typer.Option(min=0, help="Training compute to split; default: the table's most.")
    ] = 0.0,
    resamples: Annotated[int, typer.Option(min=20, max=100_000, help="Of the bootstrap.")] = 500,
    output: Annotated[
        Optional[Path], typer.Option("-o", "--output", help="Write the JSON to this file too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit power laws to a table of results; say which model size pays for a file."""

    def work(_name: str) -> None:
        from nncodec.cli.sweep_report import show_report
        from nncodec.sweep.report import fit_report, write_report

        report = fit_report(
            results,
            measures=measures or ["held_out", "network", "archive"],
            precision=precision,
            file=file,
            size=size,
            file_sizes=file_bytes or [],
            flops=flops,
            resamples=resamples,
        )
        if output:
            write_report(output, report)
        show_report(report, as_json)

    each([str(results)], work)


@app.command()
def plot(
    results: Annotated[Path, typer.Argument(help="results.csv of a study.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the figures.")],
    measure: Annotated[
        str, typer.Option("--of", help="held_out, network or archive.")
    ] = "held_out",
    size: Annotated[str, typer.Option(help="parameters or matrix_parameters.")] = "parameters",
    resamples: Annotated[int, typer.Option(min=20, max=100_000, help="Of the bootstrap.")] = 500,
) -> None:
    """Draw bits a byte against size, data and compute, as SVG and PNG; needs the bench extra."""

    def work(_name: str) -> None:
        from nncodec.sweep.plot import plot_results

        def warn(line: str) -> None:
            print(f"nncodec: {results}: {line}", file=sys.stderr)

        for path in plot_results(results, output, measure, size, resamples, warn):
            print(path)

    each([str(results)], work)


@app.command()
def search(config: Config, output: Out, threads: Threads = 0) -> None:
    """Look for a better point than those of a grid with Optuna; needs the sweep extra."""

    def work(_name: str) -> None:
        from nncodec.sweep.config import load_study
        from nncodec.sweep.search import run_search

        study = load_study(config)
        run_search(study, output, threads or None, lambda line: print(line, flush=True))

    each([str(config)], needing_torch(work))
