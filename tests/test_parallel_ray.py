"""The engine over Ray, on a cluster of this machine: order, bounds, errors, and lost workers."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import worker_contract
from helpers import CLI, TEXT, python_fails, run_python
from test_delta import save, tensors
from test_parallel import DATA
from work_items import (
    SeenGpus,
    dies,
    dies_once,
    fails_unpicklably,
    out_of_memory,
    seen,
    sleeps,
    unevenly,
)

import nncodec
from nncodec.errors import CorruptDataError, MissingPackageError, WorkerError
from nncodec.parallel import open_workers
from nncodec.parallel.actor import Software, check_software
from nncodec.parallel.cluster import Cluster, first_line, knock
from nncodec.parallel.ray import RayWorkers, reason

ray = pytest.importorskip("ray", reason="needs the extra ray", exc_type=ImportError)
STORE = 100 << 20

pytestmark = pytest.mark.filterwarnings(  # of Ray itself
    "ignore::FutureWarning:ray", "ignore::DeprecationWarning:ray", "ignore::ResourceWarning"
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One for all tests, with room for workers of a command beside those of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        init = Cluster.init
        patch.setattr(Cluster, "init", lambda self, **options: init(self, num_gpus=1, **options))
        cluster = Cluster(4, STORE)
    folder = Path(str(cluster.folder))
    yield cluster
    cluster.close()
    assert not ray.is_initialized()
    assert not folder.exists()


@pytest.fixture(scope="module")
def workers(cluster: Cluster) -> Iterator[RayWorkers]:
    """Two, of the cluster that is there: closing them leaves it."""
    with RayWorkers(2) as workers:
        yield workers
    assert ray.is_initialized()


@pytest.mark.parametrize("count", [1, 2])
def test_results_are_in_order(cluster: Cluster, count: int) -> None:
    with open_workers("ray", count) as workers:
        assert list(workers.map_ordered(unevenly, range(20))) == [n * n for n in range(20)]
        assert list(workers.map_ordered(unevenly, [])) == []


def test_items_are_taken_when_there_is_room(workers: RayWorkers) -> None:
    most = worker_contract.items_are_taken_when_there_is_room(workers)
    assert most > workers.count  # the next items wait for workers, not the other way round


def test_arrays_are_not_copied_and_freed_again(cluster: Cluster, workers: RayWorkers) -> None:
    """Three times what the object store holds goes through it."""
    size = STORE // 16
    items = (np.full(size, n, np.uint8) for n in range(48))
    found = list(workers.map_ordered(seen, items))
    assert found == [(False, n) for n in range(48)]
    gc.collect()
    assert not list(Path(str(cluster.folder)).glob("*/ray_spilled_objects/*"))


def test_the_first_error_in_order_is_raised_as_itself(workers: RayWorkers) -> None:
    worker_contract.the_first_error_in_order_is_raised_as_itself(workers)
    with pytest.raises(WorkerError, match="Unpicklable in a worker: 7 and 7"):
        list(workers.map_ordered(fails_unpicklably, [7]))


def test_a_killed_worker_is_replaced(workers: RayWorkers, tmp_path: Path) -> None:
    paths = [str(tmp_path / str(n)) for n in range(5)]
    for there in (0, 1, 3, 4):
        Path(paths[there]).touch()
    assert list(workers.map_ordered(unevenly, [1, 2])) == [1, 4]  # so that all are there
    before = {worker.actor for worker in workers.workers}
    assert list(workers.map_ordered(dies_once, paths)) == paths
    assert len({worker.actor for worker in workers.workers} - before) == 1


def test_what_kills_every_worker_is_given_up(workers: RayWorkers) -> None:
    with pytest.raises(WorkerError, match=r"3 workers were lost to one item; the last was killed"):
        list(workers.map_ordered(dies, [0]))
    assert list(workers.map_ordered(unevenly, [3])) == [9]


def test_a_task_without_memory_says_what_to_do(workers: RayWorkers) -> None:
    with pytest.raises(WorkerError, match="a worker ran out of memory: take fewer workers"):
        list(workers.map_ordered(out_of_memory, [0]))


def test_what_runs_is_ended_when_nobody_wants_it(workers: RayWorkers) -> None:
    mapped = workers.map_ordered(sleeps, [0, *[600] * 3])
    next(mapped)
    mapped.close()
    assert list(workers.map_ordered(unevenly, range(4))) == [0, 1, 4, 9]  # not in ten minutes


def test_workers_with_another_version_are_refused(
    workers: RayWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers.close()
    monkeypatch.setattr(nncodec, "__version__", "0.0.0")
    with pytest.raises(WorkerError, match=r"has nncodec 0\.1.*this machine nncodec 0\.0\.0"):
        list(workers.map_ordered(unevenly, [1]))
    monkeypatch.undo()
    assert list(workers.map_ordered(unevenly, [1])) == [1]
    ours = Software.here()
    with pytest.raises(WorkerError, match=r"numeric version 99\).*install the same"):
        check_software(Software(ours.nncodec, 99, "elsewhere"))


def test_gpus_are_given_to_workers_that_need_them(
    workers: RayWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that Ray takes for there: what a worker sees of it is in its environment."""
    with RayWorkers(1) as placed:
        assert list(placed.map_ordered(SeenGpus(1), [1, 2])) == ["0", "0"]
        assert list(placed.map_ordered(SeenGpus(0), [1])) != ["0"]  # another kind of worker
        monkeypatch.setattr("nncodec.parallel.ray.PLACED_TIMEOUT", 1.0)
        with pytest.raises(WorkerError, match=r"no worker could be placed in 1 s: 1 of 1 GPUs"):
            list(placed.map_ordered(SeenGpus(2), [1]))


@pytest.mark.parametrize("options", [{"level": 1}, {"model": "tiny"}], ids=["level 1", "network"])
def test_archives_do_not_depend_on_it(workers: RayWorkers, options: dict[str, object]) -> None:
    expected = nncodec.compress(DATA, block_size=4096, threads=1, **options)  # type: ignore[arg-type]
    made = nncodec.compress(DATA, block_size=4096, workers=workers, **options)  # type: ignore[arg-type]
    assert made == expected
    assert nncodec.decompress(made, workers=workers) == DATA
    damaged = bytearray(made)
    damaged[-40] ^= 1
    with pytest.raises(CorruptDataError):
        nncodec.decompress(damaged, workers=workers)


def test_tensors_and_deltas_do_not_depend_on_it_either(workers: RayWorkers) -> None:
    base, data = save(tensors()), save(tensors(0.01))
    for kept in (None, base):
        expected = nncodec.compress(data, 4, base=kept, threads=1)
        assert nncodec.compress(data, 4, base=kept, workers=workers) == expected
        assert nncodec.decompress(expected, base=kept, workers=workers) == data


def running(cluster: Cluster) -> list[int]:
    """Processes of the cluster's actors that have work: Ray titles them so."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile
            if (folder / "cmdline").read_bytes().startswith(b"ray::Actor.run"):
                parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
                command = Path("/proc", parent, "cmdline").read_text()
                found += [int(folder.name)] if str(cluster.folder) in command else []
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_the_command_joins_a_cluster_and_survives_a_killed_worker(
    cluster: Cluster, tmp_path: Path
) -> None:
    data = DATA * 8 + TEXT[::-1] * 300
    (tmp_path / "data").write_bytes(data)
    env = {**os.environ, "RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    args = ["compress", "-c", "-l", "1", "--block-size", "16K", "--engine", "ray", "--workers", "2"]
    with (tmp_path / "data.nnc").open("wb") as stdout:
        command = [sys.executable, "-c", CLI, *args, "data"]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=stdout, stderr=pipe, cwd=tmp_path, env=env)
    found: list[int] = []
    while process.poll() is None and not found:
        found = running(cluster)
    os.kill(found[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors.decode()
    archive = (tmp_path / "data.nnc").read_bytes()
    assert archive == nncodec.compress(data, 1, block_size=16 << 10)  # and nothing else
    assert b"Traceback" not in errors
    back = run_python(CLI, "decompress", "-c", "--engine", "ray", "data.nnc", cwd=tmp_path, env=env)
    assert back.stdout == data, python_fails(back)
    assert ray.cluster_resources()["CPU"] == 4  # it is still there


def test_own_cluster_short_of_memory(tmp_path: Path) -> None:
    """Ray's own monitor kills workers; what is said of it is one line."""
    (tmp_path / "data").write_bytes(TEXT * 20_000)  # more than is done here while Ray starts
    env = {**os.environ, "RAY_memory_usage_threshold": "0.001"}
    env.pop("RAY_ADDRESS", None)
    options = ["--workers", "1", "--block-size", "256K"]
    args = ["compress", "-l", "1", "--engine", "ray", *options, "data"]
    result = run_python(CLI, *args, cwd=tmp_path, env=env)
    assert result.returncode == 1
    [line] = result.stderr.decode().splitlines()
    lost = r"(workers end before they begin|3 workers were lost to one item); the last was killed "
    assert re.match(f"nncodec: data: {lost}because its node was out of memory ", line)
    assert "take fewer workers, smaller blocks or a lower level" in line
    assert result.stdout == b""
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_an_address_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(TEXT)
    env = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1"}
    result = run_python(CLI, "compress", "--engine", "ray", "data", cwd=tmp_path, env=env)
    assert result.returncode == 1
    expected = (
        "nncodec: data: cannot use the Ray cluster at 127.0.0.1:1: connection refused; "
        "correct RAY_ADDRESS, or unset it for a cluster on this machine"
    )
    assert result.stderr.decode().splitlines() == [expected]
    knock("auto")  # Ray finds that out itself
    with pytest.raises(OSError, match="refused"):
        knock("ray://127.0.0.1:1")


def test_the_package_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"needs ray: .*'nncodec-lm\[ray\]'"):
        open_workers("ray")


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, nncodec.integrations.ray_data, nncodec.parallel\n"
        "nncodec.parallel.open_workers('ray', 2).close()\n"
        "assert not {'ray', 'pandas', 'pyarrow', 'fsspec'} & set(sys.modules)\n"
    )
    result = run_python(code)
    assert result.returncode == 0, python_fails(result)


def test_signals_and_threads_are_as_they_were(cluster: Cluster) -> None:
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert threading.current_thread() is threading.main_thread()


def test_reasons_name_what_can_be_done() -> None:
    died = ray.exceptions.NodeDiedError("Task failed because the node died unexpectedly")
    assert "see what became of that machine" in reason(died)
    assert "install the same on every node" in reason(
        RuntimeError("failed to import\nModuleNotFoundError: No module named 'nncodec'")
    )
    assert first_line(ConnectionError("no\ncluster")) == "no"
    assert first_line(FileNotFoundError(2, "No such file")) == "no such file"
