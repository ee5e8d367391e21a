"""The exact reference engine: the byte Transformer in integers, readable, on any torch device.

One function, ``State.advance``, serves both directions: the encoder passes many positions at
once, the decoder one, and both get the same integers, because every sum runs over integers and
everything else is elementwise (``exact.py``). The native engine must equal it bit for bit.

Shapes: B lanes, T positions, D = d_model, H heads, G key/value heads, C = head_dim.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nncodec.config import BEGIN_OF_BLOCK
from nncodec.engine.exact import (
    counts_from_logits,
    divide,
    exp2,
    matmul,
    normalize,
    product,
    quantize,
)
from nncodec.engine_weights import EngineModel
from nncodec.lanes import Engine
from nncodec.numerics import ATTENTION_ONE, ngram_row, rope_table


class ReferenceEngine(Engine):
    """A model's weights on a device. ``start()`` gives the state at the beginning of a block."""

    def __init__(self, model: EngineModel, device: str | torch.device = "cpu") -> None:
        self.config = model.config
        self.device = torch.device(device)
        self.tensors = {  # int8 codes become float32 once: see exact.matmul
            name: torch.from_numpy(np.array(value)).to(self.device, torch.float32)
            for name, value in model.tensors.items()
        }
        tables = rope_table(self.config.rope_period)
        self.cos, self.sin = (torch.from_numpy(t).to(self.device) for t in tables)
        self.turns = torch.tensor(self.config.rope_multipliers, device=self.device)

    def start(self) -> State:
        return State(self, lanes=1)

    def project(self, name: str, codes: Tensor) -> Tensor:
        """Integer product with a weight matrix, times its scale per output channel."""
        return matmul(codes, self.tensors[f"{name}.weight"]) * self.tensors[f"{name}.scale"]


class KeyValueCache:
    """Codes of the last positions of one layer, in a buffer that is compacted when it fills.

    keys, values: (B, G, capacity, C); key_scales: (B, G, capacity).
    """

    def __init__(self, engine: ReferenceEngine, window: int, lanes: int) -> None:
        G, C = engine.config.n_kv_heads, engine.config.head_dim
        self.window, self.length = window, 0
        empty = torch.zeros(lanes, G, 0, C, device=engine.device, dtype=torch.float32)
        self.keys, self.values, self.key_scales = empty, empty, empty[..., 0]

    def append(self, keys: Tensor, values: Tensor, key_scales: Tensor) -> tuple[Tensor, ...]:
        """Add T positions; return what their queries may see: at most window - 1 + T positions."""
        T = keys.shape[2]
        keep = min(self.length, self.window - 1)
        if self.length + T > self.keys.shape[2]:
            capacity = keep + T + 4 * self.window
            for name in ("keys", "values", "key_scales"):
                old = getattr(self, name)
                new = old.new_zeros(*old.shape[:2], capacity, *old.shape[3:])
                new[:, :, :keep] = old[:, :, self.length - keep : self.length]
                setattr(self, name, new)
            self.length = keep
        end = self.length + T
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.key_scales[:, :, self.length : end] = key_scales
        self.length = end
        seen = slice(end - keep - T, end)
        return self.keys[:, :, seen], self.values[:, :, seen], self.key_scales[:, :, seen]

    def fork(self, lanes: int) -> None:
        for name in ("keys", "values", "key_scales"):
            old = getattr(self, name)
            setattr(self, name, old.expand(lanes, *old.shape[1:]).clone())


class State:
    """Where a set of lanes stands: the predictor's two verbs are ``advance`` and ``fork``."""

    def __init__(self, engine: ReferenceEngine, lanes: int) -> None:
        self.engine, self.lanes, self.position = engine, lanes, 0
        self.caches = [KeyValueCache(engine, w, lanes) for w in engine.config.windows]
        past = max(engine.config.ngram_orders, default=1) - 1
        self.recent = torch.full((lanes, past), BEGIN_OF_BLOCK, device=engine.device)

    def fork(self, lanes: int) -> None:
        """Turn a state of one lane into ``lanes`` lanes with the same past."""
        if self.lanes != 1:
            raise ValueError(f"only a state of one lane can fork, this one has {self.lanes}")
        self.lanes = lanes
        self.recent = self.recent.expand(lanes, -1)
        for cache in self.caches:
            cache.fork(lanes)

    @torch.inference_mode()
    def advance(self, tokens: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
        """Feed (B, T) tokens in [0, 256]; get (B, T, 256) counts of the byte that follows each.

        Counts are at least 1 and sum to 2^24. Raises ValueError for a wrong shape or token.
        """
        if tokens.ndim != 2 or tokens.shape[0] != self.lanes:
            raise ValueError(f"tokens of shape {tokens.shape} for {self.lanes} lanes")
        if tokens.size == 0:
            return np.empty((*tokens.shape, 256), dtype=np.int32)
        if int(tokens.min()) < 0 or int(tokens.max()) > BEGIN_OF_BLOCK:
            raise ValueError(f"tokens must lie in 0..{BEGIN_OF_BLOCK}")
        device = self.engine.device
        with torch.autocast(device.type, enabled=False):  # a caller's autocast would change bits
            logits = self.logits(torch.from_numpy(tokens.astype(np.int64)).to(device))
            counts: npt.NDArray[np.int32] = counts_from_logits(logits).to(torch.int32).cpu().numpy()
        return counts

    def logits(self, tokens: Tensor) -> Tensor:
        """(B, T) -> (B, T, 256) base-2 logits, float32, exact."""
        engine, T = self.engine, tokens.shape[1]
        x = engine.tensors["embed.weight"][tokens]  # (B, T, D)
        x = x * engine.tensors["embed.scale"][tokens][..., None]
        if engine.config.ngram_orders:
            x = x + self.ngrams(tokens)
        t = torch.arange(self.position, self.position + T, device=engine.device)
        angle = (t[:, None] * engine.turns) % engine.config.rope_period  # (T, C/2)
        cos, sin = engine.cos[angle][:, None], engine.sin[angle][:, None]  # (T, 1, C/2)
        for layer, cache in enumerate(self.caches):
            x = x + self.attention(f"blocks.{layer}", x, cos, sin, cache)
            x = x + self.mlp(f"blocks.{layer}", x)
        self.position += T
        codes, scale = normalize(x)
        y = matmul(codes, engine.tensors["head.weight"]) * scale
        return y * engine.tensors["head.scale"]

    def ngrams(self, tokens: Tensor) -> Tensor:
        """(B, T) -> (B, T, D): what the n-grams that end at each token add to its embedding."""
        config, T, past = self.engine.config, tokens.shape[1], self.recent.shape[1]
        whole = torch.cat((self.recent, tokens), 1)
        self.recent = whole[:, T:]
        codes = []
        for k, order in enumerate(config.ngram_orders):
            gram = [whole[:, past - i : past - i + T] for i in reversed(range(order))]
            rows = (k << config.ngram_bits) + ngram_row(gram, config.ngram_bits)
            codes.append(self.engine.tensors["ngrams.table"][rows])  # (B, T, W)
        return self.engine.project("ngrams.proj", torch.cat(codes, -1))

    def attention(
        self, block: str, x: Tensor, cos: Tensor, sin: Tensor, cache: KeyValueCache
    ) -> Tensor:
        config, weights = self.engine.config, self.engine.tensors
        H, G, C = config.n_heads, config.n_kv_heads, config.head_dim
        B, T, _ = x.shape
        codes, scale = normalize(x)
        acc = matmul(codes, weights[f"{block}.qkv.weight"])  # (B, T, (H + 2G) * C)
        # Queries and keys are normalised again, so the token's scale would cancel: left out.
        u = acc * weights[f"{block}.qkv.scale"]
        qk = u[..., : (H + G) * C].view(B, T, H + G, C)
        a, b = qk[..., : C // 2], qk[..., C // 2 :]
        qk, qk_scale = normalize(torch.cat((a * cos - b * sin, a * sin + b * cos), -1))
        q, k = qk[:, :, :H].transpose(1, 2), qk[:, :, H:].transpose(1, 2)  # (B, heads, T, C)
        qk_scale = qk_scale[..., 0].transpose(1, 2)  # (B, H + G, T)
        v = (u[..., (H + G) * C :] * scale).round().clamp(-127, 127)
        k, v, k_scale = cache.append(
            k, v.view(B, T, G, C).transpose(1, 2), qk_scale[:, H:]
        )  # (B, G, S, C)
        S = k.shape[2]

        q = q.reshape(B, G, H // G * T, C)
        scores = product(q, k.transpose(-1, -2), 127 * 127).view(B, G, H // G, T, S)
        q_scale = qk_scale[:, :H] * weights[f"{block}.gain"][:, None]
        z = scores * k_scale[:, :, None, None, :]
        z = z * q_scale.view(B, G, H // G, T, 1)
        age = torch.arange(S - T, S, device=x.device)[:, None] - torch.arange(S, device=x.device)
        unseen = (age < 0) | (age >= cache.window)  # (T, S)
        z = z.masked_fill(unseen, float("-inf"))
        p = exp2(z - z.amax(-1, keepdim=True)).masked_fill(unseen, 0.0)
        w = (p * float(ATTENTION_ONE)).round()  # (B, G, H/G, T, S), integers
        mixed = product(w.view(B, G, H // G * T, S), v, ATTENTION_ONE * 127)
        total = w.sum(-1)  # integers below 2^24: exact in any order
        y = mixed.view(B, H, T, C) * divide(1.0, total).view(B, H, T, 1)
        codes, top = quantize(y.transpose(1, 2).reshape(B, T, H * C))
        scale = top / torch.full_like(top, 127.0)
        y = matmul(codes, weights[f"{block}.out.weight"]) * scale
        return y * weights[f"{block}.out.scale"]

    def mlp(self, block: str, x: Tensor) -> Tensor:
        weights = self.engine.tensors
        codes, scale = normalize(x)
        u = self.engine.project(f"{block}.up", codes).clamp(min=0.0)  # token scale applied below
        codes, top = quantize(u * u)
        s = top / torch.full_like(top, 127.0)
        s = s * scale
        s = s * scale
        y = matmul(codes, weights[f"{block}.down.weight"]) * s
        return y * weights[f"{block}.down.scale"]
