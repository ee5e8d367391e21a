"""Bits a weight of deltas: python scripts/measure_deltas.py FOLDER --csv OUT.csv

FOLDER holds base_DTYPE.safetensors and variants NAME_DTYPE.safetensors, as make_finetunes.py writes
them; for bf16, the base pruned by magnitude and at random is measured too. Archives are real ones,
header included, and are decompressed and compared. Beside them: the archive without a base, and XOR
with the base, bytes of one place together, by zstd -19. Seconds are of processor time,
of all threads together.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import zstandard
from safetensors.torch import load, save

import nncodec
from nncodec.tables import write_rows
from nncodec.tensors.items import FIELDS
from nncodec.tensors.spans import find_spans


def tensor_bytes(data: bytes) -> np.ndarray:
    """(elements, bytes of one) of all tensors, which have one dtype."""
    spans = [span for span in find_spans(memoryview(data)) if span.dtype in FIELDS]
    width = spans[0].dtype.block_bytes
    whole = b"".join(data[span.begin : span.end] for span in spans)
    return np.frombuffer(whole, np.uint8).reshape(-1, width)


def xor_size(data: bytes, base: bytes) -> int:
    change = tensor_bytes(data) ^ tensor_bytes(base)
    return len(zstandard.ZstdCompressor(level=19).compress(np.ascontiguousarray(change.T)))


def pruned(base: bytes) -> Iterator[tuple[str, bytes]]:
    """Half, 80 and 90 % of every matrix's smallest weights zero, and half at random."""
    tensors = load(base)
    torch.manual_seed(0)
    for share in (0.5, 0.8, 0.9, None):
        result = dict(tensors)
        for name, x in tensors.items():
            if x.ndim > 1:
                size = x.float().abs() if share else torch.rand(x.shape)
                least = size.flatten().kthvalue(int((share or 0.5) * x.numel())).values
                result[name] = torch.where(size <= least, x * 0, x)
        yield f"pruned {share:.0%}" if share else "half zero at random", save(result)


def variants(folder: Path, dtype: str, base: bytes) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.glob(f"*_{dtype}.safetensors")):
        name = path.name.removesuffix(f"_{dtype}.safetensors")
        if name != "base":
            yield name, path.read_bytes()
    if dtype == "bf16":
        yield from pruned(base)


def measure(name: str, dtype: str, data: bytes, base: bytes) -> dict[str, object]:
    new = tensor_bytes(data)
    weights = len(new)
    begun = time.process_time()
    archive = nncodec.compress(data, 4, base=base)
    done = time.process_time()
    assert nncodec.decompress(archive, base=base) == data
    seconds = done - begun, time.process_time() - done
    changed = (new != tensor_bytes(base)).any(axis=1).mean()
    return {
        "variant": name,
        "dtype": dtype,
        "weights": weights,
        "changed_pct": f"{100 * changed:.1f}",
        "archive": len(archive),
        "bits_a_weight": f"{8 * len(archive) / weights:.3f}",
        "without_base": f"{8 * len(nncodec.compress(data, 4)) / weights:.3f}",
        "xor_shuffle_zstd19": f"{8 * xor_size(data, base) / weights:.3f}",
        "compress_MB_s": f"{len(data) / seconds[0] / 1e6:.2f}",
        "decompress_MB_s": f"{len(data) / seconds[1] / 1e6:.2f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--csv", type=Path, required=True)
    arguments = parser.parse_args()
    rows = []
    for base_path in sorted(arguments.folder.glob("base_*.safetensors")):
        dtype = base_path.name.removeprefix("base_").removesuffix(".safetensors")
        base = base_path.read_bytes()
        for name, data in variants(arguments.folder, dtype, base):
            rows.append(measure(name, dtype, data, base))
            print(rows[-1], flush=True)
    write_rows(arguments.csv, rows)


if __name__ == "__main__":
    main()
