"""A folder with a causal language model of Hugging Face's: is it one, and which one is it?

An archive names it by 16 bytes: 4 of the hash of its config and token table, which are read in
milliseconds, and 12 of that with every tensor besides. So a model is found among many without
reading gigabytes of the others. Weights are safetensors; a pickle (``pytorch_model.bin``) is not
looked at. Not part of the id: the tokenizer's rules, of which decoding needs the table only.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nncodec.causal.vocabulary import TOKENIZER_FILE, TokenTable, read_json
from nncodec.config import CONFIG_FILE, MODEL_TYPE
from nncodec.engine_weights import WEIGHTS_FILE
from nncodec.errors import ContainerFormatError, InvalidModelError
from nncodec.tensors import safetensors

WEIGHTS = "*.safetensors"
PICKLES = "*.bin", "*.pt", "*.pth"
KIND_BYTES, ID_BYTES = 4, 16
# What says nothing of the function that a model computes.
NOTES = {"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"}


@dataclass(frozen=True)
class CausalFolder:
    """Where a model lies; its table and id are read when they are asked for."""

    path: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        return read_json(self.path / CONFIG_FILE)

    @cached_property
    def table(self) -> TokenTable:
        return TokenTable.from_folder(self.path)

    @cached_property
    def kind(self) -> bytes:
        """The first bytes of the id, without a look at the weights. Raises InvalidModelError."""
        shape = {name: value for name, value in self.config.items() if name not in NOTES}
        canonical = json.dumps(shape, sort_keys=True, separators=(",", ":")).encode()
        return hashlib.sha256(b"nncodec causal\0" + self.table.digest + canonical).digest()

    @cached_property
    def model_id(self) -> bytes:
        """Raises InvalidModelError for weights that are missing, broken or pickled."""
        hashed = hashlib.sha256(self.kind)
        with self.tensors() as tensors:
            for name, dtype, shape, data in sorted(tensors, key=lambda tensor: tensor[0]):
                hashed.update(f"{name}\0{dtype}\0{list(shape)}\0".encode())
                hashed.update(data)
                data.release()
        return self.kind[:KIND_BYTES] + hashed.digest()[: ID_BYTES - KIND_BYTES]

    @property
    def files(self) -> list[Path]:
        """Those with the weights. Raises InvalidModelError if there are none."""
        found = sorted(path for path in self.path.glob(WEIGHTS) if path.is_file())
        if not found:
            pickled = any(any(self.path.glob(pattern)) for pattern in PICKLES)
            why = "; a pickle is not read: save it again with save_pretrained" if pickled else ""
            raise InvalidModelError(f"{self.path} has no weights ({WEIGHTS}){why}")
        return found

    @contextmanager
    def tensors(self) -> Iterator[list[tuple[str, str, tuple[int, ...], memoryview]]]:
        """Name, dtype, shape and bytes of every tensor."""
        tensors: list[tuple[str, str, tuple[int, ...], memoryview]] = []
        maps: list[mmap.mmap] = []
        try:
            for path in self.files:
                with path.open("rb") as file:
                    maps.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
                with memoryview(maps[-1]) as data:
                    header = safetensors.read_header(data)
                    for name, (dtype, shape, begin, end) in header.tensors.items():
                        tensors.append((name, dtype, shape, data[begin:end]))
            yield tensors
        except (OSError, ValueError, ContainerFormatError) as error:
            raise InvalidModelError(f"{self.path}: weights cannot be read: {error}") from error
        finally:
            for *_, view in tensors:
                view.release()
            for mapped in maps:
                mapped.close()


def is_causal(path: Path) -> bool:
    """Whether it looks like a model of somebody else's: config and tokenizer, and not ours."""
    if (path / WEIGHTS_FILE).is_file() or not (path / TOKENIZER_FILE).is_file():
        return False
    try:
        kind = read_json(path / CONFIG_FILE).get("model_type")
    except InvalidModelError:
        return False
    return isinstance(kind, str) and kind != MODEL_TYPE
