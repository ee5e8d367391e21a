"""Ideal code length by the width of attention weights, against the float model, on held-out text.

usage: python scripts/measure_attention_bits.py MODEL_FOLDER CORPUS        (needs the train extra)
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import torch

from nncodec.config import BEGIN_OF_BLOCK
from nncodec.engine import reference
from nncodec.engine_weights import EngineModel
from nncodec.lm.data import BatchSampler, load_domains
from nncodec.lm.model import ByteTransformer
from nncodec.lm.train import byte_loss
from nncodec.numerics import COUNT_TOTAL

WINDOWS, LENGTH, STRIDE = 16, 512, 128


def engine_bits(engine: reference.ReferenceEngine, tokens: np.ndarray) -> float:
    """Mean bits a byte of (B, T) tokens with an engine's counts."""
    state = engine.start()
    state.fork(len(tokens))
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    pieces = [state.advance(inputs[:, i : i + STRIDE]) for i in range(0, LENGTH - 1, STRIDE)]
    coded = targets != BEGIN_OF_BLOCK
    symbols = np.where(coded, targets, 0)[..., None]
    chosen = np.take_along_axis(np.concatenate(pieces, 1), symbols, -1)[..., 0]
    return float(np.log2(COUNT_TOTAL / chosen)[coded].mean())


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, corpus = map(Path, sys.argv[1:])
    model, weights = ByteTransformer.from_pretrained(folder), EngineModel.load(folder)
    domains = load_domains(corpus, "valid")
    batches = [BatchSampler([d], {d.name: 1.0}, WINDOWS, LENGTH, seed=9).batch(0) for d in domains]
    with torch.no_grad():
        exact = sum(byte_loss(model, torch.from_numpy(b)).item() for b in batches) / math.log(2)
    for bits in (7, 8, 10, 12, 14):
        reference.ATTENTION_ONE = (1 << bits) - 1
        engine = reference.ReferenceEngine(weights)
        total = sum(engine_bits(engine, batch) for batch in batches)
        print(f"{bits} bits: {100 * (total / exact - 1):+.3f} %", flush=True)


if __name__ == "__main__":
    main()
