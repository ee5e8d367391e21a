"""What runs in a worker of a Ray cluster, and what it says of itself."""

from __future__ import annotations

import pickle
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nncodec.errors import WorkerError
from nncodec.numerics import NUMERIC_VERSION
from nncodec.parallel.cluster import first_line

REMEDY = "take fewer workers, smaller blocks or a lower level"


@dataclass(frozen=True)
class Outcome:
    """What became of an item: a value, or the error of its task."""

    value: Any = None
    error: BaseException | None = None


@dataclass(frozen=True)
class Software:
    """What has to be the same everywhere, for the same bytes."""

    nncodec: str
    numeric_version: int
    where: str = field(compare=False, default="")

    @classmethod
    def here(cls) -> Software:
        from nncodec import __version__

        return cls(__version__, NUMERIC_VERSION, platform.node())

    def __str__(self) -> str:
        return f"nncodec {self.nncodec} (numeric version {self.numeric_version})"


class Actor:
    """One task at a time, unpickled once."""

    def __init__(self) -> None:
        self.task: tuple[int, Callable[[Any], Any]] | None = None

    def software(self) -> Software:
        return Software.here()

    def run(self, key: int, boxed_task: list[Any], item: Any) -> Outcome:
        """``boxed_task`` holds a reference, which Ray would resolve for every item otherwise."""
        import ray

        try:
            if self.task is None or self.task[0] != key:
                self.task = key, ray.get(boxed_task[0])
            return Outcome(self.task[1](item))
        except MemoryError:
            return Outcome(error=WorkerError(f"a worker ran out of memory: {REMEDY}"))
        except Exception as error:
            return Outcome(error=portable(error))


def portable(error: Exception) -> Exception:
    """The error, or if it cannot be pickled one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return WorkerError(f"{type(error).__name__} in a worker: {first_line(error)}")
    return error


def check_software(theirs: Software) -> None:
    """Raises WorkerError unless a worker has what this process has."""
    ours = Software.here()
    if theirs != ours:
        raise WorkerError(
            f"{theirs.where} has {theirs}, this machine {ours}: install the same on every node"
        )
