"""What an archive spends on each byte of a file, from the archive itself and the coders' traces.

The codec writes the archive that ``compress`` would write; its block tables say what each part
became. A coded block has a trace. A stored, constant or tensor block has none: its payload is
shared evenly by its bytes, and ``Detail`` says so.
"""

from __future__ import annotations

import io
import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from nncodec.blocks import Bytes
from nncodec.codec import Codec, mapped
from nncodec.container import WITH_ITEMS, Block, Kind
from nncodec.errors import NNCodecError
from nncodec.explain.tracing import TracingCodec
from nncodec.lanes import Progress, no_progress
from nncodec.parsing import read_frames
from nncodec.tensors.base import Base
from nncodec.trace import CANDIDATES, COST_ONE
from nncodec.transforms import ESCAPE_BYTES, ESCAPES, Transform, apply

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.integer]


class Detail(IntEnum):
    """What is known of one byte."""

    BLOCK = 0  # only what its block cost: the byte has an even share
    BYTE = 1  # what the byte cost, and what was expected of it
    SHARED = 2  # an even share of what the character cost that its escape stands for
    REWRITTEN = 3  # what it cost; another byte was coded in its place, and its guesses are of that


@dataclass(frozen=True)
class Region:
    """A block of the archive: the bytes ``begin`` to ``end`` of the file. Bits are of payloads."""

    begin: int
    end: int
    kind: str  # as ``nncodec info`` names it
    payload_bytes: int
    lanes: int
    network_bits: float | None  # by the network's counts alone, in the same lanes; None: not run
    contexts_bits: float | None  # by context models alone, in one lane
    tensors: tuple[str, ...] = ()  # "BF16 768x768", of blocks of tensors

    @property
    def size(self) -> int:
        return self.end - self.begin

    @property
    def traced(self) -> bool:
        return self.network_bits is not None or self.contexts_bits is not None


@dataclass(frozen=True)
class Explanation:
    """Of all of a file the sums, of the bytes ``begin`` to ``end`` (n of them) everything."""

    size: int
    archive_bytes: int
    regions: tuple[Region, ...]
    begin: int
    data: Bytes
    bits: Floats = field(repr=False)  # (n,) what each byte cost
    network: Floats = field(repr=False)  # (n,) by the network alone; NaN: not known
    contexts: Floats = field(repr=False)  # (n,) by context models alone; NaN: not known
    top: Integers = field(repr=False)  # (n, 5) uint8: the network's likeliest bytes
    top_p: Integers = field(repr=False)  # (n, 5) uint16: of 65536; 0: not known
    rank: Integers = field(
        repr=False
    )  # (n,) int16: bytes that the network put before; -1: not known
    expected: Integers = field(repr=False)  # (n,) int16: by the match model; -1: nothing
    match_length: Integers = field(repr=False)  # (n,) uint16
    detail: Integers = field(repr=False)  # (n,) uint8, of ``Detail``

    @property
    def end(self) -> int:
        return self.begin + len(self.data)

    @property
    def bits_per_byte(self) -> float:
        return 8 * self.archive_bytes / self.size if self.size else 0.0

    def totals(self) -> dict[str, Any]:
        """Bits of the whole file; the three compared are over the blocks in which all are known."""
        payload = sum(region.payload_bytes for region in self.regions)
        known = [r for r in self.regions if None not in (r.network_bits, r.contexts_bits)]
        return {
            "bytes": self.size,
            "archive_bytes": self.archive_bytes,
            "payload_bytes": payload,
            "header_bytes": self.archive_bytes - payload,
            "bits_per_byte": self.bits_per_byte,
            "compared": {
                "bytes": sum(r.size for r in known),
                "network_bits": sum(r.network_bits or 0.0 for r in known),
                "contexts_bits": sum(r.contexts_bits or 0.0 for r in known),
                "both_bits": float(8 * sum(r.payload_bytes for r in known)),
            },
        }


def explain(
    source: BinaryIO,
    codec: Codec,
    begin: int = 0,
    end: int | None = None,
    progress: Progress = no_progress,
    base: Base | None = None,
) -> Explanation:
    """Compress all of ``source`` as ``codec`` does, and say what its bytes from ``begin`` on cost.

    ``end`` is None or beyond the end for all of them. Raises NNCodecError for a range that is none,
    or if more bytes are coded one by one than memory is taken for.
    """
    whole: mmap.mmap | bytes | None = mapped(source)
    if whole is None:
        whole = source.read()
        source = io.BytesIO(whole)
    data = np.frombuffer(whole, np.uint8)
    size = len(data)
    stop = size if end is None else min(end, size)
    if not 0 <= begin <= stop:
        raise NNCodecError(f"no bytes {begin} to {stop} in a file of {size}; give another range")
    tracing, archive = TracingCodec(codec), io.BytesIO()
    tracing.codec.compress_stream(source, archive, progress, base)
    archive_bytes = archive.tell()
    archive.seek(0)
    table = Table(stop - begin)
    regions = []
    for at, row in placed(archive):
        block = data[at : at + row.size]
        coded = Coded(row, block, tracing)
        regions.append(coded.region(at))
        low, high = max(at, begin), min(at + row.size, stop)
        if low < high:
            table.put(slice(low - begin, high - begin), slice(low - at, high - at), coded)
    shown = data[begin:stop]
    return Explanation(size, archive_bytes, tuple(regions), begin, shown, **table.columns)


def placed(archive: BinaryIO) -> Iterator[tuple[int, Block]]:
    """The archive's blocks, and where each one's bytes lie in the file."""
    at = 0
    for frame in read_frames(archive):
        for row in frame.blocks:
            yield at, row
            at += row.size


class Coded:
    """A block with the traces that there are of it, by place in what was coded."""

    def __init__(self, row: Block, data: Bytes, tracing: TracingCodec) -> None:
        self.row, self.data = row, data
        self.both = self.network = self.contexts = None
        if row.kind not in (Kind.CODED, Kind.MIXED, Kind.CONTEXTS):
            return
        self.coded = apply(row.transform, data)
        if tracing.network:
            self.network = tracing.network.find(self.coded)
        if tracing.contexts:
            self.contexts = tracing.contexts.find(self.coded)
        self.both = self.contexts if row.kind == Kind.CONTEXTS else self.network
        assert self.both  # the codec has just made its payload

    def region(self, at: int) -> Region:
        row = self.row
        items = row.items if row.kind in WITH_ITEMS else tuple(d.tensor for d in row.deltas)
        return Region(
            begin=at,
            end=at + row.size,
            kind=row.name,
            payload_bytes=row.payload_size,
            lanes=row.geometry.lanes,
            network_bits=bits_of(self.network.network) if self.network else None,
            contexts_bits=bits_of(self.contexts.cost) if self.contexts else None,
            tensors=tuple(f"{i.dtype.name} {i.rows}x{i.cols}" for i in items if i.dtype),
        )


class Table:
    """The columns of an explanation, filled block by block."""

    def __init__(self, n: int) -> None:
        self.columns: dict[str, Any] = {
            "bits": np.zeros(n, np.float32),
            "network": np.full(n, np.nan, np.float32),
            "contexts": np.full(n, np.nan, np.float32),
            "top": np.zeros((n, CANDIDATES), np.uint8),
            "top_p": np.zeros((n, CANDIDATES), np.uint16),
            "rank": np.full(n, -1, np.int16),
            "expected": np.full(n, -1, np.int16),
            "match_length": np.zeros(n, np.uint16),
            "detail": np.full(n, Detail.BLOCK, np.uint8),
        }

    def put(self, here: slice, there: slice, block: Coded) -> None:
        """Fill ``here`` of the table from ``there`` of the block."""
        row, put = block.row, {name: column[here] for name, column in self.columns.items()}
        if block.both is None:
            put["bits"][:] = 8 * row.payload_size / row.size
            return
        places = Places(row.transform, block.data, block.coded)
        put["detail"][:] = places.detail[there]
        put["bits"][:] = places.costs(block.both.cost)[there]
        if block.network:
            put["network"][:] = places.costs(block.network.network)[there]
        if block.contexts:
            put["contexts"][:] = places.costs(block.contexts.cost)[there]
        at = places.origin[there]
        plain = places.detail[there] == Detail.BYTE
        for name in ("top", "top_p", "rank", "expected", "match_length"):
            trace = block.network if name in ("top", "top_p", "rank") else block.both
            column = getattr(trace, name) if trace else ()
            if len(column):
                put[name][plain] = column[at[plain]]


class Places:
    """How the n bytes of a block belong to the m bytes that were coded in their place.

    ``origin`` (n,): the coded byte of each, for an escape its character's first; ``share`` (n,):
    by how many bytes that character is shared.
    """

    def __init__(self, transform: Transform, data: Bytes, coded: Bytes) -> None:
        self.detail = np.full(len(data), Detail.BYTE, np.uint8)
        if transform in ESCAPES:
            self.starts = np.flatnonzero((coded & 0xC0) != 0x80)
            lead = coded[self.starts]
            lengths = np.where(lead < 0x80, 1, ESCAPE_BYTES * (1 + (lead >= 0xF0)))
            self.origin, self.share = np.repeat(self.starts, lengths), np.repeat(lengths, lengths)
            self.detail[self.share > 1] = Detail.SHARED
            self.characters = np.repeat(np.arange(len(lengths)), lengths)
        else:
            self.origin = np.arange(len(data))
            self.share = np.ones(len(data), np.int64)
            self.characters, self.starts = self.origin, self.origin
            self.detail[data != coded] = Detail.REWRITTEN

    def costs(self, costs: Integers) -> Floats:
        """(m,) costs of coded bytes, in the trace's unit, to (n,) bits of the file's."""
        summed = np.add.reduceat(costs.astype(np.float64), self.starts) / COST_ONE
        result: Floats = (summed[self.characters] / self.share).astype(np.float32)
        return result


def bits_of(costs: Integers) -> float:
    return int(costs.sum(dtype=np.uint64)) / COST_ONE
