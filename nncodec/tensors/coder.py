"""Chunks of tensors to payloads and back, in C++: small (``csrc/tensor_coder.cc``) or fast.

The fast one is ``csrc/field_coder.cc``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nncodec import _core
from nncodec.memory import Payload
from nncodec.tensors.items import Item

Bytes = npt.NDArray[np.uint8]


def encode_tensors(items: Sequence[Item], chunk: Bytes, isa: str) -> bytes:
    """The payload of (n,) ``chunk``, which holds the items one after the other.

    Raises ValueError if they do not fill it.
    """
    return _core.code_tensors(rows(items), chunk, decode=False, isa=isa)


def decode_tensors(items: Sequence[Item], payload: Payload, isa: str) -> bytes:
    """Inverse of ``encode_tensors``. Raises PayloadError if the payload is found damaged."""
    return _core.code_tensors(rows(items), np.frombuffer(payload, np.uint8), decode=True, isa=isa)


def encode_fields(items: Sequence[Item], chunk: Bytes, isa: str) -> bytes:
    """As ``encode_tensors``, some hundred times as fast, a hundredth larger."""
    return _core.code_fields(rows(items), chunk, decode=False, isa=isa)


def decode_fields(items: Sequence[Item], payload: Payload, isa: str) -> bytes:
    """Inverse of ``encode_fields``. Raises PayloadError if the payload is found damaged."""
    return _core.code_fields(rows(items), np.frombuffer(payload, np.uint8), decode=True, isa=isa)


def decode_fields_into(
    store: _core.ByteStore, at: int, items: Sequence[Item], payload: Payload, isa: str
) -> int:
    """The same, to bytes of ``store`` from ``at`` on, which were claimed; returns their XXH64."""
    return store.decode_fields(at, rows(items), np.frombuffer(payload, np.uint8), isa)


def rows(items: Sequence[Item]) -> list[tuple[int, int, int, int]]:
    return [(item.code, item.role, item.rows, item.cols) for item in items]
