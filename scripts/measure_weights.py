"""Bits a weight of weight files: python scripts/measure_weights.py --csv OUT.csv FILE[@DTYPE]...

``--level`` 1 to 3 is the fast coder, 4 and more the small one. With ``--zipnn`` the same bytes go
through ZipNN too, one thread, in the same run; without ZipNN installed its columns say "absent".

A safetensors file of float32 with @bf16, @f16, @e4m3 (one scale a tensor), @int8 (one a row, by
its largest element) or @int4 (one for 128 of a row) behind its name is converted first; scales are
not kept, and not counted.
Archives are real ones, header included, and are decompressed and compared. Seconds are those of
this run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

import nncodec
from nncodec.tables import write_rows
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import model_of
from nncodec.tensors.spans import find_spans


def to_e4m3(x: Tensor) -> Tensor:
    return (x * (448 / x.abs().max().clamp(min=1e-12))).to(torch.float8_e4m3fn)


def to_int8(x: Tensor) -> Tensor:
    rows = x if x.ndim > 1 else x[None]
    step = rows.abs().amax(-1, keepdim=True).clamp(min=1e-12) / 127
    return (rows / step).round().to(torch.int8).reshape(x.shape)


def to_int4(x: Tensor) -> Tensor:
    """Two codes a byte, the first one in the low bits; a scale for 128, where they divide a row."""
    group = 128 if x.shape[-1] % 128 == 0 else x.shape[-1]
    groups = x.reshape(-1, group)
    step = groups.abs().amax(-1, keepdim=True).clamp(min=1e-12) / 7
    codes = (groups / step).round().to(torch.int8).reshape(-1, x.shape[-1])
    codes = (codes & 15).view(torch.uint8)
    return codes[:, 0::2] | codes[:, 1::2] << 4


CONVERSIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "bf16": lambda x: x.to(torch.bfloat16),
    "f16": lambda x: x.to(torch.float16),
    "e4m3": to_e4m3,
    "int8": to_int8,
    "int4": to_int4,
}


def read(path: Path, dtype: str) -> bytes:
    data = path.read_bytes()
    if not dtype:
        return data
    return save({k: CONVERSIONS[dtype](v) for k, v in load(data).items() if v.is_floating_point()})


ZIPNN_TYPES = {Dtype.F32: "float32", Dtype.F16: "float16", Dtype.BF16: "bfloat16"}
ZIPNN_TYPES |= {Dtype.F8_E4M3: "float8_e4m3fn", Dtype.F8_E5M2: "float8_e5m2"}


def time_zipnn(data: bytes, dtypes: set[Dtype], weights: int, repeats: int) -> dict[str, str]:
    """Columns of ZipNN, one thread, for a file whose tensors share one float type."""
    names = ("zipnn_bits_a_weight", "zipnn_compress_MB_s", "zipnn_decompress_MB_s")
    try:
        from zipnn import ZipNN
    except ImportError:
        return dict.fromkeys(names, "absent")
    if len(dtypes) != 1 or not dtypes <= ZIPNN_TYPES.keys():
        return dict.fromkeys(names, "no such dtype")
    codec = ZipNN(input_format="byte", bytearray_dtype=ZIPNN_TYPES[dtypes.pop()], threads=1)
    into, out = float("inf"), float("inf")
    for _ in range(repeats):
        own = bytearray(data)  # ZipNN writes to its input
        begun = time.perf_counter()
        packed = codec.compress(own)
        done = time.perf_counter()
        unpacked = codec.decompress(packed)
        into, out = min(into, done - begun), min(out, time.perf_counter() - done)
        assert bytes(unpacked) == data
    numbers = (8 * len(packed) / weights, len(data) / into / 1e6, len(data) / out / 1e6)
    return dict(zip(names, (f"{n:.4f}" for n in numbers), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="FILE[@DTYPE]")
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("-T", "--threads", type=int, default=0)
    parser.add_argument("-l", "--level", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=1, help="of which the fastest counts")
    parser.add_argument("--zipnn", action="store_true")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.files:
        path, _, dtype = name.partition("@")
        data = read(Path(path), dtype)
        spans = [span for span in find_spans(memoryview(data)) if model_of(span.dtype)]
        weights = sum(span.elements for span in spans) * (2 if dtype == "int4" else 1)
        threads = arguments.threads or None
        into, out = float("inf"), float("inf")
        for _ in range(arguments.repeats):
            begun = time.perf_counter()
            archive = nncodec.compress(data, arguments.level, threads=threads)
            done = time.perf_counter()
            unpacked = nncodec.decompress(archive, threads=threads)
            into, out = min(into, done - begun), min(out, time.perf_counter() - done)
            assert unpacked == data
        row = {
            "file": f"{Path(path).name}{'@' if dtype else ''}{dtype}",
            "bytes": len(data),
            "weights": weights,
            "archive": len(archive),
            "bits_a_weight": f"{8 * len(archive) / weights:.4f}" if weights else "",
            "compress_MB_s": f"{len(data) / into / 1e6:.2f}",
            "decompress_MB_s": f"{len(data) / out / 1e6:.2f}",
        }
        if arguments.zipnn:
            dtypes = {span.dtype for span in spans}
            row |= time_zipnn(data, dtypes, weights, arguments.repeats)
        print(row, flush=True)
        rows.append(row)
        write_rows(arguments.csv, rows)


if __name__ == "__main__":
    main()
