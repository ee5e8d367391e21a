"""Archives in memory: the store that decoders write into side by side, and views as sources."""

from __future__ import annotations

import io

import numpy as np
import pytest
from safetensors.numpy import save
from test_tensors import normal

import nncodec
from nncodec._core import ByteStore, xxh64
from nncodec.errors import CorruptDataError, TruncatedError
from nncodec.memory import View
from nncodec.parsing import read_exactly
from nncodec.tensors.coder import decode_fields_into, encode_fields
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import Item


@pytest.mark.parametrize("expected", [0, 5, 1 << 24])
def test_a_store_grows_and_is_taken(expected: int) -> None:
    store, whole = ByteStore(expected), b""
    for size in (0, 1, 3, 1000, 0, 1 << 22, 77):
        piece = np.random.default_rng(size).bytes(size)
        store.write(piece)
        whole += piece
    at = store.claim(4)
    assert at == len(whole)
    store.put(at, b"last")
    assert store.take() == whole + b"last"
    assert store.take() == b""
    store.write(b"again")
    assert store.take() == b"again"


def test_a_store_refuses_what_was_not_claimed() -> None:
    store = ByteStore(100)
    store.claim(10)
    for at, data in ((0, bytes(11)), (10, b"x"), (11, b""), (1 << 62, b"x")):
        with pytest.raises(ValueError, match="not claimed"):
            store.put(at, data)
    with pytest.raises(MemoryError):
        store.claim(1 << 62)


def test_fields_are_decoded_in_place() -> None:
    data = normal(60, 130).tobytes()
    items = [Item(Dtype.F32, 0, 60, 130)]
    payload = encode_fields(items, np.frombuffer(data, np.uint8), "")
    store = ByteStore(0)
    store.write(b"before")
    at = store.claim(len(data))
    assert decode_fields_into(store, at, items, memoryview(payload), "") == xxh64(data)
    with pytest.raises(ValueError, match="not claimed"):
        decode_fields_into(store, at + 1, items, payload, "")
    assert store.take() == b"before" + data


def test_views_are_read_like_files() -> None:
    view, file = View(memoryview(b"abcdefg")), io.BytesIO(b"abcdefg")
    for size in (2, 0, 3):
        assert read_exactly(view, size, "x") == read_exactly(file, size, "x")
    for source in (view, file):
        with pytest.raises(TruncatedError, match="1 bytes short"):
            read_exactly(source, 3, "x")


@pytest.mark.parametrize("threads", [1, 3])
def test_archives_that_are_longer_than_expected(threads: int) -> None:
    """Twenty chunks that shrink to nothing: memory grows while others wait to be decoded."""
    data = save({f"{i}": np.full((1 << 10, 1 << 10), i, np.float16) for i in range(20)})
    many = nncodec.compress(data, 1, threads=threads) * 2
    assert len(many) * 20 < len(data)  # so twice the archive is soon too little
    assert nncodec.decompress(many, threads=threads) == data * 2
    broken = bytearray(many)
    broken[-1] ^= 1
    with pytest.raises(CorruptDataError):
        nncodec.decompress(broken, threads=threads)


def test_a_header_of_a_large_file_is_an_item() -> None:
    data = save({"weight": normal(700, 300)})
    assert nncodec.info(nncodec.compress(data, 1)).blocks == {"fields": 1, "stored": 1}
    assert nncodec.info(nncodec.compress(data, 4)).blocks["tensors"] == 1
    named = save({"weight": normal(700, 300)}, metadata={"note": "0123456789" * 50})
    archive = nncodec.compress(named, 1)
    assert nncodec.info(archive).blocks == {"fields": 2}
    assert nncodec.decompress(archive) == named
