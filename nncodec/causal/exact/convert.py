"""Llama-family checkpoints to integer models: folded gains, balanced channels, calibrated ranges.

Reads what transformers loaded; writes no floats beyond scales. Not a general quantiser: weights
are rounded to nearest, by output channel, because at 8 bits that costs next to nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nncodec.causal.exact.balance import MOST, choose, pair_factors
from nncodec.causal.exact.config import MAX_CACHE_BYTES, ExactConfig
from nncodec.causal.exact.weights import MAX_BIAS, ExactModel, token_tensors
from nncodec.config import MAX_WINDOW, shown
from nncodec.engine_weights import MAX_SCALE, MIN_SCALE, Tensors
from nncodec.errors import InvalidModelError
from nncodec.lm.export import LOG2_E, quantize_rows
from nncodec.lm.rounding import steps

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
UNREAD_BIASES = tuple(f"{name}_proj.bias" for name in ("o", "gate", "up", "down"))
ROPE_PERIOD = 1 << 20
DEFAULT_CONTEXT = 1024
VALUE_HEADROOM = 1.1  # calibrated absmax of the attention values, times this, becomes code 127
ROWS = 512  # of the calibration text, that balancing looks at


def check_family(family: Any) -> None:
    """Raises InvalidModelError for a ``model_type`` that the engine does not compute."""
    if not isinstance(family, str) or family not in FAMILIES:
        raise InvalidModelError(
            f"no exact mode for this model: its type {shown(family)} is none of "
            f"{', '.join(FAMILIES)}"
        )


def shape_of(
    config: Any, tokens: Sequence[bytes | None], begin: int, context: int | None, turns: Tensor
) -> ExactConfig:
    """The integer model's config. Raises InvalidModelError for what the engine does not compute."""

    def need(ok: bool, why: str) -> None:
        if not ok:
            raise InvalidModelError(f"no exact mode for this model: {why}")

    family = config.model_type
    check_family(family)
    need(config.hidden_act == "silu", f"its activation is {config.hidden_act!r}, not 'silu'")
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kind = rope.get("rope_type", "default")
    need(kind in ("default", "linear", "llama3"), f"rotary scaling {kind!r} is not fixed")
    need(float(rope.get("partial_rotary_factor", 1.0)) == 1.0, "it rotates a part of each head")
    need(len(tokens) <= config.vocab_size, f"{len(tokens)} tokens exceed its embeddings")
    most = min(config.max_position_embeddings, MAX_WINDOW)
    if getattr(config, "use_sliding_window", family == "mistral"):
        most = min(most, getattr(config, "sliding_window", None) or most)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    position = 2 * config.num_hidden_layers * config.num_key_value_heads * head_dim
    most = min(most, MAX_CACHE_BYTES // position)
    context = min(most, DEFAULT_CONTEXT) if context is None else context
    need(2 <= context <= most, f"a context of {context} positions, it can have 2..{most}")
    return ExactConfig(
        vocab_size=config.vocab_size,
        n_symbols=sum(map(bool, tokens)),
        begin=begin,
        d_model=config.hidden_size,
        n_layers=config.num_hidden_layers,
        n_heads=config.num_attention_heads,
        n_kv_heads=config.num_key_value_heads,
        head_dim=head_dim,
        d_ff=config.intermediate_size,
        context=context,
        overlap=max(1, context // 4),
        rope_period=ROPE_PERIOD,
        rope_multipliers=tuple((turns * ROPE_PERIOD).round().long().tolist()),
        qkv_bias=int(family == "qwen2" or bool(getattr(config, "attention_bias", False))),
        qk_norm=int(family == "qwen3"),
    )


class Watch:
    """What went through a layer on the calibration text: inputs as rows, outputs' absmax."""

    def __init__(self) -> None:
        self.rows: dict[str, Tensor] = {}
        self.tops: dict[str, Tensor] = {}

    def run(self, model: nn.Module, tokens: npt.NDArray[np.int64]) -> None:
        spots: dict[str, Callable[[str, Tensor, Tensor], None]] = {
            "q_proj": self.keep_rows,
            "gate_proj": self.keep_rows,
            "down_proj": self.keep_rows,
            "lm_head": self.keep_rows,
        }
        for name in ("q_proj", "k_proj", "v_proj", "q_norm", "k_norm"):
            spots.setdefault(f"{name} out", self.keep_top)
        hooks = []
        for name, module in model.named_modules():
            for spot, keep in spots.items():
                if name.endswith(spot.split()[0]):

                    def hook(
                        _module: nn.Module,
                        args: tuple[Tensor, ...],
                        out: Tensor,
                        name: str = name,
                        keep: Callable[[str, Tensor, Tensor], None] = keep,
                    ) -> None:
                        keep(name, args[0], out)

                    hooks.append(module.register_forward_hook(hook))
        try:
            for row in torch.from_numpy(tokens):  # one by one: memory
                model(row[None], use_cache=False)
        finally:
            for each in hooks:
                each.remove()

    def keep_rows(self, name: str, x: Tensor, _out: Tensor) -> None:
        rows = x.reshape(-1, x.shape[-1])
        old = self.rows.get(name, rows[:0])
        # Of every text as many, evenly: the first positions of a context are like no others.
        fresh = rows[:: max(1, 8 * len(rows) // ROWS)]
        self.rows[name] = torch.cat((old, fresh))[-ROWS:]

    def keep_top(self, name: str, _x: Tensor, out: Tensor) -> None:
        out = out if out.ndim == 4 else out[:, :, None]  # norms see (B, T, heads, C)
        top = out.abs().amax((0, 1, 2))
        self.tops[name] = torch.maximum(self.tops.get(name, top), top)


@torch.no_grad()
def convert(
    model: nn.Module,
    tokens: Sequence[bytes | None],
    begin: int,
    calibration: npt.NDArray[np.int64],
    context: int | None = None,
) -> ExactModel:
    """The integer twin of a Llama-family ``model`` of transformers, float32, on the CPU.

    ``tokens`` are the bytes of each id, None for one that stands for none; ``begin`` is the id
    that a text begins with; ``calibration`` is (B, T) ids of text like the data to come. Raises
    InvalidModelError for a model that the engine does not compute, or whose weights are NaN,
    infinite or too large.
    """
    hf: Any = model.config
    rotary: Any = cast(Any, model).model.rotary_emb
    config = shape_of(hf, tokens, begin, context, rotary.inv_freq.double() / (2 * math.pi))
    state = {name: value.float() for name, value in model.state_dict().items()}
    for name, value in state.items():
        if not value.isfinite().all():  # of a model that was not loaded from a folder
            raise InvalidModelError(f"{name} holds NaN or infinity; the checkpoint is unusable")
        if name.endswith(UNREAD_BIASES) and value.any():
            raise InvalidModelError(f"no exact mode for this model: it has a bias {name}")
    watch = Watch()
    watch.run(model.eval(), calibration)
    eps = torch.tensor([config.d_model, config.head_dim]) * hf.rms_norm_eps
    if config.qk_norm and "model.layers.0.self_attn.q_norm.weight" not in state:
        raise InvalidModelError("no exact mode for this model: its queries have no norm")
    tensors = token_tensors(tokens)
    put = Writer(tensors)
    put.floats("eps", eps.clamp(min=MIN_SCALE))
    put.matrix("embed", state["model.embed_tokens.weight"])
    head = state.get("lm_head.weight", state["model.embed_tokens.weight"])
    head = head[torch.from_numpy(tensors["tokens.ids"].astype(np.int64))]
    put.behind_norm("head", head, state["model.norm.weight"], watch.rows["lm_head"], LOG2_E)
    for i in range(config.n_layers):
        add_block(put, config, state, watch, i)
    return ExactModel(config, tensors)


class Writer:
    """Adds an integer model's tensors by name."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors

    def floats(self, name: str, values: Tensor) -> None:
        self.tensors[name] = values.float().numpy()

    def bias(self, name: str, values: Tensor) -> None:
        values = values.clamp(-MAX_BIAS, MAX_BIAS)
        self.floats(name, torch.where(values.abs() < MIN_SCALE, 0.0, values))

    def matrix(self, name: str, weight: Tensor, factor: Tensor | float = 1.0) -> None:
        codes, scale = quantize_rows(weight)
        self.tensors[f"{name}.weight"] = codes
        self.floats(f"{name}.scale", torch.from_numpy(scale) * factor)

    def behind_norm(
        self,
        name: str,
        weight: Tensor,
        gain: Tensor,
        rows: Tensor,
        factor: Tensor | float = 1.0,
    ) -> None:
        """A matrix that reads normalised rows times ``gain``, which joins the balance.

        ``rows`` are its inputs as the float model has them, behind the gain.
        """
        balance = choose(rows, weight)
        balance = balance * (MOST / (gain * balance).abs().amax()).clamp(max=1.0)
        self.matrix(name, weight / balance, factor)
        self.floats(f"{name}.balance", within(gain * balance))


def add_block(
    put: Writer, config: ExactConfig, state: dict[str, Tensor], watch: Watch, i: int
) -> None:
    H, G, C = config.n_heads, config.n_kv_heads, config.head_dim
    layer, block = f"model.layers.{i}", f"blocks.{i}"
    attention, mlp = f"{layer}.self_attn", f"{layer}.mlp"
    q, k, v = (state[f"{attention}.{name}_proj.weight"] for name in "qkv")
    # Factors by channel of queries (H * C), keys (G * C) and values.
    for_q, for_k = torch.ones(H * C), torch.ones(G * C)
    if config.qk_norm:
        q_norm, k_norm = (state[f"{attention}.{name}_norm.weight"] for name in "qk")
        move = pair_factors(*(watch.tops[f"{attention}.{name}_norm"] for name in "qk"))
        put.floats(f"{block}.q_norm", within(q_norm * move))
        put.floats(f"{block}.k_norm", within(k_norm / move))
    else:
        top_q = watch.tops[f"{attention}.q_proj"].view(G, H // G, C).amax(1)
        move = pair_factors(top_q, watch.tops[f"{attention}.k_proj"].view(G, C))  # (G, C)
        for_q = move[:, None].expand(G, H // G, C).reshape(-1)
        for_k = 1 / move.reshape(-1)
    # Value of one code, by channel. A channel that was silent in calibration still needs a scale
    # (its row's, over this) that exact arithmetic allows.
    top_v = watch.tops[f"{attention}.v_proj"]
    step = torch.maximum(top_v * (VALUE_HEADROOM / 127), steps(v, 1)[:, 0] * (2 / MAX_SCALE))
    factor = torch.cat((for_q, for_k, 1 / step))
    qkv, gain = torch.cat((q, k, v)), state[f"{layer}.input_layernorm.weight"]
    put.behind_norm(f"{block}.qkv", qkv, gain, watch.rows[f"{attention}.q_proj"], factor)
    if config.qkv_bias:
        bias = torch.cat([state[f"{attention}.{name}_proj.bias"] for name in "qkv"])
        put.bias(f"{block}.qkv.bias", bias * factor)
    by_head = step.view(G, 1, C).expand(G, H // G, C).reshape(-1)
    put.matrix(f"{block}.out", state[f"{attention}.o_proj.weight"] * by_head)
    put.floats(f"{block}.gain", torch.full((H,), LOG2_E * C**-0.5))

    down = state[f"{mlp}.down_proj.weight"]
    balance = choose(watch.rows[f"{mlp}.down_proj"], down)
    put.matrix(f"{block}.down", down / balance)
    both = torch.cat((state[f"{mlp}.gate_proj.weight"], state[f"{mlp}.up_proj.weight"]))
    gain, rows = state[f"{layer}.post_attention_layernorm.weight"], watch.rows[f"{mlp}.gate_proj"]
    put.behind_norm(f"{block}.up", both, gain, rows, torch.cat((torch.ones_like(balance), balance)))


def within(values: Tensor) -> Tensor:
    """Inside the bounds of an engine's scales, with their signs."""
    return torch.where(values < 0, -1.0, 1.0) * values.abs().clamp(MIN_SCALE, MAX_SCALE)
