"""Several processes that train one model: started by torchrun, joined and kept in step here.

Each process holds the whole model, takes its rows of every batch and averages gradients with the
others. Models here have at most tens of millions of parameters, which one device holds many times
over, so nothing is sharded: see docs/training.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """All processes of a run; by default this one alone, for which nothing is communicated."""

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def rows(self, batch: int) -> slice:
        """This process's part of a batch. Raises ValueError if it cannot be split evenly."""
        if batch % self.size:
            raise ValueError(
                f"a batch of {batch} windows cannot be split over {self.size} processes; "
                f"take a multiple of {self.size}"
            )
        share = batch // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def agree(self, value: float) -> float:
        """The main process's value, in all of them. Clocks differ; decisions must not."""
        if self.size == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64)  # on the CPU: no device has to wait
        dist.broadcast(shared, 0)
        return shared.item()

    def mean(self, value: Tensor) -> Tensor:
        """The mean over processes, as a new tensor."""
        if self.size == 1:
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.size

    def weight(self, count: Tensor) -> Tensor | float:
        """Factor of this process's mean over ``count`` items that makes means of means right."""
        return 1.0 if self.size == 1 else count / self.mean(count)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over processes, in one message a dtype."""
        if self.size == 1:
            return
        by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for p in parameters:
            if p.grad is not None:
                by_dtype.setdefault(p.grad.dtype, []).append(p.grad)
        for gradients in by_dtype.values():
            flat = self.mean(torch.cat([g.flatten() for g in gradients]))
            parts = torch.split(flat, [g.numel() for g in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))


def world() -> World:
    """The processes that ``joined`` has brought together."""
    if dist.is_available() and dist.is_initialized():
        return World(dist.get_rank(), dist.get_world_size())
    return World()


@contextmanager
def joined(device: str) -> Iterator[torch.device]:
    """Join the processes of torchrun, if it started this one; yields the device to train on.

    ``device`` is cpu or cuda, or empty for what is there. Messages between GPUs go over nccl,
    those between CPUs over gloo.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield torch.device(kind)
        return
    where = torch.device(kind)
    if where.type == "cuda":
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
    dist.init_process_group("cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo")
    try:
        yield where
        dist.barrier()  # a process that leaves while the other still talks to it may be aborted
    finally:
        dist.destroy_process_group()
