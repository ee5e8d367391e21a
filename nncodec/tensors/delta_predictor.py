"""Changes of a matrix, row by row: most of what training does to one is of low rank.

The directions that rows change along are tracked, and how much of each a row has is found out on
its way through it. The readable twin of csrc/delta_predictor.h, to the bit: single IEEE operations
in the same order.

Source: PAST, projection approximation subspace tracking (Yang 1995, IEEE Trans. Signal Processing
43), with the row's weights by recursive least squares from its elements so far.
"""

from __future__ import annotations

from collections.abc import Sequence

MOST = 16  # directions
LARGEST, NOISE_RATE, SOUND, FIRST_POWER = 536870912.0, 1.0 / 1024, 1e9, 0.125


def matrix() -> list[list[float]]:
    return [[0.0] * MOST for _ in range(MOST)]


class LowRank:
    """Of a matrix of ``cols`` columns, its rows from the first one on."""

    def __init__(self, cols: int) -> None:
        self.born = 0
        self.directions = [[0.0] * MOST for _ in range(cols)]
        self.row = [0.0] * cols  # changes so far
        self.weights = [0.0] * MOST  # of the directions in this row
        self.doubt = matrix()  # covariance of what the weights may be
        self.inverse = matrix()  # of the sum of rows' weights, times themselves
        self.power, self.rows = [0.0] * MOST, [0.0] * MOST  # sum of squared weights, and how many
        self.noise = self.guess = 0.0

    def predict(self, col: int) -> int:
        """The change to come in column ``col``, in fixed-point units."""
        self.guess = self.dot(self.weights, self.directions[col])
        if not -LARGEST < self.guess < LARGEST:
            self.guess = 0.0
        return int(self.guess)

    def learn(self, col: int, change: int, spacing: int) -> None:
        """Called for the column that ``predict`` was called for.

        ``spacing`` is log2 of that of numbers there.
        """
        x = float(change)
        unit = float(1 << max(0, min(30, spacing)))
        error, rounding = x - self.guess, unit * unit * 0.125
        noise = self.noise + rounding
        self.row[col] = x
        v = self.directions[col]
        pull = self.times(self.doubt, v)
        reach = self.dot(pull, v)
        if not reach >= 0.0:  # rounding has spoilt the covariance
            self.start_row(self.weights)
            return
        scale = 1.0 / (noise + reach)
        step = error * scale
        self.take_out(self.doubt, pull, scale)
        self.weights = [w + p * step for w, p in zip(self.weights, pull, strict=True)]
        own = error * error * (noise * scale) - rounding
        self.noise = max(0.0, self.noise + (own - self.noise) * NOISE_RATE)

    def end_row(self) -> None:
        turn = self.times(self.inverse, self.weights)
        reach = self.dot(turn, self.weights)
        if 0.0 <= reach < SOUND:
            scale = 1.0 / (1.0 + reach)
            self.take_out(self.inverse, turn, scale)
            for k in range(self.born):
                self.power[k] += self.weights[k] * self.weights[k]
                self.rows[k] += 1.0
            self.turn_directions(turn, scale)
        self.start_row([0.0] * MOST)

    def turn_directions(self, turn: Sequence[float], scale: float) -> None:
        """Towards what the row has beside them; the first rows become directions themselves."""
        new = False
        for x, v in zip(self.row, self.directions, strict=True):
            rest = x - self.dot(self.weights, v)
            if self.born < MOST:
                v[self.born] = rest
                new = new or rest != 0.0
            else:
                step = rest * scale
                for k in range(MOST):
                    v[k] += turn[k] * step
        if new:
            self.inverse[self.born] = [0.0] * MOST
            self.inverse[self.born][self.born] = self.rows[self.born] = 1.0
            self.power[self.born] = FIRST_POWER
            self.born += 1

    def start_row(self, weights: list[float]) -> None:
        self.weights = weights
        for k in range(self.born):
            self.doubt[k] = [0.0] * MOST
            self.doubt[k][k] = self.power[k] / self.rows[k]

    def dot(self, a: Sequence[float], b: Sequence[float]) -> float:
        total = 0.0
        for k in range(self.born):
            total += a[k] * b[k]
        return total

    def times(self, a: list[list[float]], b: Sequence[float]) -> list[float]:
        result = [0.0] * MOST
        for m in range(self.born):
            for k in range(MOST):
                result[k] += a[m][k] * b[m]
        return result

    def take_out(self, a: list[list[float]], b: Sequence[float], scale: float) -> None:
        for m in range(self.born):
            for k in range(MOST):
                a[m][k] -= b[m] * b[k] * scale
