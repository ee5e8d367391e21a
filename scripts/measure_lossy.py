"""Bits a weight at an error, of all formats: scripts/measure_lossy.py --csv OUT.csv FILE [PATTERN]

The matrices of a safetensors file whose names match are quantised together, uniformly and by a
trellis at signal-to-noise ratios of peers' figures, and in the fixed-length formats. ``coded`` is
the real archive, headers and scales included, over the quantised weights.
``trellis_at_equal_error`` is the archive of a trellis at a fixed format's own ratio, and what it
saves of the bits that format stores. Seconds of quantising are those of this run.
"""

from __future__ import annotations

import argparse
import csv
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from nncodec import lossy
from nncodec.lossy import Quantized, Settings, Target, Tensor, store
from nncodec.lossy.allocate import archive_size

RATIOS = (30.4, 21.2, 13.5, 8.5)  # dB
FIXED = {
    "int8 per row": Settings("int8", per_row=True),
    "int8 per tensor": Settings("int8"),
    "int4 group 128": Settings("int4", group=128),
    "int4 group 64": Settings("int4", group=64),
    "int4 group 32": Settings("int4", group=32),
    "nf4 group 64": Settings("nf4"),
    "quantile 16": Settings("quantile"),
}
STORED = {"int8": 8.0, "int4": 4.0, "nf4": 4.0, "quantile": 4.0}
ENTROPY_CODED = {
    "uniform, to the nearest": Settings("uniform", rdo=0, points=False),
    "uniform": Settings("uniform"),
    "trellis of 8": Settings("trellis", states=8),
    "trellis of 64": Settings("trellis"),
}
COLUMNS = (
    *("format", "snr_db", "order0", "coded", "gap_db", "seconds"),
    *("stored", "trellis_at_equal_error", "saved_of_stored_pct"),
)
Row = dict[str, str]


def archive_bits(made: Quantized) -> float:
    """A weight; of the file as it is written."""
    return (
        8
        * archive_size(store.serialize(made.checkpoint.tensors, made.checkpoint.metadata))
        / made.weights
    )


def stored_bits(made: Quantized, name: str) -> float:
    """A weight, without entropy coding: codes and scales."""
    helpers = [made.tensors[h] for r in made.records.values() for h in r.helpers]
    return STORED[name] + 8 * sum(h.data.nbytes for h in helpers) / made.weights


def row(name: str, made: Quantized, seconds: float) -> Row:
    coded = archive_bits(made)
    return {
        "format": name,
        "snr_db": f"{made.snr_db:.3f}",
        "order0": f"{made.bits / made.weights:.4f}",
        "coded": f"{coded:.4f}",
        "gap_db": f"{6.0206 * coded - made.snr_db:.3f}",
        "seconds": f"{seconds:.1f}",
    }


def measure(tensors: Mapping[str, Tensor]) -> Iterator[Row]:
    for ratio in RATIOS:
        for name, settings in ENTROPY_CODED.items():
            begun = time.perf_counter()
            made = lossy.allocate(tensors, settings, Target(snr=ratio))
            yield row(name, made, time.perf_counter() - begun)
    for name, settings in FIXED.items():
        begun = time.perf_counter()
        made = lossy.quantize(tensors, settings)
        measured = row(name, made, time.perf_counter() - begun)
        same = lossy.allocate(tensors, Settings(), Target(snr=made.snr_db))
        stored, bits = stored_bits(made, settings.format), archive_bits(same)
        measured["stored"] = f"{stored:.4f}"
        measured["trellis_at_equal_error"] = f"{bits:.4f}"
        measured["saved_of_stored_pct"] = f"{100 * (1 - bits / stored):.1f}"
        yield measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("pattern", nargs="?", default="", help="of the tensors' names")
    parser.add_argument("--csv", type=Path, required=True)
    arguments = parser.parse_args()
    tensors = {
        name: tensor
        for name, tensor in lossy.read(arguments.file).tensors.items()
        if re.search(arguments.pattern, name) and len(tensor.shape) > 1
    }
    with arguments.csv.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for measured in measure(tensors):
            print(measured, flush=True)
            writer.writerow(measured)
            file.flush()


if __name__ == "__main__":
    main()
