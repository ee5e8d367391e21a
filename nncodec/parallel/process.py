"""Work in processes of this machine, which may be killed: what a lost one did is done again.

They are begun afresh (``spawn``), as a fork would copy engines in the middle of their work; so a
program that uses them needs ``if __name__ == "__main__"``, as with any use of multiprocessing.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

from nncodec.errors import WorkerError
from nncodec.parallel.base import AHEAD, Turns, Workers, windowed

T = TypeVar("T")
R = TypeVar("R")

MOST_LOSSES = 3  # in a row, without a result between them: it is the item, or the machine


class ProcessWorkers(Workers):
    """Processes, started when there is work and kept for the next."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None
        self._alive: Connection | None = None  # workers end when this end of a pipe is closed
        self._begun: Connection | None = None  # every worker says here that it has
        self._turns = Turns()

    def map_ordered(self, task: Callable[[T], R], items: Iterable[T]) -> Generator[R, None, None]:
        window: Window[T, R] = Window(self, task)
        with self._turns.one():
            try:
                most = AHEAD * self.count
                yield from windowed(items, most, window.add, window.first, window)
            finally:
                window.give_up()

    def submit(self, task: Callable[[T], R], item: T) -> Future[R]:
        """Raises BrokenProcessPool if a worker was lost since."""
        if self._pool is None:
            begin_tracker()
            context = multiprocessing.get_context("spawn")
            theirs, self._alive = context.Pipe(duplex=False)
            self._begun, told = context.Pipe(duplex=False)
            self._pool = ProcessPoolExecutor(self.count, context, begin, (theirs, told))
        with left_to_the_parent():
            return self._pool.submit(task, item)

    @property
    def any_begun(self) -> bool:
        """Whether a worker has come to the point where it can be given work."""
        return self._begun is not None and self._begun.poll()

    def kill(self) -> None:
        """End them in the middle of what they do. The next work begins new ones."""
        if self._alive is not None:
            self._alive.close()
        self.close()

    def close(self) -> None:
        if self._pool is not None and self._alive is not None:
            self._pool.shutdown(cancel_futures=True)
            self._alive.close()
        self._pool = self._alive = self._begun = None


class Window(Generic[T, R]):
    """Items in flight, which are held until their results are there."""

    def __init__(self, workers: ProcessWorkers, task: Callable[[T], R]) -> None:
        self.workers, self.task = workers, task
        self.items: deque[tuple[T, Future[R]]] = deque()
        self.losses = 0

    def __len__(self) -> int:
        return len(self.items)

    def add(self, item: T) -> None:
        self.items.append((item, self.submit(item)))

    def submit(self, item: T) -> Future[R]:
        try:
            return self.workers.submit(self.task, item)
        except BrokenProcessPool as error:  # a worker was lost, and nobody has noticed yet
            lost: Future[R] = Future()
            lost.set_exception(error)
            return lost

    def first(self) -> R:
        """The oldest item's result. Raises WorkerError, or what its task did."""
        while isinstance(lost := self.items[0][1].exception(), BrokenProcessPool):
            self.begin_again(lost)
        self.losses = 0
        return self.items.popleft()[1].result()

    def begin_again(self, error: BrokenProcessPool) -> None:
        """With new processes (after one was lost the others have ended), what is not finished."""
        self.losses += 1
        if not self.workers.any_begun:
            self.workers.kill()
            raise WorkerError(
                "no worker process came to begin: what a program does has to be under "
                "`if __name__ == '__main__':`, in a file, as workers import it; or memory is short"
            ) from error
        if self.losses >= MOST_LOSSES:
            raise WorkerError(
                f"a worker process was killed, {self.losses} times in a row: most likely memory "
                "ran out; use fewer workers, a lower level or the engine inline"
            ) from error
        self.workers.kill()
        self.items = deque(
            (item, future if finished(future) else self.submit(item)) for item, future in self.items
        )

    def give_up(self) -> None:
        """Of what is not finished nobody waits for the end."""
        for _, future in self.items:
            future.cancel()
        if not all(future.done() for _, future in self.items):
            self.workers.kill()


def finished(future: Future[R]) -> bool:
    """Whether it has a result, or an error of its task."""
    if not future.done() or future.cancelled():
        return False
    return not isinstance(future.exception(), BrokenProcessPool)


@contextmanager
def left_to_the_parent() -> Iterator[None]:
    """A process that is begun meanwhile hears nothing of ^C, from its first moment on."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_tracker() -> None:
    """The process that frees what others leave, before signals are blocked: it unblocks them.

    It says nothing of what a parent that was killed left; that is no fault of anybody.
    """
    quiet = "ignore::UserWarning:multiprocessing.resource_tracker"
    sys.warnoptions.append(quiet)  # which it is begun with
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(quiet)


def begin(alive: Connection, begun: Connection) -> None:
    """In a new process: leave signals of the terminal to the parent, and end when it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        begun.send_bytes(b"begun")
    except OSError:  # the parent has gone
        os._exit(1)
    begun.close()
    threading.Thread(target=end_with, args=(alive,), daemon=True).start()


def end_with(alive: Connection) -> None:
    wait([alive])  # nothing is ever sent: the other end was closed, if by the parent's death
    os._exit(1)
