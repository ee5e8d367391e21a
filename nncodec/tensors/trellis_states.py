"""The states of trellis-coded ("dependent") quantisation: the twin of csrc/trellis_states.h.

Ungerboeck's rate-1/2 codes, advanced by the parity of each index. The lowest bit of a state names
the quantiser: 0 has the even multiples of the step, 1 the odd ones and zero (Haase et al.,
"Dependent scalar quantization for neural network compression", 2020).
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Ints = TypeVar("Ints", int, npt.NDArray[np.int64])

MAX_TRELLIS = 6  # log2 of the states
LOW, PARITY = (0, 0, 2, 5, 9, 18, 33), (0, 0, 1, 2, 2, 4, 10)


def next_state(log_states: int, state: Ints, index: Ints) -> Ints:
    """Of one row, or of several at once."""
    return state >> 1 ^ (state & 1) * LOW[log_states] ^ (index & 1) * PARITY[log_states]
