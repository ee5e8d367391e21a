"""The models that golden archives name, over tokens and bytes: tiny, random, the same everywhere.

They lie in tests/golden/models and are minted once, as the archives are; only Python's integer
random methods and products with powers of two are used.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from nncodec._core import xxh64
from nncodec.blocks import Geometry
from nncodec.causal.environment import Environment
from nncodec.causal.exact.config import ExactConfig
from nncodec.causal.exact.weights import ExactModel, expected_shapes, token_tensors
from nncodec.causal.folder import CausalFolder
from nncodec.causal.tokenize import Tokens
from nncodec.causal.vocabulary import TokenTable
from nncodec.config import ModelConfig
from nncodec.container import Block, Frame, Kind, varint
from nncodec.engine_weights import EngineModel
from nncodec.engine_weights import expected_shapes as byte_shapes

MODELS = Path(__file__).resolve().parent / "golden" / "models"
PROSE = MODELS.parent.parent.parent / "corpora" / "samples" / "prose.txt"
FLOAT_MODEL = "float"
WORDS, SPECIALS = 160, 4
# Over bytes: what no model that is shipped has. Groups of heads, windows of one and of odd sizes, a
# period that is no power of two, sums above 2^24, n-grams of orders that do not rise.
GROUPED = "grouped"
GROUPED_CONFIG = ModelConfig(
    d_model=12, n_heads=6, n_kv_heads=2, head_dim=10, d_ff=1300, windows=(1, 3, 33),
    rope_period=100, rope_multipliers=(16, 9, 5, 2, 1),
    ngram_orders=(8, 1, 7, 2), ngram_bits=4, ngram_width=5,
)  # fmt: skip
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {
        "d_model": 24, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "head_dim": 8, "d_ff": 40,
        "context": 48, "overlap": 12, "rope_period": 1 << 10, "rope_multipliers": (163, 52, 9, 0),
    },
    "biased": {
        "d_model": 19, "n_layers": 1, "n_heads": 6, "n_kv_heads": 2, "head_dim": 10, "d_ff": 31,
        "context": 33, "overlap": 7, "rope_period": 100, "rope_multipliers": (16, 9, 5, 2, 1),
        "qkv_bias": 1, "qk_norm": 1,
    },
}  # fmt: skip


def vocabulary() -> list[bytes | None]:
    """Begin and other tokens that stand for nothing, a byte each of ASCII, frequent words."""
    words = Counter(f" {word}" for word in PROSE.read_text("utf-8").split(" ") if len(word) > 1)
    frequent = sorted(words, key=lambda word: (-words[word], word))[:WORDS]
    letters = [bytes([c]) for c in (10, *range(32, 127))]
    return [None] * SPECIALS + letters + [word.encode() for word in frequent]


def new_exact_model(name: str) -> ExactModel:
    tokens, rng = vocabulary(), random.Random(f"exact {name}")
    usable = sum(token is not None for token in tokens)
    config = ExactConfig(vocab_size=len(tokens), n_symbols=usable, begin=1, **SHAPES[name])
    tensors = token_tensors(tokens)
    for tensor, (dtype, shape) in expected_shapes(config).items():
        count = int(np.prod(shape))
        if dtype is np.int8:
            values = [rng.randrange(-127, 128) for _ in range(count)]
        elif dtype is np.float32:
            values = [rng.randrange(2048, 8192) * 2.0**-12 for _ in range(count)]  # around 1
            if tensor.endswith(".scale"):
                values = [value * 2.0**-8 for value in values]
            if tensor.endswith("qkv.scale"):
                kept = config.n_kv_heads * config.head_dim
                values[-kept:] = [value * 2.0**6 for value in values[-kept:]]  # codes of values
            if tensor.endswith("bias"):
                values = [rng.randrange(-1023, 1024) * 2.0**-8 for _ in range(count)]
            if tensor == "eps":
                values = [value * 2.0**-13 for value in values]
        else:
            continue
        tensors[tensor] = np.array(values, dtype).reshape(shape)
    return ExactModel(config, tensors)


def new_grouped_model() -> EngineModel:
    """Random, but for rows of the largest weights, whose sums are above 2^24 and odd."""
    rng, tensors = random.Random("grouped"), {}
    for name, (dtype, shape) in byte_shapes(GROUPED_CONFIG).items():
        count = int(np.prod(shape))
        if dtype is np.int8:
            values = [rng.randrange(-127, 128) for _ in range(count)]
            if name == "blocks.0.up.weight":  # channels are alike: all of them large, or all zero
                values = [v if i // 12 % 25 == 24 else values[i % 12] for i, v in enumerate(values)]
            if name.endswith("down.weight"):
                values = [v if i // 1300 % 3 else 127 - (i % 7 == 0) for i, v in enumerate(values)]
        else:
            values = [rng.randrange(2048, 8192) * 2.0**-12 for _ in range(count)]  # around 1
            if name.endswith("scale"):
                values = [value * 2.0**-8 for value in values]
            if name.endswith("down.scale"):
                values = [value * 2.0**-10 for value in values]
            if name.endswith("qkv.scale"):
                values = [value * 2.0**2 for value in values]
            if name == "blocks.0.up.scale":
                values = [v / 4 if i % 25 == 24 else values[0] for i, v in enumerate(values)]
            if name.endswith("gain"):
                values[-1] = -values[-1]
        tensors[name] = np.array(values, dtype).reshape(shape)
    return EngineModel(GROUPED_CONFIG, tensors)


def exact_model(name: str) -> ExactModel:
    """The one that was minted."""
    return ExactModel.load(MODELS / name)


def greedy_tokens(table: TokenTable, data: bytes) -> Tokens:
    """The longest tokens from the left; bytes that no token has go into the side stream."""
    number = {token: i for i, token in enumerate(table.bytes_of) if token}
    longest = max(map(len, number))
    ids: list[int] = []
    escapes: list[tuple[int, bytearray]] = []  # tokens before, bytes
    at = 0
    while at < len(data):
        ends = range(min(len(data), at + longest), at, -1)
        end = next((end for end in ends if data[at:end] in number), None)
        if end is not None:
            ids.append(number[data[at:end]])
            at = end
            continue
        if not escapes or escapes[-1][0] < len(ids):
            escapes.append((len(ids), bytearray()))
        escapes[-1][1].append(data[at])
        at += 1
    side, last = bytearray(varint(len(escapes)) if escapes else b""), 0
    for before, escaped in escapes:
        side += varint(before - last) + varint(len(escaped))
        last = before
    return Tokens(np.array(ids, np.int32), bytes(side + b"".join(e for _, e in escapes)))


def mint_float_model(folder: Path) -> None:
    """A folder as of Hugging Face's, with an id; nothing could run it."""
    words = {"<s>": 0, "a": 1, "b": 2}
    tokenizer = {
        "model": {"type": "BPE", "vocab": words, "merges": []},
        "added_tokens": [{"id": 0, "content": "<s>", "special": True}],
    }
    config = {"model_type": "llama", "vocab_size": 3, "bos_token_id": 0}
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer) + "\n")
    (folder / "config.json").write_text(json.dumps(config) + "\n")
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    header += b" " * (-len(header) % 8)
    data = len(header).to_bytes(8, "little") + header + b"\0\0\x80?"
    (folder / "model.safetensors").write_bytes(data)


def float_archive(data: bytes) -> bytes:
    """A block of tokens as a float model's, whose words say nothing: the header is what counts."""
    environment = Environment(
        *("0.0.golden", "0.0.golden", "cpu", "no processor", "NONE", "float32", 1, 64)
    )
    payload = varint(5) + varint(0) + bytes(8)
    row = Block(
        Kind.TOKENS, len(data), len(payload), xxh64(np.frombuffer(data, np.uint8)), Geometry()
    )
    model_id = CausalFolder(MODELS / FLOAT_MODEL).model_id
    frame = Frame(len(data), len(data), (row,), model_id, environment=environment.pack())
    return frame.pack() + payload


def mint_models() -> None:
    """Those that are missing."""
    for name in SHAPES:
        if not (MODELS / name).exists():
            new_exact_model(name).save(MODELS / name)
    if not (MODELS / GROUPED).exists():
        new_grouped_model().save(MODELS / GROUPED)
        GROUPED_CONFIG.save(MODELS / GROUPED)
    if not (MODELS / FLOAT_MODEL).exists():
        mint_float_model(MODELS / FLOAT_MODEL)


def check_models() -> None:
    """That the minted ones are what would be minted now. Raises AssertionError."""
    for name in SHAPES:
        assert new_exact_model(name).model_id == exact_model(name).model_id, name
    assert new_grouped_model().model_id == EngineModel.load(MODELS / GROUPED).model_id
