"""A progress bar with speed and time left on a terminal; silence elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from nncodec.lanes import Progress, no_progress


@contextmanager
def progress_bar(name: str, total: int | None, quiet: bool) -> Iterator[Progress]:
    """A callable that takes finished bytes. rich is imported only where a bar is drawn."""
    if quiet or not sys.stderr.isatty():
        yield no_progress
        return
    from rich import progress as rich_progress
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with rich_progress.Progress(
        *columns,
        console=console,
        transient=True,
        speed_estimate_period=10,
        redirect_stdout=sys.stdout.isatty(),  # else rich would print on stderr what goes to a file
    ) as bars:
        task = bars.add_task(name, total=total)

        def advance(count: int) -> None:
            bars.advance(task, count)

        yield advance
