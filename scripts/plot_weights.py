"""Size against bits per byte: figures of docs/weights-pipeline.csv, tables of the .md beside it.

usage: python scripts/plot_weights.py [CSV]     (needs matplotlib: the bench extra)

The black line joins the points that no other beats in both. In the .md file of the CSV's name what
lies between <!-- MODEL --> and <!-- /MODEL --> is replaced by that model's table.
"""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

mpl.rcParams["svg.hashsalt"] = "nncodec"  # the same file from the same table
SHOWN = 1.8
COLOURS = {(0, 0): "C0", (0, 1): "C2", (1, 0): "C3", (1, 1): "C1"}  # by pruned, tuned


def plot(table: Path) -> None:
    """``figures/weights-pareto-MODEL.svg`` and ``.png``, and the tables of ``table``'s .md file."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    figures, text = table.parent / "figures", table.with_suffix(".md")
    figures.mkdir(exist_ok=True)
    for model in dict.fromkeys(row["model"] for row in rows):
        chosen = [row for row in rows if row["model"] == model]
        draw(model, chosen, figures)
        if text.is_file():
            text.write_text(with_table(text.read_text(), model, chosen))


def with_table(text: str, model: str, rows: list[dict[str, str]]) -> str:
    """A row for each of bits and pruning; uniform and trellis beside each other."""
    head = "| bits | pruned | uniform: size | bpb | tuned: size | bpb "
    head += "| trellis: size | bpb | tuned: size | bpb |"
    lines = [head, "|--:|:-:" + "|--:" * 8 + "|"]
    found = {tuple(row[k] for k in ("bits", "pruned", "trellis", "tuned")): row for row in rows}
    for bits, pruned in dict.fromkeys((row["bits"], row["pruned"]) for row in rows):
        cells = [bits, "half" if pruned == "1" else ""]
        for kind in ("00", "01", "10", "11"):
            row = found.get((bits, pruned, *kind))
            size, loss = ("bits_a_weight", "bits_per_byte")
            cells += [f"{float(row[size]):.2f}", f"{float(row[loss]):.3f}"] if row else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    mark = re.escape(model)
    pattern = f"(?s)(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
    return re.sub(pattern, lambda m: m[1] + "\n".join(lines) + "\n" + m[2], text)


def draw(model: str, rows: list[dict[str, str]], figures: Path) -> None:
    """What lies above ``SHOWN`` times the original is in the table alone."""
    figure, axes = plt.subplots(figsize=(7, 5), layout="constrained")
    before = float(rows[0]["bits_per_byte_before"])
    shown = [row for row in rows if float(row["bits_per_byte"]) < SHOWN * before]
    for (pruned, tuned), colour in COLOURS.items():
        for trellis in (0, 1):
            wanted = (str(pruned), str(trellis), str(tuned))
            chosen = [r for r in shown if (r["pruned"], r["trellis"], r["tuned"]) == wanted]
            if not chosen:
                continue
            label = ["uniform", "trellis"][trellis]
            axes.plot(
                *zip(*map(place, chosen), strict=True),
                [":", "--"][trellis],
                marker="ox"[trellis],
                color=colour,
                linewidth=0.8,
                label=label + ", half pruned" * pruned + ", tuned" * tuned,
            )
    best = sorted(map(place, shown))
    front = [p for i, p in enumerate(best) if all(p[1] < q[1] for q in best[:i])]
    axes.plot(*zip(*front, strict=True), color="black", linewidth=0.8, label="no other is better")
    axes.axhline(before, color="grey", linewidth=0.8, label="float32")
    axes.set(
        title=model,
        xlabel="archive, bits a weight",
        ylabel="held out, bits per byte",
        xscale="log",
        xticks=(2, 3, 4, 5, 6, 8, 10),
    )
    axes.xaxis.set_major_formatter(mpl.ticker.ScalarFormatter())
    axes.xaxis.set_minor_formatter("")
    axes.legend(fontsize="small")
    figure.savefig(figures / f"weights-pareto-{model}.svg", metadata={"Date": None})
    figure.savefig(figures / f"weights-pareto-{model}.png", dpi=100)
    plt.close(figure)


def place(row: dict[str, str]) -> tuple[float, float]:
    return float(row["bits_a_weight"]), float(row["bits_per_byte"])


if __name__ == "__main__":
    plot(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/weights-pipeline.csv"))
