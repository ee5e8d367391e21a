"""Batches made ahead of the step that needs them, by threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def prefetched(
    make: Callable[[int], T], first: int, ahead: int = 4, threads: int = 1
) -> Iterator[Iterator[T]]:
    """``make(first)``, ``make(first + 1)``, ... of which ``ahead`` are under way or wait.

    ``make`` must be a function of its argument alone. What it raises is raised where its result
    would have come.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="prefetch") as pool:
        waiting = deque(pool.submit(make, cursor) for cursor in range(first, first + ahead))

        def results() -> Iterator[T]:
            for cursor in count(first + ahead):
                result = waiting.popleft().result()
                waiting.append(pool.submit(make, cursor))
                yield result

        try:
            yield results()
        finally:
            for future in waiting:
                future.cancel()
