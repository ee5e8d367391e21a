"""Read flatbuffers whose offsets may lie: tables, vectors and strings, all bounded.

Source: the internals page of the FlatBuffers documentation (flatbuffers.dev/internals). Parts of a
flatbuffer may be shared, so a small file could claim to hold itself many times over. Therefore all
that is read is counted, and no more is read than the file has bytes.
"""

from __future__ import annotations

import struct

from nncodec.tensors.layout import Cursor, Data, broken

U16, I32, U32 = struct.Struct("<H"), struct.Struct("<i"), struct.Struct("<I")
VTABLE = struct.Struct("<HH")  # bytes of the vtable, bytes of the table


class Flatbuffer:
    """``data`` as a flatbuffer; ``where`` names it in errors.

    Every method raises ContainerFormatError where an offset leads out of the data.
    """

    def __init__(self, data: Data, where: str) -> None:
        self.data, self.where = data, where
        self.left = len(data)

    def root(self) -> Table:
        return self.table(self.indirect(0))

    def table(self, at: int) -> Table:
        """The table that starts at byte ``at``."""
        (back,) = self.at(at, I32)
        vtable = at - back
        vtable_bytes, table_bytes = self.at(vtable, VTABLE)
        if vtable_bytes < VTABLE.size or vtable_bytes % 2 or table_bytes < I32.size:
            raise broken(f"{self.where}: the table at {at} has a vtable that is none")
        self.cursor(vtable).skip(vtable_bytes)
        self.spend(self.cursor(at).skip(table_bytes), table_bytes)
        return Table(self, at, vtable, vtable_bytes)

    def vector(self, at: int, size: int) -> tuple[int, int]:
        """First byte and length of the vector at ``at``, whose elements have ``size`` bytes."""
        cursor = self.cursor(at)
        (length,) = cursor.fields(U32)
        return cursor.skip(length * size), length

    def tables(self, at: int) -> list[int]:
        """Where the tables lie that the vector at ``at`` points to."""
        begin, length = self.vector(at, U32.size)
        self.spend(begin, length * U32.size)
        return [self.indirect(begin + i * U32.size) for i in range(length)]

    def integers(self, at: int, most: int) -> tuple[int, ...]:
        """The vector of int32 at ``at``; more than ``most`` of them raise."""
        begin, length = self.vector(at, I32.size)
        if length > most:
            raise broken(f"{self.where}: {length} integers at {at} are more than {most}")
        return self.at(begin, struct.Struct(f"<{length}i"))

    def text(self, at: int) -> str:
        begin, length = self.vector(at, 1)
        self.spend(begin, length)
        return self.cursor(begin).text(length)

    def indirect(self, at: int) -> int:
        return at + self.at(at, U32)[0]

    def at(self, at: int, layout: struct.Struct) -> tuple[int, ...]:
        return self.cursor(at).fields(layout)

    def cursor(self, at: int) -> Cursor:
        if not 0 <= at <= len(self.data):
            raise broken(f"{self.where}: an offset leads to {at}, outside of {len(self.data)}")
        return Cursor(self.data, at, len(self.data), self.where)

    def spend(self, at: int, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise broken(f"{self.where}: parts such as the one at {at} are used again and again")


class Table:
    """Fields are found by their number, which is their place in the schema."""

    def __init__(self, buffer: Flatbuffer, at: int, vtable: int, vtable_bytes: int) -> None:
        self.buffer, self.begin, self.vtable, self.vtable_bytes = buffer, at, vtable, vtable_bytes

    def field(self, number: int) -> int | None:
        """Where a field lies, or None if it has its default."""
        slot = VTABLE.size + number * U16.size
        if slot + U16.size > self.vtable_bytes:
            return None
        (offset,) = self.buffer.at(self.vtable + slot, U16)
        return self.begin + offset if offset else None

    def scalar(self, number: int, layout: struct.Struct) -> int:
        """A field of one number, whose default is 0."""
        at = self.field(number)
        return 0 if at is None else self.buffer.at(at, layout)[0]

    def follow(self, number: int) -> int | None:
        """Where a field's offset leads: to a table, a vector or a string."""
        at = self.field(number)
        return None if at is None else self.buffer.indirect(at)

    def tables(self, number: int) -> list[int]:
        at = self.follow(number)
        return [] if at is None else self.buffer.tables(at)
