"""``nncodec weights quantize``, ``dequantize``, ``report``: options; the work is in ``lossy``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from nncodec.cli import files
from nncodec.cli.common import AsJson, each, needing_torch
from nncodec.cli.options import Level, Quiet, Threads
from nncodec.errors import QuantizationError
from nncodec.levels import DEFAULT_LEVEL

if TYPE_CHECKING:
    from nncodec.lossy import Checkpoint, Quantized, Settings, Target

SUFFIXES = (".safetensors", ".nnc")
FORMATS = ("trellis", "uniform", "int8", "int4", "nf4", "quantile")
Input = Annotated[
    Path, typer.Argument(metavar="FILE|DIR", help="safetensors, its archive, or a model's folder.")
]
OutputFile = Annotated[
    Path, typer.Option("-o", "--output", help="A file .safetensors, or .nnc to compress it too.")
]
Replace = Annotated[bool, typer.Option("-f", "--force", help="Overwrite.")]
ModelDir = Annotated[
    Optional[Path],
    typer.Option(help="Causal language model that the weights belong to; default: DIR itself."),
]
Text = Annotated[
    Optional[Path], typer.Option(help="Text that the model is measured on (needs torch).")
]


def quantize(
    source: Input,
    output: OutputFile,
    format: Annotated[
        str, typer.Option(help="trellis, uniform, int8, int4, nf4 or quantile.")
    ] = "trellis",
    target_bits: Annotated[
        float, typer.Option(min=0, help="Bits a weight of the whole archive.")
    ] = 0.0,
    target_size: Annotated[int, typer.Option(min=0, help="Bytes of the whole archive.")] = 0,
    snr: Annotated[float, typer.Option(help="Decibels over all quantised tensors.")] = 0.0,
    step: Annotated[float, typer.Option(min=0, help="The step itself.")] = 0.0,
    states: Annotated[int, typer.Option(help="Of the trellis: 4, 8, 16, 32 or 64.")] = 64,
    per_row: Annotated[
        bool, typer.Option("--per-row", help="uniform, trellis, int8: a scale for each row.")
    ] = False,
    rdo: Annotated[
        float, typer.Option(min=0, max=4, help="What bits weigh in rounding; 0: to the nearest.")
    ] = 1.0,
    points: Annotated[
        bool, typer.Option(help="Move the levels next to zero to the mean of their weights.")
    ] = True,
    group: Annotated[int, typer.Option(help="int4, nf4: 32, 64 or 128 share a scale.")] = 0,
    packed: Annotated[bool, typer.Option("--packed", help="int4: two a byte.")] = False,
    least: Annotated[
        int, typer.Option(min=1, help="Smaller tensors stay as they are (elements).")
    ] = 1024,
    keep: Annotated[str, typer.Option(help="Tensors with such names stay (a pattern).")] = "",
    model_dir: ModelDir = None,
    text: Text = None,
    level: Level = DEFAULT_LEVEL,
    threads: Threads = 0,
    force: Replace = False,
    quiet: Quiet = 0,
) -> None:
    """Quantise the matrices of a model into a safetensors file of integers, or an archive of it.

    With --text, errors are spread over tensors by how much the model minds them there.
    """
    if model_dir and not text:
        raise typer.BadParameter("--model-dir goes with --text")
    if sum(value != 0 for value in (target_bits, target_size, snr, step)) > 1:
        raise typer.BadParameter("give one of --target-bits, --target-size, --snr and --step")
    if format not in FORMATS:
        raise typer.BadParameter(f"--format is one of {', '.join(FORMATS)}, not {format!r}")
    check_suffix(output)
    stepped = format in ("trellis", "uniform")
    if stepped and not (target_bits or target_size or snr or step):
        raise typer.BadParameter(f"{format} needs --target-bits, --target-size, --snr or --step")
    if not stepped and (target_bits or target_size or snr or step or text):
        raise typer.BadParameter(f"{format} has a fixed size and takes no target, step or text")

    def work(_name: str) -> None:
        from nncodec import lossy

        settings = lossy.Settings(
            format, step, states, per_row, rdo, points, group, packed, least, keep
        )
        target = None if step or not stepped else lossy.Target(target_bits, target_size, snr)
        files.check_overwrite(str(source), output, force)
        checkpoint = read_any(source)
        made = make(checkpoint, settings, target, source, model_dir, text)
        if not made.records:
            raise QuantizationError("nothing was quantised: no large matrix of finite floats")
        if format == "quantile":
            print(
                f"nncodec: {source}: quantile codes take half as much again as uniform ones at the "
                "same error once coded; they are here for comparison",
                file=sys.stderr,
            )
        size = write(output, made.checkpoint, level, threads)
        if not quiet:
            elements = sum(tensor.data.size for tensor in checkpoint.tensors.values())
            print(
                f"{source}: {len(made.records)} of {len(checkpoint.tensors)} tensors, "
                f"SNR {made.snr_db:.2f} dB, {8 * size / elements:.3f} bits a weight "
                f"({size} bytes, {output}{not_yet(output, target)})",
                file=sys.stderr,
            )

    each([str(source)], needing_torch(work))


def not_yet(output: Path, target: Target | None) -> str:
    """Targets are those of the archive, and this may be none."""
    sized = target is not None and (target.bits or target.size)
    return ", the target's once compressed" if sized and output.suffix != ".nnc" else ""


def make(
    checkpoint: Checkpoint,
    settings: Settings,
    target: Target | None,
    source: Path,
    model_dir: Path | None,
    text: Path | None,
) -> Quantized:
    from nncodec import lossy

    importance = None
    if text is not None:
        from nncodec.lossy.evaluate import CausalLM
        from nncodec.lossy.sensitivity import importance as measure

        importance = measure(CausalLM(model_dir or source), text.read_bytes())
    if target is not None:
        return lossy.allocate(
            checkpoint.tensors,
            settings,
            target,
            importance=importance,
            metadata=checkpoint.metadata,
        )
    steps = None
    if importance is not None:
        from nncodec.lossy.allocate import step_shares
        from nncodec.lossy.quantize import chosen

        shares = step_shares(chosen(checkpoint.tensors, settings), importance)
        steps = {name: settings.step * share for name, share in shares.items()}
    return lossy.quantize(checkpoint.tensors, settings, steps=steps, metadata=checkpoint.metadata)


def dequantize(
    source: Input,
    output: OutputFile,
    level: Level = DEFAULT_LEVEL,
    threads: Threads = 0,
    force: Replace = False,
    quiet: Quiet = 0,
) -> None:
    """Give back floats, in their original dtypes; also of folders that compressed-tensors wrote."""
    check_suffix(output)

    def work(_name: str) -> None:
        files.check_overwrite(str(source), output, force)
        checkpoint = read_any(source)
        size = write(output, checkpoint, level, threads)
        if not quiet:
            print(
                f"{source}: {len(checkpoint.tensors)} tensors ({size} bytes, {output})",
                file=sys.stderr,
            )

    each([str(source)], needing_torch(work))


def report(
    source: Input,
    against: Annotated[
        Optional[Path], typer.Option(help="The original, for errors: a file or folder.")
    ] = None,
    model_dir: ModelDir = None,
    text: Text = None,
    table: Annotated[
        Optional[Path], typer.Option("--csv", help="Write the rows to this file too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what each tensor costs and loses, and with --text what that did to the model."""
    if model_dir and not text:
        raise typer.BadParameter("--model-dir goes with --text")

    def work(_name: str) -> None:
        from nncodec.cli import weights_report
        from nncodec.lossy import store
        from nncodec.lossy.layouts import read_floats
        from nncodec.lossy.report import report as measure
        from nncodec.tables import write_rows

        checkpoint = store.read(source)
        original = None if against is None else read_floats(against).tensors
        rows = measure(checkpoint, original)
        if table is not None:
            write_rows(table, [row.to_dict() for row in rows])
        bits = None
        if text is not None:
            folder = model_dir or against or source
            bits = weights_report.model_bits(folder, read_floats(source).tensors, text)
        if as_json:
            tensors = [row.to_dict() for row in rows]
            print(json.dumps({"file": str(source), "tensors": tensors, "model": bits}, indent=2))
        else:
            weights_report.show(rows, bits)

    each([str(source)], needing_torch(work))


def check_suffix(output: Path) -> None:
    """What is written is a safetensors file, or its archive, and is called so."""
    if output.suffix not in SUFFIXES:
        raise typer.BadParameter(f"-o names a file that ends with {' or '.join(SUFFIXES)}")


def read_any(path: Path) -> Checkpoint:
    """Floats of a file or folder. Raises FileError for a name that cannot be read."""
    from nncodec.lossy.layouts import read_floats

    try:
        return read_floats(path)
    except OSError as error:
        raise files.FileError((error.strerror or str(error)).lower()) from error


def write(output: Path, checkpoint: Checkpoint, level: int, threads: int) -> int:
    from nncodec.lossy import store

    data = store.encode(output, checkpoint, level, threads or None)
    with files.atomic_output(output, files.STDIO) as sink:
        sink.write(data)
    return len(data)


COMMANDS: tuple[Callable[..., None], ...] = (quantize, dequantize, report)
