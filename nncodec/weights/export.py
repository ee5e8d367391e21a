"""One tensor of an archive into a file of its own."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from nncodec.errors import UnsupportedDtypeError
from nncodec.tensors.layout import shown
from nncodec.weights.arrays import ML_DTYPES, SIZED, Array, to_numpy
from nncodec.weights.index import Entry


def write_npy(raw: Array, entry: Entry, sink: BinaryIO) -> None:
    """Raises UnsupportedDtypeError for a dtype that npy files have no name for."""
    if entry.dtype in ML_DTYPES:
        raise UnsupportedDtypeError(
            f"{shown(entry.name)} is {entry.dtype}, which npy has no name for: "
            "write it to a .safetensors file"
        )
    np.save(sink, to_numpy(raw, entry.dtype, entry.name), allow_pickle=False)


def write_safetensors(raw: Array, entry: Entry, sink: BinaryIO) -> None:
    """A file of that one tensor, under its name. Raises UnsupportedDtypeError."""
    if entry.dtype not in SIZED:
        raise UnsupportedDtypeError(
            f"{shown(entry.name)} is {entry.dtype}, which safetensors has no name for: "
            "write it to a .npy file"
        )
    data = raw.tobytes()
    about = {"dtype": entry.dtype, "shape": raw.shape, "data_offsets": (0, len(data))}
    header = json.dumps({entry.name: about}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    sink.write(struct.pack("<Q", len(header)) + header + data)


WRITERS: dict[str, Callable[[Array, Entry, BinaryIO], None]] = {
    ".npy": write_npy,
    ".safetensors": write_safetensors,
}
