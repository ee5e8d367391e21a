"""Mint golden archives: the only writer of tests/golden. Never overwrites one.

usage: python scripts/make_golden.py FORMAT_TAG       (for example v0_nano)

Compresses every sample in corpora/samples with the packaged default model. Tests decode these
files for as long as the format version and the model are supported, and compare sizes.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import nncodec

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    tag = sys.argv[1]
    GOLDEN.mkdir(exist_ok=True)
    rows = []
    for sample in sorted((ROOT / "corpora" / "samples").iterdir()):
        target = GOLDEN / f"{tag}_{sample.name}.nnc"
        if target.exists():
            sys.exit(f"{target} exists; goldens are written once, choose another tag")
        archive = nncodec.compress(sample.read_bytes())
        if nncodec.decompress(archive) != sample.read_bytes():
            sys.exit(f"{sample}: the round trip failed")
        target.write_bytes(archive)
        rows.append([target.name, sample.name, sample.stat().st_size, len(archive)])
    table = GOLDEN / "sizes.csv"
    fresh = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if fresh:
            writer.writerow(["archive", "sample", "bytes", "archive_bytes"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
