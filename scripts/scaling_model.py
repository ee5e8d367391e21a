"""What the model of the ordered map says of runs that were measured, and of clusters that were not.

Calibrated by the cases ``start``, ``bytes``, ``items`` and ``noise`` of measure_scaling.py and by
each case's run with the engine thread and one worker; every other run of it is a prediction.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nncodec.parallel.base import AHEAD
from nncodec.parallel.simulate import Crew, Outcome, Work, lifetimes, simulate, spread

Row = dict[str, str]
Cell = tuple[str, str, int]  # case, engine, workers
CALIBRATION = ("start", "bytes", "items", "noise")
FROM = {"slowed": "small", "large50": "large"}  # whose run by one thread says how long bytes take
TASKS, LEAST = 60, 3000  # a worker, and in all, that a steady state is taken from


def read(path: Path, rehearsal: bool = False) -> list[Row]:
    """Rows of full runs; of rehearsals only if they are asked for. None if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if rehearsal or row.get("quick", "0") == "0"]


@dataclass(frozen=True)
class Driver:
    """The driver's serial seconds: of a command before the first item, an item, a byte."""

    start: float
    item: float
    byte: float

    def work(self, seconds: float, size: int) -> Work:
        return Work(seconds, take=self.item + self.byte * size)


class Measured:
    """Medians of scaling_out.csv."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        runs: dict[Cell, list[float]] = {}
        for row in rows:
            key = row["case"], row["engine"], int(row["workers"])
            runs.setdefault(key, []).append(float(row["seconds"]))
        self.seconds = {key: statistics.median(times) for key, times in runs.items()}
        self.of_case = {row["case"]: row for row in rows}

    def has(self, *cells: Cell) -> bool:
        return all(cell in self.seconds for cell in cells)

    def size(self, case: str) -> int:
        return int(self.of_case[case]["bytes"])

    def blocks(self, case: str) -> list[int]:
        """Sizes of the blocks of one file, all but the last one equal."""
        whole, block = self.size(case), int(self.of_case[case]["block_bytes"])
        return [min(block, whole - at) for at in range(0, whole, block)]

    def driver(self, engine: str, workers: int = 1) -> Driver | None:
        """None if what it takes was not measured.

        An item and a byte cost what they take beyond threads, which hand over references: a part
        of it is the worker's, so it is an upper bound.
        """
        if not self.has(("start", engine, workers)):
            return None
        start = self.seconds["start", engine, workers]
        if engine == "thread":
            return Driver(start, 0.0, 0.0)
        cases = ("start", "bytes", "items")
        if not self.has(*((case, each, 1) for case in cases for each in (engine, "thread"))):
            return None
        more = [self.seconds[case, engine, 1] - self.seconds[case, "thread", 1] for case in cases]
        item = max(0.0, more[2] - more[0]) / len(self.blocks("items"))
        moved = more[1] - more[0] - item * len(self.blocks("bytes"))
        return Driver(start, item, max(0.0, moved) / self.size("bytes"))


def work_of(measured: Measured, case: str, driver: Driver) -> list[list[Work]]:
    """The maps of a case, one after the other: the items of each, with their seconds."""
    like = FROM.get(case, case)
    sizes = measured.blocks(like)
    start = measured.seconds["start", "thread", 1]
    coding = measured.seconds[like, "thread", 1] - start
    if case == "straggler":
        noise = measured.seconds["noise", "thread", 1] - start
        quick = noise / measured.size("noise")
        slow = sizes[::4]
        rate = (coding - quick * (sum(sizes) - sum(slow))) / sum(slow)
        times = [size * (quick if n % 4 else rate) for n, size in enumerate(sizes)]
        return [[driver.work(s, size) for s, size in zip(times, sizes, strict=True)]]
    rate = coding / measured.size(like)
    files = int(measured.of_case[case]["files"])
    if files > 1:
        each, block = measured.size(case) // files, int(measured.of_case[case]["block_bytes"])
        cut = [min(block, each - at) for at in range(0, each, block)]
        return [[driver.work(rate * size, size) for size in cut]] * files
    return [[driver.work(rate * size, size) for size in measured.blocks(case)]]


def predicted(measured: Measured, cell: Cell) -> float | None:
    """Seconds of a run; None without what it takes to say so."""
    case, engine, workers = cell
    driver = measured.driver(engine, workers)
    needed = [("start", "thread", 1), (FROM.get(case, case), "thread", 1)]
    if case == "straggler":
        needed.append(("noise", "thread", 1))
    if driver is None or not measured.has(*needed):
        return None
    crew = Crew(workers, speeds={0: 0.5} if case == "slowed" else {})
    maps = work_of(measured, case, driver)
    return driver.start + sum(simulate(items, crew).seconds for items in maps)


def compared(measured: Measured) -> Iterator[tuple[Cell, float, float | None]]:
    """Cell, seconds measured, seconds predicted; None for what the model was calibrated by."""
    for cell, seconds in measured.seconds.items():
        case, engine, workers = cell
        if case in CALIBRATION:
            continue
        basis = (engine, workers) == ("thread", 1)
        yield cell, seconds, None if basis else predicted(measured, cell)


@dataclass(frozen=True)
class Cluster:
    """A driver and its workers.

    ``rate`` is bytes a core-second of one, ``deviation`` how much that differs by block, relative;
    ``out`` is bytes out a byte in; ``network`` bytes a second of the driver, each way.
    """

    workers: int
    rate: float
    deviation: float
    block: int
    driver: Driver
    out: float
    network: float
    ahead: int = AHEAD
    lifetime: float = math.inf  # seconds between two losses of one worker
    start: float = 10.0  # seconds until a worker in the place of a lost one works

    def work(self, count: int) -> Iterable[Work]:
        take = self.driver.item + self.block * (self.driver.byte + 1 / self.network)
        give = self.block * self.out / self.network
        times = spread(self.block / self.rate, self.deviation)
        return (Work(next(times), take, give) for _ in range(count))

    def crew(self, until: float) -> Crew:
        if math.isinf(self.lifetime):
            return Crew(self.workers, self.ahead)
        deaths = {n: lifetimes(self.lifetime, until, n) for n in range(self.workers)}
        return Crew(self.workers, self.ahead, self.start, deaths=deaths)

    def run(self) -> Outcome:
        count = max(LEAST, TASKS * self.workers)
        expected = 3 * count * self.block / self.rate / self.workers
        return simulate(self.work(count), self.crew(expected))

    def hours(self, size: float) -> float:
        """Of ``size`` bytes: at the pace of the simulated part, or that part if they are fewer."""
        outcome = self.run()
        pace = outcome.seconds / (outcome.items * self.block)
        return max(size * pace, self.block / self.rate) / 3600

    def bound(self) -> str:
        """What is short first if workers are added."""
        one = self.block / self.rate / self.workers
        driver = self.driver.item + self.block * self.driver.byte
        moved = self.block * (1 + self.out) / self.network
        if driver + moved < 0.8 * one:
            return "workers"
        return "network" if moved > driver else "driver"
