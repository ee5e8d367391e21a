"""A quantised GGUF file: python scripts/make_gguf.py TYPE IN.safetensors OUT.gguf

TYPE is F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q4_K. As llama.cpp does, matrices get it
(those of Q4_K whose rows are not whole blocks of 256 are Q5_0), and all other tensors of floats
are F32; integers keep their dtype. --only leaves out all tensors of another type. Needs the
packages gguf and torch. The blocks are gguf's own, but for Q4_K, which it only reads: those are
searched for as ggml's reference does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import quantize
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

Floats = NDArray[np.float32]
TYPES = ("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K")
SUPER, GROUPS, GROUP = 256, 8, 32  # elements of a Q4_K block, its groups, their elements
MOST_LEVEL, MOST_SCALE = 15, 63
ROWS_AT_ONCE = 1 << 12  # Q4_K blocks; bounds the memory of the search


def fit_groups(x: Floats) -> tuple[Floats, Floats]:
    """Scale and minimum (as a positive number) of each group, shapes (n, 32) -> (n,).

    ggml's make_qkx2_quants with its arguments for Q4_K (ggml-quants.c): 22 roundings of the group
    are tried; for each, least squares gives scale and minimum, weighted by RMS + abs(x).
    """
    weight = np.sqrt(np.mean(x * x, axis=1, keepdims=True)) + np.abs(x)
    low, high = np.minimum(x.min(axis=1), 0), x.max(axis=1)
    flat = high == low
    width = np.where(flat, 1, high - low)
    sum_w, sum_x = weight.sum(axis=1), (weight * x).sum(axis=1)

    def levels_of(inverse: Floats) -> Floats:
        return np.clip(np.rint(inverse[:, None] * (x - low[:, None])), 0, MOST_LEVEL)

    def error_of(scale: Floats, minimum: Floats, levels: Floats) -> Floats:
        rest = scale[:, None] * levels + minimum[:, None] - x
        return np.asarray((weight * rest * rest).sum(axis=1))

    best_scale, best_low = width / MOST_LEVEL, low.copy()
    best = error_of(best_scale, best_low, levels_of(MOST_LEVEL / width))
    for step in range(21):
        levels = levels_of((np.float32(-1 + 0.1 * step) + MOST_LEVEL) / width)
        weighted = weight * levels
        sum_l, sum_l2 = weighted.sum(axis=1), (weighted * levels).sum(axis=1)
        sum_xl = (weighted * x).sum(axis=1)
        determinant = sum_w * sum_l2 - sum_l * sum_l
        solved = determinant > 0
        safe = np.where(solved, determinant, 1)
        scale = (sum_w * sum_xl - sum_x * sum_l) / safe
        minimum = (sum_l2 * sum_x - sum_l * sum_xl) / safe
        above = minimum > 0
        scale = np.where(above, sum_xl / np.where(sum_l2 > 0, sum_l2, 1), scale)
        minimum = np.where(above, 0, minimum)
        error = error_of(scale, minimum, levels)
        better = solved & (error < best)
        best = np.where(better, error, best)
        best_scale = np.where(better, scale, best_scale)
        best_low = np.where(better, minimum, best_low)
    return np.where(flat, 0, best_scale), np.where(flat, -low, -best_low)


def pack_scales(scales: NDArray[np.uint8], minima: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """8 scales and 8 minima of 6 bits, shapes (n, 8), in 12 bytes; get_scale_min_k4 reads them."""
    packed = np.empty((len(scales), 12), np.uint8)
    packed[:, :4] = scales[:, :4] | (scales[:, 4:] >> 4) << 6
    packed[:, 4:8] = minima[:, :4] | (minima[:, 4:] >> 4) << 6
    packed[:, 8:] = (scales[:, 4:] & 15) | (minima[:, 4:] & 15) << 4
    return packed


def q4_k_blocks(x: Floats) -> NDArray[np.uint8]:
    """Blocks of shape (n, 144) for x of (n, 256): quantize_row_q4_K_ref of ggml-quants.c."""
    scale, minimum = (part.reshape(-1, GROUPS) for part in fit_groups(x.reshape(-1, GROUP)))

    def sixths(values: Floats) -> tuple[NDArray[np.uint8], NDArray[np.float16], Floats]:
        most = values.max(axis=1, keepdims=True)
        codes = np.rint(values * np.where(most > 0, MOST_SCALE / np.where(most > 0, most, 1), 0))
        step = (most / MOST_SCALE).astype(np.float16)
        whole = np.clip(codes, 0, MOST_SCALE).astype(np.uint8)
        return whole, step, step.astype(np.float32) * whole

    scales, d, real_scale = sixths(scale)
    minima, dmin, real_minimum = sixths(minimum)
    step = real_scale[:, :, None]
    shifted = x.reshape(-1, GROUPS, GROUP) + real_minimum[:, :, None]
    levels = np.rint(shifted / np.where(step > 0, step, 1)) * (step > 0)
    pairs = np.clip(levels, 0, MOST_LEVEL).astype(np.uint8).reshape(-1, GROUPS // 2, 2, GROUP)
    nibbles = (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(len(x), -1)
    return np.hstack([d.view(np.uint8), dmin.view(np.uint8), pack_scales(scales, minima), nibbles])


def quantize_q4_k(x: Floats) -> NDArray[np.uint8]:
    blocks = x.reshape(-1, SUPER)
    parts = [q4_k_blocks(blocks[i : i + ROWS_AT_ONCE]) for i in range(0, len(blocks), ROWS_AT_ONCE)]
    return np.concatenate(parts).reshape(*x.shape[:-1], -1)


def converted(
    tensor: Tensor, kind: GGMLQuantizationType
) -> tuple[NDArray[np.generic], GGMLQuantizationType | None]:
    """An array for GGUFWriter.add_tensor, and its raw_dtype."""
    if not tensor.is_floating_point():
        return tensor.numpy(), None
    x = tensor.float().numpy()
    if x.ndim > 1 and kind == GGMLQuantizationType.Q4_K and x.shape[-1] % SUPER:
        kind = GGMLQuantizationType.Q5_0
    if x.ndim < 2 or x.shape[-1] % GGML_QUANT_SIZES[kind][0]:
        return x, None
    if kind == GGMLQuantizationType.Q4_K:
        return quantize_q4_k(x), kind
    return quantize(x, kind), kind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("type", choices=TYPES)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--only", action="store_true", help="tensors of TYPE alone")
    arguments = parser.parse_args()
    kind = GGMLQuantizationType[arguments.type]
    writer = GGUFWriter(arguments.target, "bert")
    writer.add_name(arguments.source.stem)
    for name, tensor in load_file(arguments.source).items():
        array, raw = converted(tensor, kind)
        if arguments.only and raw != kind:
            continue
        writer.add_tensor(name, array, raw_dtype=raw)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
