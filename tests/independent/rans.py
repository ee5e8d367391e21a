"""Interleaved rANS (FORMAT-fields.md, "Coded runs: interleaved rANS")."""

import numpy as np
import numpy.typing as npt

from .errors import Rejected

LEAST = 2**15


class RansDecoder:
    """Decodes run after run; the lanes' states go on from run to run."""

    def __init__(self, states: npt.NDArray[np.int64], words: npt.NDArray[np.int64]) -> None:
        if np.any((states < LEAST) | (states >= 2**31)):
            raise Rejected("a first state out of range")
        self.states = states.copy()
        self.words = words
        self.at = 0

    def decode(self, frequencies: list[int], size: int) -> npt.NDArray[np.uint8]:
        """A run of so many bytes: a step is a byte of every lane."""
        f = np.array(frequencies, np.int64)
        begins = np.cumsum(f) - f
        symbol_of = np.repeat(np.arange(256), f)
        run = np.empty(size, np.uint8)
        lanes = len(self.states)
        for k in range(0, size, lanes):
            x = self.states[: min(lanes, size - k)]
            r = x & 4095
            s = symbol_of[r]
            run[k : k + len(x)] = s
            x[:] = f[s] * (x >> 12) + r - begins[s]
            small = np.flatnonzero(x < LEAST)
            words = self.words[self.at : self.at + len(small)]
            if len(words) < len(small):
                raise Rejected("too few words")
            x[small] = x[small] << 16 | words
            self.at += len(small)
        return run

    def finish(self) -> None:
        if self.at < len(self.words) or np.any(self.states != LEAST):
            raise Rejected("words are left, or the last states are not 2^15")
