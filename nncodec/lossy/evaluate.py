"""Bits a byte of a causal language model on text, with its own tensors or with others.

The model is a Hugging Face folder, or one of ours (``models/small``), loaded by transformers. Needs
torch and transformers; this module is imported where they are needed, never with the package.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor as TorchTensor
from torch.func import functional_call
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging

from nncodec.config import BEGIN_OF_BLOCK, CONFIG_FILE, FLOAT_FILE, MODEL_TYPE
from nncodec.errors import ModelNotFoundError, QuantizationError
from nncodec.lm import hf  # noqa: F401  registers our model with transformers
from nncodec.lossy.store import Tensor

BATCH = 8  # windows at once
WINDOW = 512  # tokens, of models that say nothing of theirs, and at most


class CausalLM:
    """A model, and how it reads bytes. ``folder`` has config.json, weights and, unless the model is
    one of ours, a tokenizer. Weights are float32. Raises ModelNotFoundError for another folder."""

    def __init__(self, folder: Path) -> None:
        if not (folder / CONFIG_FILE).is_file():
            raise ModelNotFoundError(f"{folder} holds no {CONFIG_FILE}: give a model's folder")
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # notes are no output of ours
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            config = AutoConfig.from_pretrained(folder)
            self.tokenizer: Any = None
            if config.model_type != MODEL_TYPE:
                self.tokenizer = AutoTokenizer.from_pretrained(folder)
            self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise ModelNotFoundError(f"{folder} is no causal language model: {error}") from error
        self.model.train(False)
        self.window = min(WINDOW, getattr(config, "max_position_embeddings", None) or WINDOW)
        begin = BEGIN_OF_BLOCK if self.tokenizer is None else self.tokenizer.bos_token_id
        self.begin: int | None = begin
        self.prefix = "" if self.tokenizer else self._prefix(folder / FLOAT_FILE)

    def _prefix(self, file: Path) -> str:
        """What parameters' names have in front of those in a file of ours: transformers wraps our
        models, and of the files only those that it saved itself have the wrapper's name."""
        prefix = f"{self.model.base_model_prefix}."
        with safe_open(file, "numpy") as opened:
            wrapped = all(name.startswith(prefix) for name in opened.keys())  # noqa: SIM118
        return "" if wrapped else prefix

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace parameters by floats of the same names and shapes.

        Integer tensors and those that are no parameter raise QuantizationError.
        """
        own = self.model.state_dict()
        new = {}
        for plain, tensor in tensors.items():
            name = plain if plain in own else self.prefix + plain
            if name not in own or tuple(own[name].shape) != tensor.shape or not tensor.is_float:
                raise QuantizationError(
                    f"{plain!r} is no parameter of the model: its tensors have other names, shapes "
                    "or dtypes; give the folder that the weights belong to"
                )
            new[name] = torch.from_numpy(tensor.floats().copy())
        self.model.load_state_dict(new, strict=False)
        self.model.tie_weights()

    def parameters(self) -> dict[str, TorchTensor]:
        """The model's own, by the names that its file has."""
        return {n.removeprefix(self.prefix): p for n, p in self.model.named_parameters()}

    def logits(
        self, inputs: TorchTensor, weights: Mapping[str, TorchTensor] | None = None
    ) -> TorchTensor:
        """(B, T) tokens to (B, T, vocabulary); ``weights``, by the file's names, stand in for
        parameters, so that gradients flow to them."""
        new = {self.prefix + n: w for n, w in (weights or {}).items()}
        out = functional_call(self.model, new, (), {"input_ids": inputs})
        logits: TorchTensor = out.logits.float()
        return logits

    def tokens(self, text: bytes) -> list[int]:
        """The bytes themselves for our models, else the tokenizer's ids. Raises QuantizationError
        for text that is not UTF-8 where a tokenizer needs it to be."""
        if self.tokenizer is None:
            return list(text)
        try:
            read = text.decode()
        except UnicodeDecodeError as error:
            raise QuantizationError(f"the text is not UTF-8 ({error}): give another") from None
        return list(self.tokenizer(read, add_special_tokens=False)["input_ids"])

    def windows(self, text: bytes, batch: int = 1) -> Iterator[TorchTensor]:
        """(B, T) inputs: runs of tokens that do not overlap, each behind the begin of a text."""
        size = self.window - (self.begin is not None)
        head = [] if self.begin is None else [self.begin]
        ids = self.tokens(text)
        rows = [head + ids[at : at + size] for at in range(0, len(ids), size)]
        whole = [row for row in rows if len(row) == len(rows[0])]
        for at in range(0, len(whole), batch):
            yield torch.tensor(whole[at : at + batch])
        if len(whole) < len(rows):
            yield torch.tensor(rows[-1:])

    def loss(self, inputs: TorchTensor) -> TorchTensor:
        """Nats of all tokens but the first of each row, summed."""
        logits = self.logits(inputs)[:, :-1]
        return F.cross_entropy(logits.flatten(0, 1), inputs[:, 1:].flatten(), reduction="sum")

    @torch.no_grad()
    def bits_per_byte(self, text: bytes) -> float:
        """Of text, in windows of ``window`` tokens. Raises QuantizationError for an empty one."""
        if not text:
            raise QuantizationError("bits a byte of an empty text: give one with words in it")
        inputs = (rows for rows in self.windows(text, BATCH) if rows.shape[1] > 1)
        nats = sum(float(self.loss(rows)) for rows in inputs)
        return nats / math.log(2) / len(text)
