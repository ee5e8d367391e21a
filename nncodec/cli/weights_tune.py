"""``nncodec weights prune``, ``lowrank``, ``tune``: options; the work is in ``lossy``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from nncodec.cli import files
from nncodec.cli.common import each, needing_torch
from nncodec.cli.options import Level, Quiet, Threads
from nncodec.cli.weights_lossy import (
    Input,
    OutputFile,
    Replace,
    check_suffix,
    read_any,
    write,
)
from nncodec.levels import DEFAULT_LEVEL

if TYPE_CHECKING:
    from nncodec.lossy.evaluate import CausalLM
    from nncodec.lossy.tune import Batches, TuneConfig

Only = Annotated[str, typer.Option(help="Only tensors with such names (a pattern).")]


def prune(
    source: Input,
    output: OutputFile,
    method: Annotated[
        str,
        typer.Option(help="l1, global, ln-structured, or N:M, as 2:4: of every 4 in a row 2 stay."),
    ] = "l1",
    amount: Annotated[float, typer.Option(min=0, max=1, help="The share that becomes 0.")] = 0.0,
    norm: Annotated[float, typer.Option(help="ln-structured: the norm's order.")] = 2.0,
    axis: Annotated[int, typer.Option(help="ln-structured: slices along this axis; 0: rows.")] = 0,
    only: Only = "",
    level: Level = DEFAULT_LEVEL,
    threads: Threads = 0,
    force: Replace = False,
    quiet: Quiet = 0,
) -> None:
    """Set the smallest weights of matrices to zero; the rest keep their bits. Needs torch."""
    if ":" not in method and not amount:
        raise typer.BadParameter(f"{method} needs --amount, the share that becomes 0")
    check_suffix(output)

    def work(_name: str) -> None:
        from nncodec.lossy import prune as pruning
        from nncodec.lossy import store

        config = pruning.PruneConfig(method, amount, norm, axis, only)
        files.check_overwrite(str(source), output, force)
        pruned = pruning.prune(store.read(source), config)
        size = write(output, pruned, level, threads)
        if not quiet:
            zeros, elements = pruning.zeros(pruned)
            print(
                f"{source}: {zeros} of {elements} elements of matrices are 0, "
                f"{100 * zeros / elements:.1f} % ({size} bytes, {output})",
                file=sys.stderr,
            )

    each([str(source)], needing_torch(work))


def lowrank(
    source: Input,
    output: OutputFile,
    energy: Annotated[
        Optional[float], typer.Option(help="Keep this share of the squared singular values.")
    ] = None,
    rank: Annotated[Optional[int], typer.Option(help="Keep so many.")] = None,
    size_fraction: Annotated[
        Optional[float], typer.Option(help="Factors have this share of a matrix's elements.")
    ] = None,
    only: Only = "",
    level: Level = DEFAULT_LEVEL,
    threads: Threads = 0,
    force: Replace = False,
    quiet: Quiet = 0,
) -> None:
    """Store matrices as two thin factors, by SVD, where those are smaller. Needs torch."""
    if sum(way is not None for way in (energy, rank, size_fraction)) != 1:
        raise typer.BadParameter("give one of --energy, --rank and --size-fraction")
    check_suffix(output)

    def work(_name: str) -> None:
        from nncodec.lossy import lowrank as factoring
        from nncodec.lossy import store

        config = factoring.RankConfig(energy, rank, size_fraction, only)
        files.check_overwrite(str(source), output, force)
        made, report = factoring.factor(store.read(source), config)
        size = write(output, made, level, threads)
        if not quiet:
            kept = [found for found in report.values() if found.kept]
            print(
                f"{source}: {len(kept)} of {len(report)} matrices are stored as factors, ranks "
                f"{' '.join(f'{f.rank}/{f.full}' for f in kept) or 'none'} "
                f"({size} bytes, {output})",
                file=sys.stderr,
            )

    each([str(source)], needing_torch(work))


def tune(
    source: Input,
    output: OutputFile,
    teacher: Annotated[Path, typer.Option(metavar="DIR", help="The original: a model's folder.")],
    text: Annotated[Optional[Path], typer.Option(help="Tune on this text.")] = None,
    corpus: Annotated[
        Optional[Path], typer.Option(help="Our own models: tune on this training corpus.")
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Without text: on so many texts that the teacher makes.")
    ] = 512,
    mask: Annotated[
        Optional[Path],
        typer.Option(help="Zeros of this file stay zero; default: those of FILE, if it is floats."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of AdamW.")] = 200,
    batch: Annotated[int, typer.Option(min=1, help="Windows a step.")] = 8,
    rate: Annotated[
        float,
        typer.Option(min=0, help="Peak learning rate; 0: by the quantiser's steps, or 0.001."),
    ] = 0.0,
    text_loss: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of the text's cross entropy; the rest distils."),
    ] = 0.0,
    refresh: Annotated[int, typer.Option(min=1, help="Steps between two quantisations.")] = 4,
    rdo: Annotated[
        float, typer.Option(min=0, max=4, help="What bits weigh in rounding; 0: to the nearest.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Decides all batches.")] = 1,
    level: Level = DEFAULT_LEVEL,
    threads: Threads = 0,
    force: Replace = False,
    quiet: Quiet = 0,
) -> None:
    """Train a pruned, factored or quantised model to do as the original does. Needs torch."""
    if text is not None and corpus is not None:
        raise typer.BadParameter("give --text or --corpus, not both")
    check_suffix(output)

    def work(_name: str) -> None:
        from nncodec.lossy import store
        from nncodec.lossy import tune as tuning
        from nncodec.lossy.dequantize import is_quantized
        from nncodec.lossy.evaluate import CausalLM

        config = tuning.TuneConfig(steps, batch, rate, text_loss, refresh, rdo, seed)
        files.check_overwrite(str(source), output, force)
        checkpoint = store.read(source)
        masks = None
        if mask is not None:
            masks = tuning.masks_of(read_any(mask))
        elif not is_quantized(checkpoint.metadata):
            masks = tuning.masks_of(checkpoint)
        model = CausalLM(teacher)
        batches = batches_for(model, config, text, corpus, samples)
        losses: list[float] = []
        made = tuning.tune(
            model, checkpoint, batches, config, masks, report=lambda _, loss: losses.append(loss)
        )
        size = write(output, made, level, threads)
        if not quiet:
            some = max(len(losses) // 10, 1)
            first, last = sum(losses[:some]) / some, sum(losses[-some:]) / some
            print(
                f"{source}: loss {first:.4f} to {last:.4f} nats a token in {steps} steps "
                f"({size} bytes, {output})",
                file=sys.stderr,
            )

    each([str(source)], needing_torch(work))


def batches_for(
    model: CausalLM, config: TuneConfig, text: Path | None, corpus: Path | None, samples: int
) -> Batches:
    from nncodec.lossy import documents
    from nncodec.lossy import tune as tuning

    if corpus is not None:
        return tuning.corpus_batches(model, corpus, config)
    if text is not None:
        return tuning.text_batches(model, documents.read(text), config)
    from nncodec.lossy.samples import sample

    return tuning.text_batches(model, sample(model, samples, config.seed), config)


COMMANDS: tuple[Callable[..., None], ...] = (prune, lowrank, tune)
