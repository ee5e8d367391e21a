"""GGUF as the gguf package writes it: every span is where its reader finds the tensor."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from nncodec.tensors.spans import Dtype, read_container

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")
Kind = gguf.GGMLQuantizationType
QUANTISED = ("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
RNG = np.random.default_rng(11)
WEIGHTS = RNG.normal(0, 0.02, (24, 512)).astype(np.float32)


def raw_blocks(kind: str, rows: int, cols: int) -> npt.NDArray[np.uint8]:
    """Blocks of any bits, for types that the package does not write."""
    dtype = Dtype[kind]
    return RNG.integers(0, 256, (rows, dtype.size(cols)), np.uint8)


def tensors() -> Iterator[tuple[str, npt.NDArray[Any], Any]]:
    yield "f32", WEIGHTS, None
    yield "odd", WEIGHTS[:3, :5].copy(), None
    yield "scalar", np.float32([4]), None
    yield "axes", WEIGHTS.reshape(2, 3, 4, 512), None
    yield "f16", WEIGHTS.astype(np.float16), None
    for name in ("int8", "int16", "int32", "int64", "float64"):
        yield name, RNG.integers(-100, 100, (3, 7)).astype(name), None
    for name in QUANTISED:
        yield f"{name}.weight", gguf.quants.quantize(WEIGHTS, Kind[name]), Kind[name]
    for name in ("Q4_K", "Q5_K", "Q6_K"):
        yield f"{name}.weight", raw_blocks(name, 3, 512), Kind[name]


@pytest.mark.parametrize("alignment", [None, 32, 64])
def test_every_tensor_of_a_written_file(tmp_path: Path, alignment: int | None) -> None:
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    if alignment:
        writer.add_custom_alignment(alignment)
    writer.add_name("a n\u00e4me")
    writer.add_context_length(512)
    writer.add_bool("general.bool", True)
    writer.add_float64("general.f64", 1.5)
    writer.add_token_list(["<s>", "", "\u00e4", "word" * 100])
    writer.add_token_scores([0.0, -1.5])
    writer.add_array("general.numbers", list(range(1000)))
    for name, array, kind in tensors():
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data = path.read_bytes()
    spans = {span.name: span for span in read_container(memoryview(data))}
    reader = gguf.GGUFReader(path)
    assert spans.keys() == {t.name for t in reader.tensors} == {name for name, *_ in tensors()}
    for t in reader.tensors:
        span = spans[t.name]
        assert span.dtype.name == t.tensor_type.name
        assert span.shape == tuple(int(n) for n in reversed(t.shape))
        assert (span.begin, span.end) == (t.data_offset, t.data_offset + t.n_bytes)
        assert data[span.begin : span.end] == t.data.tobytes()
        if alignment:
            assert span.begin % alignment == 0


@pytest.fixture(scope="module")
def make_gguf() -> Any:
    pytest.importorskip("torch")
    sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
    try:
        import make_gguf
    finally:
        sys.path.pop(0)
    return make_gguf


def test_q4_k_blocks_have_ggmls_layout(make_gguf: Any) -> None:
    """What is packed comes back from the package's own reader, near to what went in."""
    x = np.concatenate([WEIGHTS, np.zeros((1, 512), np.float32), np.ones((1, 512), np.float32)])
    back = gguf.quants.dequantize(make_gguf.quantize_q4_k(x), Kind.Q4_K)
    assert back.shape == x.shape
    assert (back[24] == 0).all()
    np.testing.assert_allclose(back[25], 1, rtol=2e-3)
    error = np.mean((back[:24] - WEIGHTS) ** 2) / np.mean(WEIGHTS**2)
    q4_0 = gguf.quants.dequantize(gguf.quants.quantize(WEIGHTS, Kind.Q4_0), Kind.Q4_0)
    assert error < np.mean((q4_0 - WEIGHTS) ** 2) / np.mean(WEIGHTS**2)
    assert 0.002 < error < 0.01


def test_scales_of_q4_k_are_read_as_packed(make_gguf: Any) -> None:
    scales, minima = RNG.integers(0, 64, (2, 50, 8), np.uint8)
    packed = make_gguf.pack_scales(scales, minima)
    found = gguf.quants.Q4_K.get_scale_min(packed)
    np.testing.assert_array_equal(found[0], scales)
    np.testing.assert_array_equal(found[1], minima)


@pytest.mark.parametrize("only", [False, True])
def test_script(
    make_gguf: Any, tmp_path: Path, only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    source, target = tmp_path / "in.safetensors", tmp_path / "out.gguf"
    arrays = {"bias": WEIGHTS[0], "k": WEIGHTS, "narrow": WEIGHTS[:, :96].copy()}
    safetensors.save_file({**arrays, "ids": np.arange(9, dtype=np.int64)}, source)
    arguments = ["make_gguf.py", "Q4_K", str(source), str(target), *["--only"] * only]
    monkeypatch.setattr(sys, "argv", arguments)
    make_gguf.main()
    kinds = {s.name: s.dtype for s in read_container(memoryview(target.read_bytes()))}
    others = {"bias": Dtype.F32, "narrow": Dtype.Q5_0, "ids": Dtype.I64}
    assert kinds == {"k": Dtype.Q4_K, **({} if only else others)}
