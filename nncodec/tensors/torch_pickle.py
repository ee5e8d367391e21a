"""Reads a torch pickle without unpickling it: nothing is imported and nothing is called.

A machine for just the opcodes that torch.save writes; any other one ends it. What a call in the
pickle would return is noted by ``torch_objects``. Source: pickletools of the standard library.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from typing import Any

from nncodec.tensors.layout import broken, shown
from nncodec.tensors.torch_objects import (
    Global,
    Node,
    Storage,
    View,
    name_views,
    result_of,
    storage_of,
)

MAX_LINE = 1024  # of a module and a name


def read_pickle(data: bytes) -> tuple[list[Storage], list[View]]:
    """Storages and tensors in the order of the pickle; raises ContainerFormatError."""
    storages, views, root = read_objects(data)
    name_views(root)
    return storages, views


def read_objects(data: bytes) -> tuple[list[Storage], list[View], object]:
    """Storages and tensors, and the object that the pickle is; raises ContainerFormatError."""
    machine = _Machine()
    root = machine.run(data)
    return list(machine.storages.values()), machine.views, root


class _ShortLines(io.BytesIO):
    """A line longer than any name is cut, and its reader complains that it has no end."""

    def readline(self, size: int | None = -1, /) -> bytes:
        return super().readline(MAX_LINE)


class _Machine:
    """Every step takes the opcode's argument; all cost time and memory of their own bytes only."""

    def __init__(self) -> None:
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}
        self.storages: dict[str, Storage] = {}
        self.views: list[View] = []

    def run(self, data: bytes) -> object:
        """Execute up to STOP; returns the object on top."""
        file = _ShortLines(data)
        while True:
            at = file.tell()
            op = OPCODES.get(file.read(1))
            if op is None:  # so that no reader of other arguments ever runs
                raise broken(f"data.pkl: opcode {data[at : at + 1]!r} at {at} is not torch's")
            try:
                argument = op.arg.reader(file) if op.arg else None
            except ValueError as error:
                raise broken(f"data.pkl: {op.name} at {at}: {error}") from None
            if op.name == "STOP":
                return self.pop()
            STEPS[op.name](self, argument)

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        if not self.stack:
            raise broken("data.pkl: the stack is empty")
        return self.stack.pop()

    def top(self) -> object:
        self.push(value := self.pop())
        return value

    def since_mark(self) -> list[object]:
        if not self.marks:
            raise broken("data.pkl: no mark on the stack")
        at = self.marks.pop()
        values = self.stack[at:]
        del self.stack[at:]
        return values

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def note(self, index: int) -> None:
        self.memo[index] = self.top()

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise broken(f"data.pkl: nothing was noted as {index}")
        self.push(self.memo[index])

    def make_tuple(self, size: int) -> None:
        self.push(tuple([self.pop() for _ in range(size)][::-1]))

    def items(self) -> list[tuple[object, object]]:
        """Of the node on top; what is set on anything else is dropped."""
        node = self.top()
        return node.items if isinstance(node, Node) else []

    def extend(self, values: list[object]) -> None:
        items = self.items()
        items.extend(enumerate(values, len(items)))

    def set_items(self, values: list[object]) -> None:
        if len(values) % 2:
            raise broken("data.pkl: a key without a value")
        self.items().extend(zip(values[::2], values[1::2], strict=True))

    def build(self, _: Any) -> None:
        state = self.pop()
        self.items().append((None, state))

    def stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise broken("data.pkl: a global that is not named by text")
        if len(name) + len(module) > MAX_LINE:
            raise broken(f"data.pkl: the global {shown(name)} has too long a name")
        self.push(Global(f"{module}.{name}"))

    def storage(self, _: Any) -> None:
        storage = storage_of(self.pop())
        if storage and self.storages.setdefault(storage.key, storage) != storage:
            raise broken(f"data.pkl: the storage {shown(storage.key)} is described in two ways")
        self.push(storage)

    def call(self, _: Any) -> None:
        arguments, function = self.pop(), self.pop()
        result = result_of(function, arguments)
        if isinstance(result, View):
            self.views.append(result)
        self.push(result)


STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda m, _: None),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _Machine.push),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINUNICODE"), _Machine.push),
    **dict.fromkeys(("BINBYTES", "SHORT_BINBYTES"), _Machine.push),
    **dict.fromkeys(("EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET"), lambda m, _: m.push(Node())),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE1": lambda m, _: m.make_tuple(1),
    "TUPLE2": lambda m, _: m.make_tuple(2),
    "TUPLE3": lambda m, _: m.make_tuple(3),
    "TUPLE": lambda m, _: m.push(tuple(m.since_mark())),
    "MARK": _Machine.mark,
    "MEMOIZE": lambda m, _: m.note(len(m.memo)),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _Machine.note),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Machine.recall),
    "GLOBAL": lambda m, name: m.push(Global(name.replace(" ", "."))),
    "STACK_GLOBAL": _Machine.stack_global,
    "BINPERSID": _Machine.storage,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Machine.call),
    "APPEND": lambda m, _: m.extend([m.pop()]),
    **dict.fromkeys(("APPENDS", "ADDITEMS"), lambda m, _: m.extend(m.since_mark())),
    "SETITEM": lambda m, _: m.set_items([m.pop(), m.pop()][::-1]),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    "BUILD": _Machine.build,
}
OPCODES = {op.code.encode("latin-1"): op for op in pickletools.opcodes if op.name in STEPS}
