"""Folders of compressed-tensors: hand-made ones, and the package's own where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from nncodec import lossy
from nncodec.errors import ContainerFormatError
from nncodec.lossy import Tensor, from_numpy, layouts, store

Codes = npt.NDArray[np.int8]
ROWS, COLS = 6, 40


def config(bits: int, layout: str = "pack-quantized") -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": {"num_bits": bits, "type": "int"}}
    return {"quant_method": "compressed-tensors", "format": layout, "config_groups": {"g": group}}


def pack(codes: Codes, bits: int) -> npt.NDArray[np.int32]:
    """By Python's integers: a row is one number, the first code lowest."""
    rows = []
    for row in codes:
        number = sum((int(code) + (1 << bits - 1)) << i * bits for i, code in enumerate(row))
        words = -(-len(row) * bits // 32)
        rows.append([number >> 32 * i & 0xFFFFFFFF for i in range(words)])
    return np.array(rows, dtype=np.uint32).view(np.int32)


def layer(bits: int, scales: npt.NDArray[Any]) -> tuple[Codes, dict[str, Tensor]]:
    codes = np.random.default_rng(bits).integers(-(1 << bits - 1), 1 << bits - 1, (ROWS, COLS))
    return codes.astype(np.int8), {
        "l.weight_packed": from_numpy(pack(codes.astype(np.int8), bits)),
        "l.weight_scale": from_numpy(scales),
        "l.weight_shape": from_numpy(np.array([ROWS, COLS], dtype=np.int64)),
        "norm.weight": from_numpy(np.ones(3, dtype=np.float32)),
    }


def scales_of(groups: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(9).random((ROWS, groups), dtype=np.float32) + np.float32(0.1)


@pytest.mark.parametrize("groups", [1, 5])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 8])
def test_packed(bits: int, groups: int) -> None:
    scales = scales_of(groups)
    codes, tensors = layer(bits, scales)
    out = layouts.dequantize_layout(tensors, config(bits))
    assert set(out) == {"l.weight", "norm.weight"}
    expected = codes.astype(np.float32) * np.repeat(scales, COLS // groups, axis=1)
    np.testing.assert_array_equal(out["l.weight"].data, expected)


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_packed_zero_points_lie_along_the_rows(bits: int) -> None:
    scales = scales_of(5)
    codes, tensors = layer(bits, scales)
    zeros = np.random.default_rng(1).integers(-2, 2, (ROWS, 5)).astype(np.int8)
    packed = np.ascontiguousarray(pack(np.ascontiguousarray(zeros.T), bits).T)
    tensors["l.weight_zero_point"] = from_numpy(packed)
    out = layouts.dequantize_layout(tensors, config(bits))
    expected = (codes - np.repeat(zeros, 8, axis=1)) * np.repeat(scales, 8, axis=1)
    np.testing.assert_array_equal(out["l.weight"].data, expected)


def test_columns_reordered_by_activation() -> None:
    scales = scales_of(5)
    codes, tensors = layer(4, scales)
    order = np.random.default_rng(4).permutation(np.repeat(np.arange(5, dtype=np.int32), 8))
    tensors["l.weight_g_idx"] = from_numpy(order)
    out = layouts.dequantize_layout(tensors, config(4))
    np.testing.assert_array_equal(out["l.weight"].data, codes * scales[:, order])
    tensors["l.weight_g_idx"] = from_numpy(order + 1)
    with pytest.raises(ContainerFormatError, match="groups beyond 5"):
        layouts.dequantize_layout(tensors, config(4))


def write(folder: Path, tensors: dict[str, Tensor], quantization: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"quantization_config": quantization}))
    (folder / "model.safetensors").write_bytes(store.serialize(tensors, {"format": "pt"}))
    return folder


def test_a_folder_of_int8_in_bfloat16(tmp_path: Path) -> None:
    codes = np.arange(-120, 120, dtype=np.int8).reshape(ROWS, COLS)
    scale = store.from_floats(scales_of(1), "BF16")
    tensors = {"l.weight": from_numpy(codes), "l.weight_scale": scale}
    folder = write(tmp_path / "m", tensors, config(8, "int-quantized"))
    read = layouts.read_floats(folder).tensors
    assert list(read) == ["l.weight"]
    assert read["l.weight"].dtype == "BF16"
    expected = store.from_floats(codes.astype(np.float32) * scale.floats(), "BF16")
    np.testing.assert_array_equal(read["l.weight"].data, expected.data)


def test_a_folder_that_is_not_quantised(tmp_path: Path) -> None:
    tensors = {"w": from_numpy(np.ones((2, 3), dtype=np.float32))}
    folder = write(tmp_path / "m", tensors, None)
    assert layouts.read_floats(folder).tensors["w"].shape == (2, 3)
    made = lossy.quantize({"w": np.ones((64, 64), np.float32)}, lossy.Settings("int8"))
    (folder / "model.safetensors").write_bytes(
        store.serialize(made.checkpoint.tensors, made.checkpoint.metadata)
    )
    assert layouts.read_floats(folder).tensors["w"].dtype == "F32"


CONFIGS: dict[str, object] = {
    "method": {"quant_method": "gptq"},
    "layout": {**config(4), "format": "nvfp4-pack-quantized"},
    "no object": [],
    "no groups": {**config(4), "config_groups": {}},
    "groups of text": {**config(4), "config_groups": {"g": {"weights": "int4"}}},
    "nine bits": config(9),
    "floats": {
        **config(4),
        "config_groups": {"g": {"weights": {"num_bits": 4, "type": "float"}}},
    },
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_that_are_not_read(tmp_path: Path, name: str) -> None:
    _, tensors = layer(4, scales_of(1))
    with pytest.raises(ContainerFormatError):
        layouts.read_floats(write(tmp_path / "m", tensors, CONFIGS[name]))


HOSTILE: dict[str, tuple[str, npt.NDArray[Any]]] = {
    "endless": ("weight_shape", np.array([1 << 62, 1 << 62])),
    "negative": ("weight_shape", np.array([-1, -1])),
    "three axes": ("weight_shape", np.array([1, ROWS, COLS])),
    "float shape": ("weight_shape", np.array([6.0, 40.0])),
    "short words": ("weight_packed", np.zeros((ROWS, 4), dtype=np.int32)),
    "words of int64": ("weight_packed", np.zeros((ROWS, 5), dtype=np.int64)),
    "scales of integers": ("weight_scale", np.ones((ROWS, 1), dtype=np.int32)),
    "no scales": ("weight_scale", np.ones((0, 1), dtype=np.float32)),
    "scales of blocks": ("weight_scale", np.ones((3, 5), dtype=np.float32)),
    "uneven groups": ("weight_scale", np.ones((ROWS, 7), dtype=np.float32)),
    "zero points": ("weight_zero_point", np.zeros((5, 5), dtype=np.int32)),
    "order": ("weight_g_idx", np.zeros(3, dtype=np.int32)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_parts(name: str) -> None:
    _, tensors = layer(4, scales_of(5))
    part, array = HOSTILE[name]
    tensors[f"l.{part}"] = from_numpy(array)
    with pytest.raises(ContainerFormatError, match="'l'"):
        layouts.dequantize_layout(tensors, config(4))


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("strategy", ["tensor", "channel", "group"])
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_as_compressed_tensors_does(bits: int, strategy: str, symmetric: bool) -> None:
    pytest.importorskip("compressed_tensors", reason="compressed-tensors is not installed")
    import torch
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    torch.manual_seed(bits)
    arguments = QuantizationArgs(
        num_bits=bits,
        strategy=strategy,
        group_size=32 if strategy == "group" else None,
        symmetric=symmetric,
    )
    scheme = QuantizationScheme(targets=["Linear"], weights=arguments)
    shape = {"tensor": (1,), "channel": (40, 1), "group": (40, 3)}[strategy]
    state = {
        "weight": torch.randn(40, 96, dtype=torch.bfloat16),
        "weight_scale": (torch.rand(shape) / 3 + 0.1).to(torch.bfloat16),
        "weight_zero_point": torch.randint(-(1 << bits - 1), 1 << bits - 1, shape).to(torch.int8),
    }
    for name in ["pack-quantized"] + ["int-quantized"] * (bits == 8):
        if name == "pack-quantized" and strategy == "tensor" and not symmetric:
            continue  # the package does not pack such a zero point
        peer = BaseCompressor.get_value_from_registry(name)
        packed = peer.compress(dict(state), scheme)
        expected = peer.decompress(dict(packed), scheme)["weight"]
        ours = layouts.dequantize_layout(
            {f"l.{part}": from_torch(value) for part, value in packed.items()}, config(bits)
        )
        np.testing.assert_array_equal(ours["l.weight"].data, from_torch(expected).data)


def from_torch(value: Any) -> Tensor:
    import torch

    if value.dtype == torch.bfloat16:
        return Tensor("BF16", value.view(torch.uint16).numpy())
    return from_numpy(value.numpy())
