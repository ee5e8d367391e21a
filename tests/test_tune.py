"""Tuning: gradients through quantisers and factors, masks, what comes out, what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from helpers import TEXT
from torch import Tensor

pytest.importorskip("transformers", reason="tuning needs transformers")

from nncodec.cli.app import app
from nncodec.errors import QuantizationError
from nncodec.lossy import Checkpoint, Settings, documents, plain, quantize, read, write
from nncodec.lossy.evaluate import CausalLM
from nncodec.lossy.lowrank import RankConfig, factor, restore
from nncodec.lossy.prune import PruneConfig, prune
from nncodec.lossy.student import Student
from nncodec.lossy.tune import TuneConfig, divergence, masks_of, text_batches, tune

FORMATS = {
    "uniform": Settings("uniform", step=0.2, least=1),
    "trellis": Settings("trellis", step=0.1, states=8, least=1),
    "per row": Settings("uniform", step=0.2, per_row=True, least=1),
    "int4": Settings("int4", group=32, least=1),
    "packed": Settings("int4", group=32, least=1, packed=True),
    "nf4": Settings("nf4", least=1),
    "int8": Settings("int8", per_row=True, least=1),
    "quantile": Settings("quantile", least=1),
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(model_home: Path) -> Path:
    return model_home / "tiny"


@pytest.fixture(scope="module")
def teacher(folder: Path) -> CausalLM:
    return CausalLM(folder)


@pytest.fixture(scope="module")
def original(folder: Path) -> Checkpoint:
    return read(folder / "model.safetensors")


def drift(teacher: CausalLM, folder: Path, checkpoint: Checkpoint) -> float:
    """Nats a byte that a compressed model costs more than its teacher, by the teacher, on TEXT."""
    student = CausalLM(folder)
    student.put(restore(plain(checkpoint)).tensors)
    inputs, targets = documents.padded(documents.windows(teacher, [TEXT]))
    with torch.no_grad():
        return divergence(student.logits(inputs), teacher.logits(inputs), targets).item()


def tuned(
    teacher: CausalLM,
    checkpoint: Checkpoint,
    masks: dict[str, Tensor] | None = None,
    **options: float,
) -> Checkpoint:
    config = TuneConfig(**{"steps": 25, "batch": 2, "rate": 3e-3, **options})  # type: ignore[arg-type]
    return tune(teacher, checkpoint, text_batches(teacher, [TEXT], config), config, masks)


def test_weights_by_the_names_of_the_file(teacher: CausalLM, original: Checkpoint) -> None:
    assert teacher.parameters().keys() == original.tensors.keys()
    tokens = torch.tensor([[256, *TEXT[:20]]])
    with torch.no_grad():
        own = teacher.logits(tokens)
        doubled = {"head.weight": 2 * teacher.parameters()["head.weight"]}
        assert torch.allclose(teacher.logits(tokens, doubled), 2 * own, atol=1e-4)
        assert torch.equal(teacher.logits(tokens), own), "the model itself is as it was"


def test_a_folder_of_ours_is_its_floats(folder: Path, original: Checkpoint) -> None:
    found = read(folder).tensors
    assert found.keys() == original.tensors.keys()
    for name, tensor in found.items():
        assert np.array_equal(tensor.data, original.tensors[name].data)


def test_bits_per_byte_of_documents(teacher: CausalLM) -> None:
    texts = [TEXT[:30], b"a", TEXT[30:100]]
    nats = 0.0
    for text in texts:
        tokens = torch.tensor([[256, *text]])
        with torch.no_grad():
            chances = teacher.logits(tokens).double().log_softmax(-1)
        nats -= float(chances[0, range(len(text)), list(text)].sum())
    measured = documents.bits_per_byte(teacher, texts)
    assert measured == pytest.approx(nats / math.log(2) / 101, rel=1e-5)
    assert documents.bits_per_byte(teacher, texts[:1]) == pytest.approx(
        teacher.bits_per_byte(texts[0]), rel=1e-5
    )


def test_divergence_counts_no_padding() -> None:
    generator = torch.Generator().manual_seed(3)
    student, teacher = torch.randn(2, 2, 5, 7, generator=generator)
    targets = torch.zeros(2, 5, dtype=torch.int64)
    targets[1, 2:] = documents.IGNORED
    p, q = teacher.softmax(-1), student.softmax(-1)
    each = (p * (p / q).log()).sum(-1)
    expected = torch.cat([each[0], each[1, :2]]).mean()
    assert divergence(student, teacher, targets).item() == pytest.approx(expected.item(), rel=1e-4)
    assert divergence(teacher, teacher, targets).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("settings", FORMATS.values(), ids=FORMATS)
def test_a_student_begins_as_the_file_and_ends_as_one(
    settings: Settings, original: Checkpoint, teacher: CausalLM, tmp_path: Path
) -> None:
    made = quantize(original.tensors, settings, metadata=original.metadata).checkpoint
    student = Student(made, original=teacher.parameters())
    student.refresh()
    weights, wanted = student.weights(), plain(made).tensors
    for name, tensor in wanted.items():
        near = torch.from_numpy(tensor.floats().copy())
        assert weights[name].shape == near.shape
        assert (weights[name] - near).abs().max() <= 0.25 * near.abs().max(), name
    back = student.result()
    assert list(back.tensors) == list(made.tensors)
    assert {n: (t.dtype, t.shape) for n, t in back.tensors.items()} == {
        n: (t.dtype, t.shape) for n, t in made.tensors.items()
    }
    write(tmp_path / "m.nnc", back, 1)
    for name, tensor in plain(read(tmp_path / "m.nnc")).tensors.items():
        stored = torch.from_numpy(tensor.floats().copy())
        assert torch.allclose(stored, weights[name], rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize("form", FORMATS)
def test_steps_are_what_lies_between_levels(form: str, original: Checkpoint) -> None:
    made = quantize(original.tensors, FORMATS[form]).checkpoint
    student = Student(made)
    assert student.scheme is not None
    for name, step in student.scheme.steps.items():
        error = plain(made).tensors[name].floats() - original.tensors[name].floats()
        assert 0.1 < np.sqrt(np.square(error).mean()) / step < 2, name


@pytest.mark.parametrize("form", ["uniform", "trellis", "int4"])
def test_tuning_wins_back_what_quantising_lost(
    form: str, teacher: CausalLM, folder: Path, original: Checkpoint
) -> None:
    made = quantize(original.tensors, FORMATS[form]).checkpoint
    better = tuned(teacher, made)
    assert drift(teacher, folder, better) < 0.8 * drift(teacher, folder, made)
    assert better.metadata.keys() == made.metadata.keys()


def test_tuning_wins_back_what_pruning_lost(
    teacher: CausalLM, folder: Path, original: Checkpoint
) -> None:
    pruned = prune(original, PruneConfig("l1", 0.3))
    masks = masks_of(pruned)
    better = tuned(teacher, pruned, masks)
    assert drift(teacher, folder, better) < 0.5 * drift(teacher, folder, pruned)
    for name, mask in masks.items():
        assert not better.tensors[name].floats()[~mask.numpy()].any(), name
        assert better.tensors[name].floats()[mask.numpy()].all(), name


def test_masks_hold_in_a_uniform_quantiser(
    teacher: CausalLM, folder: Path, original: Checkpoint
) -> None:
    pruned = prune(original, PruneConfig("2:4"))
    made = quantize(pruned.tensors, FORMATS["uniform"], metadata=pruned.metadata).checkpoint
    masks = masks_of(pruned)
    better = tuned(teacher, made, masks)
    assert drift(teacher, folder, better) < drift(teacher, folder, made)
    for name, mask in masks.items():
        assert not plain(better).tensors[name].floats()[~mask.numpy()].any(), name


def test_factors_are_tuned(teacher: CausalLM, folder: Path, original: Checkpoint) -> None:
    made, _ = factor(original, RankConfig(rank=8))
    better = tuned(teacher, made)
    assert better.tensors.keys() == made.tensors.keys()
    assert drift(teacher, folder, better) < 0.8 * drift(teacher, folder, made)


def test_the_same_seed_gives_the_same_weights(teacher: CausalLM, original: Checkpoint) -> None:
    made = quantize(original.tensors, FORMATS["uniform"]).checkpoint

    def codes(seed: int) -> bytes:
        config = TuneConfig(steps=4, batch=2, rate=3e-3, seed=seed)
        pieces = [TEXT[at : at + 40] for at in range(0, len(TEXT), 40)]
        out = tune(teacher, made, text_batches(teacher, pieces, config), config)
        return b"".join(tensor.data.tobytes() for tensor in out.tensors.values())

    assert codes(1) == codes(1) != codes(2)


def test_every_pass_sees_every_window_once(teacher: CausalLM) -> None:
    pieces = [bytes([i]) * 5 for i in range(6)]
    batches = text_batches(teacher, pieces, TuneConfig(batch=4))
    seen = [int(row[0]) for step in range(3) for row in batches(step)[1]]
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))
    assert seen[:6] != seen[6:], "shuffled anew"
    again = [int(row[0]) for row in batches(1)[1]]
    assert again == seen[4:8], "a batch is a function of the step"


def test_gradients_of_text_alone(teacher: CausalLM, folder: Path, original: Checkpoint) -> None:
    made = quantize(original.tensors, FORMATS["uniform"]).checkpoint
    better = tuned(teacher, made, text=1.0)
    student = CausalLM(folder)
    student.put(plain(made).tensors)
    before = student.bits_per_byte(TEXT)
    student.put(plain(better).tensors)
    assert student.bits_per_byte(TEXT) < before


def broken_masks(masks: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**masks, "head.weight": torch.ones(3, 3, dtype=torch.bool)}


REFUSED: dict[str, Callable[[Checkpoint, CausalLM], object]] = {
    "at least 1": lambda c, t: TuneConfig(steps=0),
    "a rate of 2": lambda c, t: TuneConfig(rate=2.0),
    "the mask of 'head.weight'": lambda c, t: tuned(t, c, broken_masks(masks_of(c))),
    "no text to tune on": lambda c, t: text_batches(t, [], TuneConfig()),
    "in several ways": lambda c, t: Student(mixed(c)),
}


def mixed(original: Checkpoint) -> Checkpoint:
    one = quantize(original.tensors, Settings("uniform", step=0.1, least=1, keep="head"))
    two = quantize(original.tensors, Settings("int8", least=1, keep=r"^(?!head)"))
    from nncodec.lossy import spec

    tensors = {**one.tensors, "head.weight": two.tensors["head.weight"]}
    return Checkpoint(tensors, spec.pack({**one.records, **two.records}))


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_meant_is_refused(
    message: str, original: Checkpoint, teacher: CausalLM
) -> None:
    with pytest.raises(QuantizationError, match=message):
        REFUSED[message](original, teacher)


def test_a_loss_that_is_no_number_is_an_error(teacher: CausalLM, original: Checkpoint) -> None:
    values = original.tensors["head.weight"].data.copy()
    values[0, 0] = np.nan
    from nncodec.lossy import from_numpy

    bad = Checkpoint({**original.tensors, "head.weight": from_numpy(values)}, {})
    with pytest.raises(QuantizationError, match="nan at step 0: lower the rate"):
        tuned(teacher, bad)


def test_the_commands_in_a_row(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*args: str, fails: str = "") -> str:
        code = app(["weights", *args], standalone_mode=False)
        said = capsys.readouterr().err
        assert (code or 0) == (1 if fails else 0), said
        if fails:
            assert said.startswith("nncodec: "), said
            assert fails in said
            assert said.count("\n") == 1
        return said

    source = str(folder / "model.safetensors")
    said = run("prune", source, "-o", "p.safetensors", "--method", "2:4")
    assert "50.0 %" in said
    assert json.loads(read(tmp_path / "p.safetensors").metadata["nncodec.pruning"]) == {
        "method": "2:4"
    }
    run("prune", source, "-o", "p.safetensors", "--amount", "0.5", fails="already exists")
    run("prune", source, "-o", "q.safetensors", "--method", "3:2", fails="3:2")
    with pytest.raises(typer.BadParameter, match="one of --energy"):
        run("lowrank", source, "-o", "r.nnc")
    run("lowrank", "p.safetensors", "-o", "r.nnc", "--rank", "4")
    assert "nncodec.lowrank" in read(tmp_path / "r.nnc").metadata
    run("quantize", "r.nnc", "-o", "s.nnc", "--format", "uniform", "--step", "0.1", "--least", "1")
    (tmp_path / "text").write_bytes(TEXT)
    options = ("--teacher", str(folder), "--text", "text", "--steps", "3", "--batch", "2")
    said = run("tune", "s.nnc", "-o", "t.nnc", *options)
    assert "in 3 steps" in said
    assert read(tmp_path / "t.nnc").metadata.keys() == read(tmp_path / "s.nnc").metadata.keys()
    run("tune", "s.nnc", "-o", "u.nnc", "--teacher", str(folder), fails="give text")
    run("tune", "absent", "-o", "u.nnc", "--teacher", str(folder), fails="absent")
    run("dequantize", "t.nnc", "-o", "v.safetensors")
    restored = read(tmp_path / "v.safetensors").tensors
    assert {n: t.shape for n, t in restored.items()} == {
        n: t.shape for n, t in read(Path(source)).tensors.items()
    }
    assert not list(tmp_path.glob("u.nnc*"))
