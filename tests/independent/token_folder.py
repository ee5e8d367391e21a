"""Model folders over tokens and their ids (FORMAT-tokens.md, "Model folder of an exact model")."""

import hashlib
import json
import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .model_file import Shapes, Tensors, read_file, read_json, read_numbers, read_tensors, require


@dataclass(frozen=True)
class Config:
    """config.json's fields ("config.json")."""

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
    qkv_bias: int
    qk_norm: int


@dataclass(frozen=True)
class Folder:
    """What decides bits in a folder; `strings` are those of the symbols."""

    id: bytes
    config: Config
    tensors: Tensors
    strings: list[bytes]


def read_config(data: bytes) -> Config:
    """config.json with its bounds ("config.json")."""
    fields = read_json(data)
    require(fields.get("model_type") == "nncodec-exact", "of another type")
    numbers = read_numbers(fields, list(Config.__annotations__))
    for name, value in numbers.items():
        require(isinstance(value, list) == (name == "rope_multipliers"), f"{name}: list or not")
    numbers["rope_multipliers"] = tuple(numbers["rope_multipliers"])
    config = Config(**numbers)
    check_config(config)
    return config


def check_config(c: Config) -> None:
    require(2 <= c.vocab_size <= 2**18, "vocab_size")
    require(2 <= c.n_symbols <= c.vocab_size, "n_symbols")
    require(c.begin < c.vocab_size, "begin")
    require(1 <= c.d_model <= 8192 and 1 <= c.d_ff <= 32768, "d_model or d_ff")
    require(1 <= c.n_layers <= 128, "n_layers")
    require(1 <= c.n_heads <= 256 and 1 <= c.n_kv_heads <= 256, "heads")
    require(c.n_heads % c.n_kv_heads == 0, "heads")
    require(c.head_dim % 2 == 0 and 2 <= c.head_dim <= 256, "head_dim")
    require(2 <= c.context <= 4096, "context")
    require(2 * c.n_layers * c.n_kv_heads * c.head_dim * c.context <= 2**30, "context")
    require(1 <= c.overlap <= c.context - 1, "overlap")
    require(c.rope_period % 4 == 0 and c.rope_period <= 2**20, "rope_period")
    require(len(c.rope_multipliers) == c.head_dim // 2, "rope_multipliers")
    require(all(m < c.rope_period for m in c.rope_multipliers), "rope_multipliers")
    require(c.qkv_bias <= 1 and c.qk_norm <= 1, "qkv_bias or qk_norm")
    for j in range(c.rope_period // 4):
        part = 2**14 * math.cos(2 * math.pi * j / c.rope_period) % 1
        require(abs(part - 0.5) > 1e-9, "rope_period")


def expected(c: Config) -> Shapes:
    """Name to dtype and shape ("engine.safetensors")."""
    d, k, hc = c.d_model, c.n_symbols, c.n_heads * c.head_dim
    tensors: Shapes = {"tokens.ids": ("I32", [k]), "tokens.lengths": ("I32", [k])}
    tensors |= {"tokens.bytes": ("U8", None), "eps": ("F32", [2])}

    def matrix(name: str, rows: int, columns: int) -> None:
        tensors[f"{name}.weight"] = ("I8", [rows, columns])
        tensors[f"{name}.scale"] = ("F32", [rows])

    def floats(name: str, size: int) -> None:
        tensors[name] = ("F32", [size])

    matrix("embed", c.vocab_size, d)
    matrix("head", k, d)
    floats("head.balance", d)
    for block in (f"blocks.{i}" for i in range(c.n_layers)):
        qkv = (c.n_heads + 2 * c.n_kv_heads) * c.head_dim
        matrix(f"{block}.qkv", qkv, d)
        matrix(f"{block}.out", d, hc)
        matrix(f"{block}.up", 2 * c.d_ff, d)
        matrix(f"{block}.down", d, c.d_ff)
        floats(f"{block}.qkv.balance", d)
        floats(f"{block}.up.balance", d)
        floats(f"{block}.gain", c.n_heads)
        if c.qkv_bias:
            floats(f"{block}.qkv.bias", qkv)
        if c.qk_norm:
            floats(f"{block}.q_norm", c.head_dim)
            floats(f"{block}.k_norm", c.head_dim)
    return tensors


def check_values(tensors: Tensors, c: Config) -> None:
    """The rules behind the table of tensors ("engine.safetensors")."""
    for name, tensor in tensors.items():
        if tensor.dtype == np.float32:
            sizes = np.abs(tensor)
            bias = name.endswith(".bias")
            inside = (sizes >= 2.0**-40) & (sizes <= (2.0**20 if bias else 2.0**4))
            require(bool(np.all(inside | (bias & (sizes == 0)))), f"{name}: a value")
    require(bool(np.all(tensors["eps"] >= 0)), "eps")
    ids, lengths = tensors["tokens.ids"], tensors["tokens.lengths"]
    require(len(np.unique(ids)) == len(ids), "two symbols of one id")
    require(ids.min() >= 0 and ids.max() < c.vocab_size, "tokens.ids")
    require(lengths.min() >= 1 and lengths.max() <= 4096, "tokens.lengths")
    require(lengths.sum(dtype=np.int64) == tensors["tokens.bytes"].size, "tokens.bytes")


def compute_id(c: Config, tensors: Tensors) -> bytes:
    """The id of what a folder holds ("Model id")."""
    fields = {name: getattr(c, name) for name in Config.__annotations__}
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(b"nncodec exact model\0")
    digest.update(struct.pack("<II", 0, len(canonical)) + canonical)
    for name, tensor in sorted(tensors.items()):
        parts = [name, tensor.dtype.name, str(list(tensor.shape)), ""]
        digest.update("\0".join(parts).encode() + tensor.tobytes())
    return digest.digest()[:16]


@lru_cache(maxsize=8)
def read_folder(folder: Path) -> Folder:
    """A folder, checked."""
    config = read_config(read_file(folder / "config.json"))
    tensors = read_tensors(read_file(folder / "engine.safetensors"), expected(config))
    check_values(tensors, config)
    text, strings = tensors["tokens.bytes"].tobytes(), []
    at = 0
    for length in tensors["tokens.lengths"].tolist():
        strings.append(text[at : at + length])
        at += length
    return Folder(compute_id(config, tensors), config, tensors, strings)
