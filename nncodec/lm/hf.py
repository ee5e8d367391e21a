"""The byte Transformer as transformers sees it; importing this module registers it.

import nncodec
model = transformers.AutoModelForCausalLM.from_pretrained("models/nano")
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from nncodec.config import BEGIN_OF_BLOCK, MODEL_TYPE, ModelConfig
from nncodec.lm.model import ByteTransformer


class NNCodecConfig(PretrainedConfig):  # type: ignore[no-untyped-call]
    """``config.json`` with transformers' own keys beside ours."""

    model_type = MODEL_TYPE

    def __init__(self, **kwargs: Any) -> None:
        ours = ModelConfig().to_dict()
        for name in ours.keys() - {"architectures", "model_type"}:
            setattr(self, name, kwargs.pop(name, ours[name]))
        kwargs.setdefault("bos_token_id", BEGIN_OF_BLOCK)
        kwargs.setdefault("tie_word_embeddings", False)
        super().__init__(**kwargs)

    def shape(self) -> ModelConfig:
        return ModelConfig.from_dict(self.to_dict())


class NNCodecForCausalLM(PreTrainedModel):  # type: ignore[no-untyped-call]
    """Bytes in, logits of the 256 next bytes out. ``input_ids`` lie in [0, 256]."""

    config_class = NNCodecConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"

    def __init__(self, config: NNCodecConfig) -> None:
        super().__init__(config)
        self.model = ByteTransformer(config.shape())
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Fill the tables: transformers builds on the meta device, where they hold nothing."""
        if isinstance(module, ByteTransformer):
            module.fill_tables()

    def forward(self, input_ids: Tensor, labels: Tensor | None = None, **_: Any) -> CausalLMOutput:
        """(B, T) -> logits (B, T, 256); with ``labels`` (the same bytes; -100 is left out)
        also the mean nats of the byte that follows."""
        logits = self.model(input_ids)
        if labels is None:
            return CausalLMOutput(logits=logits)
        targets = labels[:, 1:].masked_fill(labels[:, 1:] == BEGIN_OF_BLOCK, -100)
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten())
        return CausalLMOutput(loss=loss, logits=logits)


AutoConfig.register(MODEL_TYPE, NNCodecConfig)
AutoModelForCausalLM.register(NNCodecConfig, NNCodecForCausalLM)
