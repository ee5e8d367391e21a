"""Pruned weights in archives: python scripts/measure_pruned.py FILE --only PATTERN --csv OUT.csv

Matrices of FILE (safetensors, floats) whose names match the pattern, as bfloat16, with the smallest
half, 80 and 90 % of each set to zero by torch.nn.utils.prune: real archives, header included, and
the order-0 entropy of the bit patterns of each tensor, whose table is not counted. ``+0``: zeros as
nncodec leaves them; ``-0``: as torch does, whose product of weight and mask keeps the sign, a bit
for every zero. Archives are decompressed and compared. Needs torch.

docs/weights-pruned.csv is of all-MiniLM-L6-v2, --only 'encoder[.]layer[.]2[.]'.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np

import nncodec
from nncodec.lossy import Checkpoint, Tensor, store
from nncodec.lossy.prune import PruneConfig, prunable, prune
from nncodec.tables import write_rows

AMOUNTS = (0.0, 0.5, 0.8, 0.9)


def order0(tensors: list[Tensor]) -> float:
    """Bits a weight: the entropy of the bit patterns of each tensor."""
    bits = count = 0.0
    for tensor in tensors:
        _, seen = np.unique(tensor.data, return_counts=True)
        bits -= float((seen * np.log2(seen / seen.sum())).sum())
        count += tensor.data.size
    return bits / count


def with_signs(pruned: Tensor, original: Tensor) -> Tensor:
    """Zeros (of bfloat16) with the sign that the weight had."""
    zero = (pruned.data & 0x7FFF) == 0
    return Tensor("BF16", np.where(zero, original.data & 0x8000, pruned.data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--level", type=int, default=9)
    parser.add_argument("--csv", type=Path, required=True)
    args = parser.parse_args()
    whole = store.read(args.file)
    matrices = {
        name: store.from_floats(whole.tensors[name].floats(), "BF16")
        for name in prunable(whole)
        if re.search(args.only, name)
    }
    original = Checkpoint(matrices, {})
    weights = sum(tensor.data.size for tensor in matrices.values())
    rows = []
    for amount in AMOUNTS:
        pruned = prune(original, PruneConfig("l1", amount)).tensors if amount else matrices
        signed = {name: with_signs(pruned[name], matrices[name]) for name in matrices}
        for zero, tensors in (("+0", pruned), ("-0", signed))[: 2 if amount else 1]:
            data = store.serialize(tensors, {})
            archive = nncodec.compress(data, args.level)
            assert nncodec.decompress(archive) == data
            rows.append(
                {
                    "pruned": amount,
                    "zeros": zero,
                    "weights": weights,
                    "archive": len(archive),
                    "bits_a_weight": f"{8 * len(archive) / weights:.4f}",
                    "order0": f"{order0(list(tensors.values())):.4f}",
                }
            )
            print(rows[-1], flush=True)
    write_rows(args.csv, rows)


if __name__ == "__main__":
    main()
