"""Weights in archives: single tensors, twins of safetensors' functions, folders of models.

    nncodec.weights.open("model.safetensors.nnc")["layer.weight"]
    nncodec.weights.torch.save_file(tensors, "model.safetensors.nnc")
    nncodec.weights.pack("folder"), .unpack("folder.nnc-dir"), .from_packed("folder.nnc-dir")

Neither torch nor transformers is imported before it is needed. docs/weights-hosts.md has examples.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nncodec.weights.folder import pack, unpack
from nncodec.weights.reader import Slice, WeightsFile, open

if TYPE_CHECKING:
    from nncodec.weights import numpy, torch

__all__ = ["Slice", "WeightsFile", "from_packed", "numpy", "open", "pack", "torch", "unpack"]


def from_packed(folder: Any, *, strict: bool = True, **kwargs: Any) -> Any:
    """A transformers model of a packed folder; ``hf.from_packed`` says more."""
    from nncodec.weights.hf import from_packed

    return from_packed(folder, strict=strict, **kwargs)


def __getattr__(name: str) -> Any:
    if name in ("numpy", "torch"):
        return importlib.import_module(f"nncodec.weights.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
