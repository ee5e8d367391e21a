"""The points of a study as a Markdown table: docs/scaling.md has it.

usage: python scripts/sweep_table.py RESULTS.csv [FILE]        FILE: a name in the table; the first
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nncodec.sweep.results import read_results

COLUMNS = {
    "parameters": "parameters",
    "shape": "shape",
    "bytes seen": "bytes_seen",
    "": "role",
    "held out, bits/byte": "held_out_bpb",
    "network": "network_bytes",
    "archive": "archive_bytes",
}


def main() -> None:
    rows = read_results(Path(sys.argv[1]))
    name = sys.argv[2] if len(sys.argv) > 2 else rows[0]["file"]
    ideal = {
        r["point"]: r["network_bytes"]
        for r in rows
        if r["file"] == name and r["precision"] == "float"
    }
    alone = next(r["contexts_bytes"] for r in rows if r["file"] == name)
    print(f"Bytes of {name}, {alone} without a network; `float`: the float model's ideal length.\n")
    print("| " + " | ".join([*COLUMNS, "float"]) + " |")
    print("|" + "--:|" * (len(COLUMNS) + 1))
    for row in rows:
        if row["file"] == name and row["precision"] == "int8":
            cells = [row[column] for column in COLUMNS.values()]
            print("| " + " | ".join([*cells, ideal.get(row["point"], "")]) + " |")


if __name__ == "__main__":
    try:
        main()
        sys.stdout.flush()
    except BrokenPipeError:  # head has what it wants; nothing is to be said at the end, either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
