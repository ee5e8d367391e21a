"""Notes of what a torch pickle describes: storages, tensors on them, and nodes for all the rest.

Source: torch/_utils.py, torch/serialization.py and the serialization notes of PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from nncodec.tensors.dtypes import Dtype

# Values that are shared cost two bytes each time: none may be long where it is read each time.
MAX_NAME = 512  # of a key, and of the path to a tensor
MAX_AXES = 64
UNTYPED = "torch.storage.UntypedStorage"
DTYPES = {  # by the class of a typed storage, or by the dtype of a tensor on an untyped one
    "torch.DoubleStorage": Dtype.F64, "torch.FloatStorage": Dtype.F32,
    "torch.HalfStorage": Dtype.F16, "torch.BFloat16Storage": Dtype.BF16,
    "torch.LongStorage": Dtype.I64, "torch.IntStorage": Dtype.I32, "torch.ShortStorage": Dtype.I16,
    "torch.CharStorage": Dtype.I8, "torch.ByteStorage": Dtype.U8, "torch.BoolStorage": Dtype.BOOL,
    "torch.QInt8Storage": Dtype.I8, "torch.QUInt8Storage": Dtype.U8,
    "torch.QInt32Storage": Dtype.I32,
    "torch.float8_e4m3fn": Dtype.F8_E4M3, "torch.float8_e5m2": Dtype.F8_E5M2,
    "torch.float8_e4m3fnuz": Dtype.F8_E4M3FNUZ, "torch.float8_e5m2fnuz": Dtype.F8_E5M2FNUZ,
    "torch.float8_e8m0fnu": Dtype.F8_E8M0, "torch.ComplexFloatStorage": Dtype.C64,
    "torch.uint16": Dtype.U16, "torch.uint32": Dtype.U32, "torch.uint64": Dtype.U64,
}  # fmt: skip


@dataclass(frozen=True)
class Global:
    """``module.name``, never looked up."""

    name: str


@dataclass(frozen=True)
class Storage:
    """The member ``data/<key>``. Elements of an untyped one are bytes and its dtype is None."""

    key: str
    kind: str
    elements: int

    @property
    def dtype(self) -> Dtype | None:
        return DTYPES.get(self.kind)

    @property
    def size(self) -> int | None:
        """In bytes; None for a kind that is not known."""
        if self.kind == UNTYPED:
            return self.elements
        return self.dtype.size(self.elements) if self.dtype else None


@dataclass(eq=False)
class View:
    """A tensor on a storage, in elements of its own dtype; it may reach beyond."""

    storage: Storage
    dtype: Dtype | None
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    name: str = ""  # its path in the object tree, "" if it has none


@dataclass(eq=False)
class Node:
    """A dict, list, set or object: keys and values. A key of None adds nothing to a path."""

    items: list[tuple[object, object]] = field(default_factory=list)


def storage_of(persistent_id: object) -> Storage | None:
    """What the id names: ("storage", class, key, location, elements)."""
    match persistent_id:
        case ("storage", Global(kind), str(key), _, int(elements)) if len(key) <= MAX_NAME:
            return Storage(key, kind, elements)
    return None


def result_of(function: object, arguments: object) -> View | Node:
    """What stands for the result of a call that is never made."""
    match function, arguments:
        case Global("torch._utils._rebuild_tensor_v2"), (Storage() as storage, *numbers):
            view = _view(storage, storage.dtype, numbers)
        case (
            Global("torch._utils._rebuild_tensor_v3"),
            (Storage() as storage, offset, shape, stride, _, _, Global(dtype), *_),
        ):
            view = _view(storage, DTYPES.get(dtype), (offset, shape, stride))
        case Global("torch._utils._rebuild_parameter"), (View() as view, *_):
            return view
        case _:
            view = None
    return view or Node([(None, arguments)])  # not copied: many calls may share them


def _view(storage: Storage, dtype: Dtype | None, numbers: Sequence[object]) -> View | None:
    match numbers:
        case (int(offset), tuple(shape), tuple(stride), *_):
            if len(shape) == len(stride) <= MAX_AXES and _sizes((offset, *shape, *stride)):
                return View(storage, dtype, offset, shape, stride)
    return None


def _sizes(values: tuple[object, ...]) -> bool:
    return all(isinstance(n, int) and n >= 0 for n in values)


def name_views(root: object) -> None:
    """Give each tensor below ``root`` the first path that leads to it, keys joined by dots."""
    names: set[str] = set()
    for name, view in paths(root):
        if not view.name and name not in names:
            view.name = name
            names.add(name)


def paths(root: object) -> Iterator[tuple[str, View]]:
    """Every tensor below ``root`` and the paths that lead to it, one or more, none empty.

    Each node is visited once and paths are bounded, so shared or circular parts cost nothing.
    """
    seen: set[int] = set()
    stack: list[tuple[str, Iterator[tuple[object, object]]]] = [("", iter([(None, root)]))]
    while stack:
        path, items = stack[-1]
        for key, value in items:
            name = _join(path, key)
            if name is None:
                continue
            if isinstance(value, View) and name:
                yield name, value
            if isinstance(value, (Node, tuple)) and id(value) not in seen:
                seen.add(id(value))
                below = value.items if isinstance(value, Node) else enumerate(value)
                stack.append((name, iter(below)))
                break
        else:
            stack.pop()


def _join(path: str, key: object) -> str | None:
    """``path.key``; None if that is no name for a tensor."""
    if key is None:
        return path
    if not isinstance(key, (str, int)) or (isinstance(key, str) and len(key) > MAX_NAME):
        return None
    name = f"{path}.{key}" if path else str(key)
    return name if len(name) <= MAX_NAME else None
