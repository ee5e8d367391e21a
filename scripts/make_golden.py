"""Mint golden archives: the only writer of tests/golden. Never overwrites one.

usage: python scripts/make_golden.py             mints what is missing
       python scripts/make_golden.py --check     makes all of the present format again and compares

tests/golden_table.py says how each is made. Tests decode these files for as long as there are
releases, and compare bytes. ``sizes.csv`` keeps their sizes, so that a review sees any change.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from golden_models import check_models, mint_models  # noqa: E402
from golden_table import GOLDEN, GOLDENS, Golden, blocks_of, make  # noqa: E402

import nncodec  # noqa: E402
from nncodec.container import VERSION  # noqa: E402

COLUMNS = ("archive", "data", "way", "level", "model", "base", "blocks", "bytes", "archive_bytes")


def main() -> None:
    if sys.argv[1:] == ["--check"]:
        check()
    elif len(sys.argv) == 1:
        mint()
    else:
        sys.exit(__doc__)


def mint() -> None:
    mint_models()
    for golden in GOLDENS:
        if golden.path.exists():
            continue
        if not golden.name.startswith(f"v{VERSION}_"):
            sys.exit(f"{golden.path} is missing: its format is no longer written, restore it")
        archive = make(golden)
        if golden.way != "of_floats" and decoded(golden, archive) != golden.bytes:
            sys.exit(f"{golden.name}: the round trip failed")
        golden.path.write_bytes(archive)
        print(golden.path.relative_to(ROOT))
    with (GOLDEN / "sizes.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(map(row_of, GOLDENS))


def check() -> None:
    check_models()
    for golden in GOLDENS:
        if golden.written and make(golden) != golden.path.read_bytes():
            sys.exit(f"{golden.name}: this release makes another archive of it")
    with (GOLDEN / "sizes.csv").open(newline="") as file:
        table = list(csv.reader(file))
    if table != [list(COLUMNS), *([str(value) for value in row_of(g)] for g in GOLDENS)]:
        sys.exit("tests/golden/sizes.csv: not what the archives are; run scripts/make_golden.py")


def decoded(golden: Golden, archive: bytes) -> bytes:
    return nncodec.decompress(archive, base=golden.base_bytes, model=golden.model_folder)


def row_of(golden: Golden) -> tuple[object, ...]:
    archive = golden.path.read_bytes()
    made = golden.data, golden.way, golden.level or "", golden.model, golden.base
    return golden.path.name, *made, blocks_of(archive), len(golden.bytes), len(archive)


if __name__ == "__main__":
    main()
