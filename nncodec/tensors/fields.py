"""Chunks of tensors cut into fields: the readable twin of csrc/field_coder.cc.

What a payload says decides everything about decoding; how an encoder comes to its plan is not part
of the format, so ``encode`` takes one, such as ``plan_of`` a payload. docs/FORMAT-fields.md defines
the layout.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate

from nncodec._core import PayloadError
from nncodec.tensors.field_plan import (
    FREQUENCY_BITS,
    TOTAL,
    Plan,
    Shape,
    read_plan,
    shapes_of,
    write_plan,
)
from nncodec.tensors.field_planes import Planes, cut, join, runs_of, unit_begins
from nncodec.tensors.items import Item

FEW_LANES, MANY_LANES = 32, 64
FOR_MANY_LANES = 1 << 20  # symbols of a payload that have a table
LOW = 1 << 15  # of a state; its words have 16 bits
Stream = tuple[int, bytearray]  # a table, and what it codes


def decode(items: Sequence[Item], payload: bytes) -> bytes:
    """The chunk. Raises PayloadError if the payload is found damaged."""
    shapes = shapes_of(items)
    plan, rest = _cut_plan(shapes, payload)
    runs = [runs_of(shape, item) for shape, item in zip(shapes, plan.items, strict=True)]
    data = [[bytearray(run.size) for run in own] for own in runs]
    flat = [
        (run.table, out)
        for own, outs in zip(runs, data, strict=True)
        for run, out in zip(own, outs, strict=True)
    ]
    coded = sorted((s for s in flat if s[0]), key=lambda s: s[0])  # stable
    if coded:
        rest = _decode_coded(plan, coded, rest)
    if len(rest) != sum(len(out) for table, out in flat if not table):
        raise PayloadError("payload has another length than its plan says")
    for table, out in flat:
        if not table:
            out[:], rest = rest[: len(out)], rest[len(out) :]
    chunk = bytearray()
    begins = unit_begins(shapes)
    for shape, item, own, outs in zip(shapes, plan.items, runs, data, strict=True):
        planes: Planes = {}
        for run, out in zip(own, outs, strict=True):
            for unit, size in run.units:
                planes[run.plane, unit] = bytes(out[:size])
                del out[:size]
        join(shape, item, planes, chunk, begins)
    return bytes(chunk)


def encode(items: Sequence[Item], chunk: bytes, plan: Plan) -> bytes:
    """The payload of ``chunk``, which holds the items, by a plan that fits it."""
    shapes = shapes_of(items)
    if sum(item.size for item in items) != len(chunk):
        raise ValueError("the tensors do not fill the chunk")
    begins = unit_begins(shapes)
    flat: list[Stream] = []
    for shape, item in zip(shapes, plan.items, strict=True):
        planes = cut(shape, item, chunk, begins)
        for run in runs_of(shape, item):
            data = b"".join(planes[run.plane, unit] for unit, _ in run.units)
            flat.append((run.table, bytearray(data)))
    coded = sorted((s for s in flat if s[0]), key=lambda s: s[0])
    written = write_plan(shapes, plan)
    out = _varint(len(written)) + written
    if coded:
        out += _encode_coded(plan, coded)
    return out + b"".join(bytes(data) for table, data in flat if not table)


def plan_of(items: Sequence[Item], payload: bytes) -> Plan:
    """What the encoder of a payload decided. Raises PayloadError."""
    return _cut_plan(shapes_of(items), payload)[0]


def _cut_plan(shapes: Sequence[Shape], payload: bytes) -> tuple[Plan, bytes]:
    size, rest = _read_varint(payload)
    if size > len(rest):
        raise PayloadError("payload ends too early")
    return read_plan(shapes, rest[:size]), rest[size:]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes((value,)))


def _read_varint(data: bytes) -> tuple[int, bytes]:
    value = 0
    for i, byte in enumerate(data[:5]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            if byte == 0 and i:
                raise PayloadError("a length is not in its shortest form")
            return value, data[i + 1 :]
    raise PayloadError("a length is too long, or payload ends too early")


def _decode_coded(plan: Plan, streams: Sequence[Stream], data: bytes) -> bytes:
    """Fills the streams; returns what follows them."""
    lanes = _lanes_for(streams)
    layout = struct.Struct(f"<{lanes}I")
    count, data = _read_varint(data)
    if len(data) < layout.size + 2 * count:
        raise PayloadError("payload ends too early")
    states = list(layout.unpack_from(data))
    if any(not LOW <= x < LOW << 16 for x in states):
        raise PayloadError("a state is out of range")
    words = iter(struct.unpack_from(f"<{count}H", data, layout.size))
    for table, out in streams:
        frequencies = plan.tables[table - 1]
        starts = [0, *accumulate(frequencies)]
        symbols = [s for s in range(256) for _ in range(frequencies[s])]
        for i in range(len(out)):
            x = states[i % lanes]
            slot = x % TOTAL
            s = out[i] = symbols[slot]
            x = frequencies[s] * (x >> FREQUENCY_BITS) + slot - starts[s]
            if x < LOW:
                word = next(words, None)
                if word is None:
                    raise PayloadError("payload ends too early")
                x = x << 16 | word
            states[i % lanes] = x
    if next(words, None) is not None or any(x != LOW for x in states):
        raise PayloadError("payload is damaged")
    return data[layout.size + 2 * count :]


def _encode_coded(plan: Plan, streams: Sequence[Stream]) -> bytes:
    """From the last symbol to the first, as rANS must."""
    lanes = _lanes_for(streams)
    states = [LOW] * lanes
    words: list[int] = []
    for table, data in reversed(streams):
        frequencies = plan.tables[table - 1]
        starts = [0, *accumulate(frequencies)]
        for i in reversed(range(len(data))):
            x, f = states[i % lanes], frequencies[data[i]]
            if x >= f << 31 - FREQUENCY_BITS:
                words.append(x & 0xFFFF)
                x >>= 16
            states[i % lanes] = (x // f << FREQUENCY_BITS) + x % f + starts[data[i]]
    packed = struct.pack(f"<{lanes}I{len(words)}H", *states, *words[::-1])
    return _varint(len(words)) + packed


def _lanes_for(streams: Sequence[Stream]) -> int:
    symbols = sum(len(data) for _, data in streams)
    return FEW_LANES if symbols < FOR_MANY_LANES else MANY_LANES
