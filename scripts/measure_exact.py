"""Exact mode on files: what rounding and coding cost, and how fast it is.

usage: python scripts/measure_exact.py HF_DIR EXACT_DIR --csv OUT.csv [--speed OUT.csv] FILE...

Three code lengths of each file's tokens, cut into the same contexts: the float model's ideal over
the tokens that stand for bytes, the integer engine's (-log2 of its counts), and the real payload.
--speed also takes the time of the first file, both ways, by lanes and threads.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from nncodec.blocks import Geometry
from nncodec.causal.exact.coding import ExactCoder, token_geometry
from nncodec.causal.exact.folder import load_float
from nncodec.causal.exact.native import NativeEngine
from nncodec.causal.exact.weights import ExactModel
from nncodec.causal.tokenize import load_tokenizer, tokenize
from nncodec.causal.vocabulary import TokenTable
from nncodec.numerics import WIDE_COUNT_BITS
from nncodec.tables import write_rows


class FloatEngine:
    """The float model with the interface of an exact one; its "counts" are log2 probabilities."""

    def __init__(self, model: Any, exact: ExactModel) -> None:
        self.model, self.config = model, exact.config
        self.usable = torch.from_numpy(exact.tensors["tokens.ids"].astype(np.int64))

    def start(self) -> FloatState:
        return FloatState(self)


class FloatState:
    def __init__(self, engine: FloatEngine) -> None:
        self.engine, self.cache = engine, DynamicCache()

    def fork(self, lanes: int) -> None:
        if self.cache.get_seq_length():
            self.cache.batch_repeat_interleave(lanes)

    def advance(self, tokens: np.ndarray, wanted: int | None = None) -> np.ndarray:
        ids = torch.from_numpy(tokens.astype(np.int64))
        with torch.no_grad():
            z = self.engine.model(ids, past_key_values=self.cache, use_cache=True).logits
        z = z[:, tokens.shape[1] - (tokens.shape[1] if wanted is None else wanted) :]
        rows = z[..., self.engine.usable].double().log_softmax(-1) / np.log(2)
        result: np.ndarray = rows.numpy()
        return result


def ideal(coder: ExactCoder, ids: np.ndarray, cut: Geometry, exact: bool) -> float:
    """Bytes that the engine's probabilities make of the tokens."""
    bits = 0.0

    def code(rows: np.ndarray, known: np.ndarray) -> np.ndarray:
        nonlocal bits
        chosen = np.take_along_axis(rows, known[:, None].astype(np.int64), 1)
        bits += float((WIDE_COUNT_BITS - np.log2(chosen) if exact else -chosen).sum())
        return known

    coder.code_block(code, len(ids), cut, coder.symbol_of[ids], lambda _ids: None)
    return bits / 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("float", type=Path)
    parser.add_argument("exact", type=Path)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--speed", type=Path)
    parser.add_argument("--lanes", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, table = ExactModel.load(arguments.exact), TokenTable.from_folder(arguments.float)
    floats = ExactCoder(model, FloatEngine(load_float(arguments.float, torch.float32), model))  # type: ignore[arg-type]
    coder = ExactCoder(model, NativeEngine(model))
    tokenizer = load_tokenizer(arguments.float)
    rows = []
    for path in arguments.files:
        data = path.read_bytes()
        tokens = tokenize(table, tokenizer, data)
        cut = token_geometry(len(tokens.ids), model.config)
        wanted, got = (ideal(c, tokens.ids, cut, c is coder) for c in (floats, coder))
        payload = len(coder.encode(tokens.ids, cut))
        rows.append(
            {
                "file": path.name,
                "bytes": len(data),
                "tokens": len(tokens.ids),
                "side": len(tokens.side),
                "lanes": cut.lanes,
                "float_ideal": round(wanted, 1),
                "integer_ideal": round(got, 1),
                "payload": payload,
                "quantisation_pct": round(100 * (got / wanted - 1), 3),
                "coder_pct": round(100 * (payload / got - 1), 4),
            }
        )
        print(rows[-1], flush=True)
        write_rows(arguments.csv, rows)
    if arguments.speed:
        write_rows(arguments.speed, speeds(arguments, model, table, tokenizer))


def speeds(
    arguments: argparse.Namespace, model: ExactModel, table: TokenTable, tokenizer: Any
) -> list[dict[str, object]]:
    data = arguments.files[0].read_bytes()
    ids = tokenize(table, tokenizer, data).ids
    rows: list[dict[str, object]] = []
    for lanes in arguments.lanes:
        cut = Geometry(lanes)
        for threads in arguments.threads:
            coder = ExactCoder(model, NativeEngine(model, threads))
            times = []
            began = time.perf_counter()
            payload = coder.encode(ids, cut)
            times.append(time.perf_counter() - began)
            began = time.perf_counter()
            if (coder.decode(payload, len(ids), cut) != ids).any():
                raise SystemExit("what was coded does not come back")
            times.append(time.perf_counter() - began)
            row = {"lanes": lanes, "threads": threads, "payload": len(payload)}
            for verb, seconds in zip(("encode", "decode"), times, strict=True):
                row[f"{verb}_tokens_s"] = round(len(ids) / seconds)
                row[f"{verb}_kb_s"] = round(len(data) / seconds / 1000, 1)
            rows.append(row)
            print(rows[-1], flush=True)
    return rows


if __name__ == "__main__":
    main()
