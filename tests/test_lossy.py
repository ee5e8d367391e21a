"""Quantised weights: errors and rates against theory, files and their hostile versions, targets."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load, save

import nncodec
from nncodec import lossy
from nncodec.errors import ContainerFormatError, QuantizationError
from nncodec.lossy import Settings, Target, scalar, spec, store, tables, trellis
from nncodec.lossy.report import huffman_bits, report

Matrix = npt.NDArray[np.float32]
FORMATS = ["uniform", "trellis", "int8", "int4", "nf4", "quantile"]


def normal(rows: int, cols: int, seed: int = 1) -> Matrix:
    return np.random.default_rng(seed).standard_normal((rows, cols)).astype(np.float32)


def back(made: lossy.Quantized) -> dict[str, lossy.Tensor]:
    """Through a file, as whoever reads it gets them."""
    data = store.serialize(made.checkpoint.tensors, made.checkpoint.metadata)
    return dict(lossy.plain(store.parse(data)).tensors)


def rate(made: lossy.Quantized) -> float:
    return made.bits / made.weights


@pytest.mark.parametrize("states", trellis.CODES)
def test_trellis_search_equals_its_twin(states: int) -> None:
    rng = np.random.default_rng(states)
    positions = np.rint(normal(37, 50, states) * 700).astype(np.int32)
    positions[0, 0], positions[1, 1] = trellis.MOST_POSITION, -trellis.MOST_POSITION
    rates = rng.integers(0, 60_000, (2, 9), dtype=np.int32)
    rates[1, 2] = trellis.MOST_RATE
    found = trellis.quantize(positions, rates, states)
    np.testing.assert_array_equal(found, trellis.search(positions, rates, states))


@pytest.mark.parametrize("states", trellis.CODES)
def test_trellis_states_have_two_ways_in_and_both_quantisers(states: int) -> None:
    follow = trellis.successors(states)
    assert np.bincount(follow.ravel(), minlength=states).tolist() == [2] * states
    indices = np.random.default_rng(2).integers(-9, 10, (5, 40))
    state, expected = np.zeros(5, dtype=int), []
    for column in indices.T:
        expected.append(state & 1)
        state = follow[state, column & 1]
    np.testing.assert_array_equal(trellis.quantisers(indices, states), np.array(expected).T)


def test_four_states_are_those_of_vvc() -> None:
    """Its states 1 and 2 are exchanged here; there, the quantiser is the state's upper bit."""
    vvc = [[0, 2], [2, 0], [1, 3], [3, 1]]
    renamed = [0, 2, 1, 3]
    for state in range(4):
        ours = trellis.successors(4)[renamed[state]]
        assert [renamed[s] for s in ours] == vvc[state]


def test_rounding_has_the_error_of_a_uniform_quantiser() -> None:
    weights, step = normal(256, 256), 0.05
    settings = Settings("uniform", step, rdo=0, points=False)
    made = lossy.quantize({"w": weights}, settings)
    assert made.error / weights.size == pytest.approx(step**2 / 12, rel=0.01)
    # Gish and Pierce: h(X) - log2(step), at high rates.
    expected = 0.5 * math.log2(2 * math.pi * math.e) - math.log2(step)
    assert rate(made) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("states", "gain"), [(4, 0.8), (8, 0.9), (64, 1.1)])
def test_trellis_beats_rounding(states: int, gain: float) -> None:
    """In dB at the same entropy; the granular gain of a trellis is at most 1.53."""
    weights = {"w": normal(256, 512)}
    plain = lossy.quantize(weights, Settings("uniform", 0.1, rdo=0, points=False))
    coded = lossy.quantize(weights, Settings("trellis", 0.06, states))
    gained = coded.snr_db - plain.snr_db + 6.02 * (rate(plain) - rate(coded))
    assert gain < gained < 1.53


def test_bits_are_part_of_the_choice() -> None:
    """At low rates: the same error for fewer bits."""
    weights = {"w": normal(256, 256)}
    near = lossy.allocate(weights, Settings("uniform", rdo=0, points=False), Target(snr=9))
    chosen = lossy.allocate(weights, Settings("uniform"), Target(snr=9))
    assert rate(chosen) < 0.985 * rate(near)


def test_points_lower_the_error() -> None:
    weights = {"w": normal(128, 128)}
    fixed = lossy.quantize(weights, Settings("uniform", 1.2, rdo=0, points=False))
    moved = lossy.quantize(weights, Settings("uniform", 1.2, rdo=0))
    assert moved.error < 0.98 * fixed.error


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16", "F64"])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_through_a_file(name: str, dtype: str) -> None:
    weights = store.from_floats(normal(48, 80) * np.float32(0.05), dtype)
    norm = store.from_floats(normal(1, 80)[0], dtype)
    stepped = name in ("uniform", "trellis")
    settings = Settings(name, step=0.01 if stepped else 0.0)
    made = lossy.quantize({"w": weights, "norm": norm}, settings, metadata={"kept": "yes"})
    assert made.checkpoint.metadata["kept"] == "yes"
    assert made.tensors["w"].dtype == "I8"
    assert made.tensors["w"].shape == weights.shape
    restored = back(made)
    assert set(restored) == {"w", "norm"}
    assert restored["w"].dtype == dtype
    np.testing.assert_array_equal(restored["norm"].data, norm.data)
    true, got = weights.floats().astype(np.float64), restored["w"].floats()
    snr = 10 * np.log10((true**2).sum() / ((true - got) ** 2).sum())
    assert snr == pytest.approx(made.snr_db, abs=0.1)
    assert snr > 10


@pytest.mark.parametrize("name", ["uniform", "trellis", "int8"])
def test_a_scale_for_each_row(name: str) -> None:
    weights = normal(64, 64) * np.geomspace(1e-3, 1, 64, dtype=np.float32)[:, None]
    made = lossy.quantize({"w": weights}, Settings(name, step=0.05, per_row=True))
    got = back(made)["w"].floats()
    worst = (((weights - got) ** 2).sum(1) / (weights**2).sum(1)).max()
    assert worst < 0.02  # rows a thousand times smaller are as exact
    assert made.tensors[made.records["w"].scales].shape == (64, 1)


@pytest.mark.parametrize("cols", [64, 63])
@pytest.mark.parametrize("group", spec.GROUPS)
def test_packed_int4(group: int, cols: int) -> None:
    weights = normal(32, cols)
    loose = lossy.quantize({"w": weights}, Settings("int4", group=group))
    packed = lossy.quantize({"w": weights}, Settings("int4", group=group, packed=True))
    assert packed.tensors["w"].dtype == "U8"
    assert packed.tensors["w"].shape == (32, (cols + 1) // 2)
    np.testing.assert_array_equal(back(packed)["w"].data, back(loose)["w"].data)


def test_nf4_and_int4_keep_what_they_can_represent() -> None:
    numbers = np.tile(tables.NF4, (16, 8))
    np.testing.assert_array_equal(
        back(lossy.quantize({"w": numbers}, Settings("nf4")))["w"].data, numbers
    )
    grid = np.tile(np.arange(-7, 8, dtype=np.float32), (16, 8)) / 8
    np.testing.assert_array_equal(
        back(lossy.quantize({"w": grid}, Settings("int4")))["w"].data, grid
    )


def test_outliers_take_sixteen_bits() -> None:
    weights = normal(64, 64) * np.float32(0.01)
    weights[3, 5] = 9
    made = lossy.quantize({"w": weights}, Settings("trellis", step=0.005))
    assert made.tensors["w"].dtype == "I16"
    assert back(made)["w"].data[3, 5] == pytest.approx(9, abs=0.01)
    with pytest.raises(QuantizationError, match="larger step"):
        lossy.quantize({"w": weights}, Settings("trellis", step=1e-5))


def test_short_rows_leave_the_trellis() -> None:
    kernels = normal(64 * 16, 9).reshape(64, 16, 3, 3)
    made = lossy.quantize({"w": kernels}, Settings("trellis", step=0.1))
    assert made.records["w"].format == "uniform"
    assert made.tensors["w"].shape == kernels.shape


def test_what_stays_as_it_is() -> None:
    broken = normal(64, 64)
    broken[1, 2], endless = np.nan, normal(64, 64)
    endless[0, 0] = -np.inf
    tensors: dict[str, Any] = {
        "nan": broken,
        "inf": endless,
        "integers": np.arange(4096, dtype=np.int64).reshape(64, 64),
        "vector": normal(1, 4096)[0],
        "scalar": np.array(1.5, dtype=np.float32),
        "empty": np.empty((0, 4096), dtype=np.float32),
        "small": normal(4, 4),
        "lm_head.weight": normal(64, 64),
        "zeros": np.zeros((64, 64), dtype=np.float32),
    }
    made = lossy.quantize(tensors, Settings("trellis", step=0.1, keep="^lm_head"))
    assert set(made.records) == {"zeros"}
    restored = back(made)
    for name, tensor in tensors.items():
        assert restored[name].shape == np.shape(tensor), name
        assert restored[name].data.tobytes() == np.asarray(tensor).tobytes(), name


def test_a_helper_never_takes_a_name() -> None:
    tensors = {"w": normal(64, 64), "w.scale": normal(1, 64)[0]}
    made = lossy.quantize(tensors, Settings("int8", per_row=True))
    assert made.records["w"].scales == "w.scale_"
    np.testing.assert_array_equal(back(made)["w.scale"].data, tensors["w.scale"])


def test_files_are_safetensors() -> None:
    made = lossy.quantize({"w": normal(64, 64)}, Settings("int4"), metadata={"format": "pt"})
    data = store.serialize(made.checkpoint.tensors, made.checkpoint.metadata)
    theirs = load(data)
    assert {name: a.dtype.name for name, a in theirs.items()} == {"w": "int8", "w.scale": "float16"}
    again = store.parse(save(theirs, {"a": "b"}))
    assert dict(again.metadata) == {"a": "b"}
    np.testing.assert_array_equal(again.tensors["w"].data, made.tensors["w"].data)


def test_from_floats_rounds_bfloat16_as_torch_does() -> None:
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(3).integers(0, 1 << 32, 5000, dtype=np.uint32).view(np.float32)
    expected = torch.from_numpy(values.copy()).to(torch.bfloat16).float().numpy()
    got = store.from_floats(values, "BF16").floats()
    np.testing.assert_array_equal(np.isnan(got), np.isnan(values))
    finite = ~np.isnan(values)
    np.testing.assert_array_equal(got[finite], expected[finite])


GOOD = {"format": "trellis", "dtype": "F32", "step": 0.125, "states": 8}
HOSTILE: dict[str, Any] = {
    "no object": [],
    "unknown key": {**GOOD, "eval": "1"},
    "format": {**GOOD, "format": "pickle"},
    "dtype": {**GOOD, "dtype": "I8"},
    "states": {**GOOD, "states": 7},
    "states of a list": {**GOOD, "states": [8]},
    "no states": {"format": "trellis", "dtype": "F32", "step": 0.125},
    "negative step": {**GOOD, "step": -1.0},
    "no step": {**GOOD, "step": 0.0},
    "step beyond float32": {**GOOD, "step": 1e300},
    "step below float32": {**GOOD, "step": 1e-300},
    "true": {**GOOD, "step": True},
    "NaN": {**GOOD, "step": math.nan},
    "points": {**GOOD, "points": [0.1]},
    "far points": {**GOOD, "points": [1e9, 0, 0, 0]},
    "points of text": {**GOOD, "points": "abcd"},
    "absent scales": {**GOOD, "step": 0.0, "scales": "nowhere"},
    "own scales": {**GOOD, "step": 0.0, "scales": "w"},
    "short scales": {**GOOD, "step": 0.0, "scales": "few"},
    "integer scales": {**GOOD, "step": 0.0, "scales": "integers"},
    "group": {"format": "int4", "dtype": "F32", "scales": "few", "group": 1 << 40},
    "groups": {"format": "int4", "dtype": "F32", "scales": "few", "group": 32},
    "shape": {
        "format": "int4",
        "dtype": "F32",
        "scales": "few",
        "group": 32,
        "shape": [1 << 40, 1 << 40],
    },
    "codebook": {"format": "quantile", "dtype": "F32", "codebook": "few"},
    "table": {"format": "nf4", "dtype": "F32", "scales": "ones", "group": 64},
}


def hostile(entry: object) -> lossy.Checkpoint:
    text = json.dumps({"version": 1, "tensors": {"w": entry}})
    tensors = {
        "w": lossy.from_numpy(np.full((4, 64), 99, dtype=np.int8)),
        "few": lossy.from_numpy(np.ones((3, 1), dtype=np.float32)),
        "ones": lossy.from_numpy(np.ones((4, 1), dtype=np.float32)),
        "integers": lossy.from_numpy(np.ones((4, 1), dtype=np.int32)),
    }
    return lossy.Checkpoint(tensors, {spec.KEY: text})


def test_good_metadata() -> None:
    assert lossy.plain(hostile(GOOD)).tensors["w"].dtype == "F32"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_metadata(name: str) -> None:
    with pytest.raises(ContainerFormatError, match=r"nncodec\.quantization"):
        lossy.plain(hostile(HOSTILE[name]))


TEXTS = [
    "",
    "{",
    "[]",
    "[" * 100_000,
    '{"version": 2, "tensors": {}}',
    '{"version": 1}',
    "9" * 5000,
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_metadata_that_is_no_description(text: str) -> None:
    with pytest.raises(ContainerFormatError):
        spec.unpack({spec.KEY: text})


def test_indices_of_floats_are_refused() -> None:
    checkpoint = hostile(GOOD)
    tensors = {**checkpoint.tensors, "w": lossy.from_numpy(normal(4, 64))}
    with pytest.raises(ContainerFormatError, match="F32"):
        lossy.dequantize(tensors, checkpoint.metadata)


@pytest.mark.parametrize("name", ["uniform", "trellis"])
def test_target_bits_is_met_by_the_real_archive(name: str) -> None:
    tensors = {"a": normal(128, 256), "b": normal(128, 128, 2), "norm": normal(1, 128)[0]}
    made = lossy.allocate(tensors, Settings(name), Target(bits=4.0))
    file = store.serialize(made.checkpoint.tensors, made.checkpoint.metadata)
    elements = sum(t.size for t in tensors.values())
    assert 8 * len(nncodec.compress(file, 4)) / elements == pytest.approx(4.0, rel=0.01)


def test_target_size_and_snr() -> None:
    tensors = {"a": normal(128, 256)}
    made = lossy.allocate(tensors, Settings(), Target(size=12_000))
    file = store.serialize(made.checkpoint.tensors, made.checkpoint.metadata)
    assert len(nncodec.compress(file, 4)) == pytest.approx(12_000, rel=0.01)
    made = lossy.allocate(tensors, Settings(), Target(snr=17.78))
    assert made.snr_db == pytest.approx(17.78, abs=0.1)


def test_importance_moves_the_error() -> None:
    tensors = {"a": normal(128, 128), "b": normal(128, 128, 2)}
    made = lossy.allocate(tensors, Settings(), Target(snr=20), importance={"a": 16.0, "b": 1.0})
    assert made.records["b"].step == pytest.approx(4 * made.records["a"].step, rel=1e-5)
    with pytest.raises(QuantizationError, match="importance nan"):
        lossy.allocate(tensors, Settings(), Target(snr=20), importance={"a": 1.0})


def test_targets_out_of_reach() -> None:
    tensors = {"a": normal(64, 64), "norm": normal(1, 4096)[0]}
    for target in (Target(bits=0.5), Target(size=10), Target(snr=200)):
        with pytest.raises(QuantizationError):
            lossy.allocate(tensors, Settings(), target)
    with pytest.raises(QuantizationError, match="fixed size"):
        lossy.allocate(tensors, Settings("int8"), Target(bits=4))
    with pytest.raises(QuantizationError, match="one target"):
        Target(bits=4, snr=20)
    with pytest.raises(QuantizationError, match="nothing to quantise"):
        lossy.allocate({"a": np.zeros((64, 64), np.float32)}, Settings(), Target(bits=4))


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": "int7"},
        {"states": 5},
        {"format": "int4", "group": 7},
        {"packed": True},
        {"rdo": -1.0},
        {"rdo": math.nan},
        {"keep": "("},
    ],
    ids=str,
)
def test_wrong_settings(wrong: dict[str, Any]) -> None:
    with pytest.raises(QuantizationError):
        Settings(**wrong)


@pytest.mark.parametrize("step", [0.0, -1.0, math.nan, math.inf, 1e-45])
def test_wrong_steps(step: float) -> None:
    with pytest.raises(QuantizationError, match="step"):
        lossy.quantize({"w": normal(64, 64)}, Settings("uniform", step))


def test_entropy_and_huffman() -> None:
    indices = np.repeat(np.array([0, 1, -1, 5], dtype=np.int8), [8, 4, 2, 2])
    assert scalar.order0_bits(indices) == 28
    assert huffman_bits(indices) == 28
    skewed = np.repeat(np.array([0, 300], dtype=np.int16), [99, 1])
    assert scalar.order0_bits(skewed) == pytest.approx(8.08, abs=0.01)
    assert huffman_bits(skewed) == 100
    assert huffman_bits(np.full(7, 3)) == 7
    far = np.array([0, 1 << 62, -(1 << 62), 0])
    assert scalar.order0_bits(far) == 6


def test_report() -> None:
    weights = normal(64, 128)
    weights[:16] = 0
    tensors = {"w": weights, "norm": normal(1, 64)[0]}
    original = {name: lossy.from_numpy(t) for name, t in tensors.items()}
    made = lossy.quantize(tensors, Settings("uniform", 0.1, rdo=0, points=False))
    rows = {row.name: row for row in report(made.checkpoint, original)}
    w, total = rows["w"], rows["total"]
    assert w.sparsity >= 0.25
    assert w.order0 == pytest.approx(made.bits / weights.size)
    assert w.order0 <= w.huffman < w.order0 + 1
    assert w.snr == pytest.approx(made.snr_db)
    assert w.step_db == pytest.approx(10 * math.log10(0.75), abs=0.2)  # zeros have no error
    assert w.gap_db == pytest.approx(6.0206 * w.coded - made.snr_db, abs=1e-3)
    assert rows["norm"].snr == math.inf
    assert rows["norm"].to_dict()["snr"] is None
    assert total.weights == 64 * 128 + 64
    file = store.serialize(made.checkpoint.tensors, made.checkpoint.metadata)
    assert total.coded == 8 * len(nncodec.compress(file, 4)) / total.weights
    assert total.snr == pytest.approx(made.snr_db)


@pytest.mark.weights
def test_a_layer_of_minilm_against_nncodec_with_dependent_quantisation() -> None:
    """Fraunhofer's figures for the matrices of layer 2, at equal error: bits a weight at dB."""
    file = Path(os.environ.get("NNCODEC_WEIGHTS", "")) / "minilm-l6.safetensors"
    if not file.is_file():
        pytest.skip("minilm-l6.safetensors is not in NNCODEC_WEIGHTS")
    layer = {
        name: tensor
        for name, tensor in lossy.read(file).tensors.items()
        if ".layer.2." in name and len(tensor.shape) == 2
    }
    for snr, bits in ((30.4, 5.069), (21.2, 3.543), (13.5, 2.308)):
        made = lossy.allocate(layer, Settings(), Target(snr=snr))
        data = store.serialize(made.checkpoint.tensors, made.checkpoint.metadata)
        coded = 8 * len(nncodec.compress(data, 4)) / made.weights
        assert coded + (snr - made.snr_db) / 6.02 < 0.985 * bits
