"""What every engine promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
R = TypeVar("R")


class Workers(ABC):
    """Runs tasks somewhere; results come in the order of the items, a bounded number of them in
    flight."""

    count: int  # workers
    local: bool  # whether tasks run in this process

    @abstractmethod
    def map_ordered(self, task: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Lazily pulls at most about 2 * count items ahead; the first error in order is raised."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
