"""Text that a causal LM itself makes: data for distillation where there is no other.

Bits per byte of a compressed model on samples of the original, less those of the original, are the
Kullback-Leibler divergence between the two per byte: how far it drifted.
"""

from __future__ import annotations

import torch

from nncodec.errors import QuantizationError
from nncodec.lossy.evaluate import CausalLM

BATCH = 256


@torch.no_grad()
def sample(model: CausalLM, count: int, seed: int, length: int | None = None) -> list[bytes]:
    """``count`` texts drawn at temperature 1; empty ones are left out.

    Each ends where the model begins another text, or after ``length`` tokens (its window, if
    None). Raises QuantizationError for our own models, which keep no keys and values, and for a
    tokenizer without a token that begins a text.
    """
    if model.tokenizer is None or model.begin is None:
        raise QuantizationError("samples need a tokenizer with a begin token: give text instead")
    generator = torch.Generator().manual_seed(seed)
    texts: list[bytes] = []
    for at in range(0, count, BATCH):
        token = torch.full((min(BATCH, count - at), 1), model.begin)
        past, drawn = None, []
        for _ in range((length or model.window) - 1):
            out = model.model(token, past_key_values=past, use_cache=True)
            past = out.past_key_values
            token = torch.multinomial(
                out.logits[:, -1].double().softmax(-1), 1, generator=generator
            )
            drawn.append(token)
        for row in torch.cat(drawn, 1).tolist():
            ended = row[: row.index(model.begin)] if model.begin in row else row
            texts.append(model.tokenizer.decode(ended, skip_special_tokens=True).encode())
    return [text for text in texts if text]
