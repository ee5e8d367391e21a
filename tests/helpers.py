"""What several test files share: the tiny model, sample data, archives made by hand, processes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from nncodec._core import xxh64
from nncodec.config import BEGIN_OF_BLOCK, ModelConfig
from nncodec.container import MAGIC, VERSION, Block, Frame, Kind, header_checksum, varint
from nncodec.lanes import Engine
from nncodec.lm.model import ByteTransformer, rms_norm
from nncodec.numerics import COUNT_TOTAL

TEXT = b"""\
It is a truth that every programmer learns late: a codec is a promise. What goes in on one
machine must come out on another, years later, byte for byte, or the archive was only a rumour.
So the arithmetic is made of integers, the tables are spelled out, and each rounding is named.
The model may be small, and the text may be dull; the promise is the same for both of them.
"""
JSON = b"\n".join(
    json.dumps({"id": i, "name": f"item {i}", "price": i * 3 % 17, "tags": ["a", "b"][: i % 3]})
    .encode()
    for i in range(12)
)  # fmt: skip
BINARY = b"\x7fELF\x02\x01\x01" + bytes(9) + bytes(
    b for i in range(60) for b in (0x48, 0x8B, i, 0, 0, 0, 0xE8, i * 7 % 256, 0xFF)
)  # fmt: skip
SAMPLES = {
    "text": TEXT,
    "json": JSON,
    "binary": BINARY,
    "every byte": bytes(range(256)),
    "every byte backwards": bytes(range(255, -1, -1)),
    "one byte": b"x",
    "two bytes": b"\x00\xff",
}

Tokens = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int32]

TINY = ModelConfig(d_model=32, n_heads=2, n_kv_heads=1, head_dim=16, d_ff=64, windows=(4, 16))
RECEPTIVE_FIELD = sum(w - 1 for w in TINY.windows)  # how far back a position can see


def tiny_float_model(seed: int, config: ModelConfig = TINY) -> ByteTransformer:
    """Random weights everywhere: the matrices that training starts at zero too."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ByteTransformer(config)
        for name, p in model.named_parameters():
            if name.endswith(("out.weight", "down.weight", "head.weight")):
                torch.nn.init.normal_(p, std=p.shape[1] ** -0.5)
            if name.endswith("table.weight"):
                torch.nn.init.normal_(p)
            if name.endswith("gain"):
                torch.nn.init.uniform_(p, 0.5, 3.0)
    return model.eval()


def fit_tiny_model(model: ByteTransformer, steps: int = 150) -> ByteTransformer:
    """Fit only the head to the samples, so that they come out as coded blocks, not stored ones."""
    known = TEXT + JSON
    tokens = torch.tensor([[BEGIN_OF_BLOCK, *known]])
    caught: list[torch.Tensor] = []
    hook = model.head.register_forward_pre_hook(lambda _module, args: caught.append(args[0]))
    with torch.no_grad():
        model(tokens[:, :-1])
    hook.remove()
    features = rms_norm(caught[0])[0].detach()
    adam = torch.optim.Adam([model.head.weight], lr=0.05)
    for _ in range(steps):
        loss = F.cross_entropy(features @ model.head.weight.T, tokens[0, 1:])
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
    return model


def with_begin(tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """(B, T) -> (B, T): shifted right behind the mark, as the codec feeds them."""
    marks = np.full((len(tokens), 1), BEGIN_OF_BLOCK)
    return np.concatenate((marks, tokens[:, :-1]), 1).astype(np.int64)


def run_engine(engine: Engine, tokens: Tokens, chunks: Sequence[int] = ()) -> Counts:
    """(B, T) tokens -> (B, T, 256) counts; ``chunks`` are lengths, the rest comes in one call."""
    state = engine.start()
    if len(tokens) > 1:
        state.fork(len(tokens))
    ends = np.minimum(np.cumsum(chunks, dtype=np.int64), tokens.shape[1])
    return np.concatenate([state.advance(part) for part in np.split(tokens, ends, 1)], 1)


def random_tokens(seed: int, lanes: int, length: int) -> Tokens:
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 257, (lanes, length))
    tokens[rng.random((lanes, length)) < 0.05] = BEGIN_OF_BLOCK
    return tokens


def counts_from_weights(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """(n, 256) positive weights -> (n, 256) counts: positive, sum 2^24."""
    share = weights / weights.sum(1, keepdims=True)
    counts = 1 + np.floor(share * (COUNT_TOTAL - 256)).astype(np.int64)
    counts[np.arange(len(counts)), share.argmax(1)] += COUNT_TOTAL - counts.sum(1)
    return counts.astype(np.int32)


BAD_TOKENS = {
    "one dimension": np.zeros(3, np.int64),
    "three dimensions": np.zeros((1, 1, 1), np.int64),
    "two lanes": np.zeros((2, 1), np.int64),
    "no lane": np.zeros((0, 1), np.int64),
    "below": np.array([[0, -1]]),
    "above": np.array([[0, 257]]),
    "above only before it is cut to 32 bits": np.array([[2**32]]),
}


class HashEngine(Engine):
    """A model in five lines: counts depend on every token so far, so no step may be lost or moved.

    It expects the byte that a hash of the past names, or the next one.
    """

    model_id = bytes(range(16))

    def start(self) -> HashState:
        return HashState()


class HashState:
    def __init__(self) -> None:
        self.past = np.zeros(1, dtype=np.uint64)

    def fork(self, lanes: int) -> None:
        assert len(self.past) == 1
        self.past = np.repeat(self.past, lanes)

    def advance(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        assert tokens.shape[0] == len(self.past)
        counts = np.ones((*tokens.shape, 256), dtype=np.int32)
        lanes = np.arange(len(self.past))
        for t in range(tokens.shape[1]):
            self.past = (self.past * 6364136223846793005 + tokens[:, t].astype(np.uint64)) + 1
            guess = (self.past >> np.uint64(40)).astype(np.int64) % 255
            counts[lanes, t, guess] = COUNT_TOTAL // 2 - 255
            counts[lanes, t, guess + 1] = COUNT_TOTAL // 2 + 1
        return counts

    def next_bytes(self, size: int, first: int = BEGIN_OF_BLOCK) -> bytes:
        """What this state would compress best."""
        out, token = bytearray(), first
        for _ in range(size):
            token = int(self.advance(np.array([[token]]))[0, 0].argmax())
            out.append(token)
        return bytes(out)


def stored_archive(data: bytes) -> bytes:
    row = Block(Kind.STORED, len(data), len(data), xxh64(data))
    return Frame(len(data), len(data), (row,)).pack() + data


def constant_archive(data: bytes) -> bytes:
    row = Block(Kind.CONSTANT, len(data), 1, xxh64(data))
    return Frame(len(data), len(data), (row,)).pack() + data[:1]


def coded_row(payload: int, lanes: int = 1, prefix: int = 0) -> bytes:
    """A row of the block table for a coded block, unchecked."""
    return bytes((Kind.CODED,)) + varint(payload) + bytes(8) + varint(lanes) + varint(prefix)


def mixed_row(payload: int, lanes: int = 1, prefix: int = 0, table_bits: int = 10) -> bytes:
    row = coded_row(payload, lanes, prefix) + varint(table_bits)
    return bytes((Kind.MIXED,)) + row[1:]


def contexts_row(payload: int, table_bits: int = 10) -> bytes:
    return bytes((Kind.CONTEXTS,)) + varint(payload) + bytes(8) + varint(table_bits)


def forge(body: bytes, flags: int = 0, version: int = VERSION, magic: bytes = MAGIC) -> bytes:
    """A header with any ``body`` and the right checksum, so that only the body is at fault."""
    header = magic + bytes((version, flags)) + body
    return header + header_checksum(header)


def write_domain(folder: Path, name: str, documents: Sequence[bytes]) -> None:
    """Documents, each closed by a separator, and where they start and the last one ends."""
    ends = np.cumsum([0] + [len(d) + 1 for d in documents])
    (folder / f"{name}.bin").write_bytes(b"".join(d + b"\0" for d in documents))
    (folder / f"{name}.idx").write_bytes(ends.astype("<u8").tobytes())


def write_corpus(folder: Path) -> Path:
    """Two domains to train on, one of them held out too."""
    folder.mkdir()
    lines = TEXT.splitlines()
    write_domain(folder, "en_books", lines * 5)
    write_domain(folder, "code", [JSON, JSON[:100], b""])
    write_domain(folder, "en_books.valid", lines)
    return folder


def run_python(code: str, *args: str, **kwargs: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-W", "error::DeprecationWarning:nncodec", "-c", code, *args]
    return subprocess.run(command, capture_output=True, check=False, timeout=300, **kwargs)


CLI = "from nncodec.cli import main; main()"


def python_fails(result: subprocess.CompletedProcess[bytes]) -> str:
    """stderr of a process that was meant to succeed, for the assertion's message."""
    return f"rc {result.returncode}\n{result.stderr.decode(errors='replace')}"


def raised_by(action: Callable[[], object]) -> tuple[type[BaseException], str] | None:
    """Type and message of what ``action`` raises; None if it returns."""
    try:
        action()
    except Exception as error:  # the point is to see which
        return type(error), str(error)
    return None
