"""An item of a map over Ray, wherever it is done."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from nncodec.parallel.actor import Outcome


@dataclass
class Job:
    """An item from being pulled to being yielded."""

    item: Any = None  # a reference; None once it is not needed any more
    outcome: Outcome | None = None
    losses: int = 0
    here: Future[Any] | None = None  # in a thread of this process

    @property
    def done(self) -> bool:
        if self.here is not None and self.here.done():
            self.outcome, self.here = outcome_of(self.here), None
        return self.outcome is not None

    def result(self) -> Any:
        """What its task gave. Raises what its task did."""
        assert self.outcome is not None
        if self.outcome.error is not None:
            raise self.outcome.error
        return self.outcome.value


def outcome_of(future: Future[Any]) -> Outcome:
    error = future.exception()
    return Outcome(error=error) if error is not None else Outcome(future.result())
