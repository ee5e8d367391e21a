"""Archives of quantised and factored weights, opened as the floats that they stand for."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import nncodec
from nncodec import lossy
from nncodec.errors import ContainerFormatError, TensorNotFoundError, UnsupportedDtypeError
from nncodec.lossy import lowrank, spec
from nncodec.lossy.store import serialize
from nncodec.weights import WeightsFile
from nncodec.weights.numpy import load

RNG = np.random.default_rng(4)
ORIGINAL = {
    "layer.weight": RNG.normal(size=(48, 64)).astype(np.float32),
    "half.weight": RNG.normal(size=(32, 64)).astype(np.float16),
    "layer.bias": RNG.normal(size=48).astype(np.float32),
}
SETTINGS = {
    "trellis": lossy.Settings("trellis", step=0.1, least=1),
    "uniform by rows": lossy.Settings("uniform", step=0.1, per_row=True, least=1),
    "int8": lossy.Settings("int8", least=1),
    "int4 packed": lossy.Settings("int4", group=32, packed=True, least=1),
    "nf4": lossy.Settings("nf4", group=32, least=1),
    "quantile": lossy.Settings("quantile", least=1),
}


def checkpoint() -> lossy.Checkpoint:
    return lossy.Checkpoint({n: lossy.from_numpy(v) for n, v in ORIGINAL.items()}, {"by": "us"})


def quantized(settings: lossy.Settings) -> lossy.Checkpoint:
    found = checkpoint()
    return lossy.quantize(found.tensors, settings, metadata=found.metadata).checkpoint


def archive(found: lossy.Checkpoint) -> bytes:
    return nncodec.compress(serialize(found.tensors, found.metadata), level=1)


def opened(found: lossy.Checkpoint, dequantize: bool = True) -> WeightsFile:
    return nncodec.weights.open(io.BytesIO(archive(found)), dequantize=dequantize)


def check(found: lossy.Checkpoint, expected: Mapping[str, lossy.Tensor]) -> None:
    with opened(found) as file:
        assert file.keys() == sorted(expected)
        assert file.metadata() == {"by": "us"}
        for name, tensor in expected.items():
            np.testing.assert_array_equal(file[name], tensor.data, strict=True)
            part = file.get_slice(name)
            assert part.get_shape() == list(tensor.shape)
            assert part.get_dtype() == tensor.dtype
            np.testing.assert_array_equal(part[3:9], tensor.data[3:9], strict=True)
        every = file.get_tensors()
    assert every.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(every[name], tensor.data, strict=True)


@pytest.mark.parametrize("name", SETTINGS)
def test_quantised_weights_are_floats_again(name: str) -> None:
    found = quantized(SETTINGS[name])
    expected = lossy.dequantize(found.tensors, found.metadata)
    assert expected["half.weight"].dtype == "F16"
    check(found, expected)


def test_factored_weights_are_multiplied() -> None:
    pytest.importorskip("torch", reason="factoring needs torch")
    factored, _ = lowrank.factor(checkpoint(), lowrank.RankConfig(rank=8))
    assert "layer.weight" not in factored.tensors
    check(factored, lowrank.restore(factored).tensors)
    both = lossy.quantize(
        factored.tensors, SETTINGS["trellis"], metadata=factored.metadata
    ).checkpoint
    check(both, lowrank.restore(lossy.plain(both)).tensors)


def test_as_it_is_stored() -> None:
    found = quantized(SETTINGS["int8"])
    with opened(found, dequantize=False) as file:
        assert file.keys() == sorted(found.tensors)
        np.testing.assert_array_equal(file["layer.weight"], found.tensors["layer.weight"].data)
        assert spec.KEY in (file.metadata() or {})
    raw = load(archive(found), dequantize=False)
    assert raw["layer.weight"].dtype == np.int8
    assert load(archive(found))["layer.weight"].dtype == np.float32


def test_bytes_are_those_stored_or_an_error() -> None:
    found = quantized(SETTINGS["int8"])
    with opened(found) as file:
        assert file.get_bytes("layer.bias") == ORIGINAL["layer.bias"].tobytes()
        with pytest.raises(UnsupportedDtypeError, match="dequantize=False"):
            file.get_bytes("layer.weight")
        with pytest.raises(TensorNotFoundError):
            file.get_tensor("layer.weight.absent")


@pytest.mark.parametrize("damage", ["absent", "scales", "factor"])
def test_metadata_that_lies(damage: str) -> None:
    found = quantized(SETTINGS["int4 packed"])
    metadata = dict(found.metadata)
    if damage == "factor":
        entry = {"absent": {"shape": [2, 2], "dtype": "F32"}}
        metadata = {lowrank.KEY: json.dumps({"version": 1, "tensors": entry})}
    elif damage == "absent":
        metadata[spec.KEY] = metadata[spec.KEY].replace('"half.weight":', '"other.weight":')
    else:
        helpers = spec.unpack(metadata)["half.weight"].scales
        metadata[spec.KEY] = metadata[spec.KEY].replace(f'"{helpers}"', '"other.scales"')
    broken = lossy.Checkpoint(found.tensors, metadata)
    with pytest.raises(ContainerFormatError, match="metadata nncodec"), opened(broken) as file:
        file.get_tensors()


def test_a_packed_model_of_quantised_weights(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs the train extra")
    transformers = pytest.importorskip("transformers", reason="needs the train extra")
    config = transformers.LlamaConfig(
        vocab_size=32, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(1)
    folder = tmp_path / "model"
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    weights = folder / "model.safetensors"
    before = lossy.read(weights)
    made = lossy.quantize(
        before.tensors, lossy.Settings("trellis", step=0.01, least=1), metadata=before.metadata
    ).checkpoint
    lossy.write(weights, made, level=1)
    packed = tmp_path / "packed"
    nncodec.weights.pack(folder, packed, level=1)
    model = nncodec.weights.from_packed(packed)
    expected = lossy.dequantize(made.tensors, made.metadata)
    state = model.state_dict()
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(state[name].numpy(), tensor.data)
