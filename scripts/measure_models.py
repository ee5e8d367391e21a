"""Ratio and speed of models over the same files: one CSV row a model, sums over all files.

usage: python scripts/measure_models.py --csv docs/models.csv [-m MODEL]... FILE|FOLDER...

Archives are real, of the default level (of level 1 for ``none``, the context models alone), and are
decompressed and compared. Seconds are those of this run: nothing else should run beside it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from measure_files import files_below, measure

from nncodec import api, modelstore
from nncodec.levels import DEFAULT_LEVEL
from nncodec.tables import write_rows

ALONE = "none"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("-m", "--model", action="append", help="default: none, nano, small")
    parser.add_argument("-T", "--threads", type=int, default=0)
    arguments = parser.parse_args()
    threads = arguments.threads or None
    rows = []
    for name in arguments.model or [ALONE, "nano", "small"]:
        alone = name == ALONE
        codec = api.load_codec(1 if alone else DEFAULT_LEVEL, None if alone else name, threads)
        files = [path.read_bytes() for _, path in files_below(arguments.paths)]
        sizes = [measure(data, codec, verify=True) for data in files]
        total, packed = sum(map(len, files)), sum(int(row["nncodec"]) for row in sizes)
        weights = None if alone else modelstore.find(name)
        row = {
            "model": name,
            "parameters": weights.parameters if weights else 0,
            "weights_bytes": sum(v.nbytes for v in weights.tensors.values()) if weights else 0,
            "files": len(files),
            "bytes": total,
            "archives": packed,
            "bits_per_byte": round(8 * packed / total, 4),
        }
        for way in ("compress", "decompress"):
            seconds = sum(float(row[f"{way}_s"]) for row in sizes)
            row[f"{way}_kB_s"] = round(total / seconds / 1e3, 1)
        print(row, flush=True)
        rows.append(row)
    write_rows(arguments.csv, rows)


if __name__ == "__main__":
    main()
