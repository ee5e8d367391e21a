"""What lanes and the common prefix cost: payload bytes of files over a grid of both.

usage: python scripts/measure_lanes.py -m MODEL --csv OUT.csv FILE...
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from nncodec import modelstore
from nncodec.blocks import Geometry
from nncodec.engine.native import NativeEngine
from nncodec.lanes import no_progress

LANE_BYTES = (1 << 30, 32768, 16384, 8192, 4096, 2048, 1024)  # the first is one lane
PREFIXES = (0, 256, 1024, 4096)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("-m", "--model", default="nano")
    parser.add_argument("--csv", type=Path, required=True)
    arguments = parser.parse_args()
    engine = NativeEngine(modelstore.find(arguments.model))
    with arguments.csv.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "bytes", "bytes_a_lane", "lanes", "prefix", "payload", "loss_pct"])
        for path in arguments.files:
            data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
            best = 0
            for lane_bytes in LANE_BYTES:
                lanes = max(1, len(data) // lane_bytes)
                for prefix in PREFIXES if lanes > 1 else (0,):
                    size = len(engine.encode(data, Geometry(lanes, prefix), no_progress))
                    best = best or size
                    loss = round(100 * (size / best - 1), 3)
                    row = [path.name, len(data), lane_bytes, lanes, prefix, size, loss]
                    writer.writerow(row)
                    file.flush()
                    print(*row, flush=True)


if __name__ == "__main__":
    main()
