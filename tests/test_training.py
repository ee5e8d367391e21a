"""Data, training loop and export: batches are reproducible, runs resume, results compress."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
import torch
from helpers import (
    CLI,
    JSON,
    TEXT,
    TINY,
    python_fails,
    run_python,
    tiny_float_model,
    write_corpus,
    write_domain,
)
from safetensors.torch import load_file

import nncodec
from nncodec.config import BEGIN_OF_BLOCK, ModelConfig
from nncodec.engine_weights import EngineModel
from nncodec.errors import InvalidModelError, NNCodecError, UnknownDomainError
from nncodec.lanes import Coder
from nncodec.lm.data import (
    DEFAULT_MIX,
    BatchSampler,
    Domain,
    load_domains,
    mix_for,
    parse_mix,
    with_crlf,
)
from nncodec.lm.export import export
from nncodec.lm.grow import grow
from nncodec.lm.model import ByteTransformer
from nncodec.lm.plan import Budget, TrainConfig
from nncodec.lm.run import export_folder
from nncodec.lm.runfiles import Checkpoint, check_plan
from nncodec.lm.start import starting_model
from nncodec.lm.train import byte_loss, make_optimizers, train

CPU = torch.device("cpu")
SHORT = TrainConfig(bytes=110 * 4 * 32, batch=4, length=32, warmup_steps=5, compile=False)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus")


def test_domains_are_told_from_held_out_ones(corpus: Path) -> None:
    assert [d.name for d in load_domains(corpus)] == ["code", "en_books"]
    assert [d.name for d in load_domains(corpus, "valid")] == ["en_books"]


def chances(*values: float) -> Callable[[], float]:
    """These, one after the other; more draws than values are an error."""
    return iter(values).__next__


def test_windows_go_on_with_documents_drawn(tmp_path: Path) -> None:
    write_domain(tmp_path, "code", [b"abc", b"", b"de"])
    domain = load_domains(tmp_path)[0]
    mark = BEGIN_OF_BLOCK
    a, b, c, d, e = b"abcde"
    first, second, third = 0.0, 0.4, 0.99
    assert domain.window(0, 4, chances()).tolist() == [mark, a, b, c]
    assert domain.window(0, 8, chances(third)).tolist() == [mark, a, b, c, mark, d, e, mark]
    assert domain.window(1, 7, chances(first)).tolist() == [mark, b, c, mark, a, b, c]
    # An empty document is a mark, and a window may begin at the byte that closes one.
    assert domain.window(3, 5, chances(second, third)).tolist() == [mark, mark, mark, d, e]
    assert domain.window(4, 3, chances(third)).tolist() == [mark, mark, d]
    assert domain.window(7, 3, chances(first)).tolist() == [mark, mark, a]


def test_a_zero_inside_a_document_is_no_mark(tmp_path: Path) -> None:
    write_domain(tmp_path, "binary", [b"\0\1\0", b"\2"])
    window = load_domains(tmp_path)[0].window(0, 6, chances(0.5))
    assert window.tolist() == [256, 0, 1, 0, 256, 2]


def sampler(corpus: Path, seed: int = 3) -> BatchSampler:
    return BatchSampler(load_domains(corpus), DEFAULT_MIX, batch=6, length=20, seed=seed)


def test_batches_do_not_depend_on_history(corpus: Path) -> None:
    one, other = sampler(corpus), sampler(corpus)
    forwards = [one.batch(i) for i in range(8)]
    backwards = [other.batch(i) for i in reversed(range(8))][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        assert a.tolist() == b.tolist()
    assert len({batch.tobytes() for batch in forwards}) == 8
    assert sampler(corpus, seed=4).batch(0).tolist() != forwards[0].tolist()


def test_rows_are_those_of_the_whole_batch(corpus: Path) -> None:
    """What several processes draw together is what one would draw."""
    whole = sampler(corpus)
    for cursor in range(5):
        parts = [sampler(corpus).batch(cursor, slice(i, i + 2)) for i in (0, 2, 4)]
        assert np.concatenate(parts).tolist() == whole.batch(cursor).tolist()


def test_any_byte_may_open_a_window_and_any_document_follow_one(tmp_path: Path) -> None:
    documents = [bytes([i]) * (i + 1) for i in range(8)]
    write_domain(tmp_path, "code", documents)
    domains = load_domains(tmp_path)
    draws = BatchSampler(domains, {"code": 1.0}, batch=400, length=24, seed=1)
    rows = np.concatenate([draws.batch(i) for i in range(10)])
    opened, followed = Counter(rows[:, 1].tolist()), Counter()
    for row in rows:
        marks = np.flatnonzero(row[:-1] == BEGIN_OF_BLOCK)[1:]
        followed.update(row[marks + 1].tolist())
    size = len(domains[0].data)
    for i, document in enumerate(documents):
        share = 0.9 * len(document) / size + 0.1 / len(documents)
        assert abs(opened[i] / len(rows) - share) < 0.025, i
        # A document of one byte follows as often as one of eight.
        assert abs(followed[i] / sum(followed.values()) - 1 / len(documents)) < 0.025, i


def test_batches_are_tokens(corpus: Path) -> None:
    batch = sampler(corpus).batch(1)
    assert batch.shape == (6, 20)
    assert batch.dtype == np.int64
    assert (batch[:, 0] == BEGIN_OF_BLOCK).all()
    assert batch.min() >= 0
    assert batch.max() <= BEGIN_OF_BLOCK


def test_windows_start_at_documents_now_and_then(corpus: Path) -> None:
    batch = np.concatenate([sampler(corpus).batch(i) for i in range(40)])
    starts = [bytes(row[1:7].astype(np.uint8).tolist()) for row in batch if max(row[1:7]) < 256]
    known = [d[:6] for d in (*TEXT.splitlines(), JSON)]
    assert sum(s in known for s in starts) >= len(batch) // 30


def test_line_ends_become_those_of_dos_once() -> None:
    tokens = np.array([BEGIN_OF_BLOCK, *b"\na\r\nb\n\nc and more"])
    wide = with_crlf(tokens)
    assert len(wide) == len(tokens)
    assert bytes(wide[1:].astype(np.uint8).tolist()) == b"\r\na\r\nb\r\n\r\nc and m"


def test_every_domain_is_drawn(corpus: Path) -> None:
    batch = np.concatenate([sampler(corpus).batch(i) for i in range(20)])
    braces = (batch == ord("{")).any(1)
    assert 0.1 < braces.mean() < 0.8


def test_a_domain_without_a_weight_is_an_error(corpus: Path) -> None:
    write_domain(corpus, "martian", [b"x"])
    with pytest.raises(UnknownDomainError, match="martian"):
        sampler(corpus)


def test_a_mix_of_ones_own(corpus: Path) -> None:
    domains = load_domains(corpus)
    asked = parse_mix("code=2.5")
    assert asked == {"code": 2.5}
    assert parse_mix("code=1,en_books=0") == {"code": 1.0, "en_books": 0.0}
    assert mix_for(domains, asked) == {"code": 2.5}
    assert mix_for(domains, {"code": 1.0, "en_books": 0.0}) == {"code": 1.0}
    code = [domain for domain in domains if domain.name == "code"]
    draws = BatchSampler(code, mix_for(domains, asked), batch=50, length=8, seed=0)
    assert set(draws.batch(0).ravel().tolist()) <= {*JSON, BEGIN_OF_BLOCK}
    with pytest.raises(UnknownDomainError, match=r"martian.*code.*en_books"):
        mix_for(domains, {"code": 1.0, "martian": 1.0})


@pytest.mark.parametrize("text", ["code", "code=", "code=x", "code=-1", "code=nan", "=1", "a=0"])
def test_mixes_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse_mix(text)


def test_a_folder_without_corpora_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        load_domains(tmp_path)


BAD_INDEXES = {
    "empty": [],
    "does not start at 0": [1, 4],
    "ends too early": [0, 3],
    "ends too late": [0, 5],
    "falls": [0, 3, 2, 4],
    "repeats": [0, 2, 2, 4],
}


@pytest.mark.parametrize("offsets", BAD_INDEXES.values(), ids=BAD_INDEXES)
def test_damaged_indexes_are_errors(tmp_path: Path, offsets: list[int]) -> None:
    write_domain(tmp_path, "code", [b"abc"])
    (tmp_path / "code.idx").write_bytes(np.array(offsets, dtype="<u8").tobytes())
    with pytest.raises(ValueError, match=r"code\.idx"):
        load_domains(tmp_path)


def test_budget() -> None:
    for minutes, size in ((0, 0), (1, 1)):
        with pytest.raises(ValueError, match="either minutes or bytes"):
            Budget(TrainConfig(minutes=minutes, bytes=size))
    by_bytes, by_minutes = Budget(TrainConfig(bytes=1000)), Budget(TrainConfig(minutes=2))
    assert [by_bytes.progress(1e9, n) for n in (0, 250, 1000, 2000)] == [0, 0.25, 1, 1]
    assert [by_minutes.progress(s, 10**9) for s in (0, 30, 120, 300)] == [0, 0.25, 1, 1]


def test_rate_rises_stays_and_falls_to_zero() -> None:
    budget = Budget(TrainConfig(bytes=1, warmup_steps=10, decay_share=0.5))
    assert [budget.rate(0.0, step) for step in (0, 4, 9, 50)] == [0.1, 0.5, 1.0, 1.0]
    assert [budget.rate(p, 100) for p in (0.5, 0.75, 1.0)] == [1.0, 0.5, 0.0]


def fresh_model() -> ByteTransformer:
    torch.manual_seed(0)
    return ByteTransformer(TINY)


def silent(_line: str) -> None:
    pass


def weights(run: Path) -> dict[str, npt.NDArray[np.float32]]:
    return {k: v.numpy() for k, v in load_file(run / "model.safetensors").items()}


def csv_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_training_learns_and_its_result_compresses(corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    before = train(fresh_model(), corpus, tmp_path / "none", replace(SHORT, bytes=1), CPU, silent)
    lines: list[str] = []
    after = train(fresh_model(), corpus, run, SHORT, CPU, lines.append)
    assert set(after) == {"en_books", "mean"}
    assert before["mean"] > 7
    assert after["mean"] < before["mean"] - 1.5

    rows = csv_rows(run / "metrics.csv")
    assert [row["step"] for row in rows] == ["100"]
    assert 0 < float(rows[0]["bpb"]) < 8
    assert int(rows[0]["bytes"]) == 100 * 4 * 32
    assert abs(float(csv_rows(run / "heldout.csv")[-1]["mean"]) - after["mean"]) < 1e-4
    assert any("bpb" in line for line in lines)
    assert json.loads((run / "train.json").read_text())["batch"] == 4

    checkpoint = (run / "checkpoint.safetensors").read_bytes()
    header = json.loads(checkpoint[8 : 8 + int.from_bytes(checkpoint[:8], "little")])
    assert json.loads(header["__metadata__"]["state"])["step"] == 110
    for path in run.iterdir():  # nothing that unpickling could run
        assert path.suffix in {".safetensors", ".json", ".csv"}

    write_domain(corpus, "code.valid", [JSON])
    model_id = export_folder(run, corpus, tmp_path / "model")
    archive = nncodec.compress(TEXT, model=str(tmp_path / "model"))
    info = nncodec.info(archive)
    assert info.models == [model_id.hex()]
    assert info.bits_per_byte < 7
    coder = nncodec.api.load_codec(model=str(tmp_path / "model")).coder
    assert decode_with(coder, archive) == TEXT
    assert export_folder(run, corpus, run) == model_id  # in place, the same


def decode_with(coder: Coder, archive: bytes) -> bytes:
    sink = io.BytesIO()
    nncodec.decoding.decompress_stream(io.BytesIO(archive), sink, lambda _id: coder)
    return sink.getvalue()


class Stopped(Exception):
    """Stands for a kill."""


def test_a_stopped_run_ends_as_an_uninterrupted_one(corpus: Path, tmp_path: Path) -> None:
    config = replace(SHORT, save_every_s=0.0)  # after every step

    def stop(_line: str) -> None:
        raise Stopped

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(fresh_model(), corpus, whole, config, CPU, silent)
    with pytest.raises(Stopped):
        train(fresh_model(), corpus, parts, config, CPU, stop)
    assert not (parts / "model.safetensors").exists()
    assert not list(parts.glob("*.tmp"))
    other_start = tiny_float_model(99)  # what the checkpoint holds counts, not the start
    log = parts / "metrics.csv"
    log.write_text(log.read_text() + "105,1,1,1,1,1\n")  # written after the last checkpoint
    train(other_start, corpus, parts, config, CPU, silent)
    assert [row["step"] for row in csv_rows(log)] == ["100"]
    for name, value in weights(whole).items():
        assert (weights(parts)[name] == value).all(), name


def test_a_run_pauses_on_its_way(corpus: Path, tmp_path: Path) -> None:
    """``stop_minutes`` ends it with a checkpoint while the rate is still where the plan has it."""
    run = tmp_path / "run"
    paused = replace(SHORT, bytes=0, minutes=1000.0, stop_minutes=1 / 60 / 100)
    train(fresh_model(), corpus, run, paused, CPU, silent)
    state = Checkpoint(run).state()
    assert state is not None
    assert 0.01 <= state["seconds"] < 3600
    assert (run / "model.safetensors").exists()
    longer = replace(paused, stop_minutes=(state["seconds"] + 0.01) / 60)
    train(fresh_model(), corpus, run, longer, CPU, silent)
    after = Checkpoint(run).state()
    assert after is not None
    assert after["step"] > state["step"]


def test_a_finished_run_stays_as_it_is(corpus: Path, tmp_path: Path) -> None:
    config = replace(SHORT, bytes=4 * 32 * 5)
    train(fresh_model(), corpus, tmp_path / "run", config, CPU, silent)
    before = weights(tmp_path / "run")
    train(fresh_model(), corpus, tmp_path / "run", config, CPU, silent)
    for name, value in weights(tmp_path / "run").items():
        assert (before[name] == value).all()


@torch.no_grad()
def test_a_grown_model_says_what_the_small_one_said() -> None:
    """Larger in every direction, and nearly the same logits; the new parts are there to learn."""
    old = tiny_float_model(1)
    small = old.config
    shape = replace(
        small,
        d_model=2 * small.d_model,
        d_ff=3 * small.d_ff,
        n_heads=small.n_heads + 1,
        windows=(*small.windows, small.windows[-1]),
    )
    new = grow(old, shape)
    assert sum(p.numel() for p in new.parameters()) > 3 * sum(p.numel() for p in old.parameters())
    tokens = torch.from_numpy(np.frombuffer(TEXT[:60], dtype=np.uint8).astype(np.int64))[None]
    before, after = old(tokens).log_softmax(-1), new(tokens).log_softmax(-1)
    other = ByteTransformer(shape)(tokens).log_softmax(-1)
    assert (before - after).abs().mean() < 0.05 * (before - other).abs().mean()


def test_a_grown_model_learns_with_all_of_its_parts() -> None:
    old = tiny_float_model(1)
    small = old.config
    shape = replace(small, d_model=2 * small.d_model, windows=(*small.windows, 8))
    model = grow(old, shape)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizers = make_optimizers(model, SHORT)
    tokens = torch.from_numpy(np.frombuffer(TEXT[:64], dtype=np.uint8).astype(np.int64))[None]
    for _ in range(3):
        torch.autograd.backward(byte_loss(model, tokens))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    still = [name for name, p in model.named_parameters() if torch.equal(p, start[name])]
    assert still == []


@torch.no_grad()
def test_a_grown_model_keeps_its_tables() -> None:
    tables = {"ngram_orders": (2, 5), "ngram_bits": 6, "ngram_width": 4}
    old = tiny_float_model(1)
    new = grow(old, replace(old.config, **tables))
    tokens = torch.from_numpy(np.frombuffer(TEXT[:60], dtype=np.uint8).astype(np.int64))[None]
    assert torch.equal(old(tokens), new(tokens))  # they begin at zero
    old = tiny_float_model(1, new.config)
    new = grow(old, replace(old.config, d_model=2 * old.config.d_model))
    assert (old(tokens) - new(tokens)).abs().mean() < 0.05 * old(tokens).abs().mean()
    with pytest.raises(ValueError, match="ngram_bits"):
        grow(old, replace(old.config, ngram_bits=7))


@pytest.mark.parametrize(
    "change", [{"d_model": 8}, {"windows": (4,)}, {"head_dim": 8}, {"n_kv_heads": 2}]
)
def test_a_model_does_not_shrink_or_change_its_heads(change: dict[str, object]) -> None:
    old = tiny_float_model(1)
    values = {**asdict(old.config), **change}
    shape = SimpleNamespace(**values)
    with pytest.raises(ValueError, match=f"{next(iter(change))}|layers"):
        grow(old, cast(ModelConfig, shape))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_export_refuses_what_is_not_finite(value: float) -> None:
    model = tiny_float_model(1)
    with torch.no_grad():
        model.blocks[0].mlp.up.weight[3, 3] = value
    with pytest.raises(InvalidModelError, match=r"blocks\.0\.mlp\.up"):
        export(model, np.zeros((1, 8), np.int64))


def test_export_refuses_what_exact_arithmetic_cannot_hold() -> None:
    model = tiny_float_model(1)
    with torch.no_grad():
        model.head.weight[0, 0] = 1e6
    with pytest.raises(InvalidModelError, match="head"):
        export(model, np.zeros((1, 8), np.int64))


def test_export_of_a_fresh_model_is_usable() -> None:
    """Training starts with zero matrices; their scales are floored, not zero."""
    model = export(fresh_model(), np.zeros((1, 8), np.int64))
    assert len(model.model_id) == 16


def test_export_survives_a_value_channel_that_calibration_leaves_silent() -> None:
    model = tiny_float_model(4)
    with torch.no_grad():
        model.embed.weight[:, 0] = 0.0
        model.blocks[0].attention.qkv.weight[-1] = 0.0
        model.blocks[0].attention.qkv.weight[-1, 0] = 0.2
    export(model, np.arange(16)[None])


def test_float_model_folder_there_and_back(tmp_path: Path) -> None:
    model = tiny_float_model(2)
    model.save_pretrained(tmp_path)
    back = ByteTransformer.from_pretrained(tmp_path)
    for (name, a), b in zip(model.state_dict().items(), back.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InvalidModelError, match=str(tmp_path)):
        ByteTransformer.from_pretrained(tmp_path)


def test_domain_windows_never_leave_the_data() -> None:
    domain = Domain("code", np.arange(10, dtype=np.uint8), np.array([0, 10]))
    for at in range(10):
        window = domain.window(at, 7, chances(*[0.0] * 7))
        assert window.shape == (7,)
        assert set(window.tolist()) <= {*range(9), BEGIN_OF_BLOCK}


def test_own_files_can_be_packed(tmp_path: Path) -> None:
    """scripts/pack_corpus.py writes what load_domains reads, documents whole, each in one split."""
    source = tmp_path / "source"
    source.mkdir()
    documents = {f"document {i}\n".encode() * 3 for i in range(400)}
    for i, document in enumerate(sorted(documents)):
        (source / f"{i}.txt").write_bytes(document)
    (source / "empty").touch()
    script = Path(__file__).resolve().parent.parent / "scripts" / "pack_corpus.py"
    command = [sys.executable, script, "-o", tmp_path / "corpus", f"notes={source}"]
    subprocess.run(command, check=True, capture_output=True)
    found = []
    for split in ("train", "valid"):
        (domain,) = load_domains(tmp_path / "corpus", split)
        bounds = pairwise(domain.offsets.tolist())
        found += [bytes(domain.data[start : end - 1]) for start, end in bounds]
        assert mix_for([domain]) == {"notes": len(domain.data)}
    assert sorted(found) == sorted(documents)


def test_a_run_goes_on_under_its_own_plan_only(tmp_path: Path) -> None:
    plan = TrainConfig(minutes=1, seed=3)
    check_plan(tmp_path, plan)
    check_plan(tmp_path, replace(plan, minutes=2, muon_lr=0.1))  # more time, other rates are fine
    with pytest.raises(ValueError, match="other seed"):
        check_plan(tmp_path, replace(plan, minutes=2, seed=4))


def test_what_a_run_was_begun_with_cannot_change(corpus: Path, tmp_path: Path) -> None:
    run, short = tmp_path / "run", replace(SHORT, bytes=4 * 32 * 5)
    train(fresh_model(), corpus, run, short, CPU, silent)
    other = ByteTransformer(replace(TINY, windows=(4, 64)))  # the same tensors
    with pytest.raises(ValueError, match="another shape"):
        train(other, corpus, run, short, CPU, silent)
    with pytest.raises(ValueError, match="other start"):
        train(fresh_model(), corpus, run, replace(short, start="00"), CPU, silent)
    assert ModelConfig.load(run) == TINY


def test_a_run_that_diverges_keeps_what_was_saved(corpus: Path, tmp_path: Path) -> None:
    run, often = tmp_path / "run", replace(SHORT, bytes=4 * 32 * 8, save_every_s=0.0)
    train(fresh_model(), corpus, run, often, CPU, silent)
    wild = replace(often, bytes=4 * 32 * 60, adam_lr=1e39)  # weights become infinite
    with pytest.raises(FloatingPointError, match="lower rates"):
        train(fresh_model(), corpus, run, wild, CPU, silent)
    assert all(v.isfinite().all() for v in Checkpoint(run).weights().values())
    train(fresh_model(), corpus, run, replace(wild, adam_lr=1e-3), CPU, silent)  # as it says
    state = Checkpoint(run).state()
    assert state is not None
    assert state["step"] == 60


def test_a_damaged_checkpoint_is_named(corpus: Path, tmp_path: Path) -> None:
    run, short = tmp_path / "run", replace(SHORT, bytes=4 * 32 * 5)
    train(fresh_model(), corpus, run, short, CPU, silent)
    path = Checkpoint(run).path
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    for action in (
        lambda: train(fresh_model(), corpus, run, short, CPU, silent),
        lambda: export_folder(run, corpus, tmp_path / "model"),
    ):
        with pytest.raises(NNCodecError, match=r"checkpoint\.safetensors is damaged"):
            action()
    model = run / "model.safetensors"
    model.write_bytes(model.read_bytes()[:1000])
    with pytest.raises(InvalidModelError, match=r"model\.safetensors"):
        ByteTransformer.from_pretrained(run)


def test_a_run_that_was_killed_can_be_exported(corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(fresh_model(), corpus, run, replace(SHORT, bytes=4 * 32 * 5), CPU, silent)
    (run / "model.safetensors").unlink()
    model_id = export_folder(run, corpus, tmp_path / "model")
    assert EngineModel.load(tmp_path / "model").model_id == model_id
    with pytest.raises(NNCodecError, match="would be overwritten"):
        export_folder(run, corpus, tmp_path / "model")
    assert export_folder(run, corpus, tmp_path / "model", force=True) == model_id


def test_compiled_training_takes_up_rounding(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the tracer alone, without a compiler: the same weights as without it."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    plan = replace(SHORT, bytes=4 * 32 * 12, rounding_share=0.5)
    for name in (True, False):
        run = tmp_path / str(name)
        train(fresh_model(), corpus, run, replace(plan, compile=name), CPU, silent)
    compiled, eager = weights(tmp_path / "True"), weights(tmp_path / "False")
    plain = replace(plan, rounding_share=0.0)
    train(fresh_model(), corpus, tmp_path / "plain", plain, CPU, silent)
    changed = weights(tmp_path / "plain")
    for name, value in eager.items():
        assert np.allclose(compiled[name], value, atol=1e-5), name
    assert any(not np.allclose(changed[n], v, atol=1e-4) for n, v in eager.items())


def test_a_shape_may_leave_out_what_is_as_nanos(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"d_model": 96, "n_heads": 3, "head_dim": 32}')
    model = starting_model(0, tmp_path, None)
    assert (model.config.d_model, model.config.d_ff) == (96, ModelConfig().d_ff)
    assert len(model.config.rope_multipliers) == 16
    with pytest.raises(InvalidModelError, match="model_type"):
        ModelConfig.load(tmp_path)  # a model's own config leaves out nothing
    for text in ('{"head_dim": "x"}', '{"head_dim": 0}', "[]", '{"rope_period": 1e999}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(InvalidModelError):
            ModelConfig.design(tmp_path)


def test_several_key_value_heads_go_on_in_their_own_shape(tmp_path: Path) -> None:
    config = replace(TINY, n_kv_heads=2)
    ByteTransformer(config).save_pretrained(tmp_path)
    assert starting_model(0, None, tmp_path).config == config


def test_the_command_goes_on_with_a_run_by_its_own_plan(corpus: Path, tmp_path: Path) -> None:
    """As docs/gpu.md has it for runs that were brought back."""
    run = tmp_path / "run"
    paused = replace(SHORT, bytes=4 * 32 * 20, stop_minutes=1e-9, seed=3)
    train(fresh_model(), corpus, run, paused, CPU, silent)
    result = run_python(CLI, "train", str(corpus), "-o", str(run), "--device", "cpu")
    assert result.returncode == 0, python_fails(result)
    state = Checkpoint(run).state()
    assert state is not None
    assert state["step"] == 20
    assert EngineModel.load(run).config == TINY
    new = run_python(CLI, "train", "nowhere", "-o", "new", "--minutes", "1", cwd=tmp_path)
    assert (new.returncode, new.stderr.count(b"\n")) == (1, 1)
    assert not (tmp_path / "new").exists()
    float_only = tmp_path / "floats"
    fresh_model().save_pretrained(float_only)
    other = run_python(CLI, "train", str(corpus), "-o", str(float_only), "--minutes", "1")
    assert other.returncode == 1
    assert b"was not trained there" in other.stderr
