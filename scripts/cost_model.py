"""What a terabyte costs, from measured rates and assumed prices: the tables of docs/cost.md.

usage: python scripts/cost_model.py [--check | --show] [--core-hour 0.04] [--stored 0.02] ...

Between the marks ``<!-- NAME -->`` and ``<!-- /NAME -->`` of docs/cost.md stands the table NAME,
made from ``rates.csv`` and ``scaling_out.csv`` in docs/results and the prices below. ``--check``
writes nothing and fails if a table is not what they give; ``--show`` prints all tables, with other
prices, a rate of a GPU, or the rows of another ``--folder``, and writes nothing either. What was
not measured is said to be so.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from results_tables import filled, markdown
from scaling_model import Cluster, Driver, Measured, Row, compared, read

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "cost.md"
RESULTS = ROOT / "docs" / "results"
TB, GB, MB = 1e12, 1e9, 1e6
HOUR = 3600.0
LEVELS = [f"nncodec:{level}" for level in range(1, 10)]
PEERS = {"xz:9e": "xz -9e", "zstd:19": "zstd -19", "zstd:3": "zstd -3"}
CORES = (1, 16, 1000)
UNKNOWN = Driver(start=0.0, item=0.001, byte=1e-9)  # of Ray, until it is measured


@dataclass(frozen=True)
class Assumptions:
    """Round numbers of the order of list prices, November 2026; examples, nobody's offer."""

    core_hour: float = 0.04  # dollars for an hour of one core
    stored: float = 0.02  # dollars for 10^9 bytes, a month
    sent: float = 0.08  # dollars for 10^9 bytes out of the store to elsewhere
    gets: float = 0.4  # dollars for a million reads
    puts: float = 5.0  # dollars for a million writes
    gpu_hour: float = 3.0  # dollars for an hour of one GPU
    gpu_rate: float = 0.0  # bytes a GPU-second; 0: not known
    network: float = 1.25e9  # bytes a second of the driver, each way: 10 Gbit/s


SAYS = {
    "core_hour": ("p", "an hour of one core", "$"),
    "stored": ("s", "10^9 bytes stored for a month", "$"),
    "sent": ("t", "10^9 bytes sent out of the store", "$"),
    "gets": ("", "a million reads (GET)", "$"),
    "puts": ("", "a million writes (PUT, parts)", "$"),
    "gpu_hour": ("", "an hour of one GPU", "$"),
    "gpu_rate": ("", "bytes a GPU-second", ""),
    "network": ("", "bytes a second of the driver, each way", ""),
}


@dataclass(frozen=True)
class Speed:
    """One codec on the same text: bytes a core-second both ways, bytes out a byte in, memory."""

    codec: str
    encode: float
    decode: float
    ratio: float
    peak: float


class Rates:
    """The rows of rates.csv that were measured."""

    def __init__(self, rows: list[Row]) -> None:
        self.all = rows
        self.rows = [row for row in rows if row["status"] == "measured"]

    def where(self, **wanted: str) -> list[Row]:
        return [row for row in self.rows if all(row[k] == v for k, v in wanted.items())]

    def one(self, codec: str, **wanted: str) -> Speed | None:
        """None if there are no such rows; of several kinds the sum."""
        rows = self.where(codec=codec, **wanted)
        by = {way: [r for r in rows if r["direction"] == way] for way in ("encode", "decode")}
        if not by["encode"] or not by["decode"]:
            return None
        size = {way: sum(int(r["bytes"]) for r in by[way]) for way in by}
        cpu = {way: sum(float(r["cpu_seconds"]) for r in by[way]) for way in by}
        out = sum(int(r["archive_bytes"]) for r in by["encode"]) / size["encode"]
        peak = max(float(r["peak_mib"]) for r in rows)
        return Speed(
            codec, size["encode"] / cpu["encode"], size["decode"] / cpu["decode"], out, peak
        )

    def long(self, codec: str) -> Speed | None:
        """On the text that all codecs were measured with."""
        sizes = [int(r["bytes"]) for r in self.where(codec="nncodec:9", kind="text")]
        if not sizes:
            return None
        return self.one(codec, kind="text", bytes=str(sizes[0]), block_bytes=str(1 << 24))

    def kinds(self) -> list[str]:
        return [k for k in dict.fromkeys(row["kind"] for row in self.rows) if k != "text"]

    def kind_rows(self, codec: str) -> dict[str, Speed]:
        found = {kind: self.one(codec, kind=kind) for kind in self.kinds()}
        return {kind: speed for kind, speed in found.items() if speed}

    def deviation(self, codec: str) -> float:
        """Of the seconds a byte of kinds, relative to their mean."""
        times = [1 / speed.encode for speed in self.kind_rows(codec).values()]
        return statistics.pstdev(times) / statistics.mean(times) if times else 0.0

    def levels(self) -> list[Speed]:
        return [speed for level in LEVELS if (speed := self.long(level))]

    def peers(self) -> list[Speed]:
        return [speed for peer in PEERS if (speed := self.long(peer))]


@dataclass(frozen=True)
class Model:
    rates: Rates
    scaling: Measured
    price: Assumptions

    @property
    def driver(self) -> Driver:
        return self.scaling.driver("ray", 1) or UNKNOWN

    def coding(self, rate: float) -> float:
        """Dollars for a terabyte at bytes a core-second."""
        return TB / rate / HOUR * self.price.core_hour

    def cluster(self, speed: Speed, workers: int, block: int = 1 << 24, **other: float) -> Cluster:
        deviation = self.rates.deviation(speed.codec)
        at = speed.encode, deviation, block, self.driver, speed.ratio, self.price.network
        return Cluster(workers, *at, **other)  # type: ignore[arg-type]


def name(codec: str) -> str:
    return PEERS.get(codec) or codec.replace("nncodec:", "-")


def number(value: float, digits: int = 3) -> str:
    """With so many digits that mean something, and no exponent."""
    if not math.isfinite(value):
        return "never"
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{round(value, digits - 1 - math.floor(math.log10(abs(value)))):,.{places}f}"


def table(head: Iterable[str], lines: Iterable[Iterable[str]], script: str) -> str:
    """Without rows what would measure them."""
    found = [list(line) for line in lines]
    return (
        markdown(head, found) if found else f"Not measured yet: `python scripts/{script} CORPORA`."
    )


in_rates = partial(table, script="measure_rates.py")
in_scaling = partial(table, script="measure_scaling.py")


def assumptions(model: Model) -> str:
    lines = []
    for field in fields(model.price):
        symbol, what, unit = SAYS[field.name]
        value = getattr(model.price, field.name)
        text = f"{value:,.10g}" if value else "not known"
        lines.append(
            [what, symbol, f"{unit}{text}" if value else text, f"`--{option(field.name)}`"]
        )
    return markdown(["assumed, November 2026", "", "value", "option"], lines)


def option(field: str) -> str:
    return field.replace("_", "-")


def rates(model: Model) -> str:
    lines = []
    for speed in [*model.rates.levels(), *model.rates.peers()]:
        kinds = model.rates.kind_rows(speed.codec).values()
        row = [number(speed.encode / 1e3), number(speed.decode / 1e3), f"{speed.ratio:.4f}"]
        mixed = f"{statistics.mean(k.ratio for k in kinds):.4f}" if kinds else ""
        lines.append([name(speed.codec), *row, mixed, number(speed.peak)])
    if lines:
        gpu = model.price.gpu_rate
        lines.append(["GPU, any level", number(gpu / 1e3) if gpu else "not measured", *[""] * 4])
    head = ["", "kB/core-s in", "kB/core-s out", "out/in, text", "out/in, kinds", "peak MiB"]
    return in_rates(head, lines)


def kinds(model: Model) -> str:
    lines = []
    chosen = ["nncodec:1", "nncodec:6", "nncodec:9", "xz:9e"]
    columns = {codec: model.rates.kind_rows(codec) for codec in chosen}
    for kind in model.rates.kinds():
        row = [kind]
        for codec in chosen:
            speed = columns[codec].get(kind)
            row += [number(speed.encode / 1e3), f"{speed.ratio:.4f}"] if speed else ["", ""]
        lines.append(row)
    head = [""]
    for codec in chosen:
        head += [f"{name(codec)}, kB/core-s", "out/in"]
    return in_rates(head, lines)


def blocks(model: Model) -> str:
    lines = []
    seen = []
    for row in model.rates.where(kind="text", at_once="1", direction="encode"):
        codec, size, block = row["codec"], row["bytes"], row["block_bytes"]
        if codec in ("nncodec:1", "nncodec:6") and (codec, size, block) not in seen:
            seen.append((codec, size, block))
    for codec, size, block in sorted(seen, key=lambda s: (s[0], min(int(s[1]), int(s[2])))):
        speed = model.rates.one(codec, kind="text", at_once="1", bytes=size, block_bytes=block)
        assert speed
        row = [number(speed.encode / 1e3), number(speed.decode / 1e3), f"{speed.ratio:.4f}"]
        shown = f"{min(int(block), int(size)) >> 10:,}"
        lines.append([name(codec), shown, f"{int(size) >> 10:,}", *row, number(speed.peak)])
    head = ["level", "KiB a block", "KiB of text", "kB/core-s in", "kB/core-s out", "out/in"]
    return in_rates([*head, "peak MiB"], lines)


def together(model: Model) -> str:
    lines = []
    for codec in ("nncodec:1", "nncodec:6"):
        pairs = [r for r in model.rates.where(codec=codec, at_once="2") if r["runs"]]
        for pair in pairs:
            same = ("codec", "kind", "bytes", "block_bytes", "direction")
            alone = model.rates.where(at_once="1", **{key: pair[key] for key in same})
            if alone:
                one, two = (float(r["wall_seconds"]) for r in (alone[0], pair))
                way = "in" if pair["direction"] == "encode" else "out"
                lines.append(
                    [f"{name(codec)} {way}", f"{one:.3f}", f"{two:.3f}", f"{2 * one / two:.2f}"]
                )
    head = ["", "s, one process", "s, each of two at once", "two cores do the work of"]
    return in_rates(head, lines)


def measured_on(rows: list[Row], script: str) -> str:
    measured = [row for row in rows if row.get("load")]
    if not measured:
        return f"Not measured yet: `python scripts/{script} CORPORA`."
    machines = " and ".join(sorted({row["machine"] for row in measured}))
    days = sorted({row["date"][:10] for row in measured})
    period = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    loads = [float(row["load"]) for row in measured]
    revisions = ", ".join(sorted({row["git"] for row in measured}))
    spread = f"load average {min(loads):.1f} to {max(loads):.1f} before a run, our own included"
    return f"Measured on {machines}, {period}, revision {revisions}; {spread}."


def scaling(model: Model) -> str:
    lines = []
    for (case, engine, workers), seconds, expected in compared(model.scaling):
        one = model.scaling.seconds.get((case, engine, 1))
        gain = f"{one / seconds:.2f}" if one and workers > 1 else ""
        said = ["", ""]
        if expected is not None:
            said = [f"{expected:.1f}", f"{100 * (expected / seconds - 1):+.0f} %"]
        elif (engine, workers) == ("thread", 1):
            said = ["basis", ""]
        size = f"{model.scaling.size(case) / MB:.1f}"
        lines.append([case, size, engine, str(workers), f"{seconds:.1f}", gain, *said])
    head = ["case", "MB", "engine", "workers", "s", "times one", "model, s", "error"]
    return in_scaling(head, lines)


def calibration(model: Model) -> str:
    lines = []
    for engine in ("thread", "process", "ray"):
        one, two = (model.scaling.driver(engine, workers) for workers in (1, 2))
        if one and two:
            start = [f"{one.start:.2f}", f"{two.start:.2f}"]
            lines.append([engine, *start, f"{one.item * 1e3:.2f}", f"{one.byte * 1e9:.2f}"])
    head = ["engine", "start, 1 worker, s", "2 workers, s", "an item, ms", "a byte, ns"]
    return in_scaling(head, lines)


def claims(model: Model) -> str:
    """The two figures that were promised, and whether they hold."""
    lines = []
    had = model.scaling
    for engine in ("thread", "process", "ray"):
        base = next((e for e in (engine, "thread") if had.has(("large", e, 1))), None)
        if base and had.has(("large", engine, 2)):
            gain = had.seconds["large", base, 1] / had.seconds["large", engine, 2]
            what = f"two workers on 100 MB, {engine}, against one of {base}"
            lines.append([what, f"{gain:.2f} times", "1.8 or more", verdict(gain >= 1.8)])
    for case in ("large50", "large"):
        for workers in (1, 2):
            if had.has((case, "thread", workers), (case, "ray", workers)):
                thread, ray = (had.seconds[case, engine, workers] for engine in ("thread", "ray"))
                what = f"Ray above threads, {had.size(case) / MB:.0f} MB, workers: {workers}"
                over = ray / thread - 1
                lines.append([what, f"{100 * over:.1f} %", "below 10 %", verdict(over < 0.1)])
                starts = [had.seconds.get(("start", e, workers)) for e in ("thread", "ray")]
                if all(starts):
                    extra = starts[1] - starts[0]  # type: ignore[operator]
                    over = (ray - extra) / thread - 1
                    lines.append([f"{what}, cluster already there", f"{100 * over:.1f} %", "", ""])
    return in_scaling(["", "measured", "promised", ""], lines)


def verdict(holds: bool) -> str:
    return "holds" if holds else "**does not hold**"


def terabyte(model: Model) -> str:
    lines = []
    for speed in [*model.rates.levels(), *model.rates.peers()]:
        hours = [TB / rate / HOUR for rate in (speed.encode, speed.decode)]
        ours = speed.codec.startswith("nncodec")
        lines.append(
            [
                name(speed.codec),
                *(number(each) for each in hours),
                *(number(model.cluster(speed, n).hours(TB)) if ours else "" for n in CORES),
                *(f"{number(model.coding(rate))}" for rate in (speed.encode, speed.decode)),
                number(speed.ratio * 1000),
            ]
        )
    head = ["", "core-hours in", "core-hours out", *(f"h in, cores: {cores:,}" for cores in CORES)]
    return in_rates([*head, "$ in", "$ out", "GB left"], lines)


def gpu(model: Model) -> str:
    """What a GPU would have to do for the same money."""
    lines = []
    for level in (1, 6, 9):
        speed = model.rates.long(f"nncodec:{level}")
        if speed:
            factor = model.price.gpu_hour / model.price.core_hour
            known = model.price.gpu_rate
            cost = TB / known / HOUR * model.price.gpu_hour if known else None
            lines.append(
                [
                    name(speed.codec),
                    number(speed.encode * factor / MB),
                    number(speed.decode * factor / MB),
                    number(known / MB) if known else "not measured",
                    number(cost) if cost else "not known",
                ]
            )
    head = ["level", "MB/GPU-s in to break even", "out", "MB/GPU-s measured", "$ for 1 TB in"]
    return in_rates(head, lines)


def limits(model: Model) -> str:
    lines = []
    for level in (1, 6):
        speed = model.rates.long(f"nncodec:{level}")
        for block in (1 << 17, 1 << 20, 1 << 24) if speed else ():
            assert speed
            row = [name(speed.codec), f"{block >> 10:,} KiB"]
            for workers in (1, 16, 100, 1000):
                cluster = model.cluster(speed, workers, block)
                ideal = TB / speed.encode / HOUR / workers
                hours = cluster.hours(TB)
                row += [number(hours), f"{100 * ideal / hours:.0f} %"]
            lines.append([*row, cluster.bound()])
    head = ["level", "block"]
    for workers in (1, 16, 100, 1000):
        head += [f"h, {workers:,}", "of ideal"]
    return in_rates([*head, "short at 1,000"], lines)


def windows(model: Model) -> str:
    """Efficiency by how far ahead items are taken, where times differ, workers are lost."""
    lines = []
    workers, one = 16, 16.0
    block = 1 << 24
    for what, deviation, lifetime in (
        ("blocks equal", 0.0, math.inf),
        ("deviation 0.3", 0.3, math.inf),
        ("deviation 1", 1.0, math.inf),
        ("deviation 0.3, a worker lost every hour", 0.3, HOUR),
        ("deviation 0.3, a worker lost every 10 minutes", 0.3, 600.0),
    ):
        row = [what]
        for ahead in (1, 2, 4, 8):
            free = Driver(0.0, 0.0, 0.0)
            at = block / one, deviation, block, free, 0.25, math.inf
            cluster = Cluster(workers, *at, ahead=ahead, lifetime=lifetime)
            row.append(f"{100 * cluster.run().efficiency:.0f} %")
        lines.append(row)
    return markdown(["16 workers, blocks of 16 s", "N ahead", "2N", "4N", "8N"], lines)


def storage(model: Model) -> str:
    """What a terabyte costs as an object: requests of both ways, months, one transfer."""
    price, lines = model.price, []
    for speed in [*model.rates.levels(), *model.rates.peers()]:
        reads, writes = TB / (1 << 23), parts(TB * speed.ratio)
        back = TB * speed.ratio / (1 << 23)
        requests = reads / 1e6 * price.gets + writes / 1e6 * price.puts
        lines.append(
            [
                name(speed.codec),
                *(number(count) for count in (reads, writes, back)),
                f"{requests:.2f}",
                number(TB * speed.ratio / GB * price.stored),
                number(TB * speed.ratio / GB * price.sent),
            ]
        )
    head = ["", "GETs to pack", "PUTs", "GETs to read", "$ of requests", "$ a month", "$ to send"]
    return in_rates(head, lines)


def parts(size: float) -> float:
    """Of a multi-part upload: 1,000 of 16 MiB, then 1,000 of each double size."""
    count, part = 0.0, float(1 << 24)
    while size > 1000 * part:
        count, size, part = count + 1000, size - 1000 * part, 2 * part
    return count + math.ceil(size / part) + 2  # and the calls that begin and end it


def months(model: Model, ours: Speed, peer: Speed) -> float:
    """Of storage until the smaller archive has paid for its coding; never if it is no smaller."""
    saved = (peer.ratio - ours.ratio) * TB / GB * model.price.stored
    extra = model.coding(ours.encode) - model.coding(peer.encode)
    return max(0.0, extra) / saved if saved > 0 else math.inf


def transfers(model: Model, ours: Speed, peer: Speed) -> float:
    """How many until it has paid, each of them decoded; never if one costs more than it saves."""
    saved = (peer.ratio - ours.ratio) * TB / GB * model.price.sent
    saved -= model.coding(ours.decode) - model.coding(peer.decode)
    extra = model.coding(ours.encode) - model.coding(peer.encode)
    return max(0.0, extra) / saved if saved > 0 else math.inf


def core_price(model: Model, ours: Speed, peer: Speed) -> float:
    """Dollars a core-hour below which one transfer, packed once and read once, is cheaper."""
    saved = (peer.ratio - ours.ratio) * TB / GB * model.price.sent
    hours = sum(TB / HOUR * (1 / getattr(ours, way) - 1 / getattr(peer, way)) for way in WAYS)
    return saved / hours if saved > 0 and hours > 0 else math.inf


WAYS = ("encode", "decode")


def link(ours: Speed, peer: Speed, cores: int) -> float:
    """Bytes a second of a link below which packing, sending and reading with ours is faster."""
    slower = sum(1 / getattr(ours, way) - 1 / getattr(peer, way) for way in WAYS) / cores
    return (peer.ratio - ours.ratio) / slower if slower > 0 else math.inf


def breakeven(model: Model) -> str:
    lines = []
    for speed in model.rates.levels():
        row = [name(speed.codec)]
        for peer in model.rates.peers()[:2]:
            row += [
                number(months(model, speed, peer)),
                number(transfers(model, speed, peer)),
                number(core_price(model, speed, peer), 2),
                number(link(speed, peer, 16) / 1e6, 2),
            ]
        lines.append(row)
    head = ["level"]
    for peer in model.rates.peers()[:2]:
        head += [f"months, {name(peer.codec)}", "transfers", "$/core-h, one", "MB/s, 16 cores"]
    return in_rates(head, lines)


def readback(model: Model) -> str:
    """What reading costs, of all and of a little."""
    lines = []
    for speed in [*model.rates.levels(), *model.rates.peers()]:
        ours = speed.codec.startswith("nncodec")
        lines.append(
            [
                name(speed.codec),
                number(model.coding(speed.decode)),
                number(TB / speed.decode / HOUR / 16),
                number((1 << 24) / speed.decode) if ours else "",
                number((1 << 17) / speed.decode) if ours else "",
            ]
        )
    head = ["", "$ for all of it", "h, 16 cores", "s for a byte, 16 MiB blocks", "128 KiB blocks"]
    return in_rates(head, lines)


# Mark and table; in the order of the document.
PLACES: dict[str, Callable[[Model], str]] = {
    "assumptions": assumptions,
    "rates": rates,
    "rates machine": lambda m: measured_on(m.rates.all, "measure_rates.py"),
    "kinds": kinds,
    "blocks": blocks,
    "together": together,
    "gpu": gpu,
    "calibration": calibration,
    "scaling": scaling,
    "claims": claims,
    "scaling machine": lambda m: measured_on(m.scaling.rows, "measure_scaling.py"),
    "limits": limits,
    "windows": windows,
    "terabyte": terabyte,
    "storage": storage,
    "breakeven": breakeven,
    "readback": readback,
}


def model_of(folder: Path, price: Assumptions, rehearsal: bool = False) -> Model:
    rates, scaling = (read(folder / f"{name}.csv", rehearsal) for name in ("rates", "scaling_out"))
    return Model(Rates(rates), Measured(scaling), price)


def stale(model: Model, text: str) -> Iterator[tuple[str, str]]:
    """Marks whose tables are not what the model says, and the text with them filled."""
    for mark, make in PLACES.items():
        new = filled(text, mark, make(model))
        if new != text:
            yield mark, new
        text = new


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--folder", type=Path, default=RESULTS)
    parser.add_argument("--rehearsal", action="store_true", help="show rows of quick runs, too")
    for field in fields(Assumptions):
        parser.add_argument(f"--{option(field.name)}", type=float, default=field.default)
    arguments = parser.parse_args()
    price = Assumptions(**{f.name: getattr(arguments, f.name) for f in fields(Assumptions)})
    model = model_of(arguments.folder, price, arguments.rehearsal)
    if arguments.show:
        print("\n\n".join(f"{mark}\n\n{make(model)}" for mark, make in PLACES.items()))
        return
    if price != Assumptions() or arguments.rehearsal or arguments.folder != RESULTS:
        parser.error("the document has the default prices and measured rows: add --show")
    text = DOCUMENT.read_text(encoding="utf-8")
    marks = []
    for mark, new in stale(model, text):
        marks.append(mark)
        text = new
    if not arguments.check:
        DOCUMENT.write_text(text, encoding="utf-8")
    print("\n".join(marks) or "nothing to change")
    sys.exit(bool(arguments.check and marks))


if __name__ == "__main__":
    main()
