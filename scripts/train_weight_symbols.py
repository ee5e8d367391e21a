"""Train a Transformer on the symbols of weights: FILE[@DTYPE]... -o RUN --megabytes N

Of each matrix whose name matches --tensors the last rows are held out for the log, the rest is
trained on, by `nncodec train`'s loop. RUN is then a model folder for measure_weight_transformer.py;
RUN/corpus holds the symbols. FILE@DTYPE converts as measure_weights.py does.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from measure_weights import read

from nncodec.errors import UnreadTensorError
from nncodec.lm.plan import TrainConfig
from nncodec.lm.run import train_and_export
from nncodec.tensors.chunks import role_of
from nncodec.tensors.items import MODELLED, Item
from nncodec.tensors.spans import find_spans
from nncodec.tensors.symbols import ROW_MARK, symbol_stream

HELD_OUT = 16  # the last of so many parts of a matrix' rows
SHAPE = {  # larger ones learn less from a few million weights: what there is to learn is little
    "d_model": 32,
    "n_heads": 2,
    "n_kv_heads": 1,
    "head_dim": 16,
    "d_ff": 128,
    "windows": [64, 256],
}


def matrices(name: str, pattern: str) -> Iterator[tuple[str, Item, bytes]]:
    """Name, item and bytes of the tensors of FILE[@DTYPE] that have rows and columns."""
    path, _, dtype = name.partition("@")
    data = read(Path(path), dtype)
    for span in find_spans(memoryview(data)):
        if (
            span.dtype in MODELLED
            and min(span.rows, span.cols) > 1
            and re.search(pattern, span.name)
        ):
            item = Item(span.dtype, role_of(span.name), span.rows, span.cols)
            yield span.name, item, data[span.begin : span.end]


def write_documents(documents: list[bytes], target: Path) -> None:
    """In the training format: each is closed by one byte, which becomes the mark of a block."""
    target.with_name(f"{target.name}.bin").write_bytes(b"".join(d + b"\0" for d in documents))
    ends = np.cumsum([0, *(len(d) + 1 for d in documents)])
    ends.astype("<u8").tofile(target.with_name(f"{target.name}.idx"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", metavar="FILE[@DTYPE]")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--megabytes", type=float, required=True, help="weights seen, in 10^6")
    parser.add_argument("--tensors", default="", help="regular expression; default: all matrices")
    parser.add_argument("--windows", type=int, default=8, help="of 512 weights, a step")
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    corpus, shape = arguments.output / "corpus", arguments.output / "shape"
    if not corpus.exists():
        train, valid = [], []
        for file in arguments.files:
            for name, item, data in matrices(file, arguments.tensors):
                try:
                    stream = symbol_stream(item, data)
                except UnreadTensorError as error:
                    print(f"{name} is skipped: {error}", flush=True)
                    continue
                cut = max(1, item.rows - item.rows // HELD_OUT) * (item.cols + 1)
                assert stream[cut - 1 : cut] != bytes([ROW_MARK])
                train.append(stream[:cut])
                valid.append(stream[cut:])
                print(f"{name}: {item.rows} x {item.cols}", flush=True)
        if not train:
            parser.error(f"no matrix has a name that matches {arguments.tensors!r}")
        corpus.mkdir(parents=True)
        write_documents(train, corpus / "weights")
        write_documents([d for d in valid if d], corpus / "weights.valid")
        shape.mkdir(exist_ok=True)
        (shape / "config.json").write_text(json.dumps(SHAPE))
    plan = TrainConfig(
        bytes=int(arguments.megabytes * 1e6),
        batch=arguments.windows,
        crlf=0.0,
        mix={"weights": 1.0},
        compile=not arguments.no_compile,
    )
    train_and_export(corpus, arguments.output / "model", plan, shape, None, "cpu")


if __name__ == "__main__":
    main()
