"""A second engine, slow and plain, written from the description: it must give the same integers.

numpy only. Sums run over int64; all else is one binary32 operation a line, element by element.
It keeps no cache and knows no batches: every position looks back at whole sequences.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from helpers import tiny_float_model

from nncodec.config import BEGIN_OF_BLOCK, ModelConfig
from nncodec.engine.reference import ReferenceEngine
from nncodec.engine_weights import EngineModel
from nncodec.lm.export import export

f32 = np.float32
Array = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


def codes_of(x: Array) -> tuple[Integers, np.float32]:
    """int8 codes of a vector by its largest element, and that element."""
    top = max(np.abs(x).max(), f32(2.0**-40))
    return np.rint(x * (f32(127) / top)).astype(np.int64), top


def norm(x: Array) -> tuple[Integers, np.float32]:
    """Codes of a vector, and the scale that makes their root mean square one."""
    codes, _ = codes_of(x)
    squares = f32(max(1, int((codes * codes).sum())))
    return codes, f32(math.sqrt(float(f32(len(x)) / squares)))


def integer_product(weight: npt.NDArray[np.int8], codes: Integers) -> Array:
    return (weight.astype(np.int64) @ codes).astype(f32)


def power_of_two(x: np.float32) -> np.float32:
    x = max(x, f32(-24))
    whole = np.rint(x)
    f = f32(x - whole)
    y = f32(f * f32(float.fromhex("0x1.c3f754p-5")))
    y = f32(f32(y + f32(float.fromhex("0x1.f0de1ap-3"))) * f)
    y = f32(f32(y + f32(float.fromhex("0x1.62f31ap-1"))) * f)
    y = f32(y + f32(float.fromhex("0x1.fff692p-1")))
    return f32(y * f32(2.0 ** int(whole)))


class PlainModel:
    def __init__(self, model: EngineModel) -> None:
        self.config, self.tensors = model.config, model.tensors

    def linear(self, name: str, codes: Integers, scale: np.float32) -> Array:
        """Integer product, times the token's scale, times each channel's."""
        y = integer_product(self.tensors[f"{name}.weight"], codes) * scale
        return y * self.tensors[f"{name}.scale"]

    def counts(self, tokens: list[int]) -> list[list[int]]:
        rows = [
            self.tensors["embed.weight"][t].astype(f32) * self.tensors["embed.scale"][t]
            for t in tokens
        ]
        if self.config.ngram_orders:
            rows = [x + self.ngrams(tokens[: i + 1]) for i, x in enumerate(rows)]
        for layer in range(len(self.config.windows)):
            heard = self.attention(layer, rows)
            rows = [x + y for x, y in zip(rows, heard, strict=True)]
            rows = [x + self.mlp(layer, x) for x in rows]
        return [self.distribution(self.linear("head", *norm(x))) for x in rows]

    def ngrams(self, tokens: list[int]) -> Array:
        """What the n-grams at the end of ``tokens`` add to the last one's embedding."""
        padded = [BEGIN_OF_BLOCK] * 8 + tokens
        codes: list[int] = []
        for table, order in enumerate(self.config.ngram_orders):
            h = order
            for token in padded[-order:]:
                h = (h * 0x2F0B4C47 + token + 1) % 2**32
            h = (h ^ h >> 15) * 0x2C1B3C6D % 2**32
            row = table * 2**self.config.ngram_bits + (h >> 32 - self.config.ngram_bits)
            codes += self.tensors["ngrams.table"][row].tolist()
        return self.linear("ngrams.proj", np.array(codes), f32(1))

    def rotated(self, pair_halves: Array, position: int) -> Array:
        a, b = np.split(pair_halves, 2)
        period = self.config.rope_period
        turns = [position * m % period for m in self.config.rope_multipliers]
        cos = np.array(
            [round(2**14 * math.cos(2 * math.pi * t / period)) for t in turns], dtype=f32
        )
        sin = np.array(
            [round(2**14 * math.sin(2 * math.pi * t / period)) for t in turns], dtype=f32
        )
        cos, sin = cos / f32(2**14), sin / f32(2**14)
        return np.concatenate((a * cos - b * sin, a * sin + b * cos))

    def attention(self, layer: int, rows: list[Array]) -> list[Array]:
        H, G, C = self.config.n_heads, self.config.n_kv_heads, self.config.head_dim
        name = f"blocks.{layer}"
        queries, keys, values = [], [], []
        for position, x in enumerate(rows):
            codes, scale = norm(x)
            u = integer_product(self.tensors[f"{name}.qkv.weight"], codes)
            u = u * self.tensors[f"{name}.qkv.scale"]
            heads = [u[i * C : (i + 1) * C] for i in range(H + 2 * G)]
            turned = [norm(self.rotated(h, position)) for h in heads[: H + G]]
            queries.append(turned[:H])
            keys.append(turned[H:])
            coded = [np.clip(np.rint(h * scale), -127, 127) for h in heads[H + G :]]
            values.append([v.astype(np.int64) for v in coded])
        out = []
        for t in range(len(rows)):
            first = max(0, t - self.config.windows[layer] + 1)
            heads = []
            for h in range(H):
                g = h // (H // G)
                codes, scale = queries[t][h]
                scale = f32(scale * self.tensors[f"{name}.gain"][h])
                z = [
                    f32(f32(f32(int(codes @ key)) * key_scale) * scale)
                    for key, key_scale in (keys[s][g] for s in range(first, t + 1))
                ]
                w = [int(np.rint(f32(power_of_two(f32(v - max(z))) * f32(255)))) for v in z]
                mixed = sum(w[s - first] * values[s][g] for s in range(first, t + 1))
                heads.append(mixed.astype(f32) * (f32(1) / f32(sum(w))))
            codes, top = codes_of(np.concatenate(heads))
            out.append(self.linear(f"{name}.out", codes, top / f32(127)))
        return out

    def mlp(self, layer: int, x: Array) -> Array:
        name = f"blocks.{layer}"
        codes, scale = norm(x)
        u = integer_product(self.tensors[f"{name}.up.weight"], codes)
        u = np.maximum(u * self.tensors[f"{name}.up.scale"], f32(0))
        codes, top = codes_of(u * u)
        return self.linear(f"{name}.down", codes, f32(f32(f32(top / f32(127)) * scale) * scale))

    def distribution(self, z: Array) -> list[int]:
        mass = [int(np.rint(f32(power_of_two(f32(v - z.max())) * f32(2**23)))) for v in z]
        share = ((2**24 - 256) << 32) // sum(mass)
        counts = [1 + (m * share >> 32) for m in mass]
        counts[mass.index(max(mass))] += 2**24 - sum(counts)
        return counts


def assert_engines_agree(model: EngineModel, tokens: list[int]) -> None:
    state = ReferenceEngine(model).start()
    got = state.advance(np.array([tokens]))[0].tolist()
    assert got == PlainModel(model).counts(tokens)


def test_plain_engine_gives_the_same_counts(tiny_model: EngineModel) -> None:
    assert_engines_agree(tiny_model, [BEGIN_OF_BLOCK, *b"It is a truth that", 0, 255])


def test_plain_engine_agrees_on_grouped_heads_and_odd_sizes() -> None:
    """Two key/value heads of two queries each, no powers of two, a negative gain, n-grams."""
    config = ModelConfig(
        d_model=20,
        n_heads=4,
        n_kv_heads=2,
        head_dim=6,
        d_ff=33,
        windows=(1, 7, 3),
        rope_period=100,
        ngram_orders=(8, 1, 3),
        ngram_bits=4,
        ngram_width=3,
    )
    model = tiny_float_model(5, config)
    with torch.no_grad():
        model.blocks[1].attention.gain[2] = -1.5
        model.blocks[2].attention.gain.mul_(20)  # almost all weight on one key
    exported = export(model, np.random.default_rng(0).integers(0, 257, (2, 40)))
    tokens = np.random.default_rng(1).integers(0, 257, 24).tolist()
    assert_engines_agree(exported, tokens)


@pytest.mark.parametrize("depth", [1100])
def test_plain_engine_agrees_on_sums_beyond_24_bits(depth: int) -> None:
    """Rows longer than float32 can sum exactly take the split product."""
    config = ModelConfig(
        d_model=depth, n_heads=1, n_kv_heads=1, head_dim=8, d_ff=8, windows=(3,), rope_period=64
    )
    exported = export(tiny_float_model(6, config), np.zeros((1, 4), np.int64))
    exported.tensors["head.weight"][:] = 127
    exported.tensors["blocks.0.qkv.weight"][:] = -127
    assert_engines_agree(exported, [BEGIN_OF_BLOCK, 1, 2, 3])
