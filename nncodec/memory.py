"""Archives that lie in memory: read without copies, and work done where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import BinaryIO, TypeVar

from nncodec._core import ByteStore

T = TypeVar("T")


class View:
    """A source whose pieces are views of the (n,) bytes ``data``."""

    def __init__(self, data: memoryview) -> None:
        self.data, self.at = data, 0

    def read(self, size: int) -> memoryview:
        """The next ``size`` bytes, or as many as are left."""
        piece = self.data[self.at : self.at + size]
        self.at += len(piece)
        return piece


Source = BinaryIO | View
Sink = BinaryIO | ByteStore
Payload = bytes | memoryview


class Inline(Executor):
    """Runs everything at once, in the thread that submits it: one thread needs no other."""

    def submit(self, fn: Callable[..., T], /, *args: object, **kwargs: object) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # for whoever asks for the result, as from any executor
            future.set_exception(error)
        return future


def executor(threads: int) -> Executor:
    return Inline() if threads == 1 else ThreadPoolExecutor(threads)
