"""Whether an element is zero, where zeros are many: the readable twin of csrc/tensor_zeros.h."""

from __future__ import annotations

from dataclasses import dataclass

from nncodec.tensors.nibbles import BitCoder, Stage, hashed

SHARE = 8  # of a tensor's elements one is zero at least, or the decision is not made first


@dataclass(frozen=True)
class ZeroPlace:
    """What is known of an element. Scales are those of elements other than zero.

    ``around`` has a bit each for the elements above, above left and above right: is it zero.
    ``expected`` is 0 without a match, else twice its bucket, and 1 more if that one is zero.
    """

    role: int
    column: int
    scale: int
    row_scale: int
    column_scale: int
    around: int
    expected: int
    bucket: int


class ZeroCoder:
    """Rows and columns are told by how often they were not zero where they could be."""

    def __init__(self) -> None:
        self.stage = Stage((0, 8, 9, 9, 9, 9, 12, 12, 12, 12, 12, 12, 5, 12, 12))

    def start_item(self, several_rows: bool, columns: int) -> None:
        self.several_rows, self.live_rows = several_rows, 0
        self.live, self.past = [0] * columns, [0] * columns

    def start_row(self) -> None:
        self.row_live = self.row_of = 0
        self.row_past = 0xFFF

    def end_row(self) -> None:
        self.live_rows += self.row_live > 0

    def code(self, coder: BitCoder, zero: bool, p: ZeroPlace) -> bool:
        """``zero`` is looked at by encoders alone."""
        live = self.live[p.column]
        row, column = share(self.row_live, self.row_of), share(live, self.live_rows)
        fine = fine_share(self.row_live, self.row_of) << 6 | fine_share(live, self.live_rows)
        above, left = self.past[p.column] & 63, self.row_past & 63
        self.stage.select(
            (
                0,
                p.role,
                p.scale,
                p.row_scale,
                p.column_scale,
                (left & 15) << 3 | p.around,
                row << 6 | column,
                left << 6 | above,
                hashed(p.column, p.role),
                column << 6 | left,
                fine,
                row << 6 | above,
                p.expected,
                hashed(p.scale, row, column),
                hashed(self.row_past & 0xFFF, p.around),
            )
        )
        zero = bool(self.stage.code(coder, int(zero), 1, p.bucket, row))
        self.row_of += live > 0
        self.row_live += not zero
        self.live[p.column] += self.several_rows and not zero
        self.row_past = (self.row_past << 1 | zero) & 0xFFF
        self.past[p.column] = (self.past[p.column] << 1 | zero) & 0xFFF
        return zero


def share(live: int, of: int) -> int:
    """How large a part of those that may be other than zero was so, 0 to 4, and how many."""
    part = 0 if live == 0 else 4 if live >= of else 1 + live * 3 // of
    many = of if of < 3 else 3 + sum(of >= bound for bound in (6, 12, 32, 128))
    return part * 8 + many


def fine_share(live: int, of: int) -> int:
    return min(live, of) * 60 // max(1, of) + (of > 16)
