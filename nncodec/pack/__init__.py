"""Packed archives: many files in one ``.nnc``, each of them the decoding of one block away.

``pack`` and ``unpack`` are the commands of the same names, ``PackedArchive`` reads members;
``PackWriter`` packs what comes as a stream, ``pack_table`` and ``pack_dataset`` columns of text,
``Samples`` reads members to train on (``nncodec.pack.torch`` makes data sets of them). A
packed archive is an ordinary one, of all contents one after the other, with an index at its end.
There is no encryption, and an archive that is there is never changed: docs/pack.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nncodec.pack.reader import Member, PackedArchive
    from nncodec.pack.samples import Samples
    from nncodec.pack.stream import PackWriter
    from nncodec.pack.tables import pack_dataset, pack_table
    from nncodec.pack.tree import Kind
    from nncodec.pack.unpacking import Options, unpack
    from nncodec.pack.writer import Summary, pack

__all__ = [
    "Kind",
    "Member",
    "Options",
    "PackWriter",
    "PackedArchive",
    "Samples",
    "Summary",
    "pack",
    "pack_dataset",
    "pack_table",
    "unpack",
]

LAZY = {
    "Kind": "nncodec.pack.tree",
    "Member": "nncodec.pack.reader",
    "PackedArchive": "nncodec.pack.reader",
    "PackWriter": "nncodec.pack.stream",
    "Samples": "nncodec.pack.samples",
    "Summary": "nncodec.pack.writer",
    "Options": "nncodec.pack.unpacking",
    "pack": "nncodec.pack.writer",
    "pack_dataset": "nncodec.pack.tables",
    "pack_table": "nncodec.pack.tables",
    "unpack": "nncodec.pack.unpacking",
}


def __getattr__(name: str) -> object:
    if name in LAZY:
        return getattr(importlib.import_module(LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
