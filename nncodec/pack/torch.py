"""``torch.utils.data`` over packed archives: by number, or as a stream for workers and ranks.

    loader = DataLoader(PackedIterableDataset("corpus.nnc", shuffle=True), 32, num_workers=2)

Both decode a block once for all of its members that are asked for together. The order of an epoch
is a function of seed, epoch and part, never of which process is first.
Needs torch; importing this raises MissingPackageError without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

import numpy as np

from nncodec.extras import need
from nncodec.limits import NO_LIMITS, Limits
from nncodec.pack.order import BUFFER, Epoch, Ints, arrange
from nncodec.pack.samples import Samples

need("torch", "train")

import torch  # noqa: E402
from torch import distributed  # noqa: E402
from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info  # noqa: E402

T = TypeVar("T")


def place(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Rank and number of ranks: those that are given, or of the process group, or the only one.

    Raises ValueError if only one of them is given.
    """
    if (rank is None) != (world_size is None):
        raise ValueError("give both rank and world_size, or neither")
    if rank is not None and world_size is not None:
        return rank, world_size
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def shared(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, in memory that is shared with processes it is sent to, or that are forked."""
    if not tensor.is_shared():  # type: ignore[no-untyped-call]
        tensor.share_memory_()  # type: ignore[no-untyped-call]
    return tensor


class PackedDataset(Samples[T], Dataset[T]):
    """The files of a packed archive by number; all else is as of ``Samples``.

    A ``DataLoader`` asks for a batch at once, and each block that it touches is decoded once. With
    ``BlockShuffleSampler`` batches are of few blocks.
    """

    def __getitems__(self, numbers: list[int]) -> list[T]:
        return self.read_many(numbers)


class PackedIterableDataset(IterableDataset[T]):
    """The files of a packed archive as they lie in it, or with ``shuffle`` in an order of an epoch.

    Over all workers of a ``DataLoader`` and all ranks of the process group (or ``rank`` of
    ``world_size``) every file comes once; ranks get equally many, but for one. Shuffled are units
    that share a frame, and files within windows of ``buffer`` bytes; ``set_epoch`` before an epoch
    gives another order, also to workers that are kept. ``state_dict`` says how far this process is:
    with workers use torchdata's ``StatefulDataLoader``, which asks them. The rest is as of
    ``Samples``.
    """

    def __init__(
        self,
        archive: str | os.PathLike[str],
        *,
        shuffle: bool = False,
        seed: int = 0,
        buffer: int = BUFFER,
        rank: int | None = None,
        world_size: int | None = None,
        members: Sequence[str] = (),
        transform: Callable[[bytes], T] | None = None,
        named: bool = False,
        model: str | None = None,
        threads: int | None = 1,
        limits: Limits = NO_LIMITS,
    ) -> None:
        place(rank, world_size)
        Epoch(shuffle=shuffle, seed=seed, buffer=buffer)  # raises for what is out of bounds
        self.samples: Samples[T] = Samples(
            archive,
            members=members,
            transform=transform,
            named=named,
            model=model,
            threads=threads,
            limits=limits,
        )
        self.shuffle, self.seed, self.buffer = shuffle, seed, buffer
        self._rank, self._world_size = rank, world_size
        # In shared memory, as workers that are kept see only what they share.
        self._epoch = shared(torch.zeros((), dtype=torch.int64))
        self._done = 0  # samples that were given out, of the part of this process
        self._start: dict[str, int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A process that is begun afresh for a worker knows nothing of the process group."""
        state = dict(self.__dict__)
        if distributed.is_available() and distributed.is_initialized():
            state["_rank"], state["_world_size"] = place(self._rank, self._world_size)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._epoch = shared(self._epoch)

    @property
    def epoch(self) -> int:
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Raises ValueError if it is negative."""
        if epoch < 0:
            raise ValueError(f"epoch {epoch}: epochs are counted from 0")
        self._epoch.fill_(epoch)

    def part(self) -> tuple[int, int]:
        """Which part is this process's, of how many: workers are parts of ranks."""
        rank, ranks = place(self._rank, self._world_size)
        worker = get_worker_info()
        if worker is None:
            return rank, ranks
        return rank * worker.num_workers + worker.id, ranks * worker.num_workers

    @property
    def count(self) -> int:
        """Samples of this rank, of all of its workers."""
        rank, ranks = place(self._rank, self._world_size)
        total = len(self.samples)
        return total * (rank + 1) // ranks - total * rank // ranks

    def __iter__(self) -> Iterator[T]:
        part, parts = self.part()
        start, self._start = self._start, None
        if start is not None:
            given = (start["part"], start["parts"], start["seed"], start["shuffle"])
            if given != (part, parts, self.seed, self.shuffle):
                raise ValueError(
                    f"the state is of part {given[0]} of {given[1]} (seed {given[2]}), this is "
                    f"part {part} of {parts} (seed {self.seed}): use as many workers and ranks"
                )
        epoch = Epoch(part, parts, self.shuffle, self.seed, self.epoch, self.buffer)
        self._done = start["done"] if start is not None else 0
        for sample in self.samples.stream(epoch, self._done):
            self._done += 1
            yield sample

    def state_dict(self) -> dict[str, int]:
        """Where this process is in its part of the epoch."""
        if self._start is not None:
            return dict(self._start)
        part, parts = self.part()
        return {
            "epoch": self.epoch,
            "seed": self.seed,
            "shuffle": int(self.shuffle),
            "part": part,
            "parts": parts,
            "done": self._done,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The next iteration goes on there; it raises ValueError if it is of another part."""
        self.set_epoch(state["epoch"])
        self._start = dict(state)


class BlockShuffleSampler(Sampler[int]):
    """Numbers of a ``PackedDataset`` in a shuffled order that stays in few blocks for a while.

    Units and windows are shuffled as of ``PackedIterableDataset``; a window of ``buffer`` bytes, 32
    MiB at most, is what the archive keeps decoded. Of ``world_size`` ranks each gets every file of
    its part once. A ``DataLoader`` hands batches to its workers in turn: given its ``batch_size``
    and the number of its ``workers``, each of them stays in blocks of its own. Raises ValueError.
    """

    def __init__(
        self,
        dataset: PackedDataset[Any],
        *,
        shuffle: bool = True,
        seed: int = 0,
        buffer: int = BUFFER,
        batch_size: int = 1,
        workers: int = 1,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        place(rank, world_size)
        if batch_size < 1 or workers < 0:
            raise ValueError(f"batches of {batch_size} for {workers} workers")
        Epoch(buffer=buffer)
        self.dataset, self.shuffle, self.seed, self.buffer = dataset, shuffle, seed, buffer
        self.batch_size, self.workers = batch_size, max(workers, 1)
        self._rank, self._world_size = rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        rank, ranks = place(self._rank, self._world_size)
        total = len(self.dataset)
        return total * (rank + 1) // ranks - total * rank // ranks

    def __iter__(self) -> Iterator[int]:
        rank, ranks = place(self._rank, self._world_size)
        parts = []
        for worker in range(self.workers):
            part = rank * self.workers + worker, ranks * self.workers
            epoch = Epoch(*part, self.shuffle, self.seed, self.epoch, self.buffer)
            parts.append(arrange(self.dataset.layout, epoch)[0])
        return chain.from_iterable(batch.tolist() for batch in in_turn(parts, self.batch_size))


def in_turn(parts: list[Ints], size: int) -> Iterator[Ints]:
    """``size`` numbers of each part in turn, until all were given."""
    longest = max(map(len, parts))
    for begin in range(0, longest, size):
        for part in parts:
            yield np.asarray(part[begin : begin + size])
