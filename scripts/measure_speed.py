"""Speed of files both ways: medians of several runs by model, instruction set and threads, as CSV.

usage: python scripts/measure_speed.py [-m MODEL] [--stand-in 5M] [--bytes N] --csv OUT.csv FILE...

A stand-in has the shape of a larger model and random weights: what a model says does not change
how long it takes. Files are coded as one block, even where random weights make it grow.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from nncodec import modelstore
from nncodec.blocks import lane_geometry
from nncodec.config import ModelConfig
from nncodec.engine.native import NativeEngine, available_isas
from nncodec.engine.roofline import median_seconds
from nncodec.engine_weights import EngineModel, expected_shapes
from nncodec.lanes import no_progress

THREADS = (1, 2)
STAND_INS = {
    "5M": ModelConfig(d_model=256, n_heads=4, d_ff=1024, windows=(64, 64, 64, 256, 64, 64, 512)),
    "25M": ModelConfig(
        d_model=512,
        n_heads=8,
        n_kv_heads=2,
        d_ff=2048,
        windows=(64, 64, 256, 64, 64, 256, 64, 64, 512),
    ),
}
WEIGHT_DEVIATION = 73  # of the integers -127..127
VALUE_DEVIATION = 32  # of codes of values: their clamp at 127 then hardly acts


def stand_in(config: ModelConfig) -> EngineModel:
    """Random weights whose scales keep the activations of every layer near one."""
    rng = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {}
    for name, (dtype, shape) in expected_shapes(config).items():
        if dtype == np.int8:
            tensors[name] = rng.integers(-127, 127, shape, dtype, endpoint=True)
            unit = 1 / (WEIGHT_DEVIATION * shape[1] ** 0.5)
            scale = np.full(shape[0], unit, np.float32)
            if name.endswith("qkv.weight"):
                scale[-config.n_kv_heads * config.head_dim :] *= VALUE_DEVIATION
            elif name.endswith("out.weight"):
                scale /= VALUE_DEVIATION
            tensors[name.replace(".weight", ".scale")] = scale
        elif name.endswith("gain"):
            tensors[name] = np.full(shape, config.head_dim**-0.5, np.float32)
    return EngineModel(config, tensors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("-m", "--model", action="append", default=[], help="default: nano")
    parser.add_argument("--stand-in", action="append", default=[], choices=STAND_INS)
    parser.add_argument("--bytes", type=int, help="only so many, from the start of each file")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--isa", action="append", help="only these; default: all of this machine")
    arguments = parser.parse_args()
    names = arguments.model or ([] if arguments.stand_in else ["nano"])
    models = {name: modelstore.find(name) for name in names}
    models |= {f"stand-in {name}": stand_in(STAND_INS[name]) for name in arguments.stand_in}
    with arguments.csv.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model", "file", "bytes", "isa", "threads", "encode_kB_s", "decode_kB_s"])
        for path in arguments.files:
            data = np.frombuffer(path.read_bytes()[: arguments.bytes], dtype=np.uint8)
            for name, model in models.items():
                for isa in arguments.isa or available_isas():
                    for threads in THREADS:
                        engine = NativeEngine(model, threads, isa)
                        speeds = measure(engine, data, arguments.runs)
                        row = [name, path.name, len(data), isa, threads, *speeds]
                        writer.writerow(row)
                        file.flush()
                        print(*row, flush=True)


def measure(engine: NativeEngine, data: np.ndarray, runs: int) -> list[float]:
    """kB/s encoding and decoding one block."""
    size, geometry = len(data), lane_geometry(len(data))
    encoding, payload = median_seconds(lambda: engine.encode(data, geometry, no_progress), runs)
    decoding, back = median_seconds(
        lambda: engine.decode(payload, size, geometry, no_progress), runs
    )
    if back != data.tobytes():
        raise SystemExit("the round trip failed")
    return [round(size / seconds / 1e3, 1) for seconds in (encoding, decoding)]


if __name__ == "__main__":
    main()
