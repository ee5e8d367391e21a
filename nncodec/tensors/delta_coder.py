"""Chunks of tensors, given their bases, to payloads and back, in C++ (``csrc/delta_coder.cc``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nncodec import _core
from nncodec.tensors.coder import Bytes
from nncodec.tensors.delta_items import DeltaItem


def encode_deltas(items: Sequence[DeltaItem], base: Bytes, chunk: Bytes, isa: str) -> bytes:
    """The payload of (n,) ``chunk``, which holds the items one after the other, as ``base`` does.

    Raises ValueError if they do not fill both, or one is not equal to its base that should be.
    """
    return _core.code_deltas(rows(items), base, chunk, decode=False, isa=isa)


def measure_deltas(items: Sequence[DeltaItem], base: Bytes, chunk: Bytes, isa: str) -> list[int]:
    """How many bytes each item adds to the payload, more or less."""
    return _core.measure_deltas(rows(items), base, chunk, isa=isa)


def decode_deltas(items: Sequence[DeltaItem], base: Bytes, payload: bytes, isa: str) -> bytes:
    """Inverse of ``encode_deltas``. Raises PayloadError if the payload is found damaged."""
    data = np.frombuffer(payload, np.uint8)
    return _core.code_deltas(rows(items), base, data, decode=True, isa=isa)


def rows(items: Sequence[DeltaItem]) -> list[tuple[int, int, int, int, int]]:
    return [(i.tensor.code, i.tensor.role, i.tensor.rows, i.tensor.cols, i.mode) for i in items]
