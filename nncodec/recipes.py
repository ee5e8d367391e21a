"""How workers come to the models of whoever gives them work: each loads its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from nncodec.errors import WorkerError
from nncodec.numerics import NUMERIC_VERSION

T = TypeVar("T")

loaded = threading.local()  # what this thread made of the recipe that it used last


@dataclass(frozen=True)
class Recipe(Generic[T]):
    """How another thread or process comes to the same thing: a function of a module, and what it
    is called with. ``gpus``: how many a worker needs for it."""

    make: Callable[..., T]
    arguments: tuple[Any, ...]
    gpus: int = 0
    numeric_version: int = NUMERIC_VERSION

    def load(self) -> T:
        """Made once a thread. Raises WorkerError if its arithmetic is of another version."""
        if self.numeric_version != NUMERIC_VERSION:
            raise WorkerError(
                f"a worker has numeric version {NUMERIC_VERSION}, and its archives would be others "
                f"than those of {self.numeric_version}: install the same nncodec on every machine"
            )
        if getattr(loaded, "recipe", None) != self:
            loaded.recipe, loaded.thing = None, None  # two models might not fit into memory
            loaded.thing = self.make(*self.arguments)
            loaded.recipe = self
        thing: T = loaded.thing
        return thing
