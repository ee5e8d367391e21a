"""Shape of a byte Transformer: the part of ``config.json`` that decides bits.

Free of torch and numpy, so that ``nncodec info`` and the model store start fast.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nncodec.errors import InvalidModelError
from nncodec.files import write_atomically

CONFIG_FILE = "config.json"
FLOAT_FILE = "model.safetensors"  # what a model was trained to; no engine reads it
MODEL_TYPE = "nncodec"
BEGIN_OF_BLOCK = 256  # input-only symbol; it is never predicted, so the alphabet coded has 256
VOCAB_SIZE = 257

# What a folder from a stranger may ask for. Beyond the largest model anyone plans here, far below
# what would exhaust memory.
MAX_WIDTH = 8192
MAX_LAYERS = 128
MAX_WINDOW = 4096
MAX_CACHE_BYTES = 1 << 24  # of keys and values a lane
MAX_NGRAM_ORDER = 8
MAX_NGRAM_BYTES = 1 << 28  # of all tables together
MAX_CONFIG_BYTES = 1 << 22


NGRAMS = {"ngram_orders", "ngram_bits", "ngram_width"}


@dataclass(frozen=True)
class ModelConfig:
    """A byte Transformer's shape. All fields are integers, so its JSON is canonical.

    ``windows[i]`` is the number of positions layer i attends to, its own included.
    ``rope_multipliers[j]`` is the frequency of rotary pair j in turns per ``rope_period``
    positions: angles are integers modulo the period, so no position is ever too large and one
    table serves all of them.

    ``ngram_orders`` lists the lengths n of the n-grams that have a table each: the last n tokens,
    hashed, choose one of its ``2**ngram_bits`` rows of ``ngram_width`` numbers. Without orders
    there are no tables and the other two are 0.
    """

    d_model: int = 128
    n_heads: int = 2
    n_kv_heads: int = 1
    head_dim: int = 64
    d_ff: int = 512
    windows: tuple[int, ...] = (64, 64, 64, 64, 64, 256)
    rope_period: int = 4096
    rope_multipliers: tuple[int, ...] = ()
    vocab_size: int = VOCAB_SIZE
    ngram_orders: tuple[int, ...] = ()
    ngram_bits: int = 0
    ngram_width: int = 0

    def __post_init__(self) -> None:
        if not self.rope_multipliers:
            turns = geometric_multipliers(self.rope_period, self.head_dim // 2)
            object.__setattr__(self, "rope_multipliers", turns)
        for field in ("windows", "rope_multipliers", "ngram_orders"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        self._validate()

    @property
    def n_layers(self) -> int:
        return len(self.windows)

    @property
    def ngram_rows(self) -> int:
        """Rows of all n-gram tables together."""
        return len(self.ngram_orders) << self.ngram_bits

    def _validate(self) -> None:
        check_integers(self)

        def need(ok: bool, why: str) -> None:
            if not ok:
                raise InvalidModelError(f"config cannot be used: {why}")

        need(self.vocab_size == VOCAB_SIZE, f"vocab_size must be {VOCAB_SIZE}")
        need(1 <= self.d_model <= MAX_WIDTH, f"d_model {self.d_model} not in 1..{MAX_WIDTH}")
        need(1 <= self.d_ff <= 4 * MAX_WIDTH, f"d_ff {self.d_ff} not in 1..{4 * MAX_WIDTH}")
        need(1 <= self.n_layers <= MAX_LAYERS, f"{self.n_layers} layers, not 1..{MAX_LAYERS}")
        need(2 <= self.head_dim <= 256 and self.head_dim % 2 == 0, "head_dim must be even, 2..256")
        need(1 <= self.n_heads <= 256, f"n_heads {self.n_heads} not in 1..256")
        need(
            self.n_kv_heads >= 1 and self.n_heads % self.n_kv_heads == 0,
            f"n_heads {self.n_heads} is no multiple of n_kv_heads {self.n_kv_heads}",
        )
        cached = 2 * self.n_kv_heads * self.head_dim * sum(self.windows)
        need(
            cached <= MAX_CACHE_BYTES,
            f"keys and values would take {cached} bytes a lane, {MAX_CACHE_BYTES} are allowed",
        )
        need(all(1 <= w <= MAX_WINDOW for w in self.windows), f"windows not in 1..{MAX_WINDOW}")
        need(
            1 < self.rope_period <= 1 << 20 and self.rope_period % 4 == 0,
            "rope_period must be a multiple of 4, at most 2^20",
        )
        need(
            len(self.rope_multipliers) == self.head_dim // 2
            and all(m < self.rope_period for m in self.rope_multipliers),
            "rope_multipliers needs head_dim/2 entries below rope_period",
        )
        orders = self.ngram_orders
        need(
            all(1 <= n <= MAX_NGRAM_ORDER for n in orders) and len(set(orders)) == len(orders),
            f"ngram_orders {shown(list(orders))} must be different and lie in 1..{MAX_NGRAM_ORDER}",
        )
        if orders:
            need(1 <= self.ngram_bits <= 24, f"ngram_bits {self.ngram_bits} not in 1..24")
            need(1 <= self.ngram_width <= 1024, f"ngram_width {self.ngram_width} not in 1..1024")
            need(
                self.ngram_rows * self.ngram_width <= MAX_NGRAM_BYTES,
                f"n-gram tables would take {self.ngram_rows * self.ngram_width} bytes, "
                f"{MAX_NGRAM_BYTES} are allowed",
            )
        else:
            need(self.ngram_bits == self.ngram_width == 0, "n-gram tables without ngram_orders")

    def canonical_json(self) -> str:
        """The config as it enters the model's hash: sorted keys, no spaces, integers only."""
        return json.dumps(self._stated(), sort_keys=True, separators=(",", ":"))

    def _stated(self) -> dict[str, Any]:
        """All fields, but those of n-gram tables only where there are any: models that were made
        before there were tables keep their hashes."""
        values = asdict(self)
        return values if self.ngram_orders else {k: values[k] for k in values if k not in NGRAMS}

    def to_dict(self) -> dict[str, Any]:
        """The contents of ``config.json``, Hugging Face's keys included."""
        return {
            "architectures": ["NNCodecForCausalLM"],
            "model_type": MODEL_TYPE,
            **{k: list(v) if isinstance(v, tuple) else v for k, v in self._stated().items()},
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Build from a parsed ``config.json``; keys that other tools add are ignored.

        Raises InvalidModelError for another model type, a missing field or a value out of range.
        """
        if values.get("model_type") != MODEL_TYPE:
            raise InvalidModelError(
                f"config names model_type {shown(values.get('model_type'))}, "
                f"expected {MODEL_TYPE!r}"
            )
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if name not in values]
        if set(missing) == NGRAMS:
            names, missing = [name for name in names if name not in NGRAMS], []
        if missing:
            raise InvalidModelError(f"config lacks {', '.join(missing)}")
        picked: dict[str, Any] = {
            name: tuple(v) if isinstance(v := values[name], list) else v for name in names
        }
        if not picked["rope_multipliers"]:
            raise InvalidModelError("config must list rope_multipliers, two channels to each")
        try:
            return cls(**picked)
        except TypeError as error:
            raise InvalidModelError(f"config has a field of the wrong type: {error}") from error

    @classmethod
    def load(cls, folder: Path) -> ModelConfig:
        """Read ``folder/config.json``. Raises InvalidModelError if it is absent or unusable."""
        return cls.from_dict(read_object(folder / CONFIG_FILE))

    @classmethod
    def design(cls, folder: Path) -> ModelConfig:
        """The shape of a model to be trained: ``config.json`` may leave out what nano has as well,
        and the rotary frequencies. Raises InvalidModelError."""
        values = {"model_type": MODEL_TYPE, **read_object(folder / CONFIG_FILE)}
        for name, value in asdict(cls()).items():
            if name not in NGRAMS and name != "rope_multipliers":
                values.setdefault(name, value)
        try:
            pairs = values["head_dim"] // 2
            values.setdefault(
                "rope_multipliers", geometric_multipliers(values["rope_period"], pairs)
            )
        except (TypeError, ValueError, ArithmeticError) as error:
            raise InvalidModelError(f"{folder / CONFIG_FILE}: unusable ({error})") from error
        return cls.from_dict(values)

    def save(self, folder: Path) -> None:
        text = json.dumps(self.to_dict(), indent=2) + "\n"
        write_atomically(folder / CONFIG_FILE, text.encode())


def shown(value: object) -> str:
    """Something from a file for a message: one line, not endless, without power over a terminal."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def said(error: Exception) -> str:
    """What a library says of something from a file, fit for a message as ``shown`` is."""
    text = "".join(c if c.isprintable() else " " for c in str(error))
    return " ".join(text.split())[:300] or type(error).__name__


def check_integers(config: Any) -> None:
    """Raise InvalidModelError unless all fields of a config hold integers that 63 bits hold."""
    for field in fields(config):
        value = getattr(config, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            if type(item) is not int or not 0 <= item < 1 << 63:
                raise InvalidModelError(
                    f"config field {field.name} must hold non-negative integers, got {shown(item)}"
                )


def read_bounded(path: Path, most: int) -> str:
    """The text of a regular file. Raises OSError, also for one of more bytes than ``most``.

    A pipe in a folder from a stranger would be waited for, and a file that is mostly a hole read to
    its end.
    """
    if path.exists() and not path.is_file():
        raise OSError("not a regular file")
    size = path.stat().st_size
    if size > most:
        raise OSError(f"{size} bytes, at most {most} are read")
    with path.open("rb") as file:
        return file.read(size).decode("utf-8")


def read_object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_bounded(path, MAX_CONFIG_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidModelError(f"{path}: cannot read the model's config ({error})") from error
    if not isinstance(values, dict):
        raise InvalidModelError(f"{path}: not a JSON object")
    return values


def geometric_multipliers(period: int, pairs: int) -> tuple[int, ...]:
    """Rotary frequencies from one radian a position down to one turn a period, as integers.

    Used when a model is designed; the result is stored in its config, so the float power here
    never decides bits.
    """
    fastest = max(1.0, period / 6.283185307179586)
    if pairs == 1:
        return (round(fastest),)
    return tuple(max(1, round(fastest ** (1 - j / (pairs - 1)))) for j in range(pairs))
