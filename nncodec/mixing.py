"""Context mixing in plain Python: the readable twin of ``csrc/context_mixer.cc``, to the bit.

Same classes, same names, same integers; far too slow for more than tests. Every byte is eight
binary decisions. Each model gives logits for the next bit, gated logistic mixers weigh them
(Mattern, "Mixing Strategies in Data Compression", 2012), adaptive probability maps refine the
result.
A probability is 16 bits, 1..65535; a logit is ln(p / (1 - p)) in units of 1/256. Python's ``>>``
and ``//`` round down, as C++'s ``>>`` does; where C++ divides, operands are not negative.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, lru_cache

from nncodec.blocks import lane_lengths

ONE = 1 << 16  # of probabilities
MAX_LOGIT = 2815

CONTEXTS, MATCH_CONTEXT = 16, 3
INPUTS = 2 * CONTEXTS + 6  # 2 a context, then: order 0, match (2), network (2), bias
SET_SIZES = (128, 256, 256, 256, 128)
SETS = len(SET_SIZES)

MATCH_BITS = 20
MIN_MATCH, VERIFIED, MAX_MATCH, MAX_MISSES = 5, 32, 65535, 7
MAX_RECORD, RECORD_TERM = 2048, 4096
WEIGHT_ONE, WEIGHT_MAX = 1 << 16, (1 << 19) - 1
HISTORY_LIMIT, ORDER0_LIMIT, MATCH_LIMIT = 255, 255, 1023
REFINE_STEP, REFINE_CELLS, REFINE_RATE = 256, 23, 5
REFINE_SPREAD = (1, 0x3D4D, 0x3D4D)
SLOW_RATE, FAST_RATE, RATE_BYTES = 96, 400, 16384

U32, U64 = (1 << 32) - 1, (1 << 64) - 1


@lru_cache(maxsize=1)
def squash_table() -> list[int]:
    """Logit + MAX_LOGIT -> probability, from e^(-k/256) by repeated integer products."""
    table = [0] * (2 * MAX_LOGIT + 1)
    power = 1 << 31
    for k in range(MAX_LOGIT + 1):
        whole = (1 << 31) + power
        p = min(((1 << 47) + whole // 2) // whole, 65535)
        table[MAX_LOGIT + k], table[MAX_LOGIT - k] = p, 65536 - p
        power = power * 4278222805 >> 32  # floor(e^(-1/256) 2^32)
    return table


def squash(logit: int) -> int:
    """Logit -> probability."""
    return squash_table()[clamp(logit, MAX_LOGIT) + MAX_LOGIT]


def _inverse(p: int) -> int:
    """The first logit whose probability reaches ``p``."""
    table = squash_table()
    low, high = 0, 2 * MAX_LOGIT
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if table[middle] < p else (low, middle)
    return low - MAX_LOGIT


@cache
def stretch(p: int) -> int:
    """Probability (0..65536) -> logit; in the middle by steps of 16."""
    if p < 1024:
        return _inverse(p)
    if p > ONE - 1024:
        return -_inverse(ONE - p) if p < ONE else MAX_LOGIT
    return _inverse(16 * (p >> 4) + 8)


def clamp(value: int, bound: int) -> int:
    return max(-bound, min(bound, value))


def history_bound(other: int) -> int:
    """The largest count beside another one that is ``other``."""
    if other < 7:
        return (40, 28, 12, 7, 5, 4, 3)[other]
    return 2 if other < 13 else 1 if other < 29 else 0


History = tuple[int, int, int]  # zeros, ones, last bit (0 if only ones or zeros came: it is known)


def _after(state: History, bit: int) -> History:
    mine, other = state[bit] + 1, state[1 - bit]
    if other > 2:
        other = (0, 1, 2, 2, 3, 3, 4, 4)[other] if other < 8 else 5 if other < 16 else 6
    while mine > history_bound(other) or other > history_bound(mine):
        if mine > history_bound(other):
            mine -= 1
        else:
            other -= 1
    return (other, mine, 1) if bit else (mine, other, 0)


@lru_cache(maxsize=1)
def histories() -> tuple[list[History], list[tuple[int, int]]]:
    """All bit histories by number, and what each becomes after a 0 and a 1."""
    states: list[History] = []
    for total in range(81):
        for ones in range(total + 1):
            zeros = total - ones
            if zeros > history_bound(ones) or ones > history_bound(zeros):
                continue
            lasts = (int(ones > 0),) if zeros == 0 or ones == 0 else (0, 1)
            states += [(zeros, ones, last) for last in lasts]

    def find(s: History) -> int:
        pure = s[0] == 0 or s[1] == 0
        return next(i for i, t in enumerate(states) if t[:2] == s[:2] and (pure or t[2] == s[2]))

    return states, [(find(_after(s, 0)), find(_after(s, 1))) for s in states]


class AdaptiveBit:
    """A probability that learns: 22 bits of it, and how often it was updated."""

    def __init__(self, p16: int = 1 << 15) -> None:
        self.p, self.n = p16 << 6, 0

    def p16(self) -> int:
        return self.p >> 6

    def update(self, bit: int, limit: int) -> None:
        way = (1 << 22) - 1 - self.p if bit else self.p
        step = (way >> 6) * ((1 << 16) // (2 * self.n + 3)) >> 9  # way / (n + 1.5)
        self.p += step if bit else -step
        self.n += self.n < limit


class LanePart:
    """Where the lanes of one part of a block lie: ``csrc/lane_geometry.h``."""

    def __init__(self, begin: int, size: int, lanes: int) -> None:
        self.begin, self.size, self.lanes = begin, size, lanes
        self.lengths = lane_lengths(size, lanes)
        self.starts = [begin + sum(self.lengths[:i]) for i in range(lanes)]

    def at(self, lane: int, step: int) -> int:
        return self.starts[lane] + step

    def lane_of(self, position: int) -> int:
        spans = zip(self.starts, self.lengths, strict=True)
        return next(i for i, (start, n) in enumerate(spans) if start <= position < start + n)

    def known(self, position: int, lane: int, step: int) -> bool:
        """Whether the byte at a position is coded before that of (lane, step)."""
        if position < self.begin:
            return True
        if position >= self.begin + self.size:
            return False
        other = self.lane_of(position)
        other_step = position - self.starts[other]
        return other_step < step or (other_step == step and other < lane)


@dataclass
class LaneHistory:
    """What a lane remembers besides the symbols."""

    last8: int = 0  # the last byte lowest
    word: int = 0
    previous_word: int = 0
    word_before: int = 0
    marks: int = 0  # the last four bytes that are neither of words nor blanks
    followers: list[int] = field(default_factory=lambda: [0] * 256)  # of each byte, the last two
    match: int = -1  # position of the predicted byte, or -1
    match_length: int = 0
    misses: int = 0  # of the match's last bytes, the newest lowest
    line: int = 0  # where the lines began, as positions in the block
    previous_line: int = 0
    aligned: int = 0  # the place in the line before that stands for this one, field by field
    # Where each byte value came last, and how far before that.
    last_seen: list[int] = field(default_factory=lambda: [0] * 256)
    last_gap: list[int] = field(default_factory=lambda: [0] * 256)
    record: int = 0  # length of the block's records, as far as known; 0: none
    run: int = 0  # where the lane's run began

    def start_run(self, at: int) -> None:
        """Go on at a lane's first byte with the past of another place."""
        self.match, self.match_length, self.misses = -1, 0, 0
        self.run = self.line = self.previous_line = self.aligned = at
        self.last_seen, self.last_gap = [at] * 256, list(self.last_gap)
        self.followers = list(self.followers)

    def repeated_gap(self, c: int, at: int) -> int:
        """The distance to the last ``c`` if it is the same as the last time, else 0."""
        gap = at - self.last_seen[c]
        repeated = gap > 1 and gap == self.last_gap[c]
        self.last_gap[c], self.last_seen[c] = gap, at
        return gap if repeated else 0

    def follow_line(self, symbols: bytes | bytearray, c: int, at: int) -> None:
        """Move ``aligned`` past ``c``, which came at ``at``: from field to field."""
        if c == ord("\n"):
            self.previous_line, self.line = self.line, at + 1
            self.aligned = self.previous_line
        elif self.aligned < self.line:
            if is_word(c):
                self.aligned += is_word(symbols[self.aligned])
            else:
                to = symbols.find(c, self.aligned, min(self.line, self.aligned + 64))
                self.aligned = to + 1 if to >= 0 else self.aligned


class RecordFinder:
    """The length of a block's records, by votes: ``csrc/record_finder.h``."""

    def __init__(self) -> None:
        self.votes = [0] * MAX_RECORD
        self.bytes = self.printable = self.record = 0

    def add(self, c: int, gap: int) -> None:
        self.printable += 32 <= c < 127 or c == ord("\n")
        if 1 < gap < MAX_RECORD:
            self.votes[gap] += 1
        self.bytes += 1
        if self.bytes == RECORD_TERM:
            self.elect()

    def elect(self) -> None:
        longest = 64 if self.printable > RECORD_TERM * 15 // 16 else MAX_RECORD
        self.bytes = self.printable = 0
        elected = [gap for gap in range(2, longest) if self.votes[gap] >= needed_votes(gap)]
        if elected:
            self.record = max(elected, key=lambda gap: (self.votes[gap], -gap))
        elif self.votes[self.record] < needed_votes(self.record) // 8:
            self.record = 0
        self.votes = [votes // 2 for votes in self.votes]


def needed_votes(gap: int) -> int:
    return 768 if gap < 3 else 192 if gap < 64 else 24


def hash_context(value: int, which: int) -> int:
    h = (value + ((which + 1) << 56)) * 0x9E3779B97F4A7C15 & U64
    h ^= h >> 29
    return (h * 0xD6E8FEB86659FD93 & U64) >> 32


def match_hash(last8: int) -> int:
    return ((last8 & 0xFFFFFFFFFF) * 0x9E3779B97F4A7C15 & U64) >> (64 - MATCH_BITS)


def match_bucket(length: int) -> int:
    if length == 0:
        return 0
    if length < 16:
        return 1 + length // 2
    if length < 32:
        return 9 + (length - 16) // 8
    return next((11 + i for i, top in enumerate((64, 128, 256, 512)) if length < top), 15)


def is_word(c: int) -> bool:
    return (chr(c).isascii() and chr(c).isalnum()) or c >= 128


class Slot:
    """The bit histories of one context and nibble: a binary tree of 15 nodes."""

    def __init__(self) -> None:
        self.check, self.states = 0, [0] * 15  # no check is 0 in a slot that is taken


class ContextMixer:
    """Predicts a block's bits; all of its lanes share one. See ``csrc/context_mixer.h``."""

    def __init__(self, table_bits: int, network: bool, learning: bool = False) -> None:
        """``learning``: the network is, so it has to earn its weight."""
        self.table_bits, self.network, self.learning = table_bits, network, learning
        self.table: dict[int, list[Slot]] = {}  # lines of four slots, made when first asked for
        self.matches: dict[int, int] = {}
        states, self.next_state = histories()
        first = [(o * 2 + 1) * (ONE - 1) // (2 * (z + o) + 2) for z, o, _ in states]
        self.history_maps = [[AdaptiveBit(p) for p in first] for _ in range(CONTEXTS)]
        self.order0 = [AdaptiveBit() for _ in range(256)]
        self.match_map = [AdaptiveBit(60000) for _ in range(256)]
        context, share = ((12, 20) if learning else (8, 60)) if network else (15, 0)  # percent
        weights = [WEIGHT_ONE * context // 100] * CONTEXTS + [0] * CONTEXTS
        weights += [0, WEIGHT_ONE // 4, 0, WEIGHT_ONE * share // 100, 0, 0]
        self.weights = [[list(weights) for _ in range(n)] for n in SET_SIZES]
        self.final_weights = [[WEIGHT_ONE // SETS] * SETS for _ in range(256)]
        middle = REFINE_CELLS // 2
        self.first_cells = [squash((j - middle) * REFINE_STEP) for j in range(REFINE_CELLS)]
        self.refine: list[dict[int, list[int]]] = [{}, {}, {}]
        self.records = RecordFinder()
        self.bytes = 0

    def begin(
        self, symbols: bytes | bytearray, part: LanePart, lane: int, step: int, h: LaneHistory
    ) -> None:
        """Set the contexts of the byte at (lane, step); only what was coded before is read."""
        last = h.last8
        self.c0, self.bit = 1, 0
        self.rate = SLOW_RATE + FAST_RATE * RATE_BYTES // (RATE_BYTES + self.bytes)
        self.bytes += 1
        self.c1, self.c2, self.c3 = last & 0xFF, last >> 8 & 0xFF, last & 0xFFFFFF
        if h.match >= 0 and not part.known(h.match, lane, step):
            h.match = -1
        self.expected = symbols[h.match] if h.match >= 0 else -1
        self.match_bucket = match_bucket(h.match_length if h.match >= 0 else 0)
        missed = (h.misses & 0xFF).bit_count()
        self.match_misses = h.misses & 3 | (4 if missed > 2 else 0)
        values = self.contexts(symbols, part.at(lane, step), h)
        self.hashes = [hash_context(value, i) for i, value in enumerate(values)]
        matched = (self.expected + 1) * 0x9E3779B1 & U32
        self.refine_contexts = (
            self.c1 << 7,
            (self.c3 * 0x9E3779B1 & U32) >> 17,
            matched >> 17 ^ self.match_bucket * 0x2AA8,
        )
        self.find_slots()

    def contexts(self, symbols: bytes | bytearray, at: int, h: LaneHistory) -> list[int]:
        """What each model looks at, as a number, for the byte at a position."""

        def byte_at(position: int) -> int:
            return symbols[position] if position < h.line else 0

        last, c1, r = h.last8, h.last8 & 0xFF, h.record
        column = at - h.line
        if r and at - 2 * r >= h.run:
            up, up2 = symbols[at - r], symbols[at - 2 * r]
            record = (up | c1 << 8 | 1 << 50, up | up2 << 8 | at % r << 16 | 1 << 50)
        else:
            record = (h.word ^ h.word_before << 24, last ^ last >> 56)
        return [
            c1,
            last & 0xFFFF,
            last & 0xFFFFFF,
            self.expected + 1 | self.match_bucket << 16 | c1 << 32,
            last & 0xFFFFFFFFFFFF,
            h.word | c1 << 32,
            h.word ^ h.previous_word << 24,
            last & 0xF0FFFF00,
            h.followers[c1] | c1 << 16,
            *record,
            byte_at(h.aligned) | byte_at(h.aligned + 1) << 8 | (last & 0xFFFF) << 16,
            column | c1 << 32,
            last & 0xF0F0F0F0F0,
            h.word ^ h.marks << 32,
            last & 0xFFFFFFFF,
        ]

    def find(self, h: int) -> list[int]:
        line = self.table.setdefault(h >> (32 - self.table_bits), [Slot() for _ in range(4)])
        check = max(h & 0xFF, 1)
        for slot in line:
            if slot.check == check:
                return slot.states
        # In place: a slot taken from another context of the same byte is then shared with it.
        worst = min(line, key=lambda slot: slot.states[0])
        worst.check, worst.states[:] = check, [0] * 15
        return worst.states

    def find_slots(self) -> None:
        self.slots = []
        for context in self.hashes:
            h = (context + self.c0 * 0x2F0B4C47 & U32) * 0x9E3779B1 & U32
            self.slots.append(self.find(h ^ h >> 15))

    def predict(self, network: int) -> int:
        """The probability that the next bit is 1; ``network`` is the network's."""
        depth = self.bit & 3
        self.node = (1 << depth) - 1 + (self.c0 & ((1 << depth) - 1))
        self.states = [slot[self.node] for slot in self.slots]
        maps = zip(self.history_maps, self.states, strict=True)
        self.learners = [learners[state] for learners, state in maps]
        p16s = [learner.p16() for learner in self.learners]
        x = [stretch(p) for p in p16s] + [(p - 32768) >> 5 for p in p16s]
        x.append(stretch(self.order0[self.c0].p16()))
        self.match_context = -1
        if self.expected >= 0 and (self.expected | 256) >> (8 - self.bit) == self.c0:
            expected_bit = self.expected >> (7 - self.bit) & 1
            self.match_context = self.match_choice() * 2 + expected_bit
            p = self.match_map[self.match_context].p16()
            sign = 1 if expected_bit else -1
            x += [sign * stretch(p), sign * ((p - 32768) >> 5)]
        else:
            x += [0, 0]
            if self.expected >= 0:
                self.expected, self.match_bucket = -1, 0
        confidence = min(sum(state != 0 for state in self.states), 15)
        if self.network:
            x += [stretch(network), (network - 32768) >> 5]
            if not self.learning:
                confidence = max(0, min(15, (x[-2] + 2048) >> 8))
        else:
            x += [0, 0]
        self.inputs = [*x, 256]

        choices = (self.match_choice(), self.c0, self.c1, self.c2, self.bit * 16 + confidence)
        self.chosen = [self.weights[s][c] for s, c in enumerate(choices)]
        self.logits = [
            clamp(sum(a * b >> 8 for a, b in zip(self.inputs, w, strict=True)) >> 8, MAX_LOGIT)
            for w in self.chosen
        ]
        final = self.final_weights[self.c0]
        logit = sum(a * b >> 8 for a, b in zip(self.logits, final, strict=True)) >> 8
        logit = clamp(logit, MAX_LOGIT)
        self.mixed = squash(logit)

        cell, rest = divmod(logit + REFINE_CELLS // 2 * REFINE_STEP, REFINE_STEP)
        p = self.mixed
        self.refined: list[tuple[list[int], int]] = []
        for i, table in enumerate(self.refine):
            spread = (self.c0 >> 1) * REFINE_SPREAD[i]
            context = ((self.refine_contexts[i] ^ spread) & 0x7FFF) << 1 | self.c0 & 1
            cells = table.setdefault(context, list(self.first_cells))
            p += (cells[cell] * (REFINE_STEP - rest) + cells[cell + 1] * rest) // REFINE_STEP
            self.refined.append((cells, cell + (rest > REFINE_STEP // 2)))
        return max(1, min(ONE - 1, (p + 2) >> 2))

    def match_choice(self) -> int:
        return self.match_bucket * 8 + self.match_misses

    def update(self, bit: int) -> None:
        """Learn the bit that was predicted."""
        for slot, state, learner in zip(self.slots, self.states, self.learners, strict=True):
            learner.update(bit, HISTORY_LIMIT)
            slot[self.node] = self.next_state[state][bit]
        self.order0[self.c0].update(bit, ORDER0_LIMIT)
        if self.match_context >= 0:
            hit = int((self.match_context & 1) == bit)
            self.match_map[self.match_context].update(hit, MATCH_LIMIT)
        target = bit << 16
        errors = [(target - squash(logit)) * self.rate >> 8 for logit in self.logits]
        for weights, error in zip(self.chosen, errors, strict=True):
            train(weights, self.inputs, error)
        train(self.final_weights[self.c0], self.logits, (target - self.mixed) >> 2)
        for cells, i in self.refined:
            # Rounded away from zero on both sides, or a cell would stop short of one.
            away = (1 << REFINE_RATE) - 1 if bit else 0
            cells[i] += ((65535 if bit else 0) - cells[i] + away) >> REFINE_RATE
        self.c0 = self.c0 * 2 | bit
        self.bit += 1
        if self.bit == 4:
            self.find_slots()

    def end(
        self, symbols: bytes | bytearray, part: LanePart, lane: int, step: int, h: LaneHistory
    ) -> None:
        """The byte that ``begin`` was called for is in ``symbols``: bring the lane up to date."""
        at = part.at(lane, step)
        c = symbols[at]
        c1 = h.last8 & 0xFF
        h.followers[c1] = (h.followers[c1] << 8 | c) & 0xFFFF
        h.last8 = (h.last8 << 8 | c) & U64
        if is_word(c):
            folded = c + 32 if ord("A") <= c <= ord("Z") else c
            h.word = (h.word + folded + 1) * 0x2F0B4C47 & U32
        else:
            if c > ord(" "):
                h.marks = (h.marks << 8 | c) & U32
            if h.word:
                h.previous_word, h.word_before, h.word = h.word, h.previous_word, 0
        self.records.add(c, h.repeated_gap(c, at))
        h.record = self.records.record
        h.follow_line(symbols, c, at)
        if h.match >= 0:
            hit = symbols[h.match] == c
            h.match += 1
            h.misses = (h.misses << 1 | (not hit)) & U32
            h.match_length = min(h.match_length + 1, MAX_MATCH) if hit else 0
            if (h.misses & 0xFF).bit_count() > MAX_MISSES:
                h.match = -1
        key = match_hash(h.last8)
        candidate = self.matches.get(key, -1)
        if (h.match < 0 or h.match_length < MIN_MATCH) and candidate > 0:
            length = common_length(symbols, part, lane, step, candidate)
            if length >= MIN_MATCH:
                h.match, h.match_length, h.misses = candidate, length, 0
        self.matches[key] = at + 1


def common_length(
    symbols: bytes | bytearray, part: LanePart, lane: int, step: int, candidate: int
) -> int:
    """How many bytes before the candidate equal the lane's last ones, each within its own run."""
    at, last = part.at(lane, step), candidate - 1
    theirs = last + 1 if last < part.begin else last - part.starts[part.lane_of(last)] + 1
    most = min(step + 1, theirs, VERIFIED)
    return next((n for n in range(most) if symbols[last - n] != symbols[at - n]), most)


def train(weights: list[int], inputs: list[int], error: int) -> None:
    for i, x in enumerate(inputs):
        weights[i] = clamp(weights[i] + ((x * error + (1 << 15)) >> 16), WEIGHT_MAX)
