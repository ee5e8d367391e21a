"""Mint golden archives: the only writer of tests/golden. Never overwrites one.

usage: python scripts/make_golden.py TAG LEVEL [MODEL]       (for example v0_mixed 6 nano)

Compresses every sample in corpora/samples at a level, with the level's own model or the one named.
Tests decode these files for as long as the format version and the model are supported, and compare
sizes and bytes. ``sizes.csv`` says how each was made and what kind of block it holds.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import nncodec

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
COLUMNS = ("archive", "sample", "level", "model", "block", "bytes", "archive_bytes")


def main() -> None:
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    tag, level = sys.argv[1], int(sys.argv[2])
    model = sys.argv[3] if len(sys.argv) == 4 else None
    GOLDEN.mkdir(exist_ok=True)
    rows: list[tuple[object, ...]] = []
    for sample in sorted((ROOT / "corpora" / "samples").iterdir()):
        target = GOLDEN / f"{tag}_{sample.name}.nnc"
        if target.exists():
            sys.exit(f"{target} exists; goldens are written once, choose another tag")
        archive = nncodec.compress(sample.read_bytes(), level, model=model)
        if nncodec.decompress(archive) != sample.read_bytes():
            sys.exit(f"{sample}: the round trip failed")
        target.write_bytes(archive)
        block = "".join(nncodec.info(archive).blocks)
        sizes = sample.stat().st_size, len(archive)
        rows.append((target.name, sample.name, level, model or "", block, *sizes))
    table = GOLDEN / "sizes.csv"
    fresh = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(COLUMNS)
        writer.writerows(rows)


if __name__ == "__main__":
    main()
