"""Members one after the other, their blocks decoded side by side and ahead.

Whoever reads says which members will follow; workers decode their blocks in that order, each once
as long as it is among the recent ones. A damaged block costs the members that lie in it.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from nncodec.decoding import CodedBlock, Decode
from nncodec.errors import CorruptDataError
from nncodec.pack.blockreader import Span
from nncodec.pack.reader import PackedArchive
from nncodec.pack.recent import Recent
from nncodec.parallel import Workers

Work = CodedBlock | CorruptDataError
Done = bytes | CorruptDataError


@dataclass(frozen=True)
class DecodeOrSay:
    """As ``Decode``; what is damaged is a result like any other."""

    decode: Decode

    def __call__(self, block: Work) -> Done:
        if isinstance(block, CorruptDataError):
            return block
        try:
            data = self.decode(block)
        except CorruptDataError as error:
            return error
        assert isinstance(data, bytes)
        return data


class Ahead:
    """Members ``numbers`` of an archive, to be read in this very order. To be closed.

    Raises LimitError, ModelNotFoundError and what ``workers`` do.
    """

    def __init__(self, archive: PackedArchive, numbers: Sequence[int], workers: Workers) -> None:
        self.archive, self.workers = archive, workers
        self._recent: Recent[Done] = Recent()
        task = DecodeOrSay(self._task())
        self._results = workers.map_ordered(task, self._blocks(numbers))

    def close(self) -> None:
        self._results.close()

    def _task(self) -> Decode:
        find = self.archive.blocks.find_coder
        if self.workers.shares:
            return Decode(find, turn=threading.Lock())
        return Decode(find.recipe)

    def _blocks(self, numbers: Sequence[int]) -> Iterator[Work]:
        """What workers are given: what ``_spans`` will ask for, in its order."""
        recent: Recent[bool] = Recent()
        for number in numbers:
            with suppress(CorruptDataError):  # of a header, which ``_spans`` will meet, too
                for span in self.archive.blocks.walk(self.archive.extents(number)):
                    if recent.get(span.number, span.block) is None:
                        recent.put(span.number, span.block, True, span.size)
                        yield self._coded(span)

    def _coded(self, span: Span) -> Work:
        try:
            return self.archive.blocks.coded(span.number, span.block, self.workers.shares)
        except CorruptDataError as error:
            return error

    def _spans(self, number: int) -> Iterator[tuple[Span, Done]]:
        for span in self.archive.blocks.walk(self.archive.extents(number)):
            data = self._recent.get(span.number, span.block)
            if data is None:
                data = next(self._results)
                self._recent.put(span.number, span.block, data, span.size)
            yield span, data

    def pieces(self, number: int) -> Generator[memoryview, None, None]:
        """The bytes of the next member, block by block; all of its blocks are taken in any case.

        Raises CorruptDataError, TruncatedError before anything of the block that it is about.
        """
        spans = self._spans(number)
        try:
            for span, data in spans:
                yield memoryview(intact(data))[span.begin : span.end]
        except (Exception, GeneratorExit):
            for _ in spans:
                pass
            raise


def intact(data: Done) -> bytes:
    if isinstance(data, CorruptDataError):
        raise data
    return data
