"""Many threads and processes at once: the same bytes as alone, and Python goes on meanwhile.

Module functions share engines, of which a process has one a model and level; their states take
turns in C++ (csrc/engine.h), without Python's lock.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nncodec
from nncodec import _core, modelstore
from nncodec.engine.native import NativeEngine, choose_isa
from nncodec.tensors.coder import encode_tensors
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import Item

THREADS = 8
LEVELS = (1, 2)
TEXT = b"".join(b"line %d of a text that is dull, but not quite the same\n" % i for i in range(24))


def piece(i: int) -> bytes:
    return TEXT[i * 40 :] + bytes(range(i, 200))


def there_and_back(job: tuple[int, int]) -> tuple[bytes, bytes]:
    i, level = job
    packed = nncodec.compress(piece(i), level)
    return packed, nncodec.decompress(packed)


JOBS = [(i, level) for i in range(THREADS) for level in LEVELS]


@pytest.fixture(scope="module")
def alone() -> list[bytes]:
    """What each job makes with nobody else about."""
    return [there_and_back(job)[0] for job in JOBS]


def test_threads_share_one_engine(alone: list[bytes]) -> None:
    """All begin at the same moment; each does all jobs, in an order of its own."""
    gate = threading.Barrier(THREADS)
    wrong: list[object] = []
    done = []

    def work(first: int) -> None:
        try:
            gate.wait(60)
            for k in range(len(JOBS)):
                at = (first * len(LEVELS) + k) % len(JOBS)
                packed, back = there_and_back(JOBS[at])
                if packed != alone[at] or back != piece(JOBS[at][0]):
                    wrong.append(JOBS[at])
                done.append(at)
        except Exception as error:  # it would end in the thread
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert wrong == []
    assert len(done) == THREADS * len(JOBS)


def test_executor(alone: list[bytes]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        assert [packed for packed, _ in pool.map(there_and_back, JOBS)] == alone


def test_spawned_processes(alone: list[bytes]) -> None:
    data = [piece(i) for i in range(4)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        packed = pool.starmap(nncodec.compress, [(piece, 2) for piece in data])
        assert packed == [alone[JOBS.index((i, 2))] for i in range(4)]
        assert pool.map(nncodec.decompress, packed) == data


FORK = """
import os, sys, threading, warnings
import nncodec
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads about
data = sys.stdin.buffer.read()
expected = nncodec.compress(data, 2), nncodec.compress(data, 1)
stop = threading.Event()
def busy():
    while not stop.is_set():
        assert nncodec.compress(data, 2) == expected[0]
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        same = (nncodec.compress(data, 2), nncodec.compress(data, 1)) == expected
        os._exit(0 if same and nncodec.decompress(expected[0]) == data else 3)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
stop.set()
for thread in threads:
    thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_others_code() -> None:
    """The child has none of the parent's threads, and engines that those may have been using."""
    command = [sys.executable, "-c", FORK]
    done = subprocess.run(command, input=TEXT, capture_output=True, check=False, timeout=300)
    assert (done.returncode, done.stdout.split()) == (0, [b"0"] * 5), done.stderr.decode()


DATA = np.frombuffer(TEXT * 50, dtype=np.uint8)
NUMBERS = np.random.default_rng(1).normal(size=(200, 512)).astype("<f4").view(np.uint8).reshape(-1)


def by_contexts() -> Callable[[], object]:
    coder = _core.BlockCoder(None, len(DATA), 1, 0, 16, DATA, False)
    return lambda: coder.run(len(DATA))


def by_a_network() -> Callable[[], object]:
    engine = NativeEngine(modelstore.find("nano"), 1).core
    coder = _core.BlockCoder(engine, len(DATA), 16, 0, 16, DATA, False)
    return lambda: coder.run(len(DATA))


def by_tensors() -> Callable[[], object]:
    items = (Item(Dtype.F32, 0, 200, 512),)
    return lambda: encode_tensors(items, NUMBERS, choose_isa())


@pytest.fixture
def counter() -> Iterator[Callable[[], int]]:
    """A thread of Python that counts whenever it can get Python's lock.

    Nobody is made to give the lock up meanwhile: it counts while others release it, only.
    """
    count, stop = 0, threading.Event()

    def work() -> None:
        nonlocal count
        while not stop.is_set():
            count += 1
            time.sleep(0)  # gives the lock back

    before = sys.getswitchinterval()
    thread = threading.Thread(target=work)
    sys.setswitchinterval(1000)
    thread.start()
    try:
        yield lambda: count
    finally:
        stop.set()
        sys.setswitchinterval(before)
        thread.join()


@pytest.mark.parametrize("prepare", [by_contexts, by_a_network, by_tensors])
def test_python_goes_on_during_one_call(
    prepare: Callable[[], Callable[[], object]], counter: Callable[[], int]
) -> None:
    code = prepare()
    before = counter()
    code()  # without Python's lock, or nothing could have counted until it returns
    assert counter() - before > 10
