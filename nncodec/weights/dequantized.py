"""Archives of quantised or factored weights, as the floats that they stand for.

What ``nncodec weights quantize`` and ``lowrank`` wrote is restored tensor by tensor as it is asked
for, as ``lossy.dequantize`` and ``lossy.lowrank.restore`` do: in the original's names, shapes and
dtypes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nncodec.errors import UnsupportedDtypeError
from nncodec.lossy import lowrank, spec
from nncodec.lossy.dequantize import restore
from nncodec.lossy.store import HOLDERS, Tensor
from nncodec.weights.archive import ArchiveView
from nncodec.weights.arrays import RAW, layout_of, raw_array
from nncodec.weights.index import Entry, Index
from nncodec.weights.reader import Slice, WeightsFile

KEYS = (spec.KEY, lowrank.KEY)


class DequantizedFile(WeightsFile):
    """``WeightsFile`` without scales, codebooks and factors, and with floats for indices.

    Raises ContainerFormatError if metadata and tensors contradict each other.
    """

    def __init__(self, view: ArchiveView, framework: str, device: Any) -> None:
        super().__init__(view, framework, device)
        self.stored, metadata = self.index.entries, self.index.metadata
        self.records, self.factored = spec.unpack(metadata), lowrank.records(metadata)
        entries = dict(self.stored)
        for name, record in self.records.items():
            entry = self._stored_entry(name)
            entries[name] = as_floats(entry, name, record.dtype, record.shape or entry.shape)
            for helper in record.helpers:
                entries.pop(helper, None)
        for name, (shape, dtype) in self.factored.items():
            entry = self._stored_entry(name + lowrank.LEFT)
            for suffix in (lowrank.LEFT, lowrank.RIGHT):
                entries.pop(name + suffix, None)
            if name in entries:
                raise lowrank.broken(f"{name!r} is there beside its factors")
            entries[name] = as_floats(entry, name, dtype, shape)
        plain = {key: value for key, value in metadata.items() if key not in KEYS}
        self.index = Index(self.container, entries, plain)

    def _stored_entry(self, name: str) -> Entry:
        if name not in self.stored:
            raise spec.broken(f"there is no tensor {name!r}")
        return self.stored[name]

    def get_bytes(self, name: str) -> bytes:
        entry = self.entry(name)
        if entry != self.stored.get(name):
            raise UnsupportedDtypeError(
                f"{name!r} is not stored as {entry.dtype}: open the file with dequantize=False"
            )
        return super().get_bytes(name)

    def get_slice(self, name: str) -> Slice:
        return RestoredSlice(self, self.entry(name))

    def _tensor(self, entry: Entry, ahead: int) -> Any:
        if entry == self.stored.get(entry.name):
            return super()._tensor(entry, ahead)
        return self.finish(self.restored(entry, ahead), entry)

    def restored(self, entry: Entry, ahead: int = 0) -> Any:
        """Its floats, as integers of the elements' size."""
        name = entry.name
        if name in self.factored:
            left, right = (self._values(name + s, ahead) for s in (lowrank.LEFT, lowrank.RIGHT))
            tensor = lowrank.product(name, left, right, *self.factored[name])
        else:
            tensor = self._values(name, ahead)
        return tensor.data.view("<" + RAW[tensor.data.itemsize])

    def _values(self, name: str, ahead: int) -> Tensor:
        """A stored tensor, with floats for indices."""
        tensor, record = self._stored(name, ahead), self.records.get(name)
        if record is None:
            return tensor
        return restore(
            record, tensor, {helper: self._stored(helper, ahead) for helper in record.helpers}
        )

    def _stored(self, name: str, ahead: int) -> Tensor:
        entry = self._stored_entry(name)
        if entry.dtype not in HOLDERS:
            raise spec.broken(f"{name!r} has the dtype {entry.dtype}")
        raw = raw_array(self.view.read(entry.begin, entry.end, ahead), layout_of(entry))
        return Tensor(entry.dtype, raw.view(HOLDERS[entry.dtype]))


class RestoredSlice(Slice):
    """A part of a tensor of which all is decoded, since it is not stored as it is."""

    def raw(self, index: Any) -> Any:
        file = self.file
        assert isinstance(file, DequantizedFile)
        if self.entry == file.stored.get(self.entry.name):
            return super().raw(index)
        return np.asarray(file.restored(self.entry)[index])


def as_floats(stored: Entry, name: str, dtype: str, shape: tuple[int, ...]) -> Entry:
    """An entry in the place of what it is made from."""
    return Entry(name, dtype, shape, stored.begin, stored.end)
