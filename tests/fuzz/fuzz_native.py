"""The native boundary: arrays of any dtype, shape and layout, and payloads of noise.

Whatever is passed to ``nncodec._core``, an exception is all that may come of what makes no sense.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from fields import Fields
from fuzz_model import byte_model, token_model

from nncodec import _core
from nncodec.causal.exact.native import NativeEngine as TokenEngine
from nncodec.engine.native import NativeEngine, available_isas
from nncodec.numerics import COUNT_TOTAL, rope_table

# What a call may say of arguments that make no sense. A SystemError would be a bug of the binding.
REFUSALS = (TypeError, ValueError, RuntimeError, MemoryError, OverflowError, KeyError, IndexError)
DTYPES = (np.uint8, np.int8, np.int32, np.uint32, np.int64, np.float32, np.float64, np.bool_)
INTEGERS = (0, 1, 2, 3, 7, 16, 100, 256, 257, 1 << 12, -1, 1 << 24, (1 << 31) - 1, 1 << 31, 1 << 62,
            (1 << 63) - 1, -(1 << 63), 1 << 64)  # fmt: skip


def array(f: Fields, dtype: type, axes: int) -> Any:
    """Mostly what is asked for, and small; else of another dtype, shape or layout, or no array."""
    way = f.byte()
    if way < 12:
        return (None, b"", b"abc", 3, "x", [1, 2], memoryview(b"ab"))[way % 7]
    if way < 40:
        dtype = f.pick(DTYPES)
    if way < 60 and way % 2:
        axes = f.byte() % 4
    shape = [f.byte() % 9 for _ in range(axes)]
    if axes and f.byte() < 200:
        shape[-1] = 256 if axes == 2 else f.below(600)
    raw = f.bytes(min(200, 8 * int(np.prod(shape))))
    count = int(np.prod(shape))
    size = count * np.dtype(dtype).itemsize
    raw = (raw * (size // len(raw) + 1))[:size] if raw else bytes(size)
    with np.errstate(all="ignore"):
        made = np.frombuffer(raw, np.dtype(dtype)).reshape(shape).copy()
    if way % 16 == 1:
        made = made[..., ::-1]
    elif way % 16 == 2:
        made = np.asfortranarray(made)
    elif way % 16 == 3:
        made.flags.writeable = False
    elif way % 16 == 4:
        made = made.astype(made.dtype.newbyteorder(">"))
    elif way % 16 == 5 and made.size:
        made = np.broadcast_to(made.reshape(-1)[0], made.shape)
    return made


def integer(f: Fields) -> Any:
    way = f.byte()
    if way < 6:
        return (None, 1.5, "1", b"1", True, np.int64(5))[way]
    return f.pick(INTEGERS) if way < 60 else f.byte() % 64


def counts(f: Fields, rows: int | None = None) -> Any:
    """Rows of 256 counts that are good, or anything."""
    if f.byte() < 60:
        return array(f, np.int32, 2)
    others = 1 + f.below(60000)
    good = np.full((f.byte() % 5 if rows is None else rows, 256), others, np.int32)
    good[:, f.byte()] = COUNT_TOTAL - 255 * others
    return good


def items(f: Fields, fields: int) -> Any:
    if f.byte() < 10:
        return f.pick((None, [], [()], [(1,)], "x", [(1, 2, 3, 4, 5, 6)], [None]))
    made = []
    for _ in range(1 + f.byte() % 3):
        kind = f.pick((0, 2, 3, 4, 5, 6, 7, 8, 9, 32, 35, 38, 39))
        row = [kind, f.byte(), 1 + f.byte() % 9, 1 + f.byte() % 40, f.byte() % 4][:fields]
        if f.byte() < 40:
            row[f.byte() % fields] = integer(f)
        made.append(tuple(row))
    return made


def isa(f: Fields) -> Any:
    return f.pick((*available_isas(), "")) if f.byte() < 240 else f.pick(("x", None, 3, "é"))


@lru_cache
def engines() -> list[Any]:
    return [NativeEngine(byte_model(), 1).core, TokenEngine(token_model(), 1).core]


def engine_of(f: Fields) -> Any:
    return f.pick([*engines(), engines()[0], None]) if f.byte() < 250 else 7


def range_coders(f: Fields) -> None:
    encoder, decoder = _core.RangeEncoder(), _core.RangeDecoder(array(f, np.uint8, 1))
    for _ in range(f.byte() % 5):
        way = f.byte() % 6
        if way == 0:
            encoder.encode(counts(f), array(f, np.uint8, 1))
        elif way == 1:
            encoder.encode_wide(array(f, np.uint32, 2), array(f, np.int32, 1))
        elif way == 2:
            decoder.decode(counts(f))
        elif way == 3:
            decoder.decode_wide(array(f, np.uint32, 2))
        elif way == 4:
            decoder.finish()
        else:
            encoder.finish()


def blocks(f: Fields) -> None:
    size, lanes, prefix, bits = (
        f.below(400),
        1 + f.byte() % 9,
        f.byte() % 9,
        (0, 10, 11)[f.byte() % 3],
    )
    if f.byte() < 80:
        size, lanes, prefix, bits = (integer(f) for _ in range(4))
    if isinstance(size, int) and size > 1 << 16:
        size = f.pick((size, 1 << 40))  # not so much that it would be coded for minutes
        if size < 1 << 31:
            return
    coder = _core.BlockCoder(
        engine_of(f), size, lanes, prefix, bits, array(f, np.uint8, 1), bool(f.byte() & 1), isa(f),
        f.byte() < 60,
    )  # fmt: skip
    for _ in range(f.byte() % 6):
        way = f.byte() % 5
        if way < 3:
            coder.run(integer(f))
        elif way == 3:
            coder.finish()
        else:
            coder.take_trace()


def mixed(f: Fields) -> None:
    size, lanes, prefix, bits = f.below(300), 1 + f.byte() % 9, f.byte() % 9, 10 + f.byte() % 2
    if f.byte() < 60:
        size, lanes, prefix, bits = (integer(f) for _ in range(4))
        if isinstance(size, int) and size > 1 << 16:
            size = 1 << 40
    learning = bool(f.byte() & 1)
    if f.byte() & 1:
        encoder = _core.MixedEncoder(size, lanes, prefix, bits, learning, isa(f))
        for _ in range(f.byte() % 4):
            encoder.encode(counts(f), array(f, np.uint8, 1))
        encoder.finish()
        return
    payload = array(f, np.uint8, 1)
    decoder = _core.MixedDecoder(size, lanes, prefix, bits, payload, learning, isa(f))
    for _ in range(f.byte() % 4):
        decoder.decode(counts(f))
    decoder.finish()


def states(f: Fields) -> None:
    state = _core.State(engine_of(f))
    for _ in range(f.byte() % 5):
        way = f.byte() % 4
        if way == 0:
            lanes = integer(f)
            if not isinstance(lanes, int) or lanes < 1 << 16:
                state.fork(lanes)
        elif way < 3:
            state.advance(array(f, np.int32, 2)[:, :20])
        else:
            state.advance_wide(array(f, np.int32, 2)[:, :20], integer(f))


def tensors(f: Fields) -> None:
    if f.byte() & 1:
        _core.code_tensors(items(f, 4), array(f, np.uint8, 1), bool(f.byte() & 1), isa(f))
    else:
        _core.code_fields(items(f, 4), array(f, np.uint8, 1), bool(f.byte() & 1), isa(f))


def deltas(f: Fields) -> None:
    data = array(f, np.uint8, 1), array(f, np.uint8, 1)
    if f.byte() & 3:
        _core.code_deltas(items(f, 5), *data, bool(f.byte() & 1), isa(f))
    else:
        _core.measure_deltas(items(f, 5), *data, isa(f))


def store(f: Fields) -> None:
    expected = integer(f)
    if isinstance(expected, int) and 1 << 20 < expected < 1 << 40:
        return
    kept = _core.ByteStore(expected)
    for _ in range(f.byte() % 8):
        way = f.byte() % 5
        if way == 0:
            size = integer(f)
            if not isinstance(size, int) or not 1 << 20 < size < 1 << 40:
                kept.claim(size)
        elif way == 1:
            kept.put(integer(f), array(f, np.uint8, 1))
        elif way == 2:
            kept.write(array(f, np.uint8, 1))
        elif way == 3:
            kept.decode_fields(integer(f), items(f, 4), array(f, np.uint8, 1), isa(f))
        else:
            kept.take()


def plain(f: Fields) -> None:
    way = f.byte() % 4
    if way == 0:
        _core.xxh64(array(f, np.uint8, 1), integer(f))
    elif way == 1:
        _core.x86_filter(array(f, np.uint8, 1), f.byte() & 1 == 1)
    elif way == 2:
        _core.trellis_quantize(
            array(f, np.int32, 2), array(f, np.int32, 2)[:2], f.pick((4, 8, 64, integer(f))),
            integer(f), integer(f),
        )  # fmt: skip
    else:
        _core.measure_multiply(isa(f), 0, integer(f), integer(f), 1e-9)


def new_engine(f: Fields) -> None:
    """A config and tensors that do not fit each other."""
    from dataclasses import asdict

    model = f.pick((byte_model(), token_model()))
    config = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(model.config).items()}
    weights: dict[str, Any] = dict(model.tensors)
    if f.byte() & 1:
        config[f.pick(sorted(config))] = f.pick((integer(f), [1 << 33], [], [integer(f)]))
    if f.byte() & 1:
        weights[f.pick(sorted(weights))] = array(f, f.pick((np.int8, np.float32)), 1 + f.byte() % 2)
    if f.byte() < 30:
        weights.pop(f.pick(sorted(weights)))
    cos, sin = rope_table(model.config.rope_period)
    cos = array(f, np.float32, 1) if f.byte() < 20 else cos
    threads = 1 if f.byte() < 240 else f.pick((0, -1, 1 << 20, None))
    core = _core.Engine(config, weights, cos, sin, threads, isa(f))
    state = _core.State(core)
    if model is byte_model():
        state.advance(np.array([[256, 7, 9]], np.int32))
    else:
        state.advance_wide(np.array([[1, 7, 9]], np.int32), 2)


CALLS: tuple[Callable[[Fields], None], ...] = (
    range_coders, blocks, mixed, states, tensors, deltas, store, plain, new_engine
)  # fmt: skip


def TestOneInput(data: bytes) -> None:
    fields = Fields(data)
    with contextlib.suppress(*REFUSALS):
        fields.pick(CALLS)(fields)


def seeds() -> list[bytes]:
    rng = np.random.default_rng(4)
    noise = [bytes((i,)) + rng.bytes(120) for i in range(len(CALLS)) for _ in range(8)]
    return noise + [bytes((i,)) + bytes([200]) * 60 for i in range(len(CALLS))]
