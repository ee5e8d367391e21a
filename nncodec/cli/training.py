"""``nncodec train`` and ``export``: options; the work is in ``lm``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Optional

import typer

from nncodec.cli.common import each, needing_torch
from nncodec.errors import NNCodecError
from nncodec.modelstore import DEFAULT_MODEL, locate_float

RUN_ON = {"stop_minutes": 0.0, "stop_bytes": 0}  # a run that was paused is to go on


def train(
    run: Annotated[
        Path, typer.Option("-o", "--output", help="Model's folder; an interrupted run goes on.")
    ],
    corpus: Annotated[
        Optional[Path], typer.Argument(help="Folder with <domain>.bin and .idx files.")
    ] = None,
    data: Annotated[
        Optional[Path],
        typer.Option(help="Instead of a corpus: files of your own, which --from is adapted to."),
    ] = None,
    start: Annotated[
        Optional[str],
        typer.Option("--from", help="Model to go on from; it grows to --shape if larger."),
    ] = None,
    minutes: Annotated[float, typer.Option(min=0, help="Budget in minutes of training.")] = 0.0,
    megabytes: Annotated[float, typer.Option(min=0, help="Budget in 10^6 bytes seen.")] = 0.0,
    shape: Annotated[
        Optional[Path],
        typer.Option(
            help="Folder with a config.json, which may leave out what is as nano's; default: the "
            "shape of --from, or nano's."
        ),
    ] = None,
    muon_lr: Annotated[
        Optional[float],
        typer.Option(min=0, help="Peak rate of the matrices; 0.02, or 0.005 for --data."),
    ] = None,
    adam_lr: Annotated[
        Optional[float],
        typer.Option(min=0, help="Peak rate of all else; 0.004, or 0.001 for --data."),
    ] = None,
    batch: Annotated[Optional[int], typer.Option(min=1, help="Windows a step; 16.")] = None,
    length: Annotated[Optional[int], typer.Option(min=2, help="Tokens a window; 512.")] = None,
    decay: Annotated[
        Optional[float],
        typer.Option(min=0, max=1, help="Last share of the budget, in which rates fall to 0; 0.5."),
    ] = None,
    rounding: Annotated[
        Optional[float],
        typer.Option(min=0, max=1, help="Last share of the budget with int8 in the loop; 0."),
    ] = None,
    seed: Annotated[
        Optional[int], typer.Option(min=0, help="Decides weights and batches; 0.")
    ] = None,
    mix: Annotated[
        str, typer.Option(help="Draw only from these: domain=weight,... Default: the usual mix.")
    ] = "",
    device: Annotated[str, typer.Option(help="cpu or cuda; by default what is there.")] = "",
    compile_: Annotated[Optional[bool], typer.Option("--compile/--no-compile")] = None,
) -> None:
    """Train a byte Transformer, or adapt one to your files; needs the train extra.

    A run that was begun goes on by its own plan where nothing else is asked for. Float weights,
    which --from needs, are part of a checkout, not of an installed package.
    """
    if (corpus is None) == (data is None):
        raise typer.BadParameter("give a corpus, or --data with files of your own")
    if data and (shape or mix):
        raise typer.BadParameter("--shape and --mix go with a corpus, not with --data")
    begun = (run / "train.json").exists()
    if (minutes > 0) + (megabytes > 0) not in ((0, 1) if data or begun else (1,)):
        raise typer.BadParameter("give a budget: either --minutes or --megabytes")

    def work(_name: str) -> None:
        from nncodec.lm.adapt import ADAPTING, adapt
        from nncodec.lm.data import parse_mix
        from nncodec.lm.plan import TrainConfig
        from nncodec.lm.run import train_and_export
        from nncodec.lm.runfiles import recorded_plan

        asked = {
            "batch": batch,
            "length": length,
            "muon_lr": muon_lr,
            "adam_lr": adam_lr,
            "decay_share": decay,
            "rounding_share": rounding,
            "seed": seed,
            "mix": parse_mix(mix) if mix else None,
            "compile": compile_,
        }
        values = {**(ADAPTING if data else {}), **recorded_plan(run)} | RUN_ON
        values |= {name: value for name, value in asked.items() if value is not None}
        if minutes or megabytes:
            values |= {"minutes": minutes, "bytes": int(megabytes * 1e6)}
        plan = TrainConfig(**values)
        if data:
            adapt(start or DEFAULT_MODEL, data, run, plan, device)
        else:
            begin = locate_float(start) if start else None
            assert corpus is not None
            train_and_export(corpus, run, plan, shape, begin, device)

    each([str(run)], needing_torch(told(work)))


def export(
    run: Annotated[
        Path, typer.Argument(help="A run, or a folder with config.json and model.safetensors.")
    ],
    corpus: Annotated[Path, typer.Option(help="Held-out files that set the value ranges.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The model's folder.")],
    force: Annotated[
        bool, typer.Option("-f", "--force", help="Replace a model that is there.")
    ] = False,
) -> None:
    """Turn a trained float checkpoint into the integer model that archives are made with."""

    def work(name: str) -> None:
        from nncodec.lm.run import export_folder

        print(export_folder(Path(name), corpus, output, force=force).hex())

    each([str(run)], needing_torch(told(work)))


def told(work: Callable[[str], None]) -> Callable[[str], None]:
    """Training's own complaints are errors of one line, too."""

    def checked(name: str) -> None:
        try:
            work(name)
        except (ValueError, RuntimeError, FloatingPointError) as error:
            raise NNCodecError(str(error)) from error

    return checked
