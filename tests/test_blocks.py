"""Lane geometry: every byte is in exactly one lane, and encoder and decoder agree where."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncodec.blocks import (
    BLOCK_SIZE,
    DEFAULT_LANES,
    LANE_BYTES,
    MAX_LANES,
    MAX_TABLE_BITS,
    MIN_TABLE_BITS,
    active_lanes,
    from_lanes,
    lane_geometry,
    lane_lengths,
    needed_table_bits,
    to_lanes,
)
from nncodec.levels import LEVELS

sizes, lane_counts = st.integers(0, 700), st.integers(1, 90)


@given(sizes, lane_counts)
def test_lanes_are_contiguous_runs_and_come_back(size: int, lanes: int) -> None:
    body = (np.arange(size) % 255 + 1).astype(np.uint8)  # no zeros: padding would show
    grid = to_lanes(body, lanes)
    lengths = lane_lengths(size, lanes)
    assert grid.shape == (lanes, max(lengths))
    assert sum(lengths) == size
    start = 0
    for row, length in zip(grid, lengths, strict=True):
        assert row[:length].tolist() == body[start : start + length].tolist()
        assert not row[length:].any()
        start += length
    assert from_lanes(grid, size).tolist() == body.tolist()


@given(sizes, lane_counts)
def test_active_lanes_are_those_that_still_have_a_byte(size: int, lanes: int) -> None:
    lengths = lane_lengths(size, lanes)
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] - lengths[-1] <= 1
    steps = [active_lanes(size, lanes, step) for step in range(lengths[0])]
    assert steps == [sum(length > step for length in lengths) for step in range(lengths[0])]
    assert sum(steps) == size


BOUNDS = [(p.lanes, p.table_bits, p.lane_bytes) for p in LEVELS.values()]


@given(st.integers(1, BLOCK_SIZE), st.sampled_from([*BOUNDS, (DEFAULT_LANES, 0, LANE_BYTES)]))
def test_geometry_stays_within_what_the_container_allows(
    size: int, bounds: tuple[int, int, int]
) -> None:
    most_lanes, most_bits, lane_bytes = bounds
    geometry = lane_geometry(size, *bounds)
    lanes, prefix, table_bits = geometry.lanes, geometry.prefix, geometry.table_bits
    assert 1 <= lanes <= min(MAX_LANES, most_lanes)
    assert table_bits == min(most_bits, needed_table_bits(size))
    assert table_bits == 0 or MIN_TABLE_BITS <= table_bits <= MAX_TABLE_BITS
    assert lanes & (lanes - 1) == 0
    assert 0 <= prefix < size
    assert lanes <= max(1, size - prefix)
    assert lanes == 1 or lanes * lane_bytes <= size
    assert lanes == most_lanes or lanes * 2 * lane_bytes > size  # as many as the bounds allow
    assert (prefix > 0) == (lanes > 1)


@pytest.mark.parametrize(
    ("size", "lanes"),
    [
        (1, 1),
        (2 * LANE_BYTES - 1, 1),
        (2 * LANE_BYTES, 2),
        (4 * LANE_BYTES - 1, 2),
        (4 * LANE_BYTES, 4),
        (DEFAULT_LANES * LANE_BYTES, DEFAULT_LANES),
        (BLOCK_SIZE, DEFAULT_LANES),
    ],
)
def test_geometry_at_its_steps(size: int, lanes: int) -> None:
    assert lane_geometry(size).lanes == lanes


@given(st.integers(1, BLOCK_SIZE))
def test_a_needed_table_holds_96_bytes_a_byte_and_no_smaller_one_does(size: int) -> None:
    bits = needed_table_bits(size)
    assert 64 << bits >= 96 * size
    assert bits == MIN_TABLE_BITS or 64 << (bits - 1) < 96 * size
