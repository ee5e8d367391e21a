"""Tensors out of an archive one at a time: the interface of ``safetensors.safe_open``.

with nncodec.weights.open("model.safetensors.nnc") as file:
    file["layer.weight"], file.get_slice("embedding")[:10]
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from nncodec.errors import NNCodecError, TensorNotFoundError, UnsupportedDtypeError
from nncodec.extras import need
from nncodec.remote.opening import open_seekable
from nncodec.tensors.base import Base
from nncodec.tensors.spans import recognise
from nncodec.weights.archive import CACHE_BYTES, ArchiveView
from nncodec.weights.arrays import Array, Layout, layout_of, raw_array, to_numpy, to_torch
from nncodec.weights.index import Entry, read_index
from nncodec.weights.slices import needed_run

FRAMEWORKS = {"np": "np", "numpy": "np", "pt": "pt", "torch": "pt", "pytorch": "pt"}
SHOWN_MATCHES = 3
OWN_METADATA = "nncodec."  # of quantised and factored tensors
SCATTERED = ("zip", "rwkv.cpp", "TensorFlow Lite")  # headers between tensors: all blocks are needed


class WeightsFile:
    """An archive of any container that ``index`` reads, open for reading; made by ``open``.

    Like a dict of tensors that are decoded when they are asked for. Every tensor is a fresh copy
    that may be written to. Raises CorruptDataError for a block that is damaged, when it is read.
    """

    def __init__(self, view: ArchiveView, framework: str = "np", device: Any = "cpu") -> None:
        self.view, self.framework, self.device = view, framework, device
        if recognise(view) in SCATTERED:
            view.ahead = view.threads
        self.index = read_index(view)
        view.ahead = 0

    @property
    def container(self) -> str:
        """safetensors, GGUF, npy, npz, torch, rwkv.cpp or TensorFlow Lite."""
        return self.index.container

    def keys(self) -> list[str]:
        """The tensors' names, sorted."""
        return sorted(self.index.entries)

    def offset_keys(self) -> list[str]:
        """The tensors' names by their place in the file: the fastest order to read all."""
        entries = self.index.entries
        return sorted(entries, key=lambda name: (entries[name].begin, entries[name].end))

    def metadata(self) -> dict[str, str] | None:
        """Safetensors' ``__metadata__``, GGUF's pairs but arrays; None without any."""
        return dict(self.index.metadata) or None

    def entry(self, name: str) -> Entry:
        """Dtype, shape and place of a tensor. Raises TensorNotFoundError, which is a KeyError."""
        try:
            return self.index.entries[name]
        except (KeyError, TypeError):
            raise self._not_found(name) from None

    def _not_found(self, name: object) -> TensorNotFoundError:
        close = get_close_matches(str(name), self.index.entries, SHOWN_MATCHES, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "keys() lists them"
        return TensorNotFoundError(
            f"no tensor is called {name!r} among {len(self.index.entries)}: {hint}"
        )

    def get_bytes(self, name: str) -> bytes:
        """The bytes in the file that hold a tensor, also one of a dtype that has no array.

        Raises TensorNotFoundError; UnsupportedDtypeError if a container does not say how many.
        """
        entry = self.entry(name)
        if entry.elements and entry.begin == entry.end:
            raise UnsupportedDtypeError(
                f"{name!r} has the dtype {entry.dtype}, whose size is not known: decompress it all"
            )
        return bytes(self.view.read(entry.begin, entry.end))

    def get_tensor(self, name: str) -> Any:
        """All of a tensor, as the framework has it. GGUF's blocks come as rows of uint8.

        Raises TensorNotFoundError, UnsupportedDtypeError, MissingPackageError.
        """
        return self._tensor(self.entry(name), 0)

    def get_slice(self, name: str) -> Slice:
        """A tensor to be indexed: only the blocks that its index needs are decoded."""
        return Slice(self, self.entry(name))

    def get_tensors(self) -> dict[str, Any]:
        """All tensors by name, decoded once each, blocks side by side."""
        ahead = self.view.threads
        read = {name: self._tensor(self.entry(name), ahead) for name in self.offset_keys()}
        return {name: read[name] for name in self.keys()}

    def _tensor(self, entry: Entry, ahead: int) -> Any:
        layout = layout_of(entry)
        return self.finish(raw_array(self.view.read(entry.begin, entry.end, ahead), layout), entry)

    def finish(self, raw: Array, entry: Entry) -> Any:
        """``raw`` as the framework's own."""
        if self.framework == "np":
            return to_numpy(raw, entry.dtype, entry.name)
        return to_torch(raw, entry.dtype, entry.name, self.device)

    def __getitem__(self, name: str) -> Any:
        return self.get_tensor(name)

    def __contains__(self, name: object) -> bool:
        return name in self.index.entries

    def __len__(self) -> int:
        return len(self.index.entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __enter__(self) -> WeightsFile:  # noqa: PYI034, Self is 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.view.close()


class Slice:
    """A tensor that is decoded as far as an index of integers, slices and ``...`` needs it."""

    def __init__(self, file: WeightsFile, entry: Entry) -> None:
        self.file, self.entry = file, entry

    def get_shape(self) -> list[int]:
        return list(self.entry.shape)

    def get_dtype(self) -> str:
        """As safetensors calls it: F32, BF16."""
        return self.entry.dtype

    def __getitem__(self, index: Any) -> Any:
        """Rows, or any part. Raises IndexError, TypeError, and what ``get_tensor`` does."""
        return self.file.finish(self.raw(index), self.entry)

    def raw(self, index: Any) -> Array:
        """The same as integers of the elements' size, whatever the dtype is."""
        layout = layout_of(self.entry)
        run = needed_run(index, layout.shape)
        if layout.strides is not None:  # its rows do not lie one after the other
            data = self.file.view.read(self.entry.begin, self.entry.end)
            return np.asarray(raw_array(data, layout)[index])
        begin = self.entry.begin + run.first * layout.item
        data = self.file.view.read(begin, begin + run.count * layout.item)
        array = raw_array(data, Layout(layout.item, run.shape, None))[run.rest]
        return np.asarray(array[::-1] if run.backwards else array)


def open(
    file: str | os.PathLike[str] | BinaryIO,
    framework: str = "np",
    device: Any = "cpu",
    *,
    threads: int | None = None,
    cache_bytes: int = CACHE_BYTES,
    dequantize: bool = True,
    base: str | os.PathLike[str] | None = None,
) -> WeightsFile:
    """Open an archive of a file with tensors: its path, a URL, or a seekable binary file, which it
    closes.

    ``framework``: "np" for arrays of NumPy, "pt" for tensors of torch on ``device``. At most
    ``cache_bytes`` of decoded blocks are kept besides those in use. Only the container's header is
    decoded here; zips and rwkv.cpp's files have parts of theirs before every tensor.

    What ``nncodec weights quantize`` or ``lowrank`` wrote is given as the floats that it stands
    for; without ``dequantize`` as it is stored: indices, scales, factors. ``base`` is the file that
    an archive of differences was made against (``compress --base``).

    Raises CorruptDataError, TruncatedError, UnsupportedVersionError, ModelNotFoundError, OSError;
    ContainerFormatError if what was compressed is no file with tensors; BaseFileError for a base
    that is missing or another one; MissingPackageError, RemoteError.
    """
    if framework not in FRAMEWORKS:
        raise NNCodecError(f"no framework {framework!r}: choose np or pt")
    if FRAMEWORKS[framework] == "pt":
        need("torch", "train")
    source = file
    if isinstance(source, (str, os.PathLike)):
        source = open_seekable(source)
    view = None
    try:
        old = None if base is None else Base.open(Path(base))
        view = ArchiveView(source, threads, cache_bytes, old)
        opened = WeightsFile(view, FRAMEWORKS[framework], device)
        if dequantize and any(key.startswith(OWN_METADATA) for key in opened.index.metadata):
            from nncodec.weights.dequantized import DequantizedFile

            opened = DequantizedFile(view, FRAMEWORKS[framework], device)
    except BaseException:
        if view is not None:
            view.close()
        source.close()
        raise
    return opened
