"""Speed of a causal language model as the predictor, in lanes and as a plain loop in one.

    python scripts/measure_causal.py MODEL_FOLDER FILE --bytes 20000 --csv docs/causal_speed.csv

The plain loop is what other compressors of this kind do: one sequence, keys and values kept,
a softmax a token, nothing else; no coder, no verification. So it flatters them a little. Encoding
and decoding take the same path. Threads: --threads, as PyTorch counts them.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np

from nncodec.causal import coding
from nncodec.causal.coding import TokenGeometry
from nncodec.causal.folder import CausalFolder
from nncodec.causal.predictor import CausalModel, Settings
from nncodec.causal.tokenize import load_tokenizer, tokenize


def plain_loop(model: CausalModel, ids: list[int]) -> float:
    """Seconds for stepping through tokens alone."""
    with model.running():
        carried, begin = None, time.perf_counter()
        for at, token in enumerate([model.begin, *ids[:-1]]):
            if model.context and at % model.context == 0:
                carried = None
            logits, carried = model.forward(model.torch.tensor([[token]]), carried)
            logits.softmax(-1)
        return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--bytes", type=int, default=20000)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    settings = Settings(threads=arguments.threads)
    model = CausalModel(CausalFolder(arguments.model.resolve()), settings)
    data = arguments.file.read_bytes()[: arguments.bytes]
    tokens = tokenize(model.table, load_tokenizer(model.folder.path), data)
    rows = []

    def add(way: str, lanes: int, seconds: float, size: int | None) -> None:
        rate = len(tokens.ids) / seconds
        row = {
            "model": arguments.model.name,
            "file": arguments.file.name,
            "bytes": len(data),
            "tokens": len(tokens.ids),
            "way": way,
            "lanes": lanes,
            "threads": model.threads,
            "tokens_per_s": round(rate),
            "kb_per_s": round(len(data) / seconds / 1000, 2),
            "coded_bytes": size,
        }
        rows.append(row)
        print(row, flush=True)

    plain_loop(model, tokens.ids[:200].tolist())  # warm
    add("plain loop", 1, plain_loop(model, tokens.ids.tolist()), None)
    for lanes in arguments.lanes:
        cut = TokenGeometry(len(tokens.ids), lanes, 64 if lanes > 1 else 0)
        with model.running():
            begin = time.perf_counter()
            words = coding.encode(tokens.ids, cut, model, lambda _ids: None)
            middle = time.perf_counter()
            again = coding.decode(words, cut, model, lambda _ids: None)
            end = time.perf_counter()
        assert np.array_equal(again, tokens.ids)
        add("encode", lanes, middle - begin, len(words))
        add("decode", lanes, end - middle, len(words))
    if arguments.csv:
        with arguments.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
