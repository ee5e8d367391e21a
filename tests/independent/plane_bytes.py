"""From planes to bytes (FORMAT-tensors.md, "Planes")."""

import numpy as np
import numpy.typing as npt

from .container import COLUMN_BYTES, Item
from .planes import Mode, Plane

Integers = npt.NDArray[np.int64]


def item_bytes(item: Item, mode: Mode, planes: list[Plane]) -> bytes:
    if item.dtype >= 32:
        return block_bytes(item.dtype, planes)
    values: Integers = np.array(planes[-1].values, np.int64)
    if mode.view == 1:
        values = values - 8 * mode.twos & 255
    elif mode.view == 2:
        codes = (values ^ 8 * mode.twos) & 15
        values = codes[0::2] | codes[1::2] << 4
    elif mode.view == 3:
        return grid_bytes(item.dtype, *planes)
    return values.astype(f"<u{COLUMN_BYTES[item.dtype]}").tobytes()


def grid_bytes(dtype: int, scales: Plane, integers: Plane) -> bytes:
    """Scales times integers."""
    factors = np.array(scales.values, np.uint32).view(np.float32)
    numbers = np.array([integers.number(value) for value in integers.values], np.float32)
    with np.errstate(all="ignore"):
        product = (numbers.reshape(-1, integers.group) * factors[:, None]).reshape(-1)
        halves = product.astype("<f2").view("<u2")
    v = product.view(np.uint32).astype(np.int64)
    if dtype == 3:  # of a NaN an infinity of its sign
        return (
            np.where(np.isnan(product), v >> 16 & 0x8000 | 0x7C00, halves).astype("<u2").tobytes()
        )
    if dtype == 2:
        return v.astype("<u4").tobytes()
    return ((v + 0x7FFF + (v >> 16 & 1) & 2**32 - 1) >> 16).astype("<u2").tobytes()


def block_bytes(dtype: int, planes: list[Plane]) -> bytes:
    """ggml's blocks, by the table of where their bits lie."""
    blocks = planes[0].rows * planes[0].columns
    out = np.zeros((blocks, COLUMN_BYTES[dtype]), np.uint8)
    fields = [np.array(plane.values, np.int64).reshape(blocks, -1) for plane in planes]
    d, codes = fields[0][:, 0], fields[-1]

    def put(byte: int, bit: int, width: int, values: Integers) -> None:
        """The low `width` bits of a value of every block, from byte.bit on."""
        out[:, byte] |= ((values & 2**width - 1) << bit).astype(np.uint8)

    def put_float16(byte: int, values: Integers) -> None:
        put(byte, 0, 8, values)
        put(byte + 1, 0, 8, values >> 8)

    put_float16(208 if dtype == 39 else 0, d)
    if dtype in (33, 35, 37, 38):
        put_float16(2, fields[1][:, 0])
    if dtype in (32, 33, 34, 35):
        high = 2 if dtype in (32, 34) else 4
        low = high + (4 if dtype >= 34 else 0)
        for e in range(32):
            put(low + e % 16, 4 * (e // 16), 4, codes[:, e])
            if dtype >= 34:
                put(high + e // 8, e % 8, 1, codes[:, e] >> 4)
    elif dtype == 36:
        for e in range(32):
            put(2 + e, 0, 8, codes[:, e])
    elif dtype in (37, 38):
        for j in range(8):
            s, t = fields[2][:, j], fields[3][:, j]
            if j < 4:
                put(4 + j, 0, 6, s)
                put(8 + j, 0, 6, t)
            else:
                put(8 + j, 0, 4, s)
                put(j, 6, 2, s >> 4)
                put(8 + j, 4, 4, t)
                put(4 + j, 6, 2, t >> 4)
        low = 48 if dtype == 38 else 16
        for e in range(256):
            put(low + 32 * (e // 64) + e % 32, 4 * (e % 64 // 32), 4, codes[:, e])
            if dtype == 38:
                put(16 + e % 32, e // 32, 1, codes[:, e] >> 4)
    else:
        for j in range(16):
            put(192 + j, 0, 8, fields[1][:, j])
        for e in range(256):
            h, q, i = e // 128, e % 128 // 32, e % 32
            put(64 * h + 32 * (q % 2) + i, 4 * (q // 2), 4, codes[:, e])
            put(128 + 32 * h + i, 2 * q, 2, codes[:, e] >> 4)
    return out.tobytes()
