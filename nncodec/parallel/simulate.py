"""How long an ordered map takes with workers that are not there: a discrete-event model.

It has what decides the time of ``map_ordered`` on every engine: a driver that takes items one after
the other, ``AHEAD * count`` in flight at most, results handed out in order, and workers that have
one item each. It has not what they share: memory, caches, a network. For predictions of clusters,
and to tell from a measurement what is the engine's part in it (docs/cost.md).

Time is in seconds from the start of the map on. What is drawn has a seed, so a run can be repeated.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nncodec.errors import NNCodecError, WorkerError
from nncodec.parallel.base import AHEAD

MOST_LOSSES = 3  # workers that one item may lose


@dataclass(frozen=True, slots=True)
class Work:
    """An item: the driver's seconds before and after, a worker's between them."""

    seconds: float
    take: float = 0.0
    give: float = 0.0


@dataclass(frozen=True)
class Crew:
    """Workers and what may become of them.

    ``start`` is the seconds until one can work, also after a loss. ``speeds`` are of single workers
    by their number, 1 for all others. ``deaths`` are the moments at which a worker is lost: by
    number, in order. ``together``: with one all others are lost, as of a pool of processes.
    """

    count: int
    ahead: int = AHEAD
    start: float = 0.0
    speeds: Mapping[int, float] = field(default_factory=dict)
    deaths: Mapping[int, Sequence[float]] = field(default_factory=dict)
    together: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of it. ``busy`` is each worker's seconds with items, ``lost`` those in vain."""

    seconds: float
    items: int
    most_in_flight: int
    driver: float
    busy: tuple[float, ...]
    lost: float = 0.0

    @property
    def efficiency(self) -> float:
        """The share of all workers' time that was useful work."""
        return (sum(self.busy) - self.lost) / (len(self.busy) * self.seconds or math.inf)


@dataclass(slots=True)
class Job:
    work: Work
    number: int
    done: bool = False
    losses: int = 0


class Simulation:
    """Workers' side: events of one map, in the order of time."""

    def __init__(self, crew: Crew) -> None:
        if crew.count < 1 or crew.ahead < 1:
            raise NNCodecError(f"{crew.count} workers, {crew.ahead} ahead: at least one is needed")
        self.crew, self.now = crew, 0.0
        self.queue: deque[Job] = deque()
        self.idle: deque[int] = deque()
        self.has: dict[int, tuple[Job, float]] = {}  # worker: its item, since when
        self.busy = [0.0] * crew.count
        self.lost = 0.0
        self.life = [0] * crew.count  # which of its lives an event is about
        self.events: list[tuple[float, int, int, int, bool]] = []
        self.order = 0
        for worker in range(crew.count):
            self.at(crew.start, worker)
            for moment in crew.deaths.get(worker, ()):
                self.at(moment, worker, death=True)

    def at(self, moment: float, worker: int, death: bool = False) -> None:
        self.order += 1  # of two at a time the first one comes first
        heapq.heappush(self.events, (moment, self.order, worker, self.life[worker], death))

    def until(self, moment: float) -> None:
        while self.events and self.events[0][0] <= moment:
            self.step()
        self.now = max(self.now, moment)

    def step(self) -> None:
        """The next event: a worker is lost, or has nothing to do (any more)."""
        self.now, _, worker, life, death = heapq.heappop(self.events)
        if death:
            self.lose(worker)
        elif life == self.life[worker]:
            if worker in self.has:
                job, since = self.has.pop(worker)
                job.done = True
                self.busy[worker] += self.now - since
            self.idle.append(worker)
        self.hand_out()

    def lose(self, worker: int) -> None:
        """What it had goes to the head of the queue; it, or another in its place, begins again."""
        fallen = range(self.crew.count) if self.crew.together else [worker]
        again = []
        for each in fallen:
            self.life[each] += 1
            if each in self.has:
                job, since = self.has.pop(each)
                self.busy[each] += self.now - since
                self.lost += self.now - since
                again.append(job)
                job.losses += each == worker
                if job.losses >= MOST_LOSSES:
                    raise WorkerError(f"{job.losses} workers were lost to one item")
            if each in self.idle:
                self.idle.remove(each)
            self.at(self.now + self.crew.start, each)
        self.queue.extendleft(sorted(again, key=lambda job: -job.number))

    def add(self, job: Job) -> None:
        self.queue.append(job)
        self.hand_out()

    def hand_out(self) -> None:
        while self.queue and self.idle:
            worker, job = self.idle.popleft(), self.queue.popleft()
            self.has[worker] = job, self.now
            self.at(self.now + job.work.seconds / self.crew.speeds.get(worker, 1.0), worker)


def simulate(work: Iterable[Work], crew: Crew) -> Outcome:
    """The driver's side: what every engine's ``map_ordered`` does.

    Raises WorkerError for an item that loses ``MOST_LOSSES`` workers.
    """
    workers = Simulation(crew)
    window: deque[Job] = deque()
    driver, most, items = 0.0, 0, 0

    def give() -> float:
        """Wait for the oldest item, hand it out; the driver's seconds."""
        job = window.popleft()
        while not job.done:
            workers.step()
        workers.until(workers.now + job.work.give)
        return job.work.give

    for each in work:
        workers.until(workers.now + each.take)
        driver += each.take
        window.append(job := Job(each, items))
        items += 1
        workers.add(job)
        most = max(most, len(window))
        if len(window) >= crew.ahead * crew.count:
            driver += give()
    while window:
        driver += give()
    return Outcome(workers.now, items, most, driver, tuple(workers.busy), workers.lost)


def spread(mean: float, deviation: float, seed: int = 0) -> Iterator[float]:
    """Endless seconds of items: lognormal, of a ``mean`` and a relative standard ``deviation``."""
    drawn = random.Random(seed)
    variance = math.log(1 + deviation**2)
    while True:
        yield drawn.lognormvariate(math.log(mean) - variance / 2, math.sqrt(variance))


def lifetimes(mean: float, until: float, seed: int = 0) -> tuple[float, ...]:
    """Moments before ``until`` at which a worker is lost, with ``mean`` seconds between two."""
    drawn, moments = random.Random(seed), []
    moment = drawn.expovariate(1 / mean)
    while moment < until:
        moments.append(moment)
        moment += drawn.expovariate(1 / mean)
    return tuple(moments)
