"""``nncodec weights quantize``, ``dequantize``, ``report``, and the models of their figures."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import TEXT, TINY
from safetensors.numpy import load_file, save_file
from test_cli import assert_one_error, cli, names

from nncodec import lossy
from nncodec.errors import ModelNotFoundError, QuantizationError
from nncodec.lm.hf import NNCodecConfig, NNCodecForCausalLM
from nncodec.lm.model import ByteTransformer
from nncodec.lossy import Settings, evaluate, sensitivity


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "model.safetensors"
    path.parent.mkdir()
    rng = np.random.default_rng(0)
    tensors = {
        "w": rng.standard_normal((64, 96)).astype(np.float32),
        "norm": rng.standard_normal(64).astype(np.float32),
    }
    save_file(tensors, path, {"format": "pt"})
    return path


@pytest.fixture
def folder(tmp_path: Path, float_model: ByteTransformer) -> Path:
    """A model of ours as transformers saves it."""
    model = NNCodecForCausalLM(NNCodecConfig(**TINY.to_dict()))
    model.model.load_state_dict(float_model.state_dict())
    model.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_there_and_back(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("q.safetensors", "q.nnc"):
        result = cli("weights", "quantize", file, "-o", out / name, "--snr", "25", "-l", "1")
        assert result.rc == 0, result.err
        assert "1 of 2 tensors, SNR 2" in result.err
        back = out / f"{name}.back.safetensors"
        assert cli("weights", "dequantize", out / name, "-o", back, "-q").rc == 0
        got, true = load_file(back), load_file(file)
        np.testing.assert_array_equal(got["norm"], true["norm"])
        error = got["w"] - true["w"]
        snr = 10 * np.log10((true["w"] ** 2).sum() / (error**2).sum())
        assert snr == pytest.approx(25, abs=0.1)
    assert (out / "q.nnc").stat().st_size < (out / "q.safetensors").stat().st_size
    assert load_file(out / "q.safetensors")["w"].dtype == np.int8


def test_refused_and_nothing_left(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    target = out / "q.safetensors"
    plan = ("weights", "quantize", file, "-o", target)
    assert_one_error(cli(*plan, "--target-bits", "0.1"), file, "out of reach")
    for wrong in (("--format", "int7"), ("--step", "0.1", "-o", out / "q.gguf")):
        assert cli(*plan, *wrong).rc == 2
    assert cli("weights", "prune", file, "-o", target).rc == 2  # without an amount
    assert_one_error(cli(*plan, "--snr", "20", "--keep", "w"), file, "nothing to quantise")
    assert_one_error(cli(*plan, "--step", "1e-9"), file, "larger step")
    absent = tmp_path / "absent"
    assert_one_error(cli("weights", "dequantize", absent, "-o", target), absent, "no such file")
    assert_one_error(cli("weights", "report", absent), absent, "No such file|no such file")
    nowhere = out / "no" / "q.safetensors"
    assert_one_error(cli(*plan[:4], nowhere, "--snr", "20"), file, "cannot write")
    assert names(out) == []
    target.write_bytes(b"mine")
    assert_one_error(cli(*plan, "--snr", "20"), file, "already exists")
    assert target.read_bytes() == b"mine"
    assert_one_error(cli(*plan[:4], file, "--snr", "20", "-f"), file, "same file")


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--snr", "20", "--step", "0.1"],
        ["--format", "int8", "--snr", "20"],
        ["--snr", "20", "--model-dir", "."],
    ],
    ids=str,
)
def test_wrong_usage(file: Path, tmp_path: Path, options: list[str]) -> None:
    result = cli("weights", "quantize", file, "-o", tmp_path / "q.safetensors", *options)
    assert result.rc == 2
    assert not (tmp_path / "q.safetensors").exists()


def test_quantile_warns(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "q.safetensors"
    result = cli("weights", "quantize", file, "-o", out, "--format", "quantile", "-q")
    assert result.rc == 0
    assert "for comparison" in result.err


def test_report(file: Path, tmp_path: Path) -> None:
    out, table = tmp_path / "q.safetensors", tmp_path / "rows.csv"
    assert cli("weights", "quantize", file, "-o", out, "--step", "0.1").rc == 0
    result = cli("weights", "report", out, "--against", file, "--csv", table, "--json")
    assert result.rc == 0, result.err
    report = json.loads(result.out)
    rows = {row["name"]: row for row in report["tensors"]}
    assert set(rows) == {"w", "norm", "total"}
    assert rows["w"]["format"] == "trellis"
    assert 4 < rows["w"]["coded"] < 6
    assert rows["norm"]["snr"] is None  # infinite
    with table.open(newline="") as lines:
        written = list(csv.DictReader(lines))
    assert [row["name"] for row in written] == [row["name"] for row in report["tensors"]]
    shown = cli("weights", "report", out, "--against", file)
    assert shown.rc == 0
    assert "trellis" in shown.out.decode()
    assert "total" in shown.out.decode()
    # An original alone has no errors to report.
    plain = json.loads(cli("weights", "report", file, "--json").out)
    assert {row["snr"] for row in plain["tensors"]} == {None}


def test_report_of_a_model(folder: Path, tmp_path: Path) -> None:
    out, text = tmp_path / "q.safetensors", tmp_path / "text"
    text.write_bytes(TEXT)
    plan = ("weights", "quantize", folder, "-o", out, "--least", "512")
    assert cli(*plan, "--target-bits", "7", "--text", text).rc == 0
    result = cli("weights", "report", out, "--model-dir", folder, "--text", text, "--json")
    assert result.rc == 0, result.err
    model = json.loads(result.out)["model"]
    assert model["bytes"] == len(TEXT)
    assert model["after"] == pytest.approx(model["before"], abs=0.1)
    assert cli(*plan, "--step", "10", "--text", text, "-f").rc == 0
    result = cli("weights", "report", out, "--model-dir", folder, "--text", text, "--json")
    assert json.loads(result.out)["model"]["after"] > model["before"] + 1


def test_bits_a_byte_are_those_of_the_model(folder: Path) -> None:
    model = evaluate.CausalLM(folder)
    text = TEXT * 4  # more than two windows
    logs = []
    for at in range(0, len(text), 511):
        row = torch.tensor([[256, *text[at : at + 511]]])
        with torch.no_grad():
            logits = model.model(input_ids=row).logits[0, :-1]
        logs.append(torch.log_softmax(logits, -1)[range(row.shape[1] - 1), row[0, 1:]].sum())
    expected = -float(sum(logs)) / np.log(2) / len(text)
    assert model.bits_per_byte(text) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(QuantizationError, match="empty text"):
        model.bits_per_byte(b"")


def test_importance_is_the_mean_squared_gradient(folder: Path) -> None:
    model = evaluate.CausalLM(folder)
    found = sensitivity.importance(model, TEXT, windows=1)
    name = "model.blocks.0.mlp.up.weight"
    parameter = dict(model.model.named_parameters())[name]
    (grad,) = torch.autograd.grad(model.loss(next(model.windows(TEXT))), [parameter])
    assert found[name] == pytest.approx(0.5 * float(grad.square().mean()), rel=1e-4)
    assert min(found.values()) > 0
    with pytest.raises(QuantizationError, match="too short"):
        sensitivity.importance(model, b"")


def test_weights_of_another_model_are_refused(folder: Path, tmp_path: Path) -> None:
    model = evaluate.CausalLM(folder)
    tensors = lossy.read(folder).tensors
    with pytest.raises(QuantizationError, match="no parameter"):
        model.put({"other": tensors["model.head.weight"]})
    made = lossy.quantize(tensors, Settings("int8", least=512))
    with pytest.raises(QuantizationError, match="no parameter"):
        model.put(made.tensors)
    with pytest.raises(ModelNotFoundError, match=r"config\.json"):
        evaluate.CausalLM(tmp_path)
