"""What is done while a cluster of our own starts: its seconds would be lost to the first items.

They are done in as many threads as there will be workers. Once the cluster is there, actors get the
items that no thread has begun, beside the threads that still run, each to the end of its item.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import is_dataclass, replace
from typing import Any

from nncodec.parallel.actor import Outcome
from nncodec.parallel.base import AHEAD, Failure, Stoppable
from nncodec.parallel.cluster import Cluster
from nncodec.parallel.jobs import Job

END = object()


class FirstItems:
    """A cluster that starts, and ``count`` threads meanwhile."""

    def __init__(self, start: Callable[[], Cluster], count: int) -> None:
        self.count = count
        self._threads = ThreadPoolExecutor(count + 1, "nncodec-ray-start")
        self._starting: Future[Cluster] = self._threads.submit(start)

    def cluster(self) -> Cluster:
        """Once it is there. Raises what starting it does."""
        self._threads.shutdown(wait=False)
        return self._starting.result()

    def results(
        self, task: Callable[[Any], Any], items: Iterator[Any]
    ) -> Generator[Any, None, deque[Job] | None]:
        """Results in order, until the cluster has started: then what is not done yet.

        None if all is done before.
        """
        jobs: deque[Job] = deque()
        more = True
        try:
            while (more or jobs) and not self._starting.done():
                running = [job.here for job in jobs if not job.done]
                if jobs and jobs[0].done:
                    yield jobs.popleft().result()
                elif more and len(running) < self.count and len(jobs) < AHEAD * self.count:
                    item = next(items, END)
                    more = item is not END and not isinstance(item, Failure)
                    if isinstance(item, Failure):
                        jobs.append(Job(outcome=Outcome(error=item.error)))
                    elif more:
                        jobs.append(Job(here=self._threads.submit(task, item)))
                else:
                    wait([self._starting, *(f for f in running if f)], return_when=FIRST_COMPLETED)
        except BaseException:
            for job in jobs:
                if job.here is not None:
                    job.here.cancel()
            raise
        return jobs if more or jobs else None


def stoppable(task: Callable[[Any], Any], stop: Stoppable) -> Callable[[Any], Any]:
    """The task with a progress that ends it in the middle of an item, if it reports any."""
    if is_dataclass(task) and hasattr(task, "progress"):
        return replace(task, progress=stop)  # type: ignore[type-var,unused-ignore]
    return task
