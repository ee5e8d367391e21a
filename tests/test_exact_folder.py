"""``nncodec models convert``: from a Hugging Face folder to one that any machine can use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import TEXT
from test_cli import assert_one_error, cli
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from nncodec import modelstore
from nncodec._core import PayloadError
from nncodec.blocks import Geometry
from nncodec.causal.exact import folder as folders
from nncodec.causal.exact.blocks import ExactTokens
from nncodec.causal.exact.coding import token_geometry
from nncodec.causal.exact.folder import convert_folder, load_float, sample
from nncodec.causal.exact.native import NativeEngine
from nncodec.causal.exact.reference import ReferenceEngine
from nncodec.causal.exact.weights import ExactModel
from nncodec.causal.tokenize import load_tokenizer, tokenize
from nncodec.causal.vocabulary import TokenTable
from nncodec.engine.native import available_isas
from nncodec.errors import (
    CorruptDataError,
    InvalidModelError,
    ModelNotFoundError,
    NNCodecError,
)
from nncodec.lanes import no_progress


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3 of random weights with a tokenizer of its own."""
    from transformers import AutoModelForCausalLM, Qwen3Config

    folder = tmp_path_factory.mktemp("hf") / "tiny-qwen"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(TEXT.decode().splitlines() * 3, trainer)
    config = Qwen3Config(
        vocab_size=310, hidden_size=32, intermediate_size=64, num_hidden_layers=2, head_dim=16,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        bos_token_id=None, eos_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("made") / "exact-qwen"
    text = target.parent / "text"
    text.write_bytes(TEXT * 2)
    result = cli("models", "convert", source, "-o", target, "--calibrate", text)
    assert result.rc == 0, result.err
    assert f"converted to {target}" in result.out.decode()
    return target


def test_the_folder_is_whole(source: Path, made: Path) -> None:
    model = ExactModel.load(made)
    assert model.config.context == 64
    assert model.config.begin == 0
    assert model.config.qk_norm == 1
    assert sorted(path.name for path in made.iterdir()) == [
        "README.md", "config.json", "engine.safetensors", "tokenizer.json"
    ]  # fmt: skip
    card = (made / "README.md").read_text()
    assert "qwen3" in card
    assert str(source.parent) not in card
    table = TokenTable.from_folder(made)
    assert [table.bytes_of[i] for i in model.tensors["tokens.ids"]] == model.symbol_bytes


SAMPLES = {
    "text": TEXT,
    "nothing": b"",
    "a byte": b"x",
    "every byte": bytes(range(256)),
    "invalid UTF-8": TEXT[:100] + b"\xff\xfe" + TEXT[100:200] + bytes(40),
}


@pytest.mark.parametrize("data", SAMPLES.values(), ids=SAMPLES)
def test_any_bytes_travel_between_engines(made: Path, data: bytes) -> None:
    """Decoding needs no tokenizer: the tokens' bytes are among the tensors."""
    model, seen = ExactModel.load(made), [0, 0]

    def progress(i: int) -> Callable[[int], None]:
        return lambda count: seen.__setitem__(i, seen[i] + count)

    writer = ExactTokens(model, NativeEngine(model, 2), made)
    tokens = writer.tokenize(data)
    cut = token_geometry(len(tokens.ids), model.config)
    payload = writer.encode(np.frombuffer(data, np.uint8), cut, progress(0))
    reader = ExactTokens(model, ReferenceEngine(model))
    assert reader.decode(payload, len(data), cut, progress(1)) == data
    assert seen[0] <= seen[1] == len(data)
    with pytest.raises(InvalidModelError, match="tokenizer"):
        reader.encode(np.frombuffer(data, np.uint8), cut, progress(0))


def test_a_block_of_another_size_is_damage(made: Path) -> None:
    model = ExactModel.load(made)
    coder = ExactTokens(model, NativeEngine(model, 1), made)
    payload = coder.encode(np.frombuffer(TEXT, np.uint8), Geometry(), no_progress)
    for size in (len(TEXT) - 1, len(TEXT) + 1):
        with pytest.raises((PayloadError, CorruptDataError)):
            coder.decode(payload, size, Geometry(), no_progress)


def test_models_of_both_kinds_are_listed_shown_and_verified(
    made: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ExactModel.load(made)
    (home / "exact-qwen").symlink_to(made)
    rows = json.loads(cli("models", "list", "--json").out)
    (row,) = [row for row in rows if row["name"] == "exact-qwen"]
    assert row["id"] == model.model_id.hex()
    shown = json.loads(cli("models", "show", "exact-qwen", "--json").out)
    assert shown["config"]["n_kv_heads"] == 2
    assert "tokenizer.json" in shown["files"]
    assert b"ok" in cli("models", "verify", "exact-qwen").out
    monkeypatch.setattr(modelstore, "search_path", lambda: [home])
    with pytest.raises(ModelNotFoundError):  # of level 9, which wants a model over bytes
        modelstore.find_largest()


def test_a_folder_in_the_way_is_left_alone(source: Path, made: Path) -> None:
    before = (made / "engine.safetensors").stat().st_mtime_ns
    assert_one_error(cli("models", "convert", source, "-o", made), source, "not empty")
    assert (made / "engine.safetensors").stat().st_mtime_ns == before


def test_errors_name_the_folder(source: Path, tmp_path: Path) -> None:
    result = cli("models", "convert", source, "-o", tmp_path / "new", "--calibrate", "absent")
    assert_one_error(result, source, "absent")
    result = cli("models", "convert", tmp_path, "-o", tmp_path / "new")
    assert_one_error(result, tmp_path, "has no config.json")
    assert not (tmp_path / "new").exists()


def test_a_context_beyond_the_model_is_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match=r"2\.\.64"):
        convert_folder(source, tmp_path / "new", TEXT, context=65, notify=lambda _note: None)
    with pytest.raises(NNCodecError, match="longer"):
        convert_folder(source, tmp_path / "new", b"", notify=lambda _note: None)


def test_a_pickle_is_not_read(source: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InvalidModelError, match="a pickle is not read"):
        convert_folder(tmp_path, tmp_path / "new", TEXT, notify=lambda _note: None)


@pytest.mark.weights
def test_real_weights_lose_less_than_a_percent(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On text that the model wrote and conversion did not see, and on text that is not its own."""
    monkeypatch.setattr(folders, "TEXT_TOKENS", 160)
    source = weights / "stories260K-hf"
    model = convert_folder(source, tmp_path / "stories", notify=lambda _note: None)
    again = ExactModel.load(tmp_path / "stories")
    assert again.model_id == model.model_id
    floats, table = load_float(source, torch.float32), TokenTable.from_folder(source)
    prose = tokenize(table, load_tokenizer(source), TEXT).ids[:160]
    for ids in (
        sample(floats, table, seed=1),
        np.concatenate(([table.begin], prose))[None].astype(np.int64),
    ):
        usable = torch.from_numpy(model.tensors["tokens.ids"].astype(np.int64))
        with torch.no_grad():
            z = floats(torch.from_numpy(ids[:, :-1])).logits[..., usable].double()
        symbols = model.symbol_of[ids[:, 1:]].astype(np.int64)[..., None]
        wanted = -z.log_softmax(-1).gather(-1, torch.from_numpy(symbols)).sum() / np.log(2)
        for isa in available_isas():
            state = NativeEngine(model, 2, isa).start()
            if len(ids) > 1:
                state.fork(len(ids))
            counts = np.take_along_axis(state.advance(ids[:, :-1]), symbols, -1)
            assert (32 - np.log2(counts)).sum() < 1.01 * float(wanted)
