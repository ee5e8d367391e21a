"""Two figures of a benchmark: ratio against speed, and each file's bits per byte.

They show the machine with most rows, since speeds of several do not add up, and every codec. Files
are lines with a bar for the baseline and a mark for each other codec: bars of twelve codecs for a
hundred files would be read by nobody. The page (``report/``) has those, a few at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nncodec.bench.labels import Label, place_labels
from nncodec.bench.results import SIZED, Row
from nncodec.bench.specs import names_of
from nncodec.bench.summary import Total, baseline, by_machine, parted, summarise
from nncodec.figures import METADATA, pyplot, save
from nncodec.pages import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_FILES = 150  # the largest
LONGEST = 34  # characters of a name
OURS, OTHERS, SOFT = "#0072b2", "#1c1a17", "#6a655c"
# After Okabe and Ito, each with a shape of its own.
COLORS = ("#d55e00", "#009e73", "#cc79a7", "#1c1a17", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "v", "D", "P", "X", "<", ">", "*", "p", "h", "d")


def draw(rows: Sequence[Row], base: Path) -> list[Path]:
    """Write ``base``-pareto and ``base``-files (.svg, .png). Raises NNCodecError."""
    plt = pyplot()
    machines = by_machine(rows)
    machine = max(machines, key=lambda name: len(machines[name]), default="")
    chosen = machines.get(machine, [])
    written: list[Path] = []
    with plain(plt):
        figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
        axes.set_title(visible(machine), fontsize="small", color=SOFT)
        pareto(figure, axes, points_of(summarise(chosen)))
        written += save(figure, named(base, "pareto"))
        plt.close(figure)
        names = files_of(chosen)
        figure, axes = plt.subplots(
            figsize=(8, 1.6 + 0.17 * max(4, len(names))), layout="constrained"
        )
        each_file(figure, axes, chosen, names)
        written += save(figure, named(base, "files"))
        plt.close(figure)
    return written


def named(base: Path, kind: str) -> Path:
    return base.with_name(f"{base.name}-{kind}")


def files_beside(page: Path) -> list[Path]:
    """What ``draw`` writes for a page."""
    bases = [named(page.with_suffix(""), kind) for kind in ("pareto", "files")]
    return [base.with_name(f"{base.name}.{kind}") for base in bases for kind in METADATA]


@contextmanager
def plain(plt: Any) -> Iterator[None]:
    """Names are not mathematics, whatever is in them; letters that the font lacks are boxes."""
    with plt.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def short(name: str) -> str:
    name = visible(name)
    return name if len(name) <= LONGEST else "\N{HORIZONTAL ELLIPSIS}" + name[1 - LONGEST :]


def is_ours(codec: str) -> bool:
    return codec == "nncodec" or codec.startswith("nncodec:")


@dataclass(frozen=True)
class Point:
    codec: str
    name: str
    ratio: float
    speed: float | None  # MB/s, compressing; None: not known
    files: int


def points_of(totals: Sequence[Total]) -> list[Point]:
    """One of fewer files stands where its size on those, against the baseline's, would put it."""
    most = max((t.files for t in totals), default=0)
    sized = {t.codec: t for t in totals if t.files}
    base = sized.get(baseline(list(sized)))
    names = names_of(t.codec for t in totals)
    points = []
    for t in totals:
        ratio = t.ratio
        if base and base.ratio and base.files == most > t.files and t.baseline_pct:
            ratio = 100 * base.ratio / t.baseline_pct
        if ratio:
            points.append(Point(t.codec, names[t.codec], ratio, t.compress_mb_s, t.files))
    return points


def pareto(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Points, the line of the best of those with all files, lines of those without a speed."""
    most = max((p.files for p in points), default=0)
    timed = [(p.speed, p.ratio, p) for p in points if p.speed]
    front = frontier((x, y, p) for x, y, p in timed if p.files == most)
    axes.set(xlabel="compressing, MB/s", ylabel="ratio")
    axes.grid(alpha=0.3)
    if not points:
        axes.text(0.5, 0.5, "no codec has a size", transform=axes.transAxes, ha="center")
    for p in points:
        if not p.speed:
            axes.axhline(p.ratio, color=SOFT, linestyle=(0, (5, 4)), linewidth=1)
    for x, y, p in timed:
        best = (x, y, p) in front
        color = OURS if is_ours(p.codec) else OTHERS if best else SOFT
        marker, fill = "D" if is_ours(p.codec) else "o", "full" if best else "none"
        axes.plot(x, y, marker, color=color, fillstyle=fill, zorder=3)
    if timed:
        axes.set_xscale("log")
        axes.margins(x=0.12, y=0.12)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    steps: list[tuple[float, float]] = []
    if front:
        # At a speed or more: level to the next slower one, then up to it; on to the edges.
        left, bottom = axes.get_xlim()[0], axes.get_ylim()[0]
        xs, ys, _ = zip(*front, strict=True)
        line = [xs[0], *xs, left], [bottom, *ys, ys[-1]]
        axes.step(*line, where="post", color=OTHERS, linewidth=1)
        axes.set(xlim=(left, None), ylim=(bottom, None))
        steps = list(zip(*line, strict=True))
    names = [
        Label(x, y, text_of(p, most), OURS if is_ours(p.codec) else OTHERS)
        for x, y, p in sorted(timed, key=lambda point: point not in front)
    ]
    names += [Label(None, p.ratio, text_of(p, most), OTHERS) for p in points if not p.speed]
    place_labels(figure, axes, names, steps)


def frontier(points: Iterable[tuple[float, float, Point]]) -> list[tuple[float, float, Point]]:
    """Those that no other beats in both, the fastest first."""
    front: list[tuple[float, float, Point]] = []
    for x, y, point in sorted(points, key=lambda point: (-point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y, point))
    return front


def text_of(point: Point, most: int) -> str:
    some = "" if point.files == most else f" ({point.files} of {most} files)"
    return short(point.name) + some


def files_of(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Files with a size by any codec, by name: the largest, if they are many. No empty ones."""
    sizes = {
        (row["file"], row["file_sha256"]): int(row["file_bytes"])
        for row in rows
        if row["bits_per_byte"]
    }
    largest = sorted(sizes, key=lambda file: (-sizes[file], file))[:MOST_FILES]
    return sorted(largest)


def each_file(
    figure: Figure, axes: Axes, rows: Sequence[Row], names: Sequence[tuple[str, str]]
) -> None:
    """A line a file: a bar for the baseline, marks for the others."""
    lines = {name: number for number, name in enumerate(names)}
    by_codec = parted((row for row in rows if row["status"] in SIZED), "codec")
    base = baseline(list(by_codec))
    names_shown = names_of(by_codec)
    number = 0
    for codec in sorted(by_codec, key=lambda codec: codec != base):
        group = by_codec[codec]
        points = [
            (float(row["bits_per_byte"]), lines[row["file"], row["file_sha256"]])
            for row in group
            if row["bits_per_byte"] and (row["file"], row["file_sha256"]) in lines
        ]
        if not points:
            continue
        x, y = zip(*points, strict=True)
        if codec == base:
            axes.barh(
                y,
                x,
                height=0.7,
                color=OURS,
                alpha=0.35,
                linewidth=0,
                label=short(names_shown[codec]),
            )
            continue
        color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
        name = short(names_shown[codec])
        axes.plot(x, y, marker, color=color, markersize=4.5, fillstyle="none", label=name)
        number += 1
    axes.set_yticks(range(len(names)), [short(name) for name, _ in names], fontsize=7)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("bits per byte")
    axes.xaxis.set_tick_params(top=True, labeltop=True)
    axes.grid(alpha=0.3)
    if not names:
        axes.text(0.5, 0.5, "no file has a size", transform=axes.transAxes, ha="center")
        return
    if len(names) == MOST_FILES:
        axes.set_title(f"the {len(names)} largest files", fontsize="small", color=SOFT)
    handles, labels = axes.get_legend_handles_labels()
    order = sorted(range(len(labels)), key=lambda k: labels[k] != short(names_shown[base]))
    handles, labels = [handles[k] for k in order], [labels[k] for k in order]
    figure.legend(
        handles, labels, loc="outside upper center", ncols=4, fontsize="small", frameon=False
    )
