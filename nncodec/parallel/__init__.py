"""Where work is done: one ordered map behind everything that can be done side by side.

    inline   in the caller's thread, one item after the other; an engine may use more for its lanes
    thread   in threads of this process, each with models of its own
    process  in processes of this machine, begun afresh (``spawn``)
    ray      in actors of a Ray cluster, or of a local one that is started for it
    auto     in threads that share what is loaded: the default

Blocks are independent, so an archive never depends on it.
"""

from __future__ import annotations

from nncodec.engine.native import usable_cores
from nncodec.errors import NNCodecError
from nncodec.parallel.base import Stoppable, Workers
from nncodec.parallel.local import Inline, ThreadWorkers

__all__ = ["ENGINES", "Inline", "Stoppable", "ThreadWorkers", "Workers", "open_workers", "sharing"]

ENGINES = ("auto", "inline", "thread", "process", "ray")
MOST_SHARING = 8  # each may hold a context table, of up to 256 MiB


def open_workers(engine: str = "auto", count: int | None = None) -> Workers:
    """``count`` workers, None: as many as there are cores. To be closed, or used with ``with``.

    Of auto there are 8 at most. Nothing is started before the first work. Raises NNCodecError for
    an unknown engine or count, MissingPackageError for ray without its package.
    """
    if engine not in ENGINES:
        raise NNCodecError(f"no engine {engine!r}: choose one of {', '.join(ENGINES)}")
    if count is not None and (type(count) is not int or count < 1):
        raise NNCodecError(f"{count!r} workers: give a whole number, at least one")
    if engine == "inline" and count not in (None, 1):
        raise NNCodecError(f"inline has one worker, not {count}: take thread or process")
    if engine == "auto":
        return sharing(count or usable_cores())
    if engine == "inline":
        return Inline()
    if engine == "thread":
        return ThreadWorkers(count or usable_cores())
    if engine == "process":
        from nncodec.parallel.process import ProcessWorkers

        return ProcessWorkers(count or usable_cores())
    from nncodec.parallel.ray import RayWorkers

    return RayWorkers(count)


def sharing(threads: int) -> Workers:
    """Threads that use the caller's own objects, each at a time what only one can."""
    return Inline() if threads == 1 else ThreadWorkers(min(threads, MOST_SHARING), shares=True)
