"""Payloads of kind 5 (FORMAT-tensors.md, "Tensors (kind 5)")."""

from typing import TYPE_CHECKING

from .container import Item, Row
from .elements import Here, Signs
from .floats import Floats
from .groups import Groups
from .integers import Codes, Integers
from .matches import Matches
from .plane_bytes import item_bytes
from .planes import CODE, FLOAT, INTEGER, NONE, Mode, Parts, Plane, planes_of
from .range_decoder import RangeDecoder
from .stages import LEANING, Flags, clamp, lean, log8, plain, toward_zero
from .zeros import Zeros, make_stage

if TYPE_CHECKING:
    from .payloads import Surroundings

LOW = {2: 2, 3: 5, 4: 9, 5: 18, 6: 33}
PARITY = {2: 1, 3: 2, 4: 2, 5: 4, 6: 10}


def decode_payload(row: Row, payload: bytes, surroundings: "Surroundings") -> bytes:
    """The decoded block."""
    block = TensorBlock(payload)
    contents = b"".join([block.item(item) for item in row.items])
    block.coder.finish()
    return contents


def next_state(state: int, value: int, t: int) -> int:
    """Of a trellis ("A plane")."""
    return (state >> 1) ^ (state & 1) * LOW[t] ^ (value & 1) * PARITY[t]


class TensorBlock:
    """The state of a block, which goes on from item to item."""

    def __init__(self, payload: bytes) -> None:
        self.coder = RangeDecoder(payload)
        self.trees = [Flags(256, LEANING) for _ in range(3)]
        self.matches = Matches()
        self.zeros_stage = make_stage()
        self.zero_sign = Flags(1, LEANING)
        signs = Signs()
        self.forms: dict[str, Floats | Integers | Codes] = {
            FLOAT: Floats(self.coder, signs),
            INTEGER: Integers(self.coder, signs),
            CODE: Codes(self.coder),
        }

    def byte(self, tree: int) -> int:
        node = 1
        for _ in range(8):
            node = 2 * node + self.trees[tree].flag(self.coder, node, 30)
        return node - 256

    def item(self, item: Item) -> bytes:
        """An item: its mode, then its planes ("Items and modes")."""
        first, group = self.byte(0), self.byte(1)
        mode = Mode(first & 3, first >> 2 & 1, first >> 3, group)
        mode.check(item)
        planes = planes_of(item, mode)
        for plane in planes:
            PlaneDecoder(self, plane, item.role).decode()
        return item_bytes(item, mode, planes)

    def zero(self, plane: Plane) -> Parts:
        """The element where code_zero() gave 1."""
        if plane.form == FLOAT:
            bit = self.zero_sign.noise_flag(self.coder, 0, 1023)
            return plane.cut(bit << plane.mantissa_bits + plane.exponent_bits)
        return plane.cut(0 if plane.signed else plane.anchor)


class PlaneDecoder:
    """Decodes a plane ("A plane")."""

    def __init__(self, block: TensorBlock, plane: Plane, role: int) -> None:
        self.block, self.plane, self.role = block, plane, role
        plane.anchor = block.byte(2)
        self.sparse = plain(block.coder, 1) if plane.sparse_allowed else 0
        self.form = block.forms[plane.form]
        self.form.start_plane(plane)
        block.matches.start_plane(plane)
        self.groups = Groups(plane)
        columns = min(plane.columns, 65536) if plane.rows > 1 else 1
        self.column_sum, self.column_count = [0] * columns, [0] * columns
        self.column_sign = [0] * columns
        self.sum = self.count = 0
        self.left = self.left2 = self.left3 = NONE
        self.zeros = Zeros(block.zeros_stage, plane, columns)

    def decode(self) -> None:
        for row in range(self.plane.rows):
            self.code_row(row)

    def mean_now(self) -> int:
        return max(1, self.sum // self.count) if self.count else 1

    def mean_log(self, total: int, n: int) -> int:
        return min(511, log8(max(1, (total + 6 * self.mean) // (n + 6))))

    def up(self, row: int, col: int) -> Parts:
        if row == 0 or not 0 <= col < self.plane.columns:
            return NONE
        return self.plane.cut(self.plane.values[(row - 1) * self.plane.columns + col])

    def code_row(self, row: int) -> None:
        plane, block = self.plane, self.block
        self.row_sum = self.row_count = self.row_sign = state = 0
        self.mean = self.mean_now()
        self.local = 16 * self.mean
        self.zeros.start_row()
        for col in range(plane.columns):
            if col % 32 == 0:
                self.mean = self.mean_now()
            if plane.group and col % plane.group == 0:
                self.groups.begin(col)
            q = 2 + (state & 1) if plane.trellis else 0
            t = self.here(row, col, q)
            if self.sparse and self.zeros.code(block.coder, t):
                c = block.zero(plane)
                self.groups.add(c)
                block.matches.end(c.value, self.left.value, self.left2.value)
                plane.values.append(c.value)
                continue
            c = self.form.code(t)
            plane.values.append(c.value % 2 ** (8 * plane.width))
            self.add(t.column, c, q)
            if plane.trellis:
                state = next_state(state, c.value, plane.trellis)
            self.groups.add(c)
            self.left, self.left2, self.left3 = c, self.left, self.left2
            block.matches.end(self.left.value, self.left2.value, self.left3.value)
        self.zeros.end_row()

    def here(self, row: int, col: int, q: int) -> Here:
        """What is known before the element is coded."""
        plane, groups = self.plane, self.groups
        column = col % 65536 if plane.rows > 1 else 0
        overall = log8(self.mean)
        by_row = self.mean_log(self.row_sum, self.row_count)
        by_column = overall
        if plane.rows > 1:
            by_column = self.mean_log(self.column_sum[column], self.column_count[column])
        change = log8(max(1, self.local >> 4)) - by_row
        length, bucket, expected = self.block.matches.find()
        return Here(
            role=self.role,
            col=col,
            column=column,
            R=clamp(by_row - groups.log_g, 0, 511),
            C=clamp(by_column - groups.log_g, 0, 511),
            S=clamp(by_row + by_column - overall - groups.log_g, 0, 511),
            trend=sum(limit <= change for limit in (-12, -6, -2, 3, 7, 13)),
            means=5 * lean(self.row_sign, 20, 4) + lean(self.column_sign[column], 12, 3),
            length=length,
            bucket=bucket,
            e=plane.cut(expected) if length else NONE,
            u=self.up(row, col),
            ul=self.up(row, col - 1),
            ur=self.up(row, col + 1),
            left=self.left,
            left2=self.left2,
            left3=self.left3,
            G=groups.context,
            q=q,
        )

    def add(self, column: int, c: Parts, q: int) -> None:
        """Adds an element to what is known of its row, its column and its plane."""
        z = self.plane.size(c, self.groups.g, q)
        self.row_sum += z
        self.column_sum[column] += z
        self.sum += z
        self.row_count += 1
        self.column_count[column] += 1
        self.count += 1
        self.local += z - (self.local >> 4)
        step = -1 if c.sign else 1
        self.row_sign += step - toward_zero(self.row_sign, 64)
        self.column_sign[column] += step
