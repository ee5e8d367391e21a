"""What a Transformer over weights' symbols brings: MODEL FILE[@DTYPE]... --csv OUT.csv

MODEL is a folder that train_weight_symbols.py made; FILE@DTYPE is converted as measure_weights.py
does; bfloat16, float8 and int8 can be measured. Bits of the first symbol (a float's exponent, an
integer's upper three bits) are sums of -log2 of the probabilities that a range coder would get, by
the Python twin; bits of all are those of the C++ coder's payload, less what its symbols take, plus
what the other model's take: nothing else differs. A part is really encoded and decoded.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from train_weight_symbols import matrices

from nncodec.config import BEGIN_OF_BLOCK
from nncodec.engine.native import NativeEngine
from nncodec.engine_weights import WEIGHTS_FILE, EngineModel
from nncodec.errors import UnreadTensorError
from nncodec.tensors import transformer
from nncodec.tensors.block_fields import BYTE, LAYOUTS
from nncodec.tensors.coder import encode_tensors
from nncodec.tensors.items import Item
from nncodec.tensors.model import NewRun, TensorRun
from nncodec.tensors.symbols import ROW_MARK, cut_all, is_float, leaves, symbol_stream
from nncodec.tensors.transformer import TransformerRun

Symbols = npt.NDArray[np.int64]
POSITIONS_A_CALL = 4096


class Counting:
    """A coder that adds up what the bits would cost."""

    knows = True

    def __init__(self) -> None:
        self.bits = 0.0

    def code(self, bit: int, p16: int) -> int:
        self.bits -= math.log2((p16 if bit else 65536 - p16) / 65536)
        return bit


class Silent:
    """A stage that costs nothing, in place of those that are the same for all models."""

    def select(self, _contexts: object) -> None:
        pass

    def bound(self, _bits: int) -> None:
        pass

    def code(self, _coder: object, nibble: int, _bits: int, _set_a: int, _set_b: int) -> int:
        return nibble


@dataclass
class Part:
    name: str
    item: Item
    data: bytes


def mixed(parts: list[Part], new_run: NewRun) -> list[float]:
    """Bits of the first symbols of each part, all in one chunk."""
    coder = Counting()
    run = new_run(coder)
    run.floats.high = run.floats.low = run.floats.escapes = run.integers.low = Silent()
    run.floats.signs.stage = Silent()  # integers have the same
    run.tree_byte = lambda _tree, byte: byte  # modes and anchors
    ends = [0.0]
    for part in parts:
        run.item(part.item, part.data)
        ends.append(coder.bits)
    return [end - before - 1 for before, end in itertools.pairwise(ends)]  # less a bit: is_sparse


def first_symbols(part: Part) -> Symbols:
    """(n,) numbers from 0 to 15."""
    return cut_all(part.item, part.data)[0].ravel()


def order0(part: Part) -> float:
    """Bits by adaptive counts of the tensor alone (Krichevsky and Trofimov: each begins at 1/2)."""
    symbols = first_symbols(part)
    counts = np.bincount(symbols, minlength=16)
    total = math.lgamma(len(symbols) + 8) - math.lgamma(8)
    return (total - sum(math.lgamma(n + 0.5) - math.lgamma(0.5) for n in counts)) / math.log(2)


def network_alone(part: Part, engine: NativeEngine) -> float:
    """Bits by the network's distribution as it is."""
    stream = np.frombuffer(symbol_stream(part.item, part.data), dtype=np.uint8).astype(np.int64)
    tokens = np.concatenate(([BEGIN_OF_BLOCK], stream))
    places = np.flatnonzero(np.append(stream, 0) != ROW_MARK)  # whose next byte is a weight's
    wanted = np.zeros(len(tokens), dtype=np.int64)
    wanted[places] = first_symbols(part)
    counted = np.zeros(len(tokens), dtype=bool)
    counted[places] = True
    state, bits, floating = engine.start(), 0.0, is_float(part.item.dtype)
    for begin in range(0, len(tokens), POSITIONS_A_CALL):
        rows = slice(begin, begin + POSITIONS_A_CALL)
        of_all = leaves(state.advance(tokens[None, rows])[0], floating)
        of_it = np.take_along_axis(of_all, wanted[rows, None], 1)[:, 0]
        bits -= float(np.log2(of_it / of_all.sum(1))[counted[rows]].sum())
    return bits


def stepping_speed(engine: NativeEngine, steps: int = 20000) -> float:
    """Weights a second of one core where each waits for the one before, as a decoder does."""
    state, token = engine.start(), np.zeros((1, 1), dtype=np.int64)
    begun = time.process_time()
    for _ in range(steps):
        state.advance(token)
    return steps / (time.process_time() - begun)


def check(parts: list[Part], engine: NativeEngine, rows: int) -> tuple[int, float]:
    """Encode and decode the first rows of the first part; its weights, and its bits a weight."""
    item = parts[0].item
    item = Item(item.dtype, item.role, min(rows, item.rows), item.cols)
    data = parts[0].data[: item.size]
    payload = transformer.encode([item], data, engine)
    assert transformer.decode([item], payload, engine) == data
    weights = item.rows * item.cols
    (twin,) = mixed([Part("", item, data)], lambda coder: TransformerRun(coder, engine))
    (alone,) = mixed([Part("", item, data)], TensorRun)
    plain = len(encode_tensors([item], np.frombuffer(data, np.uint8), ""))
    expected = plain + (twin - alone) / 8
    assert abs(len(payload) - expected) <= 2 + expected / 1e5, (len(payload), expected)
    return weights, 8 * len(payload) / weights


def limited(part: Part, rows: int) -> Part:
    item = part.item
    item = Item(item.dtype, item.role, min(rows, item.rows), item.cols)
    return Part(part.name, item, part.data[: item.size])


def payload_bits(parts: list[Part]) -> int:
    """Of a chunk, coded for real."""
    if not parts:
        return 0
    chunk = np.frombuffer(b"".join(part.data for part in parts), dtype=np.uint8)
    return 8 * len(encode_tensors([part.item for part in parts], chunk, ""))


def measure(
    name: str, before: list[Part], parts: list[Part], engine: NativeEngine, checked: int
) -> dict[str, object]:
    """``before`` is coded first, and learned from, but not counted."""
    weights = [part.item.rows * part.item.cols for part in parts]
    warm = sum(part.item.rows * part.item.cols for part in before)
    of_all = warm + sum(weights)
    begun = time.process_time()
    coded = payload_bits(before + parts)
    speed = of_all / (time.process_time() - begun)
    coded -= payload_bits(before)
    begun = time.process_time()
    contexts = mixed(before + parts, TensorRun)[len(before) :]
    middle = time.process_time()
    both = mixed(before + parts, lambda coder: TransformerRun(coder, engine))[len(before) :]
    ended = time.process_time()
    models = {
        "order0": [order0(part) for part in parts],
        "contexts": contexts,
        "network": [network_alone(part, engine) for part in parts],
        "both": both,
    }
    row: dict[str, object] = {"file": name, "tensors": len(parts), "weights": sum(weights)}
    row["weights_before"] = warm
    for kind, bits in models.items():
        row[f"symbol_{kind}"] = f"{sum(bits) / sum(weights):.5f}"
    for kind, bits in models.items():  # when most has been learned
        row[f"last_tensor_{kind}"] = f"{bits[-1] / weights[-1]:.5f}"
    for kind, bits in models.items():
        row[f"all_{kind}"] = f"{(coded - sum(contexts) + sum(bits)) / sum(weights):.4f}"
    row["contexts_w_s"] = f"{speed:.0f}"
    row["network_step_w_s"] = f"{stepping_speed(engine):.0f}"
    row["twin_contexts_w_s"] = f"{of_all / (middle - begun):.0f}"
    row["twin_both_w_s"] = f"{of_all / (ended - middle):.0f}"
    row["decoded_weights"], bits_a_weight = check(parts, engine, checked)
    row["decoded_bits"] = f"{bits_a_weight:.4f}"
    return row


def of_whole(parts: list[Part], engine: NativeEngine) -> dict[str, object]:
    """What needs no twin, of all rows."""
    weights = sum(part.item.rows * part.item.cols for part in parts)
    bits = {
        "order0": sum(map(order0, parts)),
        "network": sum(network_alone(part, engine) for part in parts),
    }
    row: dict[str, object] = {f"whole_{k}": f"{v / weights:.5f}" for k, v in bits.items()}
    return {"whole_weights": weights, **row}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("files", nargs="+", metavar="FILE[@DTYPE]")
    parser.add_argument("--tensors", default="", help="regular expression; default: all matrices")
    parser.add_argument("--before", help="the same, of matrices that the mixers see first")
    parser.add_argument("--rows", type=int, default=1 << 30, help="of each matrix, at most")
    parser.add_argument("--check", type=int, default=8, help="rows that are decoded, at most")
    parser.add_argument("--csv", type=Path, required=True, help="rows are added")
    arguments = parser.parse_args()
    model = EngineModel.load(arguments.model)
    engine = NativeEngine(model, threads=1)
    for name in arguments.files:
        found = [Part(*found) for found in matrices(name, arguments.tensors)]
        parts = [limited(part, arguments.rows) for part in found]
        before = []
        if arguments.before:
            seen = [Part(*seen) for seen in matrices(name, arguments.before)]
            before = [limited(part, arguments.rows) for part in seen]
        for part in parts:
            if LAYOUTS.get(part.item.dtype, BYTE).mantissa > 8:
                parser.error(f"{name} has {part.item.dtype.name}: convert it, for example @bf16")
        if not parts:
            parser.error(f"{name} has no matrix whose name matches {arguments.tensors!r}")
        path, at, dtype = name.partition("@")
        try:
            title = f"{Path(path).name}{at}{dtype}"
            row = measure(title, before, parts, engine, arguments.check)
        except UnreadTensorError as error:
            parser.error(f"{name}: {error}")
        row |= of_whole(found, engine) | {
            "model": model.model_id.hex(),
            "model_bytes": (arguments.model / WEIGHTS_FILE).stat().st_size,
        }
        print(row, flush=True)
        fresh = not arguments.csv.exists()
        with arguments.csv.open("a", newline="") as file:
            writer = csv.DictWriter(file, row, lineterminator="\n")
            if fresh:
                writer.writeheader()
            writer.writerow(row)


if __name__ == "__main__":
    main()
