"""Payloads of kind 7 (FORMAT-tensors.md, "Delta (kind 7)")."""

from typing import TYPE_CHECKING, NamedTuple

from .container import Item, Row
from .delta_elements import Around, Elements
from .directions import Directions
from .errors import Rejected
from .numbers import numbers_of
from .range_decoder import RangeDecoder
from .stages import clamp, lean, log8, plain, toward_zero

if TYPE_CHECKING:
    from .payloads import Surroundings

EQUAL, MOVED = 0, 1
MOST_COLUMNS = 65536


class Move(NamedTuple):
    """An element that was coded."""

    change: int = 0
    error: int = 0
    step: int = 0
    same: int = 1


STILL = Move()


class Mean:
    """Sizes that are added up, times 256."""

    def __init__(self) -> None:
        self.sum = self.count = 0

    def add(self, s: int) -> None:
        self.sum += 256 * s
        self.count += 1

    @property
    def value(self) -> int:
        """mean_of(m)."""
        return max(1, self.sum // self.count) if self.count else 1

    def log(self, mean: int) -> int:
        return log8(max(1, (self.sum + 6 * mean) // (self.count + 6)))


def decode_payload(row: Row, payload: bytes, surroundings: "Surroundings") -> bytes:
    """The decoded block."""
    coder = RangeDecoder(payload)
    elements = Elements(coder)
    contents = bytearray()
    for item in row.items:
        base = (surroundings.base or b"")[item.offset : item.offset + item.size]
        if len(base) < item.size:
            raise Rejected("an item reaches beyond the base")
        contents += base if item.mode == EQUAL else DeltaItem(coder, elements, item, base).decode()
    coder.finish()
    return bytes(contents)


def sg(y: int) -> int:
    return 1 if y < 0 else 2 if y > 0 else 0


class DeltaItem:
    """Decodes an item ("An item"); but for `elements` all begins anew with it."""

    def __init__(self, coder: RangeDecoder, elements: Elements, item: Item, base: bytes) -> None:
        self.elements, self.item, self.base = elements, item, base
        unit = plain(coder, 10) - 256
        self.numbers = numbers_of(item.dtype, unit, plain(coder, 8))
        self.columns = min(item.columns, MOST_COLUMNS) if item.rows > 1 else 1
        self.directions: Directions | None = None
        if item.mode == MOVED and item.rows > 1 and 2 <= item.columns <= MOST_COLUMNS:
            self.directions = Directions(item.columns)
        self.errors, self.moves = Mean(), Mean()
        self.column_errors = [Mean() for _ in range(self.columns)]
        self.column_moves = [Mean() for _ in range(self.columns)]
        self.column_sign = [0] * self.columns
        self.above = [STILL] * self.columns
        self.left = self.left2 = STILL

    def decode(self) -> bytes:
        out = bytearray()
        width = self.numbers.width
        for row in range(self.item.rows):
            self.row_errors, self.row_moves = Mean(), Mean()
            self.row_sign, self.same = 0, 15
            self.local = 16 * self.errors.value
            for col in range(self.item.columns):
                begin = len(out)
                b = int.from_bytes(self.base[begin : begin + width], "little")
                out += self.element(row, col, b).to_bytes(width, "little")
            if self.directions is not None:
                self.directions.end_row()
        return bytes(out)

    def element(self, row: int, col: int, b: int) -> int:
        numbers = self.numbers
        column = col % MOST_COLUMNS if self.item.rows > 1 else 0
        predicted = self.directions.predict(column) if self.directions is not None else 0
        here = numbers.fixed(b)
        f = 8 * numbers.ordinal(b)
        if predicted != 0:
            f += numbers.fine(here + predicted) - numbers.fine(here)
        expected = f + 4 >> 3
        sp = numbers.spacing(expected)
        t = self.around(row, col, column, b, predicted, f, sp)
        x, step = self.elements.code(t)
        change = clamp(numbers.fixed(x) - here, -(2**30), 2**30)
        error = clamp(change - predicted, -(2**30), 2**30)
        if self.directions is not None:
            self.directions.learn(column, change, sp)
        for mean in (self.row_errors, self.column_errors[column], self.errors):
            mean.add(abs(error))
        for mean in (self.row_moves, self.column_moves[column], self.moves):
            mean.add(abs(change))
        self.local += 256 * abs(error) - (self.local >> 4)
        way = (error > 0) - (error < 0)
        self.row_sign += way - toward_zero(self.row_sign, 64)
        self.column_sign[column] += way
        self.same = (2 * self.same | (x == b)) & 15
        self.left2 = self.left
        self.left = self.above[column] = Move(change, error, step, int(x == b))
        return x

    def around(
        self, row: int, col: int, column: int, b: int, predicted: int, f: int, sp: int
    ) -> Around:
        """The contexts ("Contexts")."""
        numbers, item = self.numbers, self.item
        mean, mean_move = self.errors.value, self.moves.value
        overall = log8(mean)
        by_row = self.row_errors.log(mean)
        by_column = overall
        moved = self.row_moves.log(mean_move)
        if item.rows > 1:
            by_column = self.column_errors[column].log(mean)
            moved += self.column_moves[column].log(mean_move) - log8(mean_move)
        both = max(0, by_row + by_column - overall)

        def beside(log: int) -> int:
            return clamp(log + 32 - 8 * sp, 0, 511)

        def octaves(y: int) -> int:
            return 0 if y == 0 else clamp(abs(y).bit_length() - sp + 8, 1, 31)

        left, left2 = self.left, self.left2
        up = self.above[column] if row > 0 else STILL
        right = STILL
        if row > 0 and col + 1 < item.columns:
            right = self.above[(col + 1) % MOST_COLUMNS]
        expected = f + 4 >> 3
        ahead = log8(256 * abs(predicted) + 1) - both
        drift = 0 if ahead < -24 else clamp((ahead >> 3) + 4, 1, 7) << 1 | (predicted < 0)
        edge = 16
        if expected != 0:
            edge = (abs(expected) >> max(0, numbers.M - 3) & 7) << 1 | (expected < 0)
        return Around(
            numbers=numbers,
            b=b,
            expected=expected,
            role=item.role,
            column=column,
            S=beside(both),
            R=beside(by_row),
            C=beside(by_column),
            V=beside(moved),
            L=beside(log8(max(1, self.local >> 4))),
            fraction=f + 4 - 8 * expected,
            drift=drift,
            edge=edge,
            size=numbers.size(b),
            means=5 * lean(self.row_sign, 20, 4) + lean(self.column_sign[column], 12, 3),
            recent=self.same << 2 | up.same << 1 | right.same,
            sizes=octaves(left.error) << 5 | octaves(up.error),
            steps=left.step + 31 << 6 | up.step + 31,
            errs=9 * sg(left.error) + 3 * sg(up.error) + sg(left2.error),
            movs=9 * sg(left.change) + 3 * sg(up.change) + sg(right.change),
        )
