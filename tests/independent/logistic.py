"""SQUASH and STRETCH (FORMAT-mixer.md, "Logistic tables"), as arrays."""

import numpy as np
import numpy.typing as npt

MOST = 2815


def clamp(x: int, most: int) -> int:
    return -most if x < -most else most if x > most else x


def make_squash() -> list[int]:
    """Entry MOST + x is squash(x)."""
    table = [0] * (2 * MOST + 1)
    power = 2**31
    for k in range(MOST + 1):
        whole = 2**31 + power
        q = min((2**47 + whole // 2) // whole, 65535)
        table[MOST + k] = q
        table[MOST - k] = 65536 - q
        power = power * 4278222805 >> 32
    return table


SQUASH = make_squash()
SQUASH_ARRAY: npt.NDArray[np.int64] = np.array(SQUASH, np.int64)


def inverse(p: int) -> int:
    """The smallest logit of which squash is at least p."""
    return int(np.searchsorted(SQUASH_ARRAY, p)) - MOST


def make_stretch(p: int) -> int:
    if p < 1024:
        return inverse(p)
    if p == 65536:
        return MOST
    if p > 65536 - 1024:
        return -inverse(65536 - p)
    return inverse(16 * (p >> 4) + 8)


STRETCH: npt.NDArray[np.int64] = np.array([make_stretch(p) for p in range(65537)], np.int64)


def squash(x: int) -> int:
    return SQUASH[MOST + clamp(x, MOST)]


def stretch(p: int) -> int:
    return int(STRETCH[p])
