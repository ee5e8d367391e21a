"""Batches made ahead: the same ones, in order, from wherever a run starts again."""

from __future__ import annotations

import threading
from itertools import islice
from pathlib import Path

import pytest
from helpers import write_corpus

from nncodec.lm.data import DEFAULT_MIX, BatchSampler, load_domains
from nncodec.lm.prefetch import prefetched


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("first", [0, 1, 7, 23])
def test_prefetching_gives_the_batches_of_the_cursor(
    tmp_path: Path, first: int, threads: int
) -> None:
    domains = load_domains(write_corpus(tmp_path / "corpus"))

    def sampler() -> BatchSampler:
        return BatchSampler(domains, DEFAULT_MIX, batch=6, length=20, seed=3, crlf=0.5)

    expected = [sampler().batch(cursor).tolist() for cursor in range(first, first + 12)]
    assert len({str(batch) for batch in expected}) == 12
    with prefetched(sampler().batch, first, threads=threads) as batches:
        assert [batch.tolist() for batch in islice(batches, 12)] == expected


def test_results_wait_ahead_of_their_use() -> None:
    made = [threading.Event() for _ in range(20)]

    def make(cursor: int) -> int:
        made[cursor].set()
        return cursor

    with prefetched(make, 0, ahead=3) as results:
        assert made[2].wait(30)  # before anything was asked for
        assert next(results) == 0
        assert made[3].wait(30)
    assert not made[4].is_set()


def test_order_does_not_depend_on_who_is_first() -> None:
    third_is_done = threading.Event()

    def make(cursor: int) -> int:
        if cursor == 0:
            assert third_is_done.wait(30)
        if cursor == 2:
            third_is_done.set()
        return cursor

    with prefetched(make, 0, ahead=4, threads=2) as results:
        assert list(islice(results, 5)) == [0, 1, 2, 3, 4]


def test_errors_come_where_the_result_would_have_come() -> None:
    def make(cursor: int) -> int:
        if cursor == 2:
            raise ZeroDivisionError
        return cursor

    with prefetched(make, 0) as results:
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ZeroDivisionError):
            next(results)
