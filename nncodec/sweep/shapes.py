"""From a number of parameters to a model's shape, by one rule for all sizes.

A study of size needs models that differ in size and in nothing else, so the rule keeps their
proportions: width about ``ASPECT`` times the number of layers, an MLP four times as wide as the
model, heads of 32 channels that share one head of keys and values. Widths are multiples of 32,
the MLP's of 16; what the rough widths miss of the target, the MLP's width and the aspect make up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nncodec.config import ModelConfig
from nncodec.errors import SweepError

HEAD_DIM = 32
WIDTH_STEP, FF_STEP = 32, 16
ASPECT = 24  # nano: 128 / 6 = 21; the planned base: 512 / 10 = 51
FF_RATIO = 4
FF_BOUNDS = (2.5, 6.0)  # times the width: farther off, it is another kind of model
TOLERANCE = 0.03  # of the target
LOCAL = 4  # all layers but the last see a quarter of the window
SMALLEST, LARGEST = 20_000, 200_000_000

SHAPE_KEYS = {"d_model", "layers", "n_heads", "n_kv_heads", "head_dim", "d_ff"}
TABLE_KEYS = {"ngram_orders", "ngram_bits", "ngram_width"}


def windows_of(window: int, layers: int) -> tuple[int, ...]:
    """The last layer sees ``window`` positions, those before it a quarter, as nano's do."""
    return (max(1, window // LOCAL),) * (layers - 1) + (window,)


def make_shape(
    values: Mapping[str, Any], window: int, tables: Mapping[str, Any] | None = None
) -> ModelConfig:
    """A shape from ``SHAPE_KEYS``, of which only width and layers must be given.

    Heads are of 32 channels unless told, as many as fill the width; one head of keys and values.
    Raises InvalidModelError for what no model can be.
    """
    width, layers = int(values["d_model"]), int(values["layers"])
    head_dim = int(values.get("head_dim", min(HEAD_DIM, width)))
    return ModelConfig(
        d_model=width,
        n_heads=int(values.get("n_heads", max(1, width // max(1, head_dim)))),
        n_kv_heads=int(values.get("n_kv_heads", 1)),
        head_dim=head_dim,
        d_ff=int(values.get("d_ff", FF_RATIO * width)),
        windows=windows_of(window, layers),
        **(tables or {}),
    )


def choose_shape(target: int, window: int, tables: Mapping[str, Any] | None = None) -> ModelConfig:
    """The shape of about ``target`` parameters, those of n-gram tables and their matrix aside.

    Of all shapes within ``TOLERANCE`` of the target, the one whose aspect and MLP are nearest to
    the rule's, by the sum of the logarithms of what they are off by. Raises SweepError if none is.
    """
    if not SMALLEST <= target <= LARGEST:
        raise SweepError(f"{target} parameters: the rule knows {SMALLEST} to {LARGEST}")
    best = min(candidates(target), default=None)
    if best is None:
        raise SweepError(f"no shape has about {target} parameters; name another number")
    _, width, layers, d_ff = best
    values = {"d_model": width, "layers": layers, "d_ff": d_ff}
    return make_shape(values, window, tables)


def candidates(target: int) -> Iterator[tuple[float, int, int, int]]:
    """(distance from the rule, width, layers, MLP's width) of what hits the target."""
    for width in range(WIDTH_STEP, math.isqrt(target) + 1, WIDTH_STEP):
        for layers in range(1, 65):
            rest = target - parameters(make_shape({"d_model": width, "layers": layers}, 4))
            ideal = FF_RATIO * width + rest / (2 * width * layers)
            d_ff = FF_STEP * round(ideal / FF_STEP)
            if not FF_BOUNDS[0] * width <= d_ff <= FF_BOUNDS[1] * width:
                continue
            config = make_shape({"d_model": width, "layers": layers, "d_ff": d_ff}, 4)
            if abs(parameters(config) / target - 1) > TOLERANCE:
                continue
            aspect = abs(math.log(width / (ASPECT * layers)))
            yield aspect + abs(math.log(d_ff / (FF_RATIO * width))), width, layers, d_ff


def parameters(config: ModelConfig) -> int:
    """All weights: matrices, embedding, gains of heads, tables and their matrix."""
    D, heads = config.d_model, config.n_heads * config.head_dim
    layer = D * (2 * heads + 2 * config.n_kv_heads * config.head_dim + 2 * config.d_ff)
    tables = config.ngram_rows * config.ngram_width
    matrix = len(config.ngram_orders) * config.ngram_width * D
    embeddings = (config.vocab_size + 256) * D
    return config.n_layers * (layer + config.n_heads) + embeddings + tables + matrix


def table_parameters(config: ModelConfig) -> int:
    """Weights that are looked up and not multiplied: the embedding's rows and the tables'."""
    return config.vocab_size * config.d_model + config.ngram_rows * config.ngram_width


def describe(config: ModelConfig) -> str:
    """``d128 L6 h2x64 ff512 w256``: what a person tells shapes apart by."""
    tables: Sequence[int] = config.ngram_orders
    text = (
        f"d{config.d_model} L{config.n_layers} h{config.n_heads}x{config.head_dim} "
        f"ff{config.d_ff} w{max(config.windows)}"
    )
    if tables:
        text += f" t{''.join(map(str, tables))}x{config.ngram_bits}x{config.ngram_width}"
    return text
