"""Figures of docs/training.md and docs/models.md, from the CSVs beside them.

usage: python scripts/plot_training.py [DOCS]        (needs matplotlib: the bench extra)

DOCS/<model>_heldout.csv  held-out bits per byte against bytes seen  -> figures/heldout.svg
DOCS/recipe.csv           what one change of the recipe bought       -> figures/recipe.svg
DOCS/models.csv           parameters, ratio and speed of models      -> figures/models.svg

Bytes seen are all that a model and the one it began as have learned from.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt

BASE = "nano's recipe"
DOMAINS = ("mean", "en_wiki", "code", "multi")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def heldout(docs: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for number, path in enumerate(sorted(docs.glob("*_heldout.csv"))):
        rows = read(path)
        for domain, style in zip(DOMAINS, ("-", "--", ":", "-."), strict=True):
            axes.plot(
                [int(row["bytes"]) / 1e6 for row in rows],
                [float(row[domain]) for row in rows],
                style,
                marker="." if domain == "mean" else None,
                color=f"C{number}",
                label=f"{path.name.removesuffix('_heldout.csv')}: {domain}",
            )
    axes.set(xlabel="bytes seen, millions", ylabel="held out, bits per byte")
    axes.legend(fontsize="small", ncols=2)
    save(figure, docs, "heldout")


def recipe(docs: Path) -> None:
    rows = {row["run"]: float(row["mean"]) for row in read(docs / "recipe.csv")}
    base = rows.pop(BASE)
    names = sorted(rows, key=lambda name: -rows[name])
    changes = [100 * (rows[name] / base - 1) for name in names]
    figure, axes = plt.subplots(figsize=(7, 0.32 * len(names) + 1), layout="constrained")
    axes.barh(names, changes, color=["C2" if change < 0 else "C3" for change in changes])
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlabel=f"held-out mean against {BASE} ({base:.3f} bits per byte), percent")
    save(figure, docs, "recipe")


def models(docs: Path) -> None:
    """Ratio against parameters; the speed of each stands beside it."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for row in read(docs / "models.csv"):
        size, bits = int(row["parameters"]) / 1e6, float(row["bits_per_byte"])
        axes.plot(size, bits, "o", color="C0")
        label = f"{row['model']}\n{float(row['compress_kB_s']):.0f} kB/s"
        axes.annotate(label, (size, bits), xytext=(6, 4), textcoords="offset points")
    axes.set(
        xlabel="parameters, millions (0: context models alone)",
        ylabel="network and context models, bits per byte",
    )
    axes.margins(0.15)
    save(figure, docs, "models")


def save(figure: mpl.figure.Figure, docs: Path, name: str) -> None:
    folder = docs / "figures"
    folder.mkdir(exist_ok=True)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)
    print(folder / f"{name}.svg")


def main() -> None:
    default = Path(__file__).resolve().parent.parent / "docs"
    docs = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "nncodec"  # the same file from the same figures
    for draw in (heldout, recipe, models):
        draw(docs)


if __name__ == "__main__":
    main()
