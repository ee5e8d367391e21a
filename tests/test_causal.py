"""Any causal language model of transformers as the predictor: float archives and their limits."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import BINARY, SAMPLES, TEXT
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

pytest.importorskip("transformers")
from causal_models import CONFIGS, byte_fallback, byte_level, save_model

import nncodec
from nncodec import api
from nncodec._core import PayloadError
from nncodec.blocks import Geometry
from nncodec.causal import coding
from nncodec.causal.codec import CausalCodec, FloatModel, TokenCoder, mostly_text
from nncodec.causal.coding import TokenGeometry
from nncodec.causal.environment import Environment
from nncodec.causal.folder import CausalFolder, is_causal
from nncodec.causal.options import CausalOptions
from nncodec.causal.predictor import CausalModel, Settings
from nncodec.causal.tokenize import load_tokenizer, tokenize
from nncodec.cli.app import app
from nncodec.container import Frame, Kind
from nncodec.decoding import decompress_stream
from nncodec.errors import (
    CorruptDataError,
    EnvironmentMismatchError,
    InvalidModelError,
    ModelNotFoundError,
    NNCodecError,
)
from nncodec.lanes import no_progress
from nncodec.parsing import read_frames

LATIN = TEXT[:200] + "café".encode("latin-1") + TEXT[200:260]
FILES = {**SAMPLES, "text, bytes of none": LATIN, "empty": b"", "ELF": BINARY * 3}
UNSAFE = ("pytorch_model.bin", "model.pt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama that knows the text by heart."""
    return save_model(tmp_path_factory.mktemp("lm") / "tiny-llama", "llama", byte_fallback(), 80)


@pytest.fixture(scope="module")
def model(folder: Path) -> CausalModel:
    return CausalModel(CausalFolder(folder), Settings(threads=1))


@pytest.fixture(scope="module")
def archive(folder: Path) -> bytes:
    packed = nncodec.compress(TEXT[:150], model=str(folder), threads=1)
    assert nncodec.info(packed).blocks == {"tokens": 1}
    return packed


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_architecture(kind: str, tmp_path: Path) -> None:
    """In lanes, over the context's end, and its steps are those of one pass over all."""
    folder = save_model(tmp_path / kind, kind, byte_level())
    model = CausalModel(CausalFolder(folder), Settings(threads=1))
    recurrent = kind in ("mamba", "rwkv")
    assert model.context == (0 if recurrent else 64)
    tokens = tokenize(model.table, load_tokenizer(folder), LATIN)
    assert len(tokens.ids) > 80
    with model.running():
        session = model.start(1, tokens.ids[:3])
        for token in tokens.ids[3:40]:
            session.take(np.array([token], np.int32))
        stepped = session.probabilities()[0]
        ids = torch.tensor([[model.begin, *tokens.ids[:40].tolist()]])
        logits = model.model(input_ids=ids).logits[0, -1][model.columns]
    assert np.abs(np.log(stepped) - logits.log_softmax(-1).numpy()).max() < 1e-3
    coder = TokenCoder(model)
    for lanes, prefix in ((1, 0), (min(4, model.most_lanes), 20)):
        geometry = Geometry(lanes, prefix)
        payload = coder.encode(np.frombuffer(LATIN, np.uint8), geometry, no_progress)
        assert coder.decode(payload, len(LATIN), geometry, no_progress) == LATIN


def test_rows_leave_out_tokens_without_bytes(model: CausalModel) -> None:
    with model.running():
        rows = model.start(2, np.zeros(0, np.int32)).probabilities()
    assert rows.shape == (2, sum(token is not None for token in model.table.bytes_of))
    assert rows.dtype == np.float64
    assert np.allclose(rows.sum(1), 1, atol=1e-5)


def test_size_is_that_of_the_probabilities(model: CausalModel) -> None:
    """The coder adds a word or two; and a context that slides forgets, but does not mislead."""
    tokens = tokenize(model.table, load_tokenizer(model.folder.path), TEXT[:300])
    with model.running():
        bits = 0.0
        for token, rank in zip(tokens.ids, model.rank[tokens.ids], strict=True):
            if bits == 0:
                session = model.start(1, np.zeros(0, np.int32))
            bits -= np.log2(max(session.probabilities()[0, rank], 2**-24))
            session.take(np.array([token], np.int32))
        words = coding.encode(tokens.ids, TokenGeometry(len(tokens.ids)), model, no_done)
    assert 8 * len(words) <= bits * 1.01 + 64


def no_done(_tokens: coding.Ids) -> None:
    pass


@pytest.mark.parametrize("name", FILES)
def test_round_trip(name: str, folder: Path) -> None:
    data = FILES[name]
    packed = nncodec.compress(data, model=str(folder), threads=1)
    assert nncodec.decompress(packed, model=str(folder)) == data
    info = nncodec.info(packed)
    assert info.portable == ("tokens" not in info.blocks)
    assert len(packed) <= len(data) + 40


def test_text_is_tokens_and_a_binary_is_not(folder: Path) -> None:
    assert nncodec.info(nncodec.compress(LATIN, model=str(folder), threads=1)).blocks == {
        "tokens": 1
    }
    packed = nncodec.compress(BINARY * 3, model=str(folder), threads=1)
    assert nncodec.info(packed).blocks.keys() <= {"contexts", "stored"}
    assert packed == nncodec.compress(BINARY * 3, level=1)


def test_only_text_is_tried(model: CausalModel) -> None:
    """Large noise would be cut into millions of escapes, only to be thrown away."""
    noise = np.random.default_rng(0).integers(0, 256, 1 << 22, dtype=np.uint8)
    assert not mostly_text(noise)
    assert not mostly_text(np.frombuffer(BINARY * 900, np.uint8))
    for text in (TEXT, TEXT * 999, "あいう".encode() * 99_999, b"x", TEXT[:99] + b"\xff\0" * 20):
        assert mostly_text(np.frombuffer(text, np.uint8))
    seen: list[int] = []
    coder = CausalCodec(model, 6)
    coder.tokenizer = None  # type: ignore[assignment]  # which would be asked
    assert len(coder.compress(noise, seen.append)) > len(noise)
    assert sum(seen) == len(noise)


def test_what_an_archive_says(archive: bytes, folder: Path) -> None:
    info = nncodec.info(archive)
    assert not info.portable
    assert info.models == [CausalFolder(folder).model_id.hex()]
    (environment,) = info.environments
    assert environment["torch"] == torch.__version__
    assert environment["threads"] == 1
    assert environment["dtype"] == "float32"
    assert environment["context"] == 64


def test_levels_and_options_set_lanes(folder: Path, model: CausalModel) -> None:
    codec = CausalCodec(model, 6)
    assert codec.geometry(2047) == Geometry(1, 0)
    assert codec.geometry(2048) == Geometry(2, 64)
    assert codec.geometry(1 << 20).lanes == 32
    assert CausalCodec(model, 9).geometry(1 << 20).lanes == 1
    assert CausalCodec(model, 6, lanes=5).geometry(1 << 20).lanes == 4
    assert CausalCodec(model, 6, lanes=8).geometry(15).lanes == 4
    packed = nncodec.compress(
        TEXT * 6, model=str(folder), threads=1, options=CausalOptions(lanes=2, context=32)
    )
    (row,) = read_frames_of(packed)[0].blocks
    assert row.geometry.lanes == 2
    assert nncodec.decompress(packed, model=str(folder)) == TEXT * 6


def test_half_floats(folder: Path) -> None:
    options = CausalOptions(dtype="bfloat16", verify=False)
    packed = nncodec.compress(TEXT, model=str(folder), threads=1, options=options)
    assert nncodec.info(packed).environments[0]["dtype"] == "bfloat16"
    assert nncodec.decompress(packed, model=str(folder)) == TEXT


def test_several_blocks_and_frames(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nncodec.codec.BLOCK_SIZE", 200)
    data = TEXT[:200] + bytes(200) + TEXT[:150]
    packed = nncodec.compress(data, model=str(folder), threads=1)
    assert nncodec.info(packed).blocks == {"tokens": 2, "constant": 1}
    again = packed + nncodec.compress(b"x" * 99) + packed
    assert nncodec.decompress(again, model=str(folder)) == data + b"x" * 99 + data


def read_frames_of(archive: bytes) -> list[Frame]:
    return read_frames(io.BytesIO(archive))


def in_another(archive: bytes, **changes: object) -> bytes:
    """The archive as if it had been made elsewhere."""
    (frame,) = read_frames_of(archive)
    assert frame.environment
    environment = replace(Environment.parse(frame.environment), **changes)  # type: ignore[arg-type]
    return replace(frame, environment=environment.pack()).pack() + archive[len(frame.pack()) :]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"torch": "2.0.0"}, "torch 2.0.0 there, .* here"),
        ({"transformers": "4.1"}, "transformers 4.1 there"),
        ({"device": "cuda", "capability": ""}, "device cuda there, cpu here"),
        ({"hardware": "abacus"}, "hardware abacus there"),
        ({"capability": "none"}, "capability none there"),
        ({"path": 7}, "path 7 there, 1 here"),
    ],
)
def test_another_environment_fails_early(
    archive: bytes, folder: Path, changes: dict[str, object], why: str
) -> None:
    with pytest.raises(EnvironmentMismatchError, match=why):
        nncodec.decompress(in_another(archive, **changes), model=str(folder))


def test_another_environment_can_be_tried(archive: bytes, folder: Path) -> None:
    options = CausalOptions(any_environment=True)
    other = in_another(archive, torch="2.0.0")
    assert nncodec.decompress(other, model=str(folder), options=options) == TEXT[:150]


def test_threads(archive: bytes, folder: Path) -> None:
    """They follow the archive; others that are asked for are refused."""
    assert nncodec.decompress(archive, model=str(folder)) == TEXT[:150]
    with pytest.raises(EnvironmentMismatchError, match="threads 1 there, 2 here"):
        nncodec.decompress(archive, model=str(folder), threads=2)


def test_dtype_follows_the_archive(archive: bytes, folder: Path) -> None:
    """So what was float32 would be computed as bfloat16: wrong numbers, and noticed."""
    with pytest.raises(CorruptDataError):
        nncodec.decompress(in_another(archive, dtype="bfloat16"), model=str(folder))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"threads": 0}, "with 0 threads"),
        ({"threads": 10**9}, "threads"),
        ({"context": 1 << 30}, "context of"),
        ({"context": -1}, "context -1"),
        ({"threads": "2"}, "threads '2'"),
        ({"dtype": "int8"}, "dtype 'int8'"),
        ({"torch": 3}, "torch 3"),
    ],
)
def test_environments_that_make_no_sense(
    archive: bytes, folder: Path, changes: dict[str, object], why: str
) -> None:
    with pytest.raises(CorruptDataError, match=why):
        nncodec.decompress(in_another(archive, **changes), model=str(folder))


def test_a_context_beyond_the_models(archive: bytes, folder: Path) -> None:
    with pytest.raises(NNCodecError, match="a context of 65 tokens: the model takes 4 to 64"):
        nncodec.decompress(in_another(archive, context=65), model=str(folder))


@given(st.binary(max_size=60))
def test_any_environment_bytes(noise: bytes) -> None:
    with pytest.raises(CorruptDataError, match="numeric environment"):
        Environment.parse(noise)


def test_every_prefix_is_short(archive: bytes, folder: Path) -> None:
    for size in range(len(archive)):
        with pytest.raises(CorruptDataError):
            nncodec.decompress(archive[:size], model=str(folder))


def test_every_flipped_bit_is_noticed(archive: bytes, folder: Path) -> None:
    """In the header by its checksum; in the payload the text or its length is another."""
    for at in range(len(archive)):
        damaged = bytearray(archive)
        damaged[at] ^= 1 << at % 8
        try:
            assert nncodec.decompress(bytes(damaged), model=str(folder)) == TEXT[:150]
        except (CorruptDataError, nncodec.UnsupportedVersionError):
            continue
        assert at >= len(archive) - 8, at  # the last word has some slack


@given(st.data())
def test_payloads_of_noise(model: CausalModel, data: st.DataObject) -> None:
    noise = data.draw(st.binary(max_size=60))
    lanes, prefix = data.draw(st.tuples(st.integers(1, 9), st.integers(0, 40)))
    try:
        decoded = TokenCoder(model).decode(noise, 40, Geometry(lanes, prefix), no_progress)
    except (PayloadError, CorruptDataError):
        return
    assert len(decoded) == 40  # by chance; a checksum would tell


def test_a_model_that_is_not_here(archive: bytes, folder: Path, home: Path) -> None:
    wanted = CausalFolder(folder).model_id.hex()
    with pytest.raises(ModelNotFoundError, match=wanted):
        nncodec.decompress(archive)
    shutil.copytree(folder, home / "any-name")
    api.load_coder.cache_clear()
    assert nncodec.decompress(archive) == TEXT[:150]
    assert nncodec.decompress(nncodec.compress(b"by name" * 9, model="any-name", threads=1))


def test_the_id_is_that_of_what_decodes(folder: Path, tmp_path: Path) -> None:
    """Not of where it lies, what its files are called, or what it was saved by; of each weight."""
    from safetensors.numpy import load_file, save_file

    wanted = CausalFolder(folder).model_id
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    config = json.loads((other / "config.json").read_text())
    notes = {"transformers_version": "0", "_name_or_path": "x", "architectures": ["Any"]}
    (other / "config.json").write_text(json.dumps({**config, **notes}))
    weights = load_file(other / "model.safetensors")
    (other / "model.safetensors").unlink()
    names = sorted(weights)
    for part, few in enumerate((names[:5], names[5:])):
        save_file({name: weights[name] for name in few}, other / f"part-{part}.safetensors")
    assert CausalFolder(other).model_id == wanted
    weights[names[0]].flat[0] += 1
    save_file({name: weights[name] for name in names[:5]}, other / "part-0.safetensors")
    changed = CausalFolder(other).model_id
    assert changed != wanted
    assert changed[:4] == wanted[:4]
    (other / "config.json").write_text(json.dumps({**config, "rope_theta": 1.0}))
    assert CausalFolder(other).model_id[:4] != wanted[:4]


def test_pickles_are_not_read(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "pickled"
    shutil.copytree(folder, other)
    (other / "model.safetensors").rename(other / "pytorch_model.bin")
    assert is_causal(other)
    with pytest.raises(InvalidModelError, match="a pickle is not read: save it again"):
        nncodec.compress(TEXT, model=str(other))


def test_code_that_comes_with_a_model_is_not_run(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "code"
    shutil.copytree(folder, other)
    config = json.loads((other / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoModelForCausalLM": "evil.Model"}}
    config["auto_map"]["AutoConfig"] = "evil.Config"
    (other / "config.json").write_text(json.dumps(config))
    (other / "evil.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(InvalidModelError, match="transformers cannot load it"):
        nncodec.compress(TEXT, model=str(other))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (CausalOptions(dtype="int4"), "no dtype 'int4'"),
        (CausalOptions(device="tpu"), "no device 'tpu'"),
        (CausalOptions(context=65), "a context of 65 tokens"),
    ],
)
def test_options_that_do_not_fit(folder: Path, options: CausalOptions, why: str) -> None:
    with pytest.raises(NNCodecError, match=why):
        nncodec.compress(TEXT, model=str(folder), options=options)


def test_options_are_for_models_of_others() -> None:
    with pytest.raises(NNCodecError, match="are for a causal language model"):
        nncodec.compress(TEXT, options=CausalOptions(lanes=4))


def test_floats_that_do_not_repeat_are_noticed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the machine computed otherwise the second time."""
    from nncodec.causal import codec

    real, calls = coding.decode, []

    def decode(words: bytes, cut: TokenGeometry, *rest: object) -> coding.Ids:
        ids = real(words, cut, *rest)  # type: ignore[arg-type]
        calls.append(ids)
        ids[-1] ^= 1
        return ids

    monkeypatch.setattr(codec.coding, "decode", decode)
    with pytest.raises(NNCodecError, match="other floats the second time"):
        nncodec.compress(TEXT[:99], model=str(folder), threads=1)
    assert len(calls) == 1
    options = CausalOptions(verify=False)
    assert nncodec.compress(TEXT[:99], model=str(folder), threads=1, options=options)
    assert len(calls) == 1


def test_long_runs_are_announced(model: CausalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from nncodec.causal import codec

    said: list[str] = []
    monkeypatch.setattr(codec, "LONG", 0.0)
    CausalCodec(model, 6, notify=said.append).compress(np.frombuffer(TEXT, np.uint8))
    assert len(said) == 1
    assert "coding and checking will take about" in said[0]


def test_progress_is_the_files_bytes(model: CausalModel) -> None:
    for data in (TEXT, LATIN, BINARY * 3, b"aaaa"):
        counted: list[int] = []
        packed = CausalCodec(model, 6).compress(np.frombuffer(data, np.uint8), counted.append)
        assert sum(counted) == len(data)
        assert min(counted) >= 0
        assert packed


def test_a_loaded_codec_decodes_its_own(folder: Path) -> None:
    """As benchmarks do; and it too compares environments."""
    codec = api.load_codec(6, str(folder), 1)

    def decompress(archive: bytes) -> bytes:
        out = io.BytesIO()
        decompress_stream(io.BytesIO(archive), out, lambda _id: codec.coder)
        return out.getvalue()

    packed = codec.compress(np.frombuffer(TEXT, np.uint8))
    assert decompress(packed) == TEXT
    with pytest.raises(EnvironmentMismatchError, match=r"torch 2\.0 there"):
        decompress(in_another(packed, torch="2.0"))


def test_memory_bounds_lanes(model: CausalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from nncodec.causal import memory

    monkeypatch.setattr(memory, "free_bytes", lambda _model: 11 * memory.lane_bytes(model))
    assert CausalCodec(model, 6).geometry(1 << 20).lanes == 4
    monkeypatch.setattr(memory, "free_bytes", lambda _model: 0)
    assert CausalCodec(model, 6).geometry(1 << 20).lanes == 1


@pytest.mark.parametrize("kind", CONFIGS)
def test_lane_bytes_hold_what_is_kept(kind: str, tmp_path: Path) -> None:
    """At least keys and values, or the state, that a lane has when its context is full."""
    from nncodec.causal.memory import free_bytes, lane_bytes

    folder = save_model(tmp_path / kind, kind, byte_level())
    model = CausalModel(CausalFolder(folder), Settings(threads=1))
    with model.running():
        session = model.start(1, np.zeros(0, np.int32))
        for _ in range(62):
            session.take(np.array([5], np.int32))
    assert 0 < tensor_bytes(session.carried) <= lane_bytes(model) < 1 << 22
    assert free_bytes(model) > 1 << 22


def tensor_bytes(value: object, seen: set[int] | None = None) -> int:
    """Of all tensors in lists and objects, each once."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(tensor_bytes(inner, seen) for inner in value.values())
    if isinstance(value, (list, tuple)):
        return sum(tensor_bytes(inner, seen) for inner in value)
    return tensor_bytes(vars(value), seen) if hasattr(value, "__dict__") else 0


def test_a_model_of_another_kind(archive: bytes, folder: Path) -> None:
    """Blocks of tokens are not for our byte models, nor the other way round."""
    (frame,) = read_frames_of(archive)
    plain = replace(frame, environment=None)
    packed = plain.pack() + archive[len(frame.pack()) :]
    with pytest.raises(CorruptDataError, match="without its numeric environment"):
        nncodec.decompress(packed, model=str(folder))
    byte_coder = api.load_coder(bytes.fromhex(nncodec.info(tiny_archive()).models[0]))
    with pytest.raises(CorruptDataError, match="an environment for a model that needs none"):
        decompress_stream(io.BytesIO(archive), io.BytesIO(), lambda _id: byte_coder)
    with pytest.raises(CorruptDataError, match="TOKENS block names a model of another kind"):
        decompress_stream(io.BytesIO(packed), io.BytesIO(), lambda _id: byte_coder)
    float_model = FloatModel(CausalFolder(folder))
    with pytest.raises(CorruptDataError, match="MIXED block names a model of another kind"):
        decompress_stream(io.BytesIO(tiny_archive()), io.BytesIO(), lambda _id: float_model)


def tiny_archive() -> bytes:
    packed = nncodec.compress(TEXT[:80], model="tiny")
    assert read_frames_of(packed)[0].blocks[0].kind == Kind.MIXED
    return packed


def test_command_line(folder: Path, tmp_path: Path) -> None:
    def cli(*args: str) -> Any:
        return CliRunner().invoke(app, list(args))

    source = tmp_path / "text"
    source.write_bytes(LATIN)
    packed = f"{source}.nnc"
    result = cli("compress", "-m", str(folder), "-T", "1", "--lanes", "1", str(source))
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr
    assert "no (torch" in cli("info", packed).stdout
    back = cli("decompress", "-c", "-m", str(folder), packed)
    assert (back.exit_code, back.stdout_bytes) == (0, LATIN), back.stderr
    other = cli("test", "-T", "2", "-m", str(folder), packed)
    assert other.exit_code == 1
    assert "threads 1 there, 2 here" in other.stderr
    assert other.stderr.count("\n") == 1
    refused = cli("compress", "--no-verify", "-c", str(source))
    assert refused.exit_code == 1
    assert "for a causal language model" in refused.stderr


def test_hub_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """USER/REPO in the cache needs no network; one that is not there is not guessed at."""
    from huggingface_hub import constants

    from nncodec.causal.find import find_by_id, find_folder
    from nncodec.errors import HubError

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit = "0" * 40
    repository = tmp_path / "models--some--lm"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.copytree(folder, repository / "snapshots" / commit)
    wanted = CausalFolder(folder).model_id
    found = find_folder("some/lm")
    assert found
    assert found.model_id == wanted
    by_id = find_by_id(wanted)
    assert by_id
    assert by_id.path.name == commit
    assert find_folder("other/lm") is None
    monkeypatch.chdir(tmp_path)
    assert find_folder(f"{repository.name}/mistyped", download=True) is None
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        find_folder("other/lm", download=True)


@pytest.mark.weights
@pytest.mark.parametrize("name", FILES)
def test_round_trip_with_real_weights(name: str, weights: Path) -> None:
    folder = str(weights / "stories260K-hf")
    packed = nncodec.compress(FILES[name], model=folder, threads=1)
    assert nncodec.decompress(packed, model=folder) == FILES[name]


@pytest.mark.weights
def test_real_weights_know_stories(weights: Path) -> None:
    story = (
        b"Once upon a time, there was a little girl named Lily. She loved to play outside in the "
        b"park. One day, she saw a big, red ball. It was very shiny. Lily wanted to play with it."
    )
    packed = nncodec.compress(story, model=str(weights / "stories260K-hf"), threads=1)
    (frame,) = read_frames_of(packed)
    assert frame.blocks[0].kind == Kind.TOKENS
    assert frame.payload_size * 8 < len(story) * 0.9
    assert asdict(Environment.parse(frame.environment or b""))["context"] == 512
