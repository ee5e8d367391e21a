"""A model as the engines run it: int8 matrices, float32 scales, and the hash that names both.

Stored beside the float checkpoint as ``engine.safetensors``; this file alone, with
``config.json``, decides every bit of an archive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from nncodec.config import ModelConfig, shown
from nncodec.container import MODEL_ID_BYTES
from nncodec.errors import InvalidModelError
from nncodec.files import write_atomically
from nncodec.numerics import NUMERIC_VERSION

WEIGHTS_FILE = "engine.safetensors"
MAX_SCALE = 2.0**4  # keeps every product of the forward pass below 2^127: no infinities
MIN_SCALE = 2.0**-40  # smaller ones could make denormal products, which some hardware flushes

MAX_HEADER_BYTES = 1 << 22

Tensors = dict[str, npt.NDArray[np.generic]]
Shapes = dict[str, tuple[type[np.generic], tuple[int, ...]]]
SAFETENSORS: dict[type[np.generic], str] = {
    np.int8: "I8", np.uint8: "U8", np.int32: "I32", np.float32: "F32"
}  # fmt: skip


def check_tensors(tensors: Tensors, shapes: Shapes, unbounded: Collection[str] = ()) -> None:
    """Raise InvalidModelError unless the tensors are those of ``shapes``, within bounds.

    Floats are held to the bounds of scales, but for those named in ``unbounded``.
    """
    check_names(tensors, shapes)
    for name, (dtype, shape) in shapes.items():
        value = tensors[name]
        if value.dtype != dtype or value.shape != shape:
            raise InvalidModelError(
                f"{name} is {value.dtype}{list(value.shape)}, "
                f"the config needs {np.dtype(dtype)}{list(shape)}"
            )
        if dtype is np.float32 and name not in unbounded:
            size = np.abs(value)
            fits = (size >= MIN_SCALE) & (size <= MAX_SCALE)
            if not fits.all():  # NaN fails too
                raise InvalidModelError(f"{name} holds a scale outside 2^-40..2^4 or NaN")
        elif dtype is np.int8 and value.size and int(value.min()) == -128:
            raise InvalidModelError(f"{name} holds -128; int8 weights lie in -127..127")


def load_tensors(path: Path, shapes: Shapes, all_of_them: bool = True) -> Tensors:
    """Those of ``shapes``, of a safetensors file that holds just these, unless told otherwise.

    The header is held to them first, so that nothing is read that the config does not ask for.
    Raises InvalidModelError, OSError, SafetensorError.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise OSError("not a regular file")
    with path.open("rb") as raw:
        header = int.from_bytes(raw.read(8), "little")
    if header > MAX_HEADER_BYTES:  # it would take some times as much memory
        raise OSError(f"a header of {header} bytes, at most {MAX_HEADER_BYTES} are allowed")
    with safe_open(path, framework="numpy") as file:
        names = file.keys()
        check_names(names if all_of_them else shapes.keys() & names, shapes)
        for name, (dtype, shape) in shapes.items():
            there = file.get_slice(name)
            size = tuple(there.get_shape())
            if there.get_dtype() != SAFETENSORS[dtype] or size != shape:
                raise InvalidModelError(
                    f"{name} is {there.get_dtype()}{shown(list(size))}, "
                    f"the config needs {SAFETENSORS[dtype]}{list(shape)}"
                )
        return {name: file.get_tensor(name) for name in shapes}


def check_names(names: Collection[str], shapes: Shapes) -> None:
    if set(names) != set(shapes):
        odd = sorted(set(names) ^ set(shapes))
        raise InvalidModelError(
            f"weights lack or exceed the config's tensors: {', '.join(map(shown, odd[:4]))}"
        )


def digest(mark: bytes, config: str, tensors: Tensors) -> bytes:
    """16 bytes: SHA-256 over numeric version, canonical config and tensors, truncated."""
    h = hashlib.sha256(mark)
    h.update(NUMERIC_VERSION.to_bytes(4, "little"))
    h.update(len(config.encode()).to_bytes(4, "little") + config.encode())
    for name in sorted(tensors):
        value = tensors[name]
        h.update(f"{name}\0{value.dtype.name}\0{list(value.shape)}\0".encode())
        h.update(np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<")).data)
    return h.digest()[:MODEL_ID_BYTES]


def expected_shapes(config: ModelConfig) -> Shapes:
    """dtype and shape of every tensor of a model, by name. Matrices are (out, in)."""
    D, F = config.d_model, config.d_ff
    heads = config.n_heads * config.head_dim
    qkv = heads + 2 * config.n_kv_heads * config.head_dim
    matrices = {"embed": (config.vocab_size, D), "head": (256, D)}
    if config.ngram_orders:
        matrices["ngrams.proj"] = (D, len(config.ngram_orders) * config.ngram_width)
    for i in range(config.n_layers):
        matrices |= {
            f"blocks.{i}.qkv": (qkv, D),
            f"blocks.{i}.out": (D, heads),
            f"blocks.{i}.up": (F, D),
            f"blocks.{i}.down": (D, F),
        }
    shapes: Shapes = {}
    for name, shape in matrices.items():
        shapes[f"{name}.weight"] = (np.int8, shape)
        shapes[f"{name}.scale"] = (np.float32, shape[:1])
    if config.ngram_orders:  # codes without scales: those are folded into the projection
        shapes["ngrams.table"] = (np.int8, (config.ngram_rows, config.ngram_width))
    for i in range(config.n_layers):
        shapes[f"blocks.{i}.gain"] = (np.float32, (config.n_heads,))
    return shapes


@dataclass(frozen=True)
class EngineModel:
    """Integer weights that fit their config. Build with ``load`` or from an export; immutable."""

    config: ModelConfig
    tensors: Tensors

    def __post_init__(self) -> None:
        check_tensors(self.tensors, expected_shapes(self.config))

    @cached_property
    def model_id(self) -> bytes:
        """16 bytes: SHA-256 over numeric version, canonical config and tensors, truncated."""
        return digest(b"nncodec model\0", self.config.canonical_json(), self.tensors)

    @property
    def parameters(self) -> int:
        return sum(v.size for v in self.tensors.values())

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        metadata = {"numeric_version": str(NUMERIC_VERSION), "model_id": self.model_id.hex()}
        write_atomically(folder / WEIGHTS_FILE, save(self.tensors, metadata=metadata))

    @classmethod
    def load(cls, folder: Path) -> EngineModel:
        """Read a model folder. Raises InvalidModelError, naming the folder, if it cannot be run."""
        try:
            config = ModelConfig.load(folder)
            return cls(config, load_tensors(folder / WEIGHTS_FILE, expected_shapes(config)))
        except InvalidModelError as error:
            raise InvalidModelError(f"{folder}: {error}") from error
        except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidModelError(f"{folder / WEIGHTS_FILE}: cannot be read ({error})") from error


def read_record(folder: Path) -> dict[str, str]:
    """What ``save`` wrote into the file about it: ``numeric_version`` and ``model_id``.

    Claims, to be compared with the contents and never used instead of them. Raises
    InvalidModelError if the file cannot be read.
    """
    path = folder / WEIGHTS_FILE
    try:
        with safe_open(path, framework="numpy") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise InvalidModelError(f"{path}: cannot be read ({error})") from error
