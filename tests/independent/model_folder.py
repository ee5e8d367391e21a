"""Model folders and ids (FORMAT-network.md, "Model folder")."""

import hashlib
import json
import math
import struct
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from .model_file import Shapes, Tensors, read_file, read_json, read_numbers, read_tensors, require
from .network import Config, Network

NUMBERS = ["vocab_size", "d_model", "n_heads", "n_kv_heads", "head_dim", "d_ff", "rope_period"]
NUMBERS += ["ngram_bits", "ngram_width"]
LISTS = ["windows", "rope_multipliers", "ngram_orders"]


def read_config(data: bytes) -> Config:
    """config.json, with its bounds ("config.json")."""
    fields = read_json(data)
    require(fields.get("model_type") == "nncodec", "of another type")
    ngrams = {"ngram_orders": [], "ngram_bits": 0, "ngram_width": 0}
    if not any(name in fields for name in ngrams):
        fields |= ngrams
    numbers = read_numbers(fields, NUMBERS + LISTS)
    for name, value in numbers.items():
        require(isinstance(value, list) == (name in LISTS), f"{name} is a list, or is none")
    config = Config(**numbers)
    check_config(config)
    return config


def check_config(c: Config) -> None:
    orders = c.ngram_orders
    require(c.vocab_size == 257, "vocab_size")
    require(1 <= c.d_model <= 8192 and 1 <= c.d_ff <= 32768, "d_model or d_ff")
    require(1 <= c.n_heads <= 256 and c.n_kv_heads >= 1, "heads")
    require(c.n_heads % c.n_kv_heads == 0, "heads")
    require(c.head_dim % 2 == 0 and 2 <= c.head_dim <= 256, "head_dim")
    require(1 <= len(c.windows) <= 128 and all(1 <= w <= 4096 for w in c.windows), "windows")
    require(2 * c.n_kv_heads * c.head_dim * sum(c.windows) <= 2**24, "windows")
    require(c.rope_period % 4 == 0 and 1 < c.rope_period <= 2**20, "rope_period")
    require(len(c.rope_multipliers) == c.head_dim // 2, "rope_multipliers")
    require(all(m < c.rope_period for m in c.rope_multipliers), "rope_multipliers")
    require(all(1 <= o <= 8 for o in orders) and len(set(orders)) == len(orders), "orders")
    if orders:
        require(1 <= c.ngram_bits <= 24 and 1 <= c.ngram_width <= 1024, "ngrams")
        require(len(orders) * 2**c.ngram_bits * c.ngram_width <= 2**28, "ngrams")
    else:
        require(c.ngram_bits == 0 and c.ngram_width == 0, "ngrams")
    for j in range(1, c.rope_period // 4):
        part = 2**14 * math.cos(2 * math.pi * j / c.rope_period) % 1
        require(abs(part - 0.5) > 1e-9, "rope_period")


def expected_shapes(c: Config) -> Shapes:
    """Names and shapes of the tensors ("engine.safetensors")."""
    d, hc = c.d_model, c.n_heads * c.head_dim
    shapes: dict[str, list[int]] = {"embed.weight": [257, d], "embed.scale": [257]}
    shapes |= {"head.weight": [256, d], "head.scale": [256]}
    for i in range(len(c.windows)):
        qkv = (c.n_heads + 2 * c.n_kv_heads) * c.head_dim
        matrices = {"qkv": [qkv, d], "out": [d, hc], "up": [c.d_ff, d], "down": [d, c.d_ff]}
        for name, shape in matrices.items():
            shapes[f"blocks.{i}.{name}.weight"] = shape
            shapes[f"blocks.{i}.{name}.scale"] = shape[:1]
        shapes[f"blocks.{i}.gain"] = [c.n_heads]
    if c.ngram_orders:
        k = len(c.ngram_orders)
        shapes["ngrams.table"] = [k * 2**c.ngram_bits, c.ngram_width]
        shapes |= {"ngrams.proj.weight": [d, k * c.ngram_width], "ngrams.proj.scale": [d]}
    floats = ("scale", "gain")
    return {n: ("F32" if n.endswith(floats) else "I8", shape) for n, shape in shapes.items()}


def check_values(tensors: Tensors) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype == np.float32:
            sizes = np.abs(tensor)
            require(bool(np.all((sizes >= 2.0**-40) & (sizes <= 2.0**4))), f"{name}: a value")


def compute_id(config: Config, tensors: Tensors) -> bytes:
    """The id of what a folder holds ("Model id")."""
    fields = {name: getattr(config, name) for name in NUMBERS + LISTS}
    if not config.ngram_orders:
        fields = {name: value for name, value in fields.items() if not name.startswith("ngram")}
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(b"nncodec model\0" + struct.pack("<II", 0, len(canonical)) + canonical)
    for name in sorted(tensors):
        tensor = tensors[name]
        dtype = b"int8" if tensor.dtype == np.int8 else b"float32"
        shape = str(list(tensor.shape)).encode()
        digest.update(name.encode() + b"\0" + dtype + b"\0" + shape + b"\0" + tensor.tobytes())
    return digest.digest()[:16]


@lru_cache(maxsize=8)
def read_folder(folder: Path) -> tuple[bytes, Config, Tensors]:
    """Id, config and tensors of a model folder."""
    config = read_config(read_file(folder / "config.json"))
    tensors = read_tensors(read_file(folder / "engine.safetensors"), expected_shapes(config))
    check_values(tensors)
    return compute_id(config, tensors), config, tensors


def load(folder: Path, model_id: bytes) -> Network:
    """The network of a folder, which must have this id."""
    found, config, tensors = read_folder(folder)
    require(found == model_id, "of another id than the archive names")
    return Network(config, tensors)


ID_OF_TYPE: dict[str, Callable[[Path], bytes]] = {"nncodec": lambda folder: read_folder(folder)[0]}
"""From model_type to what computes a folder's id; models over tokens may add theirs."""


def finder(parents: Iterable[Path]) -> Callable[[bytes], Path | None]:
    """Looks for a model by its id among the folders in some folders."""

    def find(model_id: bytes) -> Path | None:
        for parent in parents:
            for path in sorted(parent.glob("*/config.json")):
                id_of = ID_OF_TYPE.get(str(read_json(path.read_bytes()).get("model_type")))
                if id_of is not None and id_of(path.parent) == model_id:
                    return path.parent
        return None

    return find
