"""What archives that promise much cost: scripts/measure_bombs.py --csv docs/results/bombs.csv

Each bomb of tests/bombs.py is decoded in a process of its own, to nowhere (as to a pipe) and, if it
decodes, by ``nncodec.decompress`` under a limit of 1 MiB. Memory is what the
process took beyond what it had: resident (touched) and virtual (mapped). Needs Linux.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from bombs import BOMBS, measure  # noqa: E402

from nncodec.tables import write_rows  # noqa: E402

MIB = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--csv", type=Path, required=True)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for bomb, make in BOMBS.items():
            archive = make()
            cost = measure(archive, Path(name))
            refused = ""
            if written := int(str(cost["written"])):
                limited = measure(archive, Path(name), MIB)
                refused = f"{int(str(limited['resident'])) / MIB:.1f}"
            rows.append(
                {
                    "archive": bomb, "archive_bytes": len(archive), "written": written,
                    "resident_mib": f"{int(str(cost['resident'])) / MIB:.1f}",
                    "virtual_mib": f"{int(str(cost['virtual'])) / MIB:.1f}",
                    "seconds": f"{float(str(cost['seconds'])):.2f}",
                    "resident_mib_if_limited": refused,
                    "told": str(cost["told"]).rpartition("bomb.nnc: ")[2] or "decoded",
                }
            )  # fmt: skip
            print(*rows[-1].values(), sep=", ", flush=True)
    write_rows(args.csv, rows)


if __name__ == "__main__":
    main()
