"""Directions of an item's changes, in binary64 (FORMAT-tensors.md, "Directions").

Python's floats are binary64, and each operation is rounded for itself.
"""

from .stages import clamp

MOST = 16
Vector = list[float]


def zeros() -> Vector:
    return [0.0] * MOST


def matrix() -> list[Vector]:
    return [zeros() for _ in range(MOST)]


class Directions:
    """Predicts changes of an item's columns; `guess` is the last prediction."""

    def __init__(self, columns: int) -> None:
        self.born = 0
        self.noise = self.guess = 0.0
        self.directions = [zeros() for _ in range(columns)]
        self.row = [0.0] * columns
        self.weights, self.power, self.rows_of = zeros(), zeros(), zeros()
        self.doubt, self.inverse = matrix(), matrix()

    def dot(self, a: Vector, b: Vector) -> float:
        t = 0.0
        for k in range(self.born):
            t = t + a[k] * b[k]
        return t

    def times(self, a: list[Vector], b: Vector) -> Vector:
        r = zeros()
        for line, factor in zip(a[: self.born], b, strict=False):
            r = [x + y * factor for x, y in zip(r, line, strict=True)]
        return r

    def take_out(self, a: list[Vector], b: Vector, s: float) -> None:
        for index in range(self.born):
            of_line = b[index]
            a[index] = [x - of_line * y * s for x, y in zip(a[index], b, strict=True)]

    def predict(self, column: int) -> int:
        self.guess = self.dot(self.weights, self.directions[column])
        if not -536870912.0 < self.guess < 536870912.0:
            self.guess = 0.0
        return int(self.guess)

    def learn(self, column: int, change: int, spacing: int) -> None:
        x = float(change)
        u = 2.0 ** clamp(spacing, 0, 30)
        error = x - self.guess
        rounding = u * u * 0.125
        n = self.noise + rounding
        self.row[column] = x
        pull = self.times(self.doubt, self.directions[column])
        reach = self.dot(pull, self.directions[column])
        if not reach >= 0.0:
            self.start_row(self.weights)
            return
        s = 1.0 / (n + reach)
        step = error * s
        self.take_out(self.doubt, pull, s)
        self.weights = [w + p * step for w, p in zip(self.weights, pull, strict=True)]
        own = error * error * (n * s) - rounding
        y = self.noise + (own - self.noise) * 2.0**-10
        self.noise = y if y > 0.0 else 0.0

    def end_row(self) -> None:
        turn = self.times(self.inverse, self.weights)
        reach = self.dot(turn, self.weights)
        if 0.0 <= reach < 1000000000.0:
            self.learn_row(turn, 1.0 / (1.0 + reach))
        self.start_row(zeros())

    def learn_row(self, turn: Vector, s: float) -> None:
        self.take_out(self.inverse, turn, s)
        for k in range(self.born):
            self.power[k] = self.power[k] + self.weights[k] * self.weights[k]
            self.rows_of[k] = self.rows_of[k] + 1.0
        new = False
        for x, v in zip(self.row, self.directions, strict=True):
            rest = x - self.dot(self.weights, v)
            if self.born < MOST:
                v[self.born] = rest
                new = new or rest != 0.0
            else:
                t = rest * s
                v[:] = [a + b * t for a, b in zip(v, turn, strict=True)]
        if new:
            self.inverse[self.born] = zeros()
            self.inverse[self.born][self.born] = self.rows_of[self.born] = 1.0
            self.power[self.born] = 0.125
            self.born += 1

    def start_row(self, w: Vector) -> None:
        self.weights = w
        for k in range(self.born):
            self.doubt[k] = zeros()
            self.doubt[k][k] = self.power[k] / self.rows_of[k]
