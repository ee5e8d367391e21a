"""What a lane has for itself (FORMAT-mixer.md, "State", "A byte begins", "A byte ends")."""

from copy import deepcopy

from .lanes import Part
from .mixer import U32, Mixer

U64 = 2**64 - 1


def of_word(c: int) -> bool:
    """Whether a byte is a letter, a digit, or at least 128."""
    return 65 <= c <= 90 or 97 <= c <= 122 or 48 <= c <= 57 or c >= 128


class Lane:
    """`Lane` of the specification."""

    def __init__(self) -> None:
        self.last8 = self.word = self.previous_word = self.word_before = self.marks = 0
        self.followers = [0] * 256
        self.last_gap = [0] * 256
        self.record = 0
        self.start_run(0)

    def start_run(self, at: int) -> None:
        self.match = -1
        self.match_length = self.misses = 0
        self.run = self.line = self.previous_line = self.aligned = at
        self.last_seen = [at] * 256

    def copy(self) -> "Lane":
        return deepcopy(self)


def known(part: Part, position: int, lane: int, step: int) -> bool:
    """Whether the byte at a position is coded before that of a lane at a step."""
    if position < part.begin:
        return True
    if position >= part.begin + part.size:
        return False
    other = part.lane_of(position)
    return (position - part.start(other), other) < (step, lane)


def length_bucket(n: int) -> int:
    if n < 32:
        return 0 if n == 0 else 1 + n // 2 if n < 16 else 9 + (n - 16) // 8
    return min(n.bit_length() + 5, 15)


def make_hash(value: int, i: int) -> int:
    h = (value + (i + 1 << 56)) * 0x9E3779B97F4A7C15 & U64
    h ^= h >> 29
    return (h * 0xD6E8FEB86659FD93 & U64) >> 32


def match_hash(last8: int) -> int:
    return (last8 % 2**40 * 0x9E3779B97F4A7C15 & U64) >> 44


def begin_byte(mixer: Mixer, part: Part, lane: int, step: int, h: Lane, symbols: bytearray) -> None:
    at = part.start(lane) + step
    c1, c2, c3 = h.last8 % 2**8, (h.last8 >> 8) % 2**8, h.last8 % 2**24
    if h.match >= 0 and not known(part, h.match, lane, step):
        h.match = -1
    expected = symbols[h.match] if h.match >= 0 else -1
    bucket = length_bucket(h.match_length) if h.match >= 0 else 0
    misses = h.misses % 4 + (4 if (h.misses % 2**8).bit_count() > 2 else 0)
    values = contexts(h, at, expected, bucket, symbols)
    m = ((expected + 1) * 0x9E3779B1 & U32) >> 17
    spots = [c1 << 7, (c3 * 0x9E3779B1 & U32) >> 17, m ^ bucket * 0x2AA8]
    hashes = [make_hash(value, k) for k, value in enumerate(values)]
    mixer.begin(hashes, spots, c1, c2, expected, bucket * 8 + misses)


def contexts(h: Lane, at: int, expected: int, bucket: int, symbols: bytearray) -> list[int]:
    """The sixteen contexts of a byte, not hashed."""
    last = h.last8
    c1 = last % 2**8
    near = [symbols[q] if q < h.line else 0 for q in (h.aligned, h.aligned + 1)]
    r = h.record
    if r != 0 and at - 2 * r >= h.run:
        up, up2 = symbols[at - r], symbols[at - 2 * r]
        context9 = up | c1 << 8 | 2**50
        context10 = up | up2 << 8 | at % r << 16 | 2**50
    else:
        context9 = h.word ^ h.word_before << 24
        context10 = last ^ last >> 56
    return [
        c1,
        last % 2**16,
        last % 2**24,
        expected + 1 | bucket << 16 | c1 << 32,
        last % 2**48,
        h.word | c1 << 32,
        h.word ^ h.previous_word << 24,
        last & 0xF0FFFF00,
        h.followers[c1] | c1 << 16,
        context9,
        context10,
        near[0] | near[1] << 8 | last % 2**16 << 16,
        at - h.line | c1 << 32,
        last & 0xF0F0F0F0F0,
        h.word ^ h.marks << 32,
        last % 2**32,
    ]


def end_byte(mixer: Mixer, part: Part, lane: int, step: int, h: Lane, symbols: bytearray) -> None:
    at = part.start(lane) + step
    c = symbols[at]
    before = h.last8 % 2**8
    h.followers[before] = (h.followers[before] << 8 | c) % 2**16
    h.last8 = (h.last8 << 8 | c) & U64
    if of_word(c):
        d = c + 32 if 65 <= c <= 90 else c
        h.word = (h.word + d + 1) * 0x2F0B4C47 & U32
    else:
        if c > 32:
            h.marks = (h.marks << 8 | c) & U32
        if h.word != 0:
            h.word_before, h.previous_word, h.word = h.previous_word, h.word, 0
    vote(mixer, c, repeated_gap(h, c, at))
    h.record = mixer.record
    follow_line(h, c, at, symbols)
    follow_match(h, c, symbols)
    key = match_hash(h.last8)
    candidate = mixer.matches.get(key, 0)
    if (h.match < 0 or h.match_length < 5) and candidate > 0:
        n = common(part, lane, step, candidate, symbols)
        if n >= 5:
            h.match, h.match_length, h.misses = candidate, n, 0
    mixer.matches[key] = at + 1


def follow_match(h: Lane, c: int, symbols: bytearray) -> None:
    """The part of end_byte() about the match that there is."""
    if h.match < 0:
        return
    hit = symbols[h.match] == c
    h.match += 1
    h.misses = (h.misses << 1 | (0 if hit else 1)) & U32
    h.match_length = min(h.match_length + 1, 65535) if hit else 0
    if h.misses % 2**8 == 255:
        h.match = -1


def common(part: Part, lane: int, step: int, candidate: int, symbols: bytearray) -> int:
    """How many bytes before the candidate equal the lane's last ones."""
    at = part.start(lane) + step
    last = candidate - 1
    theirs = last + 1 if last < part.begin else last - part.start(part.lane_of(last)) + 1
    most = min(step + 1, theirs, 32)
    n = 0
    while n < most and symbols[last - n] == symbols[at - n]:
        n += 1
    return n


def repeated_gap(h: Lane, c: int, at: int) -> int:
    gap = at - h.last_seen[c]
    repeated = gap > 1 and gap == h.last_gap[c]
    h.last_gap[c] = gap
    h.last_seen[c] = at
    return gap if repeated else 0


def follow_line(h: Lane, c: int, at: int, symbols: bytearray) -> None:
    if c == 10:
        h.previous_line, h.line = h.line, at + 1
        h.aligned = h.previous_line
    elif h.aligned < h.line:
        if of_word(c):
            if of_word(symbols[h.aligned]):
                h.aligned += 1
        else:
            place = symbols.find(c, h.aligned, min(h.line, h.aligned + 64))
            if place >= 0:
                h.aligned = place + 1


def needed(gap: int) -> int:
    return 768 if gap < 3 else 192 if gap < 64 else 24


def vote(mixer: Mixer, c: int, gap: int) -> None:
    """Finds the length of records by repeated gaps."""
    votes = mixer.votes
    if 32 <= c <= 126 or c == 10:
        mixer.printable += 1
    if 1 < gap < 2048:
        votes[gap] += 1
    mixer.counted += 1
    if mixer.counted == 4096:
        longest = 64 if mixer.printable > 3840 else 2048
        mixer.counted = mixer.printable = 0
        enough = [g for g in range(2, longest) if votes[g] >= needed(g)]
        if enough:
            mixer.record = max(enough, key=lambda g: votes[g])  # the first of equals
        elif votes[mixer.record] < needed(mixer.record) // 8:
            mixer.record = 0
        mixer.votes = [v // 2 for v in votes]
