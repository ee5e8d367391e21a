"""Names beside the points of a figure: the first free place for each, over no point or name.

Greedy, the most important first: there are a dozen or two. A name without a free place is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

# Where one is tried, in points: right, left, above, below, between them, then farther away.
TURNS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
REACHES = (8, 14, 22, 32, 44, 58, 74, 92)
RADIUS = 4  # of a point
APART = 4  # pixels between names
LEADER = "#6a655c"


@dataclass(frozen=True)
class Label:
    x: float | None  # None: of a line across the figure
    y: float
    text: str
    color: str


def place_labels(
    figure: Figure, axes: Axes, labels: Sequence[Label], steps: Sequence[tuple[float, float]]
) -> None:
    """Write the names; all else must be there, as it decides where the axes are.

    Names keep clear of the step line through ``steps`` where they can.
    """
    figure.draw_without_rendering()
    frame = axes.get_window_extent()
    scale = figure.dpi / 72
    taken = [around(axes, label.x, label.y, RADIUS * scale) for label in labels if label.x]
    line = pieces(axes, steps)
    left = axes.get_xlim()[0]
    for label in labels:
        at = (label.x or left, label.y)
        text = axes.annotate(
            label.text, at, (0, 0), textcoords="offset points", fontsize="small", color=label.color
        )
        free = []
        for place in places(label.x is None, frame.width / scale):
            move(text, *place, label.x is None)
            box = text.get_window_extent()
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1
            inside = inside and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                free.append((place, box))
                if not any(box.overlaps(piece) for piece in line):
                    free = free[-1:]
                    break
        if not free:
            text.remove()
            continue
        place, box = free[0]
        move(text, *place, label.x is None)
        taken.append(box.padded(APART))
        if label.x and max(map(abs, place)) > REACHES[1]:
            lead(axes, at, place)


def lead(axes: Axes, at: tuple[float, float], to: tuple[float, float]) -> None:
    style = {"arrowstyle": "-", "color": LEADER, "linewidth": 0.6, "shrinkA": 0, "shrinkB": RADIUS}
    axes.annotate("", at, to, textcoords="offset points", arrowprops=style)


def places(on_line: bool, width: float) -> Iterator[tuple[float, float]]:
    if on_line:
        for y in (2, -2):
            yield from ((x, y) for x in range(int(width) - 4, 0, -12))
        return
    for reach in REACHES:
        yield from ((reach * x, reach * y) for x, y in TURNS)


def move(text: Annotation, x: float, y: float, on_line: bool) -> None:
    """Put a text beside its point: the near edge at (x, y); on a line its right end is there."""
    text.set_position((x, y))
    text.set_horizontalalignment("right" if x < 0 or on_line else "left" if x > 0 else "center")
    text.set_verticalalignment("bottom" if y > 0 else "top" if y < 0 else "center")


def pieces(axes: Axes, steps: Sequence[tuple[float, float]]) -> list[Any]:
    """Boxes of a step line's pieces: level first, then up or down."""
    from matplotlib.transforms import Bbox

    corners = [axes.transData.transform(step) for step in steps]
    boxes = []
    for (x, y), (to_x, to_y) in pairwise(corners):
        boxes.append(Bbox([(min(x, to_x), y - 1), (max(x, to_x), y + 1)]))
        boxes.append(Bbox([(to_x - 1, min(y, to_y)), (to_x + 1, max(y, to_y))]))
    return boxes


def around(axes: Axes, x: float, y: float, radius: float) -> Any:
    from matplotlib.transforms import Bbox

    at = axes.transData.transform((x, y))
    return Bbox([at - radius, at + radius])
