"""Sizes of files with nncodec and with classical codecs: one CSV row a file, and a Markdown table.

usage: python scripts/measure_files.py -m nano --csv OUT.csv [--decode] FILE|FOLDER...

Sizes are deterministic; measure_speed.py measures speed. Classical codecs: gzip -9, bzip2 -9 and
xz -9e from Python's library;
bzip3 (-b 16) where the command is installed. --decode verifies each round trip as well.
"""

from __future__ import annotations

import argparse
import bz2
import csv
import gzip
import lzma
import shutil
import subprocess
import sys
from pathlib import Path

import nncodec

CLASSICAL = {
    "gzip": lambda data: len(gzip.compress(data, 9)),
    "bzip2": lambda data: len(bz2.compress(data, 9)),
    "xz": lambda data: len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)),
}


def bzip3(data: bytes) -> int | None:
    if not shutil.which("bzip3"):
        return None
    done = subprocess.run(
        ["bzip3", "-e", "-b", "16"], input=data, stdout=subprocess.PIPE, check=True
    )
    return len(done.stdout)


def measure(path: Path, root: Path, model: str, decode: bool) -> dict[str, object]:
    data = path.read_bytes()
    packed = nncodec.compress(data, model=model)
    row: dict[str, object] = {"file": str(path.relative_to(root)), "bytes": len(data)}
    row |= {name: size(data) for name, size in CLASSICAL.items()}
    row |= {"bzip3": bzip3(data), "nncodec": len(packed)}
    row |= {"bits_per_byte": round(8 * len(packed) / max(1, len(data)), 4)}
    row["verified"] = nncodec.decompress(packed) == data if decode else ""
    return row


def markdown(rows: list[dict[str, object]]) -> str:
    columns = ["file", "bytes", "gzip", "bzip2", "xz", "bzip3", "nncodec", "bits_per_byte"]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [str(row[c]) for c in columns]
        if int(str(row["nncodec"])) < int(str(row["xz"])):
            cells[6] = f"**{cells[6]}**"
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("-m", "--model", default="nano")
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--decode", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for top in arguments.paths:
        files = sorted(p for p in top.rglob("*") if p.is_file()) if top.is_dir() else [top]
        for path in files:
            rows.append(measure(path, top.parent, arguments.model, arguments.decode))
            with arguments.csv.open("w", newline="") as file:  # after every file: long runs die
                writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
            print(rows[-1], file=sys.stderr, flush=True)
    print(markdown(rows))


if __name__ == "__main__":
    main()
