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
from nncodec.tensors.delta_coder import measure_deltas
from nncodec.tensors.delta_items import DeltaItem, Mode
from nncodec.tensors.items import FIELDS, Item
from nncodec.tensors.layout import Span
from nncodec.tensors.packing import Matrix

SAMPLE = 1 << 15  # elements of a tensor that modes are tried on
RUN = 16  # tensors that are tried one after the other


@dataclass(frozen=True)
class DeltaPart:
    """Bytes ``begin`` to ``end`` of a file: items one after the other."""

    begin: int
    end: int
    items: tuple[DeltaItem, ...]


@dataclass(frozen=True)
class Match:
    """Bytes ``begin`` to ``end`` of a file, ``offset`` of the base: a tensor, or equal bytes."""

    begin: int
    end: int
    offset: int
    span: Span | None = None  # None: equal bytes
    mode: Mode = Mode.EQUAL


def plan_deltas(
    data: Bytes, spans: Sequence[Span], base: Base, isa: str, threads: int
) -> list[Part | DeltaPart]:
    """Parts that cover (n,) ``data``, in order."""
    matches = match_tensors(data, spans, base)
    matches = choose_modes(data, matches, base, isa, threads)
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


def match_tensors(data: Bytes, spans: Sequence[Span], base: Base) -> list[Match]:
    """Tensors that are equal to their partners, and those of dtypes that have a model."""
    matches = []
    for span, partner in partners(spans, base.spans):
        old = base.data[partner.begin : partner.end]
        match = Match(span.begin, span.end, partner.begin)
        if np.array_equal(data[span.begin : span.end], old):
            matches.append(match)
        elif span.dtype in FIELDS:
            matches.append(replace(match, span=span, mode=Mode.MOVED))
    return matches


def choose_modes(
    data: Bytes, matches: Sequence[Match], base: Base, isa: str, threads: int
) -> list[Match]:
    """The matches, each with the mode that codes a sample best; without those whose partner is of
    no use. Tensors of one role are compared with what they cost alone only if the first of them
    hardly gains."""
    small = [m for m in matches if not m.span or m.end - m.begin < LEAST_TENSORS]  # not tried
    tried = [m for m in matches if m.span and m.end - m.begin >= LEAST_TENSORS]
    samples = [sample(m, m.span) for m in tried if m.span]

    def sizes(mode: Mode, begin: int, end: int) -> list[int]:
        items = [replace(item, mode=mode) for item in samples[begin:end]]
        old = base_bytes(items, base)
        pairs = zip(tried[begin:end], items, strict=True)
        new = np.concatenate([data[m.begin : m.begin + item.size] for m, item in pairs])
        return measure_deltas(items, old, new, isa)

    def alone(number: int) -> int:
        match, item = tried[number], samples[number]
        return len(encode_tensors([item.tensor], data[match.begin : match.begin + item.size], isa))

    with ThreadPoolExecutor(threads) as pool:
        runs = [(i, min(i + RUN, len(tried))) for i in range(0, len(tried), RUN)]
        costs = {
            mode: pool.map(lambda run, mode=mode: sizes(mode, *run), runs)
            for mode in (Mode.MOVED, Mode.GIVEN)
        }
        moved, given = ([size for run in of for size in run] for of in costs.values())
        best = [min(pair) for pair in zip(moved, given, strict=True)]
        role = [(s.tensor.dtype, s.tensor.role) for s in samples]
        first = {kind: number for number, kind in reversed(list(enumerate(role)))}
        plain = dict(zip(first.values(), pool.map(alone, first.values()), strict=True))
        sure = {kind for kind, n in first.items() if 10 * best[n] < 9 * plain[n]}
        rest = [n for n, kind in enumerate(role) if n not in plain and kind not in sure]
        plain |= dict(zip(rest, pool.map(alone, rest), strict=True))
    return small + [
        replace(match, mode=Mode.GIVEN if given[n] < moved[n] else Mode.MOVED)
        for n, match in enumerate(tried)
        if role[n] in sure or best[n] < plain[n]
    ]


def sample(match: Match, span: Span) -> DeltaItem:
    """The first elements of a tensor, whole rows if they are not too long."""
    cols = min(span.cols, SAMPLE)
    rows = min(span.rows, SAMPLE // cols) if cols == span.cols else 1
    return DeltaItem(Item(span.dtype, role_of(span.name), rows, cols), Mode.MOVED, match.offset)


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
    """Items, and where they begin; equal neighbours become one, small gaps are bridged."""
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
