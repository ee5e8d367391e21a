"""Lossy compression of weights: quantised tensors, which the lossless coder then codes.

    made = nncodec.lossy.quantize(tensors, nncodec.lossy.Settings("trellis", step=0.01))
    back = nncodec.lossy.dequantize(made.checkpoint.tensors, made.checkpoint.metadata)

Quantised tensors lie in an ordinary safetensors file: integers, and metadata that says what
they mean (``spec``). numpy is enough; only what runs a model (``sensitivity``, ``evaluate``) needs
torch.
"""

from nncodec.lossy.allocate import Target, allocate
from nncodec.lossy.dequantize import dequantize, is_quantized, plain
from nncodec.lossy.quantize import Quantized, Settings, quantize
from nncodec.lossy.store import Checkpoint, Tensor, from_numpy, read, write

__all__ = [
    "Checkpoint",
    "Quantized",
    "Settings",
    "Target",
    "Tensor",
    "allocate",
    "dequantize",
    "from_numpy",
    "is_quantized",
    "plain",
    "quantize",
    "read",
    "write",
]
