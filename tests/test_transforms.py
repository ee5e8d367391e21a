"""Transforms: bytes there and back, hostile input, and what they gain in real archives."""

from __future__ import annotations

import io
import json
import re
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import TEXT
from hypothesis import given
from hypothesis import strategies as st

import nncodec
from nncodec import _core, api, codec, decoding
from nncodec.blocks import Bytes
from nncodec.container import Block, Frame, Kind
from nncodec.density import Density
from nncodec.errors import CorruptDataError
from nncodec.parsing import read_frames
from nncodec.transforms import ESCAPES, Transform, apply, candidates, undo, x86_sample

LOWER, UPPER, X86 = Transform.ESCAPES_LOWER, Transform.ESCAPES_UPPER, Transform.X86
ELF = Path("/bin/ls") if Path("/bin/ls").is_file() else Path(sys.executable)


def array(data: bytes) -> Bytes:
    return np.frombuffer(data, dtype=np.uint8)


# x86


def is_target(p: bytes | bytearray, at: int) -> bool:
    if p[at + 3] not in (0x00, 0xFF):
        return False
    last = p[at - 1]
    if last in (0xE8, 0xE9):
        return True
    if 0x80 <= last <= 0x8F:
        return at >= 2 and p[at - 2] == 0x0F
    return last & 0xC7 == 0x05 and at >= 3 and p[at - 3] & 0xF8 == 0x48


def signed(value: int) -> int:
    """25 bits, the highest of them the sign."""
    return (value + (1 << 24)) % (1 << 25) - (1 << 24)


def x86_encode(data: bytes) -> bytes:
    """The readable twin of ``csrc/x86_filter.h``."""
    out = bytearray(data)
    for at in range(len(out) - 4, 0, -1):
        if is_target(out, at):
            relative = int.from_bytes(out[at : at + 4], "little", signed=True)
            absolute = signed(relative + at + 4).to_bytes(4, "big", signed=True)
            out[at : at + 4] = absolute[1:] + absolute[:1]
    return bytes(out)


def x86_decode(data: bytes) -> bytes:
    out = bytearray(data)
    for at in range(1, len(out) - 3):
        if is_target(out, at):
            absolute = bytes(out[at + 3 : at + 4] + out[at : at + 3])
            relative = signed(int.from_bytes(absolute, "big", signed=True) - at - 4)
            out[at : at + 4] = relative.to_bytes(4, "little", signed=True)
    return bytes(out)


CODE_BYTES = [0xE8, 0xE9, 0x0F, 0x80, 0x8F, 0x48, 0x8B, 0x05, 0x3D, 0x00, 0xFF, 0x01, 0xFE]
dense_code = st.lists(st.sampled_from(CODE_BYTES), max_size=200).map(bytes)


@given(st.one_of(st.binary(max_size=200), dense_code))
def test_x86_on_any_bytes(data: bytes) -> None:
    coded = x86_encode(data)
    assert _core.x86_filter(array(data), False).tobytes() == coded
    assert x86_decode(coded) == data
    assert _core.x86_filter(array(coded), True).tobytes() == data
    assert x86_encode(x86_decode(data)) == data  # a bijection
    assert _core.x86_filter(array(data), True).tobytes() == x86_decode(data)


def test_x86_by_hand() -> None:
    code = bytes.fromhex(
        "90 E8 00 01 00 00  E9 F0 FF FF FF  0F 84 02 00 00 00  48 8B 05 10 00 00 00"
    )
    want = bytes.fromhex(
        "90 E8 00 01 06 00  E9 FF FF FB FF  0F 84 00 00 13 00  48 8B 05 00 00 28 00"
    )
    assert apply(X86, array(code)).tobytes() == want
    assert undo(X86, array(want), len(want)).tobytes() == code


def test_x86_wraps_at_25_bits() -> None:
    for target in (b"\xff\xff\xff\x00", b"\x00\x00\x00\xff", bytes(4), b"\xff" * 4):
        code = bytes(1000) + b"\xe8" + target + b"\xe9" + target
        assert _core.x86_filter(array(code), False).tobytes() == x86_encode(code)
        assert undo(X86, apply(X86, array(code)), len(code)).tobytes() == code


@pytest.mark.parametrize("size", range(8))
def test_x86_of_next_to_nothing(size: int) -> None:
    for data in (b"\xe8\0\0\0\0\0\0\0"[:size], b"\xff" * size):
        assert _core.x86_filter(array(data), False).tobytes() == x86_encode(data)
        assert undo(X86, apply(X86, array(data)), size).tobytes() == data


def test_x86_leaves_its_input_alone() -> None:
    data = np.frombuffer(b"\xe8\0\0\0\0" * 9, dtype=np.uint8).copy()
    before = data.tobytes()
    apply(X86, data)
    undo(X86, data, len(data))
    assert data.tobytes() == before


def test_x86_sample_is_where_the_targets_are() -> None:
    calls = b"\xe8\x10\x20\x00\x00" * 40
    data = array(bytes(4000) + calls + bytes(777))
    assert x86_sample(data, 1000).tobytes() == data[4000:].tobytes()


# Escapes


def read_escape(data: bytes, at: int, digits: bytes) -> int | None:
    piece = data[at : at + 6]
    if len(piece) < 6 or piece[:2] != rb"\u" or set(piece[2:]) - set(digits):
        return None
    value = int(piece[2:], 16)
    return value if value >= 0x80 else None


def unescape_twin(data: bytes, digits: bytes) -> bytes:
    out, at = bytearray(), 0
    while at < len(data):
        point = read_escape(data, at, digits)
        if point is None:
            out.append(data[at])
            at += 1
            continue
        at += 6
        low = read_escape(data, at, digits)
        if 0xD800 <= point < 0xDC00 and low is not None and 0xDC00 <= low < 0xE000:
            point = 0x10000 + ((point & 0x3FF) << 10 | low & 0x3FF)
            at += 6
        out += chr(point).encode("utf-8", "surrogatepass")
    return bytes(out)


PIECES = rb"""\u \ud83d \ude00 \uD83D \uDE00 \udbff \udfff \u0e17 \u0E17 \u00e9 \u007f \u0080 \u07ff
    \u0800 \uffff \u12 \ \\ u a \n \" \u00zz \u12345 \u0aBc d800 e"""
escaped_text = st.lists(st.sampled_from(PIECES.split()), max_size=40).map(b"".join)
ascii_bytes = st.lists(st.integers(0, 127), max_size=40).map(bytes)


@pytest.mark.parametrize("transform", ESCAPES)
@given(data=st.one_of(escaped_text, ascii_bytes))
def test_escapes_of_any_ascii(transform: Transform, data: bytes) -> None:
    coded = apply(transform, array(data)).tobytes()
    assert coded == unescape_twin(data, ESCAPES[transform])
    assert undo(transform, array(coded), len(data)).tobytes() == data


def test_escapes_by_hand() -> None:
    """Pairs, halves alone, the other case, escapes of ASCII: each has one way back."""
    data = rb'{"a": "\u0e17\ud83d\ude00\u00e9 \\u00e9 \ude00\ud83d \u0E17 \u0041 \n"}'
    coded = '{"a": "ท😀é \\é \ude00\ud83d \\u0E17 \\u0041 \\n"}'.encode("utf-8", "surrogatepass")
    assert apply(LOWER, array(data)).tobytes() == coded
    assert undo(LOWER, array(coded), len(data)).tobytes() == data


def test_candidates() -> None:
    thai = json.dumps("ภาษาไทย" * 3).encode()
    judged = {
        b"": [],
        b"\xe8": [],
        TEXT: [],
        bytes(1000): [],
        thai: [LOWER],
        thai.upper().replace(b"\\U", b"\\u"): [UPPER],
        thai + thai + rb"\u00E9": [LOWER],
        rb"\u0000\u001f\u0041": [],
        thai + b"\x80": [],
        b"\xe8\x10\x00\x00\x00\x90" * 20: [X86],
        np.random.default_rng(0).bytes(200_000): [],
    }
    for data, transforms in judged.items():
        assert candidates(array(data)) == transforms, data[:40]


HOSTILE = {
    "continuation alone": (b"a\x80", 7, "UTF-8"),
    "cut": (b"\xe0\xb8", 6, "UTF-8"),
    "overlong": (b"\xc0\x80", 6, "UTF-8"),
    "overlong ASCII": (b"\xe0\x81\x81", 6, "UTF-8"),
    "beyond Unicode": (b"\xf4\x90\x80\x80", 12, "UTF-8"),
    "no UTF-8 at all": (b"\xff\xfe", 12, "UTF-8"),
    "longer than its block": ("é".encode() * 1000, 5999, "6000 bytes of 5999"),
    "shorter than its block": ("é".encode(), 7, "6 bytes of 7"),
    "ASCII of another size": (b"abc", 4, "3 bytes of 4"),
    "emoji of another size": ("😀".encode(), 6, "12 bytes of 6"),
    "nothing for something": (b"", 1 << 24, f"0 bytes of {1 << 24}"),
}


@pytest.mark.parametrize("transform", ESCAPES)
@pytest.mark.parametrize(("data", "size", "message"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_escapes(transform: Transform, data: bytes, size: int, message: str) -> None:
    with pytest.raises(CorruptDataError, match=message):
        undo(transform, array(data), size)


@pytest.mark.parametrize("transform", [Transform.NONE, X86])
def test_a_length_that_must_stay(transform: Transform) -> None:
    with pytest.raises(CorruptDataError, match="3 bytes cannot be one of 4"):
        undo(transform, array(b"abc"), 4)


@pytest.mark.parametrize("transform", ESCAPES)
@given(data=st.binary(max_size=60), size=st.integers(0, 400))
def test_any_bytes_undone(transform: Transform, data: bytes, size: int) -> None:
    try:
        result = undo(transform, array(data), size)
    except CorruptDataError:
        return
    assert len(result) == size
    assert not len(result) or result.max() < 0x80


def test_an_output_too_long_is_never_made() -> None:
    data = array("é".encode() * 100_000)
    tracemalloc.start()
    try:
        with pytest.raises(CorruptDataError):
            undo(LOWER, data, 10)
        assert tracemalloc.get_traced_memory()[1] < 20 * len(data)
    finally:
        tracemalloc.stop()


# In archives

WORDS = ["ภาษาไทย", "ความสุข", "café", "naïve", "😀", "𝄞", "plain", "слово", "东京", "Ωmega"]


def multilingual(count: int) -> bytes:
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.choice(WORDS, 6).tolist()) for _ in range(count)]
    return json.dumps([{"id": i, "text": line} for i, line in enumerate(lines)]).encode()


def only_row(archive: bytes) -> Block:
    ((row,),) = (frame.blocks for frame in read_frames(io.BytesIO(archive)))
    return row


def compress_both(data: bytes, patch: pytest.MonkeyPatch, **options: object) -> tuple[bytes, bytes]:
    """An archive with and one without transforms."""
    made = nncodec.compress(data, **options)  # type: ignore[arg-type]
    with patch.context() as inner:
        inner.setattr(codec, "candidates", lambda _data: [])
        return made, nncodec.compress(data, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("upper", [False, True])
def test_escapes_in_archives(monkeypatch: pytest.MonkeyPatch, upper: bool) -> None:
    data = multilingual(300)
    if upper:
        data = re.sub(rb"\\u....", lambda m: rb"\u" + m[0][2:].upper(), data)
    for options in ({"level": 1}, {"model": "tiny"}):
        archive, plain = compress_both(data, monkeypatch, **options)
        row = only_row(archive)
        assert row.transform == (UPPER if upper else LOWER)
        assert row.coded_size < row.size == len(data)
        assert only_row(plain).transform == Transform.NONE
        assert len(archive) < len(plain)
        assert nncodec.decompress(archive) == data == nncodec.decompress(plain)
        case = "upper" if upper else "lower"
        assert nncodec.info(archive).blocks == {f"{row.kind.name.lower()}+escapes_{case}": 1}


@pytest.mark.skipif(
    ELF.read_bytes()[:5] != b"\x7fELF\x02" or ELF.read_bytes()[18] != 0x3E,
    reason="no x86-64 program at hand",
)
def test_x86_in_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ELF.read_bytes()[: 1 << 19]
    archive, plain = compress_both(data, monkeypatch, level=1)
    assert only_row(archive).transform == X86
    assert len(archive) < 0.98 * len(plain)
    assert nncodec.decompress(archive) == data


def test_what_does_not_pay_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    few = TEXT * 20 + rb"\u0e17\u0e18"
    assert only_row(nncodec.compress(few, 1)).transform == Transform.NONE
    false_code = np.tile(array(b"\xe8\x10\x00\x00\x00\x90"), 20_000)  # the same relative bytes
    assert candidates(false_code) == [X86]
    assert api.load_codec(1).choose_transform(false_code, Density.PLAIN)[0] == Transform.NONE
    no_contexts = codec.Codec(api.load_codec(model="tiny").coder, bytes(16), table_bits=0)
    assert no_contexts.choose_transform(array(ELF.read_bytes()), Density.PLAIN)[0] == Transform.NONE
    # A transform that does not come back, which would be a bug, is not used.
    monkeypatch.setattr(codec, "undo", lambda _t, data, size: np.zeros(size, dtype=np.uint8))
    assert (
        api.load_codec(1).choose_transform(array(multilingual(9)), Density.PLAIN)[0]
        == Transform.NONE
    )


@pytest.mark.parametrize("options", [{"level": 1}, {"model": "tiny"}], ids=str)
def test_progress_counts_original_bytes(options: dict[str, object]) -> None:
    data = multilingual(50)
    done: list[int] = []
    maker = api.load_codec(**options)  # type: ignore[arg-type]
    archive = maker.compress(array(data), done.append)
    assert sum(done) == len(data)
    done.clear()
    decoding.decompress_stream(io.BytesIO(archive), io.BytesIO(), api.load_coder, done.append)
    assert sum(done) == len(data)


def changed(archive: bytes, **fields: object) -> bytes:
    """The archive with other fields in its only row, and a right header checksum."""
    (frame,) = read_frames(io.BytesIO(archive))
    row = replace(frame.blocks[0], **fields)  # type: ignore[arg-type]
    payload = archive[len(frame.pack()) :]
    return Frame(frame.total, frame.block_size, (row,), frame.model_id).pack() + payload


def test_changed_rows_are_noticed() -> None:
    data = multilingual(20)
    archive = nncodec.compress(data, 1)
    row = only_row(archive)
    assert changed(archive) == archive
    for transform in (Transform.NONE, X86, UPPER):
        with pytest.raises(CorruptDataError):
            nncodec.decompress(changed(archive, transform=transform))
    for size in {1, 2, row.coded_size - 1, row.coded_size + 1, row.size} - {row.coded_size}:
        with pytest.raises(CorruptDataError):
            nncodec.decompress(changed(archive, transformed_size=size))
    with pytest.raises(CorruptDataError):
        nncodec.decompress(changed(archive, kind=Kind.STORED))
