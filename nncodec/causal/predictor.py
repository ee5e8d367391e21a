"""Float predictor: any ``AutoModelForCausalLM``, lane by lane in one batch, token by token.

Two verbs: ``probabilities`` of the next token of every lane, ``take`` the tokens that came. The
encoder takes this very path too, with the same shapes, for floats computed all at once differ from
those computed step by step. Weights come from safetensors on this machine; nothing is downloaded
here, and code that comes with a model is never run.

**Context.** A lane begins with the model's begin token and the tokens common to all. Keys and
values are kept, so a step costs one token. When they fill the context, the second half of it is
computed anew behind a begin token, in one pass: unlike dropping the oldest keys it suits every
architecture, learned positions too, and a first token that attention rests on stays first. A lane
sees three quarters of the context on average. Models with a recurrent state have no end to it.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nncodec.causal.environment import DTYPES, Environment
from nncodec.causal.folder import CausalFolder
from nncodec.causal.loading import load_float
from nncodec.engine.native import usable_cores
from nncodec.environment import processor
from nncodec.errors import InvalidModelError, NNCodecError
from nncodec.extras import need

if TYPE_CHECKING:
    import torch

CONTEXT = 2048  # tokens at most, unless asked for: more costs time and memory and gains little
CARRIES = ("cache", "past_key_values", "cache_params", "state")  # what steps hand on, by release
ONE_THREAD = 1 << 25  # bytes of weights, up to which more threads wait for each other
ONE_LANE = "state"  # RWKV's step adds the states of all lanes to each: seen in transformers 5.24


@dataclass(frozen=True)
class Settings:
    """How a model is to be run; None or 0: as suits it and the machine."""

    dtype: str | None = None
    device: str | None = None
    threads: int | None = None
    context: int | None = None


class CausalModel:
    """A model in memory, in an environment that an archive can name."""

    def __init__(self, folder: CausalFolder, settings: Settings = Settings()) -> None:
        """Raises InvalidModelError, MissingPackageError, NNCodecError for a device that is none."""
        self.folder, self.table = folder, folder.table
        self.torch = need("torch")
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else its sums may vary
        self.settings = chosen(settings, folder)
        self.device, self.dtype = str(self.settings.device), str(self.settings.dtype)
        self.threads = self.settings.threads or 1
        self.model = load(folder, getattr(self.torch, self.dtype), self.device)
        accepted = inspect.signature(self.model.forward).parameters
        self.carry = next((name for name in CARRIES if name in accepted), None)
        if self.carry is None:
            raise InvalidModelError(
                f"{folder.path}: a model of type {folder.config['model_type']!r} hands nothing on "
                "from token to token, so it cannot be stepped"
            )
        self.keeps_last = "logits_to_keep" in accepted
        self.usable = np.array([i for i, t in enumerate(self.table.bytes_of) if t], dtype=np.int32)
        self.rank = np.full(len(self.table.bytes_of), -1, dtype=np.int32)
        self.rank[self.usable] = np.arange(len(self.usable), dtype=np.int32)
        self.columns = self.torch.as_tensor(self.usable.astype(np.int64), device=self.device)
        self.context = self._own_context()

    def _own_context(self) -> int:
        """As many tokens as the model knows positions for, or as was asked; 0: it is recurrent."""
        config = self.model.config.get_text_config()
        known = int(getattr(config, "max_position_embeddings", None) or 0)
        if self.carry == ONE_LANE:  # it calls its training's length so, and goes on beyond
            known = 0
        asked = self.settings.context or min(known, CONTEXT)
        if asked and not 4 <= asked <= known:
            raise NNCodecError(f"a context of {asked} tokens: the model takes 4 to {known}")
        return asked

    @property
    def begin(self) -> int:
        return self.table.begin

    @property
    def most_lanes(self) -> int:
        return 1 if self.carry == ONE_LANE else 256

    @property
    def environment(self) -> Environment:
        return describe(self.settings, self.context)

    def start(self, lanes: int, common: npt.NDArray[np.int32]) -> Session:
        """Lanes that have the tokens ``common`` behind them. Within ``running`` only."""
        return Session(self, lanes, common)

    def forward(self, ids: torch.Tensor, carried: Any) -> tuple[torch.Tensor, Any]:
        """(L, T) tokens -> (L, V) logits of the token after the last, and what to hand on."""
        assert self.carry
        options: dict[str, Any] = {"use_cache": True, self.carry: carried}
        if self.keeps_last:
            options["logits_to_keep"] = 1
        out = self.model(input_ids=ids, **options)
        return out.logits[:, -1], out[self.carry]

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The threads and modes that the environment names; those of before afterwards."""
        torch = self.torch
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        exactly = torch.are_deterministic_algorithms_enabled()
        if self.device == "cuda":
            torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            with torch.inference_mode():
                yield
        finally:
            torch.set_num_threads(before)
            torch.use_deterministic_algorithms(exactly)


class Session:
    """Where a batch of lanes stands. To be used within ``CausalModel.running``.

    All lanes have the same length at any time, so one array holds their past.
    """

    def __init__(self, model: CausalModel, lanes: int, common: npt.NDArray[np.int32]) -> None:
        self.model, self.lanes = model, lanes
        # Begin and past, (L, length); only models with a context need it again.
        self.tokens = np.full((lanes, model.context or 1), model.table.begin, dtype=np.int64)
        self.length = 1
        self.carried: Any = None
        if model.context:
            common = common[max(0, len(common) - (model.context // 2 - 1)) :]
            self.length += len(common)
            self.tokens[:, 1 : self.length] = common
        begin = np.concatenate(([model.table.begin], common)).astype(np.int64)
        self.logits = self._forward(np.repeat(begin[None], lanes, 0))

    def _forward(self, tokens: npt.NDArray[np.int64]) -> torch.Tensor:
        ids = self.model.torch.as_tensor(tokens, device=self.model.device)
        logits, self.carried = self.model.forward(ids, self.carried)
        return logits

    def probabilities(self) -> npt.NDArray[np.float64]:
        """(L, U): of every usable token to be the next one, in the order of ``usable``."""
        logits = self.logits.float().index_select(1, self.model.columns)
        shares = self.model.torch.softmax(logits, 1)
        rows: npt.NDArray[np.float64] = shares.cpu().numpy().astype(np.float64)
        if not np.isfinite(rows).all():
            raise InvalidModelError(
                f"the model gives no probabilities (NaN) as {self.model.dtype}: "
                "its numbers are too large for that; try --dtype float32, or another model"
            )
        return np.ascontiguousarray(rows)

    def take(self, tokens: npt.NDArray[np.int32]) -> None:
        """(L,) tokens that came, one a lane."""
        column = tokens.astype(np.int64)[:, None]
        if not self.model.context:
            self.logits = self._forward(column)
        elif self.length < self.model.context:
            self.tokens[:, self.length] = tokens
            self.length += 1
            self.logits = self._forward(column)
        else:
            self._refill(column)

    def _refill(self, column: npt.NDArray[np.int64]) -> None:
        """Begin anew with the newest half of the past, in one pass."""
        kept = self.model.context // 2 - 2
        past = self.tokens[:, self.length - kept : self.length].copy()
        self.length = kept + 2
        self.tokens[:, 1 : self.length] = np.concatenate((past, column), 1)
        self.carried = None
        self.logits = self._forward(self.tokens[:, : self.length].copy())


def chosen(settings: Settings, folder: CausalFolder) -> Settings:
    """Nothing left open but the context. Raises NNCodecError for what there is not.

    On a CPU floats of 32 bits; elsewhere those that the weights were saved in.
    """
    torch = need("torch")
    device = settings.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device not in ("cpu", "cuda"):
        raise NNCodecError(f"no device {device!r}: give cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise NNCodecError("no CUDA device here: leave out --device, or give --device cpu")
    saved = folder.config.get("dtype") or folder.config.get("torch_dtype")
    own = str(saved) if device != "cpu" and saved in DTYPES else DTYPES[0]
    dtype = settings.dtype or own
    if dtype not in DTYPES:
        raise NNCodecError(f"no dtype {dtype!r}: give one of {', '.join(DTYPES)}")
    size = sum(path.stat().st_size for path in folder.files)
    threads = settings.threads or (usable_cores() if size > ONE_THREAD else 1)
    return Settings(dtype, device, threads, settings.context)


def describe(settings: Settings, context: int) -> Environment:
    """The environment of a model run with ``settings`` here, found without the model."""
    torch = need("torch")
    cuda = settings.device == "cuda" and torch.cuda.is_available()
    return Environment(
        torch=str(torch.__version__),
        transformers=package_version("transformers"),
        device="cuda" if cuda else "cpu",
        hardware=torch.cuda.get_device_name() if cuda else processor(),
        capability="" if cuda else torch.backends.cpu.get_cpu_capability(),
        dtype=str(settings.dtype),
        threads=settings.threads or usable_cores(),
        context=context,
    )


def package_version(name: str) -> str:
    """Of an installed package, without importing it. Raises MissingPackageError."""
    try:
        return version(name)
    except PackageNotFoundError:
        need(name)
        raise


def load(folder: CausalFolder, dtype: Any, device: str) -> Any:
    """The torch model, for inference. Raises InvalidModelError."""
    folder.files  # noqa: B018  (says what is missing)
    model = load_float(folder.path, dtype)
    if model.config.get_text_config().vocab_size != len(folder.table.bytes_of):
        raise InvalidModelError(f"{folder.path}: vocabulary and table differ in size")
    return model.to(device)
