"""Groups of elements that share a scale (FORMAT-tensors.md, "Groups")."""

from .planes import CODE, Parts, Plane
from .stages import log8


class Groups:
    """The group at hand of a plane, its unit g and its context."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane
        self.number = 0  # of the next group, in the plane
        self.g, self.log_g = 2**24, 0
        self.left_over, self.low, self.high = 0, 15, 0
        self.units: list[int] = []
        if plane.scales is not None:
            self.units = units_of(plane, plane.scales)

    def begin(self, column: int) -> None:
        """A group begins at a column of a row."""
        plane = self.plane
        self.left_over, self.low, self.high = min(plane.group, plane.columns - column), 15, 0
        if plane.scales is not None:
            self.g = self.units[self.number]
            self.number += 1
        self.log_g = log8(max(1, self.g)) - 192

    def add(self, c: Parts) -> None:
        """add_to_group(c)."""
        if self.plane.form == CODE:
            x = c.value >> self.plane.code_bits - 4 & 15
        else:
            x = min(c.exponent >> 2, 31)
        self.low, self.high = min(self.low, x), max(self.high, x)
        self.left_over -= 1

    @property
    def context(self) -> int:
        if self.plane.group == 0:
            return 0
        low = self.low << 4 if self.plane.form == CODE else 0
        return (low | self.high) << 3 | min(7, (self.left_over - 1).bit_length())


def units_of(plane: Plane, scales: Plane) -> list[int]:
    """The units g of all groups of a plane."""
    words = [v >> scales.mantissa_bits - 10 for v in scales.values]
    exponents = [(w >> 10) % 2**scales.exponent_bits for w in words]
    top = max(exponents)
    count = plane.rows * (plane.columns // plane.group)
    units = []
    for k in range(count):
        index = k * len(words) // count
        exponent = exponents[index]
        g = (1024 + words[index] % 1024 << 14) >> top - exponent if exponent else 0
        if plane.factors is not None:
            g = g * abs(plane.factors.number(plane.factors.values[k])) >> 6
        units.append(g)
    return units
