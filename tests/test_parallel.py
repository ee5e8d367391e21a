"""The ordered map, and that archives never depend on who codes the blocks."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest
import worker_contract
from helpers import TEXT
from test_cli import cli
from test_delta import save, tensors
from work_items import dies, dies_once, fails_at_three, short_of_memory, sleeps, unevenly

import nncodec
from nncodec.codec import Codec
from nncodec.engine.native import NativeContexts
from nncodec.errors import CorruptDataError, NNCodecError, WorkerError
from nncodec.parallel import ENGINES, Inline, ThreadWorkers, Workers, open_workers
from nncodec.parallel.base import caught
from nncodec.parallel.jobs import Job
from nncodec.parallel.starting import FirstItems
from nncodec.recipes import Recipe
from nncodec.tasks import Encode

LOCAL = ("inline", "thread", "process")
NOISE = np.random.default_rng(1).bytes(9000)
DATA = TEXT * 40 + bytes(9000) + NOISE + TEXT[::-1] * 9


@pytest.fixture(scope="module", params=LOCAL)
def workers(request: pytest.FixtureRequest) -> Iterator[Workers]:
    with open_workers(request.param, 1 if request.param == "inline" else 2) as opened:
        yield opened


def test_results_are_in_order(workers: Workers) -> None:
    assert list(workers.map_ordered(unevenly, range(20))) == [n * n for n in range(20)]
    assert list(workers.map_ordered(unevenly, [])) == []


def test_items_are_taken_when_there_is_room(workers: Workers) -> None:
    worker_contract.items_are_taken_when_there_is_room(workers)


def test_the_first_error_in_order_is_raised_as_itself(workers: Workers) -> None:
    worker_contract.the_first_error_in_order_is_raised_as_itself(workers)


@pytest.mark.parametrize("options", [{"level": 1}, {"model": "tiny"}], ids=["level 1", "network"])
def test_archives_do_not_depend_on_the_engine(workers: Workers, options: dict[str, object]) -> None:
    expected = nncodec.compress(DATA, block_size=4096, threads=1, **options)  # type: ignore[arg-type]
    kinds = nncodec.info(expected).blocks
    assert {"stored", "constant"} < set(kinds)
    made = nncodec.compress(DATA, block_size=4096, workers=workers, **options)  # type: ignore[arg-type]
    assert made == expected
    assert nncodec.decompress(made, workers=workers) == DATA
    damaged = bytearray(made)
    damaged[-40] ^= 1
    with pytest.raises(CorruptDataError):
        nncodec.decompress(damaged, workers=workers)
    with pytest.raises(CorruptDataError):
        nncodec.decompress(made[:-1], workers=workers)


@pytest.mark.parametrize("level", [1, 4])
def test_tensors_and_deltas_do_not_depend_on_it_either(workers: Workers, level: int) -> None:
    base, data = save(tensors()), save(tensors(0.01))
    for kept in (None, base):
        expected = nncodec.compress(data, level, base=kept, threads=1)
        assert nncodec.compress(data, level, base=kept, workers=workers) == expected
        assert nncodec.decompress(expected, base=kept, workers=workers) == data
    assert "delta" in nncodec.info(expected).blocks


def test_streams_of_several_frames(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nncodec.codec.frame_bytes", lambda: 9000)
    codec = nncodec.api.load_codec(1).with_block_size(4096)
    archives = []
    for own in (None, workers):
        sink = io.BytesIO()
        sizes = codec.with_workers(own).compress_stream(io.BytesIO(DATA), sink)
        assert sizes == (len(DATA), len(sink.getvalue()))
        archives.append(sink.getvalue())
    assert archives[0] == archives[1] == codec.compress(np.frombuffer(DATA, np.uint8))
    assert nncodec.info(archives[0]).frames > 3
    pieces = [DATA[at : at + 9000] for at in range(0, len(DATA), 9000)]
    arrays = (np.frombuffer(piece, np.uint8) for piece in pieces)
    assert b"".join(codec.with_workers(workers).encode_pieces(arrays)) == archives[0]


def test_progress_adds_up(workers: Workers) -> None:
    done: list[int] = []
    codec = nncodec.api.load_codec(1).with_block_size(4096).with_workers(workers)
    archive = codec.compress(np.frombuffer(DATA, np.uint8), done.append)
    assert sum(done) == len(DATA)
    done.clear()
    finder, sink = nncodec.api.CoderFinder(), io.BytesIO()
    nncodec.decoding.decompress_stream(
        io.BytesIO(archive), sink, finder, done.append, workers=workers
    )
    assert sink.getvalue() == DATA
    assert sum(done) == len(DATA)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_a_killed_process_is_replaced(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{n}") for n in range(4)]
    Path(paths[0]).touch()
    Path(paths[2]).touch()
    with open_workers("process", 2) as workers:
        assert list(workers.map_ordered(dies_once, paths)) == paths


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_one_that_is_killed_again_and_again_is_an_error() -> None:
    with open_workers("process", 1) as workers:
        with pytest.raises(WorkerError, match=r"killed, 3 times in a row.*fewer workers"):
            list(workers.map_ordered(dies, range(3)))
        assert list(workers.map_ordered(unevenly, [3])) == [9]


@pytest.mark.skipif(os.name == "nt", reason="no limits of memory")
def test_a_worker_short_of_memory_says_so() -> None:
    with open_workers("process", 1) as workers, pytest.raises(MemoryError):
        list(workers.map_ordered(short_of_memory, [1 << 30]))


@pytest.mark.skipif(os.name == "nt", reason="of Unix processes")
def test_giving_up_ends_the_processes_at_once() -> None:
    workers = open_workers("process", 2)
    mapped = workers.map_ordered(sleeps, [0, *[60] * 3])
    worker = next(mapped)
    began = time.monotonic()
    mapped.close()
    workers.close()
    assert time.monotonic() - began < 30
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def test_giving_up_ends_threads_in_the_middle_of_a_block() -> None:
    data = np.frombuffer(TEXT * 200, np.uint8)
    with open_workers("thread", 2) as workers:
        codec = nncodec.api.load_codec(model="tiny").with_workers(workers).with_block_size(1 << 20)
        reported = threading.Event()

        def fail(count: int) -> None:
            reported.set()
            raise OSError("nobody listens")

        with pytest.raises(OSError, match="nobody listens"):
            codec.compress(data, fail)
        assert reported.is_set()


@pytest.mark.skipif(os.name == "nt", reason="no select for pipes")
def test_what_is_decoded_does_not_wait_for_more_to_come(workers: Workers) -> None:
    """As of a log that is followed: whoever sends waits until the first archives were read."""
    read, write = os.pipe()
    came = threading.Event()

    class Sink(io.BytesIO):
        def write(self, data: object) -> int:
            came.set()
            return super().write(data)  # type: ignore[arg-type]

    def send() -> None:
        with os.fdopen(write, "wb", buffering=0) as pipe:
            pipe.write(nncodec.compress(b"first line\n" * 9, 1))
            in_time.append(came.wait(60))
            pipe.write(nncodec.compress(b"second line\n", 1))

    in_time: list[bool] = []
    sender = threading.Thread(target=send)
    sender.start()
    sink = Sink()
    with os.fdopen(read, "rb") as source:
        decode = nncodec.decoding.decompress_stream
        decode(source, sink, nncodec.api.CoderFinder(), workers=workers)
    sender.join()
    assert in_time == [True]
    assert sink.getvalue() == b"first line\n" * 9 + b"second line\n"


def test_engines_and_counts_are_checked() -> None:
    with pytest.raises(NNCodecError, match="no engine 'threads': choose one of auto, inline"):
        open_workers("threads")
    with pytest.raises(NNCodecError, match="0 workers"):
        open_workers("thread", 0)
    assert isinstance(open_workers("auto", 1), Inline)
    auto = open_workers("auto", 100)
    assert isinstance(auto, ThreadWorkers)
    assert auto.shares
    assert auto.count == 8
    assert not open_workers("thread", 1).shares
    assert set(ENGINES) == {"auto", *LOCAL, "ray"}


class Cluster:
    """Stands for one that has started."""


def drained(
    first: FirstItems, items: Iterable[object], task: object = unevenly
) -> tuple[list[object], deque[Job] | None]:
    left: list[deque[Job] | None] = []

    def run() -> Iterator[object]:
        left.append((yield from first.results(task, caught(items))))  # type: ignore[arg-type]

    return list(run()), left[0]


def test_first_items_are_done_while_a_cluster_starts() -> None:
    started = threading.Event()

    def start() -> Cluster:
        started.wait(60)
        return Cluster()

    first = FirstItems(start, 2)  # type: ignore[arg-type]
    assert drained(first, range(5)) == ([0, 1, 4, 9, 16], None)  # all of it, and no waiting
    with pytest.raises(CorruptDataError, match="number 3"):
        drained(first, range(9), fails_at_three)

    def items() -> Iterator[int]:
        yield from range(7)
        started.set()
        wait([first._starting])
        yield 7

    results, left = drained(first, items())
    assert left is not None
    for job in left:
        assert job.here is not None
        wait([job.here])
        assert job.done
        results.append(job.result())
    assert results == [n * n for n in range(8)]  # in order, whoever does the rest
    assert isinstance(first.cluster(), Cluster)


def test_what_stops_a_cluster_is_said_once_it_is_needed() -> None:
    def start() -> Cluster:
        raise WorkerError("it does not start")

    first = FirstItems(start, 1)  # type: ignore[arg-type]
    wait([first._starting])
    assert drained(first, range(2)) == ([], deque())
    with pytest.raises(WorkerError, match="does not start"):
        first.cluster()


def test_threads_that_share_processes_take_turns() -> None:
    data, made = TEXT * 30, []
    expected = nncodec.compress(data, 1, block_size=1024)

    with open_workers("process", 2) as workers:

        def work() -> None:
            made.append(nncodec.compress(data, 1, block_size=1024, workers=workers))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made == [expected] * 3
        first = workers.map_ordered(unevenly, range(9))
        assert next(first) == 0
        with pytest.raises(WorkerError, match="in the middle of another map"):
            next(workers.map_ordered(unevenly, range(2)))
        first.close()
        assert list(workers.map_ordered(unevenly, [5])) == [25]


def test_programs_that_workers_cannot_import_are_told_so(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "import nncodec\n"
        "workers = nncodec.open_workers('process', 2)\n"
        "try:\n"
        "    nncodec.compress(bytes(range(256)) * 9, 1, block_size=1024, workers=workers)\n"
        "except nncodec.WorkerError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert "under `if __name__ == '__main__':`" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="looks for children in /proc")
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("delay", [0.1, 1.5])  # seconds: while workers import, and work
def test_signals_end_processes_in_silence(tmp_path: Path, number: str, delay: float) -> None:
    text = tmp_path / "text"
    text.write_bytes(TEXT * 20_000)
    command = [sys.executable, "-m", "nncodec", "compress", "-1", "--engine", "process"]
    options = ["--workers", "2", "--block-size", "256K", str(text)]
    running = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, start_new_session=True)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    while len(children.read_text().split()) < 2:  # the first is multiprocessing's own
        time.sleep(0.01)
    time.sleep(delay)
    os.killpg(running.pid, getattr(signal, number))
    _, said = running.communicate(timeout=60)
    assert said == b""
    ended = getattr(signal, number)
    assert running.returncode in (-ended, 128 + ended)  # by itself, or made to half a second later
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


def test_memory_that_runs_out_is_one_line_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_much(*_args: object) -> None:
        raise MemoryError

    (tmp_path / "text").write_bytes(TEXT)
    monkeypatch.setattr("nncodec.codec.Codec.encode_block", too_much)
    result = cli("compress", "-l", "1", tmp_path / "text")
    assert result.rc == 1
    assert "out of memory; take fewer --workers" in result.err


def test_arguments_that_are_no_workers() -> None:
    for wrong in ("ray", 4):
        with pytest.raises(TypeError, match=r"what nncodec\.open_workers gives"):
            nncodec.compress(TEXT, 1, workers=wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"what nncodec\.open_workers gives"):
            nncodec.decompress(b"", workers=wrong)  # type: ignore[arg-type]
    for count in (True, 2.5, "2", -1):
        with pytest.raises(NNCodecError, match="give a whole number"):
            open_workers("thread", count)  # type: ignore[arg-type]
    with pytest.raises(NNCodecError, match="inline has one worker, not 3"):
        open_workers("inline", 3)


def test_a_codec_put_together_by_hand_is_not_sent_away() -> None:
    codec = Codec(NativeContexts(), None, 1, 16).with_workers(open_workers("thread", 2))
    with pytest.raises(NNCodecError, match="put together by hand"):
        codec.compress(np.frombuffer(TEXT, np.uint8))
    with pytest.raises(NNCodecError, match="put together by hand"):
        nncodec.decoding.decompress_stream(
            io.BytesIO(nncodec.compress(TEXT, 1)),
            io.BytesIO(),
            lambda _id: NativeContexts(),
            workers=open_workers("thread", 2),
        )


def test_workers_with_other_arithmetic_or_models_are_refused() -> None:
    with pytest.raises(WorkerError, match="numeric version"):
        Recipe(int, ("7",), numeric_version=99).load()
    with pytest.raises(WorkerError, match="found another model"):
        nncodec.api.same_codec((bytes(16), None), 6, "tiny", 1, nncodec.api.DEFAULT)


def test_command_line(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(DATA)
    expected = nncodec.compress(DATA, 1, block_size=4096)
    for engine in ("auto", "inline", "thread --workers 2", "process --workers 2"):
        common = ["--engine", *engine.split(), "-f"]
        assert cli("compress", "-l", "1", "--block-size", "4K", *common, text).rc == 0
        assert (tmp_path / "text.nnc").read_bytes() == expected
        assert cli("test", *common[:-1], tmp_path / "text.nnc").rc == 0
        assert cli("decompress", *common, tmp_path / "text.nnc").rc == 0
        assert text.read_bytes() == DATA
    assert cli("compress", "--workers", "3", "-fm", "tiny", "--block-size", "4K", text).rc == 0
    refused = cli("compress", "--engine", "spark", text)
    assert refused.rc == 2
    assert "--engine spark: choose one of auto, inline" in refused.err.replace("\n", " ")
    assert cli("compress", "--engine", "inline", "--workers", "2", text).rc == 2


def test_a_worker_is_told_of_the_gpu_that_it_needs() -> None:
    recipe = Recipe(int, ("7",), gpus=1)
    assert (Encode(recipe).gpus, Encode(nncodec.api.load_codec(1)).gpus) == (1, 0)  # type: ignore[arg-type]
    assert nncodec.api.load_codec(1).recipe.gpus == 0  # type: ignore[union-attr]
