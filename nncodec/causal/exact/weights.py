"""A Llama-family model as the engines run it: int8 matrices, float32 scales, its tokens, its hash.

Stored as ``engine.safetensors`` with ``config.json`` beside it; these two decide every bit of an
archive. The tokens' bytes are among the tensors, so decoding needs no tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import save

from nncodec.causal.exact.config import ExactConfig
from nncodec.engine_weights import (
    MIN_SCALE,
    WEIGHTS_FILE,
    Shapes,
    Tensors,
    check_tensors,
    digest,
    load_tensors,
)
from nncodec.errors import InvalidModelError
from nncodec.files import write_atomically
from nncodec.numerics import NUMERIC_VERSION

MAX_BIAS = 2.0**20  # also of inner activations, which are clamped there
MAX_TOKEN_BYTES = 1 << 12
SIGNED = (".bias",)  # may be zero and beyond the bounds of scales


def expected_shapes(config: ExactConfig) -> Shapes:
    """dtype and shape of every tensor of a model, by name. Matrices are (out, in)."""
    D, F, C = config.d_model, config.d_ff, config.head_dim
    heads, kv = config.n_heads * C, config.n_kv_heads * C
    matrices = {"embed": (config.vocab_size, D), "head": (config.n_symbols, D)}
    floats = {"head.balance": D, "eps": 2}
    for i in range(config.n_layers):
        block = f"blocks.{i}"
        matrices |= {
            f"{block}.qkv": (heads + 2 * kv, D),
            f"{block}.out": (D, heads),
            f"{block}.up": (2 * F, D),  # the gate's rows, then the others
            f"{block}.down": (D, F),
        }
        floats |= {f"{block}.qkv.balance": D, f"{block}.up.balance": D}
        floats[f"{block}.gain"] = config.n_heads
        if config.qkv_bias:
            floats[f"{block}.qkv.bias"] = heads + 2 * kv
        if config.qk_norm:
            floats |= {f"{block}.q_norm": C, f"{block}.k_norm": C}
    shapes: Shapes = {
        "tokens.ids": (np.int32, (config.n_symbols,)),
        "tokens.lengths": (np.int32, (config.n_symbols,)),
    }
    for name, shape in matrices.items():
        shapes[f"{name}.weight"] = (np.int8, shape)
        shapes[f"{name}.scale"] = (np.float32, shape[:1])
    return shapes | {name: (np.float32, (n,)) for name, n in floats.items()}


def token_shapes(lengths: npt.NDArray[np.generic]) -> Shapes:
    """Of the tokens' bytes, given their (n,) lengths. Raises InvalidModelError for bad ones."""
    fits = lengths.dtype == np.int32 and np.isin(lengths, range(1, MAX_TOKEN_BYTES + 1)).all()
    if not fits:
        raise InvalidModelError(f"tokens.lengths must be integers in 1..{MAX_TOKEN_BYTES}")
    return {"tokens.bytes": (np.uint8, (int(lengths.astype(np.int64).sum()),))}


@dataclass(frozen=True)
class ExactModel:
    """Integer weights that fit their config. Build with ``load`` or by ``convert``; immutable."""

    config: ExactConfig
    tensors: Tensors

    def __post_init__(self) -> None:
        lengths = self.tensors.get("tokens.lengths", np.zeros(0, np.int32))
        shapes = expected_shapes(self.config) | token_shapes(lengths)
        biases = {name for name in shapes if name.endswith(SIGNED)}
        check_tensors(self.tensors, shapes, unbounded=biases)
        for name in biases:
            value = np.abs(self.tensors[name])
            if not ((value == 0) | ((value >= MIN_SCALE) & (value <= MAX_BIAS))).all():
                raise InvalidModelError(f"{name} holds a bias beyond 2^20, below 2^-40 or NaN")
        if np.signbit(self.tensors["eps"]).any():
            raise InvalidModelError("eps is negative")
        ids = self.tensors["tokens.ids"]
        if (
            int(ids.min()) < 0
            or int(ids.max()) >= self.config.vocab_size
            or len(np.unique(ids)) != len(ids)
        ):
            raise InvalidModelError("tokens.ids must be different token ids")

    @cached_property
    def model_id(self) -> bytes:
        """16 bytes: SHA-256 over numeric version, canonical config and tensors, truncated."""
        return digest(b"nncodec exact model\0", self.config.canonical_json(), self.tensors)

    @property
    def parameters(self) -> int:
        names = [name for name in self.tensors if not name.startswith("tokens.")]
        return sum(self.tensors[name].size for name in names)

    @cached_property
    def symbol_bytes(self) -> list[bytes]:
        """What each symbol stands for, in the order of the head's rows: sorted."""
        ends = np.cumsum(self.tensors["tokens.lengths"], dtype=np.int64)
        text, starts = self.tensors["tokens.bytes"].tobytes(), [0, *ends[:-1].tolist()]
        return [text[a:b] for a, b in zip(starts, ends.tolist(), strict=True)]

    @cached_property
    def symbol_of(self) -> npt.NDArray[np.int32]:
        """(vocab_size,): the symbol of a token id, -1 for one that stands for no bytes."""
        table = np.full(self.config.vocab_size, -1, np.int32)
        table[self.tensors["tokens.ids"]] = np.arange(self.config.n_symbols, dtype=np.int32)
        return table

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save(folder)
        metadata = {"numeric_version": str(NUMERIC_VERSION), "model_id": self.model_id.hex()}
        write_atomically(folder / WEIGHTS_FILE, save(self.tensors, metadata=metadata))

    @classmethod
    def load(cls, folder: Path) -> ExactModel:
        """Read a model folder. Raises InvalidModelError, naming the folder, if it cannot be run."""
        try:
            config, path = ExactConfig.load(folder), folder / WEIGHTS_FILE
            shapes = expected_shapes(config)
            lengths = {name: shapes[name] for name in ("tokens.lengths",)}
            read = load_tensors(path, lengths, all_of_them=False)
            shapes |= token_shapes(read["tokens.lengths"])
            return cls(config, load_tensors(path, shapes))
        except InvalidModelError as error:
            raise InvalidModelError(f"{folder}: {error}") from error
        except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidModelError(f"{folder / WEIGHTS_FILE}: cannot be read ({error})") from error


def token_tensors(tokens: Sequence[bytes | None]) -> Tensors:
    """The usable ones of ``tokens`` (by id), sorted by their bytes: the alphabet that is coded.

    Sorted, because all tokens with a common prefix are then neighbours, and the probability of a
    next byte is a difference of two cumulative sums.
    """
    pairs = sorted((text, i) for i, text in enumerate(tokens) if text)
    if not pairs:
        raise InvalidModelError("no token of the vocabulary stands for bytes")
    return {
        "tokens.ids": np.array([i for _, i in pairs], np.int32),
        "tokens.lengths": np.array([len(text) for text, _ in pairs], np.int32),
        "tokens.bytes": np.frombuffer(b"".join(text for text, _ in pairs), np.uint8).copy(),
    }
