"""The plan of a fields payload (FORMAT-fields.md, "The plan")."""

from collections import defaultdict
from dataclasses import dataclass, field

from .container import Item
from .errors import Rejected
from .range_decoder import RangeDecoder

FLOAT32, FLOAT16, BFLOAT16 = 2, 3, 4
WINDOWED = (FLOAT32, BFLOAT16)
SIGNED = (2, 3, 4, 5, 6)
ESCAPES, FLIPS, NIBBLES, MIDDLE, NARROW_MIDDLE, LOW = range(6)  # numbers of plane(..)


def unit_of(columns: int) -> int:
    """Elements of a unit ("Items and units")."""
    return 1024 if columns > 4096 else columns * -(-128 // columns)


@dataclass
class ItemPlan:
    """What the plan says of an item ("Item plan")."""

    units: int
    coded: bool = False
    distance: list[int] = field(default_factory=list)
    flipped: list[int] = field(default_factory=list)
    symbol_table: dict[int, int] = field(default_factory=dict)
    narrow: list[int] = field(default_factory=list)
    top: int = 0
    escapes: int = 0
    tables: dict[int, int] = field(default_factory=dict)  # by the numbers of plane(..)

    @property
    def own(self) -> list[int]:
        """The units that are no copies."""
        return [u for u in range(self.units) if self.distance[u] == 0]


class Plan:
    """Reads a plan: `frequencies` by table number, and `items`."""

    def __init__(self, data: bytes, items: tuple[Item, ...]) -> None:
        self.coder = RangeDecoder(data)
        self.contexts: defaultdict[tuple[object, ...], int] = defaultdict(lambda: 32768)
        self.tables = self.plain(6)
        self.frequencies = [[0] * 256] + [self.table() for _ in range(self.tables)]
        self.items: list[ItemPlan] = []
        first = 0
        for item in items:
            units = -(-item.rows * item.columns // unit_of(item.columns))
            self.items.append(self.item_plan(item, units, first))
            first += units
        self.coder.finish()

    def plain(self, k: int) -> int:
        value = 0
        for _ in range(k):
            value = 2 * value + self.coder.decode_bit(32768)
        return value

    def flag(self, *context: object) -> int:
        p = self.contexts[context]
        bit = self.coder.decode_bit(p)
        self.contexts[context] = p + (65536 - p) // 16 if bit else p - p // 16
        return bit

    def tree(self, context: tuple[object, ...], k: int) -> int:
        node = 1
        for _ in range(k):
            node = 2 * node + self.flag(*context, node)
        return node - (1 << k)

    def number(self, name: str, limit: int) -> int:
        k = 0
        while k < 31 and self.flag(name, k):
            k += 1
        value = (1 << k) + self.plain(k) - 1
        if value >= limit:
            raise Rejected(f"a number ({name}) at or above its limit")
        return value

    def table_number(self, *context: object) -> int:
        number = self.tree(context, self.tables.bit_length())
        if number > self.tables:
            raise Rejected("a table number above the number of tables")
        return number

    def table(self) -> list[int]:
        """256 frequencies ("Frequency table")."""
        complement = self.flag("complement")
        f: list[int] = []
        before = before2 = 0
        for s in range(256):
            across = 14
            if s >= 128:
                across = f[(256 - s) % 128 if complement else s - 128].bit_length()
            length = self.tree(("length", across, before, int(before2 > before)), 4)
            if length > 12:
                raise Rejected("a frequency of more than 12 bits")
            value = min(length, 1)
            for i in reversed(range(length - 1)):
                first = i == length - 2
                value = 2 * value + (
                    self.flag("second", across, length) if first else self.plain(1)
                )
            f.append(value)
            before2, before = before, length
        if sum(f) != 4096:
            raise Rejected("frequencies of another sum than 4096")
        return f

    def item_plan(self, item: Item, units: int, first: int) -> ItemPlan:
        plan = ItemPlan(units)
        plan.coded = bool(self.flag("coded"))
        if not plan.coded:
            return plan
        self.copies(plan, item.dtype in SIGNED, first)
        own = plan.own
        uniform = self.flag("uniform")
        before = 0
        for u in own:
            if not uniform or u == own[0]:
                before = self.table_number("class", before)
            plan.symbol_table[u] = before
        if item.dtype in WINDOWED:
            plan.top = self.plain(8)
            plan.escapes = self.number("escapes", item.rows * item.columns + 1)
            if plan.escapes:
                plan.tables[ESCAPES] = self.table_number("plane", ESCAPES)
            plan.tables[NIBBLES] = self.table_number("plane", NIBBLES)
        plan.narrow = [0] * units
        if item.dtype == FLOAT32:
            self.narrows(plan, own)
        if item.dtype in (FLOAT32, FLOAT16):
            plan.tables[LOW] = self.table_number("plane", LOW)
        return plan

    def copies(self, plan: ItemPlan, signed: bool, first: int) -> None:
        plan.distance, plan.flipped = [0] * plan.units, [0] * plan.units
        if not self.flag("copies"):
            return
        for u in range(plan.units):
            if self.flag("copied", int(u > 0 and plan.distance[u - 1] > 0)):
                plan.distance[u] = self.number("distance", first + u) + 1
                if signed:
                    plan.flipped[u] = self.flag("flipped", plan.flipped[u - 1] if u else 0)
        if any(plan.flipped):
            plan.tables[FLIPS] = self.table_number("plane", FLIPS)

    def narrows(self, plan: ItemPlan, own: list[int]) -> None:
        if self.flag("narrows"):
            before = 0
            for u in own:
                before = self.tree(("narrow", before), 2)
                if before == 3:
                    raise Rejected("narrow is 3")
                plan.narrow[u] = before
        for kept, plane in ((0, MIDDLE), (1, NARROW_MIDDLE)):
            if any(plan.narrow[u] == kept for u in own):
                plan.tables[plane] = self.table_number("plane", plane)
