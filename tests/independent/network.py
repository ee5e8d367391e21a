"""The network's arithmetic (FORMAT-network.md, "Arithmetic" to "Counts"), for lanes side by side.

Arrays have the lanes first. Integer sums are taken in floating point that holds them exactly;
all else is float32, one numpy operation for each operation of the specification.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Exact = npt.NDArray[Any]  # integers, in float32 or float64

f32 = np.float32
EXP2 = [f32(float.fromhex(c)) for c in ("0x1.c3f754p-5", "0x1.f0de1ap-3", "0x1.62f31ap-1")]
EXP2_LAST = f32(float.fromhex("0x1.fff692p-1"))


@dataclass(frozen=True)
class Config:
    """config.json's fields."""

    vocab_size: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ff: int
    windows: list[int]
    rope_period: int
    rope_multipliers: list[int]
    ngram_orders: list[int]
    ngram_bits: int
    ngram_width: int


def exact_type(terms: int, most: int) -> type[np.float32] | type[np.float64]:
    """A type in which so many products of at most this size can be summed without rounding."""
    return np.float32 if terms * most < 2**24 else np.float64


def largest(x: Floats) -> Floats:
    """`top`, over the last axis, which it keeps with the length 1."""
    top: Floats = np.maximum(np.abs(x).max(axis=-1, keepdims=True), f32(2.0**-40))
    return top


def quantize(x: Floats) -> tuple[Floats, Floats]:
    """Codes and top, over the last axis."""
    top = largest(x)
    r = f32(127) / top
    q: Floats = np.rint(x * r)
    return q, top


def normalize(x: Floats) -> tuple[Floats, Floats]:
    """Codes and scale, over the last axis."""
    q, _ = quantize(x)
    ss = np.maximum(np.square(q.astype(np.float64)).sum(axis=-1, keepdims=True), 1)
    scale: Floats = np.sqrt(f32(x.shape[-1]) / ss.astype(np.float32))
    return q, scale


def exp2(x: Floats, floor: int = -24) -> Floats:
    x = np.maximum(x, f32(floor))
    w = np.rint(x)
    f = x - w
    y = f * EXP2[0]
    y = y + EXP2[1]
    y = y * f
    y = y + EXP2[2]
    y = y * f
    y = y + EXP2_LAST
    power: Floats = np.ldexp(y, w.astype(np.int32))
    return power


def rotary_table(period: int) -> tuple[Floats, Floats]:
    """cosine and sine."""
    q = period // 4
    c = [round(2**14 * math.cos(2 * math.pi * j / period)) for j in range(q)]
    half = c + [0] + [-c[2 * q - j] for j in range(q + 1, 2 * q)]
    cosine = np.array(half + [-k for k in half], np.float32) * f32(2.0**-14)
    return cosine, np.roll(cosine, q)


class Matrix:
    """Weights and scales; "product"."""

    def __init__(self, tensors: Mapping[str, npt.NDArray[Any]], name: str) -> None:
        weight = tensors[f"{name}.weight"]
        self.weight = weight.astype(exact_type(weight.shape[1], 127 * 127)).T
        self.scale = tensors[f"{name}.scale"]

    def product(self, q: Floats) -> Floats:
        sums: Exact = q.astype(self.weight.dtype) @ self.weight
        return sums.astype(np.float32)


class Layer:
    """Weights of a layer."""

    def __init__(self, tensors: Mapping[str, npt.NDArray[Any]], i: int, window: int) -> None:
        self.window = window
        self.gain: Floats = tensors[f"blocks.{i}.gain"]
        names = ("qkv", "out", "up", "down")
        self.qkv, self.out, self.up, self.down = (Matrix(tensors, f"blocks.{i}.{n}") for n in names)


class Cache:
    """Keys and values of a layer's window, of each lane; position p lies at p mod window."""

    def __init__(self, keys: Floats, scales: Floats, values: Exact) -> None:
        self.keys, self.scales, self.values = keys, scales, values

    @staticmethod
    def empty(config: Config, window: int) -> "Cache":
        shape = (1, config.n_kv_heads, window, config.head_dim)
        values = np.zeros(shape, exact_type(window, 255 * 127))
        return Cache(np.zeros(shape, np.float32), np.zeros(shape[:3], np.float32), values)


@dataclass
class State:
    """State of some lanes, which are all at the same position ("State")."""

    t: int
    inputs: npt.NDArray[np.int64]
    caches: list[Cache]

    @staticmethod
    def copies(one: "State", lanes: int) -> "State":
        """As many lanes like the first one."""

        def repeat(a: npt.NDArray[Any]) -> npt.NDArray[Any]:
            return np.repeat(a[:1], lanes, axis=0)

        caches = [Cache(repeat(c.keys), repeat(c.scales), repeat(c.values)) for c in one.caches]
        return State(one.t, repeat(one.inputs), caches)


class Network:
    """The network of a model folder."""

    def __init__(self, config: Config, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
        self.config = config
        self.embedding = Matrix(tensors, "embed")
        self.layers = [Layer(tensors, i, w) for i, w in enumerate(config.windows)]
        self.head = Matrix(tensors, "head")
        if config.ngram_orders:
            self.table = tensors["ngrams.table"]
            self.projection = Matrix(tensors, "ngrams.proj")
        self.cosine, self.sine = rotary_table(config.rope_period)

    def new_state(self) -> State:
        """Of one lane, before its first input."""
        inputs = np.full((1, max(self.config.ngram_orders, default=1)), 256)
        return State(0, inputs, [Cache.empty(self.config, w) for w in self.config.windows])

    def read(self, state: State, tokens: Sequence[int]) -> npt.NDArray[np.int64]:
        """One input of each of the state's first lanes, to the counts behind it ("One input")."""
        lanes = len(tokens)
        state.inputs[:lanes, :-1] = state.inputs[:lanes, 1:]
        state.inputs[:lanes, -1] = tokens
        x = self.embed(state.inputs[:lanes])
        for layer, cache in zip(self.layers, state.caches, strict=True):
            x = self.attend(layer, cache, state.t, x)
            x = self.feed_forward(layer, x)
        state.t += 1
        return self.counts(x)

    def embed(self, inputs: npt.NDArray[np.int64]) -> Floats:
        """ "Embedding"; inputs are the last ones of each lane, the newest last."""
        token = inputs[:, -1]
        weight = self.embedding.weight.T[token].astype(np.float32)
        x: Floats = weight * self.embedding.scale[token, None]
        if not self.config.ngram_orders:
            return x
        rows = []
        for k, order in enumerate(self.config.ngram_orders):
            h: npt.NDArray[Any] = np.full(len(inputs), order, np.uint64)
            for u in inputs[:, -order:].T.astype(np.uint64):
                h = (h * 0x2F0B4C47 + u + 1) % 2**32
            h = (h ^ h >> 15) * 0x2C1B3C6D % 2**32
            rows.append(k * 2**self.config.ngram_bits + (h >> (32 - self.config.ngram_bits)))
        q = self.table[np.stack(rows, axis=1)].reshape(len(inputs), -1).astype(np.float32)
        return x + self.projection.product(q) * self.projection.scale

    def rotate(self, v: Floats, t: int) -> Floats:
        """Query and key heads at position t."""
        angles = t * np.array(self.config.rope_multipliers) % self.config.rope_period
        c, d = self.cosine[angles], self.sine[angles]
        half = self.config.head_dim // 2
        a, b = v[..., :half], v[..., half:]
        return np.concatenate([a * c - b * d, a * d + b * c], axis=-1)

    def attend(self, layer: Layer, cache: Cache, t: int, x: Floats) -> Floats:
        """ "Each layer: attention"."""
        heads, groups, c = self.config.n_heads, self.config.n_kv_heads, self.config.head_dim
        lanes = len(x)
        q, s = normalize(x)
        u = (layer.qkv.product(q) * layer.qkv.scale).reshape(lanes, -1, c)
        codes, scales = normalize(self.rotate(u[:, : heads + groups], t))
        values = np.rint(np.clip(u[:, heads + groups :] * s[:, None], f32(-127), f32(127)))
        slot, size = t % layer.window, min(t + 1, layer.window)
        cache.keys[:lanes, :, slot] = codes[:, heads:]
        cache.scales[:lanes, :, slot] = scales[:, heads:, 0]
        cache.values[:lanes, :, slot] = values
        keys, key_scales = cache.keys[:lanes, :, :size], cache.scales[:lanes, :, None, :size]
        queries = codes[:, :heads].reshape(lanes, groups, -1, c)
        e = scales[:, :heads] * layer.gain[:, None]
        scores = queries @ keys.swapaxes(-1, -2)  # below 2^24, so exact
        logits = (scores * key_scales) * e.reshape(lanes, groups, -1, 1)
        top = logits.max(axis=-1, keepdims=True)
        w = np.rint(exp2(logits - top) * f32(255)).astype(cache.values.dtype)
        inv = f32(1) / w.sum(axis=-1, keepdims=True).astype(np.float32)
        sums = w @ cache.values[:lanes, :, :size]
        q, top = quantize((sums.astype(np.float32) * inv).reshape(lanes, -1))
        s = top / f32(127)
        return x + (layer.out.product(q) * s) * layer.out.scale

    def feed_forward(self, layer: Layer, x: Floats) -> Floats:
        """ "Each layer: the rest"."""
        q, s = normalize(x)
        u = np.maximum(layer.up.product(q) * layer.up.scale, f32(0))
        q, top = quantize(u * u)
        s2 = ((top / f32(127)) * s) * s
        return x + (layer.down.product(q) * s2) * layer.down.scale

    def counts(self, x: Floats) -> npt.NDArray[np.int64]:
        """ "Counts"."""
        q, s = normalize(x)
        z = (self.head.product(q) * s) * self.head.scale
        mass = np.rint(exp2(z - z.max(axis=-1, keepdims=True)) * f32(2.0**23)).astype(np.int64)
        share = ((2**24 - 256) << 32) // mass.sum(axis=-1, keepdims=True)
        counts: npt.NDArray[np.int64] = 1 + (mass * share >> 32)
        lanes = np.arange(len(counts))
        counts[lanes, mass.argmax(axis=-1)] += 2**24 - counts.sum(axis=-1)
        return counts
