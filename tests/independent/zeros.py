"""Whether an element is zero (FORMAT-tensors.md, "Zeros")."""

from .elements import Here
from .planes import Plane
from .range_decoder import RangeDecoder
from .stages import Stage, hashed


def make_stage() -> Stage:
    return Stage(0, 8, 9, 9, 9, 9, 12, 12, 12, 12, 12, 12, 5, 12, 12)


def share(a: int, b: int) -> int:
    part = 0 if a == 0 else 4 if a >= b else 1 + 3 * a // b
    many = b if b < 3 else 3 + sum(limit <= b for limit in (6, 12, 32, 128))
    return 8 * part + many


def fine_share(a: int, b: int) -> int:
    return 60 * min(a, b) // max(1, b) + int(b > 16)


class Zeros:
    """What is known of the zeros of a plane."""

    def __init__(self, stage: Stage, plane: Plane, columns: int) -> None:
        self.stage, self.plane = stage, plane
        self.live_rows = 0
        self.live, self.past = [0] * columns, [0] * columns

    def start_row(self) -> None:
        self.row_live = self.row_of = 0
        self.row_past = 0xFFF

    def end_row(self) -> None:
        self.live_rows += self.row_live > 0

    def code(self, coder: RangeDecoder, t: Here) -> int:
        """code_zero()."""
        plane, column = self.plane, t.column
        live = self.live[column]
        r, c = share(self.row_live, self.row_of), share(live, self.live_rows)
        fine = fine_share(self.row_live, self.row_of) << 6 | fine_share(live, self.live_rows)
        above, before = self.past[column] & 63, self.row_past & 63
        around = plane.is_zero(t.u) | plane.is_zero(t.ul) << 1 | plane.is_zero(t.ur) << 2
        expected = 2 * t.bucket + plane.is_zero(t.e) if t.length else 0
        contexts = (
            0, t.role, t.S, t.R, t.C,
            (before & 15) << 3 | around, r << 6 | c, before << 6 | above,
            hashed(column, t.role), c << 6 | before,
            fine, r << 6 | above, expected, hashed(t.S, r, c), hashed(self.row_past, around),
        )  # fmt: skip
        zero = self.stage.code(coder, contexts, 1, t.bucket, r)
        self.row_of += live > 0
        if zero == 0:
            self.row_live += 1
            if plane.rows > 1:
                self.live[column] += 1
        self.row_past = (2 * self.row_past | zero) & 0xFFF
        self.past[column] = (2 * self.past[column] | zero) & 0xFFF
        return zero
