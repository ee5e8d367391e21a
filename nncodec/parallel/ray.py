"""The engine over Ray: actors on one machine or many, the same results whatever happens to them.

Ray's actors and object store, not Ray Data: items may come from a pipe, one after the other, and
results have to go out as they come. (Ray Data is for tables and folders of files: ``integrations.
ray_data``.) Every worker is an actor that keeps what a task has loaded. It has one item at a time,
so when an actor is lost it is known which item it had: that one goes to another worker, and an item
that has lost ``LOSSES`` of them is given up as what kills them. Ray's own restarts would repeat it
for ever, or not at all. After a loss for want of memory fewer workers go on.

Items wait in the object store, ``AHEAD * count`` at most from being taken to being handed out as
results; arrays in them are read there without a copy. While a cluster of our own starts, which
takes some seconds, threads of this process do the first items (``starting``). Tasks have to be
harmless to run twice, and are pickled: those of this package name what they need instead of
holding it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from nncodec.engine.native import usable_cores
from nncodec.errors import WorkerError
from nncodec.extras import find
from nncodec.lanes import no_progress
from nncodec.parallel.actor import REMEDY, Actor, Outcome, Software, check_software
from nncodec.parallel.base import AHEAD, Failure, Stoppable, Turns, Workers, caught
from nncodec.parallel.cluster import Cluster, first_line, starts_its_own
from nncodec.parallel.jobs import Job
from nncodec.parallel.starting import FirstItems, stoppable

T = TypeVar("T")
R = TypeVar("R")

LOSSES = 3  # workers that one item may lose, or that may be lost before they begin
PLACED_TIMEOUT = 600.0  # seconds for a first worker to be placed: clusters grow within minutes
MOMENT = 0.05  # seconds
STARVED = "killed because its node was out of memory"


@dataclass
class Worker:
    """An actor as the driver sees it."""

    actor: Any
    gpus: float
    waiting_for: Any  # a reference: what it is asked; None if it has nothing to do
    ready: bool = False  # whether it has begun at all
    job: Job | None = None


class RayWorkers(Workers):
    """``count`` actors of one core each, and of one GPU if the task's attribute ``gpus`` says so.

    Without a number as many as the cluster has cores. Ray is started, or its cluster joined, by the
    first map. Raises MissingPackageError without Ray, then WorkerError if there is no cluster and
    none can be started. Maps of several threads wait for each other.
    """

    def __init__(self, count: int | None = None, *, object_store_memory: int | None = None) -> None:
        find("ray", "ray")
        self.chosen, self.object_store_memory = count, object_store_memory
        self.count = self.target = count or usable_cores()
        self.cluster: Cluster | None = None
        self.workers: list[Worker] = []
        self.failed_starts = self.maps = 0
        self._turns = Turns()
        self._first: FirstItems | None = None  # while a cluster of our own starts

    @property
    def ray(self) -> Any:
        """The package, connected to a cluster."""
        if self.cluster is None:
            first, self._first = self._first, None
            self.cluster = first.cluster() if first else self.new_cluster()
            self.count = self.target = self.chosen or self.cluster.cores()
        return self.cluster.ray

    def new_cluster(self) -> Cluster:
        return Cluster(self.chosen, self.object_store_memory)

    def map_ordered(self, task: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        """As ``Workers`` has it; what runs when the iterator is left ends there and then.

        Raises WorkerError for an item that has lost several workers, for workers with another
        version of nncodec, and if none can be had.
        """
        with self._turns.one():
            yield from self._map(task, items)

    def _map(self, task: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        taken, stop = caught(items), Stoppable(no_progress)
        here: deque[Job] = deque()
        if self.cluster is None and starts_its_own() and not getattr(task, "gpus", 0):
            self._first = self._first or FirstItems(self.new_cluster, self.count)
            try:
                done = yield from self._first.results(stoppable(task, stop), taken)
            except BaseException:
                stop.stop()
                raise
            if done is None:
                return
            here = done
        ray = self.ray
        self.maps += 1
        run = Run(self, task, self.maps)
        run.window.extend(here)
        try:
            yield from run.results(taken)
        except ray.exceptions.RayError as error:
            raise WorkerError(
                f"the Ray cluster failed: {first_line(error)}; run it again"
            ) from error
        finally:
            stop.stop()
            self.give_up()

    def hire(self, gpus: float) -> None:
        """Have as many workers as there should be; those of another kind are let go."""
        for worker in [w for w in self.workers if w.gpus != gpus and w.job is None]:
            self.dismiss(worker)
        while len(self.workers) < self.target:
            options = {"num_cpus": 1, "num_gpus": gpus, "max_restarts": 0}
            actor = self.ray.remote(**options)(Actor).remote()
            self.workers.append(Worker(actor, gpus, actor.software.remote()))

    def dismiss(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self.ray.kill(worker.actor)

    def give_up(self) -> None:
        """End what still runs: it would hold a worker for as long as a block takes."""
        for worker in [w for w in self.workers if w.job is not None]:
            self.dismiss(worker)

    def close(self) -> None:
        """End the workers, and the cluster if it is ours. Repeatable."""
        if self._first is not None:
            with suppress(WorkerError):  # it did not start: there is nothing to end
                _ = self.ray
        for worker in list(self.workers):
            self.dismiss(worker)
        if self.cluster is not None:
            self.cluster.close()
            self.cluster = None


class Run:
    """One map: which items are where."""

    def __init__(self, owner: RayWorkers, task: Callable[[Any], Any], key: int) -> None:
        self.owner, self.ray, self.key = owner, owner.ray, key
        self.gpus = float(getattr(task, "gpus", 0))
        self.task = [self.ray.put(task)]
        self.window: deque[Job] = deque()  # in order, pulled and not yielded
        self.queue: deque[Job] = deque()  # of those, what no worker has

    def results(self, items: Iterator[Any]) -> Iterator[Any]:
        more = True
        while more or self.window:
            self.look()
            if self.window and self.window[0].done:
                yield self.window.popleft().result()
            elif more and len(self.window) < AHEAD * self.owner.count:
                more = self.pull(items)
            elif self.window and self.window[0].here is not None:
                self.look(MOMENT)
            elif self.window:
                self.look(PLACED_TIMEOUT)

    def pull(self, items: Iterator[Any]) -> bool:
        """One more item; False if there is none. A failure waits for what came before it."""
        for item in items:
            if isinstance(item, Failure):
                self.window.append(Job(outcome=Outcome(error=item.error)))
                return False
            job = Job(self.ray.put(item))
            self.window.append(job)
            self.queue.append(job)
            return True
        return False

    def look(self, timeout: float = 0) -> None:
        """See what has ended, wait for something if there is a ``timeout``, and hand out more."""
        self.hand_out()
        busy = {w.waiting_for: w for w in self.owner.workers if w.waiting_for is not None}
        if not busy:
            if timeout and self.window[0].here is not None:
                wait([self.window[0].here], timeout)
            return
        ended, _ = self.ray.wait(list(busy), num_returns=1, timeout=timeout)
        if not ended and timeout == PLACED_TIMEOUT and not any(w.ready for w in self.owner.workers):
            total, free = self.ray.cluster_resources(), self.ray.available_resources()
            kind = "GPU" if self.gpus else "CPU"
            raise WorkerError(
                f"no worker could be placed in {timeout:.0f} s: {free.get(kind, 0):.0f} of "
                f"{total.get(kind, 0):.0f} {kind}s of the cluster are free; try again when some are"
            )
        for reference in ended:
            self.hear(busy[reference])
        self.hand_out()

    def hand_out(self) -> None:
        """Items to workers that have none."""
        if self.queue:
            self.owner.hire(self.gpus)
        for worker in self.owner.workers:
            if self.queue and worker.ready and worker.job is None and worker.gpus == self.gpus:
                worker.job = self.queue.popleft()
                worker.waiting_for = worker.actor.run.remote(self.key, self.task, worker.job.item)

    def hear(self, worker: Worker) -> None:
        """What a worker has to say, or that it is gone."""
        reference, worker.waiting_for = worker.waiting_for, None
        try:
            said = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:  # before the task itself: its arguments
            self.owner.dismiss(worker)
            raise WorkerError(f"a worker cannot run tasks: {first_line(error.cause)}") from error
        except self.ray.exceptions.RayError as error:
            self.lose(worker, error)
            return
        if worker.job is None:
            if said != Software.here():
                self.owner.dismiss(worker)
                check_software(said)
            worker.ready, self.owner.failed_starts = True, 0
        else:
            worker.job.outcome, worker.job.item, worker.job = said, None, None

    def lose(self, worker: Worker, error: Exception) -> None:
        """A worker is gone, and what it had goes to another one; or is given up."""
        job, worker.job = worker.job, None
        why = reason(error)
        self.owner.dismiss(worker)
        if why.startswith(STARVED) and self.owner.target > 1:
            self.owner.target -= 1
        if job is None:
            self.owner.failed_starts += 1
            if self.owner.failed_starts >= LOSSES:
                raise WorkerError(f"workers end before they begin; the last was {why}") from error
            return
        job.losses += 1
        if job.losses < LOSSES:
            self.queue.appendleft(job)
            return
        lost = WorkerError(f"{job.losses} workers were lost to one item; the last was {why}")
        lost.__cause__ = error
        job.outcome, job.item = Outcome(error=lost), None


def reason(error: BaseException) -> str:
    """Why a worker was lost, and what can be done about it: what follows "was"."""
    kind, text = type(error).__name__, str(error)
    if "No module named" in text:
        missing = next(line for line in text.splitlines() if "No module named" in line)
        return f"one without nncodec ({missing.strip()}): install the same on every node"
    if kind == "OutOfMemoryError" or "NODE_OUT_OF_MEMORY" in text:
        used = re.search(r"was ([0-9.]+GB used / [0-9.]+GB)", text)
        return f"{STARVED}{f' ({used[1]})' if used else ''}: {REMEDY}"
    if kind == "NodeDiedError" or re.search(r"node (has )?died|node was (dead|terminated)", text):
        return "lost with its node: see what became of that machine"
    if kind.startswith(("Object", "Owner")):
        return "lost with what it had made: see what became of its node"
    return f"killed from outside, or crashed: if the system killed it for its memory, {REMEDY}"
