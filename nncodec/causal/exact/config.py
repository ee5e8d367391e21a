"""Shape of an integer model of the Llama family: the part of ``config.json`` that decides bits.

A sibling of ``nncodec/config.py``: those models read and predict bytes, these read token ids and
predict the usable tokens in the order of their bytes. Free of torch and numpy, as that one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nncodec.config import (
    CONFIG_FILE,
    MAX_LAYERS,
    MAX_WIDTH,
    MAX_WINDOW,
    check_integers,
    read_object,
    shown,
)
from nncodec.errors import InvalidModelError
from nncodec.files import write_atomically

MODEL_TYPE = "nncodec-exact"
MAX_VOCABULARY = 1 << 18
MAX_CACHE_BYTES = 1 << 30  # of keys and values a lane


@dataclass(frozen=True)
class ExactConfig:
    """All fields are integers, so its JSON is canonical.

    ``vocab_size`` is the number of token ids, ``n_symbols`` that of the tokens that stand for
    bytes, which alone are predicted; ``begin`` is the id that every context begins with.

    ``context`` is the most positions that a context has. When it is full a new one begins with
    ``begin`` and the last ``overlap`` tokens.

    ``rope_multipliers[j]`` is the frequency of rotary pair j in turns per ``rope_period``
    positions. ``qkv_bias`` and ``qk_norm`` are 0 or 1: whether queries, keys and values have a
    bias (Qwen2), and queries and keys a norm of their own (Qwen3).
    """

    vocab_size: int
    n_symbols: int
    begin: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ff: int
    context: int
    overlap: int
    rope_period: int
    rope_multipliers: tuple[int, ...]
    qkv_bias: int = 0
    qk_norm: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "rope_multipliers", tuple(self.rope_multipliers))
        self._validate()

    @property
    def cache_bytes(self) -> int:
        """Of keys and values, a lane."""
        return 2 * self.n_layers * self.n_kv_heads * self.head_dim * self.context

    def _validate(self) -> None:
        check_integers(self)

        def need(ok: bool, why: str) -> None:
            if not ok:
                raise InvalidModelError(f"config cannot be used: {why}")

        for name, most in LIMITS.items():
            value = getattr(self, name)
            need(1 <= value <= most, f"{name} {value} not in 1..{most}")
        need(
            2 <= self.n_symbols <= self.vocab_size,
            f"n_symbols {self.n_symbols} not in 2..vocab_size",
        )
        need(self.begin < self.vocab_size, f"begin {self.begin} is no token id")
        need(self.head_dim % 2 == 0, f"head_dim {self.head_dim} is odd")
        need(
            self.n_heads % self.n_kv_heads == 0,
            f"n_heads {self.n_heads} is no multiple of n_kv_heads {self.n_kv_heads}",
        )
        need(self.overlap < self.context, f"overlap {self.overlap} fills the context")
        need(
            self.cache_bytes <= MAX_CACHE_BYTES,
            f"keys and values would take {self.cache_bytes} bytes a lane, {MAX_CACHE_BYTES} are "
            "allowed; a shorter context takes fewer",
        )
        need(self.rope_period % 4 == 0, "rope_period must be a multiple of 4")
        need(
            len(self.rope_multipliers) == self.head_dim // 2
            and all(m < self.rope_period for m in self.rope_multipliers),
            "rope_multipliers needs head_dim/2 entries below rope_period",
        )
        need(self.qkv_bias <= 1 and self.qk_norm <= 1, "qkv_bias and qk_norm are 0 or 1")

    def canonical_json(self) -> str:
        """The config as it enters the model's hash: sorted keys, no spaces, integers only."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ExactConfig:
        """Build from a parsed ``config.json``; other keys are ignored. Raises InvalidModelError."""
        if values.get("model_type") != MODEL_TYPE:
            raise InvalidModelError(
                f"config names model_type {shown(values.get('model_type'))}, "
                f"expected {MODEL_TYPE!r}"
            )
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if name not in values]
        if missing:
            raise InvalidModelError(f"config lacks {', '.join(missing)}")
        try:
            return cls(**{name: values[name] for name in names})
        except TypeError as error:
            raise InvalidModelError(f"config has a field of the wrong type: {error}") from error

    @classmethod
    def load(cls, folder: Path) -> ExactConfig:
        """Read ``folder/config.json``. Raises InvalidModelError if it is absent or unusable."""
        return cls.from_dict(read_object(folder / CONFIG_FILE))

    def save(self, folder: Path) -> None:
        text = json.dumps({"model_type": MODEL_TYPE, **asdict(self)}, indent=2) + "\n"
        write_atomically(folder / CONFIG_FILE, text.encode())


def is_exact(folder: Path) -> bool:
    """Whether a model folder is of this kind, by its config alone."""
    try:
        return read_object(folder / CONFIG_FILE).get("model_type") == MODEL_TYPE
    except InvalidModelError:
        return False


LIMITS = {
    "vocab_size": MAX_VOCABULARY,
    "n_symbols": MAX_VOCABULARY,
    "d_model": MAX_WIDTH,
    "n_layers": MAX_LAYERS,
    "n_heads": 256,
    "n_kv_heads": 256,
    "head_dim": 256,
    "d_ff": 4 * MAX_WIDTH,
    "context": MAX_WINDOW,
    "overlap": MAX_WINDOW,
    "rope_period": 1 << 20,
}
