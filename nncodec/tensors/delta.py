"""Cut a file into parts, given a base: chunks of deltas, and what has no partner in the base.

Tensors are matched by name, dtype and shape. What is equal costs a row of the block table, however
long; how other tensors are coded is found out by trying.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from nncodec.tensors.base import Base
from nncodec.tensors.chunks import (
    CHUNK_BYTES,
    LEAST_TENSORS,
    MOST_GAP,
    Part,
    pieces,
    plan,
    role_of,
)
from nncodec.tensors.coder import Bytes, encode_tensors
from nncodec.tensors.delta_coder import encode_deltas
from nncodec.tensors.delta_items import DeltaItem, Mode
from nncodec.tensors.items import FIELDS, Item
from nncodec.tensors.layout import Span
from nncodec.tensors.packing import Matrix

SAMPLE = 1 << 15  # elements that modes are tried on


@dataclass(frozen=True)
class DeltaPart:
    """Bytes ``begin`` to ``end`` of a file: items one after the other."""

    begin: int
    end: int
    items: tuple[DeltaItem, ...]


@dataclass(frozen=True)
class Match:
    """Bytes ``begin`` to ``end`` of a file and ``offset`` of the base: a tensor, or what is equal."""

    begin: int
    end: int
    offset: int
    span: Span | None = None  # None: equal bytes
    mode: Mode = Mode.EQUAL


def plan_deltas(
    data: Bytes, spans: Sequence[Span], base: Base, isa: str, threads: int
) -> list[Part | DeltaPart]:
    """Parts that cover (n,) ``data``, in order."""
    with ThreadPoolExecutor(threads) as pool:
        judged = pool.map(
            lambda pair: judge(data, pair[0], pair[1], base, isa), partners(spans, base.spans)
        )
        matches = [match for match in judged if match]
    matches = sorted([*matches, *equal_gaps(data, matches, spans, base)], key=lambda m: m.begin)
    parts: list[Part | DeltaPart] = []
    done = 0
    for part in group(delta_items(matches, base)):
        if part.end - part.begin < LEAST_TENSORS:
            continue
        if part.begin > done:
            parts += plain_parts(data, spans, done, part.begin)
        parts.append(part)
        done = part.end
    if done < len(data) or not parts:
        parts += plain_parts(data, spans, done, len(data))
    return parts


def partners(spans: Sequence[Span], base: Sequence[Span]) -> list[tuple[Span, Span]]:
    """Tensors with one of the same dtype and shape in the base, and the same name; or one that
    differs by a first component such as ``model.``, if there is just one."""
    same = {(s.name, s.dtype, s.shape): s for s in base}
    tails: dict[object, list[Span]] = {}
    for s in base:
        for name in {s.name, tail(s.name)}:
            tails.setdefault((name, s.dtype, s.shape), []).append(s)
    found = []
    for span in spans:
        kind = (span.dtype, span.shape)
        near = tails.get((span.name, *kind)) or tails.get((tail(span.name), *kind)) or []
        partner = same.get((span.name, *kind)) or (near[0] if len(near) == 1 else None)
        if partner:
            found.append((span, partner))
    return found


def tail(name: str) -> str:
    return name.partition(".")[2] or name


def judge(data: Bytes, span: Span, partner: Span, base: Base, isa: str) -> Match | None:
    """How to code a tensor; None if its partner is of no use, or its dtype has no model."""
    new, old = data[span.begin : span.end], base.data[partner.begin : partner.end]
    if np.array_equal(new, old):
        return Match(span.begin, span.end, partner.begin)
    if span.dtype not in FIELDS:
        return None
    match = Match(span.begin, span.end, partner.begin, span, Mode.MOVED)
    if len(new) < LEAST_TENSORS:  # not worth trying
        return match
    cols = min(span.cols, SAMPLE)
    rows = min(span.rows, SAMPLE // cols) if cols == span.cols else 1
    item = Item(span.dtype, role_of(span.name), rows, cols)
    new, old = new[: item.size], old[: item.size]
    modes = (Mode.MOVED, Mode.GIVEN) if rows > 1 else (Mode.MOVED,)
    sizes = {mode: len(encode_deltas([DeltaItem(item, mode)], old, new, isa)) for mode in modes}
    best = min(sizes, key=lambda mode: sizes[mode])
    if len(encode_tensors([item], new, isa)) <= sizes[best]:
        return None
    return replace(match, mode=best)


def equal_gaps(
    data: Bytes, matches: Sequence[Match], spans: Sequence[Span], base: Base
) -> Iterator[Match]:
    """What lies between tensors, the header above all, where the base has the same at its place."""
    edges = sorted((s.begin, s.end) for s in spans)
    offsets = {m.end: m.offset + m.end - m.begin for m in matches}
    done = 0
    for begin, end in [*edges, (len(data), len(data))]:
        if begin > done:
            offset = offsets.get(done, done)
            old = base.data[offset : offset + begin - done]
            if np.array_equal(data[done:begin], old):
                yield Match(done, begin, offset)
        done = end


def delta_items(matches: Iterable[Match], base: Base) -> Iterator[tuple[int, DeltaItem]]:
    """Where items begin, and the items; neighbours that are equal are one, small gaps are bridged."""
    begin = end = offset = 0  # of equal bytes that are not yet given out, and their base

    def equal() -> Iterator[tuple[int, DeltaItem]]:
        for at in range(begin, end, CHUNK_BYTES):
            item = Item(None, 0, 1, min(CHUNK_BYTES, end - at))
            yield at, DeltaItem(item, Mode.EQUAL, offset + at - begin)

    done = old = -1  # ends of the match before
    for match in matches:
        gap = match.begin - done
        bridged = done >= 0 and 0 < gap <= MOST_GAP and old + gap <= len(base.data)
        if match.span is None and match.begin == end and match.offset == offset + end - begin:
            end = match.end
        else:
            yield from equal()
            if bridged:
                yield done, DeltaItem(Item(None, 0, 1, gap), Mode.GIVEN, old)
            begin, end, offset = match.begin, match.begin, match.offset
            if match.span is None:
                end = match.end
            else:
                at = match.begin
                for item in pieces(matrix(match.span), role_of(match.span.name)):
                    yield at, DeltaItem(item, match.mode, match.offset + at - match.begin)
                    at += item.size
                begin = end = at
                offset = match.offset + at - match.begin
        done, old = match.end, match.offset + match.end - match.begin
    yield from equal()


def group(items: Iterable[tuple[int, DeltaItem]]) -> Iterator[DeltaPart]:
    """Runs of neighbours, at most ``CHUNK_BYTES`` each."""
    run: list[DeltaItem] = []
    begin = end = 0
    for at, item in items:
        if run and (at != end or end + item.size - begin > CHUNK_BYTES):
            yield DeltaPart(begin, end, tuple(run))
            run = []
        if not run:
            begin = at
        run.append(item)
        end = at + item.size
    if run:
        yield DeltaPart(begin, end, tuple(run))


def matrix(span: Span) -> Matrix:
    return Matrix(span.dtype, span.rows, span.cols)


def plain_parts(data: Bytes, spans: Sequence[Span], begin: int, end: int) -> list[Part]:
    """Of bytes ``begin`` to ``end``, which have no partner."""
    own = [
        replace(s, begin=s.begin - begin, end=s.end - begin)
        for s in spans
        if begin <= s.begin and s.end <= end
    ]
    return [Part(p.begin + begin, p.end + begin, p.items) for p in plan(own, data[begin:end])]


def base_bytes(items: Iterable[DeltaItem], base: Base) -> Bytes:
    """The items' bases, one after the other; shorter where they reach beyond the file."""
    return np.concatenate([base.data[item.offset : item.offset + item.size] for item in items])
