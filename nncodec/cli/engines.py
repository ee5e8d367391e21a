"""--engine and --workers: who codes the blocks. Nothing is started before a file needs it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType

import typer

from nncodec.parallel import ENGINES, Workers, open_workers


class ChosenWorkers(AbstractContextManager["ChosenWorkers"]):
    """Workers for all files of a command. Raises BadParameter for an engine that is none."""

    def __init__(self, engine: str | None, count: int | None) -> None:
        if engine is not None and engine not in ENGINES:
            choices = ", ".join(ENGINES)
            raise typer.BadParameter(f"--engine {engine}: choose one of {choices}")
        if engine == "inline" and count not in (None, 1):
            raise typer.BadParameter(f"--engine inline has one worker, not {count}")
        self.engine, self.count = engine, count
        self.opened: Workers | None = None

    def __call__(self) -> Workers | None:
        """None: the codec's own way. Raises what ``open_workers`` does."""
        if self.engine is None and self.count is None:
            return None
        if self.opened is None:
            self.opened = open_workers(self.engine or "auto", self.count)
        return self.opened

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.opened is not None:
            self.opened.close()
