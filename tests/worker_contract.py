"""What every engine promises of an ordered map, wherever it runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from work_items import fails_at_three, unevenly

from nncodec.errors import CorruptDataError
from nncodec.parallel import Workers
from nncodec.parallel.base import AHEAD


def items_are_taken_when_there_is_room(workers: Workers) -> int:
    """Returns how many were ahead of the results at most."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    most = 0
    for result in workers.map_ordered(unevenly, items()):
        most = max(most, len(taken) - int(result**0.5))
    assert len(taken) == 50
    assert most <= AHEAD * workers.count
    return most


def the_first_error_in_order_is_raised_as_itself(workers: Workers) -> None:
    results: list[int] = []
    with pytest.raises(CorruptDataError, match=r"^number 3 is damaged$") as caught:
        results.extend(workers.map_ordered(fails_at_three, range(9)))
    assert results == [0, 1, 2]
    assert type(caught.value) is CorruptDataError  # nothing of an engine's around it

    def items() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("no third item")

    mapped = workers.map_ordered(unevenly, items())
    assert [next(mapped), next(mapped)] == [1, 4]
    with pytest.raises(ValueError, match="no third"):
        next(mapped)
    assert list(workers.map_ordered(unevenly, [2])) == [4]  # they can be used again
