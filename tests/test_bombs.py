"""Archives of few bytes that promise much cost no more memory than is written out, or a bound.

The bound is that of a block: its table, 256 MiB at most and never more than 96 bytes for a byte of
the block, what follows from lanes, and the block itself. Headers cost a multiple of their length.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bombs import BOMBS, constant, many_items, measure, rows_of_one_byte

import nncodec
from nncodec.blocks import Geometry
from nncodec.container import Block, Frame, Kind
from nncodec.errors import CorruptDataError, NNCodecError, TruncatedError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")

MIB = 1 << 20
BLOCK = 16 * MIB
TABLE = 256 * MIB + 16 * MIB  # with match positions and probability maps
SMALL = 24 * MIB  # what else a process may take on the way
ARENAS = 128 * MIB  # of addresses alone: what the C library reserves for a second thread
WRITTEN = {
    "16 constant blocks": (16 * BLOCK, BLOCK),
    "64 chained frames of a constant block": (64 * BLOCK, BLOCK),
    "tensors: 16 MiB of zeros": (BLOCK, 3 * BLOCK),
    "fields: 16 MiB of zeros": (BLOCK, 2 * BLOCK),
}
REFUSED = {
    "contexts: 8 bytes claim 16 MiB and a table of 256 MiB": TABLE + BLOCK,
    "escapes: 8 bytes claim 8 MiB that become 16 MiB": TABLE + BLOCK,
    "tensors: 8 bytes claim 16 MiB": 2 * BLOCK,
    "fields: 8 bytes claim 16 MiB": 2 * BLOCK,
    "mixed: 8 bytes claim 256 lanes of nano": TABLE + BLOCK,
    "a total of 2^63 - 1 bytes": 0,
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_decodes_is_written_block_by_block(name: str, tmp_path: Path) -> None:
    size, most = WRITTEN[name]
    archive = BOMBS[name]()
    assert len(archive) * 8000 < size
    cost = measure(archive, tmp_path)
    assert (cost["told"], cost["written"]) == ("", size)
    assert cost["resident"] < most + SMALL, cost


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_only_claimed_is_not_paid(name: str, tmp_path: Path) -> None:
    cost = measure(BOMBS[name](), tmp_path)
    assert cost["told"].startswith(f"nncodec: {tmp_path / 'bomb.nnc'}: "), cost
    assert "\n" not in cost["told"]
    assert cost["written"] == 0
    assert cost["resident"] < REFUSED[name] + SMALL, cost
    assert cost["virtual"] < REFUSED[name] + 4 * BLOCK + ARENAS + SMALL, cost


def test_headers_cost_a_multiple_of_their_length(tmp_path: Path) -> None:
    for archive, factor in ((rows_of_one_byte(60_000), 40), (many_items(150_000), 130)):
        assert measure(archive, tmp_path)["resident"] < factor * len(archive) + SMALL


def test_a_limit_is_held_before_anything_is_decoded(tmp_path: Path) -> None:
    cost = measure(constant(16), tmp_path, 16 * BLOCK - 1)
    assert "would exceed max_output_size" in cost["told"], cost
    assert cost["resident"] < SMALL
    assert len(nncodec.decompress(constant(2), max_output_size=2 * BLOCK)) == 2 * BLOCK


def test_a_table_is_no_larger_than_its_block_can_fill() -> None:
    """A block of a few bytes cannot ask for 256 MiB."""
    row = Block(Kind.CONTEXTS, 1000, 8, 0, Geometry(1, 0, 22))
    with pytest.raises(CorruptDataError, match="table size is 22, at most 11 is allowed"):
        nncodec.decompress(Frame(1000, 1000, (row,)).pack() + bytes(8))


def test_a_promise_of_more_than_there_is_ends_soon() -> None:
    archive = constant(3)
    for cut in range(1, 4):
        with pytest.raises(TruncatedError):
            nncodec.decompress(archive[:-cut], max_output_size=3 * BLOCK)
    with pytest.raises(NNCodecError, match="max_output_size"):
        nncodec.decompress(archive[:-3], max_output_size=1)
