"""Work in this process: in the caller's thread, or in threads beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from nncodec.parallel.base import AHEAD, Workers, windowed

T = TypeVar("T")
R = TypeVar("R")


class Inline(Workers):
    """One worker, the caller: the readable twin of all others."""

    count, local, shares = 1, True, True

    def map_ordered(self, task: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        return (task(item) for item in items)

    def close(self) -> None:
        """There is nothing to end."""


class ThreadWorkers(Workers):
    """Threads, started when there is work. What they run in C++ holds no lock of Python's."""

    local = True

    def __init__(self, count: int, *, shares: bool = False) -> None:
        self.count, self.shares = count, shares
        self._pool: ThreadPoolExecutor | None = None

    def map_ordered(self, task: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count, "nncodec-worker")
        pool, waiting = self._pool, deque[Future[R]]()

        def add(item: T) -> None:
            waiting.append(pool.submit(task, item))

        def first() -> R:
            return waiting.popleft().result()

        try:
            yield from windowed(items, AHEAD * self.count, add, first, waiting)
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
