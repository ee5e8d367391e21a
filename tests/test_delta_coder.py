"""Deltas: the C++ coder and its readable twin, to the same bytes, and payloads that are damaged."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from delta_files import tuned
from hypothesis import given, settings
from hypothesis import strategies as st
from tensor_values import as_dtype, normal

from nncodec import _core
from nncodec._core import PayloadError, available_isas
from nncodec.tensors import delta_model
from nncodec.tensors.delta_coder import decode_deltas, encode_deltas
from nncodec.tensors.delta_items import DeltaItem, Mode
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import FIELDS, Item

DTYPES = sorted(FIELDS, key=lambda dtype: dtype.value)
STRANGE = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-40, 3.4e38, 1.0]


def both_ways(items: list[DeltaItem], base: bytes, data: bytes) -> bytes:
    """The payload, made and read by the twin and by the C++ of every instruction set."""
    payload = delta_model.encode(items, base, data)
    old, chunk = (np.frombuffer(x, np.uint8) for x in (base, data))
    for isa in available_isas():
        assert encode_deltas(items, old, chunk, isa) == payload, isa
        assert decode_deltas(items, old, payload, isa) == data, isa
    assert delta_model.decode(items, base, payload) == data
    return payload


@pytest.mark.parametrize("mode", [Mode.MOVED, Mode.GIVEN], ids=lambda m: m.name)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_the_twin_agrees(dtype: Dtype, mode: Mode) -> None:
    base = normal(9, 11)
    for by in (0.003, 0.3):
        data = as_dtype(tuned(base, by), dtype)
        both_ways([DeltaItem(Item(dtype, 7, 9, 11), mode)], as_dtype(base, dtype), data)
    line = [DeltaItem(Item(dtype, 0, 1, 60), mode)]
    both_ways(line, as_dtype(normal(1, 60), dtype), as_dtype(normal(1, 60, 2), dtype))


def test_the_twin_agrees_on_what_is_strange() -> None:
    base = normal(22, 20)
    data = tuned(base, 0.01)
    data[:, :10] = np.array(STRANGE, np.float32)
    base[:, 5:15] = np.array(STRANGE, np.float32)
    data[17:] = 0
    base[18:20] = -0.0
    bits = np.random.default_rng(2).integers(0, 256, (2, 404), dtype=np.uint8)
    items = [
        DeltaItem(Item(Dtype.F32, 1, 22, 20), Mode.MOVED),
        DeltaItem(Item(None, 0, 1, 4), Mode.GIVEN),
        DeltaItem(Item(None, 0, 1, 1000), Mode.EQUAL),
        DeltaItem(Item(Dtype.BF16, 2, 20, 5), Mode.MOVED),
        DeltaItem(Item(Dtype.F32, 3, 50, 1), Mode.MOVED),
    ]
    same = bytes(1000)
    old, new = (row.tobytes() for row in bits)
    both_ways(
        items,
        base.tobytes() + old[:4] + same + old[4:],
        data.tobytes() + new[:4] + same + new[4:],
    )


@settings(max_examples=15, deadline=None)
@given(st.data(), st.sampled_from(DTYPES), st.sampled_from([Mode.MOVED, Mode.GIVEN]))
def test_any_bits_are_numbers(draw: st.DataObject, dtype: Dtype, mode: Mode) -> None:
    rows, cols = draw.draw(st.integers(1, 6)), draw.draw(st.integers(1, 6))
    size = rows * cols * dtype.block_bytes
    base, data = (draw.draw(st.binary(min_size=size, max_size=size)) for _ in range(2))
    both_ways([DeltaItem(Item(dtype, 255, rows, cols), mode)], base, data)


def test_what_is_of_low_rank_is_foreseen() -> None:
    rng = np.random.default_rng(5)
    base = normal(96, 96)
    low = rng.normal(size=(96, 2)) @ rng.normal(size=(2, 96)) * 0.01
    items = [DeltaItem(Item(Dtype.F32, 0, 96, 96), mode) for mode in (Mode.MOVED, Mode.GIVEN)]
    data = (base + low).astype(np.float32)
    sizes = [len(encode_deltas([i], base.view(np.uint8).ravel(), data.view(np.uint8).ravel(), ""))
             for i in items]  # fmt: skip
    assert sizes[0] < 0.8 * sizes[1]


def test_rows_that_repeat_keep_the_predictor_sound() -> None:
    """Exact dependence leaves no noise, so covariances go to zero and rounding spoils them."""
    base = np.zeros((24, 20), np.float32) + 1
    data = base + np.outer(np.arange(24), np.ones(20)).astype(np.float32) * 2**-10
    for scale in (1, 2**60, 2**-100):
        old, new = (base * np.float32(scale)).tobytes(), (data * np.float32(scale)).tobytes()
        both_ways([DeltaItem(Item(Dtype.F32, 0, 24, 20), Mode.MOVED)], old, new)


def sample() -> tuple[list[DeltaItem], bytes, bytes]:
    base = normal(20, 16)
    items = [DeltaItem(Item(Dtype.BF16, 1, 20, 16), Mode.MOVED)]
    return items, as_dtype(base, Dtype.BF16), as_dtype(tuned(base, 0.01), Dtype.BF16)


def test_damaged_payloads() -> None:
    """Never a crash; either an error or other bytes, which the checksum of the block finds."""
    items, base, data = sample()
    old = np.frombuffer(base, np.uint8)
    payload = encode_deltas(items, old, np.frombuffer(data, np.uint8), "")
    for at in range(0, len(payload) - 1, 9):  # the last byte may have bits that say nothing
        for flip in (0x55, 0x80):
            broken = bytearray(payload)
            broken[at] ^= flip
            with suppress(PayloadError):
                assert decode_deltas(items, old, bytes(broken), "") != data
    for cut in range(0, len(payload) - 1, 17):
        with suppress(PayloadError):
            assert decode_deltas(items, old, payload[:cut], "") != data
    with pytest.raises(PayloadError):
        decode_deltas(items, old, b"", "")
    with pytest.raises(PayloadError):
        decode_deltas(items, old, payload + b"\0" * 8, "")


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=400), st.sampled_from(DTYPES))
def test_payloads_of_any_bytes(payload: bytes, dtype: Dtype) -> None:
    base = np.frombuffer(as_dtype(normal(12, 12), dtype), np.uint8)
    with suppress(PayloadError):
        decode_deltas([DeltaItem(Item(dtype, 0, 12, 12), Mode.MOVED)], base, payload, "")


def test_items_that_do_not_fit() -> None:
    items, base, data = sample()
    old, chunk = (np.frombuffer(x, np.uint8) for x in (base, data))
    with pytest.raises(ValueError, match="do not fill"):
        encode_deltas(items, old[:-2], chunk[:-2], "")
    with pytest.raises(ValueError, match="does not fill"):
        encode_deltas(items, old[:-2], chunk, "")
    with pytest.raises(ValueError, match="does not fill"):
        decode_deltas(items, old[:-2], b"1", "")
    with pytest.raises(ValueError, match="not equal"):
        encode_deltas([DeltaItem(items[0].tensor, Mode.EQUAL)], old, chunk, "")
    with pytest.raises(ValueError, match="no such mode"):
        _core.code_deltas([(4, 0, 20, 16, 3)], old, chunk, decode=False, isa="")
    with pytest.raises(ValueError, match=r"no such kind|no delta"):
        _core.code_deltas([(99, 0, 20, 16, 1)], old, chunk, decode=False, isa="")
