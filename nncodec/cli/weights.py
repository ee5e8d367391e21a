"""``nncodec weights``: the one place that registers its commands."""

from __future__ import annotations

from collections.abc import Callable

import typer

from nncodec.cli import weights_lossy, weights_tune

COMMANDS: tuple[Callable[..., None], ...] = (*weights_lossy.COMMANDS, *weights_tune.COMMANDS)

app = typer.Typer(no_args_is_help=True, help="Quantise models, and report what that did.")
for command in COMMANDS:
    app.command()(command)
