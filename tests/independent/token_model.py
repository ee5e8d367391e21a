"""The model over tokens (FORMAT-tokens.md, "Contexts of a lane", "Arithmetic" to "Counts").

Floats are binary32, one numpy operation for each operation of the specification. Integer sums are
taken in binary64, which holds all of them exactly (they are below 2^43).
"""

from collections import deque
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .model_file import Tensors
from .network import Floats, exp2, f32, largest, quantize, rotary_table
from .token_folder import Config

Integers = npt.NDArray[np.float64]  # exact ones
Codes = npt.NDArray[np.int8]

LOG2_E = f32(float.fromhex("0x1.715476p+0"))


def inverse_rms(x: Floats, e: np.float32) -> Floats:
    top = largest(x)
    r = f32(32767) / top
    k = np.rint(x * r).astype(np.float64)
    ss = (k * k).sum(axis=-1, keepdims=True).astype(np.float32)
    t = top / f32(32767)
    rms: Floats = np.sqrt(f32(x.shape[-1]) / (((ss * t) * t) + e))
    return rms


def silu(x: Floats) -> Floats:
    e = exp2(-np.abs(x * LOG2_E))
    y: Floats = np.where(x < 0, x * e, x)
    return y / (e + f32(1))


class Matrix:
    """Weights and scales, and what goes with them."""

    def __init__(self, tensors: Tensors, name: str) -> None:
        self.weight = tensors[f"{name}.weight"].astype(np.float64)
        self.scale: Floats = tensors[f"{name}.scale"]
        self.balance: Floats | None = tensors.get(f"{name}.balance")
        self.bias: Floats | None = tensors.get(f"{name}.bias")

    def project(self, q: Floats, s: Floats) -> Floats:
        sums: Integers = self.weight @ q.astype(np.float64)
        u: Floats = (sums.astype(np.float32) * s) * self.scale
        return u


class Layer:
    """Weights of a layer."""

    def __init__(self, tensors: Tensors, c: Config, i: int) -> None:
        names = ("qkv", "out", "up", "down")
        self.qkv, self.out, self.up, self.down = (Matrix(tensors, f"blocks.{i}.{n}") for n in names)
        self.gain: Floats = tensors[f"blocks.{i}.gain"]
        self.norms: Floats | None = None  # of the query heads, then of the key heads
        if c.qk_norm:
            both = [tensors[f"blocks.{i}.{n}"] for n in ("q_norm", "k_norm")]
            self.norms = np.repeat(both, [c.n_heads, c.n_kv_heads], axis=0)


@dataclass
class Cache:
    """Keys and values of a layer, of all positions of a context; groups come first."""

    keys: Codes
    scales: Floats
    values: Codes

    @staticmethod
    def empty(c: Config) -> "Cache":
        shape = (c.n_kv_heads, c.context, c.head_dim)
        return Cache(
            np.zeros(shape, np.int8), np.zeros(shape[:2], np.float32), np.zeros(shape, np.int8)
        )


class Lane:
    """State of a lane ("Order of coding"); of the past only what can be read again."""

    def __init__(self, c: Config) -> None:
        self.past: deque[int] = deque(maxlen=c.overlap)
        self.used = 0
        self.last = c.begin
        self.caches = [Cache.empty(c) for _ in range(c.n_layers)]

    def copy(self) -> "Lane":
        return deepcopy(self)


class Model:
    """The model of a folder."""

    def __init__(self, config: Config, tensors: Tensors) -> None:
        self.config = config
        self.embed = Matrix(tensors, "embed")
        self.head = Matrix(tensors, "head")
        self.layers = [Layer(tensors, config, i) for i in range(config.n_layers)]
        self.eps: Floats = tensors["eps"]
        self.cosine, self.sine = rotary_table(config.rope_period)
        self.one = f32(min(65535, 2**24 // config.context - 1))

    def feed(self, lane: Lane, token: int) -> npt.NDArray[np.int64]:
        """One input, to the counts behind it ("Contexts of a lane")."""
        lane.past.append(token)
        if lane.used < self.config.context:
            x = self.forward(lane, token, lane.used)
            lane.used += 1
        else:
            x = self.forward(lane, self.config.begin, 0)
            for p, earlier in enumerate(lane.past, 1):
                x = self.forward(lane, earlier, p)
            lane.used = self.config.overlap + 1
        return counts(self.logits(x))

    def forward(self, lane: Lane, token: int, p: int) -> Floats:
        """forward() but for its last two lines; positions from p on are forgotten."""
        x: Floats = self.embed.weight[token].astype(np.float32) * self.embed.scale[token]
        for layer, cache in zip(self.layers, lane.caches, strict=True):
            x = x + self.attention(layer, cache, x, p)
            x = x + self.feed_forward(layer, x)
        return x

    def logits(self, x: Floats) -> Floats:
        """The last two lines of forward(): z."""
        return self.head.project(*self.normalize_balanced(x, self.head))

    def normalize_balanced(self, x: Floats, matrix: Matrix) -> tuple[Floats, Floats]:
        assert matrix.balance is not None
        q, top = quantize(x * matrix.balance)
        s: Floats = (top / f32(127)) * inverse_rms(x, self.eps[0])
        return q, s

    def attention(self, layer: Layer, cache: Cache, x: Floats, p: int) -> Floats:
        """ "# attention": o."""
        c = self.config
        u = layer.qkv.project(*self.normalize_balanced(x, layer.qkv))
        if layer.qkv.bias is not None:
            u = u + layer.qkv.bias
        u = u.reshape(-1, c.head_dim)
        v = u[: c.n_heads + c.n_kv_heads]
        if layer.norms is not None:
            v = (v * inverse_rms(v, self.eps[1])) * layer.norms
        code, top = quantize(self.rotate(v, p))
        t: Floats = top[:, 0] / f32(127)
        cache.keys[:, p] = code[c.n_heads :]
        cache.scales[:, p] = t[c.n_heads :]
        cache.values[:, p] = np.clip(np.rint(u[c.n_heads + c.n_kv_heads :]), -127, 127)
        y = self.attend(cache, code[: c.n_heads], t[: c.n_heads] * layer.gain, p)
        q, top = quantize(y)
        return layer.out.project(q, top / f32(127))

    def rotate(self, v: Floats, p: int) -> Floats:
        """Heads at position p."""
        j = p * np.array(self.config.rope_multipliers) % self.config.rope_period
        cosine, sine = self.cosine[j], self.sine[j]
        a, b = np.split(v, 2, axis=1)
        return np.concatenate([(a * cosine) - (b * sine), (a * sine) + (b * cosine)], axis=1)

    def attend(self, cache: Cache, code: Floats, scale: Floats, p: int) -> Floats:
        """y of the query heads' codes; scale is t * gain[h]. Axes are group, head, position."""
        groups = self.config.n_kv_heads
        queries = code.reshape(groups, -1, self.config.head_dim).astype(np.float64)
        keys, key_scale = cache.keys[:, : p + 1], cache.scales[:, None, : p + 1]
        sums = (queries @ keys.swapaxes(1, 2)).astype(np.float32)
        d = (sums * key_scale) * scale.reshape(groups, -1, 1)
        most = d.max(axis=-1, keepdims=True)
        w = np.rint(exp2(d - most) * self.one).astype(np.float64)
        r = f32(1) / w.sum(axis=-1, keepdims=True).astype(np.float32)
        y: Floats = (w @ cache.values[:, : p + 1]).astype(np.float32) * r
        return y.reshape(-1)

    def feed_forward(self, layer: Layer, x: Floats) -> Floats:
        """ "# feed-forward": o."""
        gate, u = np.split(layer.up.project(*self.normalize_balanced(x, layer.up)), 2)
        h = np.clip(silu(gate) * u, f32(-(2.0**20)), f32(2.0**20))
        q, top = quantize(h)
        return layer.down.project(q, top / f32(127))


def counts(z: Floats) -> npt.NDArray[np.int64]:
    """ "Counts"; all products are below 2^61."""
    mass = np.rint(exp2(z - z.max(), -32) * f32(2.0**30)).astype(np.int64)
    share = (2**32 - len(z) << 28) // int(mass.sum())
    count: npt.NDArray[Any] = 1 + (mass * share >> 28)
    count[mass.argmax()] += 2**32 - count.sum()
    return count
