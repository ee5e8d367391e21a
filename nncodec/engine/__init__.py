"""Engines: what turns bytes seen so far into integer counts for the next one, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncodec.errors import NNCodecError

if TYPE_CHECKING:
    from nncodec.engine.reference import ReferenceEngine
    from nncodec.weights import EngineModel


def load_engine(model: EngineModel, threads: int | None = None) -> ReferenceEngine:
    """An engine for ``model``. ``threads`` changes the speed, never the bits.

    Raises NNCodecError if torch, which the reference engine runs on, is absent.
    """
    try:
        import torch
    except ImportError as error:
        raise NNCodecError(
            "running a model needs torch: install it with pip install 'nncodec-lm[train]'"
        ) from error
    from nncodec.engine.reference import ReferenceEngine

    if threads:
        torch.set_num_threads(threads)
    return ReferenceEngine(model)
