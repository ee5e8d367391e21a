"""The exact reference engine of the Llama family: integers, readable, on any torch device.

``docs/FORMAT-tokens.md`` is its specification; the native engine equals it bit for bit. Positions
may come many at once or one by one, with the same result, as in ``engine/reference.py``.

Shapes: B lanes, T positions, D = d_model, H heads, G key/value heads, C = head_dim, K symbols.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nncodec.causal.exact.arithmetic import (
    clamp,
    inverse_rms,
    normalize_balanced,
    silu,
    wide_counts,
)
from nncodec.causal.exact.weights import ExactModel
from nncodec.engine.exact import divide, exp2, matmul, product, quantize
from nncodec.numerics import attention_one, rope_table


class ReferenceEngine:
    """A model's weights on a device. ``start()`` gives an empty context of one lane."""

    def __init__(self, model: ExactModel, device: str | torch.device = "cpu") -> None:
        self.config = model.config
        self.device = torch.device(device)
        self.tensors = {  # int8 codes become float32 once: see exact.matmul
            name: torch.from_numpy(np.array(value)).to(self.device, torch.float32)
            for name, value in model.tensors.items()
            if not name.startswith("tokens.")
        }
        tables = rope_table(self.config.rope_period)
        self.cos, self.sin = (torch.from_numpy(t).to(self.device) for t in tables)
        self.turns = torch.tensor(self.config.rope_multipliers, device=self.device)

    def start(self) -> State:
        return State(self)


class Past:
    """Codes of the positions so far, of one layer: keys, values (B, G, S, C), scales (B, G, S)."""

    def __init__(self, engine: ReferenceEngine) -> None:
        G, C = engine.config.n_kv_heads, engine.config.head_dim
        self.keys = torch.zeros(1, G, 0, C, device=engine.device)
        self.values, self.key_scales = self.keys, self.keys[..., 0]

    def append(self, keys: Tensor, values: Tensor, key_scales: Tensor) -> None:
        self.keys = torch.cat((self.keys, keys), 2)
        self.values = torch.cat((self.values, values), 2)
        self.key_scales = torch.cat((self.key_scales, key_scales), 2)

    def fork(self, lanes: int) -> None:
        for name in ("keys", "values", "key_scales"):
            old = getattr(self, name)
            setattr(self, name, old.expand(lanes, *old.shape[1:]))


class State:
    """The contexts of a set of lanes, all of one length."""

    def __init__(self, engine: ReferenceEngine) -> None:
        self.engine, self.lanes, self.position = engine, 1, 0
        self.past = [Past(engine) for _ in range(engine.config.n_layers)]

    def fork(self, lanes: int) -> None:
        """Turn a state of one lane into ``lanes`` lanes with the same past."""
        if self.lanes != 1:
            raise ValueError(f"only a state of one lane can fork, this one has {self.lanes}")
        self.lanes = lanes
        for past in self.past:
            past.fork(lanes)

    @torch.inference_mode()
    def advance(
        self, tokens: npt.NDArray[np.integer], wanted: int | None = None
    ) -> npt.NDArray[np.uint32]:
        """Feed (B, T) token ids; get (B, W, K) counts of the symbol behind each of the last
        ``wanted`` = W ones (all T of them if it is None).

        Counts are at least 1 and sum to 2^32. Raises ValueError for a wrong shape or token, and
        for more positions than the context has.
        """
        config, wanted = self.engine.config, tokens.shape[-1] if wanted is None else wanted
        if tokens.ndim != 2 or tokens.shape[0] != self.lanes:
            raise ValueError(f"tokens of shape {tokens.shape} for {self.lanes} lanes")
        if not 0 <= wanted <= tokens.shape[1]:
            raise ValueError(f"counts of {wanted} positions wanted, tokens have {tokens.shape[1]}")
        if tokens.size == 0:
            return np.empty((self.lanes, 0, config.n_symbols), np.uint32)
        if int(tokens.min()) < 0 or int(tokens.max()) >= config.vocab_size:
            raise ValueError(f"tokens must lie in 0..{config.vocab_size - 1}")
        if self.position + tokens.shape[1] > config.context:
            raise ValueError(f"the context of {config.context} positions is full")
        device = self.engine.device
        with torch.autocast(device.type, enabled=False):  # a caller's autocast would change bits
            ids = torch.from_numpy(tokens.astype(np.int64)).to(device)
            counts = wide_counts(self.logits(ids, wanted))
        return counts.cpu().numpy().astype(np.uint32)

    def logits(self, tokens: Tensor, wanted: int) -> Tensor:
        """(B, T) -> (B, W, K) base-2 logits of the last W positions, float32, exact."""
        engine, T = self.engine, tokens.shape[1]
        weights, (eps, _) = engine.tensors, engine.tensors["eps"]
        x = weights["embed.weight"][tokens]  # (B, T, D)
        x = x * weights["embed.scale"][tokens][..., None]
        t = torch.arange(self.position, self.position + T, device=engine.device)
        angle = (t[:, None] * engine.turns) % engine.config.rope_period  # (T, C/2)
        cos, sin = engine.cos[angle][:, None], engine.sin[angle][:, None]  # (T, 1, C/2)
        for layer, past in enumerate(self.past):
            block = f"blocks.{layer}"
            codes, scale = normalize_balanced(x, weights[f"{block}.qkv.balance"], eps)
            x = x + self.attention(block, codes, scale, cos, sin, past)
            codes, scale = normalize_balanced(x, weights[f"{block}.up.balance"], eps)
            x = x + self.mlp(block, codes, scale)
        self.position += T
        x = x[:, T - wanted :]
        codes, scale = normalize_balanced(x, weights["head.balance"], eps)
        return self.project("head", codes, scale)

    def project(self, name: str, codes: Tensor, scale: Tensor) -> Tensor:
        """Integer product with a matrix, times the rows' scales, times the channels'."""
        weights = self.engine.tensors
        return (matmul(codes, weights[f"{name}.weight"]) * scale) * weights[f"{name}.scale"]

    def attention(
        self, block: str, codes: Tensor, scale: Tensor, cos: Tensor, sin: Tensor, past: Past
    ) -> Tensor:
        config, weights = self.engine.config, self.engine.tensors
        H, G, C = config.n_heads, config.n_kv_heads, config.head_dim
        B, T, _ = codes.shape
        u = self.project(f"{block}.qkv", codes, scale)  # (B, T, (H + 2G) * C)
        if config.qkv_bias:
            u = u + weights[f"{block}.qkv.bias"]
        qk = u[..., : (H + G) * C].view(B, T, H + G, C)
        if config.qk_norm:
            gain = torch.cat(
                (
                    weights[f"{block}.q_norm"].expand(H, C),
                    weights[f"{block}.k_norm"].expand(G, C),
                )
            )
            qk = qk * inverse_rms(qk, weights["eps"][1])
            qk = qk * gain
        a, b = qk[..., : C // 2], qk[..., C // 2 :]
        qk, top = quantize(torch.cat((a * cos - b * sin, a * sin + b * cos), -1))
        qk_scale = (top / torch.full_like(top, 127.0))[..., 0].transpose(1, 2)  # (B, H + G, T)
        q, k = qk[:, :, :H].transpose(1, 2), qk[:, :, H:].transpose(1, 2)  # (B, heads, T, C)
        v = u[..., (H + G) * C :].round().clamp(-127, 127).view(B, T, G, C).transpose(1, 2)
        past.append(k, v, qk_scale[:, H:])
        S = past.keys.shape[2]

        q = q.reshape(B, G, H // G * T, C)
        scores = product(q, past.keys.transpose(-1, -2), 127 * 127).view(B, G, H // G, T, S)
        q_scale = qk_scale[:, :H] * weights[f"{block}.gain"][:, None]
        z = scores * past.key_scales[:, :, None, None, :]
        z = z * q_scale.view(B, G, H // G, T, 1)
        unseen = torch.ones(T, S, dtype=torch.bool, device=z.device).triu(S - T + 1)
        z = z.masked_fill(unseen, float("-inf"))
        p = exp2(z - z.amax(-1, keepdim=True)).masked_fill(unseen, 0.0)
        w = (p * float(attention_one(config.context))).round()  # integers, sum below 2^24
        mixed = (w.view(B, G, H // G * T, S).double() @ past.values.double()).float()  # < 2^53
        y = mixed.view(B, H, T, C) * divide(1.0, w.sum(-1)).view(B, H, T, 1)
        codes, top = quantize(y.transpose(1, 2).reshape(B, T, H * C))
        return self.project(f"{block}.out", codes, top / torch.full_like(top, 127.0))

    def mlp(self, block: str, codes: Tensor, scale: Tensor) -> Tensor:
        gate, up = self.project(f"{block}.up", codes, scale).chunk(2, -1)
        codes, top = quantize(clamp(silu(gate) * up))
        return self.project(f"{block}.down", codes, top / torch.full_like(top, 127.0))
