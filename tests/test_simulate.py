"""The model of the ordered map: closed forms, conservation, and the map itself."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncodec.errors import NNCodecError, WorkerError
from nncodec.parallel import ThreadWorkers
from nncodec.parallel.base import AHEAD
from nncodec.parallel.simulate import Crew, Work, lifetimes, simulate, spread


@given(st.integers(1, 60), st.integers(1, 9), st.floats(0.01, 10))
def test_equal_items_take_as_many_rounds_as_there_are(items: int, count: int, one: float) -> None:
    outcome = simulate([Work(one)] * items, Crew(count))
    assert outcome.seconds == pytest.approx(math.ceil(items / count) * one)


def test_workers_begin_later() -> None:
    assert simulate([Work(1.0)] * 4, Crew(2, start=5)).seconds == 7


@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 50))
def test_never_more_in_flight_than_the_window(count: int, ahead: int, items: int) -> None:
    outcome = simulate([Work(1.0)] * items, Crew(count, ahead))
    assert outcome.most_in_flight == min(items, count * ahead)


def test_the_window_is_what_the_engines_have() -> None:
    pulled = []
    with ThreadWorkers(2) as workers:
        results = workers.map_ordered(abs, (pulled.append(n) or n for n in range(50)))
        next(results)
        assert len(pulled) == AHEAD * 2 == simulate([Work(1.0)] * 50, Crew(2)).most_in_flight
        results.close()


@pytest.mark.parametrize("ahead", [2, 4])
def test_a_straggler_stops_all_once_the_window_is_full(ahead: int) -> None:
    """The first item takes 100; meanwhile the others get no further than the window's end."""
    count, items = 4, 101
    outcome = simulate([Work(100.0)] + [Work(1.0)] * (items - 1), Crew(count, ahead))
    left = items - count * ahead  # in rounds by all, once the first is there
    assert outcome.seconds == 100 + math.ceil(left / count)


def test_a_straggler_in_every_window_leaves_one_worker() -> None:
    work = [Work(1.0), Work(0.0), Work(0.0), Work(0.0)] * 10
    assert simulate(work, Crew(2)).seconds == 10
    assert simulate(work, Crew(2, ahead=8)).seconds == 5


@given(st.floats(0.1, 4), st.floats(0.1, 4))
def test_the_driver_is_a_limit_of_its_own(take: float, give: float) -> None:
    items = 30
    outcome = simulate([Work(1.0, take, give)] * items, Crew(1000))
    assert outcome.driver == pytest.approx(items * (take + give))
    assert outcome.driver <= outcome.seconds <= outcome.driver + 1 + 1e-6


def test_a_slow_worker_does_less_of_it() -> None:
    outcome = simulate([Work(1.0)] * 300, Crew(2, speeds={1: 0.5}))
    assert outcome.seconds == pytest.approx(200, rel=0.02)  # 1.5 items a second


work = st.lists(
    st.builds(Work, st.floats(0, 5), st.floats(0, 0.5), st.floats(0, 0.5)), min_size=1, max_size=60
)


@given(work, st.integers(1, 8), st.integers(1, 4))
def test_nothing_is_lost_or_done_twice(items: list[Work], count: int, ahead: int) -> None:
    outcome = simulate(items, Crew(count, ahead))
    every = sum(item.seconds for item in items)
    assert outcome.items == len(items)
    assert sum(outcome.busy) == pytest.approx(every)
    driver = sum(item.take + item.give for item in items)
    longest = max(item.seconds for item in items)
    assert outcome.seconds >= max(every / count, driver, longest) - 1e-9
    assert outcome.seconds <= every + driver + 1e-9
    assert 0 <= outcome.efficiency <= 1 + 1e-9


def test_a_lost_worker_costs_what_it_had_and_its_start() -> None:
    crew = Crew(1, start=2, deaths={0: [5.5]})  # in the middle of the fourth item
    outcome = simulate([Work(1.0)] * 10, crew)
    assert outcome.lost == pytest.approx(0.5)
    assert outcome.seconds == pytest.approx(5.5 + 2 + 7)
    assert sum(outcome.busy) == pytest.approx(10.5)


def test_a_pool_is_lost_together() -> None:
    alone = simulate([Work(1.0)] * 20, Crew(4, start=1, deaths={0: [2.5]}))
    pool = simulate([Work(1.0)] * 20, Crew(4, start=1, deaths={0: [2.5]}, together=True))
    assert (alone.lost, pool.lost) == (0.5, 2.0)
    assert sum(pool.busy) - pool.lost == sum(alone.busy) - alone.lost == 20
    assert pool.seconds > alone.seconds


def test_an_idle_worker_may_be_lost_too() -> None:
    outcome = simulate([Work(10.0)], Crew(2, deaths={1: [3.0, 4.0]}))
    assert (outcome.seconds, outcome.lost) == (10, 0)


def test_what_loses_all_its_workers_is_given_up() -> None:
    with pytest.raises(WorkerError, match="3 workers"):
        simulate([Work(100.0)], Crew(2, deaths={n: range(1, 90) for n in range(2)}))


@pytest.mark.parametrize("crew", [Crew(0), Crew(1, ahead=0)])
def test_a_crew_has_someone(crew: Crew) -> None:
    with pytest.raises(NNCodecError, match="at least one"):
        simulate([], crew)


def test_drawn_seconds_have_their_mean_and_deviation() -> None:
    drawn = list(itertools.islice(spread(2.0, 0.5), 20_000))
    mean = sum(drawn) / len(drawn)
    assert mean == pytest.approx(2, rel=0.02)
    assert math.sqrt(sum((x - mean) ** 2 for x in drawn) / len(drawn)) == pytest.approx(1, rel=0.05)
    moments = lifetimes(10, 10_000)
    assert len(moments) == pytest.approx(1000, rel=0.1)
    assert list(moments) == sorted(moments)
    assert moments[-1] < 10_000
