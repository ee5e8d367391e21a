"""The native engine of the Llama family: the interface of ``reference``, bit for bit."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import numpy.typing as npt

from nncodec import _core
from nncodec.causal.exact.weights import ExactModel
from nncodec.engine.native import choose_isa, usable_cores
from nncodec.errors import NNCodecError
from nncodec.numerics import rope_table


class NativeEngine:
    """A model's weights, packed for this machine. ``start()`` gives an empty context."""

    def __init__(self, model: ExactModel, threads: int | None = None, isa: str = "") -> None:
        self.config = model.config
        shape = asdict(model.config)
        config = {k: list(v) if isinstance(v, tuple) else v for k, v in shape.items()}
        cos, sin = rope_table(model.config.rope_period)
        try:
            self.core = _core.Engine(
                config, dict(model.tensors), cos, sin, threads or usable_cores(), choose_isa(isa)
            )
        except ValueError as error:
            raise NNCodecError(f"the native engine cannot start: {error}") from error

    @property
    def isa(self) -> str:
        return self.core.isa

    def start(self) -> NativeState:
        return NativeState(self)


class NativeState:
    """The contexts of a set of lanes; see ``reference.State``, which it equals."""

    def __init__(self, engine: NativeEngine) -> None:
        self.core, self.vocab_size = _core.State(engine.core), engine.config.vocab_size

    def fork(self, lanes: int) -> None:
        self.core.fork(lanes)

    def advance(
        self, tokens: npt.NDArray[np.integer], wanted: int | None = None
    ) -> npt.NDArray[np.uint32]:
        """(B, T) ids -> (B, wanted, K) counts. Raises ValueError for bad tokens."""
        if tokens.size and not 0 <= int(tokens.min()) <= int(tokens.max()) < self.vocab_size:
            raise ValueError(
                f"tokens must lie in 0..{self.vocab_size - 1}"
            )  # before the cast below
        wanted = tokens.shape[-1] if wanted is None else wanted
        return self.core.advance_wide(np.ascontiguousarray(tokens, dtype=np.int32), wanted)
