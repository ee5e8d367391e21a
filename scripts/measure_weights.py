"""Bits a weight of weight files: python scripts/measure_weights.py --csv OUT.csv FILE[@DTYPE]...

A safetensors file of float32 with @bf16, @f16, @e4m3 (one scale a tensor) or @int8 (one a row, by
its largest element) behind its name is converted first; scales are not kept, and not counted.
Archives are real ones, header included, and are decompressed and compared. Seconds are those of
this run.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

import nncodec
from nncodec.tensors.items import model_of
from nncodec.tensors.spans import find_spans


def to_e4m3(x: Tensor) -> Tensor:
    return (x * (448 / x.abs().max().clamp(min=1e-12))).to(torch.float8_e4m3fn)


def to_int8(x: Tensor) -> Tensor:
    rows = x if x.ndim > 1 else x[None]
    step = rows.abs().amax(-1, keepdim=True).clamp(min=1e-12) / 127
    return (rows / step).round().to(torch.int8).reshape(x.shape)


CONVERSIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "bf16": lambda x: x.to(torch.bfloat16),
    "f16": lambda x: x.to(torch.float16),
    "e4m3": to_e4m3,
    "int8": to_int8,
}


def read(path: Path, dtype: str) -> bytes:
    data = path.read_bytes()
    if not dtype:
        return data
    return save({k: CONVERSIONS[dtype](v) for k, v in load(data).items() if v.is_floating_point()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="FILE[@DTYPE]")
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("-T", "--threads", type=int, default=0)
    arguments = parser.parse_args()
    rows = []
    for name in arguments.files:
        path, _, dtype = name.partition("@")
        data = read(Path(path), dtype)
        spans = [span for span in find_spans(memoryview(data)) if model_of(span.dtype)]
        weights = sum(span.elements for span in spans)
        threads = arguments.threads or None
        begun = time.perf_counter()
        archive = nncodec.compress(data, 1, threads=threads)
        done = time.perf_counter()
        assert nncodec.decompress(archive, threads=threads) == data
        row = {
            "file": f"{Path(path).name}{'@' if dtype else ''}{dtype}",
            "bytes": len(data),
            "weights": weights,
            "archive": len(archive),
            "bits_a_weight": f"{8 * len(archive) / weights:.4f}" if weights else "",
            "compress_MB_s": f"{len(data) / (done - begun) / 1e6:.2f}",
            "decompress_MB_s": f"{len(data) / (time.perf_counter() - done) / 1e6:.2f}",
        }
        print(row, flush=True)
        rows.append(row)
        with arguments.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
