"""Fine-tunes of a small causal model, to measure deltas with: stories260K-hf on a text.

usage: python scripts/make_finetunes.py MODEL_FOLDER TEXT OUTPUT [--rates 1e-5 1e-4 1e-3]

For every rate, AdamW (weight decay 0.01, no schedule) of ``--batch`` windows of ``--length``
tokens of TEXT a step; after each of ``--steps`` the weights are written as float32 and as bfloat16
safetensors, beside base_f32 and base_bf16: ft_1e-5_100_bf16.safetensors and so on. Batches come
from ``--seed``; other machines and releases of torch round otherwise, so the weights of another run
differ from these in most of their last bits, and sizes measured with them by a few per cent.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def write(model: torch.nn.Module, folder: Path, name: str) -> None:
    """``name``_f32 and ``name``_bf16; tied weights once, as transformers does."""
    weights: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        if all(value.data_ptr() != other.data_ptr() for other in weights.values()):
            weights[key] = value
    for dtype, kind in DTYPES.items():
        copies = {key: value.to(kind).contiguous() for key, value in weights.items()}
        save_file(copies, folder / f"{name}_{dtype}.safetensors", metadata={"format": "pt"})


def fine_tune(arguments: argparse.Namespace, tokens: Tensor, rate: str) -> None:
    torch.manual_seed(arguments.seed)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    if not (arguments.output / "base_f32.safetensors").exists():
        write(model, arguments.output, "base")
    optimizer = torch.optim.AdamW(model.parameters(), lr=float(rate))
    model.train()
    for step in range(1, max(arguments.steps) + 1):
        starts = torch.randint(0, len(tokens) - arguments.length, (arguments.batch,))
        windows = torch.stack([tokens[i : i + arguments.length] for i in starts])
        loss = model(input_ids=windows, labels=windows).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in arguments.steps or step == 1:
            print(f"rate {rate}, step {step}: loss {loss.item():.3f}", flush=True)
        if step in arguments.steps:
            write(model, arguments.output, f"ft_{rate}_{step}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--rates", nargs="+", default=["1e-5", "1e-4", "1e-3"])
    parser.add_argument("--steps", nargs="+", type=int, default=[100, 200])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    text = arguments.text.read_text(encoding="latin-1")
    tokens = torch.tensor(tokenizer(text)["input_ids"])
    for rate in arguments.rates:
        fine_tune(arguments, tokens, rate)


if __name__ == "__main__":
    main()
