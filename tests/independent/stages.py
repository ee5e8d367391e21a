"""What kinds 5 and 7 share (FORMAT-tensors.md, "Tools of kinds 5 and 7")."""

from array import array
from collections.abc import Sequence

from .logistic import MOST, SQUASH, STRETCH
from .range_decoder import RangeDecoder

MASK = 2**32 - 1
STRETCHED: list[int] = STRETCH.tolist()
EVEN = 32768 << 16  # learner(32768); a learner is one number here, p << 10 | n
LEANING = 2**18 << 10 | 4
STEPS = [65536 // (2 * n + 3) for n in range(1024)]
RATES = [24 + 12288 // (16 + seen) for seen in range(4096)]


def hashed(a: int, b: int, *more: int) -> int:
    """hash(a, b), hash(a, b, c)."""
    h = (a * 0x9E3779B1 ^ (b + 0x7F4A7C15) * 0x85EBCA6B) & MASK
    h ^= h >> 15
    h = h * 0x2C1B3C6D & MASK
    h ^= h >> 13
    return hashed(h, *more) if more else h


def log8(x: int) -> int:
    """log2 in eighths."""
    k = x.bit_length() - 1
    return 8 * k + ((x >> k - 3 if k >= 3 else x << 3 - k) & 7)


def clamp(x: int, low: int, high: int) -> int:
    return low if x < low else high if x > high else x


def lean(total: int, much: int, some: int) -> int:
    if total < -some:
        return 0 if total < -much else 1
    return 2 if total <= some else 3 if total <= much else 4


def toward_zero(a: int, b: int) -> int:
    return a // b if a >= 0 else -(-a // b)


def plain(coder: RangeDecoder, n: int) -> int:
    value = 0
    for _ in range(n):
        value = 2 * value + coder.decode_bit(32768)
    return value


def updated(learner: int, bit: int, limit: int) -> int:
    """update(l, bit, limit) of FORMAT-mixer.md, "Learners"."""
    p, n = learner >> 10, learner & 1023
    way = 2**22 - 1 - p if bit else p
    step = (way >> 6) * STEPS[n] >> 9
    p = p + step if bit else p - step
    return p << 10 | (n + 1 if n < limit else n)


class Flags:
    """An array of flags; each is a learner of its own ("Flags")."""

    def __init__(self, count: int, first: int = EVEN) -> None:
        self.learners = [first] * count

    def flag(self, coder: RangeDecoder, index: int, limit: int) -> int:
        learner = self.learners[index]
        bit = coder.decode_bit(clamp(learner >> 16, 1, 65535))
        self.learners[index] = updated(learner, bit, limit)
        return bit

    def noise_flag(self, coder: RangeDecoder, index: int, limit: int) -> int:
        value = self.learners[index] >> 16
        if abs(value - 32768) < 2048:
            value = 32768
        bit = coder.decode_bit(clamp(value, 1, 65535))
        self.learners[index] = updated(self.learners[index], bit, limit)
        return bit


class Stage:
    """Codes one sort of symbol ("Stages")."""

    def __init__(self, *bits: int) -> None:
        self.bits = bits
        self.tables = [array("I", [EVEN]) * (16 << w) for w in bits]
        self.a = [[[5000] * 16 for _ in range(16)] for _ in range(64)]
        self.b = [[[5000] * 16 for _ in range(4)] for _ in range(256)]
        self.seen = [[0] * 16 for _ in range(64)]
        self.bind(64)

    def bind(self, bits: int) -> None:
        self.masks = [2 ** min(w, bits) - 1 for w in self.bits]

    def code(self, coder: RangeDecoder, contexts: Sequence[int], n: int, a: int, b: int) -> int:
        lines = [(c & m) << 4 for c, m in zip(contexts, self.masks, strict=True)]
        lined = list(zip(self.tables, lines, strict=True))
        seen = self.seen[a]
        node = 1
        for depth in range(n):
            x = [STRETCHED[table[line + node] >> 16] for table, line in lined]
            x.append(256)
            mixers = (self.a[a][node], self.b[b][depth])
            logits = [
                clamp(sum([i * w >> 8 for i, w in zip(x, mixer, strict=True)]) >> 8, -MOST, MOST)
                for mixer in mixers
            ]
            bit = coder.decode_bit(SQUASH[MOST + (logits[0] + logits[1] >> 1)])
            rate = RATES[seen[node]]
            seen[node] = min(seen[node] + 1, 4095)
            for mixer, logit in zip(mixers, logits, strict=True):
                error = (65536 * bit - SQUASH[MOST + logit]) * rate >> 6
                mixer[:] = [
                    clamp(w + (i * error + 32768 >> 16), -524287, 524287)
                    for i, w in zip(x, mixer, strict=True)
                ]
            for table, line in lined:
                table[line + node] = updated(table[line + node], bit, 1023)
            node = 2 * node + bit
        return node - (1 << n)
