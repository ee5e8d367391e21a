"""Pruning: which weights become zero, what stays as it was, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import nncodec.lossy
from nncodec.cli.app import app
from nncodec.errors import QuantizationError
from nncodec.lossy import Checkpoint, Settings, from_numpy, quantize, read, write
from nncodec.lossy.store import from_floats

pytest.importorskip("torch", reason="pruning needs torch: pip install 'nncodec-lm[train]'")

from nncodec.lossy.prune import KEY, PruneConfig, masked, prune, zeros


def weights(dtype: str = "F32") -> Checkpoint:
    rng = np.random.default_rng(7)
    shapes = {"a": (12, 16), "b": (6, 10), "kernel": (4, 3, 5), "norm": (16,)}
    tensors = {
        name: from_floats(rng.normal(size=shape).astype(np.float32) * (i + 1), dtype)
        for i, (name, shape) in enumerate(shapes.items())
    }
    return Checkpoint({**tensors, "ids": from_numpy(np.arange(6).reshape(2, 3))}, {"format": "pt"})


def is_zero(checkpoint: Checkpoint, name: str) -> np.ndarray:
    return checkpoint.tensors[name].floats() == 0


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16", "F64"])
def test_l1_takes_the_smallest_of_each_tensor(dtype: str) -> None:
    before = weights(dtype)
    after = prune(before, PruneConfig("l1", 0.5))
    for name in ("a", "b", "kernel"):
        zero = is_zero(after, name)
        assert zero.sum() == zero.size // 2
        sizes = np.abs(before.tensors[name].floats())
        assert sizes[zero].max() <= sizes[~zero].min()
        kept = after.tensors[name].data
        assert np.array_equal(kept[~zero], before.tensors[name].data[~zero])
        assert not kept[zero].view(f"u{kept.itemsize}").any(), "zeros have no sign"
        assert after.tensors[name].dtype == dtype
    for name in ("norm", "ids"):
        assert np.array_equal(after.tensors[name].data, before.tensors[name].data)
    assert after.metadata["format"] == "pt"
    assert json.loads(after.metadata[KEY]) == {"method": "l1", "amount": 0.5}
    assert zeros(after) == (96 + 30 + 30, 192 + 60 + 60)


def test_global_takes_the_smallest_of_all() -> None:
    before = weights()
    after = prune(before, PruneConfig("global", 0.5))
    names = ("a", "b", "kernel")
    zero = np.concatenate([is_zero(after, name).ravel() for name in names])
    sizes = np.concatenate([np.abs(before.tensors[name].floats()).ravel() for name in names])
    assert zero.sum() == 156
    assert sizes[zero].max() <= sizes[~zero].min()
    assert is_zero(after, "a").mean() > is_zero(after, "kernel").mean() + 0.1, "a is smaller"


@pytest.mark.parametrize("axis", [0, 1])
def test_structured_takes_whole_slices(axis: int) -> None:
    before = weights()
    after = prune(before, PruneConfig("ln-structured", 0.25, axis=axis, only="a"))
    zero = is_zero(after, "a").all(axis=1 - axis)
    assert zero.sum() == before.tensors["a"].shape[axis] // 4
    assert is_zero(after, "a").sum() == zero.sum() * before.tensors["a"].shape[1 - axis]
    norms = np.linalg.norm(before.tensors["a"].floats(), axis=1 - axis)
    assert norms[zero].max() <= norms[~zero].min()
    assert not is_zero(after, "b").any(), "not asked for"


@pytest.mark.parametrize(("n", "m"), [(2, 4), (1, 3), (3, 8)])
def test_n_of_m_keeps_the_largest(n: int, m: int) -> None:
    before = weights()
    after = prune(before, PruneConfig(f"{n}:{m}"))
    for name in ("a", "b", "kernel"):
        sizes = np.abs(before.tensors[name].floats())
        for row, zero in zip(
            sizes.reshape(-1, sizes.shape[-1]),
            is_zero(after, name).reshape(-1, sizes.shape[-1]),
            strict=True,
        ):
            for at in range(0, len(row), m):
                part, gone = row[at : at + m], zero[at : at + m]
                assert (~gone).sum() == min(n, len(part))
                assert part[gone].max(initial=0) <= part[~gone].min()


def test_a_nan_stays_and_pruned_files_shrink(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(64, 64)).astype(np.float32)
    values[3, 4] = np.nan
    before = Checkpoint({"w": from_floats(values, "BF16")}, {})
    after = prune(before, PruneConfig("l1", 0.8))
    assert np.isnan(after.tensors["w"].floats()[3, 4])
    write(tmp_path / "p.nnc", after, 1)
    write(tmp_path / "w.nnc", before, 1)
    assert (tmp_path / "p.nnc").stat().st_size * 2 < (tmp_path / "w.nnc").stat().st_size
    back = read(tmp_path / "p.nnc")
    assert np.array_equal(back.tensors["w"].data, after.tensors["w"].data)
    assert nncodec.decompress((tmp_path / "p.nnc").read_bytes())


def test_masked_leaves_no_minus_zero() -> None:
    tensor = from_floats(np.array([[-1.0, -2.0]], dtype=np.float32), "F32")
    out = masked(tensor, np.array([[False, True]]))
    assert out.data.tobytes() == np.array([[0.0, -2.0]], dtype=np.float32).tobytes()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "magnitude", "amount": 0.5}, "no pruning method 'magnitude'"),
        ({"method": "l1"}, "an amount of 0.0"),
        ({"method": "l1", "amount": 1.0}, "an amount of 1.0"),
        ({"method": "4:4"}, "prunes nothing"),
        ({"method": "2:4", "amount": 0.5}, "leave the amount out"),
        ({"method": "l1", "amount": 0.5, "only": "("}, "no regular expression"),
        ({"method": "ln-structured", "amount": 0.5, "norm": 0.0}, "ranks nothing"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(QuantizationError, match=message):
        PruneConfig(**settings)  # type: ignore[arg-type]


def test_what_cannot_be_pruned_is_refused() -> None:
    before = weights()
    with pytest.raises(QuantizationError, match="like 'nothing'"):
        prune(before, PruneConfig("l1", 0.5, only="nothing"))
    with pytest.raises(QuantizationError, match="'a' has no axis 2"):
        prune(before, PruneConfig("ln-structured", 0.5, axis=2))
    made = quantize(before.tensors, Settings("uniform", step=0.1, least=1))
    with pytest.raises(QuantizationError, match="quantised: prune the original"):
        prune(made.checkpoint, PruneConfig("l1", 0.5))


def test_without_torch_one_line_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "w.safetensors", weights(), 1)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "nncodec.lossy.prune")
    monkeypatch.delattr(nncodec.lossy, "prune")
    out = str(tmp_path / "p.safetensors")
    args = ["weights", "prune", str(tmp_path / "w.safetensors"), "-o", out, "--amount", "0.5"]
    assert app(args, standalone_mode=False) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "needs torch: install it with pip install 'nncodec-lm[train]'" in said
    assert not Path(out).exists()
