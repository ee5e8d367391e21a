"""How an encoder chooses to see an item: choose_mode of csrc/tensor_planes.cc, its readable twin.

Integers only, so that archives are the same whoever makes them. A decoder reads the mode.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.grid import find_grid
from nncodec.tensors.items import Item
from nncodec.tensors.planes import WHOLE_ROW, Bytes, Mode, View, planes_of, split
from nncodec.tensors.trellis_states import MAX_TRELLIS, next_state

SAMPLE = 1 << 18  # elements that are looked at
LEAST = 1 << 12  # of which to draw a conclusion
Ints = npt.NDArray[np.int64]


def choose_mode(item: Item, data: Bytes) -> Mode:
    """The best mode for an item's (size,) bytes."""
    if item.dtype in (Dtype.I8, Dtype.I16) and (trellis := choose_trellis(item, data)):
        return Mode(trellis=trellis)
    if grid := find_grid(item, data):
        wide = bool((grid.codes > 127).any() or (grid.codes < -128).any())
        row = grid.group == item.cols
        return Mode(View.GRID, wide, group=WHOLE_ROW if row else grid.group.bit_length() - 1)
    if item.dtype not in (Dtype.I8, Dtype.U8):
        return Mode()
    signed = item.dtype == Dtype.I8
    if (data + np.uint8(8 * signed) < 16).all():
        view, twos = View.SMALL, signed
    elif looks_packed(data):
        view, low = View.PACKED, np.bincount(data & 15, minlength=16)
        # Weights crowd around zero: 8 of codes with an offset, 0 of two's complement.
        twos = bool(low[[15, 0, 1]].sum() > low[[7, 8, 9]].sum())
    else:
        return Mode()
    mode = Mode(view, twos)
    codes, cols = split(item, mode, data)[-1], planes_of(item, mode)[-1].cols
    return Mode(view, twos, group=choose_group(codes, cols))


def choose_trellis(item: Item, data: Bytes) -> int:
    """log2 of the states that make the elements most predictable, or 0.

    Runs of zeros make every state machine gain; a trellis is the one that gains alone.
    """
    if item.cols < 2:
        return 0
    rows = max(1, min(item.rows, SAMPLE // item.cols))
    values = data.view("<i2" if item.dtype == Dtype.I16 else "i1").reshape(item.rows, item.cols)
    sample = values[:rows, :SAMPLE].astype(np.int64)
    if sample.size < LEAST:
        return 0
    plain = trellis_cost(sample, 0)
    gains = {log: plain - trellis_cost(sample, log) for log in range(2, MAX_TRELLIS + 1)}
    second, gain = sorted(gains.values())[-2:]
    if gain * 100 > plain and max(0, second) * 2 < gain:
        return max(gains, key=gains.__getitem__)
    return 0


def trellis_cost(sample: Ints, log_states: int) -> int:
    """Of (rows, cols) indices, each under its state's quantiser. Every row begins in state 0."""
    quantisers = np.zeros_like(sample)
    state = np.zeros(len(sample), dtype=np.int64)
    for col in range(sample.shape[1] if log_states else 0):
        quantisers[:, col] = state & 1
        state = next_state(log_states, state, sample[:, col])
    clamped = np.clip(sample + 128, 0, 255)
    return sum(cost(np.bincount(clamped[quantisers == q], minlength=256)) for q in (0, 1))


def looks_packed(data: Bytes) -> bool:
    """Whether bytes hold two codes each: both halves are distributed alike, and tell little of
    each other."""
    data = data[:SAMPLE]
    n = len(data)
    if n < LEAST:
        return False
    low, high = (np.bincount(half, minlength=16) for half in (data & 15, data >> 4))
    halves, whole = cost(low) + cost(high), cost(np.bincount(data))
    return bool(
        int(np.abs(low - high).sum()) * 4 < n
        and halves * 64 < (n * 8 << 16) * 63
        and halves < whole + whole // 8  # neighbours are of one size
    )


def choose_group(codes: Bytes, cols: int) -> int:
    """log2 of how many codes share a scale, if nearly all such groups hold an extreme code."""
    extreme = (codes == codes.min()) | (codes == codes.max())
    for log in range(4, 9):
        group = 1 << log
        if cols % group:
            break
        if int(extreme.reshape(-1, group).any(axis=1).sum()) * group * 64 >= len(codes) * 63:
            return log
    return 0


def cost(counts: npt.NDArray[np.signedinteger]) -> int:
    """Bits times 2^16 that the counts' entropy makes of all that was counted."""
    return n_log_n(int(counts.sum())) - sum(n_log_n(int(n)) for n in counts)


def n_log_n(n: int) -> int:
    """n log2 n in units of 2^-16: log2 of 1 + f by its chord and a parabola, within 0.008."""
    if n < 2:
        return 0
    k = n.bit_length() - 1
    f = (n << 16 >> k) & 0xFFFF
    return n * ((k << 16) + f + (f * (65536 - f) * 22500 >> 32))
