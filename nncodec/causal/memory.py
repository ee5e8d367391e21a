"""How many lanes fit into memory, by what a lane's keys, values and logits take."""

from __future__ import annotations

from pathlib import Path

from nncodec.causal.predictor import CausalModel
from nncodec.environment import memory_bytes

MEMINFO = Path("/proc/meminfo")
SHARE = 0.5  # of what is free; the rest is for what no one has foreseen
RECURRENT_STATE = 128  # numbers a channel and layer, generously


def lanes_that_fit(model: CausalModel) -> int:
    """At least one: where even that does not fit, the attempt will say so."""
    return max(1, int(free_bytes(model) * SHARE) // lane_bytes(model))


def free_bytes(model: CausalModel) -> int:
    if model.device == "cuda":
        return int(model.torch.cuda.mem_get_info()[0])
    if MEMINFO.exists():
        for line in MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return memory_bytes() // 2


def lane_bytes(model: CausalModel) -> int:
    """Of one lane with its context full, while half of it is computed anew."""
    config = model.model.config.get_text_config()

    def number(*names: str, default: int) -> int:
        values = (getattr(config, name, None) for name in names)
        return next((int(v) for v in values if isinstance(v, int) and v > 0), default)

    item = 4 if model.dtype == "float32" else 2
    hidden = number("hidden_size", "n_embd", "d_model", default=1024)
    layers = number("num_hidden_layers", "n_layer", default=24)
    heads = number("num_attention_heads", "n_head", default=16)
    inner = number("intermediate_size", "n_inner", default=4 * hidden)
    kept = number("num_key_value_heads", default=heads) * number(
        "head_dim", default=hidden // heads
    )
    vocabulary = len(model.table.bytes_of)
    logits = vocabulary * (item + 4 + 4 + 8)
    if not model.context:
        return layers * hidden * RECURRENT_STATE * item + logits
    half = model.context // 2
    anew = half * (3 * inner + 8 * hidden) * item
    if not model.keeps_last:
        anew += half * vocabulary * item
    return 2 * layers * kept * model.context * item + anew + logits
