"""Adapting a model to one's own files: what it writes, what it measures, what it refuses."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from helpers import CLI, python_fails, run_python

import nncodec
from nncodec.config import FLOAT_FILE
from nncodec.engine_weights import WEIGHTS_FILE, EngineModel
from nncodec.errors import InvalidModelError, NNCodecError
from nncodec.lm.adapt import LEAST_BYTES, RUN, Gain, adapt, default_bytes
from nncodec.lm.data import load_domains
from nncodec.lm.packing import Document, files_below, split
from nncodec.lm.plan import TrainConfig
from nncodec.modelcheck import check

WORDS = ("lane", "block", "logit", "range", "coder", "model", "table", "promise", "exact", "byte")
PLAN = TrainConfig(bytes=40 * 8 * 64, batch=8, length=64, warmup_steps=5, compile=False)


def write_files(folder: Path, count: int = 24, size: int = 4000) -> Path:
    """Sentences of a dozen words: far from random, and unlike what the tiny model was fitted to."""
    folder.mkdir(parents=True)
    for i in range(count):
        rng = random.Random(i)
        words = [rng.choice(WORDS) for _ in range(size // 6)]
        (folder / f"{i}.txt").write_text(" ".join(words))
    return folder


def test_a_model_adapts_and_says_what_that_gains(tmp_path: Path) -> None:
    source, output, said = write_files(tmp_path / "files"), tmp_path / "mine", list[str]()
    gain = adapt("tiny", source, output, PLAN, "cpu", said.append)
    assert gain.after < gain.before
    assert gain.break_even == -(-gain.model_bytes * gain.size // (gain.before - gain.after))
    for line in gain.lines("tiny"):
        assert line in said
        assert line in (output / "README.md").read_text()
    names = {"config.json", "README.md", FLOAT_FILE, WEIGHTS_FILE}
    assert {p.name for p in output.iterdir()} == names  # the run itself is gone
    assert not check(output).problems
    model = EngineModel.load(output)
    assert model.model_id.hex() in said[-1]
    data = (source / "3.txt").read_bytes()
    archive = nncodec.compress(data, model=str(output))
    assert len(archive) < len(nncodec.compress(data, model="tiny"))
    assert nncodec.info(archive).models == [model.model_id.hex()]


def test_an_interrupted_call_goes_on(tmp_path: Path) -> None:
    source, output = write_files(tmp_path / "files"), tmp_path / "mine"

    class Stopped(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("held out, "):  # trained, not yet exported
            raise Stopped

    with pytest.raises(Stopped):
        adapt("tiny", source, output, PLAN, "cpu", stop)
    assert not (output / WEIGHTS_FILE).exists()
    assert (output / RUN / "checkpoint.safetensors").exists()
    (source / "more.txt").write_text("other data")
    with pytest.raises(NNCodecError, match="another data"):
        adapt("tiny", source, output, PLAN, "cpu", lambda _line: None)
    (source / "more.txt").unlink()
    adapt("tiny", source, output, PLAN, "cpu", lambda _line: None)
    assert (output / WEIGHTS_FILE).exists()
    assert not (output / RUN).exists()


def test_a_call_that_was_killed_while_measuring_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, output = write_files(tmp_path / "files"), tmp_path / "mine"
    with monkeypatch.context() as patch:
        patch.setattr("nncodec.lm.adapt.measure", killed)
        with pytest.raises(InterruptedError):
            adapt("tiny", source, output, PLAN, "cpu", lambda _line: None)
    assert [path.name for path in output.iterdir()] == [RUN]  # nothing that looks finished
    with monkeypatch.context() as patch:
        patch.setattr("nncodec.lm.adapt.shutil.rmtree", killed)  # all is in its place already
        with pytest.raises(InterruptedError):
            adapt("tiny", source, output, PLAN, "cpu", lambda _line: None)
    adapt("tiny", source, output, PLAN, "cpu", lambda _line: None)
    assert sorted(path.name for path in output.iterdir()) == sorted(
        ("README.md", "config.json", FLOAT_FILE, WEIGHTS_FILE)
    )


def killed(*_args: object) -> None:
    raise InterruptedError


def write_documents(folder: Path, contents: list[bytes]) -> list[Document]:
    folder.mkdir()
    for i, data in enumerate(contents):
        (folder / f"{i:03}").write_bytes(data)
    return [Document.of(path) for path in files_below(folder)]


def test_held_out_files_are_whole_ones_where_there_are_many(tmp_path: Path) -> None:
    documents = write_documents(tmp_path / "d", [b"document %d " % i * 20 for i in range(400)])
    train, valid = split(documents, 16)
    assert sorted(train + valid, key=lambda d: d.path) == documents
    assert 8 <= len(valid) <= 60
    assert split(documents[::-1], 16)[1] == valid[::-1]  # by contents, whatever the order


def test_held_out_are_the_ends_where_files_are_few(tmp_path: Path) -> None:
    contents = [bytes(range(256)) * 10, b"short", b"x" * 1000]
    train, valid = split(write_documents(tmp_path / "d", contents), 16)
    assert train[0].read() + valid[0].read() == contents[0]
    assert [len(d.read()) for d in train] == [2400, 5, 938]
    assert [len(d.read()) for d in valid] == [160, 62]


def test_many_files_too_short_to_hold_out_anything_are_an_error(tmp_path: Path) -> None:
    # 15 bytes have no sixteenth, and their contents hash all to the same side
    write_documents(tmp_path / "d", [b"fifteen  bytes\n"] * 5000)
    with pytest.raises(NNCodecError, match="0 bytes can be held out"):
        adapt("tiny", tmp_path / "d", tmp_path / "mine", PLAN)
    assert not (tmp_path / "mine").exists()


def test_hidden_files_are_left_alone(tmp_path: Path) -> None:
    source = write_files(tmp_path / "files", 3)
    write_files(source / ".git", 2)
    write_files(source / "sub", 1)
    (source / ".hidden").write_text("secret")
    (source / "empty").touch()
    names = [path.relative_to(source).as_posix() for path in files_below(source)]
    assert names == ["0.txt", "1.txt", "2.txt", "sub/0.txt"]


def test_break_even() -> None:
    assert Gain(1000, 500, 400, 10_000).break_even == 100_000
    assert Gain(1000, 500, 497, 10_000).break_even == 3_333_334
    for after in (500, 501):
        assert Gain(1000, 500, after, 10_000).break_even is None
        assert "no gain" in Gain(1000, 500, after, 10_000).lines("nano")[-1]


def test_default_budget() -> None:
    assert [default_bytes(n) for n in (70_000, 10**6, 10**9)] == [10**6, 4 * 10**6, 64 * 10**6]


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    source = write_files(tmp_path / "files")
    (tmp_path / "README.md").write_text("mine")
    for output in (tmp_path, source):
        with pytest.raises(NNCodecError, match="not empty"):
            adapt("tiny", source, output, PLAN)
    assert (tmp_path / "README.md").read_text() == "mine"
    assert len(list(source.iterdir())) == 24


def test_one_process_adapts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with pytest.raises(NNCodecError, match="without torchrun"):
        adapt("tiny", write_files(tmp_path / "files"), tmp_path / "mine", PLAN)


def test_binary_files_and_line_ends_are_learned_as_they_are(tmp_path: Path) -> None:
    """No window is turned into CR LF, and zeros in a file are no ends of it."""
    source, output, seen = tmp_path / "files", tmp_path / "mine", list[str]()
    source.mkdir()
    record = bytes([0, 0, 255, 10, 0, 7])
    (source / "a.bin").write_bytes(b"".join(record + bytes([i % 251]) for i in range(12_000)))

    def stop(line: str) -> None:
        seen.append(line)
        if line.startswith("held out, "):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        adapt("tiny", source, output, PLAN, "cpu", stop)
    assert json.loads((output / RUN / "train.json").read_text())["crlf"] == 0
    (domain,) = load_domains(output / RUN / "corpus")
    assert len(domain.offsets) == 2
    assert bytes(domain.data[:-1]) == (source / "a.bin").read_bytes()[: len(domain.data) - 1]
    assert adapt("tiny", source, output, PLAN, "cpu", seen.append).size == 84_000 // 16


def test_too_little_data_is_an_error(tmp_path: Path) -> None:
    source = write_files(tmp_path / "files", 2)
    with pytest.raises(NNCodecError, match=f"{LEAST_BYTES} needed"):
        adapt("tiny", source, tmp_path / "mine", PLAN)
    assert not (tmp_path / "mine").exists()


def test_a_model_without_float_weights_is_an_error(tmp_path: Path, tiny_model: EngineModel) -> None:
    tiny_model.save(tmp_path / "bare")
    tiny_model.config.save(tmp_path / "bare")
    with pytest.raises(InvalidModelError, match="--float"):
        adapt(str(tmp_path / "bare"), write_files(tmp_path / "files"), tmp_path / "mine", PLAN)


USAGE = {
    "neither": ["-o", "mine"],
    "both": ["corpus", "--data", "files", "-o", "mine", "--minutes", "1"],
    "no budget": ["corpus", "-o", "mine"],
    "two budgets": ["--data", "files", "-o", "mine", "--minutes", "1", "--megabytes", "1"],
    "another shape": ["--data", "files", "-o", "mine", "--shape", "folder"],
}


@pytest.mark.parametrize("args", USAGE.values(), ids=USAGE)
def test_wrong_usage(tmp_path: Path, args: list[str]) -> None:
    assert run_python(CLI, "train", *args, cwd=tmp_path).returncode == 2
    assert not (tmp_path / "mine").exists()


def test_from_the_command_line(tmp_path: Path) -> None:
    write_files(tmp_path / "files")
    args = ["--from", "tiny", "--data", "files", "-o", "mine", "--megabytes", "0.02"]
    small = ["--batch", "4", "--length", "64", "--no-compile", "--rounding", "0.5"]
    result = run_python(CLI, "train", *args, *small, cwd=tmp_path)
    assert result.returncode == 0, python_fails(result)
    assert b"held out: " in result.stdout
    for missing in (["--from", "tiny", "--data", "nowhere"], ["--from", "no", "--data", "files"]):
        result = run_python(CLI, "train", *missing, "-o", "other", cwd=tmp_path)
        assert (result.returncode, result.stderr.count(b"\n")) == (1, 1), python_fails(result)
        assert not (tmp_path / "other").exists()
