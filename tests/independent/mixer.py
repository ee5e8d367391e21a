"""The context mixer (FORMAT-mixer.md): state of a block, prediction, learning."""

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from .bit_histories import FIRST, NEXT
from .logistic import MOST, SQUASH_ARRAY, STRETCH, clamp, squash, stretch

CONTEXTS = 16
INPUTS = 38
SETS = (128, 256, 256, 256, 128)
SET_BEGINS = [sum(SETS[:s]) for s in range(5)]
SPREAD = (1, 0x3D4D, 0x3D4D)
U32 = 2**32 - 1


class Learners:
    """Probabilities that learn ("Learners"); p and n of each of them."""

    def __init__(self, first: list[int], limit: int) -> None:
        self.p = [64 * p16 for p16 in first]
        self.n = [0] * len(first)
        self.limit = limit

    def value(self, i: int) -> int:
        return self.p[i] >> 6

    def update(self, i: int, bit: int) -> None:
        p, n = self.p[i], self.n[i]
        way = 2**22 - 1 - p if bit else p
        step = (way >> 6) * (65536 // (2 * n + 3)) >> 9
        self.p[i] = p + step if bit else p - step
        self.n[i] = min(n + 1, self.limit)


class HistoryMaps:
    """history_maps: the same for sixteen learners at once, one of each map of 253."""

    QUOTIENTS = np.array([65536 // (2 * n + 3) for n in range(256)], np.int64)
    BEGINS = 253 * np.arange(CONTEXTS)

    def __init__(self) -> None:
        self.p = 64 * np.array(FIRST * CONTEXTS, np.int64)
        self.n = np.zeros(253 * CONTEXTS, np.int64)
        self.at = self.BEGINS

    def values(self, states: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        self.at = self.BEGINS + states
        return self.p[self.at] >> 6

    def update(self, bit: int) -> None:
        """Of the learners of which values() gave the values."""
        p, n = self.p[self.at], self.n[self.at]
        way = 2**22 - 1 - p if bit else p
        step = (way >> 6) * self.QUOTIENTS[n] >> 9
        self.p[self.at] = p + step if bit else p - step
        self.n[self.at] = np.minimum(n + 1, 255)


def slot_hash(h: int, c0: int) -> int:
    g = (h + c0 * 0x2F0B4C47 & U32) * 0x9E3779B1 & U32
    return g ^ g >> 15


class Mixer:
    """State of a block ("State"), and of the byte in progress."""

    def __init__(self, table_bits: int, with_network: bool) -> None:
        self.table_bits = table_bits
        self.with_network = with_network
        self.lines = bytearray(64 << table_bits)  # slots of a check and fifteen states
        self.all_states = np.frombuffer(self.lines, np.uint8)
        self.matches: dict[int, int] = {}
        self.history_maps = HistoryMaps()
        self.order0 = Learners([32768] * 256, 255)
        self.match_map = Learners([60000] * 256, 1023)
        first = [0] * INPUTS
        first[:16] = [5242 if with_network else 9830] * 16
        first[33] = 16384
        first[35] = 39321 if with_network else 0
        self.weights = np.array([first] * sum(SETS), np.int64)
        self.final_weights = [[13107] * 5 for _ in range(256)]
        row = [squash(256 * (j - 11)) for j in range(23)]
        self.cells: list[defaultdict[int, list[int]]] = [defaultdict(row.copy) for _ in SPREAD]
        self.votes = [0] * 2048
        self.counted = self.printable = self.record = self.bytes = 0
        self.x = np.zeros(INPUTS, np.int64)
        self.x[37] = 256

    def begin(
        self, hashes: list[int], spots: list[int], c1: int, c2: int, expected: int, choice: int
    ) -> None:
        """What begin_byte() leaves for the bits; `choice` is bucket * 8 + misses."""
        self.c0, self.done = 1, 0
        self.c1, self.c2 = c1, c2
        self.hashes, self.spots = hashes, spots
        self.expected = expected
        self.bucket, self.misses = divmod(choice, 8)
        self.rate = 96 + 400 * 16384 // (16384 + self.bytes)
        self.bytes += 1
        self.find_slots()

    def find_slots(self) -> None:
        """Where in `lines` the sixteen contexts' slots begin ("Slots"): references."""
        self.slots = np.array([self.find(slot_hash(h, self.c0)) for h in self.hashes])

    def find(self, g: int) -> int:
        line = (g >> 32 - self.table_bits) * 64
        check = max(g % 256, 1)
        slot = self.lines[line : line + 64 : 16].find(check)
        if slot >= 0:
            return line + 16 * slot
        firsts = self.lines[line + 1 : line + 64 : 16]
        slot = line + 16 * firsts.index(min(firsts))
        self.lines[slot : slot + 16] = bytes([check]) + bytes(15)
        return slot

    def predict(self, network: int) -> int:
        """p of the next bit ("Prediction")."""
        c0 = self.c0
        depth = self.done % 4
        self.nodes = self.slots + (2**depth + c0 % 2**depth)  # states lie behind the check
        self.states = self.all_states[self.nodes]
        self.make_inputs(network)
        bucket = self.bucket * 8 + self.misses
        choice = (bucket, c0, self.c1, self.c2, self.done * 16 + self.confidence())
        self.chosen = [begin + c for begin, c in zip(SET_BEGINS, choice, strict=True)]
        self.w = self.weights[self.chosen]
        logits = (self.x * self.w >> 8).sum(axis=1) >> 8
        self.logits = np.minimum(np.maximum(logits, -MOST), MOST)
        self.logit: list[int] = self.logits.tolist()
        final = zip(self.logit, self.final_weights[c0], strict=True)
        y = clamp(sum(a * w >> 8 for a, w in final) >> 8, MOST)
        self.mixed = q = squash(y)
        cell, rest = divmod(y + 2816, 256)
        self.refined: list[tuple[list[int], int]] = []
        for cells, spot, spread in zip(self.cells, self.spots, SPREAD, strict=True):
            row = cells[2 * ((spot ^ (c0 >> 1) * spread) % 2**15) + c0 % 2]
            q += (row[cell] * (256 - rest) + row[cell + 1] * rest) // 256
            self.refined.append((row, cell + 1 if rest > 128 else cell))
        return min(max(q + 2 >> 2, 1), 65535)

    def make_inputs(self, network: int) -> None:
        """x, and match_context ("Inputs")."""
        x = self.x
        v = self.history_maps.values(self.states)
        x[:16] = STRETCH[v]
        x[16:32] = v - 32768 >> 5
        x[32] = stretch(self.order0.value(self.c0))
        self.match_context = -1
        x[33] = x[34] = 0
        if self.expected >= 0:
            if self.expected + 256 >> 8 - self.done == self.c0:
                e = (self.expected >> 7 - self.done) % 2
                self.match_context = (self.bucket * 8 + self.misses) * 2 + e
                p = self.match_map.value(self.match_context)
                sign = 1 if e else -1
                x[33] = sign * stretch(p)
                x[34] = sign * (p - 32768 >> 5)
            else:
                self.expected = -1
                self.bucket = 0
        if self.with_network:
            x[35] = stretch(network)
            x[36] = network - 32768 >> 5

    def confidence(self) -> int:
        if self.with_network:
            return min(max(int(self.x[35]) + 2048 >> 8, 0), 15)
        return min(int(np.count_nonzero(self.states)), 15)

    def learn(self, bit: int) -> None:
        """The bit that came ("Learning")."""
        c0 = self.c0
        self.history_maps.update(bit)
        self.all_states[self.nodes] = NEXT[bit][self.states]
        self.order0.update(c0, bit)
        if self.match_context >= 0:
            self.match_map.update(self.match_context, 1 if self.match_context % 2 == bit else 0)
        target = 65536 * bit
        errors = (target - SQUASH_ARRAY[self.logits + MOST]) * self.rate >> 8
        w = self.w + (self.x * errors[:, None] + 32768 >> 16)
        self.weights[self.chosen] = np.minimum(np.maximum(w, -524287), 524287)
        error = target - self.mixed >> 2
        self.final_weights[c0] = [
            clamp(w + (x * error + 32768 >> 16), 524287)
            for w, x in zip(self.final_weights[c0], self.logit, strict=True)
        ]
        for row, j in self.refined:
            row[j] += (65535 + 31 - row[j] if bit else -row[j]) >> 5
        self.c0 = 2 * c0 + bit
        self.done += 1
        if self.done == 4:
            self.find_slots()
