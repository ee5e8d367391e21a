"""Payloads of kind 6 (FORMAT-fields.md)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .container import COLUMN_BYTES, Cursor, Item, Row
from .errors import Rejected
from .field_plan import (
    ESCAPES,
    FLIPS,
    FLOAT16,
    FLOAT32,
    LOW,
    MIDDLE,
    NARROW_MIDDLE,
    NIBBLES,
    WINDOWED,
    ItemPlan,
    Plan,
    unit_of,
)
from .rans import RansDecoder

if TYPE_CHECKING:
    from .payloads import Surroundings

Bytes = npt.NDArray[np.uint8]
NOTHING: Bytes = np.zeros(0, np.uint8)


@dataclass
class Run:
    """Consecutive units of a plane with one table number ("Runs")."""

    plane: str
    table: int
    size: int
    contents: Bytes


def decode_payload(row: Row, payload: bytes, surroundings: "Surroundings") -> bytes:
    """The decoded block ("Layout of the payload")."""
    cursor = Cursor(payload)
    plan = Plan(cursor.take(cursor.varint(5)), row.items)
    planned = list(zip(row.items, plan.items, strict=True))
    runs = [runs_of(item, item_plan) for item, item_plan in planned]
    flat = [run for item_runs in runs for run in item_runs]
    decode_coded(cursor, plan, flat)
    for run in flat:
        if run.table == 0:
            run.contents = np.frombuffer(cursor.take(run.size), np.uint8)
    if cursor.at < len(payload):
        raise Rejected("more plain bytes than the plain runs have")
    begins: list[int] = []  # of the chunk's units
    at = 0
    for item in row.items:
        b = COLUMN_BYTES[item.dtype]
        begins += range(at, at + item.size, unit_of(item.columns) * b)
        at += item.size
    chunk = bytearray()
    first = 0
    for (item, item_plan), item_runs in zip(planned, runs, strict=True):
        put_item(chunk, item, item_plan, item_runs, begins, first)
        first += item_plan.units
    return bytes(chunk)


def decode_coded(cursor: Cursor, plan: Plan, runs: list[Run]) -> None:
    """All coded runs, table by table ("Coded runs: interleaved rANS")."""
    size = sum(run.size for run in runs if run.table > 0)
    if size == 0:
        return
    lanes = 32 if size < 2**20 else 64
    count = cursor.varint(5)
    states = np.frombuffer(cursor.take(4 * lanes), "<u4").astype(np.int64)
    words = np.frombuffer(cursor.take(2 * count), "<u2").astype(np.int64)
    rans = RansDecoder(states, words)
    for table in range(1, plan.tables + 1):
        for run in runs:
            if run.table == table:
                run.contents = rans.decode(plan.frequencies[table], run.size)
    rans.finish()


def lengths_of(item: Item, plan: ItemPlan) -> list[int]:
    """The elements of each unit."""
    n, unit = item.rows * item.columns, unit_of(item.columns)
    return [min(unit, n - u * unit) for u in range(plan.units)]


def runs_of(item: Item, plan: ItemPlan) -> list[Run]:
    """The runs of an item, in order ("Runs")."""
    if not plan.coded:
        return [Run("raw", 0, item.size, NOTHING)]
    lengths = lengths_of(item, plan)
    tables = plan.tables
    own = plan.own
    runs: list[Run] = []

    def add(plane: str, table: int, size: int, joined: bool) -> None:
        if joined and runs[-1].table == table:
            runs[-1].size += size
        else:
            runs.append(Run(plane, table, size, NOTHING))

    def add_units(plane: str, units: dict[int, int], sizes: list[int]) -> None:
        """Of unit numbers, rising, and their tables; a unit that is left out ends a run."""
        for u, table in units.items():
            add(plane, table, sizes[u], u - 1 in units)

    add_units("symbols", plan.symbol_table, lengths)
    flips = sum(-(-lengths[u] // 8) for u in range(plan.units) if plan.flipped[u])
    if flips:
        add("flips", tables[FLIPS], flips, False)
    if item.dtype in WINDOWED:
        if plan.escapes:
            add("escapes", tables[ESCAPES], plan.escapes, False)
        halves = [(length + 1) // 2 for length in lengths]
        add_units("nibbles", dict.fromkeys(own, tables[NIBBLES]), halves)
    if item.dtype == FLOAT32:
        middle = {0: MIDDLE, 1: NARROW_MIDDLE}
        kept = {u: tables[middle[plan.narrow[u]]] for u in own if plan.narrow[u] < 2}
        add_units("middle", kept, lengths)
    if item.dtype in (FLOAT16, FLOAT32):
        whole = [u for u in own if plan.narrow[u] == 0]
        add_units("low", dict.fromkeys(whole, tables[LOW]), lengths)
    return runs


def put_item(
    chunk: bytearray, item: Item, plan: ItemPlan, runs: list[Run], begins: list[int], first: int
) -> None:
    """Appends an item ("From planes to elements")."""
    planes = {
        name: np.concatenate([NOTHING] + [run.contents for run in runs if run.plane == name])
        for name in ("raw", "symbols", "flips", "escapes", "nibbles", "middle", "low")
    }
    if not plan.coded:
        chunk += planes["raw"].tobytes()
        return
    b = COLUMN_BYTES[item.dtype]
    lengths = lengths_of(item, plan)
    elements = own_elements(item.dtype, plan, planes, lengths).tobytes()
    at = flips_at = 0
    for u, length in enumerate(lengths):
        size = length * b
        if plan.distance[u] == 0:
            chunk += elements[at : at + size]
            at += size
            continue
        source = begins[first + u - plan.distance[u]]
        if source + size > len(chunk):
            raise Rejected("a copy of bytes that are not there yet")
        unit = np.frombuffer(bytes(chunk[source : source + size]), np.uint8).reshape(-1, b).copy()
        if plan.flipped[u]:
            flips = planes["flips"][flips_at : flips_at + (length + 7) // 8]
            unit[:, -1] ^= np.unpackbits(flips, bitorder="little")[:length] << 7
            flips_at += len(flips)
        chunk += unit.tobytes()


def own_elements(
    dtype: int, plan: ItemPlan, planes: dict[str, Bytes], lengths: list[int]
) -> npt.NDArray[Any]:
    """The elements of all own units, one after the other ("An own unit")."""
    symbols = planes["symbols"].astype(np.uint32)
    if dtype == FLOAT16:
        return (planes["low"] + (symbols << 8)).astype("<u2")
    if dtype not in WINDOWED:
        return planes["symbols"]
    slot = symbols >> 3 & 15
    exponent = plan.top + slot + 241 & 255
    exponent[slot == 0] = 0
    if np.count_nonzero(slot == 1) != plan.escapes:
        raise Rejected("too few or too many escapes")
    exponent[slot == 1] = planes["escapes"]
    nibbles, middle, low = np.zeros((3, len(symbols)), np.uint32)
    at = half = 0
    kept = [0, 0]  # bytes of the planes middle and low that were used
    for u in plan.own:
        here = slice(at, at + lengths[u])
        size = (lengths[u] + 1) // 2
        pair = planes["nibbles"][half : half + size]
        nibbles[here] = np.stack([pair & 15, pair >> 4], axis=1).reshape(-1)[: lengths[u]]
        at, half = here.stop, half + size
        if dtype != FLOAT32:
            continue
        for index, (plane, target) in enumerate(((planes["middle"], middle), (planes["low"], low))):
            if plan.narrow[u] + index < 2:
                target[here] = plane[kept[index] : kept[index] + lengths[u]]
                kept[index] += lengths[u]
    upper = (symbols >> 7) << 15 | exponent << 7 | (symbols & 7) << 4 | nibbles
    if dtype != FLOAT32:
        return upper.astype("<u2")
    return (upper << 16 | middle << 8 | low).astype("<u4")
