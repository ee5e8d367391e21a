"""What every engine of ``parallel`` is: an ordered map with a bounded number of items in flight."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from nncodec.errors import WorkerError

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2  # items a worker: one that it does, one that it need not wait for


class AbandonedError(Exception):
    """Ends a task of which nobody wants the result any more."""


class Stoppable:
    """Progress that tasks in threads of this process report; once stopped, it ends them instead."""

    def __init__(self, progress: Callable[[int], object]) -> None:
        self.progress, self.lock, self.stopped = progress, threading.Lock(), threading.Event()

    def __call__(self, count: int) -> None:
        if self.stopped.is_set():
            raise AbandonedError
        with self.lock:
            self.progress(count)

    def stop(self) -> None:
        self.stopped.set()


class Turns:
    """One map at a time: other threads wait, and a thread that would wait for itself is told so."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: int | None = None

    @contextmanager
    def one(self) -> Iterator[None]:
        """Raises WorkerError."""
        if self.thread == threading.get_ident():
            raise WorkerError(
                "these workers are in the middle of another map: end or close that one first, or "
                "open others"
            )
        with self.lock:
            self.thread = threading.get_ident()
            try:
                yield
            finally:
                self.thread = None


@dataclass(frozen=True)
class Failure:
    """Stands for the next item where there should be one."""

    error: Exception


def caught(items: Iterable[T]) -> Iterator[T | Failure]:
    """The items; and if taking one fails that, so that those before it can be finished first."""
    try:
        yield from items
    except Exception as error:
        yield Failure(error)


def windowed(
    items: Iterable[T], most: int, add: Callable[[T], object], first: Callable[[], R], left: Sized
) -> Generator[R, None, None]:
    """Results in order while items are ``add``ed to a window, ``left`` of at most ``most``.

    ``first`` takes the oldest one's result out of it.
    """
    failed = None
    for item in caught(items):
        if isinstance(item, Failure):
            failed = item
            break
        add(item)
        if len(left) >= most:
            yield first()
    while len(left):
        yield first()
    if failed:
        raise failed.error


class Workers(ABC):
    """Runs tasks somewhere. Several maps may use the same workers, one after the other; those of
    other threads wait, unless the workers are ``local``, which do them side by side.

    ``count`` is how many there are. ``local``: in this process, so that a task may report progress
    and write to the caller's memory. ``shares``: with the caller's own objects, not with ones that
    each worker loads.
    """

    count: int
    local = False
    shares = False

    @abstractmethod
    def map_ordered(self, task: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        """``task`` of every item, in their order.

        Items are taken by the caller's thread when there is room: ``AHEAD * count`` are in flight
        at most, so what is held in memory is bounded. The first error in that order is raised, by
        ``items`` or by a task, and the rest is given up, as it is when the iterator is closed. A
        task and its items leave the process unless the workers are ``local``: then they are
        pickled. Raises WorkerError if a worker is lost again and again.
        """

    @abstractmethod
    def close(self) -> None:
        """Ends the workers, once what they do is done. Another map would begin new ones."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
