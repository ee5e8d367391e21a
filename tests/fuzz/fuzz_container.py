"""Archives that no model is needed for: any bytes, forged frames, damaged ones, and round trips."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from fields import Fields, damaged
from forged import BASE, Forger, check, header_size, repaired

import nncodec
from nncodec._core import xxh64
from nncodec.blocks import Geometry
from nncodec.container import Block, Frame, Kind
from nncodec.engine.native import NativeContexts, choose_isa
from nncodec.lanes import no_progress
from nncodec.tensors.coder import encode_fields, encode_tensors
from nncodec.tensors.delta_coder import encode_deltas
from nncodec.tensors.delta_items import DeltaItem, Mode
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import Item
from nncodec.transforms import Transform, apply

TEXT = b"an archive of a few words, again and again, " * 6
ESCAPES = rb"\u0e17\u0e35 \ud83d\ude00 " * 8


@lru_cache
def whole() -> list[tuple[bytes, bytes]]:
    """Archives of every kind that needs no model, and what they hold."""
    pairs = [(nncodec.compress(data, 1), data) for data in (b"", b"z" * 99, TEXT, ESCAPES)]
    code = bytes(b for i in range(60) for b in (0x48, 0x8B, 0xE8, i * 7 % 256, 0, 0, 0, 0x90))
    pairs.append((nncodec.compress(code, 1), code))
    rng = np.random.default_rng(1)
    numbers = np.round(rng.normal(size=(8, 12)) * 4).astype(np.float32) / 4
    chunk = np.frombuffer(numbers.tobytes() * 3, np.uint8)
    items, isa = (Item(Dtype.F32, 3, 24, 10), Item(Dtype.BF16, 4, 6, 16)), choose_isa()
    for kind, payload in (
        (Kind.TENSORS, encode_tensors(items, chunk, isa)),
        (Kind.FIELDS, encode_fields(items, chunk, isa)),
    ):
        row = Block(kind, len(chunk), len(payload), xxh64(chunk), items=items)
        pairs.append((framed(row, payload), chunk.tobytes()))
    base = BASE.data[100 : 100 + len(chunk)]
    near = base.copy()
    near[::7] += 1
    deltas = tuple(
        DeltaItem(item, mode, 100 + at)
        for item, mode, at in zip(items, (Mode.MOVED, Mode.GIVEN), (0, 960), strict=True)
    )
    payload = encode_deltas(deltas, base, near, isa)
    row = Block(Kind.DELTA, len(near), len(payload), xxh64(near), deltas=deltas)
    pairs.append((framed(row, payload, BASE.id), near.tobytes()))
    words = np.frombuffer(TEXT[:90], np.uint8)
    payload = NativeContexts().encode(words, Geometry(1, 0, 10), no_progress)
    row = Block(Kind.CONTEXTS, 90, len(payload), xxh64(words), Geometry(1, 0, 10))
    pairs.append((framed(row, payload), TEXT[:90]))
    jumps = np.frombuffer(code[:200], np.uint8)
    coded, geometry = apply(Transform.X86, jumps), Geometry(1, 0, 10)
    payload = NativeContexts().encode(coded, geometry, no_progress)
    row = Block(Kind.CONTEXTS, 200, len(payload), xxh64(jumps), geometry, Transform.X86, len(coded))
    pairs.append((framed(row, payload), code[:200]))
    return pairs


def framed(row: Block, payload: bytes, base_id: bytes | None = None) -> bytes:
    assert len(payload) <= row.size
    return Frame(row.size, row.size, (row,), base_id=base_id).pack() + payload


def TestOneInput(data: bytes) -> None:
    fields = Fields(data)
    way = fields.byte() % 8
    if way == 0:
        check(fields.rest())
    elif way < 4:
        check(Forger(fields).archive())
    elif way < 7:
        archive, original = fields.pick(whole())
        broken = damaged(archive, fields)
        if way > 4:
            broken = repaired(archive, broken, header_size(archive))
        out = check(broken)
        if broken == archive:
            assert out == original
    else:
        original = fields.rest()
        assert check(nncodec.compress(original, 1, threads=1)) == original


def seeds() -> list[bytes]:
    return [bytes((0,)) + archive for archive, _ in whole()] + [
        bytes((way, i, 0, 0)) for way in (4, 5, 7) for i in range(len(whole()))
    ]
