"""Archives of few bytes that promise much: what decoding them costs is measured and bounded.

``scripts/measure_bombs.py`` measures all, ``test_bombs.py`` holds them to a limit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nncodec import modelstore
from nncodec._core import xxh64
from nncodec.blocks import BLOCK_SIZE, Geometry
from nncodec.container import Block, Frame, Kind
from nncodec.engine.native import NativeContexts, choose_isa
from nncodec.lanes import no_progress
from nncodec.tensors.coder import encode_fields, encode_tensors
from nncodec.tensors.dtypes import Dtype
from nncodec.tensors.items import Item
from nncodec.transforms import Transform

ZEROS = np.zeros(BLOCK_SIZE, np.uint8)
NOISE = bytes(range(1, 200))


def frame(
    *rows: Block, model_id: bytes | None = None, more: bool = False, first: bool = True
) -> bytes:
    total = sum(row.size for row in rows)
    return Frame(total, rows[0].size, rows, model_id, more=more, continues=not first).pack()


def constant(blocks: int) -> bytes:
    """One byte a block of 16 MiB."""
    row = Block(Kind.CONSTANT, BLOCK_SIZE, 1, xxh64(ZEROS))
    return frame(*[row] * blocks) + bytes(blocks)


def chained(frames: int) -> bytes:
    """Frames of one such block each."""
    row = Block(Kind.CONSTANT, BLOCK_SIZE, 1, xxh64(ZEROS))
    return b"".join(frame(row, more=i < frames - 1, first=i == 0) + b"\0" for i in range(frames))


def rows_of_one_byte(rows: int) -> bytes:
    """The longest block table for its bytes: every row is of a block of one byte."""
    row = Block(Kind.CONSTANT, 1, 1, xxh64(b"\0"))
    return frame(*[row] * rows) + bytes(rows)


def many_items(items: int) -> bytes:
    """The longest list of items: each is four bytes of header and one of the block."""
    row = Block(Kind.FIELDS, items, 4, 0, items=(Item(None, 0, 1, 1),) * items)
    return frame(row) + NOISE[:4]


def contexts_of_zeros(table_bits: int) -> bytes:
    payload = NativeContexts().encode(ZEROS, Geometry(1, 0, table_bits), no_progress)
    row = Block(Kind.CONTEXTS, BLOCK_SIZE, len(payload), xxh64(ZEROS), Geometry(1, 0, table_bits))
    return frame(row) + payload


def claimed_table(size: int = BLOCK_SIZE) -> bytes:
    """The largest table, and nothing to put into it."""
    return frame(Block(Kind.CONTEXTS, size, 8, 0, Geometry(1, 0, 22))) + NOISE[:8]


def tensors_of_zeros(kind: Kind) -> bytes:
    items = (Item(Dtype.F32, 0, 2048, 2048),)
    encode = encode_fields if kind == Kind.FIELDS else encode_tensors
    payload = encode(items, ZEROS, choose_isa())
    return frame(Block(kind, BLOCK_SIZE, len(payload), xxh64(ZEROS), items=items)) + payload


def claimed_tensors(kind: Kind) -> bytes:
    items = (Item(Dtype.F32, 0, 2048, 2048),)
    return frame(Block(kind, BLOCK_SIZE, 8, 0, items=items)) + NOISE[:8]


def claimed_lanes(model: str) -> bytes:
    """All lanes that a block may have, with a network that keeps keys and values for each."""
    model_id = modelstore.find(model).model_id
    row = Block(Kind.MIXED, BLOCK_SIZE, 8, 0, Geometry(256, 0, 22))
    return frame(row, model_id=model_id) + NOISE[:8]


def claimed_escapes() -> bytes:
    row = Block(
        Kind.CONTEXTS,
        BLOCK_SIZE,
        8,
        0,
        Geometry(1, 0, 22),
        Transform.ESCAPES_LOWER,
        BLOCK_SIZE // 2,
    )
    return frame(row) + NOISE[:8]


def claimed_total() -> bytes:
    """2^63 - 1 bytes, in a block table of one row."""
    whole = bytearray(Frame((1 << 63) - 1, 1, ()).pack())
    return bytes(whole[:-4]) + NOISE[:12]


BOMBS: dict[str, Callable[[], bytes]] = {
    "16 constant blocks": lambda: constant(16),
    "64 chained frames of a constant block": lambda: chained(64),
    "contexts: 16 MiB of zeros, table of 64 KiB": lambda: contexts_of_zeros(10),
    "contexts: 16 MiB of zeros, table of 256 MiB": lambda: contexts_of_zeros(22),
    "tensors: 16 MiB of zeros": lambda: tensors_of_zeros(Kind.TENSORS),
    "fields: 16 MiB of zeros": lambda: tensors_of_zeros(Kind.FIELDS),
    "contexts: 8 bytes claim 16 MiB and a table of 256 MiB": claimed_table,
    "escapes: 8 bytes claim 8 MiB that become 16 MiB": claimed_escapes,
    "tensors: 8 bytes claim 16 MiB": lambda: claimed_tensors(Kind.TENSORS),
    "fields: 8 bytes claim 16 MiB": lambda: claimed_tensors(Kind.FIELDS),
    "mixed: 8 bytes claim 256 lanes of nano": lambda: claimed_lanes("nano"),
    "mixed: 8 bytes claim 256 lanes of small": lambda: claimed_lanes("small"),
    "a block table of 300000 blocks of one byte": lambda: rows_of_one_byte(300_000),
    "a block of 1000000 items of one byte": lambda: many_items(1_000_000),
    "a total of 2^63 - 1 bytes": claimed_total,
}

CHILD = """
import json, sys, time
import nncodec
from nncodec.cli import main
from nncodec.errors import NNCodecError

def status(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith(name))

path, limit = sys.argv[1], int(sys.argv[2])
nncodec.decompress(nncodec.compress(b"warm " * 40, 1))
begun, before, room = time.process_time(), status("VmHWM"), status("VmPeak")
if limit:
    try:
        with open(path, "rb") as source:
            nncodec.decompress(source.read(), threads=1, max_output_size=limit)
    except NNCodecError as error:
        print(error, file=sys.stderr)
else:
    sys.argv = ["nncodec", "decompress", "-q", "-T", "1", "-c", path]
    try:
        main()
    except SystemExit:
        pass
print(json.dumps({
    "seconds": time.process_time() - begun,
    "resident": status("VmHWM") - before, "virtual": status("VmPeak") - room,
}), file=sys.stderr)
"""


def measure(archive: bytes, folder: Path, limit: int = 0) -> dict[str, Any]:
    """What decoding costs in a process of its own, beyond what the process had before.

    To a pipe, as ``nncodec decompress -c`` does; or with a ``limit`` by ``nncodec.decompress``.
    Sizes in bytes; ``told`` is the error, or empty.
    """
    path = folder / "bomb.nnc"
    path.write_bytes(archive)
    written = 0
    with (folder / "told").open("w+") as told:
        command = [sys.executable, "-c", CHILD, str(path), str(limit)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=told) as child:
            assert child.stdout
            while piece := child.stdout.read(1 << 20):
                written += len(piece)
        told.seek(0)
        *lines, last = told.read().splitlines()
    assert child.returncode == 0, lines
    result: dict[str, Any] = json.loads(last)
    return result | {"told": "; ".join(lines), "written": written}
