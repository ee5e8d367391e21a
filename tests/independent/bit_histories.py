"""The states of contexts (FORMAT-mixer.md, "Bit histories"), as tables."""

import numpy as np
import numpy.typing as npt


def bound(k: int) -> int:
    if k < 7:
        return (40, 28, 12, 7, 5, 4, 3)[k]
    return 2 if k <= 12 else 1 if k <= 28 else 0


def make_states() -> list[tuple[int, int, int]]:
    """All (zeros, ones, last), in the order of their numbers."""
    states = []
    for total in range(81):
        for ones in range(total + 1):
            zeros = total - ones
            if zeros <= bound(ones) and ones <= bound(zeros):
                if zeros == 0 or ones == 0:
                    states.append((zeros, ones, 1 if ones > 0 else 0))
                else:
                    states += [(zeros, ones, 0), (zeros, ones, 1)]
    return states


STATES = make_states()


def make_next(zeros: int, ones: int, bit: int) -> int:
    """The number of the state that (zeros, ones, ..) becomes after a bit."""
    mine, other = (ones + 1, zeros) if bit else (zeros + 1, ones)
    if other > 2:
        other = (2, 3, 3, 4, 4)[other - 3] if other <= 7 else 5 if other <= 15 else 6
    while mine > bound(other) or other > bound(mine):
        if mine > bound(other):
            mine -= 1
        else:
            other -= 1
    zeros, ones = (other, mine) if bit else (mine, other)
    last = bit if zeros and ones else int(ones > 0)
    return STATES.index((zeros, ones, last))


NEXT: npt.NDArray[np.uint8] = np.array(
    [[make_next(zeros, ones, bit) for zeros, ones, _ in STATES] for bit in (0, 1)], np.uint8
)
FIRST = [(2 * ones + 1) * 65535 // (2 * (zeros + ones) + 2) for zeros, ones, _ in STATES]
