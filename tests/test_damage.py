"""Damage to archives of tensors, fields, deltas, tokens and transforms; ``test_corruption`` has the
other kinds. Small ones, every prefix and bit; scripts/measure_damage.py does more, to more.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from test_corruption import assert_noticed

import nncodec
from nncodec.container import varint
from nncodec.errors import BaseFileError, ModelNotFoundError, NNCodecError, TruncatedError

STRIDE = {"tensors": 5, "delta": 5, "contexts+x86": 2}  # of bits flipped: these decode slowly
# Where a flip may leave the bytes as they are: the last byte, but of fields the tables, too, in
# which a frequency of what never comes may be another one.
KINDS = ("tensors", "fields", "delta", "tokens", "contexts+x86", "coded")
ABSURD = (0, 1, 1 << 14, (1 << 24) + 1, 1 << 31, 1 << 60, (1 << 63) - 1)


@pytest.fixture(scope="module", autouse=True)
def modules() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).resolve().parent / "fuzz"))
        patch.syspath_prepend(str(Path(__file__).resolve().parent.parent / "scripts"))
        names = "forged", "fuzz_container", "fuzz_model", "archive_fields"
        yield {name: import_module(name) for name in names}


class Subject:
    """The small archive of a kind, and how it is decoded."""

    def __init__(self, modules: Any, kind: str) -> None:
        whole = (*modules["fuzz_container"].whole(), *modules["fuzz_model"].whole())
        self.archive, self.data = next(
            pair for pair in whole if kind in nncodec.info(pair[0]).blocks
        )
        self.forged, self.coders = modules["forged"], modules["fuzz_model"].coders()
        self.fields = modules["archive_fields"].fields_of(self.archive)
        assert self.decode(self.archive) == self.data

    def decode(self, archive: bytes) -> bytes:
        result: bytes = self.forged.decode(archive, self.coders)
        return result

    def with_field(self, field: Any, value: bytes) -> bytes:
        edited = self.archive[: field.begin] + value + self.archive[field.end :]
        repaired: bytes = self.forged.repaired(self.archive, edited, field.header_end)
        return repaired


@pytest.fixture(scope="module", params=KINDS)
def subject(request: pytest.FixtureRequest, modules: Any) -> Subject:
    return Subject(modules, request.param)


def test_prefixes(subject: Subject) -> None:
    for size in range(len(subject.archive)):
        with pytest.raises(TruncatedError):
            subject.decode(subject.archive[:size])


def test_bit_flips(subject: Subject) -> None:
    archive = subject.archive
    (kind,) = nncodec.info(archive).blocks
    header = subject.fields[-1].header_end
    for number in range(0, 8 * len(archive), STRIDE.get(kind, 1)):
        damaged = bytearray(archive)
        damaged[number // 8] ^= 1 << number % 8
        last = number // 8 == len(archive) - 1
        harmless = last or (kind == "fields" and number // 8 >= header)
        assert_noticed(subject.decode, bytes(damaged), subject.data, harmless)


def test_header_flips_under_a_checksum_that_is_right(subject: Subject) -> None:
    """Past the header's checksum a flip may be harmless, such as another version; never wrong."""
    for field in subject.fields[:-1]:
        for number in range(8 * field.begin, 8 * field.end):
            damaged = bytearray(subject.archive)
            damaged[number // 8] ^= 1 << number % 8
            value = bytes(damaged[field.begin : field.end])
            assert_noticed(subject.decode, subject.with_field(field, value), subject.data, True)


def test_absurd_lengths(subject: Subject) -> None:
    numbers = [field for field in subject.fields if field.what == "varint"]
    assert len(numbers) >= 3
    for field in numbers:
        for value in ABSURD:
            damaged = subject.with_field(field, varint(value))
            assert_noticed(subject.decode, damaged, subject.data, harmless=True)


def test_other_checksums_and_ids(subject: Subject) -> None:
    rng = random.Random(1)
    for field in subject.fields:
        if field.what in ("block checksum", "id"):
            expected = (ModelNotFoundError, BaseFileError) if field.what == "id" else NNCodecError
            for _ in range(5):
                damaged = subject.with_field(field, rng.randbytes(field.end - field.begin))
                with pytest.raises(expected):
                    subject.decode(damaged)


def test_splices_of_all_kinds(subject: Subject, modules: Any) -> None:
    whole = (*modules["fuzz_container"].whole(), *modules["fuzz_model"].whole())
    others = [archive for archive, _ in whole]
    rng = random.Random(2)
    for _ in range(150):
        other, archive = rng.choice(others), subject.archive
        at, end = sorted(rng.randrange(len(archive) + 1) for _ in range(2))
        begin = rng.randrange(len(other) + 1)
        damaged = archive[:at] + other[begin : begin + end - at] + archive[end:]
        if damaged not in others:
            assert_noticed(subject.decode, damaged, subject.data, damaged[:-1] == archive[:-1])
