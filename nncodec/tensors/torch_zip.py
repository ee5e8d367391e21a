"""Checkpoints of torch.save: a zip whose ``<name>/data.pkl`` describes storages ``<name>/data/N``.

Source: the serialization notes of PyTorch and torch/serialization.py. The pickle is never
unpickled (``torch_pickle``). A storage is cut into the tensors that lie on it; tensors that are
not dense, or overlap one before them, leave plain rows of the storage's dtype.
"""

from __future__ import annotations

from collections.abc import Sequence

from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.layout import Data, Span, broken, shown
from nncodec.tensors.torch_objects import Storage, View
from nncodec.tensors.torch_pickle import read_pickle
from nncodec.tensors.zip_members import Member

PICKLE = "/data.pkl"


def is_torch(members: Sequence[Member]) -> bool:
    return any(m.name.endswith(PICKLE) for m in members)


def read(data: Data, members: Sequence[Member]) -> list[Span]:
    """Spans of all stored, not empty storages of a known dtype; raises ContainerFormatError.

    Tensors are called by their path in the pickle; other rows by member and first byte.
    """
    storages, views = read_pickle(pickle_of(data, members))
    on: dict[str, list[View]] = {storage.key: [] for storage in storages}
    for view in views:
        on[view.storage.key].append(view)
    homes = storage_members(storages, members)
    return [
        span
        for storage in storages
        if homes[storage.key].stored
        for span in _cut(storage, on[storage.key], homes[storage.key])
    ]


def pickle_of(data: Data, members: Sequence[Member]) -> bytes:
    """The pickle that describes the tensors, never to be unpickled."""
    by_name = {m.name: m for m in members}
    pickle, *more = (m for m in members if m.name.endswith(PICKLE))
    if more or not pickle.stored:
        raise broken(f"torch zip: {shown(pickle.name)} is compressed, or not the only one")
    prefix = pickle.name.removesuffix("data.pkl")
    order = by_name.get(prefix + "byteorder")
    if order and bytes(data[order.begin : order.end]) != b"little":
        raise broken("torch zip: the byte order is not little")
    return bytes(data[pickle.begin : pickle.end])


def storage_members(storages: Sequence[Storage], members: Sequence[Member]) -> dict[str, Member]:
    """Where each storage lies, by its key; raises ContainerFormatError."""
    by_name = {m.name: m for m in members}
    prefix = next(m.name for m in members if m.name.endswith(PICKLE)).removesuffix("data.pkl")
    homes = {}
    for storage in storages:
        member = by_name.get(f"{prefix}data/{storage.key}")
        if member is None:
            raise broken(f"torch zip: no member holds the storage {shown(storage.key)}")
        size = member.end - member.begin
        if member.stored and storage.size not in (size, None):
            raise broken(f"torch zip: {size} bytes are not {storage.elements} of {storage.kind}")
        homes[storage.key] = member
    return homes


def _cut(storage: Storage, views: list[View], member: Member) -> list[Span]:
    """Disjoint spans of one storage: its dense tensors, then rows for what lies between them."""
    dense = [span for view in views if (span := _dense(view, member))]
    spans: list[Span] = []
    at = member.begin
    for span in sorted(dense, key=lambda span: (span.begin, -span.end)):
        if span.begin >= at:
            spans += [*_row(storage.dtype, at, span.begin, member), span]
            at = span.end
    return [*spans, *_row(storage.dtype, at, member.end, member)]


def _row(dtype: Dtype | None, begin: int, end: int, member: Member) -> list[Span]:
    if dtype is None or begin == end:
        return []
    elements = (end - begin) // dtype.block_bytes
    return [Span(_default_name(member, begin), dtype, (elements,), begin, end)]


def _default_name(member: Member, begin: int) -> str:
    return f"{member.name}@{begin - member.begin}"


def _dense(view: View, member: Member) -> Span | None:
    """The tensor as a span if its elements fill one range of the member, in any order of axes."""
    if view.dtype is None or 0 in view.shape:
        return None
    axes = sorted(zip(view.shape, view.stride, strict=True), key=lambda axis: -axis[1])
    elements = 1
    for length, stride in reversed(axes):  # fastest first
        if length != 1 and stride != elements:
            return None
        elements *= length
    begin = member.begin + view.dtype.size(view.offset)
    end = begin + view.dtype.size(elements)
    if end > member.end:
        raise broken(f"torch zip: {shown(view.name)} reaches beyond {shown(member.name)}")
    shape = tuple(length for length, _ in axes)
    return Span(view.name or _default_name(member, begin), view.dtype, shape, begin, end)
