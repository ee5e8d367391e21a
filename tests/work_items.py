"""What workers are given to do in tests; they import this, and so nothing heavy."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from nncodec.errors import CorruptDataError


def unevenly(number: int) -> int:
    time.sleep(0.03 * (number % 3 == 0))
    return number * number


def fails_at_three(number: int) -> int:
    if number == 3:
        raise CorruptDataError("number 3 is damaged")
    return number


def dies_once(path: str) -> str:
    """Kills its process by SIGKILL, unless somebody did before."""
    if not os.path.exists(path):
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return path


def dies(_item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def short_of_memory(size: int) -> int:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))
    return len(bytearray(size))


def sleeps(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def out_of_memory(_item: int) -> int:
    return len(bytearray(1 << 46))


def seen(array: np.ndarray) -> tuple[bool, int]:
    """Whether it was copied on the way, and what it holds."""
    return array.flags.writeable or array.flags.owndata, int(array[-1])


class Unpicklable(Exception):
    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


def fails_unpicklably(number: int) -> int:
    raise Unpicklable(number, number)


class SeenGpus:
    """A task for workers with ``gpus``, which says which ones it is given."""

    def __init__(self, gpus: int) -> None:
        self.gpus = gpus

    def __call__(self, _item: int) -> str | None:
        return os.environ.get("CUDA_VISIBLE_DEVICES")
