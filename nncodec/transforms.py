"""Reversible rewritings of a block that the models predict better. Bytes in, bytes out; no model.

A transform never lengthens what it is given. ``candidates`` only recognizes, ``codec`` decides.
docs/FORMAT.md defines them, docs/transforms.md says what they gain.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from nncodec import _core
from nncodec.blocks import Bytes
from nncodec.errors import CorruptDataError


class Transform(IntEnum):
    """How a block was rewritten before it was coded."""

    NONE = 0
    X86 = 1  # relative targets of calls, jumps and data to absolute ones; the length stays
    ESCAPES_LOWER = 2  # escapes like \u00e9 to UTF-8; shorter
    ESCAPES_UPPER = 3  # the same, of escapes like \u00E9


Integers = npt.NDArray[np.int64]

ESCAPES = {  # and their digits
    Transform.ESCAPES_LOWER: b"0123456789abcdef",
    Transform.ESCAPES_UPPER: b"0123456789ABCDEF",
}
ESCAPE_BYTES = 6
NO_DIGIT = 0xFF
X86_BYTES_A_TARGET = 1024  # at most; code has a call or jump every 30 to 80, noise every 8192


def candidates(data: Bytes) -> list[Transform]:
    """Transforms that could pay for (n,) ``data``, by a look at every byte and no more."""
    if len(data) < 2 * ESCAPE_BYTES:
        return []
    if data.max() < 0x80:
        counts = {t: len(find_escapes(data, digits)[0]) for t, digits in ESCAPES.items()}
        best = max(ESCAPES, key=lambda t: counts[t])  # digits alone count for both
        return [best] if counts[best] else []
    return [Transform.X86] if len(x86_targets(data)) * X86_BYTES_A_TARGET > len(data) else []


def apply(transform: Transform, data: Bytes) -> Bytes:
    """Rewrite (n,) ``data`` to at most n bytes.

    ``undo`` gives it back: for X86 whatever it is, for escapes if it has no byte above 0x7F.
    """
    if transform == Transform.X86:
        return _core.x86_filter(data, False)
    if transform in ESCAPES:
        return unescape(data, ESCAPES[transform])
    return data


def undo(transform: Transform, data: Bytes, size: int) -> Bytes:
    """Inverse of ``apply``: the (size,) bytes that became (m,) ``data``.

    Raises CorruptDataError if nothing of that size could have become ``data``.
    """
    if transform in ESCAPES:
        return escape(data, ESCAPES[transform], size)
    if len(data) != size:
        raise CorruptDataError(f"a block of {len(data)} bytes cannot be one of {size} transformed")
    return _core.x86_filter(data, True) if transform == Transform.X86 else data


def x86_targets(data: Bytes) -> Integers:
    """Where (n,) bytes E8 or E9 have, four further, 00 or FF, as calls over less than 16 MiB do."""
    opcodes = np.flatnonzero((data[:-4] & 0xFE) == 0xE8)
    return opcodes[np.isin(data[opcodes + 4], (0x00, 0xFF))]


def x86_sample(data: Bytes, size: int) -> Bytes:
    """The part of ``data``, ``size`` bytes at most, that has most of its targets."""
    start = size * int(np.bincount(x86_targets(data) // size).argmax())
    return data[start : start + size]


def find_escapes(data: Bytes, digits: bytes) -> tuple[Integers, Integers]:
    """Where (n,) ``data`` has escapes of code points from 0x80, and these points: (k,) each."""
    value = np.full(256, NO_DIGIT, dtype=np.uint8)
    value[np.frombuffer(digits, dtype=np.uint8)] = np.arange(16)
    starts = np.flatnonzero(data[: max(0, len(data) - ESCAPE_BYTES + 1)] == ord("\\"))
    starts = starts[data[starts + 1] == ord("u")]
    points = np.zeros(len(starts), dtype=np.int64)
    valid = np.ones(len(starts), dtype=bool)
    for i in range(2, ESCAPE_BYTES):
        digit = value[data[starts + i]]
        valid &= digit != NO_DIGIT
        points = points << 4 | digit
    valid &= points >= 0x80
    return starts[valid], points[valid]


def utf8_lengths(points: Integers) -> Integers:
    return 2 + (points >= 0x800) + (points >= 0x10000)


def unescape(data: Bytes, digits: bytes) -> Bytes:
    """Escapes to UTF-8, a surrogate without its other half to the three bytes of WTF-8."""
    starts, points = find_escapes(data, digits)
    high = np.flatnonzero(points[:-1] >> 10 == 0xD800 >> 10)
    pairs = high[
        (points[high + 1] >> 10 == 0xDC00 >> 10) & (starts[high + 1] == starts[high] + ESCAPE_BYTES)
    ]
    points[pairs] = 0x10000 + ((points[pairs] & 0x3FF) << 10) + (points[pairs + 1] & 0x3FF)
    lengths = utf8_lengths(points)
    lengths[pairs + 1] = 0  # the first half stands for both
    out, kept = data.copy(), np.ones(len(data), dtype=bool)
    for length, lead in ((2, 0xC0), (3, 0xE0), (4, 0xF0)):
        at, point = starts[lengths == length], points[lengths == length]
        out[at] = lead | point >> 6 * (length - 1)
        for i in range(1, length):
            out[at + i] = 0x80 | point >> 6 * (length - 1 - i) & 0x3F
    for i in range(ESCAPE_BYTES):
        kept[starts[lengths <= i] + i] = False
    return out[kept]


def escape(data: Bytes, digits: bytes, size: int) -> Bytes:
    """Inverse of ``unescape``. Nothing of the output's length is made before that is known."""
    try:
        text = data.tobytes().decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise CorruptDataError(f"a block is damaged: {error.reason} in its UTF-8") from error
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    points = points[points >= 0x80].astype(np.int64)
    astral = points >= 0x10000
    escapes = len(points) + int(astral.sum())
    needed = int((data < 0x80).sum()) + ESCAPE_BYTES * escapes
    if needed != size:
        raise CorruptDataError(f"a block is damaged: its escapes make {needed} bytes of {size}")
    growth = ESCAPE_BYTES * (1 + astral) - utf8_lengths(points)
    starts = np.flatnonzero(data >= 0xC0) + np.cumsum(growth) - growth
    second = 0xDC00 | points[astral] & 0x3FF
    points[astral] = 0xD800 + (points[astral] - 0x10000 >> 10)
    starts = np.concatenate((starts, starts[astral] + ESCAPE_BYTES))
    points = np.concatenate((points, second))
    out, plain = np.empty(size, dtype=np.uint8), np.ones(size, dtype=bool)
    out[starts], out[starts + 1] = ord("\\"), ord("u")
    table = np.frombuffer(digits, dtype=np.uint8)
    for i in range(2, ESCAPE_BYTES):
        out[starts + i] = table[points >> 4 * (ESCAPE_BYTES - 1 - i) & 0xF]
    for i in range(ESCAPE_BYTES):
        plain[starts + i] = False
    out[plain] = data[data < 0x80]
    return out
