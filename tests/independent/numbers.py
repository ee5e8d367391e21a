"""Numbers of a delta item (FORMAT-tensors.md, "Delta (kind 7)", "Numbers")."""

from .planes import FLOATS, INT8
from .stages import clamp


class FloatNumbers:
    """Elements of a float dtype: `x` is an element's bits."""

    def __init__(self, dtype: int, unit: int, floor: int) -> None:
        self.width, exponent_bits, self.M = FLOATS[dtype]
        self.unit = unit
        self.B = exponent_bits + self.M
        self.W = 1 << self.M
        full = (1 << exponent_bits) - 1
        self.least = min(floor, full) * self.W - 1 if floor > 0 else 0

    def magnitude(self, x: int) -> int:
        return x & (1 << self.B) - 1

    def negative(self, x: int) -> int:
        return int(x >= 1 << self.B)

    def small(self, x: int) -> int:
        return int(self.magnitude(x) <= self.least)

    def spacing(self, o: int) -> int:
        return max(1, min(abs(o) + self.least, (1 << self.B) - 1) >> self.M) - self.unit

    def ordinal(self, x: int) -> int:
        m = max(0, self.magnitude(x) - self.least)
        return -m if self.negative(x) else m

    def at(self, o: int) -> int:
        m = self.magnitude(abs(o) + self.least)
        return m + (1 << self.B) if o < 0 else m

    def fixed(self, x: int) -> int:
        """At equal distances of 2^unit, cut off towards zero."""
        k = self.magnitude(x) >> self.M
        e = max(1, k)
        whole = self.magnitude(x) % self.W + (self.W if k > 0 else 0)
        shift = e - self.unit
        if whole == 0:
            v = 0
        elif shift > 59 - self.M:
            v = 1 << 60
        else:
            v = whole << shift if shift >= 0 else whole >> -shift
        return -v if self.negative(x) else v

    def fine(self, v: int) -> int:
        """The ordinal of a fixed number, in eighths."""
        a = abs(v)
        e = max(1, a.bit_length() - 1 - self.M + self.unit)
        shift = self.unit - e + 3
        m = (e - 1) * 8 * self.W + (a << shift if shift >= 0 else a >> -shift)
        m = max(0, m - 8 * self.least)
        return -m if v < 0 else m

    def size(self, b: int) -> int:
        return self.magnitude(b) >> max(0, self.M - 3)


class IntegerNumbers:
    """Elements of dtypes 0, 7 and 8."""

    width, B, M = 1, 0, 0

    def __init__(self, dtype: int, unit: int) -> None:
        self.signed = dtype == INT8
        self.unit = clamp(unit, -24, 0)

    def negative(self, x: int) -> int:
        return 0

    def small(self, x: int) -> int:
        return 0

    def spacing(self, o: int) -> int:
        return -self.unit

    def ordinal(self, x: int) -> int:
        return (x + 128) % 256 - 128 if self.signed else x - 128

    def at(self, o: int) -> int:
        return (o if self.signed else o + 128) % 256

    def fixed(self, x: int) -> int:
        return self.ordinal(x) << -self.unit

    def fine(self, v: int) -> int:
        a, shift = abs(v), self.unit + 3
        m = a << shift if shift >= 0 else a >> -shift
        return -m if v < 0 else m

    def size(self, b: int) -> int:
        return b


Numbers = FloatNumbers | IntegerNumbers


def numbers_of(dtype: int, unit: int, floor: int) -> Numbers:
    return FloatNumbers(dtype, unit, floor) if dtype in FLOATS else IntegerNumbers(dtype, unit)
