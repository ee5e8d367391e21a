"""Archives in pieces, by ranges and recovered: the same bytes as at once, or errors.

What is handed out of a damaged archive is whole blocks that were verified, and nothing after an
error. Archives are those of ``fuzz_container``, which need no model.
"""

from __future__ import annotations

import io

from fields import Fields, attempt, damaged
from forged import BASE, MOST_OUTPUT, Forger, check, header_size, repaired
from fuzz_container import whole

import nncodec
from nncodec.engine.native import NativeContexts
from nncodec.errors import ModelNotFoundError, NNCodecError
from nncodec.lanes import Coder
from nncodec.reader import ArchiveReader
from nncodec.recovery import recover


def find_coder(model_id: bytes | None) -> Coder:
    if model_id is not None:
        raise ModelNotFoundError(f"no model {model_id.hex()}")
    return NativeContexts()


def TestOneInput(data: bytes) -> None:
    fields = Fields(data)
    sizes = [1 + fields.byte() for _ in range(3)]
    a, b = fields.number(2), fields.number(2)
    way = fields.byte() % 4
    if way == 0:
        archive = Forger(fields).archive()
    elif way == 1:
        archive = fields.rest()
    else:
        good, _ = fields.pick(whole())
        archive = damaged(good, fields)
        if way == 3:
            archive = repaired(good, archive, header_size(good))
    expected = check(archive)
    in_pieces(archive, sizes, expected)
    by_range(archive, a, b, expected)
    recovered(archive, expected)


def in_pieces(archive: bytes, sizes: list[int], expected: bytes | None) -> None:
    out, rest, turn = b"", archive, 0
    try:
        while rest:
            stream = nncodec.Decompressor(max_output_size=MOST_OUTPUT, threads=1, base=BASE.data)
            while rest and not stream.eof:
                size, most = sizes[turn % 3], sizes[(turn + 1) % 3]
                out += stream.decompress(rest[:size], most)
                rest, turn = rest[size:], turn + 1
                while not stream.needs_input and not stream.eof:
                    piece = stream.decompress(b"", most)
                    assert len(piece) <= most
                    out += piece
            if not stream.eof:
                return  # cut short: more could come
            rest = stream.unused_data + rest
    except NNCodecError:
        return
    if expected is not None:
        assert out == expected


def by_range(archive: bytes, a: int, b: int, expected: bytes | None) -> None:
    def read() -> tuple[int, bytes]:
        reader = ArchiveReader(io.BytesIO(archive), find_coder, base=BASE)
        size = min(reader.size, MOST_OUTPUT)
        begin, end = sorted((a % (size + 1), b % (size + 1)))
        return begin, reader.read_range(begin, end)

    got = attempt(read)
    if expected is not None:
        assert got is not None
        begin, piece = got
        assert expected[begin : begin + len(piece)] == piece


def recovered(archive: bytes, expected: bytes | None) -> None:
    sink = io.BytesIO()
    report = attempt(
        lambda: recover(
            io.BytesIO(archive), sink, base=BASE, skip=True, max_output_size=MOST_OUTPUT, threads=1
        )
    )
    if expected is not None:
        assert report is not None
        assert report.complete
        assert sink.getvalue() == expected


def seeds() -> list[bytes]:
    return [
        bytes((size, 40, 3, 9, 0, 77, 0, way, i, 0, 0))
        for i in range(len(whole()))
        for size, way in ((0, 2), (30, 3))
    ]
