"""What exactness costs: float model, integer model and coder on the same files, in bytes.

usage: python scripts/measure_overheads.py MODEL_FOLDER --csv OUT.csv [--lanes N] FILE...

Three code lengths of each file under the same block geometry: the float checkpoint's ideal, the
integer engine's ideal (-log2 of its counts), and the real payload of the range coder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from nncodec import blocks
from nncodec import lanes as lane_coding
from nncodec.engine.native import NativeEngine
from nncodec.engine_weights import EngineModel
from nncodec.lm.code_length import float_bits
from nncodec.lm.model import ByteTransformer
from nncodec.numerics import COUNT_TOTAL
from nncodec.tables import write_rows


class MeteredEncoder(lane_coding.RangeEncoder):
    """A range encoder that also sums -log2 of the probabilities it is given."""

    ideal_bits = 0.0

    def encode(self, counts: np.ndarray, symbols: np.ndarray) -> None:
        chosen = np.take_along_axis(counts, symbols[:, None].astype(np.int64), 1)
        MeteredEncoder.ideal_bits += float(np.log2(COUNT_TOTAL / chosen).sum())
        super().encode(counts, symbols)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--lanes", type=int, help="instead of the default for each length")
    parser.add_argument("--prefix", type=int, help="likewise")
    arguments = parser.parse_args()
    engine = NativeEngine(EngineModel.load(arguments.model))
    model = ByteTransformer.from_pretrained(arguments.model).eval()
    lane_coding.RangeEncoder = MeteredEncoder  # type: ignore[misc]
    rows = []
    for path in arguments.files:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        usual = blocks.lane_geometry(len(data))
        lanes = arguments.lanes or usual.lanes
        prefix = usual.prefix if arguments.prefix is None else arguments.prefix
        MeteredEncoder.ideal_bits = 0.0
        start = engine.start()
        payload = lane_coding.encode_lanes(data, lanes, prefix, start, lane_coding.no_progress)
        ideal = MeteredEncoder.ideal_bits / 8
        wanted = float_bits(model, data, blocks.Geometry(lanes, prefix)) / 8
        rows.append(
            {
                "file": path.name,
                "bytes": len(data),
                "lanes": lanes,
                "prefix": prefix,
                "float_ideal": round(wanted, 1),
                "integer_ideal": round(ideal, 1),
                "payload": len(payload),
                "quantisation_pct": round(100 * (ideal / wanted - 1), 4),
                "coder_pct": round(100 * (len(payload) / ideal - 1), 4),
            }
        )
        print(rows[-1], flush=True)
        write_rows(arguments.csv, rows)


if __name__ == "__main__":
    main()
