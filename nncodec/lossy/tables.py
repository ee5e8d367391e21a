"""Fixed-length formats, for comparison and for what others read: int8, int4, NF4, quantile codes.

Each function takes (rows, cols) float32 and gives int8 indices with their scales. A scale is the
largest magnitude of what shares it over the largest code.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int8]

# Quantiles of the normal distribution, scaled to [-1, 1], with an exact zero, as bitsandbytes has
# them: T. Dettmers et al., "QLoRA", 2023, appendix E.
NF4 = np.array(
    [
        *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
        *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
        *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
        *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
    ],
    dtype=np.float32,
)
NF4_ZERO = 7  # the index of 0; codes count from there
NF4_GROUP = 64


def int8(matrix: Matrix, per_row: bool) -> tuple[Codes, Matrix]:
    """Codes -127 to 127, and scales (rows, 1), or (1, 1) for the whole matrix."""
    peak = np.abs(matrix).max(axis=1 if per_row else None, keepdims=True, initial=0)
    scales = safe(peak / np.float32(127))
    return np.clip(np.rint(matrix / scales), -127, 127).astype(np.int8), scales


def int4(matrix: Matrix, group: int) -> tuple[Codes, npt.NDArray[np.float16]]:
    """Codes -7 to 7, and scales (rows, groups) in float16."""
    scales = _half(group_peaks(matrix, group) / np.float32(7))
    codes = np.rint(matrix / spread(scales.astype(np.float32), group, matrix.shape[1]))
    return np.clip(codes, -7, 7).astype(np.int8), scales


def nf4(matrix: Matrix, group: int) -> tuple[Codes, npt.NDArray[np.float16]]:
    """Codes -7 to 8, counted from the code of zero, and scales (rows, groups) in float16."""
    scales = _half(group_peaks(matrix, group))
    unit = matrix / spread(scales.astype(np.float32), group, matrix.shape[1])
    codes = np.searchsorted((NF4[1:] + NF4[:-1]) / 2, unit)
    return (codes - NF4_ZERO).astype(np.int8), scales


def quantile(matrix: Matrix, count: int) -> tuple[Codes, Matrix]:
    """Codes -count/2 up, and the codebook (count,): means of parts of equal population.

    Equal populations maximise the codes' entropy: any other format is smaller at the same error.
    """
    ordered = np.sort(matrix, axis=None).astype(np.float64)
    parts = np.array_split(ordered, count)
    centre = ordered[ordered.size // 2]
    book = np.array([part.mean() if part.size else centre for part in parts], dtype=np.float32)
    book.sort()
    codes = np.searchsorted((book[1:] + book[:-1]) / 2, matrix)
    return (codes - count // 2).astype(np.int8), book


def group_peaks(matrix: Matrix, group: int) -> Matrix:
    """(rows, groups): the largest magnitude of each run of ``group`` elements of a row."""
    rows, cols = matrix.shape
    padded = np.pad(np.abs(matrix), ((0, 0), (0, -cols % group)))
    peaks: Matrix = padded.reshape(rows, -(-cols // group), group).max(axis=2, initial=0)
    return peaks


def spread(scales: Matrix, group: int, cols: int) -> Matrix:
    """(rows, groups) to (rows, cols)."""
    return np.repeat(scales, group, axis=1)[:, :cols]


def pack_nibbles(codes: Codes) -> npt.NDArray[np.uint8]:
    """(rows, cols) in -8..7 to (rows, ceil(cols / 2)): the first of two in the low four bits."""
    even = np.pad(codes, ((0, 0), (0, codes.shape[1] & 1))).view(np.uint8)
    low, high = even[:, ::2] & np.uint8(15), even[:, 1::2] << np.uint8(4)
    return (low | high).astype(np.uint8)


def unpack_nibbles(packed: npt.NDArray[np.uint8], cols: int) -> Codes:
    """Inverse of ``pack_nibbles``."""
    low, high = (packed << 4).view(np.int8) >> 4, packed.view(np.int8) >> 4
    return np.stack([low, high], axis=2).reshape(len(packed), -1)[:, :cols]


def safe(scales: Matrix) -> Matrix:
    """Zeros have no size: 1 instead, so that codes are 0."""
    return np.where(scales > 0, scales, np.float32(1))


def _half(scales: Matrix) -> npt.NDArray[np.float16]:
    """Float16, upward, so that the largest code suffices; at most its largest number."""
    half = np.minimum(scales, np.float32(65504)).astype(np.float16)
    short = (half.astype(np.float32) < scales) & (half < 65504)
    half[short] = np.nextafter(half[short], np.float16(np.inf))
    return np.where(half > 0, half, np.float16(1))
