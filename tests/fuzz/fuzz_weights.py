"""Files of weights: whatever a header says, spans are valid or none, and every byte comes back.

Four fields of the input choose a sample and damage it; the rest may be any bytes.
"""

from __future__ import annotations

import io
import struct
from collections import OrderedDict
from functools import lru_cache
from unittest.mock import patch

import numpy as np
from container_files import METADATA, LiteTensor, entry, ggmf, gguf, safetensors_file, tflite
from fields import Fields, attempt, damaged
from forged import check

from nncodec.codec import Codec
from nncodec.engine.native import NativeContexts
from nncodec.tensors import chunks
from nncodec.tensors.spans import find_spans, read_container
from nncodec.weights.index import read_index

LEAST = 16  # bytes of tensors that are coded as such: files of a fuzzer are small


@lru_cache
def codecs() -> list[Codec]:
    """As -1 and -4 code tensors, with small tables and without a network."""
    return [Codec(NativeContexts(), None, 1, 10, tensors=way) for way in ("fast", "max")]


@lru_cache
def samples() -> list[bytes]:
    """One file of every container, of numbers as weights have."""
    rng = np.random.default_rng(2)
    floats, codes = rng.normal(size=(6, 8)).astype("<f4"), rng.integers(-9, 9, (4, 8), np.int8)
    raw = floats.tobytes(), codes.tobytes()
    header = {"x": entry("F32", [6, 8], 0, 192), "y": entry("I8", [4, 8], 192, 224)}
    npz, npy = io.BytesIO(), io.BytesIO()
    np.savez(npz, x=floats, y=codes)
    np.save(npy, floats.astype("<f2"))
    q8 = b"".join(struct.pack("<e32s", 0.1, codes.tobytes()) for _ in range(2))
    return [
        safetensors_file({"__metadata__": {"a": "b"}, **header}, b"".join(raw)),
        gguf([("x", 8, (32, 2), q8), ("y", 0, (8, 6), raw[0])], METADATA[:6], 32),
        ggmf([("x", 0, (8, 6), raw[0]), ("y", 1, (4, 2), raw[0][:16])]),
        npy.getvalue(),
        npz.getvalue(),
        tflite([[LiteTensor("x", 0, (6, 8), 1), LiteTensor("y", 9, (4, 8), 2)]], [None, *raw]),
        saved_torch(floats, codes),
    ]


def saved_torch(floats: np.ndarray, codes: np.ndarray) -> bytes:
    import torch

    file = io.BytesIO()
    tensors = {"x": torch.from_numpy(floats), "y": torch.from_numpy(codes).T}
    torch.save(OrderedDict(tensors), file)
    return file.getvalue()


def TestOneInput(data: bytes) -> None:
    fields = Fields(data)
    way = fields.byte() % 8
    file = fields.rest() if way == 0 else damaged(fields.pick(samples()), fields)
    check_spans(file)
    attempt(lambda: read_index(file))
    if way in (3, 4):
        array = np.frombuffer(file, np.uint8)
        with patch.object(chunks, "LEAST_TENSORS", LEAST):
            archive = codecs()[way - 3].compress(array)
        assert check(archive) == file


def check_spans(file: bytes) -> None:
    """Inside the file, disjoint, named once, of the size that shape and dtype say."""
    spans, end = find_spans(memoryview(file)), 0
    for span in spans:
        assert end <= span.begin < span.end <= len(file)
        assert span.dtype.size(span.elements) == span.end - span.begin
        assert span.rows * span.cols == span.elements > 0
        end = span.end
    assert len({span.name for span in spans}) == len(spans)
    assert (attempt(lambda: read_container(memoryview(file))) or []) == spans


def seeds() -> list[bytes]:
    changed = [bytes((way, i, 0, 0)) for way in (1, 3, 4) for i in range(len(samples()))]
    return changed + [b"\0" + sample for sample in samples()]
