"""The Ray cluster that tasks run on: one that is there, or one of this process's own.

``RAY_ADDRESS`` names one that is there, and this process leaves it as it was; a program that has
called ``ray.init`` keeps what it chose. Otherwise a cluster of one machine is started, without
dashboard, reports of use or a line in the terminal, in a temporary folder that goes with it. Other
clusters of this machine are never joined by chance.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import logging
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nncodec.engine.native import usable_cores
from nncodec.errors import WorkerError
from nncodec.extras import need

ADDRESS = "RAY_ADDRESS"
PREFIX = "nncodec-ray-"  # of a folder, then the number of its process
CONNECT_TIMEOUT = 10.0  # seconds until an address that nobody answers at counts as wrong
STORE_BYTES = 256 << 20  # of the object store, at least
ITEM_BYTES = 128 << 20  # a frame of 64 MiB and what it is coded to, if that is no smaller
MOST_OF_A_NAME = 20  # characters: sockets lie in the folder, and their names are bounded
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}  # unless the user set them


class Cluster:
    """A connection to Ray, for as long as it is needed; see above. Raises WorkerError.

    ``count`` is the number of workers that a cluster of our own has room for, by default as many as
    there are cores, and ``object_store_memory`` its shared memory in bytes, by default enough for
    what is in flight.
    """

    def __init__(self, count: int | None, object_store_memory: int | None = None) -> None:
        self.ray = need("ray", "ray")
        self.folder: str | None = None
        self.connected = False  # by us, so to be left by us
        self.ended = threading.Event()
        if self.ray.is_initialized():
            return
        address = os.environ.get(ADDRESS)
        if address and address != "local":
            self.connect(address)
        else:
            count = count or usable_cores()
            self.start(count, object_store_memory or max(STORE_BYTES, 2 * count * ITEM_BYTES))

    def connect(self, address: str) -> None:
        try:
            knock(address)
            self.init(address=address)
        except Exception as error:  # Ray has a dozen kinds: wrong versions, tokens, addresses
            self.close()
            raise WorkerError(
                f"cannot use the Ray cluster at {address}: {first_line(error)}; "
                f"correct {ADDRESS}, or unset it for a cluster on this machine"
            ) from error

    def start(self, count: int, store: int) -> None:
        long = os.name == "posix" and len(tempfile.gettempdir()) > MOST_OF_A_NAME
        below = "/tmp" if long else tempfile.gettempdir()
        sweep(Path(below))
        self.folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=below)
        atexit.register(self.close)  # if nobody else does
        options = {"_temp_dir": self.folder, "_node_ip_address": "127.0.0.1"}
        try:
            with environment(QUIET):
                self.init(
                    address="local",
                    num_cpus=count,
                    object_store_memory=store,
                    include_dashboard=False,
                    **options,
                )
        except BaseException as error:
            self.close()
            if not isinstance(error, Exception):
                raise
            raise WorkerError(
                f"Ray does not start on this machine: {first_line(error)}; "
                "take the engine process, which needs no cluster"
            ) from error

    def init(self, **options: Any) -> None:
        logging.getLogger("ray").setLevel(logging.ERROR)
        self.connected = True  # or half so
        self.let_print(False)
        options = {"log_to_driver": False, "logging_level": logging.ERROR, **options}
        in_lasting_thread(lambda: self.ray.init(**options), self.ended)

    def let_print(self, wanted: bool) -> None:
        """Ray tells of lost workers on standard output, where an archive may go.

        It has no public switch for that; this is the one that its debugger uses.
        """
        if hasattr(internals(), "_worker_logs_enabled"):
            internals()._worker_logs_enabled = wanted

    def end_autoscaler(self) -> None:
        """Of one machine there is nothing to scale, and Ray would wait a second for it to end."""
        node: Any = getattr(internals(), "_global_node", None)
        if self.folder is not None and hasattr(node, "kill_monitor"):
            with contextlib.suppress(Exception):  # whatever it is, it ends with the others
                node.kill_monitor(check_alive=False)

    def cores(self) -> int:
        """Of all nodes."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def close(self) -> None:
        """Leave a cluster that was there, end our own. Repeatable.

        The folder goes first, as a program that is interrupted may be given less time than Ray
        takes; its processes end when this one does.
        """
        self.remove_folder()
        if self.connected:
            self.connected = False
            self.end_autoscaler()
            self.ray.shutdown()
            self.let_print(True)
            self.ended.set()
        self.remove_folder()  # if anything was still written
        self.folder = None
        atexit.unregister(self.close)

    def remove_folder(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def in_lasting_thread(work: Callable[[], object], ended: threading.Event) -> None:
    """Do ``work`` in a thread that stays until ``ended``, and raise what it raised.

    From the main thread Ray would put a handler of its own for SIGTERM. And its processes end with
    the thread that began them, which is what Linux tells them of their parent's death.
    """
    done: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            done.set_exception(error)
        else:
            done.set_result(None)
            ended.wait()

    threading.Thread(target=run, name="nncodec-ray", daemon=True).start()
    done.result()


def starts_its_own() -> bool:
    """Whether the next ``Cluster`` is one that has to be started."""
    address = os.environ.get(ADDRESS)
    return address in (None, "", "local") and not need("ray", "ray").is_initialized()


def internals() -> Any:
    return importlib.import_module("ray._private.worker")


def knock(address: str) -> None:
    """Raises OSError if nobody listens there; Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT).close()


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".:")


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Variables for processes that are started meanwhile; those that are set stay as they are."""
    added = values.keys() - os.environ.keys()
    os.environ.update({name: values[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def sweep(below: Path) -> None:
    """Remove the folders of processes that were killed before they could."""
    for folder in below.glob(f"{PREFIX}[0-9]*-*"):
        number = folder.name[len(PREFIX) :].partition("-")[0]
        if number.isdigit() and not is_running(int(number)):
            shutil.rmtree(folder, ignore_errors=True)


def is_running(process: int) -> bool:
    """Where that cannot be told it is."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
